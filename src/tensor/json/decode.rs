use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::build::{Builder, Stop};
use super::error::{Error, Found};
use crate::tensor::cast::Cast;
use crate::tensor::{CastError, DType, IndexPath, Port, Tensor, for_dtype};

/// Reads a tensor from a JSON value.
///
/// Shape: the nesting of the lists, which the port's declared shape must admit. An empty list stands for a tensor
/// without elements where the port fixes the dimensions below it.
/// Errors: [`Error`], with the place of the first value that does not fit.
pub fn decode(value: &Value, port: &Port) -> Result<Tensor, Error> {
    decode_with(value, port, 0)
}

/// Reads a tensor from JSON text, straight into its elements.
///
/// Shape: as [`decode`] says.
/// Errors: as [`decode`], and where the text is not JSON or has more after the value.
pub fn decode_text(text: &[u8], port: &Port) -> Result<Tensor, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let tensor = decode_with(&mut deserializer, port, most_elements(text))?;
    deserializer.end().map_err(|source| Error::Syntax {
        name: port.name.clone(),
        path: IndexPath::default(),
        source,
    })?;
    Ok(tensor)
}

/// Gives how many elements a text can have: each takes a character and a comma.
pub(super) fn most_elements(text: &[u8]) -> usize {
    text.len().div_ceil(2)
}

fn decode_with<'de, D>(deserializer: D, port: &Port, bound: usize) -> Result<Tensor, Error>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    read(deserializer, port, bound).map_err(|failure| match failure {
        Failure::Refused(error) => error,
        Failure::Unreadable(path, source) => Error::Syntax {
            name: port.name.clone(),
            path,
            source,
        },
    })
}

/// Says why [`read`] gave no tensor.
pub(super) enum Failure<E> {
    /// What was read is not what the port declares; the deserializer's own error says nothing.
    Refused(Error),
    /// The deserializer failed, at this place.
    Unreadable(IndexPath, E),
}

/// Reads a tensor from whatever gives JSON's kinds of values; `bound` caps the room made for its elements.
pub(super) fn read<'de, D>(deserializer: D, port: &Port, bound: usize) -> Result<Tensor, Failure<D::Error>>
where
    D: Deserializer<'de>,
{
    for_dtype!(port.dtype, T => {
        let mut builder = Builder::<T>::new(port, bound);
        match (Nest { builder: &mut builder }).deserialize(deserializer) {
            Ok(()) => builder.finish().map_err(Failure::Refused),
            Err(error) => Err(builder.explain(error)),
        }
    }, else Err(Failure::Refused(Error::NotHeld { name: port.name.clone(), dtype: port.dtype })))
}

/// Reads one value, a list or an element, into a builder.
struct Nest<'b, 'p, T> {
    builder: &'b mut Builder<'p, T>,
}

impl<'de, T: Cast> DeserializeSeed<'de> for Nest<'_, '_, T> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

/// Turns a stop into the error that makes the deserializer give up; nobody sees its text.
fn give_up<E: serde::de::Error>(_: Stop) -> E {
    E::custom("stopped")
}

impl<'de, T: Cast> Visitor<'de> for Nest<'_, '_, T> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a tensor of {}", T::DTYPE)
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.builder.push(Found::Bool, T::from_bool(value)).map_err(give_up)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.builder
            .push(Found::Number, T::from_integer(value.into()))
            .map_err(give_up)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.builder
            .push(Found::Number, T::from_integer(value.into()))
            .map_err(give_up)
    }

    #[inline]
    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<(), E> {
        self.builder.push(Found::Number, from_notation(value)).map_err(give_up)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        self.builder.push(Found::String, T::from_text(text)).map_err(give_up)
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(give_up(self.builder.refuse(Found::Null)))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(give_up(self.builder.refuse(Found::Object)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        self.builder.open().map_err(give_up)?;
        while list.next_element_seed(Nest { builder: self.builder })?.is_some() {}
        self.builder.close().map_err(give_up)
    }
}

/// Casts a number that was written with a fraction or an exponent, or that no 64-bit integer holds.
///
/// Such a number was rounded to float64 before it came here; beyond 2^53 it may not be the whole number that was
/// written, so an integer type does not take it.
fn from_notation<T: Cast>(value: f64) -> Result<T, CastError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    let element = T::from_float(value)?;
    let is_integer = !matches!(T::DTYPE, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
    if is_integer && value.abs() > EXACT {
        return Err(CastError::Rounded { value, dtype: T::DTYPE });
    }
    Ok(element)
}
