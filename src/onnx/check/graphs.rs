use std::collections::HashSet;

use crate::onnx::proto::type_proto::Value;
use crate::onnx::proto::{FunctionProto, GraphProto, NodeProto, TypeProto};
use crate::onnx::{Error, Label};
use crate::tensor::DType;

/// Checks that a graph gives something, has every value from one place, and declares types that exist.
pub fn check_graph(graph: &GraphProto, main: bool) -> Result<(), Error> {
    if main && graph.output.is_empty() {
        return Err(Error::NoOutput);
    }
    for info in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
        if let Some(kind) = &info.r#type {
            check_type(kind, info.name())?;
        }
    }
    let mut values = Values::default();
    for input in &graph.input {
        values.add(input.name())?;
    }
    let sparse = graph
        .sparse_initializer
        .iter()
        .filter_map(|sparse| sparse.values.as_ref());
    let mut initializers = HashSet::new();
    for tensor in graph.initializer.iter().chain(sparse) {
        // An initializer may have the name of an input: it is the input's default.
        if !initializers.insert(tensor.name()) {
            return Err(Error::InitializerTwice {
                name: Label::new(tensor.name()),
            });
        }
    }
    values.0.extend(initializers);
    values.add_outputs(&graph.node)?;
    let mut outputs = HashSet::new();
    match graph.output.iter().find(|output| !outputs.insert(output.name())) {
        Some(output) if main => Err(Error::ValueTwice {
            name: Label::new(output.name()),
        }),
        _ => Ok(()),
    }
}

/// Checks that a function has every value from one place.
pub fn check_function(function: &FunctionProto) -> Result<(), Error> {
    let mut values = Values::default();
    for input in &function.input {
        values.add(input)?;
    }
    values.add_outputs(&function.node)
}

/// Is the names that have a value in one graph.
#[derive(Default)]
struct Values<'m>(HashSet<&'m str>);

impl<'m> Values<'m> {
    fn add(&mut self, name: &'m str) -> Result<(), Error> {
        if !name.is_empty() && !self.0.insert(name) {
            return Err(Error::ValueTwice { name: Label::new(name) });
        }
        Ok(())
    }

    fn add_outputs(&mut self, nodes: &'m [NodeProto]) -> Result<(), Error> {
        let mut outputs = nodes.iter().flat_map(|node| &node.output);
        outputs.try_for_each(|output| self.add(output))
    }
}

/// Checks the element types that a declared type names; 0 stands for one that is left open.
pub fn check_type(kind: &TypeProto, name: &str) -> Result<(), Error> {
    let element = |number: i32| match DType::from_onnx(number) {
        None if number != 0 => Err(Error::PortType {
            port: Label::new(name),
            number,
        }),
        _ => Ok(()),
    };
    let inner = |kind: Option<&TypeProto>| kind.map_or(Ok(()), |kind| check_type(kind, name));
    match &kind.value {
        Some(Value::TensorType(tensor)) => element(tensor.elem_type()),
        Some(Value::SparseTensorType(tensor)) => element(tensor.elem_type()),
        Some(Value::SequenceType(sequence)) => inner(sequence.elem_type.as_deref()),
        Some(Value::OptionalType(optional)) => inner(optional.elem_type.as_deref()),
        Some(Value::MapType(map)) => {
            element(map.key_type())?;
            inner(map.value_type.as_deref())
        }
        Some(Value::OpaqueType(_)) | None => Ok(()),
    }
}
