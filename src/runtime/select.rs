use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

use super::embedded::Embedded;
use super::error::Chain;
use super::{
    Engine, Error, LibrarySources, Looked, ProviderKind, Session, SessionOptions, Source, UnknownProvider, ort,
};

/// Says which providers may run a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProviderOrder {
    /// The best that can: `embedded` where it has every operator and type, else `cpu`.
    #[default]
    Auto,
    /// The first of these that can, and no other.
    Listed(Vec<ProviderKind>),
}

impl FromStr for ProviderOrder {
    type Err = UnknownProvider;

    /// Reads `auto`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "auto" {
            return Ok(ProviderOrder::Auto);
        }
        let kinds = text.split(',').map(|name| name.trim().parse());
        kinds.collect::<Result<_, _>>().map(ProviderOrder::Listed)
    }
}

/// Is what the choice of a provider depends on, but the model.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The providers that may run the model.
    pub order: ProviderOrder,
    /// How the session is made.
    pub session: SessionOptions,
    /// Where ONNX Runtime may lie; looked at only when a provider of its is tried.
    pub libraries: LibrarySources,
}

/// Is a provider that did not get the model, and why.
#[derive(Debug)]
pub struct Refused {
    pub provider: ProviderKind,
    pub reason: Reason,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.provider, self.reason)
    }
}

/// Says why a provider did not get a model.
#[derive(Debug)]
pub enum Reason {
    /// This version of gpux has no way to use the provider.
    NotSupported,
    /// The provider could not be started, or could not load the model.
    Failed(Error),
}

impl fmt::Display for Reason {
    /// Writes the reason with all its causes, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotSupported => f.write_str("gpux cannot use this provider yet"),
            Reason::Failed(error) => Chain(error).fmt(f),
        }
    }
}

/// Is every provider that was tried in vain.
#[derive(Debug)]
pub struct Refusals(pub Vec<Refused>);

impl Refusals {
    /// Tells whether ONNX Runtime was wanted and not found, so that installing it may help.
    pub fn lack_onnx_runtime(&self) -> bool {
        let lacks = |refused: &Refused| matches!(refused.reason, Reason::Failed(Error::Library(_)));
        self.0.iter().any(lacks)
    }

    /// Gives every place where ONNX Runtime was looked for in vain, in order.
    pub fn places(&self) -> impl Iterator<Item = &Looked> {
        self.0.iter().flat_map(|refused| match &refused.reason {
            Reason::Failed(Error::Library(not_found)) => not_found.looked.as_slice(),
            _ => &[],
        })
    }
}

impl fmt::Display for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, refused) in self.0.iter().enumerate() {
            write!(f, "{}{refused}", if at == 0 { "" } else { "; " })?;
        }
        Ok(())
    }
}

impl StdError for Refusals {}

/// Is a loaded model and the provider that has it.
pub struct Selected {
    pub session: Box<dyn Session>,
    pub provider: ProviderKind,
    /// The providers that come before it, and why they did not get the model.
    pub refused: Vec<Refused>,
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected")
            .field("provider", &self.provider)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// Loads a model with the first provider that can run it.
///
/// Errors: [`Error::NoProvider`] with every provider that was tried and its reason.
pub fn select(source: &Source<'_>, selection: &Selection) -> Result<Selected, Error> {
    let kinds = match &selection.order {
        ProviderOrder::Auto => &[ProviderKind::Embedded, ProviderKind::Cpu],
        ProviderOrder::Listed(kinds) => kinds.as_slice(),
    };
    let mut refused = Vec::new();
    for &provider in kinds {
        match load(provider, source, selection) {
            Ok(session) => {
                return Ok(Selected {
                    session,
                    provider,
                    refused,
                });
            }
            Err(reason) => refused.push(Refused { provider, reason }),
        }
    }
    Err(Error::NoProvider(Refusals(refused)))
}

fn load(provider: ProviderKind, source: &Source<'_>, selection: &Selection) -> Result<Box<dyn Session>, Reason> {
    let loaded = match provider {
        ProviderKind::Cpu => {
            ort::Engine::open(&selection.libraries).and_then(|engine| engine.load(source, &selection.session))
        }
        ProviderKind::Embedded => Embedded::new().load(source, &selection.session),
        _ => return Err(Reason::NotSupported),
    };
    loaded.map_err(Reason::Failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx;
    use crate::runtime::ModelFiles;

    #[test]
    fn an_order_is_auto_or_names_with_commas() {
        use ProviderKind::{Cpu, Cuda, MiGraphX};
        assert_eq!("auto".parse(), Ok(ProviderOrder::Auto));
        let listed = ProviderOrder::Listed(vec![Cuda, MiGraphX, Cpu]);
        assert_eq!("cuda, rocm,cpu".parse(), Ok(listed));
        let unknown = UnknownProvider("gpu".to_owned());
        assert_eq!("cpu,gpu".parse::<ProviderOrder>(), Err(unknown));
    }

    /// Tries `provider` alone, where no library can be found.
    fn refusals_of(provider: ProviderKind) -> Refusals {
        let graph = include_bytes!("../../fixtures/mlp/model.onnx");
        let model = onnx::Model::parse(graph.as_slice().into()).unwrap();
        let files = ModelFiles {
            graph: "model.onnx".into(),
            external: Default::default(),
        };
        let source = Source {
            files: &files,
            model: &model,
            signature: &model.signature().unwrap(),
        };
        let selection = Selection {
            order: ProviderOrder::Listed(vec![provider]),
            ..Selection::default()
        };
        match select(&source, &selection) {
            Err(Error::NoProvider(refusals)) => refusals,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_listed_provider_that_fails_is_an_error_and_never_a_fallback() {
        let refusals = refusals_of(ProviderKind::Cuda);
        assert_eq!(refusals.to_string(), "cuda: gpux cannot use this provider yet");
        assert!(!refusals.lack_onnx_runtime());
    }

    #[test]
    fn a_missing_library_is_told_apart_from_other_reasons() {
        let refusals = refusals_of(ProviderKind::Cpu);
        assert_eq!(refusals.to_string(), "cpu: no ONNX Runtime library was found");
        assert!(refusals.lack_onnx_runtime());
    }
}
