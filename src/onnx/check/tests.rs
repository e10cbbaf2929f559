use std::collections::BTreeMap;

use crate::onnx::proto::*;
use crate::onnx::sample::*;
use crate::onnx::{DimsFault, Error, LocationFault, SparseFault};

/// The one file that comes with each model here: 16 bytes.
fn files() -> BTreeMap<String, u64> {
    BTreeMap::from([("w.bin".to_owned(), 16)])
}

/// Gives the reason against a model, and sees that it is told in one line of bounded length.
fn refusal(model: &ModelProto) -> Error {
    let error = match parse(model).and_then(|model| model.check(&files())) {
        Ok(()) => panic!("the model passes: {model:?}"),
        Err(error) => error,
    };
    let message = error.to_string();
    assert!(
        !message.contains(char::is_control) && message.len() < 1500,
        "{message:?}"
    );
    error
}

fn passes(model: &ModelProto) {
    parse(model).unwrap().check(&files()).unwrap();
}

macro_rules! refused {
    ($model:expr, $reason:pat $(if $guard:expr)?) => {{
        let error = refusal(&$model);
        assert!(matches!(&error, $reason $(if $guard)?), "{error:?}");
        error.to_string()
    }};
}

#[test]
fn an_honest_model_passes() {
    passes(&relu());
    passes(&holding(vec![
        external("w", &[("location", "w.bin"), ("offset", "8"), ("length", "8")]),
        external("all", &[("location", "w.bin")]),
        raw("b", 1, &[2], &[0; 8]),
        raw("four_bits", 22, &[3], &[0; 2]),
        raw("empty", 1, &[0, 3], &[]),
        raw("scalar", 7, &[], &[0; 8]),
    ]));
}

#[test]
fn a_location_outside_is_refused_wherever_it_is_named() {
    let escape = || external("w", &[("location", "../../etc/passwd")]);
    let sparse = |values: TensorProto, indices: TensorProto| SparseTensorProto {
        values: Some(values),
        indices: Some(indices),
        dims: vec![4],
    };
    let indices = || raw("", 7, &[2], &[0; 16]);
    let outside = |data_type| TensorProto {
        data_type: Some(data_type),
        ..escape()
    };
    let body = || GraphProto {
        initializer: vec![escape()],
        ..Default::default()
    };
    let branch = |graph| with(node("If", &["c"], &["z"]), graph_attribute("then_branch", graph));
    let constant = || with(node("Constant", &[], &["k"]), tensor_attribute("value", escape()));
    let sparse_model = |tensor| {
        let mut model = relu();
        graph(&mut model).sparse_initializer = vec![tensor];
        model
    };
    let listed = AttributeProto {
        name: Some("values".into()),
        r#type: Some(9),
        tensors: vec![escape()],
        ..Default::default()
    };
    let listed_graphs = AttributeProto {
        name: Some("graphs".into()),
        r#type: Some(10),
        graphs: vec![body()],
        ..Default::default()
    };
    let sparse_attribute = AttributeProto {
        name: Some("sparse_value".into()),
        r#type: Some(11),
        sparse_tensor: Some(Box::new(sparse(escape(), indices()))),
        ..Default::default()
    };
    let functions = |nodes| ModelProto {
        functions: vec![function("F", nodes)],
        ..relu()
    };
    let mut defaults = function("G", Vec::new());
    defaults.attribute_proto = vec![tensor_attribute("default", escape())];
    for (place, model) in [
        ("initializer", holding(vec![escape()])),
        ("attribute", running(vec![constant()])),
        (
            "attribute of tensors",
            running(vec![with(node("Op", &[], &["k"]), listed)]),
        ),
        ("sparse values", sparse_model(sparse(escape(), indices()))),
        (
            "sparse indices",
            sparse_model(sparse(raw("", 1, &[2], &[0; 8]), outside(7))),
        ),
        (
            "sparse attribute",
            running(vec![with(node("Constant", &[], &["k"]), sparse_attribute)]),
        ),
        ("subgraph", running(vec![branch(body())])),
        (
            "attribute of graphs",
            running(vec![with(node("Op", &[], &["k"]), listed_graphs)]),
        ),
        (
            "subgraph of a subgraph",
            running(vec![branch(GraphProto {
                node: vec![branch(body())],
                ..Default::default()
            })]),
        ),
        ("function", functions(vec![constant()])),
        ("subgraph of a function", functions(vec![branch(body())])),
        (
            "default of a function's attribute",
            ModelProto {
                functions: vec![defaults],
                ..relu()
            },
        ),
    ] {
        let error = refusal(&model);
        assert!(
            matches!(
                &error,
                Error::Location {
                    fault: LocationFault::Parent,
                    ..
                }
            ),
            "{place}: {error:?}"
        );
    }
}

