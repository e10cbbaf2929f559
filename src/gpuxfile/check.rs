use std::collections::HashMap;

use crate::tensor::{DType, Dim, Port, Signature};

use super::error::{Error, PortKind, Problem, printable};
use super::file::{Gpuxfile, Labels, PortDeclaration};
use super::ports::is_symbol;
use super::source::{Located, Span};

/// Where each symbol of the model was fixed, and to what.
type Fixed<'m> = HashMap<&'m str, (u64, Span)>;

impl Gpuxfile {
    /// Checks what the file says of inputs and outputs against the model.
    ///
    /// A declaration may say less than the model, or more: a size where the model leaves one open. It may not
    /// contradict the model, nor open a size that the model fixes. Inputs and outputs that are not declared are right.
    ///
    /// Errors: a name that the model does not have, another type, rank or size, one symbol of the model fixed to two
    /// sizes, labels that are not as many as the classes, steps that do not fit the inputs and outputs.
    pub fn check(&self, signature: &Signature) -> Result<(), Error> {
        let mut fixed = Fixed::new();
        for declared in &self.inputs {
            match signature.input(declared.name.as_str()) {
                Some(port) => self.check_port(declared, port, PortKind::Input, &mut fixed)?,
                None if self.is_pipeline_input(declared) => {}
                None => return Err(self.no_such(declared, PortKind::Input, &signature.inputs)),
            }
        }
        for declared in &self.outputs {
            match signature.output(declared.name.as_str()) {
                Some(port) => {
                    self.check_port(declared, port, PortKind::Output, &mut fixed)?;
                    self.check_labels(declared, port)?;
                }
                None => return Err(self.no_such(declared, PortKind::Output, &signature.outputs)),
            }
        }
        self.check_steps(signature)
    }

    /// Tells whether a declared input is what preprocessing starts from: by its name, or in a `gpux.yml` by any.
    fn is_pipeline_input(&self, declared: &PortDeclaration) -> bool {
        self.preprocessing.iter().any(|pipeline| match &pipeline.name {
            Some(name) => name.value == declared.name.value,
            None => self.trace.python,
        })
    }

    fn no_such(&self, declared: &PortDeclaration, kind: PortKind, ports: &[Port]) -> Error {
        let problem = Problem::NoSuchPort {
            kind,
            name: printable(declared.name.as_str()),
            known: ports.iter().map(|port| port.name.as_str().to_owned()).collect(),
        };
        self.error_at(declared.name.span, problem)
    }

