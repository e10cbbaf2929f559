use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::decode::{Failure, most_elements, read};
use super::error::{Error, Found};
use crate::tensor::names::{all, claim};
use crate::tensor::{IndexPath, Port, Tensor, TensorName};

/// Reads the text of a whole map of inputs, `{"NAME": value, …}`, straight into tensors.
///
/// Shape: one tensor a port, in the order of `ports`, whatever the order of the text.
/// Errors: a name that is unknown, given twice or missing; and for each value as [`decode_text`](super::decode_text).
pub fn decode_map(text: &[u8], ports: &[Port]) -> Result<Vec<Tensor>, Error> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let tensors = map_with(&mut deserializer, ports, most_elements(text))?;
    deserializer.end().map_err(Error::MapSyntax)?;
    Ok(tensors)
}

/// Reads a whole map of inputs from a JSON value, as [`decode_map`] does from text.
pub fn decode_map_value(value: &Value, ports: &[Port]) -> Result<Vec<Tensor>, Error> {
    map_with(value, ports, 0)
}

fn map_with<'de, D>(deserializer: D, ports: &[Port], bound: usize) -> Result<Vec<Tensor>, Error>
where
    D: Deserializer<'de, Error = serde_json::Error>,
{
    let mut inputs = Inputs {
        ports,
        bound,
        tensors: ports.iter().map(|_| None).collect(),
        fault: None,
        place: None,
    };
    if let Err(source) = deserializer.deserialize_any(&mut inputs) {
        return Err(match (inputs.fault, inputs.place) {
            (Some(fault), _) => fault,
            (None, Some((name, path))) => Error::Syntax { name, path, source },
            (None, None) => Error::MapSyntax(source),
        });
    }
    Ok(all(ports, inputs.tensors)?)
}

/// Collects the tensors of a map.
struct Inputs<'p> {
    ports: &'p [Port],
    bound: usize,
    tensors: Vec<Option<Tensor>>,
    fault: Option<Error>,
    /// Where the text itself went wrong, within a value.
    place: Option<(TensorName, IndexPath)>,
}

impl Inputs<'_> {
    fn stop<E: serde::de::Error>(&mut self, fault: impl Into<Error>) -> E {
        self.fault = Some(fault.into());
        E::custom("stopped")
    }
}

impl<'de> Visitor<'de> for &mut Inputs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the names of the inputs to their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match claim(self.ports, &self.tensors, &name) {
                Ok(at) => map.next_value_seed(Slot { inputs: self, at })?,
                Err(error) => return Err(self.stop(error)),
            }
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::Bool)))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::Number)))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::Number)))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::Number)))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::String)))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.stop(Error::NotAMap(Found::Null)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.stop(Error::NotAMap(Found::List)))
    }
}

/// Is the key of a map; borrowed from the text where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// Reads the value of one input into its place.
struct Slot<'i, 'p> {
    inputs: &'i mut Inputs<'p>,
    at: usize,
}

impl<'de> DeserializeSeed<'de> for Slot<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let port = &self.inputs.ports[self.at];
        match read(deserializer, port, self.inputs.bound) {
            Ok(tensor) => self.inputs.tensors[self.at] = Some(tensor),
            Err(Failure::Refused(error)) => return Err(self.inputs.stop(error)),
            Err(Failure::Unreadable(path, source)) => {
                self.inputs.place = Some((port.name.clone(), path));
                return Err(source);
            }
        }
        Ok(())
    }
}
