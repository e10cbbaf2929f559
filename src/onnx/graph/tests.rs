use super::*;
use crate::onnx::Model;
use crate::onnx::proto::{GraphProto, ModelProto, NodeProto};
use crate::onnx::sample::*;

/// Finds the node that gives a value.
fn giving<'n, 'm>(nodes: &'n [Node<'m>], name: &str) -> &'n Node<'m> {
    let gives = |node: &&Node<'m>| node.outputs.iter().any(|output| output.name == name);
    nodes.iter().find(gives).unwrap()
}

fn value<'n, 'm>(nodes: &'n [Node<'m>], name: &str) -> &'n Value<'m> {
    giving(nodes, name)
        .outputs
        .iter()
        .find(|output| output.name == name)
        .unwrap()
}

fn dims(value: &Value<'_>) -> Option<Vec<Option<u64>>> {
    value.shape.as_deref().map(<[_]>::to_vec)
}

/// Makes an int64 list.
fn list(name: &str, values: &[i64]) -> crate::onnx::proto::TensorProto {
    let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
    raw(name, 7, &[values.len() as i64], &bytes)
}

/// Parses `y = Relu(x)` with x of [N, 4], further nodes and initializers.
fn parsed(nodes: Vec<NodeProto>, tensors: Vec<crate::onnx::proto::TensorProto>) -> Model {
    let mut model = running(nodes);
    graph(&mut model).input = vec![port("x", 1, &[-1, 4])];
    graph(&mut model).output = vec![port("y", 1, &[-1, 4])];
    graph(&mut model).initializer = tensors;
    parse(&model).unwrap()
}

#[test]
fn types_and_shapes_flow_from_node_to_node() {
    let constant = with(
        node("Constant", &[], &["axes"]),
        tensor_attribute("value", list("", &[0])),
    );
    let model = parsed(
        vec![
            constant,
            node("Shape", &["x"], &["shape"]),
            with(node("Cast", &["shape"], &["cast"]), int("to", 6)),
            node("Unsqueeze", &["x", "axes"], &["wider"]),
            node("Reshape", &["wider", "sizes"], &["reshaped"]),
            node("Reshape", &["wider", "shape"], &["open"]),
            node("Equal", &["reshaped", "reshaped"], &["equal"]),
            with(node("Concat", &["x", "x"], &["joined"]), int("axis", -1)),
            node("MatMul", &["reshaped", "weights"], &["product"]),
            with(node("ReduceSum", &["product", "axes"], &["sum"]), int("keepdims", 0)),
            with(node("TopK", &["x", "sizes"], &["top", "places"]), int("axis", 0)),
            node("Add", &["x", "row"], &["added"]),
        ],
        vec![
            list("sizes", &[2, 2, -1]),
            raw("weights", 1, &[4, 5], &[0; 80]),
            raw("row", 1, &[1, 4], &[0; 16]),
        ],
    );
    let nodes = model.nodes().unwrap();
    for (name, dtype, expected) in [
        ("shape", DType::I64, Some(vec![Some(2)])),
        ("cast", DType::I32, Some(vec![Some(2)])),
        ("wider", DType::F32, Some(vec![Some(1), None, Some(4)])),
        ("reshaped", DType::F32, Some(vec![Some(2), Some(2), None])),
        ("open", DType::F32, Some(vec![None, None])),
        ("equal", DType::Bool, Some(vec![Some(2), Some(2), None])),
        ("joined", DType::F32, Some(vec![None, Some(8)])),
        ("product", DType::F32, Some(vec![Some(2), Some(2), Some(5)])),
        ("sum", DType::F32, Some(vec![Some(2), Some(5)])),
        ("top", DType::F32, Some(vec![None, None])),
        ("places", DType::I64, Some(vec![None, None])),
        ("added", DType::F32, Some(vec![None, Some(4)])),
    ] {
        let value = value(&nodes, name);
        assert_eq!((value.dtype, dims(value)), (Some(dtype), expected), "{name}");
    }
    assert_eq!(giving(&nodes, "reshaped").inputs[1].ints(), Some(vec![2, 2, -1]));
    assert_eq!(giving(&nodes, "wider").inputs[1].ints(), Some(vec![0]));
    assert_eq!(giving(&nodes, "open").inputs[1].ints(), None);
    assert_eq!(
        (giving(&nodes, "shape").opset, giving(&nodes, "shape").depth),
        (Some(17), 0)
    );
}

