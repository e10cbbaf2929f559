//! Random graphs: sharded and exported again, every tensor has the bytes that it had.

use std::collections::BTreeMap;

use gpux::bundle::{self, Bundle, Plan, PlanOptions, Weights};
use gpux::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use gpux::onnx::{Model, WeightData};
use gpux::store::Store;
use gpux::tensor::DType;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::*;
use crate::support::artifacts::noise;
use crate::support::graph;

/// Is a tensor to be made.
#[derive(Clone, Debug)]
struct Made {
    dtype: DType,
    /// How many elements.
    length: usize,
    /// Equal seeds of equal length are equal bytes.
    seed: u64,
    /// Whether the elements are in the field for their type and not raw.
    typed: bool,
    place: Place,
}

#[derive(Clone, Copy, Debug)]
enum Place {
    Main,
    Constant,
    Body,
    Function,
    Outside,
}

fn made() -> impl Strategy<Value = Made> {
    let dtypes = [
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::F64,
        DType::I8,
        DType::I32,
        DType::I64,
        DType::U8,
        DType::U64,
        DType::Bool,
        DType::I4,
        DType::U4,
    ];
    let places = [
        Place::Main,
        Place::Main,
        Place::Main,
        Place::Constant,
        Place::Body,
        Place::Function,
        Place::Outside,
    ];
    (
        proptest::sample::select(dtypes.to_vec()),
        prop_oneof![0..64usize, 200..3000usize],
        0..40u64,
        any::<bool>(),
        proptest::sample::select(places.to_vec()),
    )
        .prop_map(|(dtype, length, seed, typed, place)| Made {
            dtype,
            length,
            seed,
            typed,
            place,
        })
}

/// The raw bytes of a tensor.
fn bytes_of(made: &Made) -> Vec<u8> {
    let size = (made.length * made.dtype.bits()).div_ceil(8);
    let mut bytes = noise(made.seed, size);
    if made.dtype == DType::Bool {
        bytes.iter_mut().for_each(|byte| *byte &= 1);
    }
    bytes
}

fn tensor_of(made: &Made, name: &str) -> TensorProto {
    let bytes = bytes_of(made);
    let mut tensor = graph::tensor(name, made.dtype, &[made.length as i64], &bytes);
    if !made.typed {
        return tensor;
    }
    tensor.raw_data = None;
    let width = (made.dtype.bits() / 8).max(1);
    let numbers = bytes.chunks_exact(width).map(|chunk| {
        let mut word = [0; 8];
        word[..width].copy_from_slice(chunk);
        u64::from_le_bytes(word)
    });
    let packed = |numbers: &mut dyn Iterator<Item = u64>| {
        let mut packed = Vec::new();
        numbers.for_each(|number| prost::encoding::encode_varint(number, &mut packed));
        vec![packed.into()]
    };
    match made.dtype {
        DType::F32 => tensor.float_data = vec![bytes.into()],
        DType::F64 => tensor.double_data = vec![bytes.into()],
        DType::I64 => tensor.int64_data = packed(&mut { numbers }),
        DType::U64 => tensor.uint64_data = packed(&mut { numbers }),
        // A negative number is written in the ten bytes of its 64 bits.
        DType::I8 => tensor.int32_data = packed(&mut numbers.map(|n| i64::from(n as u8 as i8) as u64)),
        DType::I32 => tensor.int32_data = packed(&mut numbers.map(|n| i64::from(n as u32 as i32) as u64)),
        _ => tensor.int32_data = packed(&mut { numbers }),
    }
    tensor
}

fn constant(name: &str, tensor: TensorProto) -> NodeProto {
    let mut node = graph::node("Constant", &[], &[name]);
    node.name = Some(format!("node of {name}"));
    node.attribute = vec![AttributeProto {
        name: Some("value".into()),
        t: Some(tensor.into()),
        r#type: Some(4),
        ..Default::default()
    }];
    node
}

/// Writes a model that has the tensors, and does nothing with them.
fn write(folder: &Path, all: &[Made]) -> PathBuf {
    let mut main = GraphProto {
        node: vec![graph::node("Identity", &["x"], &["y"])],
        input: vec![graph::port("x", DType::F32, &[1])],
        output: vec![graph::port("y", DType::F32, &[1])],
        ..Default::default()
    };
    let mut body = GraphProto {
        name: Some("body".into()),
        node: vec![graph::node("Identity", &["x"], &["z"])],
        output: vec![graph::port("z", DType::F32, &[1])],
        ..Default::default()
    };
    let mut function = Vec::new();
    let mut outside: Vec<u8> = Vec::new();
    for (at, made) in all.iter().enumerate() {
        let name = format!("t{at}");
        let tensor = tensor_of(made, &name);
        match made.place {
            Place::Main => main.initializer.push(tensor),
            Place::Constant => main.node.push(constant(&name, TensorProto { name: None, ..tensor })),
            Place::Body => body.initializer.push(tensor),
            Place::Function => function.push(constant(&name, tensor)),
            Place::Outside => {
                main.initializer.push(graph::external_at(
                    &name,
                    made.dtype,
                    &[made.length as i64],
                    ("w.bin", outside.len()),
                ));
                outside.extend(bytes_of(made));
            }
        }
    }
    let branch = |name: &str| AttributeProto {
        name: Some(name.into()),
        g: Some(body.clone().into()),
        r#type: Some(5),
        ..Default::default()
    };
    main.initializer.push(graph::tensor("yes", DType::Bool, &[], &[1]));
    let mut choice = graph::node("If", &["yes"], &["unused"]);
    choice.attribute = vec![branch("then_branch"), branch("else_branch")];
    main.node.push(choice);
    fs::write(folder.join("w.bin"), outside).unwrap();
    graph::write(folder, main, vec![graph::function("Held", function)])
}