    fn check_port<'m>(
        &self,
        declared: &PortDeclaration,
        port: &'m Port,
        kind: PortKind,
        fixed: &mut Fixed<'m>,
    ) -> Result<(), Error> {
        let name = || printable(declared.name.as_str());
        if let Some(dtype) = declared.dtype.filter(|dtype| dtype.value != port.dtype) {
            let problem = Problem::PortType {
                kind,
                name: name(),
                expected: port.dtype,
                declared: dtype.value,
            };
            return Err(self.error_at(dtype.span, problem));
        }
        let (Some(shape), Some(dims)) = (&declared.shape, port.shape.dims()) else {
            return Ok(());
        };
        if shape.len() != dims.len() {
            let problem = Problem::PortRank {
                kind,
                name: name(),
                expected: port.shape.clone(),
                expected_rank: dims.len(),
                declared_rank: shape.len(),
            };
            return Err(self.error_at(shape.span, problem));
        }
        for (axis, (here, model)) in shape.iter().zip(dims).enumerate() {
            match (model, &here.value) {
                (Dim::Fixed(expected), declared) if *declared != Dim::Fixed(*expected) => {
                    let problem = Problem::PortDim {
                        kind,
                        name: name(),
                        axis,
                        expected: *expected,
                        declared: declared.clone(),
                    };
                    return Err(self.error_at(here.span, problem));
                }
                (Dim::Symbol(symbol), Dim::Fixed(size)) => self.fix(symbol, *size, here, fixed)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Notes that a symbol of the model is fixed here.
    fn fix<'m>(&self, symbol: &'m str, size: u64, here: &Located<Dim>, fixed: &mut Fixed<'m>) -> Result<(), Error> {
        let (there, first) = *fixed.entry(symbol).or_insert((size, here.span));
        match there == size {
            true => Ok(()),
            false => Err(self.error_at(
                here.span,
                Problem::SymbolTwice {
                    symbol: printable(symbol),
                    here: size,
                    there,
                    line: self.place(first).line(),
                },
            )),
        }
    }

    /// Checks the number of labels where the model says how many classes there are: scores of shape `[batch, classes]`.
    fn check_labels(&self, declared: &PortDeclaration, port: &Port) -> Result<(), Error> {
        let (Some(Labels::List(labels)), Some([_, Dim::Fixed(classes)])) = (&declared.labels, port.shape.dims()) else {
            return Ok(());
        };
        let scores = matches!(port.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64);
        if !scores || labels.len() as u64 == *classes {
            return Ok(());
        }
        let problem = Problem::LabelCount {
            name: printable(declared.name.as_str()),
            classes: *classes,
            labels: labels.len(),
        };
        Err(self.error_at(labels.span, problem))
    }

    /// Gives the file with its inputs and outputs filled in from the model, in the model's order.
    ///
    /// Declarations hold where they say more than the model. Inputs of a pipeline are left out.
    pub fn filled(&self, signature: &Signature) -> Gpuxfile {
        Gpuxfile {
            inputs: filled(&self.inputs, &signature.inputs),
            outputs: filled(&self.outputs, &signature.outputs),
            ..self.clone()
        }
    }
}

fn filled(declared: &[PortDeclaration], ports: &[Port]) -> Vec<PortDeclaration> {
    let by_name: HashMap<&str, &PortDeclaration> = declared.iter().map(|port| (port.name.as_str(), port)).collect();
    let mut seen = std::collections::HashSet::new();
    ports
        .iter()
        // A model that names two ports alike cannot be called by name; the first one stands for both.
        .filter(|port| seen.insert(port.name.as_str()))
        .map(|port| match by_name.get(port.name.as_str()) {
            Some(declared) => PortDeclaration {
                dtype: Some(Located::new(port.dtype, Span::default())),
                shape: merged(declared, port),
                ..(*declared).clone()
            },
            None => from_model(port),
        })
        .collect()
}

/// Declares a port as the model has it.
pub(super) fn from_model(port: &Port) -> PortDeclaration {
    let undeclared = PortDeclaration {
        name: Located::new(port.name.clone(), Span::default()),
        dtype: Some(Located::new(port.dtype, Span::default())),
        shape: None,
        description: None,
        labels: None,
        required: None,
        max_length: None,
    };
    PortDeclaration {
        shape: merged(&undeclared, port),
        ..undeclared
    }
}

/// Joins a declared shape and the model's: in each dimension, the one that says more.
fn merged(declared: &PortDeclaration, port: &Port) -> Option<Located<Vec<Located<Dim>>>> {
    let here = |dim: Dim| Located::new(dim, Span::default());
    let Some(model) = port.shape.dims() else {
        return declared.shape.clone();
    };
    let dims = model
        .iter()
        .enumerate()
        .map(|(axis, model)| {
            let declared = declared.shape.as_ref().and_then(|shape| shape.get(axis));
            match (declared.map(|dim| &dim.value), model) {
                (Some(dim @ (Dim::Fixed(_) | Dim::Symbol(_))), _) => here(dim.clone()),
                // A symbol may be any text in ONNX, and not every text can be told from a number here.
                (_, Dim::Symbol(symbol)) if !is_symbol(symbol) => here(Dim::Unknown),
                (_, model) => here(model.clone()),
            }
        })
        .collect();
    Some(Located::new(dims, Span::default()))
}
