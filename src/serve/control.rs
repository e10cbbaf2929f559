//! Models loaded and unloaded by calls, whatever they are spoken over.

use std::sync::Arc;

use super::error::shown;
use super::{Error, Repository};

/// The longest name of a model, or of a version, that a call brings. Units: bytes.
const LONGEST_NAME: usize = 255;

/// Is what a call asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub model: String,
    /// The version; without one, all that there are, or the reference's own.
    pub version: Option<String>,
    /// The artifact that the name is to stand for.
    pub reference: Option<String>,
}

/// Is a parameter of a call: Triton's, or one of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    Text(String),
    Bool(bool),
    Other,
}

impl Change {
    /// Reads the parameters of a call.
    ///
    /// Errors: one that would be ignored, though it says what is to be served.
    pub fn read(model: String, parameters: impl IntoIterator<Item = (String, Parameter)>) -> Result<Change, Error> {
        let mut change = Change {
            model,
            ..Change::default()
        };
        for (name, value) in parameters {
            match (name.as_str(), value) {
                ("version", Parameter::Text(text)) => change.version = Some(text),
                ("reference", Parameter::Text(text)) => change.reference = Some(text),
                // Nothing that gpux serves depends on another model.
                ("unload_dependents", Parameter::Bool(_)) => {}
                _ => {
                    return Err(change.refused(format!(
                        "the parameter `{}` is none: there are `reference` and `version`, both text",
                        shown(&name)
                    )));
                }
            }
        }
        for name in [Some(&change.model), change.version.as_ref()].into_iter().flatten() {
            let is_name = !name.is_empty() && name.len() <= LONGEST_NAME;
            if !is_name || name.contains(|letter: char| letter.is_control() || letter == '/') {
                return Err(change.refused(format!("`{}` is no name", shown(name))));
            }
        }
        Ok(change)
    }

    /// Loads, and returns when the model answers.
    ///
    /// Errors: there is no such model, or it cannot be loaded.
    pub async fn load(self, repository: &Arc<Repository>) -> Result<(), Error> {
        let repository = Arc::clone(repository);
        let lost = Error::Lost(self.model.clone());
        let load = move || {
            let Change {
                model,
                version,
                reference,
            } = self;
            match reference {
                Some(reference) => repository.load_reference(&model, version.as_deref(), &reference),
                None => repository.load(&model, version.as_deref()),
            }
        };
        tokio::task::spawn_blocking(load).await.unwrap_or(Err(lost))
    }

    /// Unloads; what the model has taken is answered.
    ///
    /// Errors: there is no such model; a reference was given.
    pub async fn unload(self, repository: &Arc<Repository>) -> Result<(), Error> {
        if self.reference.is_some() {
            return Err(self.refused("a reference is not unloaded, but a name".to_owned()));
        }
        let repository = Arc::clone(repository);
        let lost = Error::Lost(self.model.clone());
        let unload = move || repository.unload(&self.model, self.version.as_deref());
        tokio::task::spawn_blocking(unload).await.unwrap_or(Err(lost))
    }

    fn refused(&self, why: String) -> Error {
        Error::NotLoaded {
            name: self.model.chars().take(100).collect(),
            why,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(model: &str, parameters: &[(&str, Parameter)]) -> Result<Change, String> {
        let parameters = parameters
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.clone()));
        Change::read(model.to_owned(), parameters).map_err(|error| error.to_string())
    }

    #[test]
    fn parameters_that_would_be_ignored_are_refused() {
        let text = |text: &str| Parameter::Text(text.to_owned());
        let both = [
            ("reference", text("a/b:1")),
            ("version", text("2")),
            ("unload_dependents", Parameter::Bool(true)),
        ];
        let change = read("m", &both).unwrap();
        assert_eq!(change.reference.as_deref(), Some("a/b:1"));
        assert_eq!(change.version.as_deref(), Some("2"));
        for wrong in [
            ("config", text("{}")),
            ("file:1/model.onnx", Parameter::Other),
            ("version", Parameter::Other),
        ] {
            let error = read("m", &[wrong]).unwrap_err();
            assert!(error.contains("there are `reference` and `version`"), "{error}");
        }
        for name in ["", "a/b", "a\nb", &"x".repeat(300)] {
            assert!(read(name, &[]).is_err(), "{name:?}");
        }
        assert!(read("m", &[("version", text(""))]).is_err());
    }
}
