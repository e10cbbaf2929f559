use std::time::Duration;

use crate::tensor::{DType, Dim, TensorName};

use super::error::{Error, Problem};
use super::generation::Generation;
use super::name::ArtifactName;
use super::notice::Notice;
use super::paths::{ContextPath, Pattern};
use super::source::{Located, Place, Source, Span};
use super::steps::{InputPipeline, OutputPipeline};
use super::value::Value;

/// Is what a GPUXfile says, validated as far as its text alone can tell.
///
/// Two are equal where they say the same, wherever it stands in the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Gpuxfile {
    /// Names the artifact.
    pub name: Located<ArtifactName>,
    /// The version, which makes the tag.
    pub version: Option<Located<semver::Version>>,
    /// What the model is, in a sentence or more.
    pub description: Option<String>,
    /// SPDX expressions.
    pub licenses: Vec<String>,
    /// Who made the model.
    pub authors: Vec<String>,
    /// The ONNX file; of several, the one that takes what a person gives: `encoder`, else the first.
    pub model: Located<ContextPath>,
    /// The ONNX files by name, where there are several.
    pub models: Vec<(String, Located<ContextPath>)>,
    /// What the file says of the model's inputs; those it does not list come from the model.
    pub inputs: Vec<PortDeclaration>,
    /// What the file says of the model's outputs; those it does not list come from the model.
    pub outputs: Vec<PortDeclaration>,
    /// Side files to take along.
    pub files: Vec<Located<Pattern>>,
    /// How the model is to be run.
    pub runtime: Runtime,
    /// How the model is to be served.
    pub serving: Serving,
    /// How what a person gives becomes tensors; empty where tensors are given.
    pub preprocessing: Vec<InputPipeline>,
    /// How tensors become answers; empty where tensors are the answer.
    pub postprocessing: Vec<OutputPipeline>,
    /// How text is generated, where it is.
    pub generation: Option<Located<Generation>>,
    /// Free data of the author, in the order of the file.
    pub metadata: Vec<(String, Value)>,
    pub(super) trace: Trace,
}

/// Is what the file says of one input or output.
#[derive(Clone, Debug, PartialEq)]
pub struct PortDeclaration {
    /// The name, as the model has it.
    pub name: Located<TensorName>,
    /// The element type; `None` where it is left to the model.
    pub dtype: Option<Located<DType>>,
    /// The shape; `None` where it is left to the model.
    pub shape: Option<Located<Vec<Located<Dim>>>>,
    /// What it is.
    pub description: Option<String>,
    /// Names of the values or classes.
    pub labels: Option<Labels>,
    /// Whether a call must bring it; no effect, since every input of an ONNX model must be given.
    pub required: Option<bool>,
    /// The most tokens; no effect, since the step `tokenize` bounds them.
    pub max_length: Option<u64>,
}

/// Names the classes that an output numbers.
#[derive(Clone, Debug, PartialEq)]
pub enum Labels {
    /// Written in the GPUXfile.
    List(Located<Vec<String>>),
    /// One a line in a side file, which the artifact takes along.
    File(Located<ContextPath>),
}

/// Says how the model is to be run, where the user does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runtime {
    /// Providers, best first, by the names in [`PROVIDERS`](super::PROVIDERS); empty for `auto`.
    pub providers: Vec<Located<String>>,
    /// Options for the providers named.
    pub provider_options: Vec<ProviderOptions>,
    /// Threads of one operator.
    pub threads: Option<Located<u64>>,
    /// The deadline of one call.
    pub timeout: Option<Located<Duration>>,
    /// The most memory of the process.
    pub memory_bytes: Option<Located<u64>>,
}

/// Holds options for one provider, which it alone understands.
#[derive(Clone, Debug, PartialEq)]
pub struct ProviderOptions {
    /// The provider's name.
    pub provider: Located<String>,
    /// Each option with its value, as written.
    pub options: Vec<(String, String)>,
}

/// Says how the model is to be served, where the user does not say otherwise.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Serving {
    /// The address to listen on.
    pub host: Option<String>,
    /// The port to listen on.
    pub port: Option<u16>,
    /// The most requests joined in one call.
    pub max_batch_size: Option<u64>,
    /// How long a request waits for others to join.
    pub max_queue_delay: Option<Duration>,
    /// The deadline of one request.
    pub timeout: Option<Duration>,
    /// Sessions beside each other.
    pub instances: Option<u64>,
}

/// Keeps where a value came from; says nothing of what it is, so that any two are equal.
#[derive(Clone, Debug, Default)]
pub(super) struct Trace {
    pub source: Source,
    pub notices: Vec<Notice>,
    /// Whether the file is a `gpux.yml` of the Python tool of the same name.
    pub python: bool,
}

impl PartialEq for Trace {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Gpuxfile {
    /// Gives the models with their names; a model that is alone is called `model`.
    pub fn graphs(&self) -> Vec<(&str, &Located<ContextPath>)> {
        match self.models.is_empty() {
            true => vec![("model", &self.model)],
            false => self.models.iter().map(|(name, path)| (name.as_str(), path)).collect(),
        }
    }

    /// Gives the place of [`Gpuxfile::model`] among [`Gpuxfile::graphs`].
    pub fn entry(&self) -> usize {
        self.models.iter().position(|(name, _)| name == "encoder").unwrap_or(0)
    }

    /// Gives the file with other paths for its models, in the order of [`Gpuxfile::graphs`].
    pub fn with_graphs(mut self, paths: Vec<ContextPath>) -> Gpuxfile {
        if let Some(path) = paths.get(self.entry()) {
            self.model.value = path.clone();
        }
        for ((_, model), path) in self.models.iter_mut().zip(paths) {
            model.value = path;
        }
        self
    }

    /// Gives a line for each key that has no effect, or not the one it names, in the order of the file.
    pub fn notices(&self) -> &[Notice] {
        &self.trace.notices
    }

    /// Gives the tag that the version makes: `+`, which no tag has, becomes `_`; `latest` where there is no version.
    pub fn tag(&self) -> String {
        match &self.version {
            Some(version) => version.to_string().replace('+', "_"),
            None => "latest".to_owned(),
        }
    }

    /// Tells whether the file is a `gpux.yml` of the Python tool of the same name.
    pub fn is_python(&self) -> bool {
        self.trace.python
    }

    /// Leaves out how input is made into tensors, with a line that says why.
    ///
    /// The Python tool reads `preprocessing` and does nothing with it, so a `gpux.yml` may have one that cannot work.
    pub fn without_preprocessing(mut self, why: &Error) -> (Self, String) {
        self.preprocessing.clear();
        let line = format!("`preprocessing` has no effect: {}: {}", why.place(), why.problem());
        (self, line)
    }

    /// Finds the line, column and text of a value, for a message of the caller's own.
    pub fn place(&self, span: Span) -> Place {
        self.trace.source.place(span)
    }

    /// Makes an error at a value that turned out wrong outside the text, with its line and a caret.
    pub fn error_at(&self, span: Span, problem: Problem) -> Error {
        Error::at(&self.trace.source, span, problem)
    }
}
