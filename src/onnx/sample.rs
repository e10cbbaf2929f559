//! Small models, made in memory for tests.

use prost::Message;
use prost::bytes::Bytes;

use super::proto::type_proto::{self, Value};
use super::proto::*;
use super::{Error, Model};

/// Makes a model that is as right as can be: `y = Relu(x)`, opset 17, to be broken by each test in its own way.
pub fn relu() -> ModelProto {
    model(GraphProto {
        node: vec![node("Relu", &["x"], &["y"])],
        input: vec![port("x", 1, &[1, 4])],
        output: vec![port("y", 1, &[1, 4])],
        ..Default::default()
    })
}

/// Makes a model of a graph.
pub fn model(graph: GraphProto) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 17)],
        graph: Some(graph),
        ..Default::default()
    }
}

/// Makes `y = Relu(x)` with initializers that nothing uses.
pub fn holding(tensors: Vec<TensorProto>) -> ModelProto {
    let mut model = relu();
    graph(&mut model).initializer = tensors;
    model
}

/// Makes `y = Relu(x)` followed by other nodes.
pub fn running(nodes: Vec<NodeProto>) -> ModelProto {
    let mut model = relu();
    graph(&mut model).node.extend(nodes);
    model
}

/// Lends the main graph.
pub fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// Makes the import of an operator set.
pub fn opset(domain: &str, version: i64) -> OperatorSetIdProto {
    OperatorSetIdProto {
        domain: Some(domain.into()),
        version: Some(version),
    }
}

/// Makes a node.
pub fn node(op_type: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        op_type: Some(op_type.into()),
        input: owned(inputs),
        output: owned(outputs),
        ..Default::default()
    }
}

/// Makes a node of a domain.
pub fn foreign_node(domain: &str, op_type: &str, outputs: &[&str]) -> NodeProto {
    NodeProto {
        domain: Some(domain.into()),
        ..node(op_type, &["x"], outputs)
    }
}

/// Gives a node with an attribute more.
pub fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

/// Makes an attribute of a whole number.
pub fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(2),
        i: Some(value),
        ..Default::default()
    }
}

/// Makes an attribute of whole numbers.
pub fn ints(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(7),
        ints: values.to_vec(),
        ..Default::default()
    }
}

/// Makes an attribute of a tensor.
pub fn tensor_attribute(name: &str, tensor: TensorProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(4),
        t: Some(Box::new(tensor)),
        ..Default::default()
    }
}

/// Makes an attribute of a graph.
pub fn graph_attribute(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.into()),
        r#type: Some(5),
        g: Some(Box::new(graph)),
        ..Default::default()
    }
}

/// Declares an input or output; a dimension below zero is a symbol `N`.
pub fn port(name: &str, dtype: i32, dims: &[i64]) -> ValueInfoProto {
    use tensor_shape_proto::{Dimension, dimension};
    let dim = |&size: &i64| Dimension {
        value: Some(if size < 0 {
            dimension::Value::DimParam("N".into())
        } else {
            dimension::Value::DimValue(size)
        }),
        ..Default::default()
    };
    ValueInfoProto {
        name: Some(name.into()),
        r#type: Some(TypeProto {
            value: Some(Value::TensorType(type_proto::Tensor {
                elem_type: Some(dtype),
                shape: Some(TensorShapeProto {
                    dim: dims.iter().map(dim).collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Makes a tensor with raw data.
pub fn raw(name: &str, dtype: i32, dims: &[i64], data: &[u8]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        data_type: Some(dtype),
        dims: dims.to_vec(),
        raw_data: Some(Bytes::copy_from_slice(data)),
        ..Default::default()
    }
}

/// Makes a tensor of two floats, eight bytes, that lie elsewhere.
pub fn external(name: &str, entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).into()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    TensorProto {
        name: Some(name.into()),
        data_type: Some(1),
        dims: vec![2],
        data_location: Some(1),
        external_data: entries.iter().map(entry).collect(),
        ..Default::default()
    }
}

/// Makes a function of the domain `own` with one input `x`.
pub fn function(name: &str, nodes: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.into()),
        domain: Some("own".into()),
        input: vec!["x".into()],
        output: vec!["y".into()],
        opset_import: vec![opset("", 17), opset("own", 1)],
        node: nodes,
        ..Default::default()
    }
}

/// Encodes and parses.
pub fn parse(model: &ModelProto) -> Result<Model, Error> {
    Model::parse(Bytes::from(model.encode_to_vec()))
}
