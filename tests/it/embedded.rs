//! The embedded engine.

use std::path::{Path, PathBuf};

use gpux::onnx::Model;
use gpux::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto};
use gpux::runtime::embedded::{self, Embedded, Unsupported, capability};
use gpux::runtime::{
    Call, Cancel, Engine, Error, LibrarySources, ModelFiles, Session, SessionOptions, Source, Value, ort,
};
use gpux::tensor::{DType, Data, Tensor};

use crate::support::deps::{fixture, python_environment, real_model};
use crate::support::graph::{external, node, port, tensor, write};

fn model_of(path: &Path) -> Model {
    Model::parse(std::fs::read(path).unwrap().into()).unwrap()
}

fn load(engine: &dyn Engine, path: &Path, external: &[(&str, PathBuf)]) -> Result<Box<dyn Session>, Error> {
    let model = model_of(path);
    let files = ModelFiles {
        graph: path.to_owned(),
        external: external
            .iter()
            .map(|(name, path)| ((*name).to_owned(), path.clone()))
            .collect(),
    };
    let source = Source {
        files: &files,
        model: &model,
        signature: &model.signature().unwrap(),
    };
    engine.load(&source, &SessionOptions::default())
}

fn run(session: &mut dyn Session, inputs: &[Tensor]) -> Result<Vec<Tensor>, Error> {
    let inputs: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
    let call = Call {
        inputs: &inputs,
        keep_on_device: &[],
        deadline: None,
        cancel: &Cancel::default(),
    };
    Ok(session
        .run(call)?
        .into_iter()
        .map(|value| value.into_host().unwrap())
        .collect())
}

fn onnx_runtime() -> ort::Engine {
    let sources = LibrarySources {
        python: vec![python_environment()],
        ..LibrarySources::default()
    };
    ort::Engine::open(&sources).unwrap()
}

/// Numbers without a pattern that a mistake could hide in.
fn numbers(count: usize) -> Vec<f32> {
    (0..count as u32)
        .map(|at| ((at.wrapping_mul(2_654_435_761) >> 8) as f32 / (1 << 23) as f32) - 1.0)
        .collect()
}

fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        ints: values.to_vec(),
        r#type: Some(7),
        ..Default::default()
    }
}

fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        i: Some(value),
        r#type: Some(2),
        ..Default::default()
    }
}

fn with(attributes: &[AttributeProto], node: NodeProto) -> NodeProto {
    NodeProto {
        attribute: attributes.to_vec(),
        ..node
    }
}

fn longs(name: &str, values: &[i64]) -> TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    tensor(name, DType::I64, &[values.len() as i64], &bytes)
}

/// A model from `x` to `y`, opset 17.
fn made(
    folder: &Path,
    x: (DType, &[i64]),
    y: (DType, &[i64]),
    nodes: Vec<NodeProto>,
    constants: Vec<TensorProto>,
) -> PathBuf {
    let graph = GraphProto {
        node: nodes,
        initializer: constants,
        input: vec![port("x", x.0, x.1)],
        output: vec![port("y", y.0, y.1)],
        ..Default::default()
    };
    write(folder, graph, Vec::new())
}

fn refusal(path: &Path) -> Unsupported {
    capability(&model_of(path)).unwrap_err()
}

#[test]
fn real_models_are_offered_and_agree_with_onnx_runtime() {
    let minilm = {
        let ids = (0..2 * 7).map(|at| 101 + at * 37).collect::<Vec<i64>>();
        let mask = (0..2 * 7).map(|at| i64::from(at < 11)).collect::<Vec<i64>>();
        [ids, mask, vec![0; 14]].map(|data| Tensor::from_vec([2, 7], data).unwrap())
    };
    let image = Tensor::from_vec([1, 3, 224, 224], numbers(3 * 224 * 224)).unwrap();
    let digits = Tensor::from_vec([5, 1, 8, 8], numbers(5 * 64).iter().map(|x| (x + 1.0) * 8.0).collect()).unwrap();
    let onnx_runtime = onnx_runtime();
    for (path, inputs) in [
        (real_model("minilm"), minilm.as_slice()),
        (real_model("resnet50"), &[image]),
        (fixture("digits/model.onnx"), &[digits]),
    ] {
        let embedded = run(load(&Embedded::new(), &path, &[]).unwrap().as_mut(), inputs).unwrap();
        let expected = run(load(&onnx_runtime, &path, &[]).unwrap().as_mut(), inputs).unwrap();
        for (found, expected) in embedded.iter().zip(&expected) {
            assert_eq!(found.shape(), expected.shape());
            let (Data::F32(found), Data::F32(expected)) = (found.data(), expected.data()) else {
                assert_eq!(found, expected);
                continue;
            };
            let far = found
                .iter()
                .zip(expected)
                .map(|(a, b)| (a - b).abs() / b.abs().max(1.0))
                .fold(0.0, f32::max);
            assert!(far < 1e-4, "{}: {far}", path.display());
        }
    }
}

