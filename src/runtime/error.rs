use std::error::Error as StdError;
use std::fmt;
use std::path::PathBuf;

use super::{ProviderKind, Refusals, Requirement, embedded, library, ort as onnx_runtime};
use crate::fs;
use crate::onnx;
use crate::tensor::{DType, Shape, TensorError, TensorName};

/// Says why a model did not load or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Every provider that may run the model was tried in vain.
    #[error("no provider can run the model")]
    NoProvider(#[source] Refusals),
    /// What the user requires cannot be had.
    #[error("{requirement} is required, and no provider gives it")]
    Requirement {
        requirement: Requirement,
        #[source]
        source: Refusals,
    },
    /// No place gave an ONNX Runtime library.
    #[error(transparent)]
    Library(#[from] library::NotFound),
    /// The process has loaded another library than the one that is asked for.
    #[error("this process has loaded `{}`, and cannot load `{}` too", loaded.display(), wanted.display())]
    OtherLibrary { loaded: PathBuf, wanted: PathBuf },
    /// ONNX Runtime was loaded and did not start.
    #[error("ONNX Runtime does not start")]
    Environment {
        #[source]
        source: Foreign<ort::Error>,
    },
    /// A file of the model cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The embedded engine did not load or run the model.
    #[error(transparent)]
    Embedded(#[from] embedded::Error),
    /// The graph's messages contradict themselves.
    #[error("the graph cannot be read")]
    Graph(#[from] onnx::Error),
    /// External data is in a file that the model does not have.
    #[error("{tensor} has its data in `{location}`, which is not among the model's files")]
    ExternalUnknown {
        tensor: onnx::Label,
        location: onnx::Location,
    },
    /// ONNX Runtime takes paths as text.
    #[error("ONNX Runtime cannot open `{}`: the path is not Unicode", .0.display())]
    PathNotUnicode(PathBuf),
    /// ONNX Runtime refused the model.
    #[error("ONNX Runtime cannot load the model")]
    Load {
        #[source]
        source: Foreign<ort::Error>,
    },
    /// The engine sees other inputs or outputs than the file declares.
    #[error("the engine sees the inputs or outputs {found:?}, and the model declares {declared:?}")]
    PortNames { declared: Vec<String>, found: Vec<String> },
    /// An input or output is of a type that has no host tensor.
    #[error("`{name}` is of type {dtype}, which gpux does not hold")]
    TypeNotHeld { name: TensorName, dtype: DType },
    /// The call has another number of inputs than the model.
    #[error("the model takes {expected} inputs, and the call has {found}")]
    InputCount { expected: usize, found: usize },
    /// An input is of another type than the model's.
    #[error("input `{name}` takes {expected}, and was given {found}")]
    InputType {
        name: TensorName,
        expected: DType,
        found: DType,
    },
    /// An input is of another shape than the model's.
    #[error("input `{name}` takes the shape {expected}, and was given {found:?}")]
    InputShape {
        name: TensorName,
        expected: Shape,
        found: Vec<usize>,
    },
    /// ONNX Runtime refused an input.
    #[error("ONNX Runtime does not take input `{name}`")]
    Input {
        name: TensorName,
        #[source]
        source: Foreign<ort::Error>,
    },
    /// An input lies on a device of another engine.
    #[error("input `{0}` lies on a device that this engine does not read")]
    OtherEngine(TensorName),
    /// The provider is not among those of the library, or its own library does not bring it.
    #[error("{} brings no {provider} device", library.display())]
    NoDevice { provider: ProviderKind, library: PathBuf },
    /// A library that the provider needs does not load.
    #[error("cannot load `{}`", library.display())]
    Dependency {
        library: PathBuf,
        #[source]
        source: libloading::Error,
    },
    /// The provider does not start.
    #[error("{provider} does not start")]
    Provider {
        provider: ProviderKind,
        #[source]
        source: Foreign<ort::Error>,
    },
    /// The provider loaded the model and left every node to another.
    #[error("{0} takes none of the model's nodes")]
    NoNode(ProviderKind),
    /// An option is not one that a model may set.
    #[error("{provider} has no option `{option}` that gpux passes on")]
    ProviderOption { provider: ProviderKind, option: String },
    /// The CUDA driver did not do what it was asked.
    #[error(transparent)]
    Cuda(#[from] onnx_runtime::CudaError),
    /// A recorded graph would not see the input change.
    #[error("the processor reads input `{0}`, and a CUDA graph would not see it change")]
    GraphInput(TensorName),
    /// The model failed on this input.
    #[error("the model failed")]
    Run {
        #[source]
        source: Foreign<ort::Error>,
    },
    /// An output is no dense tensor.
    #[error("output `{0}` is not a tensor")]
    OutputNotTensor(TensorName),
    /// An output is of another type than the model declares.
    #[error("output `{name}` is declared as {expected}, and the engine gave {}", found.map_or("another type", DType::name))]
    OutputType {
        name: TensorName,
        expected: DType,
        found: Option<DType>,
    },
    /// ONNX Runtime did not hand out an output.
    #[error("output `{name}` cannot be read")]
    Output {
        name: TensorName,
        #[source]
        source: Foreign<ort::Error>,
    },
    /// An output has another number of elements than its shape says.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// The caller stopped the call.
    #[error("the call was cancelled")]
    Cancelled,
    /// The call took longer than its deadline allows.
    #[error("the deadline passed before the answer came")]
    DeadlinePassed,
    /// The system gives no more threads.
    #[error("cannot start a thread")]
    Thread {
        #[source]
        source: std::io::Error,
    },
}

/// Is an error of an engine, on one escaped line of bounded length: engines repeat names out of the model as they are.
#[derive(Debug)]
pub struct Foreign<E>(pub E);

impl<E: StdError> fmt::Display for Foreign<E> {
    /// Writes the error with all its causes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        onnx::Label::of_message(&Chain(&self.0).to_string()).fmt(f)
    }
}

impl<E: StdError> StdError for Foreign<E> {}

/// Writes an error and its causes with colons between them.
pub(super) struct Chain<'a>(pub &'a dyn StdError);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut source = self.0.source();
        while let Some(cause) = source {
            write!(f, ": {cause}")?;
            source = cause.source();
        }
        Ok(())
    }
}
