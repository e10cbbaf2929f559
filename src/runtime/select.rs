use std::collections::BTreeMap;
use std::error::Error as StdError;
use std::fmt;
use std::str::FromStr;

use super::embedded::Embedded;
use super::error::Chain;
use super::{
    Configuration, Engine, Error, LibrarySources, Looked, ProviderKind, Session, SessionOptions, Settings, Source,
    UnknownProvider, library, ort,
};
use crate::provider::LoadPlan;

/// Says which providers may run a model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ProviderOrder {
    /// The best that can: what tuning found, else an accelerator that is proven, else `embedded` where it has every
    /// operator and type, else `cpu`.
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

/// Says what kind of provider must run the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requirement {
    /// One on a graphics processor.
    Gpu,
    /// This one.
    Provider(ProviderKind),
}

impl Requirement {
    /// Tells whether `kind` is what is required.
    pub fn admits(self, kind: ProviderKind) -> bool {
        use ProviderKind::{CoreMl, Cuda, DirectMl, MiGraphX, TensorRt, TensorRtRtx, WebGpu};
        match self {
            Requirement::Gpu => {
                matches!(
                    kind,
                    TensorRt | TensorRtRtx | Cuda | MiGraphX | CoreMl | DirectMl | WebGpu
                )
            }
            Requirement::Provider(required) => kind == required,
        }
    }
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Requirement::Gpu => f.pad("gpu"),
            Requirement::Provider(kind) => kind.fmt(f),
        }
    }
}

impl FromStr for Requirement {
    type Err = UnknownProvider;

    /// Reads `gpu`, or a provider's name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "gpu" => Ok(Requirement::Gpu),
            name => name.parse().map(Requirement::Provider),
        }
    }
}

/// Is a provider whose libraries this machine has.
#[derive(Clone, Debug)]
pub struct Offer {
    pub plan: LoadPlan,
    pub verdict: Verdict,
}

/// Is what came of running a small model with a provider in a process of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gave the right numbers.
    Proven,
    /// It crashed, hung, failed or gave wrong numbers: the text says which.
    Refused(String),
    /// Nobody tried.
    Untried,
}

/// Is what the choice of a provider depends on, but the model.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// The providers that may run the model.
    pub order: ProviderOrder,
    /// What must run it; nothing else is tried.
    pub require: Option<Requirement>,
    /// How the session is made.
    pub session: SessionOptions,
    /// What tuning found best for this model and machine: the first choice of [`ProviderOrder::Auto`].
    pub tuned: Option<Configuration>,
    /// The providers whose libraries this machine has.
    pub offers: Vec<Offer>,
    /// The options that the model has for each provider.
    pub provider_options: BTreeMap<ProviderKind, BTreeMap<String, String>>,
    /// Where ONNX Runtime may lie, for providers that nobody offers; looked at only when one is tried.
    pub libraries: LibrarySources,
}

impl Selection {
    /// Lists what is tried, in order.
    ///
    /// Without a list, and without a verdict of tuning, the accelerators that are proven come first, then the embedded
    /// engine, which starts quickest, then ONNX Runtime on the processor.
    fn candidates(&self) -> Vec<ProviderKind> {
        let mut kinds = match &self.order {
            ProviderOrder::Listed(kinds) => kinds.clone(),
            ProviderOrder::Auto => {
                let tuned = self.tuned.iter().map(|tuned| tuned.provider);
                let proven = ProviderKind::ALL.into_iter().filter(|&kind| self.is_proven(kind));
                tuned
                    .chain(proven)
                    .chain([ProviderKind::Embedded, ProviderKind::Cpu])
                    .collect()
            }
        };
        if let (ProviderOrder::Auto, Some(require)) = (&self.order, self.require) {
            // What is required is worth a try that `auto` would not make.
            kinds.extend(ProviderKind::ALL);
            kinds.retain(|&kind| require.admits(kind));
        }
        let mut seen = Vec::new();
        kinds.retain(|&kind| {
            let is_new = !seen.contains(&kind);
            seen.push(kind);
            is_new
        });
        kinds
    }

    fn is_proven(&self, kind: ProviderKind) -> bool {
        let proven = |offer: &Offer| offer.plan.kind == kind && offer.verdict == Verdict::Proven;
        kind.is_accelerator() && kind != ProviderKind::OpenVino && self.offers.iter().any(proven)
    }
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
    /// It is not what the user requires.
    NotRequired(Requirement),
    /// It was tried before, and failed.
    Refused(String),
    /// The provider could not be started, or could not load the model.
    Failed(Error),
}

