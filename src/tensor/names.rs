//! Tensors that come with names, put in the order of the ports they are for.

use std::fmt;

use super::{Port, Tensor, TensorName};

/// Says what is wrong with the names that tensors came with.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// There is no such input.
    #[error("there is no input `{name}`; the inputs are {}", Names(known))]
    Unknown {
        name: TensorName,
        /// The input whose name is most like the one given, where one is like it.
        nearest: Option<TensorName>,
        known: Vec<TensorName>,
    },
    /// A name stands twice.
    #[error("the input `{0}` is given twice")]
    Duplicate(TensorName),
    /// Inputs were not given.
    #[error("no value is given for {}", Names(.0))]
    Missing(Vec<TensorName>),
}

/// Collects tensors that come with names, for the ports they are for.
#[derive(Debug)]
pub struct NamedTensors<'p> {
    ports: &'p [Port],
    given: Vec<Option<Tensor>>,
    at: usize,
}

impl<'p> NamedTensors<'p> {
    /// Starts with none.
    pub fn new(ports: &'p [Port]) -> Self {
        NamedTensors {
            ports,
            given: vec![None; ports.len()],
            at: 0,
        }
    }

    /// Gives the port of a name, which the next [`NamedTensors::put`] is for.
    ///
    /// Errors: there is none of this name, or its tensor came before.
    pub fn claim(&mut self, name: &str) -> Result<&'p Port, NameError> {
        self.at = claim(self.ports, &self.given, name)?;
        Ok(&self.ports[self.at])
    }

    /// Takes the tensor of the port that was claimed last.
    pub fn put(&mut self, tensor: Tensor) {
        if let Some(place) = self.given.get_mut(self.at) {
            *place = Some(tensor);
        }
    }

    /// Gives the tensors in the order of the ports.
    ///
    /// Errors: not all have come.
    pub fn all(self) -> Result<Vec<Tensor>, NameError> {
        all(self.ports, self.given)
    }
}

/// Finds the port of a name; `given` has the tensors that came before.
pub(super) fn claim(ports: &[Port], given: &[Option<Tensor>], name: &str) -> Result<usize, NameError> {
    let Some(at) = ports.iter().position(|port| port.name.as_str() == name) else {
        let known: Vec<TensorName> = ports.iter().map(|port| port.name.clone()).collect();
        return Err(NameError::Unknown {
            name: TensorName::new(name),
            nearest: nearest(name, &known),
            known,
        });
    };
    if given[at].is_some() {
        return Err(NameError::Duplicate(TensorName::new(name)));
    }
    Ok(at)
}

/// Gives the tensors where there is one for each port.
pub(super) fn all(ports: &[Port], given: Vec<Option<Tensor>>) -> Result<Vec<Tensor>, NameError> {
    let missing: Vec<TensorName> = ports
        .iter()
        .zip(&given)
        .filter(|(_, tensor)| tensor.is_none())
        .map(|(port, _)| port.name.clone())
        .collect();
    if !missing.is_empty() {
        return Err(NameError::Missing(missing));
    }
    Ok(given.into_iter().flatten().collect())
}

/// Finds the name most like `name`, where one is like it at all.
fn nearest(name: &str, known: &[TensorName]) -> Option<TensorName> {
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

struct Names<'a>(&'a [TensorName]);

impl fmt::Display for Names<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            write!(f, "{}`{name}`", if at == 0 { "" } else { ", " })?;
        }
        Ok(())
    }
}
