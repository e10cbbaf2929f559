//! ONNX Runtime as an engine.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use gpux::onnx::Model;
use gpux::onnx::proto::GraphProto;
use gpux::runtime::ort;
use gpux::runtime::{Call, Cancel, Engine, Error, LibrarySources, ModelFiles, Origin, Session, SessionOptions, Source};
use gpux::runtime::{Limits, Value, Watchdog};
use gpux::tensor::{DType, Data, Element, Tensor, TensorName};
use half::{bf16, f16};

use crate::support::deps::{fixture, python_environment, real_model};
use crate::support::graph;

fn sources() -> LibrarySources {
    LibrarySources {
        python: vec![python_environment()],
        ..LibrarySources::default()
    }
}

fn engine() -> ort::Engine {
    ort::Engine::open(&sources()).unwrap()
}

fn load(engine: &ort::Engine, path: &str, external: &[&str]) -> Box<dyn Session> {
    let folder = fixture(path);
    let files = ModelFiles {
        graph: folder.clone(),
        external: external
            .iter()
            .map(|name| ((*name).to_owned(), folder.with_file_name(name)))
            .collect(),
    };
    load_files(engine, &files).unwrap()
}

fn load_files(engine: &ort::Engine, files: &ModelFiles) -> Result<Box<dyn Session>, Error> {
    let model = Model::parse(std::fs::read(&files.graph).unwrap().into()).unwrap();
    let source = Source {
        files,
        model: &model,
        signature: &model.signature().unwrap(),
    };
    engine.load(&source, &SessionOptions::default())
}

fn run(session: &mut dyn Session, input: Tensor) -> Result<Vec<Tensor>, Error> {
    let call = Call {
        inputs: &[Value::Host(input)],
        keep_on_device: &[],
        deadline: None,
        cancel: &Cancel::default(),
    };
    let answer = session.run(call)?;
    Ok(answer.into_iter().map(|value| value.into_host().unwrap()).collect())
}

/// Gives `elements` to the model that appends the edge values of its type, and takes them back with the edges.
fn append<T: Element + Clone>(engine: &ort::Engine, elements: Vec<T>) -> Vec<T> {
    let mut session = load(engine, &format!("dtypes/{}.onnx", T::DTYPE), &[]);
    let input = Tensor::from_vec([elements.len()], elements).unwrap();
    let answer = run(session.as_mut(), input).unwrap().remove(0);
    let (shape, data) = answer.into_parts();
    let elements = T::take(data).unwrap();
    assert_eq!(shape, [elements.len()]);
    elements
}

#[test]
fn every_type_goes_into_onnx_runtime_and_comes_out_with_its_edge_values() {
    let engine = &engine();
    macro_rules! appends {
        ($($type:ty: $input:expr => $edges:expr;)*) => { $(
            let mut expected: Vec<$type> = $input;
            expected.extend::<Vec<$type>>($edges);
            assert_eq!(append::<$type>(engine, $input), expected);
            assert_eq!(append::<$type>(engine, Vec::new()), $edges, "an empty tensor goes in too");
        )* };
    }
    appends! {
        i8: vec![1, -1] => vec![i8::MIN, i8::MAX];
        i16: vec![1, -1] => vec![i16::MIN, i16::MAX];
        i32: vec![1, -1] => vec![i32::MIN, i32::MAX];
        i64: vec![1, -1] => vec![i64::MIN, i64::MAX];
        u8: vec![1] => vec![u8::MIN, u8::MAX];
        u16: vec![1] => vec![u16::MIN, u16::MAX];
        u32: vec![1] => vec![u32::MIN, u32::MAX];
        u64: vec![1] => vec![u64::MIN, u64::MAX];
        bool: vec![true, false] => vec![false, true];
        String: vec!["one".to_owned(), String::new()] =>
            vec![String::new(), "naïve 数 \u{1f600}".to_owned(), "line\n\"quote\"".to_owned()];
    }
    macro_rules! appends_floats {
        ($($type:ty: $one:expr, $least:expr, $bits:ident;)*) => { $(
            let bits = |values: Vec<$type>| values.into_iter().map(<$type>::$bits).collect::<Vec<_>>();
            let answer = append::<$type>(engine, vec![$one]);
            assert!(answer[1].is_nan());
            let expected = vec![$one, <$type>::INFINITY, <$type>::NEG_INFINITY, -($one - $one), <$type>::MAX, $least];
            let without_nan = [&answer[..1], &answer[2..]].concat();
            assert_eq!(bits(without_nan), bits(expected));
        )* };
    }
    appends_floats! {
        f32: 1.0, f32::from_bits(1), to_bits;
        f64: 1.0, f64::from_bits(1), to_bits;
        f16: f16::ONE, f16::from_bits(1), to_bits;
        bf16: bf16::ONE, bf16::from_bits(1), to_bits;
    }
}

