use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Call, Error, Value};
use crate::onnx;
use crate::tensor::Signature;

/// Loads models.
pub trait Engine {
    /// Loads a model.
    ///
    /// Errors: [`Error`] says which file, node or type stood in the way.
    fn load(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Box<dyn Session>, Error>;
}

/// Is a loaded model, owned by one thread at a time.
pub trait Session: Send {
    /// Gives what the model takes and gives, as the ONNX file declares it.
    fn signature(&self) -> &Signature;

    /// Answers one call.
    ///
    /// Shape: `call.inputs` and the answer are in the signature's order.
    /// Errors: [`Error`]; the session stays usable.
    fn run(&mut self, call: Call<'_>) -> Result<Vec<Value>, Error>;
}

/// Is a model that was read and checked, as an engine loads it.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// Where its files lie.
    pub files: &'a ModelFiles,
    /// The graph, as it was parsed and checked.
    pub model: &'a onnx::Model,
    /// What the graph declares.
    pub signature: &'a Signature,
}

/// Says where the files of a model lie.
#[derive(Clone, Debug)]
pub struct ModelFiles {
    /// The graph: an ONNX file, or a blob that is one.
    pub graph: PathBuf,
    /// Each `location` that the graph's external data names, with the file that holds it.
    pub external: BTreeMap<String, PathBuf>,
}

/// Is how a session is made; every field has a default that suits a one-shot run.
#[derive(Clone, Debug, Default)]
pub struct SessionOptions {
    /// Threads of one operator; `None` means as many as this process may use.
    pub threads: Option<usize>,
    /// Whether weights are rearranged at load: slower to load, faster in batches.
    pub prepack: bool,
}

/// Names an execution provider, or the embedded engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ProviderKind {
    TensorRt,
    Cuda,
    MiGraphX,
    CoreMl,
    DirectMl,
    OpenVino,
    Qnn,
    WebGpu,
    Cpu,
    Embedded,
}

impl ProviderKind {
    /// Every kind, best first.
    pub const ALL: [ProviderKind; 10] = [
        ProviderKind::TensorRt,
        ProviderKind::Cuda,
        ProviderKind::MiGraphX,
        ProviderKind::CoreMl,
        ProviderKind::DirectMl,
        ProviderKind::OpenVino,
        ProviderKind::Qnn,
        ProviderKind::WebGpu,
        ProviderKind::Cpu,
        ProviderKind::Embedded,
    ];

    /// Gives the name used on the command line, in GPUXfiles and in answers.
    pub fn name(self) -> &'static str {
        match self {
            ProviderKind::TensorRt => "tensorrt",
            ProviderKind::Cuda => "cuda",
            ProviderKind::MiGraphX => "migraphx",
            ProviderKind::CoreMl => "coreml",
            ProviderKind::DirectMl => "directml",
            ProviderKind::OpenVino => "openvino",
            ProviderKind::Qnn => "qnn",
            ProviderKind::WebGpu => "webgpu",
            ProviderKind::Cpu => "cpu",
            ProviderKind::Embedded => "embedded",
        }
    }
}

impl fmt::Display for ProviderKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Says that a text names no provider.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a provider")]
pub struct UnknownProvider(pub String);

impl FromStr for ProviderKind {
    type Err = UnknownProvider;

    /// Reads a provider's name; `rocm` is read as `migraphx`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text == "rocm" {
            return Ok(ProviderKind::MiGraphX);
        }
        ProviderKind::ALL
            .into_iter()
            .find(|kind| kind.name() == text)
            .ok_or_else(|| UnknownProvider(text.to_owned()))
    }
}