#[test]
fn a_location_is_refused_for_what_is_wrong_with_it() {
    for (location, expected) in [
        ("", LocationFault::Empty),
        ("/etc/passwd", LocationFault::Absolute),
        ("C:w.bin", LocationFault::Drive),
        ("\\\\host\\share", LocationFault::Backslash),
        ("w.bin\0x", LocationFault::Nul),
        ("*/_ORT_MEM_ADDR_/*", LocationFault::Memory),
    ] {
        let message = refused!(
            holding(vec![external("w", &[("location", location)])]),
            Error::Location { fault, .. } if *fault == expected
        );
        assert!(message.starts_with("initializer `w` has its data in `"), "{message}");
    }
    refused!(
        holding(vec![external("w", &[("offset", "0")])]),
        Error::NoLocation { .. }
    );
    refused!(holding(vec![external("w", &[])]), Error::NoLocation { .. });
}

#[test]
fn external_data_lies_within_a_file_of_the_bundle() {
    let at = |offset: &str, length: &str| {
        holding(vec![external(
            "w",
            &[("location", "w.bin"), ("offset", offset), ("length", length)],
        )])
    };
    let message = refused!(
        holding(vec![external("w", &[("location", "other.bin")])]),
        Error::NotInBundle { .. }
    );
    assert_eq!(
        message,
        "initializer `w` has its data in `other.bin`, which is not a file of the model"
    );
    refused!(
        at("9", "8"),
        Error::PastEnd {
            offset_bytes: 9,
            file_bytes: 16,
            ..
        }
    );
    refused!(at("18446744073709551615", "8"), Error::PastEnd { .. });
    refused!(at("9223372036854775807", "8"), Error::PastEnd { .. });
    for number in ["-1", "+8", " 8", "8 ", "1e3", "0x8", "", "8.0", "18446744073709551616"] {
        refused!(at(number, "8"), Error::ExternalNumber { key: "offset", .. });
        refused!(at("0", number), Error::ExternalNumber { key: "length", .. });
    }
    refused!(
        at("0", "16"),
        Error::ExternalLength {
            needed_bytes: 8,
            length_bytes: 16,
            ..
        }
    );
    refused!(at("0", "0"), Error::ExternalLength { .. });
    refused!(
        holding(vec![external("w", &[("location", "w.bin"), ("location", "../w.bin")])]),
        Error::Location { .. }
    );
    refused!(
        holding(vec![external("w", &[("location", "w.bin"), ("location", "w.bin")])]),
        Error::ExternalTwice { .. }
    );
}

#[test]
fn external_data_without_its_mark_is_still_external() {
    let mut tensor = external("w", &[("location", "../w.bin")]);
    tensor.data_location = None;
    refused!(holding(vec![tensor.clone()]), Error::Location { .. });
    tensor.raw_data = Some(vec![0; 8].into());
    refused!(holding(vec![tensor]), Error::TwoSources { .. });
}

#[test]
fn strings_are_not_external() {
    let mut tensor = external("s", &[("location", "w.bin")]);
    tensor.data_type = Some(8);
    refused!(holding(vec![tensor]), Error::ExternalStrings { .. });
}

#[test]
fn prepacked_weights_of_others_are_refused() {
    let tensor = external("w", &[("location", "w.bin"), ("prepacked_0", "key|0;8;")]);
    refused!(holding(vec![tensor]), Error::Prepacked { .. });
}

#[test]
fn dimensions_are_counts_whose_product_is_one() {
    for dims in [&[-1][..], &[2, i64::MIN]] {
        refused!(
            holding(vec![raw("w", 1, dims, &[])]),
            Error::Dims {
                fault: DimsFault::Negative(_),
                ..
            }
        );
    }
    refused!(
        holding(vec![raw("w", 1, &[1 << 32, 1 << 32], &[])]),
        Error::Dims {
            fault: DimsFault::Overflow(_),
            ..
        }
    );
    refused!(
        holding(vec![raw("w", 11, &[i64::MAX], &[0; 8])]),
        Error::TensorSize { .. }
    );
    let mut tensor = external("w", &[("location", "w.bin")]);
    tensor.dims = vec![1 << 32, 1 << 32];
    refused!(holding(vec![tensor]), Error::Dims { .. });
}