impl fmt::Display for Reason {
    /// Writes the reason with all its causes, on one line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::NotRequired(required) => write!(f, "{required} is required"),
            Reason::Refused(why) => f.write_str(why),
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
        let lacks = |refused: &Refused| {
            refused.provider == ProviderKind::Cpu && matches!(refused.reason, Reason::Failed(Error::Library(_)))
        };
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
    /// What the session was made with.
    pub settings: Settings,
    /// Whether tuning chose the provider and its settings.
    pub tuned: bool,
    /// The providers that come before it, and why they did not get the model.
    pub refused: Vec<Refused>,
}

impl fmt::Debug for Selected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Selected")
            .field("provider", &self.provider)
            .field("settings", &self.settings)
            .field("refused", &self.refused)
            .finish_non_exhaustive()
    }
}

/// Loads a model with the first provider that can run it.
///
/// Errors: [`Error::NoProvider`] with every provider that was tried and its reason; [`Error::Requirement`] where one was
/// required.
pub fn select(source: &Source<'_>, selection: &Selection) -> Result<Selected, Error> {
    let mut refused = Vec::new();
    for provider in selection.candidates() {
        let mut options = selection.session.clone();
        let tuned = selection.tuned.as_ref().filter(|tuned| tuned.provider == provider);
        if let Some(tuned) = tuned {
            tuned.apply(&mut options);
        }
        match load(provider, source, selection, &mut options) {
            Ok(session) => {
                return Ok(Selected {
                    session,
                    provider,
                    settings: options.settings,
                    tuned: tuned.is_some(),
                    refused,
                });
            }
            Err(reason) => refused.push(Refused { provider, reason }),
        }
    }
    let refusals = Refusals(refused);
    Err(match selection.require {
        Some(requirement) => Error::Requirement {
            requirement,
            source: refusals,
        },
        None => Error::NoProvider(refusals),
    })
}

fn load(
    provider: ProviderKind,
    source: &Source<'_>,
    selection: &Selection,
    options: &mut SessionOptions,
) -> Result<Box<dyn Session>, Reason> {
    if let Some(require) = selection.require.filter(|require| !require.admits(provider)) {
        return Err(Reason::NotRequired(require));
    }
    if let Some(wished) = selection.provider_options.get(&provider) {
        options.provider_options = wished.clone();
    }
    let loaded = if provider == ProviderKind::Embedded {
        Embedded::new().load(source, options)
    } else {
        engine(provider, selection)?.and_then(|engine| engine.load(source, options))
    };
    loaded.map_err(Reason::Failed)
}

/// Gives ONNX Runtime with the provider: as it is offered, else as it is found.
fn engine(provider: ProviderKind, selection: &Selection) -> Result<Result<ort::Engine, Error>, Reason> {
    let mut offers = selection.offers.iter().filter(|offer| offer.plan.kind == provider);
    let offer = offers
        .clone()
        .find(|offer| !matches!(offer.verdict, Verdict::Refused(_)));
    // Every ONNX Runtime has the processor: the one that the process has loaded will do.
    let will_do = provider == ProviderKind::Cpu && ort::loaded_library().is_some();
    if let Some(offer) = offer.filter(|_| !will_do) {
        return Ok(ort::Engine::of(&offer.plan));
    }
    if let Some(Verdict::Refused(why)) = offers.next().map(|offer| &offer.verdict).filter(|_| !will_do) {
        return Err(Reason::Refused(why.clone()));
    }
    if provider == ProviderKind::Cpu {
        return Ok(ort::Engine::open(&selection.libraries));
    }
    Ok(match library::find(provider, &selection.libraries) {
        Ok(plan) => ort::Engine::of(&plan),
        Err(not_found) => Err(not_found.into()),
    })
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
        assert_eq!(refusals.to_string(), "cuda: no ONNX Runtime with cuda was found");
    }

    #[test]
    fn a_missing_library_is_told_apart_from_other_reasons() {
        let refusals = refusals_of(ProviderKind::Cpu);
        assert_eq!(refusals.to_string(), "cpu: no ONNX Runtime library was found");
        assert!(refusals.lack_onnx_runtime());
    }
}
