use std::collections::HashMap;

use super::{Constant, Dims, Node, RANK_MAX, Value, shapes, types};
use crate::onnx::check::{Index, Opsets};
use crate::onnx::proto::type_proto;
use crate::onnx::proto::{FunctionProto, GraphProto, NodeProto, TensorProto, ValueInfoProto};
use crate::onnx::signature::read_shape;
use crate::onnx::summary::domain_name;
use crate::onnx::{Attribute, Error, Model};
use crate::tensor::{DType, Dim};

impl Model {
    /// Gives every node in the file's order, the nodes of a subgraph before the one that holds it, and those of
    /// functions last.
    ///
    /// Errors: operator sets that are imported twice or in no version; two functions of one name.
    pub fn nodes(&self) -> Result<Vec<Node<'_>>, Error> {
        let model = &self.proto;
        let index = Index::new(&model.functions)?;
        let opsets = Opsets::read(&model.opset_import)?;
        let mut walk = Walk {
            index: &index,
            opsets: opsets.clone(),
            // Before this version every initializer was an input too, and none was meant to be replaced.
            replaceable: model.ir_version() >= 4,
            function: None,
            scopes: Vec::new(),
            nodes: Vec::new(),
        };
        walk.graph(self.graph(), &[]);
        for function in &model.functions {
            walk.opsets = Opsets::read(&function.opset_import)?.or(&opsets);
            walk.function = Some(function.name());
            walk.function(function);
        }
        Ok(walk.nodes)
    }
}

/// Is a walk in the middle of a model.
struct Walk<'m, 'w> {
    index: &'w Index<'m>,
    opsets: Opsets<'m>,
    replaceable: bool,
    function: Option<&'m str>,
    /// What is known by name, in the graph at hand (last) and those around it.
    scopes: Vec<Scope<'m>>,
    nodes: Vec<Node<'m>>,
}

#[derive(Default)]
struct Scope<'m> {
    known: HashMap<&'m str, Value<'m>>,
    declared: HashMap<&'m str, Value<'m>>,
}

impl<'m> Walk<'m, '_> {
    /// Walks a graph whose inputs bring what `given` says, and gives what is known of its outputs.
    fn graph(&mut self, graph: &'m GraphProto, given: &[Value<'m>]) -> Vec<Value<'m>> {
        let mut scope = Scope::default();
        for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            scope.declared.insert(info.name(), declared(info));
        }
        for tensor in &graph.initializer {
            scope.known.insert(tensor.name(), constant(Constant::Tensor(tensor)));
        }
        for sparse in &graph.sparse_initializer {
            if let Some(values) = &sparse.values {
                scope.known.insert(values.name(), sparse_value(values, &sparse.dims));
            }
        }
        for (at, input) in graph.input.iter().enumerate() {
            let declared = &scope.declared[input.name()];
            let known = match scope.known.remove(input.name()) {
                Some(default) if !self.replaceable => default,
                // A call may replace it, by one of the same type.
                Some(default) => join(
                    Value {
                        constant: None,
                        ..default
                    },
                    declared,
                ),
                None => join(given.get(at).cloned().unwrap_or_default(), declared),
            };
            scope.known.insert(input.name(), known);
        }
        self.scopes.push(scope);
        for node in &graph.node {
            self.node(node);
        }
        let outputs = graph.output.iter().map(|output| self.value(output.name())).collect();
        self.scopes.pop();
        outputs
    }

    fn function(&mut self, function: &'m FunctionProto) {
        let mut scope = Scope::default();
        for info in &function.value_info {
            scope.declared.insert(info.name(), declared(info));
        }
        self.scopes.push(scope);
        for node in &function.node {
            self.node(node);
        }
        self.scopes.pop();
    }

    fn node(&mut self, proto: &'m NodeProto) {
        let inputs: Vec<Value<'m>> = proto.input.iter().map(|name| self.value(name)).collect();
        let bodies = self.bodies(proto, &inputs);
        let domain = domain_name(proto.domain());
        let mut node = Node {
            domain,
            op_type: proto.op_type(),
            opset: self.opsets.version(domain),
            calls_function: self.index.called(proto).is_some(),
            function: self.function,
            depth: self.scopes.len() as u32 - 1,
            inputs,
            outputs: Vec::new(),
            proto,
        };
        node.outputs = (0..proto.output.len())
            .map(|at| self.output(&node, &bodies, at))
            .collect();
        let Some(scope) = self.scopes.last_mut() else { return };
        for output in node.outputs.iter().filter(|output| !output.name.is_empty()) {
            scope.known.insert(output.name, output.clone());
        }
        self.nodes.push(node);
    }

    /// Walks the graphs in a node's attributes, by attribute.
    fn bodies(&mut self, node: &'m NodeProto, inputs: &[Value<'m>]) -> Vec<(&'m str, Vec<Value<'m>>)> {
        let mut bodies = Vec::new();
        for attribute in &node.attribute {
            for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
                let given = types::body_inputs(node.op_type(), inputs);
                bodies.push((attribute.name(), self.graph(graph, &given)));
            }
        }
        bodies
    }

    fn output(&self, node: &Node<'m>, bodies: &[(&'m str, Vec<Value<'m>>)], at: usize) -> Value<'m> {
        let name = node.proto.output[at].as_str();
        let inferred = if node.is_standard() && node.op_type == "Constant" {
            read_constant(node).map(constant).unwrap_or_default()
        } else if bodies.is_empty() {
            Value {
                dtype: types::infer(node, at),
                shape: shapes::infer(node, at),
                // A copy of a constant is one.
                constant: (node.is_standard() && node.op_type == "Identity")
                    .then(|| node.inputs.first().and_then(|input| input.constant))
                    .flatten(),
                ..Value::default()
            }
        } else {
            types::body_output(node.op_type, bodies, at)
        };
        let declared = self.scopes.last().and_then(|scope| scope.declared.get(name));
        let joined = declared.map_or(inferred.clone(), |declared| join(inferred, declared));
        Value { name, ..joined }
    }

    fn value(&self, name: &'m str) -> Value<'m> {
        let mut scopes = self.scopes.iter().rev();
        let known = scopes
            .find_map(|scope| scope.known.get(name).cloned())
            .unwrap_or_default();
        Value { name, ..known }
    }
}

/// Gives the value of a Constant node.
fn read_constant<'m>(node: &Node<'m>) -> Option<Constant<'m>> {
    let mut attributes = node.attributes();
    let (name, value) = attributes.find(|(name, _)| name.starts_with("value"))?;
    match (name, value?) {
        ("value", Attribute::Tensor(tensor)) => Some(Constant::Tensor(tensor)),
        ("value_int", value @ Attribute::Int(_))
        | ("value_ints", value @ Attribute::Ints(_))
        | ("value_float", value @ Attribute::Float(_))
        | ("value_floats", value @ Attribute::Floats(_))
        | ("value_string", value @ Attribute::String(_))
        | ("value_strings", value @ Attribute::Strings(_)) => Some(Constant::Attribute(value)),
        _ => None,
    }
}

