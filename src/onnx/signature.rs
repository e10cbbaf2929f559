use std::collections::HashSet;

use super::proto::type_proto::Value;
use super::proto::{GraphProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto};
use super::{Error, Label, Model};
use crate::tensor::{DType, Dim, Port, Shape, Signature, TensorName};

impl Model {
    /// Tells what the model takes and gives, in its own order.
    ///
    /// An input with an initializer of its name has a default, so that no call needs to bring it, and is not listed.
    ///
    /// Errors: an input or output that is a sequence, a map, an optional or a sparse tensor, or has no type.
    pub fn signature(&self) -> Result<Signature, Error> {
        let graph = self.graph();
        let defaults = default_names(graph);
        let inputs = graph.input.iter().filter(|input| !defaults.contains(input.name()));
        Ok(Signature {
            inputs: inputs.map(read_port).collect::<Result<_, _>>()?,
            outputs: graph.output.iter().map(read_port).collect::<Result<_, _>>()?,
        })
    }
}

/// Collects the names that have a value in the graph, before any node has run.
pub fn default_names(graph: &GraphProto) -> HashSet<&str> {
    let sparse = graph
        .sparse_initializer
        .iter()
        .filter_map(|sparse| sparse.values.as_ref());
    graph
        .initializer
        .iter()
        .chain(sparse)
        .map(|tensor| tensor.name())
        .collect()
}

fn read_port(info: &ValueInfoProto) -> Result<Port, Error> {
    let port = || Label::new(info.name());
    let kind = |kind| Err(Error::PortKind { port: port(), kind });
    let tensor = match info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) {
        Some(Value::TensorType(tensor)) => tensor,
        Some(Value::SequenceType(_)) => return kind("a sequence"),
        Some(Value::MapType(_)) => return kind("a map"),
        Some(Value::OptionalType(_)) => return kind("an optional"),
        Some(Value::SparseTensorType(_)) => return kind("a sparse tensor"),
        Some(Value::OpaqueType(_)) => return kind("of an opaque type"),
        None => return Err(Error::PortUntyped { port: port() }),
    };
    let number = tensor.elem_type();
    Ok(Port {
        name: TensorName::new(info.name()),
        dtype: DType::from_onnx(number).ok_or_else(|| Error::PortType { port: port(), number })?,
        shape: read_shape(tensor.shape.as_ref()),
    })
}

/// Reads a declared shape; a size below zero, which some exporters write for "any", is any.
pub fn read_shape(shape: Option<&TensorShapeProto>) -> Shape {
    use tensor_shape_proto::dimension::Value;
    Shape(shape.map(|shape| {
        let dims = shape.dim.iter().map(|dim| match &dim.value {
            Some(Value::DimValue(size)) => u64::try_from(*size).map_or(Dim::Unknown, Dim::Fixed),
            Some(Value::DimParam(name)) if !name.is_empty() => Dim::Symbol(name.clone()),
            Some(Value::DimParam(_)) | None => Dim::Unknown,
        });
        dims.collect()
    }))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::proto::TypeProto;
    use crate::onnx::sample::*;

    #[test]
    fn dimensions_are_fixed_symbolic_or_unknown() {
        let mut model = relu();
        let input = &mut graph(&mut model).input[0];
        *input = port("x", 7, &[-1, 3]);
        let Some(Value::TensorType(tensor)) = input.r#type.as_mut().unwrap().value.as_mut() else {
            panic!("a tensor");
        };
        let dims = &mut tensor.shape.as_mut().unwrap().dim;
        dims.push(Default::default());
        dims.push(tensor_shape_proto::Dimension {
            value: Some(tensor_shape_proto::dimension::Value::DimValue(-1)),
            ..Default::default()
        });
        let signature = parse(&model).unwrap().signature().unwrap();
        let shape = [Dim::Symbol("N".into()), Dim::Fixed(3), Dim::Unknown, Dim::Unknown];
        assert_eq!(signature.inputs[0].shape, Shape::of(shape));
        assert_eq!(signature.inputs[0].dtype, DType::I64);
        assert_eq!(signature.outputs[0].name.as_str(), "y");
    }

    #[test]
    fn an_input_with_a_default_need_not_be_brought() {
        let mut model = holding(vec![raw("w", 1, &[1], &[0; 4])]);
        graph(&mut model).input.push(port("w", 1, &[1]));
        let signature = parse(&model).unwrap().signature().unwrap();
        let names: Vec<_> = signature.inputs.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["x"]);
    }

    #[test]
    fn an_open_rank_stays_open() {
        let mut model = relu();
        let Some(Value::TensorType(tensor)) = graph(&mut model).output[0].r#type.as_mut().unwrap().value.as_mut()
        else {
            panic!("a tensor");
        };
        tensor.shape = None;
        assert_eq!(
            parse(&model).unwrap().signature().unwrap().outputs[0].shape,
            Shape(None)
        );
    }

    #[test]
    fn what_is_no_tensor_is_an_error_only_here() {
        let mut model = relu();
        graph(&mut model).input[0].r#type = Some(TypeProto {
            value: Some(Value::SequenceType(Box::default())),
            ..Default::default()
        });
        let parsed = parse(&model).unwrap();
        let error = parsed.signature().unwrap_err();
        assert_eq!(error.to_string(), "`x` is a sequence, and only tensors can be passed");
        graph(&mut model).input[0].r#type = None;
        assert!(matches!(
            parse(&model).unwrap().signature(),
            Err(Error::PortUntyped { .. })
        ));
    }
}
