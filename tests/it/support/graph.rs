//! Models that are made rather than kept: small graphs by hand, hostile ones among them.

use std::path::{Path, PathBuf};

use gpux::onnx::proto::tensor_shape_proto::{Dimension, dimension};
use gpux::onnx::proto::type_proto::{self, Value};
use gpux::onnx::proto::{AttributeProto, FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};
use gpux::onnx::proto::{StringStringEntryProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};
use gpux::tensor::DType;
use prost::Message;

/// An input or output of fixed sizes.
pub fn port(name: &str, dtype: DType, sizes: &[i64]) -> ValueInfoProto {
    let dim = |&size| Dimension {
        value: Some(dimension::Value::DimValue(size)),
        ..Default::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(dtype.onnx()),
        shape: Some(TensorShapeProto {
            dim: sizes.iter().map(dim).collect(),
        }),
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(tensor)),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A tensor whose elements are these bytes.
pub fn tensor(name: &str, dtype: DType, sizes: &[i64], bytes: &[u8]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(dtype.onnx()),
        dims: sizes.to_vec(),
        raw_data: Some(bytes.to_vec().into()),
        ..Default::default()
    }
}

/// A tensor whose elements are in another file.
pub fn external(name: &str, dtype: DType, sizes: &[i64], location: &str) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(dtype.onnx()),
        dims: sizes.to_vec(),
        data_location: Some(1),
        external_data: vec![StringStringEntryProto {
            key: Some("location".into()),
            value: Some(location.as_bytes().to_vec().into()),
        }],
        ..Default::default()
    }
}

/// A tensor whose elements are in another file from an offset on.
pub fn external_at(name: &str, dtype: DType, sizes: &[i64], (location, offset): (&str, usize)) -> TensorProto {
    let mut tensor = external(name, dtype, sizes, location);
    tensor.external_data.push(StringStringEntryProto {
        key: Some("offset".into()),
        value: Some(offset.to_string().into_bytes().into()),
    });
    tensor
}

/// A function from `x` to `y` of these nodes and one more, which hands `x` on.
pub fn function(name: &str, mut nodes: Vec<NodeProto>) -> FunctionProto {
    nodes.push(node("Identity", &["x"], &["y"]));
    FunctionProto {
        name: Some(name.into()),
        domain: Some(FUNCTIONS.into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        node: nodes,
        opset_import: opsets(),
        ..Default::default()
    }
}

/// A model from `x` to `y` that adds one weight of so many float32 to it and multiplies by another.
pub fn write_two_weights(folder: &Path, length: usize) -> PathBuf {
    write_weights(folder, length, ["Add", "Mul"])
}

/// The same weights, used the other way round.
pub fn write_two_weights_otherwise(folder: &Path, length: usize) -> PathBuf {
    write_weights(folder, length, ["Mul", "Add"])
}

fn write_weights(folder: &Path, length: usize, operators: [&str; 2]) -> PathBuf {
    let weight = |name: &str, value: f32| {
        let bytes = value.to_le_bytes().repeat(length);
        tensor(name, DType::F32, &[length as i64], &bytes)
    };
    let nodes = vec![
        node(operators[0], &["x", "first"], &["between"]),
        node(operators[1], &["between", "second"], &["y"]),
    ];
    let mut graph = from_x_to_y(nodes, vec![weight("first", 1.0), weight("second", 2.0)]);
    graph.input = vec![port("x", DType::F32, &[length as i64])];
    graph.output = vec![port("y", DType::F32, &[length as i64])];
    write(folder, graph, Vec::new())
}

/// A model from `x` to `y` that adds a weight of so many float32 to it, which lies in a file from an offset on.
pub fn write_external_weight(folder: &Path, length: usize, place: (&str, usize)) -> PathBuf {
    let weight = external_at("w", DType::F32, &[length as i64], place);
    let mut graph = from_x_to_y(vec![node("Add", &["x", "w"], &["y"])], vec![weight]);
    graph.input = vec![port("x", DType::F32, &[length as i64])];
    graph.output = vec![port("y", DType::F32, &[length as i64])];
    write(folder, graph, Vec::new())
}

/// A model that gives the element at `x` of so many int64, all of which are `value`.
pub fn write_lookup(folder: &Path, length: usize, value: i64) -> PathBuf {
    let table = tensor(
        "table",
        DType::I64,
        &[length as i64],
        &value.to_le_bytes().repeat(length),
    );
    let mut graph = from_x_to_y(vec![node("Gather", &["table", "x"], &["y"])], vec![table]);
    graph.input = vec![port("x", DType::I64, &[1])];
    graph.output = vec![port("y", DType::I64, &[1])];
    write(folder, graph, Vec::new())
}

/// A model that gives the rows at `x`, three of them, of a table of float32 in a file.
pub fn write_table(folder: &Path, (rows, row): (usize, usize), location: &str) -> PathBuf {
    let table = external("table", DType::F32, &[rows as i64, row as i64], location);
    let mut graph = from_x_to_y(vec![node("Gather", &["table", "x"], &["y"])], vec![table]);
    graph.input = vec![port("x", DType::I64, &[3])];
    graph.output = vec![port("y", DType::F32, &[3, row as i64])];
    write(folder, graph, Vec::new())
}

/// A node of ONNX's own operators, named as its operator.
pub fn node(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        op_type: Some(operator.into()),
        name: Some(operator.to_lowercase()),
        input: names(inputs),
        output: names(outputs),
        ..Default::default()
    }
}

