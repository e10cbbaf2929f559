//! Every node of a model with what is known of its inputs and outputs before it runs.
//!
//! Types are worked out from the inputs on, operator by operator, and joined with what the file declares. What is not
//! known is `None`, and so is what the two disagree about: a file may declare anything.

mod constant;
mod shapes;
#[cfg(test)]
mod tests;
mod types;
mod walk;

pub use constant::Constant;

use std::sync::Arc;

use super::proto::NodeProto;
use super::summary::DEFAULT_DOMAIN;
use super::visit::node_label;
use super::{Attribute, Label};
use crate::tensor::DType;

/// Is a node where it stands.
#[derive(Clone, Debug)]
pub struct Node<'m> {
    /// The operator's domain; the default one is `ai.onnx`.
    pub domain: &'m str,
    /// The operator, or the function that is called.
    pub op_type: &'m str,
    /// The version of the operator set in force; `None` where none is imported.
    pub opset: Option<u64>,
    /// Whether the node calls a function that the model defines, whatever operator it is named like.
    pub calls_function: bool,
    /// The function whose body the node is in. Within it the types of inputs are unknown: each call brings its own.
    pub function: Option<&'m str>,
    /// How many control-flow nodes it is within.
    pub depth: u32,
    /// What it takes; a left-out input has an empty name.
    pub inputs: Vec<Value<'m>>,
    /// What it gives; a left-out output has an empty name.
    pub outputs: Vec<Value<'m>>,
    proto: &'m NodeProto,
}

impl<'m> Node<'m> {
    /// Names the node in a message: by its name, else by what it gives.
    pub fn label(&self) -> Label {
        node_label(self.proto)
    }

    /// Gives the name; many nodes have none.
    pub fn name(&self) -> &'m str {
        self.proto.name()
    }

    /// Tells whether the node is of one of ONNX's own operators.
    pub fn is_standard(&self) -> bool {
        self.domain == DEFAULT_DOMAIN && !self.calls_function
    }

    /// Gives the attributes in the file's order; `None` for the value of one that has not one value.
    pub fn attributes(&self) -> impl Iterator<Item = (&'m str, Option<Attribute<'m>>)> {
        let attributes = self.proto.attribute.iter();
        attributes.map(|attribute| (attribute.name(), Attribute::read(attribute).ok()))
    }

    /// Gives the value of an attribute; `None` where it is left out.
    pub fn attribute(&self, name: &str) -> Option<Attribute<'m>> {
        let attribute = self.proto.attribute.iter().find(|attribute| attribute.name() == name)?;
        Attribute::read(attribute).ok()
    }

    /// Gives the value of an integer attribute; `None` where it is left out or of another type.
    pub fn int(&self, name: &str) -> Option<i64> {
        match self.attribute(name)? {
            Attribute::Int(value) => Some(value),
            _ => None,
        }
    }

    /// Gives the value of an attribute that is a list of integers; `None` where it is left out or of another type.
    pub fn ints(&self, name: &str) -> Option<&'m [i64]> {
        match self.attribute(name)? {
            Attribute::Ints(values) => Some(values),
            _ => None,
        }
    }
}

/// Is the size along each dimension, where it is known. Shared, for values have many users.
pub type Dims = Arc<[Option<u64>]>;

/// Shapes of more dimensions are left unknown: no engine runs them, and a few nodes can ask for billions.
const RANK_MAX: usize = 64;

/// Is what is known of an input or output of a node.
#[derive(Clone, Debug, Default)]
pub struct Value<'m> {
    /// The name; empty where the input or output is left out.
    pub name: &'m str,
    /// The element type; `None` where it is unknown, and for what is no tensor.
    pub dtype: Option<DType>,
    /// The dimensions; `None` where the rank, or the size along one of them, is unknown.
    pub shape: Option<Dims>,
    /// The value, where it stands in the file and no call can replace it.
    pub constant: Option<Constant<'m>>,
}

impl Value<'_> {
    /// Gives the number of dimensions.
    pub fn rank(&self) -> Option<usize> {
        self.shape.as_ref().map(|dims| dims.len())
    }

    /// Gives a constant of few integers, as shapes and axes are.
    fn few_ints(&self) -> Option<Vec<i64>> {
        self.constant
            .as_ref()
            .filter(|constant| constant.within_bytes() <= 10 * RANK_MAX)
            .and_then(Constant::ints)
    }

    /// Gives the value as integers, where it is a constant of an integer type or bool that is within the file.
    pub fn ints(&self) -> Option<Vec<i64>> {
        self.constant.as_ref().and_then(Constant::ints)
    }
}
