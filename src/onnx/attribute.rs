use prost::bytes::Bytes;

use super::proto::{AttributeProto, GraphProto, TensorProto};

/// Is the value of a node's attribute.
#[derive(Clone, Copy, Debug)]
pub enum Attribute<'m> {
    Float(f32),
    Int(i64),
    /// Text, by convention UTF-8.
    String(&'m [u8]),
    Tensor(&'m TensorProto),
    Graph(&'m GraphProto),
    Floats(&'m [f32]),
    Ints(&'m [i64]),
    Strings(&'m [Bytes]),
    /// Tensors, graphs, types or sparse tensors: nothing here looks into them.
    Other,
    /// Within a function: the value of an attribute of the call.
    Reference(&'m str),
}

/// Says that an attribute has not exactly the value that its type says.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
#[error("the value of attribute is not of the type it says")]
pub struct AttributeFault;

impl<'m> Attribute<'m> {
    /// Reads the value.
    ///
    /// An absent number is 0, an absent text empty, and a list without entries empty: writers leave those out. The
    /// oldest files name no type, and the one field that is there tells it.
    ///
    /// Errors: values of two types, a type that ONNX does not define, a tensor or graph that is not there.
    pub fn read(attribute: &'m AttributeProto) -> Result<Self, AttributeFault> {
        if let Some(name) = attribute.ref_attr_name.as_deref().filter(|name| !name.is_empty()) {
            return Ok(Attribute::Reference(name));
        }
        let present = present_types(attribute);
        let kind = match attribute.r#type() {
            0 => match present.as_slice() {
                [kind] => *kind,
                _ => return Err(AttributeFault),
            },
            kind => kind,
        };
        if present.iter().any(|other| *other != kind) {
            return Err(AttributeFault);
        }
        Ok(match kind {
            1 => Attribute::Float(attribute.f()),
            2 => Attribute::Int(attribute.i()),
            3 => Attribute::String(attribute.s.as_deref().unwrap_or_default()),
            4 => Attribute::Tensor(attribute.t.as_deref().ok_or(AttributeFault)?),
            5 => Attribute::Graph(attribute.g.as_deref().ok_or(AttributeFault)?),
            6 => Attribute::Floats(&attribute.floats),
            7 => Attribute::Ints(&attribute.ints),
            8 => Attribute::Strings(&attribute.strings),
            9..=14 => Attribute::Other,
            _ => return Err(AttributeFault),
        })
    }
}

/// Lists the types of the fields that hold something, by their numbers in the format. A zero or an empty text beside
/// another value says nothing, and some writers put it there.
fn present_types(attribute: &AttributeProto) -> Vec<i32> {
    let typed = attribute.r#type() != 0;
    [
        (1, attribute.f.is_some_and(|value| !typed || value != 0.0)),
        (2, attribute.i.is_some_and(|value| !typed || value != 0)),
        (3, attribute.s.as_ref().is_some_and(|value| !typed || !value.is_empty())),
        (4, attribute.t.is_some()),
        (5, attribute.g.is_some()),
        (6, !attribute.floats.is_empty()),
        (7, !attribute.ints.is_empty()),
        (8, !attribute.strings.is_empty()),
        (9, !attribute.tensors.is_empty()),
        (10, !attribute.graphs.is_empty()),
        (11, attribute.sparse_tensor.is_some()),
        (12, !attribute.sparse_tensors.is_empty()),
        (13, attribute.tp.is_some()),
        (14, !attribute.type_protos.is_empty()),
    ]
    .into_iter()
    .filter_map(|(kind, present)| present.then_some(kind))
    .collect()
}