#[test]
fn a_tensor_has_the_data_that_its_dimensions_need() {
    refused!(
        holding(vec![raw("w", 1, &[2], &[0; 7])]),
        Error::RawLength {
            needed_bytes: 8,
            found_bytes: 7,
            ..
        }
    );
    refused!(holding(vec![raw("w", 1, &[2], &[0; 9])]), Error::RawLength { .. });
    refused!(
        holding(vec![raw("w", 1, &[2], &[])]),
        Error::ElementCount {
            needed: 2,
            found: 0,
            ..
        }
    );
    refused!(holding(vec![raw("w", 8, &[1], b"text")]), Error::WrongField { .. });
    let typed = |data_type: i32, dims: &[i64]| TensorProto {
        name: Some("w".into()),
        data_type: Some(data_type),
        dims: dims.to_vec(),
        ..Default::default()
    };
    let numbers = |bytes: &[u8]| vec![prost::bytes::Bytes::copy_from_slice(bytes)];
    let int64 = |bytes: &[u8], dims: &[i64]| TensorProto {
        int64_data: numbers(bytes),
        ..typed(7, dims)
    };
    passes(&holding(vec![int64(&[1, 0xff, 1], &[2])]));
    refused!(
        holding(vec![int64(&[1, 0xff, 1], &[3])]),
        Error::ElementCount { found: 2, .. }
    );
    refused!(holding(vec![int64(&[1, 0xff], &[2])]), Error::Packed { .. });
    refused!(
        holding(vec![TensorProto {
            float_data: numbers(&[0; 4]),
            ..typed(7, &[1])
        }]),
        Error::WrongField {
            field: "float_data",
            ..
        }
    );
    refused!(
        holding(vec![TensorProto {
            float_data: numbers(&[0; 4]),
            ..raw("w", 1, &[1], &[0; 4])
        }]),
        Error::TwoSources { .. }
    );
    refused!(
        holding(vec![TensorProto {
            segment: Some(vec![8, 0].into()),
            ..raw("w", 1, &[1], &[0; 4])
        }]),
        Error::Segment { .. }
    );
}

#[test]
fn element_types_are_those_of_onnx() {
    for number in [0, -1, 99, i32::MAX] {
        refused!(holding(vec![raw("w", number, &[0], &[])]), Error::TensorType { .. });
    }
    let mut model = relu();
    graph(&mut model).input = vec![port("x", 99, &[1])];
    refused!(model, Error::PortType { number: 99, .. });
}

#[test]
fn sparse_tensors_fit_together() {
    let sparse = |values: &[i64], indices: TensorProto, dims: &[i64]| {
        let count = values.iter().product::<i64>().unsigned_abs() as usize;
        let mut model = relu();
        graph(&mut model).sparse_initializer = vec![SparseTensorProto {
            values: Some(raw("s", 1, values, &vec![0; 4 * count])),
            indices: Some(indices),
            dims: dims.to_vec(),
        }];
        model
    };
    let at = |dims: &[i64], places: &[i64]| {
        let bytes: Vec<u8> = places.iter().flat_map(|place| place.to_le_bytes()).collect();
        raw("", 7, dims, &bytes)
    };
    passes(&sparse(&[2], at(&[2], &[0, 11]), &[3, 4]));
    passes(&sparse(&[2], at(&[2, 2], &[0, 1, 2, 3]), &[3, 4]));
    for (model, expected) in [
        (sparse(&[2], at(&[2], &[0, 12]), &[3, 4]), SparseFault::Index(12)),
        (sparse(&[2], at(&[2], &[0, -1]), &[3, 4]), SparseFault::Index(-1)),
        (sparse(&[2], at(&[2, 2], &[0, 1, 3, 0]), &[3, 4]), SparseFault::Index(3)),
        (sparse(&[2], at(&[1], &[0]), &[3, 4]), SparseFault::IndexShape),
        (sparse(&[1, 2], at(&[2], &[0, 1]), &[3, 4]), SparseFault::Values),
        (sparse(&[2], at(&[2], &[0, 0]), &[1]), SparseFault::Count),
        (sparse(&[2], raw("", 6, &[2], &[0; 8]), &[3, 4]), SparseFault::IndexType),
    ] {
        refused!(model, Error::Sparse { fault, .. } if *fault == expected);
    }
    refused!(sparse(&[2], at(&[2], &[0, 1]), &[1 << 40, 1 << 40]), Error::Dims { .. });
    let mut model = sparse(&[2], at(&[2], &[0, 1]), &[2]);
    graph(&mut model).sparse_initializer[0].indices = None;
    refused!(
        model,
        Error::Sparse {
            fault: SparseFault::Part,
            ..
        }
    );
}