#[test]
fn of_equal_largest_values_the_first_is_found_and_the_last_where_it_is_wanted() {
    let folder = tempfile::tempdir().unwrap();
    let x = Tensor::from_vec([2, 4], vec![1f32, 7.0, 7.0, 0.0, 5.0, 5.0, 5.0, 5.0]).unwrap();
    for (extra, expected) in [(vec![], vec![1i64, 0]), (vec![int("select_last_index", 1)], vec![2, 3])] {
        let largest = with(
            &[vec![int("axis", 1), int("keepdims", 0)], extra].concat(),
            node("ArgMax", &["x"], &["y"]),
        );
        let path = made(
            folder.path(),
            (DType::F32, &[2, 4]),
            (DType::I64, &[2]),
            vec![largest],
            vec![],
        );
        let mut session = load(&Embedded::new(), &path, &[]).unwrap();
        let answer = run(session.as_mut(), std::slice::from_ref(&x)).unwrap();
        assert_eq!(answer, [Tensor::from_vec([2], expected).unwrap()]);
    }
}

#[test]
fn external_data_is_taken_wherever_it_lies_in_its_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("weights with no ending");
    // At an offset that no processor reads a float from.
    let mut bytes = vec![0u8; 3];
    bytes.extend([10f32, 20.0].iter().flat_map(|value| value.to_le_bytes()));
    std::fs::write(&file, &bytes).unwrap();
    let mut weight = external("w", DType::F32, &[2], "far/weights");
    weight.external_data.push(gpux::onnx::proto::StringStringEntryProto {
        key: Some("offset".into()),
        value: Some("3".into()),
    });
    let nodes = vec![node("Add", &["x", "w"], &["y"])];
    let path = made(
        folder.path(),
        (DType::F32, &[2]),
        (DType::F32, &[2]),
        nodes,
        vec![weight],
    );
    let x = Tensor::from_vec([2], vec![1f32, 2.0]).unwrap();
    let mut session = load(&Embedded::new(), &path, &[("far/weights", file.clone())]).unwrap();
    assert_eq!(
        run(session.as_mut(), std::slice::from_ref(&x)).unwrap(),
        [Tensor::from_vec([2], vec![11f32, 22.0]).unwrap()]
    );

    std::fs::write(&file, &bytes[..8]).unwrap();
    let short = load(&Embedded::new(), &path, &[("far/weights", file)]).err().unwrap();
    assert!(
        matches!(
            short,
            Error::Embedded(embedded::Error::ExternalShort {
                end_bytes: 11,
                file_bytes: 8,
                ..
            })
        ),
        "{short}"
    );
    let gone = load(&Embedded::new(), &path, &[]).err().unwrap();
    assert!(
        matches!(gone, Error::Embedded(embedded::Error::NoExternalFile { .. })),
        "{gone}"
    );
}

#[test]
fn int64_comes_out_as_it_went_in_and_is_refused_beyond_32_bits() {
    let folder = tempfile::tempdir().unwrap();
    let path = made(
        folder.path(),
        (DType::I64, &[2]),
        (DType::I64, &[2]),
        vec![node("Identity", &["x"], &["y"])],
        vec![],
    );
    let mut session = load(&Embedded::new(), &path, &[]).unwrap();
    let edges = Tensor::from_vec([2], vec![i64::from(i32::MIN), i64::from(i32::MAX)]).unwrap();
    assert_eq!(run(session.as_mut(), std::slice::from_ref(&edges)).unwrap(), [edges]);
    let beyond = Tensor::from_vec([2], vec![0, 1i64 << 31]).unwrap();
    let error = run(session.as_mut(), &[beyond]).unwrap_err();
    assert!(
        matches!(error, Error::Embedded(embedded::Error::InputRange { value, .. }) if value == 1 << 31),
        "{error}"
    );
}