#[test]
fn a_scalar_goes_in_and_comes_out_as_a_scalar() {
    let engine = engine();
    let mut session = load(&engine, "dtypes/scalar.onnx", &[]);
    let answer = run(session.as_mut(), Tensor::from_vec([], vec![41f32]).unwrap()).unwrap();
    assert_eq!(answer, [Tensor::from_vec([], vec![42f32]).unwrap()]);
}

#[test]
fn an_input_that_does_not_fit_the_signature_is_refused_by_name_and_the_session_goes_on() {
    let engine = engine();
    let mut session = load(&engine, "mlp/model.onnx", &[]);
    let ones = |shape: &[usize]| Tensor::from_vec(shape, vec![1f32; shape.iter().product()]).unwrap();

    let shape = run(session.as_mut(), ones(&[1, 5])).unwrap_err();
    assert_eq!(
        shape.to_string(),
        "input `x` takes the shape [N, 4], and was given [1, 5]"
    );
    let dtype = run(session.as_mut(), Tensor::from_vec([1, 4], vec![1i64; 4]).unwrap()).unwrap_err();
    assert_eq!(dtype.to_string(), "input `x` takes float32, and was given int64");
    let huge = Tensor::new([usize::MAX / 2, 4, 0], Data::F32(Vec::new())).unwrap();
    assert!(matches!(run(session.as_mut(), huge), Err(Error::InputShape { .. })));
    let none = session.run(Call {
        inputs: &[],
        keep_on_device: &[],
        deadline: None,
        cancel: &Cancel::default(),
    });
    assert!(matches!(none, Err(Error::InputCount { expected: 1, found: 0 })));

    let answer = run(session.as_mut(), ones(&[2, 4])).unwrap();
    assert_eq!(answer[0].shape(), [2, 3]);
    let sum: f32 = answer[0].elements::<f32>().unwrap().iter().sum();
    assert!((sum - 2.0).abs() < 1e-5, "two rows of probabilities: {sum}");
    let empty = run(session.as_mut(), ones(&[0, 4])).unwrap();
    assert_eq!(empty[0].shape(), [0, 3]);
}

#[test]
fn external_data_is_read_from_where_the_files_lie() {
    let engine = engine();
    let external = ["weights.bin", "more/weights.bin"];
    let mut beside = load(&engine, "external/model.onnx", &external);
    let input = || Tensor::from_vec([1, 16], vec![0.5f32; 16]).unwrap();
    let expected = run(beside.as_mut(), input()).unwrap();

    // As in the store: files of one folder, under names of their own.
    let store = tempfile::tempdir().unwrap();
    let graph = fixture("external/model.onnx");
    let mut files = ModelFiles {
        graph: store.path().join("0a"),
        external: Default::default(),
    };
    std::fs::copy(&graph, &files.graph).unwrap();
    for (location, blob) in external.iter().zip(["0b", "0c"]) {
        let blob = store.path().join(blob);
        std::fs::copy(graph.with_file_name(location), &blob).unwrap();
        files.external.insert((*location).to_owned(), blob);
    }
    let mut stored = load_files(&engine, &files).unwrap();
    assert_eq!(run(stored.as_mut(), input()).unwrap(), expected);

    files.external.remove("more/weights.bin");
    let error = load_files(&engine, &files).err().unwrap();
    assert!(matches!(&error, Error::ExternalUnknown { .. }), "{error}");
    assert!(error.to_string().contains("more/weights.bin"), "{error}");
}

#[test]
#[cfg(target_os = "linux")]
fn external_weights_are_mapped_and_not_copied() {
    const WEIGHTS_BYTES: u64 = 256 << 20;
    let folder = tempfile::tempdir().unwrap();
    let files = write_wide(folder.path(), WEIGHTS_BYTES);
    let engine = engine();
    let watchdog = Watchdog::start(Limits::default(), |broken| panic!("{broken}")).unwrap();
    let before = watchdog.peak().anonymous_bytes;
    let mut session = load_files(&engine, &files).unwrap();
    let answer = run(session.as_mut(), Tensor::from_vec([1, 1024], vec![1f32; 1024]).unwrap()).unwrap();
    assert_eq!(answer[0].shape()[0], 1);
    let grown = watchdog.peak().anonymous_bytes - before;
    assert!(
        grown < WEIGHTS_BYTES / 4,
        "{grown} bytes of anonymous memory for {WEIGHTS_BYTES} of weights"
    );
}