fn constant(constant: Constant<'_>) -> Value<'_> {
    Value {
        dtype: constant.dtype(),
        shape: constant
            .shape()
            .and_then(|dims| bounded(dims.into_iter().map(Some).collect())),
        constant: Some(constant),
        ..Value::default()
    }
}

fn sparse_value<'m>(values: &'m TensorProto, dims: &[i64]) -> Value<'m> {
    Value {
        dtype: DType::from_onnx(values.data_type()),
        shape: dims
            .iter()
            .map(|dim| u64::try_from(*dim).ok().map(Some))
            .collect::<Option<_>>()
            .and_then(bounded),
        ..Value::default()
    }
}

/// Reads what the file declares of a value.
fn declared<'m>(info: &'m ValueInfoProto) -> Value<'m> {
    let Some(type_proto::Value::TensorType(tensor)) = info.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else {
        return Value::default();
    };
    let dims = read_shape(tensor.shape.as_ref()).0;
    let size = |dim: Dim| match dim {
        Dim::Fixed(size) => Some(size),
        Dim::Symbol(_) | Dim::Unknown => None,
    };
    Value {
        dtype: DType::from_onnx(tensor.elem_type()),
        shape: dims.and_then(|dims| bounded(dims.into_iter().map(size).collect())),
        ..Value::default()
    }
}

/// Shares dimensions that are not too many.
fn bounded(dims: Vec<Option<u64>>) -> Option<Dims> {
    (dims.len() <= RANK_MAX).then(|| dims.into())
}

/// Joins what was worked out with what is declared; what they disagree about is unknown.
fn join<'m>(worked_out: Value<'m>, declared: &Value<'m>) -> Value<'m> {
    Value {
        dtype: agreed(worked_out.dtype, declared.dtype),
        shape: match (worked_out.shape, &declared.shape) {
            (Some(a), Some(b)) if a.len() == b.len() => {
                Some(a.iter().zip(b.iter()).map(|(a, b)| agreed(*a, *b)).collect())
            }
            (Some(_), Some(_)) => None,
            (a, b) => a.or_else(|| b.clone()),
        },
        ..worked_out
    }
}

/// Gives what at least one side knows and the other does not deny.
fn agreed<T: PartialEq>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => (a == b).then_some(a),
        (a, b) => a.or(b),
    }
}
