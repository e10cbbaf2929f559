use super::error::Error;
use super::fields::Field;
use super::node::{Content, Node};

/// Is free data: what `metadata` holds, and sections whose feature is not built yet.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// Nothing.
    Null,
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Int(i128),
    /// A finite number.
    Float(f64),
    /// Text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A mapping, in the order of the file.
    Map(Vec<(String, Value)>),
}

impl Value {
    /// Takes the value of a key with everything in it.
    ///
    /// Errors: a number that is not finite, a control character in text, a control character or nothing as a key.
    pub(super) fn of(field: &Field<'_>) -> Result<Value, Error> {
        Ok(match &field.node.content {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Int(value) => Value::Int(*value),
            Content::Float(_) => Value::Float(field.float()?),
            Content::Text(text) => {
                field.refuse_control(text, &['\n', '\t'])?;
                Value::Text(text.to_string())
            }
            Content::List(items) => Value::List(
                items
                    .iter()
                    .enumerate()
                    .map(|(at, item)| Value::of(&field.item(at, item)))
                    .collect::<Result<_, _>>()?,
            ),
            Content::Map(entries) => {
                let mut map = Vec::with_capacity(entries.len());
                for (key, node) in entries {
                    field.key_text(key)?;
                    map.push((key.to_string(), Value::of(&field.entry(key, node))?));
                }
                Value::Map(map)
            }
        })
    }
}

/// Tells whether a node has no value.
pub(super) fn is_null(node: &Node<'_>) -> bool {
    matches!(node.content, Content::Null)
}
