use serde_json::Value;

use super::build::{Builder, Sink, Stop};
use super::error::{Error, Found};
use crate::tensor::cast::{Cast, from_notation};
use crate::tensor::names::{all, claim};
use crate::tensor::{Port, Tensor, for_dtype};

/// Reads a tensor from a JSON value.
///
/// Shape: the nesting of the lists, which the port's declared shape must admit. An empty list stands for a tensor
/// without elements where the port fixes the dimensions below it.
/// Errors: [`Error`], with the place of the first value that does not fit.
pub fn decode(value: &Value, port: &Port) -> Result<Tensor, Error> {
    for_dtype!(port.dtype, T => {
        let mut builder = Builder::<T>::new(port, 0);
        match walk(value, &mut builder) {
            Ok(()) => builder.finish(),
            Err(Stop(error)) => Err(*error),
        }
    }, else Err(Error::NotHeld { name: port.name.clone(), dtype: port.dtype }))
}

/// Reads a whole map of inputs from a JSON value, as [`decode_map`](super::decode_map) does from text.
pub fn decode_map_value(value: &Value, ports: &[Port]) -> Result<Vec<Tensor>, Error> {
    let Value::Object(map) = value else {
        return Err(Error::NotAMap(found(value)));
    };
    let mut tensors = vec![None; ports.len()];
    for (name, value) in map {
        let at = claim(ports, &tensors, name)?;
        tensors[at] = Some(decode(value, &ports[at])?);
    }
    Ok(all(ports, tensors)?)
}

/// Walks nested lists; the builder refuses to go deeper than a tensor can be.
fn walk<T: Cast>(value: &Value, builder: &mut Builder<T>) -> Result<(), Stop> {
    let element = match value {
        Value::Array(list) => {
            builder.open()?;
            for value in list {
                walk(value, builder)?;
            }
            return builder.close();
        }
        Value::Null | Value::Object(_) => return Err(builder.refuse(found(value))),
        Value::Bool(value) => T::from_bool(*value),
        Value::String(text) => T::from_text(text),
        Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
            (Some(whole), ..) => T::from_integer(whole.into()),
            (None, Some(whole), _) => T::from_integer(whole.into()),
            (None, None, float) => from_notation(float.unwrap_or(f64::NAN)),
        },
    };
    builder.push(found(value), element)
}

fn found(value: &Value) -> Found {
    match value {
        Value::Null => Found::Null,
        Value::Bool(_) => Found::Bool,
        Value::Number(_) => Found::Number,
        Value::String(_) => Found::String,
        Value::Array(_) => Found::List,
        Value::Object(_) => Found::Object,
    }
}