/// Every tensor that may be outside, by its order, with its raw bytes.
fn raw_tensors(model: &Model, files: &BTreeMap<String, PathBuf>) -> Vec<(String, Vec<u8>)> {
    let raw = |data: &WeightData, size: u64| match data {
        WeightData::Within(elements) => {
            let mut bytes = vec![0; size as usize];
            assert_eq!(elements.reader().fill(&mut bytes), bytes.len());
            bytes
        }
        WeightData::External(data) => {
            let file = fs::read(&files[data.location.as_written()]).unwrap();
            let start = data.offset_bytes as usize;
            file[start..start + data.length_bytes as usize].to_vec()
        }
    };
    let weights = model.weights().unwrap();
    weights
        .iter()
        .map(|weight| (weight.name.clone(), raw(&weight.data, weight.size_bytes)))
        .collect()
}

fn joined(pieces: &[bytes::Bytes]) -> bytes::Bytes {
    pieces.concat().into()
}

fn check(all: &[Made], threshold_bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let model = write(folder.path(), all);
    let options = PlanOptions {
        weights: Weights::Shards { threshold_bytes },
        ..PlanOptions::default()
    };
    let plan = Plan::read(&model, &options).unwrap();
    let before = raw_tensors(&plan.entry().model, &plan.entry().files.external);
    let store = Store::open(&folder.path().join("home")).unwrap();
    let lease = store.lease(&[]).unwrap();
    let built = bundle::build(&store, &lease, &plan, None).unwrap();
    assert_eq!(bundle::assemble(&plan, None).unwrap().digest, built.descriptor.digest);

    let bundle = Bundle::open(&store, &built.descriptor).unwrap();
    let (files, sharded) = bundle.graph(&store).unwrap();
    let after = raw_tensors(&sharded, &files.external);
    assert_eq!(after, before);
    for weight in sharded.weights().unwrap() {
        let is_outside = matches!(weight.data, WeightData::External(_));
        assert_eq!(is_outside, weight.size_bytes >= threshold_bytes, "{}", weight.name);
    }
    for limit_bytes in [bundle::LARGEST_FILE_BYTES, 1000] {
        let plain = bundle::plain(&files, &sharded, ("m.data", limit_bytes)).unwrap();
        let data = plain.data.map(|data| {
            let path = folder.path().join("m.data");
            fs::write(&path, joined(&data)).unwrap();
            ("m.data".to_owned(), path)
        });
        let exported = Model::parse(joined(&plain.graph)).unwrap();
        assert_eq!(raw_tensors(&exported, &data.into_iter().collect()), before);
    }
}

#[test]
fn random_graphs_go_round() {
    let mut runner = TestRunner::new(Config {
        cases: 48,
        failure_persistence: None,
        ..Config::default()
    });
    let cases = (
        proptest::collection::vec(made(), 0..40),
        prop_oneof![Just(1024), Just(4096), Just(64 << 10)],
    );
    runner
        .run(&cases, |(all, threshold_bytes)| {
            check(&all, threshold_bytes);
            Ok(())
        })
        .unwrap();
}

#[test]
fn more_than_256_shards_share_files_and_a_change_disturbs_one() {
    let all: Vec<Made> = (0..400)
        .map(|at| Made {
            dtype: DType::F32,
            length: 300 + at % 5,
            seed: at as u64 % 390,
            typed: at % 9 == 0,
            place: if at % 50 == 0 { Place::Body } else { Place::Main },
        })
        .collect();
    check(&all, 1024);
    let built = |all: &[Made]| -> BTreeSet<String> {
        let folder = TempDir::new().unwrap();
        let gpux = Gpux::new();
        let model = write(folder.path(), all);
        gpux.ok(["build", text(&model), "-t", "many:1", "--shard-threshold", "1KiB"]);
        shards(&gpux, "many:1").into_iter().map(|(path, _)| path).collect()
    };
    let first = built(&all);
    assert!(first.len() > 10 && first.len() < 60, "{}", first.len());
    let mut changed = all.clone();
    changed[200].seed = 1000;
    let second = built(&changed);
    assert_eq!(
        first.symmetric_difference(&second).count(),
        2,
        "one file was, another is"
    );
    // A tensor more disturbs its own file alone, too.
    let mut grown = all.clone();
    grown.push(Made {
        seed: 1001,
        ..all[1].clone()
    });
    assert!(first.symmetric_difference(&built(&grown)).count() <= 2);
    let few: Vec<Made> = all[..256].to_vec();
    assert!(built(&few).len() > 200, "up to 256 are files of their own");
}