/// Writes `model.onnx` of opset 17 into `folder`.
pub fn write(folder: &Path, graph: GraphProto, functions: Vec<FunctionProto>) -> PathBuf {
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: opsets(),
        graph: Some(GraphProto {
            name: Some("made".into()),
            ..graph
        }),
        functions,
        ..Default::default()
    };
    let path = folder.join("model.onnx");
    std::fs::write(&path, model.encode_to_vec()).unwrap();
    path
}

/// The domain of functions that a model defines.
const FUNCTIONS: &str = "made";

fn opsets() -> Vec<OperatorSetIdProto> {
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    };
    vec![opset("", 17), opset(FUNCTIONS, 1)]
}

/// A model from `x` to `y`, one float32 each, that goes round 2^62 times.
pub fn write_endless_loop(folder: &Path) -> PathBuf {
    let trips = tensor("trips", DType::I64, &[], &(1i64 << 62).to_le_bytes());
    let graph = from_x_to_y(vec![doubling("trips", "x", DType::F32)], vec![trips, yes()]);
    write(folder, graph, Vec::new())
}

/// A model that goes round as often as `x` says, so that it takes as long as a test wants.
pub fn write_counted_loop(folder: &Path) -> PathBuf {
    let zero = tensor("zero", DType::I64, &[1], &[0; 8]);
    let graph = GraphProto {
        node: vec![doubling("x", "zero", DType::I64)],
        initializer: vec![zero, yes()],
        input: vec![port("x", DType::I64, &[1])],
        output: vec![port("y", DType::I64, &[1])],
        ..Default::default()
    };
    write(folder, graph, Vec::new())
}

fn yes() -> TensorProto {
    tensor("true", DType::Bool, &[], &[1])
}

/// A Loop that doubles `start` as often as `trips` says, into `y`.
fn doubling(trips: &str, start: &str, dtype: DType) -> NodeProto {
    let body = GraphProto {
        name: Some("body".into()),
        node: vec![
            node("Identity", &["on"], &["still_on"]),
            node("Add", &["state", "state"], &["next"]),
        ],
        input: vec![
            port("trip", DType::I64, &[]),
            port("on", DType::Bool, &[]),
            port("state", dtype, &[1]),
        ],
        output: vec![port("still_on", DType::Bool, &[]), port("next", dtype, &[1])],
        ..Default::default()
    };
    NodeProto {
        attribute: vec![AttributeProto {
            name: Some("body".into()),
            g: Some(body.into()),
            r#type: Some(5),
            ..Default::default()
        }],
        ..node("Loop", &[trips, "true", start], &["y"])
    }
}

/// A model that makes a tensor of as many float32 as `x` says, and gives the largest of them.
pub fn write_fill(folder: &Path) -> PathBuf {
    let one = AttributeProto {
        name: Some("value".into()),
        t: Some(tensor("one", DType::F32, &[1], &1f32.to_le_bytes()).into()),
        r#type: Some(4),
        ..Default::default()
    };
    let mut nodes = vec![
        node("ConstantOfShape", &["x"], &["filled"]),
        node("ReduceMax", &["filled"], &["y"]),
    ];
    nodes[0].attribute.push(one);
    nodes[1].attribute.push(AttributeProto {
        name: Some("axes".into()),
        ints: vec![0],
        r#type: Some(7),
        ..Default::default()
    });
    nodes[1].attribute.push(AttributeProto {
        name: Some("keepdims".into()),
        i: Some(1),
        r#type: Some(2),
        ..Default::default()
    });
    let mut graph = from_x_to_y(nodes, Vec::new());
    graph.input = vec![port("x", DType::I64, &[1])];
    write(folder, graph, Vec::new())
}

