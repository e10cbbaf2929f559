use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use super::decode::{Failure, most_elements, read};
use super::error::{Error, Found, NameError};
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
    let missing: Vec<TensorName> = ports
        .iter()
        .zip(&inputs.tensors)
        .filter(|(_, tensor)| tensor.is_none())
        .map(|(port, _)| port.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(NameError::Missing(missing).into());
    }
    Ok(inputs.tensors.into_iter().flatten().collect())
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

    /// Finds the port of a name that was not given before.
    fn claim(&self, name: &str) -> Result<usize, NameError> {
        let Some(at) = self.ports.iter().position(|port| port.name.as_str() == name) else {
            let known: Vec<TensorName> = self.ports.iter().map(|port| port.name.clone()).collect();
            return Err(NameError::Unknown {
                name: TensorName::new(name),
                nearest: nearest(name, &known),
                known,
            });
        };
        if self.tensors[at].is_some() {
            return Err(NameError::Duplicate(TensorName::new(name)));
        }
        Ok(at)
    }
}

/// Finds the name most like `name`, where one is like it at all.
pub(super) fn nearest(name: &str, known: &[TensorName]) -> Option<TensorName> {
    // The comparison takes time as the product of the lengths.
    const LONGEST: usize = 256;
    let likeness = |other: &str| {
        if name.len().max(other.len()) > LONGEST {
            return 0.0;
        }
        strsim::normalized_damerau_levenshtein(&name.to_lowercase(), &other.to_lowercase())
    };
    known
        .iter()
        .map(|other| (likeness(other.as_str()), other))
        .filter(|(likeness, _)| *likeness >= 0.5)
        .max_by(|left, right| left.0.total_cmp(&right.0))
        .map(|(_, other)| other.clone())
}

impl<'de> Visitor<'de> for &mut Inputs<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the names of the inputs to their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(Name(name)) = map.next_key()? {
            match self.claim(&name) {
                Ok(at) => map.next_value_seed(Slot { inputs: self, at })?,
                Err(error) => return Err(self.stop(error)),
            }
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, _: bool) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::Bool)))
    }

    fn visit_i64<E: serde::de::Error>(self, _: i64) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::Number)))
    }

    fn visit_u64<E: serde::de::Error>(self, _: u64) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::Number)))
    }

    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::Number)))
    }

    fn visit_str<E: serde::de::Error>(self, _: &str) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::String)))
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        Err(self.stop(NameError::NotAMap(Found::Null)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(self.stop(NameError::NotAMap(Found::List)))
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