#[test]
fn arithmetic_is_done_with_sizes_and_refused_with_int64_data() {
    let folder = tempfile::tempdir().unwrap();
    let data = vec![node("Add", &["x", "x"], &["y"])];
    let path = made(folder.path(), (DType::I64, &[2]), (DType::I64, &[2]), data, vec![]);
    assert!(matches!(refusal(&path), Unsupported::Arithmetic { .. }));

    // Doubles the first size of `x`, and fills that many.
    let sizes = vec![
        with(&[int("start", 0), int("end", 1)], node("Shape", &["x"], &["size"])),
        node("Mul", &["size", "two"], &["twice"]),
        node("Expand", &["x", "twice"], &["y"]),
    ];
    let path = made(
        folder.path(),
        (DType::F32, &[1]),
        (DType::F32, &[2]),
        sizes,
        vec![longs("two", &[2])],
    );
    let mut session = load(&Embedded::new(), &path, &[]).unwrap();
    let one = Tensor::from_vec([1], vec![3f32]).unwrap();
    assert_eq!(
        run(session.as_mut(), &[one]).unwrap(),
        [Tensor::from_vec([2], vec![3f32, 3.0]).unwrap()]
    );
}

#[test]
fn sizes_that_leave_32_bits_are_an_error_and_not_another_number() {
    let folder = tempfile::tempdir().unwrap();
    let sizes = vec![
        node("Shape", &["x"], &["size"]),
        node("Add", &["size", "large"], &["sum"]),
        node("Mul", &["sum", "sum"], &["y"]),
    ];
    let path = made(
        folder.path(),
        (DType::F32, &[-1]),
        (DType::I64, &[1]),
        sizes,
        vec![longs("large", &[99_995])],
    );
    let mut session = load(&Embedded::new(), &path, &[]).unwrap();
    let error = run(session.as_mut(), &[Tensor::from_vec([5], vec![0f32; 5]).unwrap()]).unwrap_err();
    assert!(
        matches!(error, Error::Embedded(embedded::Error::Panicked { .. })),
        "{error}"
    );
    assert!(error.to_string().contains("overflow"), "{error}");
}

#[test]
fn a_constant_beyond_32_bits_may_bound_a_slice_and_nothing_else() {
    let folder = tempfile::tempdir().unwrap();
    let slice = vec![node("Slice", &["x", "from", "to", "axes"], &["y"])];
    let constants = vec![longs("from", &[1]), longs("to", &[i64::MAX]), longs("axes", &[0])];
    let path = made(folder.path(), (DType::F32, &[3]), (DType::F32, &[2]), slice, constants);
    let mut session = load(&Embedded::new(), &path, &[]).unwrap();
    let x = Tensor::from_vec([3], vec![1f32, 2.0, 3.0]).unwrap();
    assert_eq!(
        run(session.as_mut(), &[x]).unwrap(),
        [Tensor::from_vec([2], vec![2f32, 3.0]).unwrap()]
    );

    let equal = vec![node("Equal", &["x", "large"], &["y"])];
    let path = made(
        folder.path(),
        (DType::I64, &[1]),
        (DType::Bool, &[1]),
        equal,
        vec![longs("large", &[i64::MAX])],
    );
    assert!(matches!(refusal(&path), Unsupported::Constant { value: i64::MAX, .. }));
}

#[test]
fn a_refusal_names_the_node_and_what_it_lacks() {
    let folder = tempfile::tempdir().unwrap();
    let four = |nodes| {
        made(
            folder.path(),
            (DType::F32, &[1, 1, 4, 4]),
            (DType::F32, &[1, 1, 8, 8]),
            nodes,
            vec![],
        )
    };
    let det = refusal(&four(vec![node("Det", &["x"], &["y"])]));
    assert_eq!(
        det.to_string(),
        "operator Det (`det`) is not in the embedded engine's capability table"
    );
    let mode = AttributeProto {
        name: Some("auto_pad".into()),
        s: Some("SAME_LOWER".into()),
        r#type: Some(3),
        ..Default::default()
    };
    let pool = with(
        &[mode, ints("kernel_shape", &[2, 2]), ints("strides", &[1, 1])],
        node("MaxPool", &["x"], &["y"]),
    );
    let pool = refusal(&four(vec![pool])).to_string();
    assert!(
        pool.contains("`maxpool`") && pool.contains("auto_pad = SAME_LOWER"),
        "{pool}"
    );
    let double = made(
        folder.path(),
        (DType::F64, &[1]),
        (DType::F64, &[1]),
        vec![node("Relu", &["x"], &["y"])],
        vec![],
    );
    assert_eq!(
        refusal(&double).to_string(),
        "`x` is float64, which the embedded engine does not take"
    );
    let branches = refusal(&fixture("graphs/branches.onnx")).to_string();
    assert!(
        branches.ends_with("holds a graph, which the embedded engine does not run"),
        "{branches}"
    );
}