/// A model of a few kilobytes that becomes 10^`levels` nodes when its functions are put in place.
pub fn write_function_bomb(folder: &Path, levels: usize) -> PathBuf {
    let functions = (0..levels).map(|level| {
        let calls = (0..10).map(|at| {
            let (from, to) = (format!("t{at}"), format!("t{}", at + 1));
            let mut call = node(
                &match level {
                    0 => "Neg".to_owned(),
                    level => format!("level{}", level - 1),
                },
                &[&from],
                &[&to],
            );
            call.domain = (level > 0).then(|| FUNCTIONS.to_owned());
            // Without names of their own the copies clash, and the load ends early in an error.
            call.name = Some(format!("call{at}"));
            call
        });
        FunctionProto {
            name: Some(format!("level{level}")),
            domain: Some(FUNCTIONS.into()),
            input: vec!["t0".into()],
            output: vec!["t10".into()],
            node: calls.collect(),
            opset_import: opsets(),
            ..Default::default()
        }
    });
    let mut call = node(&format!("level{}", levels - 1), &["x"], &["y"]);
    call.domain = Some(FUNCTIONS.into());
    write(folder, from_x_to_y(vec![call], Vec::new()), functions.collect())
}

/// A model of `input_ids` and `attention_mask` that gives an embedding of each token of a vocabulary, nothing where it is masked, and the
/// mean of those that are not.
pub fn write_masked_mean(folder: &Path, vocabulary: i64) -> PathBuf {
    const WIDTH: i64 = 4;
    let table: Vec<u8> = (0..vocabulary * WIDTH)
        .flat_map(|at| ((at as f32 * 0.7).sin()).to_le_bytes())
        .collect();
    let initializer = vec![
        tensor("table", DType::F32, &[vocabulary, WIDTH], &table),
        tensor("one", DType::I64, &[1], &1i64.to_le_bytes()),
        tensor("two", DType::I64, &[1], &2i64.to_le_bytes()),
    ];
    let float = AttributeProto {
        name: Some("to".into()),
        r#type: Some(2),
        i: Some(1),
        ..Default::default()
    };
    let keep = |keep: i64| AttributeProto {
        name: Some("keepdims".into()),
        r#type: Some(2),
        i: Some(keep),
        ..Default::default()
    };
    let with = |mut node: NodeProto, attribute: AttributeProto| {
        node.attribute.push(attribute);
        node
    };
    let nodes = vec![
        node("Gather", &["table", "input_ids"], &["embedded"]),
        with(node("Cast", &["attention_mask"], &["mask"]), float),
        node("Unsqueeze", &["mask", "two"], &["wide"]),
        node("Mul", &["embedded", "wide"], &["hidden"]),
        with(node("ReduceSum", &["hidden", "one"], &["sum"]), keep(0)),
        with(
            NodeProto {
                name: Some("count".into()),
                ..node("ReduceSum", &["mask", "one"], &["count"])
            },
            keep(1),
        ),
        node("Div", &["sum", "count"], &["mean"]),
    ];
    let open = |name: &str, dtype: DType, dims: &[&str]| {
        let mut info = port(name, dtype, &vec![WIDTH; dims.len()]);
        if let Some(Value::TensorType(tensor)) = info.r#type.as_mut().and_then(|kind| kind.value.as_mut()) {
            for (dim, name) in tensor.shape.as_mut().unwrap().dim.iter_mut().zip(dims) {
                if !name.is_empty() {
                    dim.value = Some(dimension::Value::DimParam((*name).into()));
                }
            }
        }
        info
    };
    let graph = GraphProto {
        name: Some("masked".into()),
        node: nodes,
        initializer,
        input: vec![
            open("input_ids", DType::I64, &["batch", "sequence"]),
            open("attention_mask", DType::I64, &["batch", "sequence"]),
        ],
        output: vec![
            open("hidden", DType::F32, &["batch", "sequence", ""]),
            open("mean", DType::F32, &["batch", ""]),
        ],
        ..Default::default()
    };
    write(folder, graph, Vec::new())
}

/// A model from `x` to `y`, one float32 each, of one node.
pub fn write_one_node(folder: &Path, node: NodeProto) -> PathBuf {
    write(folder, from_x_to_y(vec![node], Vec::new()), Vec::new())
}

/// A graph from `x` to `y`, one float32 each.
fn from_x_to_y(node: Vec<NodeProto>, initializer: Vec<TensorProto>) -> GraphProto {
    GraphProto {
        node,
        initializer,
        input: vec![port("x", DType::F32, &[1])],
        output: vec![port("y", DType::F32, &[1])],
        ..Default::default()
    }
}