#[test]
#[cfg(target_os = "linux")]
fn sessions_of_one_model_share_its_weights_as_they_lie_and_as_they_are_rearranged() {
    const WEIGHTS_BYTES: u64 = 128 << 20;
    let folder = tempfile::tempdir().unwrap();
    let files = write_wide(folder.path(), WEIGHTS_BYTES);
    let engine = engine();
    let model = Model::parse(std::fs::read(&files.graph).unwrap().into()).unwrap();
    let source = Source {
        files: &files,
        model: &model,
        signature: &model.signature().unwrap(),
    };
    for prepack in [false, true] {
        let options = SessionOptions {
            prepack,
            ..SessionOptions::default()
        };
        let mut open = Vec::new();
        let mut answers = Vec::new();
        let mut grown = Vec::new();
        let before = anonymous_bytes();
        for _ in 0..4 {
            let mut session = engine.load(&source, &options).unwrap();
            let x = Tensor::from_vec([1, 1024], vec![1f32; 1024]).unwrap();
            answers.push(run(session.as_mut(), x).unwrap());
            open.push(session);
            grown.push(anonymous_bytes().saturating_sub(before));
        }
        assert!(answers.iter().all(|answer| answer == &answers[0]));
        // The first makes the rearranged copy; the others add next to nothing.
        let more = grown[3].saturating_sub(grown[0]);
        assert!(more < WEIGHTS_BYTES / 8, "prepack {prepack}: {grown:?}");
        assert_eq!(grown[0] > WEIGHTS_BYTES, prepack, "{grown:?}");
        // A session that is left uses what the others made, though they are gone.
        let mut last = open.pop().unwrap();
        drop(open);
        let x = Tensor::from_vec([1, 1024], vec![1f32; 1024]).unwrap();
        assert_eq!(run(last.as_mut(), x).unwrap(), answers[0]);
    }
}

/// The memory of this process that is no file's, now.
#[cfg(target_os = "linux")]
fn anonymous_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

/// Writes a model that multiplies by external weights of zeros, which take no room on disk.
#[cfg(target_os = "linux")]
fn write_wide(folder: &Path, weights_bytes: u64) -> ModelFiles {
    let width = (weights_bytes / 4 / 1024) as i64;
    let graph = GraphProto {
        node: vec![graph::node("MatMul", &["x", "w"], &["y"])],
        input: vec![graph::port("x", DType::F32, &[1, 1024])],
        output: vec![graph::port("y", DType::F32, &[1, width])],
        initializer: vec![graph::external("w", DType::F32, &[1024, width], "w.bin")],
        ..Default::default()
    };
    let files = ModelFiles {
        graph: graph::write(folder, graph, Vec::new()),
        external: [("w.bin".to_owned(), folder.join("0d"))].into(),
    };
    let weights = std::fs::File::create(folder.join("0d")).unwrap();
    weights.set_len(weights_bytes).unwrap();
    files
}

#[test]
fn a_running_call_is_stopped_by_a_cancel_and_by_its_deadline_and_the_session_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let files = ModelFiles {
        graph: graph::write_endless_loop(folder.path()),
        external: Default::default(),
    };
    let mut session = load_files(&engine(), &files).unwrap();
    let inputs = [Value::Host(Tensor::from_vec([1], vec![1f32]).unwrap())];
    let mut call = |deadline, cancel: &Cancel| {
        let began = Instant::now();
        let answer = session.run(Call {
            inputs: &inputs,
            keep_on_device: &[],
            deadline,
            cancel,
        });
        assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
        answer
    };
    for _ in 0..3 {
        let deadline = Instant::now() + Duration::from_millis(50);
        let late = call(Some(deadline), &Cancel::default());
        assert!(matches!(late, Err(Error::DeadlinePassed)), "{late:?}");
        assert!(Instant::now() >= deadline, "not before its time");
        let cancel = Cancel::default();
        let canceller = thread::spawn({
            let cancel = cancel.clone();
            move || {
                thread::sleep(Duration::from_millis(50));
                cancel.cancel();
            }
        });
        let stopped = call(None, &cancel);
        assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
        canceller.join().unwrap();
    }
}