#[test]
fn operator_sets_are_imported_once_in_a_version_that_exists() {
    let importing = |opsets: &[(&str, i64)]| ModelProto {
        opset_import: opsets.iter().map(|(domain, version)| opset(domain, *version)).collect(),
        ..relu()
    };
    for version in [1 << 40, 0, -1, i64::MAX, i64::MIN] {
        refused!(importing(&[("", version)]), Error::OpsetVersion { .. });
    }
    refused!(importing(&[]), Error::OpsetMissing { .. });
    refused!(importing(&[("ai.onnx.ml", 3)]), Error::OpsetMissing { .. });
    refused!(importing(&[("", 17), ("", 17)]), Error::OpsetTwice { .. });
    refused!(importing(&[("", 17), ("ai.onnx", 18)]), Error::OpsetTwice { .. });
    let mut inner = function("F", Vec::new());
    inner.opset_import.push(opset("ai.onnx", 1 << 40));
    refused!(
        ModelProto {
            functions: vec![inner],
            ..relu()
        },
        Error::OpsetVersion { .. }
    );
}

#[test]
fn operators_are_of_known_domains_or_defined_in_the_model() {
    let message = refused!(
        running(vec![foreign_node("evil.ops", "Run", &["z"])]),
        Error::Domain { .. }
    );
    assert!(
        message.starts_with("Run node that gives `z` is of domain `evil.ops`"),
        "{message}"
    );
    passes(&running(vec![foreign_node("com.microsoft", "Gelu", &["z"])]));
    passes(&running(vec![foreign_node("ai.onnx", "Relu", &["z"])]));
    let mut model = running(vec![foreign_node("own", "F", &["z"])]);
    refused!(model, Error::Domain { .. });
    model.functions = vec![function("F", vec![node("Relu", &["x"], &["y"])])];
    passes(&model);
    let inside = |op| function("F", vec![foreign_node("evil.ops", op, &["y"])]);
    model.functions = vec![inside("Run")];
    refused!(model, Error::Domain { .. });
}

#[test]
fn programs_compiled_for_an_accelerator_are_refused() {
    let path = AttributeProto {
        name: Some("ep_cache_context".into()),
        r#type: Some(3),
        s: Some("/etc/passwd".into()),
        ..Default::default()
    };
    let context = |domain| with(foreign_node(domain, "EPContext", &["z"]), path.clone());
    refused!(running(vec![context("com.microsoft")]), Error::Compiled { .. });
    let mut model = running(vec![context("own")]);
    model.functions = vec![function("EPContext", vec![node("Relu", &["x"], &["y"])])];
    refused!(model, Error::Compiled { .. });
}

#[test]
fn functions_do_not_call_themselves() {
    let calls = |name: &str, called: &str| function(name, vec![foreign_node("own", called, &["y"])]);
    let model = |functions| ModelProto { functions, ..relu() };
    refused!(model(vec![calls("F", "F")]), Error::Recursion { .. });
    refused!(
        model(vec![calls("F", "G"), calls("G", "H"), calls("H", "F")]),
        Error::Recursion { .. }
    );
    // Through a subgraph.
    let body = GraphProto {
        node: vec![foreign_node("own", "F", &["z"])],
        ..Default::default()
    };
    let branch = with(node("If", &["x"], &["y"]), graph_attribute("then_branch", body));
    refused!(model(vec![function("F", vec![branch])]), Error::Recursion { .. });
    refused!(
        model(vec![function("F", Vec::new()), function("F", Vec::new())]),
        Error::FunctionTwice { .. }
    );
}

#[test]
fn a_function_bomb_is_refused_without_being_lit() {
    // Each level calls the next twice: 2^60 nodes from a file of 6 kB.
    let level = |at: usize| {
        let next = format!("F{}", at + 1);
        let calls = vec![foreign_node("own", &next, &["a"]), foreign_node("own", &next, &["y"])];
        function(&format!("F{at}"), calls)
    };
    let bomb = |levels: usize| {
        let mut model = running(vec![foreign_node("own", "F0", &["z"])]);
        model.functions = (0..levels).map(level).collect();
        model
            .functions
            .push(function(&format!("F{levels}"), vec![node("Relu", &["x"], &["y"])]));
        model
    };
    passes(&bomb(10));
    refused!(bomb(60), Error::Expansion { nodes } if *nodes > 1 << 60);
    refused!(bomb(5000), Error::CallDepth { .. });
}