#[test]
fn what_is_unknown_or_disputed_is_none() {
    let mut model = running(vec![
        foreign_node("com.microsoft", "Novel", &["novel"]),
        node("Relu", &["novel"], &["after"]),
        node("Shape", &["x"], &["shape"]),
    ]);
    graph(&mut model).value_info = vec![port("shape", 1, &[3]), port("novel", 1, &[2])];
    let model = parse(&model).unwrap();
    let nodes = model.nodes().unwrap();
    // Declared alone is believed; declared against what the operator gives is not.
    assert_eq!(value(&nodes, "after").dtype, Some(DType::F32));
    assert_eq!(value(&nodes, "shape").dtype, None);
    assert_eq!(dims(value(&nodes, "shape")), Some(vec![None]));
}

#[test]
fn an_initializer_that_a_call_may_replace_is_no_constant() {
    let replaced = |ir_version| {
        let mut model = running(vec![node("Reshape", &["x", "sizes"], &["r"])]);
        model.ir_version = Some(ir_version);
        graph(&mut model).initializer = vec![list("sizes", &[4])];
        graph(&mut model).input.push(port("sizes", 7, &[1]));
        let model = parse(&model).unwrap();
        let nodes = model.nodes().unwrap();
        let node = giving(&nodes, "r");
        (node.inputs[1].ints(), node.outputs[0].rank())
    };
    assert_eq!(replaced(8), (None, Some(1)));
    assert_eq!(replaced(3), (Some(vec![4]), Some(1)));
}

#[test]
fn bodies_see_what_is_around_them_and_give_their_types() {
    let branch = |to: i64| GraphProto {
        node: vec![with(node("Cast", &["x"], &["inner"]), int("to", to))],
        output: vec![port_untyped("inner")],
        ..Default::default()
    };
    let choice = |a, b, output| {
        let node = with(node("If", &["c"], &[output]), graph_attribute("then_branch", branch(a)));
        with(node, graph_attribute("else_branch", branch(b)))
    };
    // One trip adds to what is carried, and collects it.
    let body = GraphProto {
        node: vec![
            node("Add", &["carried", "carried"], &["next"]),
            node("Identity", &["next"], &["seen"]),
        ],
        input: ["trip", "go", "carried"].map(port_untyped).to_vec(),
        output: ["go", "next", "seen"].map(port_untyped).to_vec(),
        ..Default::default()
    };
    let repeat = with(
        node("Loop", &["n", "c", "start"], &["last", "all"]),
        graph_attribute("body", body),
    );
    let model = parsed(
        vec![choice(7, 7, "agreed"), choice(7, 6, "disputed"), repeat],
        vec![raw("start", 11, &[], &[0; 8])],
    );
    let nodes = model.nodes().unwrap();
    assert_eq!(value(&nodes, "agreed").dtype, Some(DType::I64));
    assert_eq!(value(&nodes, "disputed").dtype, None);
    assert_eq!(value(&nodes, "last").dtype, Some(DType::F64));
    assert_eq!(value(&nodes, "all").dtype, Some(DType::F64));
    let inner = giving(&nodes, "inner");
    assert_eq!((inner.depth, inner.inputs[0].dtype), (1, Some(DType::F32)));
}

#[test]
fn a_call_is_told_from_the_operator_it_is_named_like() {
    let mut inner = function("Relu", vec![node("Neg", &["x"], &["y"])]);
    inner.domain = Some("ai.onnx".into());
    let model = ModelProto {
        functions: vec![inner],
        ..relu()
    };
    let model = parse(&model).unwrap();
    let nodes = model.nodes().unwrap();
    assert!(nodes[0].calls_function && !nodes[0].is_standard());
    assert_eq!((nodes[1].op_type, nodes[1].function), ("Neg", Some("Relu")));
    assert_eq!(nodes[1].inputs[0].dtype, None);
}

#[test]
fn ranks_do_not_grow_without_bound() {
    // Each node doubles the rank: 2^40 dimensions from 40 nodes.
    let mut nodes = vec![with(
        node("Constant", &[], &["g0"]),
        tensor_attribute("value", raw("", 7, &[1, 1], &[0; 8])),
    )];
    for at in 0..40 {
        let name = format!("g{at}");
        nodes.push(node("Gather", &[&name, &name], &[&format!("g{}", at + 1)]));
    }
    let model = parsed(nodes, Vec::new());
    let nodes = model.nodes().unwrap();
    assert_eq!(value(&nodes, "g1").rank(), Some(3));
    assert_eq!(value(&nodes, "g40").rank(), None);
    assert_eq!(value(&nodes, "g40").dtype, Some(DType::I64));
}

fn port_untyped(name: &str) -> crate::onnx::proto::ValueInfoProto {
    crate::onnx::proto::ValueInfoProto {
        name: Some(name.into()),
        ..Default::default()
    }
}