#[test]
fn a_signature_that_is_not_the_models_is_refused() {
    let engine = engine();
    let files = ModelFiles {
        graph: fixture("mlp/model.onnx"),
        external: Default::default(),
    };
    let model = Model::parse(std::fs::read(&files.graph).unwrap().into()).unwrap();
    let mut signature = model.signature().unwrap();
    signature.inputs[0].name = TensorName::new("z");
    let source = Source {
        files: &files,
        model: &model,
        signature: &signature,
    };
    let refused = engine.load(&source, &SessionOptions::default()).err().unwrap();
    assert!(matches!(refused, Error::PortNames { .. }), "{refused}");
}

#[test]
fn the_library_of_the_python_environment_is_found_and_shared_by_every_engine() {
    let library = |engine: &ort::Engine| (engine.library().origin, engine.library().path.clone());
    let (origin, path) = library(&engine());
    assert_eq!(origin, Origin::Python);
    assert!(path.is_absolute());
    assert_eq!(
        library(&engine()),
        (origin, path),
        "a second engine of one process shares the first one's library"
    );
    let other = LibrarySources {
        explicit: Some(fixture("mlp/model.onnx")),
        ..LibrarySources::default()
    };
    let error = ort::Engine::open(&other).unwrap_err();
    assert!(matches!(error, Error::OtherLibrary { .. }), "{error}");
}

#[test]
fn a_call_with_a_deadline_in_the_past_does_not_run() {
    let engine = engine();
    let mut session = load(&engine, "mlp/model.onnx", &[]);
    let inputs = [Value::Host(Tensor::from_vec([1, 4], vec![1f32; 4]).unwrap())];
    let mut call = |deadline, cancel: &Cancel| {
        session.run(Call {
            inputs: &inputs,
            keep_on_device: &[],
            deadline,
            cancel,
        })
    };
    let cancelled = Cancel::default();
    cancelled.cancel();
    assert!(matches!(call(None, &cancelled), Err(Error::Cancelled)));
    let now = Instant::now();
    assert!(matches!(
        call(Some(now), &Cancel::default()),
        Err(Error::DeadlinePassed)
    ));
    let later = now + Duration::from_secs(60);
    assert!(
        call(Some(later), &Cancel::default()).is_ok(),
        "the session is as good as before"
    );
}

#[test]
fn what_computes_with_shapes_folds_away_where_the_sizes_are_fixed() {
    let files = ModelFiles {
        graph: real_model("minilm"),
        external: Default::default(),
    };
    let model = Model::parse(std::fs::read(&files.graph).unwrap().into()).unwrap();
    let signature = model.signature().unwrap();
    let source = Source {
        files: &files,
        model: &model,
        signature: &signature,
    };
    let sizes = [("batch", 2), ("sequence", 5)].map(|(name, size)| (name.to_owned(), size));
    let load = |dimensions| {
        let options = SessionOptions {
            explain: true,
            dimensions,
            ..SessionOptions::default()
        };
        engine().load(&source, &options).unwrap()
    };
    let shape_nodes = |session: &dyn Session| {
        let parts = session.assignment().unwrap().partitions.iter();
        let nodes = parts.flat_map(|part| &part.nodes);
        nodes
            .filter(|node| ["Shape", "Range", "Squeeze"].contains(&node.operator.as_str()))
            .count()
    };
    let (mut any, mut fixed) = (load(Default::default()), load(sizes.into()));
    assert!(shape_nodes(any.as_ref()) > 0);
    assert_eq!(shape_nodes(fixed.as_ref()), 0);
    let answer = |session: &mut Box<dyn Session>, length: usize| {
        let ids = [101i64, 2023, 2003, 1037, 102].repeat(2)[..2 * length].to_vec();
        let tensors = [ids, vec![1; 2 * length], vec![0; 2 * length]];
        let inputs = tensors.map(|elements| Value::Host(Tensor::from_vec([2, length], elements).unwrap()));
        let outputs = session.run(Call {
            inputs: &inputs,
            keep_on_device: &[],
            deadline: None,
            cancel: &Cancel::default(),
        })?;
        Ok::<_, Error>(outputs.into_iter().next().unwrap().into_host().unwrap())
    };
    let [one, other] = [&mut any, &mut fixed].map(|session| answer(session, 5).unwrap());
    let pairs = one
        .elements::<f32>()
        .unwrap()
        .iter()
        .zip(other.elements::<f32>().unwrap());
    assert!(pairs.map(|(one, other)| (one - other).abs()).fold(0.0, f32::max) < 1e-5);
    assert!(answer(&mut fixed, 4).is_err(), "it is for its sizes alone");
}