#[test]
fn a_value_comes_from_one_place() {
    let scalar = |name: &str| raw(name, 1, &[], &[0; 4]);
    refused!(holding(vec![scalar("w"), scalar("w")]), Error::InitializerTwice { .. });
    refused!(running(vec![node("Relu", &["x"], &["y"])]), Error::ValueTwice { .. });
    refused!(running(vec![node("Relu", &["x"], &["x"])]), Error::ValueTwice { .. });
    refused!(holding(vec![scalar("y")]), Error::ValueTwice { .. });
    let mut model = relu();
    graph(&mut model).input.push(port("x", 1, &[1]));
    refused!(model, Error::ValueTwice { .. });
    // An input with a default.
    passes(&holding(vec![raw("x", 1, &[1, 4], &[0; 16])]));
}

#[test]
fn a_graph_gives_something() {
    let mut model = relu();
    graph(&mut model).output.clear();
    refused!(model, Error::NoOutput);
}

#[test]
fn attributes_have_one_value() {
    let twice = with(with(node("Op", &["x"], &["z"]), int("axis", 1)), int("axis", 2));
    refused!(running(vec![twice]), Error::AttributeTwice { .. });
    let mut both = int("axis", 1);
    both.ints = vec![2];
    refused!(
        running(vec![with(node("Op", &["x"], &["z"]), both)]),
        Error::AttributeKind { .. }
    );
    let mut unknown = int("axis", 1);
    unknown.r#type = Some(99);
    refused!(
        running(vec![with(node("Op", &["x"], &["z"]), unknown)]),
        Error::AttributeKind { .. }
    );
}

#[test]
fn what_a_later_format_may_hide_is_refused() {
    let mut model = relu();
    model.ir_version = Some(i64::MAX);
    refused!(model, Error::IrVersion { .. });
    let mut model = relu();
    model.training_info = vec![vec![0x0a, 0].into()];
    refused!(model, Error::Training);
    // Field 99 of the model, one byte long.
    let mut bytes = prost::Message::encode_to_vec(&relu());
    bytes.extend([0x9a, 0x06, 1, 0]);
    let error = crate::onnx::Model::parse(bytes.into())
        .unwrap()
        .check(&files())
        .unwrap_err();
    assert!(matches!(error, Error::UnknownField { field: 99, .. }), "{error:?}");
}

#[test]
fn a_file_that_says_a_thing_twice_is_refused() {
    // A second graph after the first: some readers join the two, some take the last.
    let mut bytes = prost::Message::encode_to_vec(&relu());
    bytes.extend([0x3a, 0]);
    let error = crate::onnx::Model::parse(bytes.into())
        .unwrap()
        .check(&files())
        .unwrap_err();
    assert!(
        matches!(
            error,
            Error::DoubledField {
                message: "Model",
                field: 7
            }
        ),
        "{error:?}"
    );
}

#[test]
fn names_of_ten_megabytes_come_out_as_one_short_line() {
    let name = "n\n\x1b]0;\u{202e}".repeat(1 << 20);
    let mut tensor = raw(&name, 99, &[0], &[]);
    refused!(holding(vec![tensor.clone()]), Error::TensorType { .. });
    tensor.data_type = Some(1);
    tensor.external_data = external("", &[("location", &name)]).external_data;
    refused!(holding(vec![tensor]), Error::NotInBundle { .. });
    refused!(
        running(vec![foreign_node(&name, &name, &[&name])]),
        Error::Domain { .. }
    );
    let model = parse(&running(vec![node(&name, &["x"], &["z"])])).unwrap();
    let summary = format!("{:?}", model.summary().operators);
    assert!(summary.len() < 2000);
    let mut model = relu();
    graph(&mut model).input = vec![port(&name, 99, &[1])];
    let message = parse(&model).unwrap().signature().unwrap_err().to_string();
    assert!(!message.contains(char::is_control) && message.len() < 1000);
}

#[test]
fn options_in_the_metadata_change_nothing() {
    let mut model = relu();
    model.metadata_props = vec![StringStringEntryProto {
        key: Some("ort_config".into()),
        value: Some(r#"{"session_options": {"intra_op_num_threads": 4096}}"#.into()),
    }];
    passes(&model);
    let parsed = parse(&model).unwrap();
    assert_eq!(
        parsed.signature().unwrap(),
        parse(&relu()).unwrap().signature().unwrap()
    );
    assert_eq!(parsed.summary().metadata.len(), 1);
}
