use super::Unsupported;
use crate::fs;
use crate::runtime::Foreign;
use crate::tensor::TensorName;

/// Says why the embedded engine did not load or run a model.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The capability table does not have all of the model.
    #[error(transparent)]
    Unsupported(#[from] Unsupported),
    /// A file of the model cannot be read.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The graph keeps data in a file that is not among the model's files.
    #[error("the data of tensor `{tensor}` is in `{location}`, which is not among the model's files")]
    NoExternalFile { tensor: TensorName, location: TensorName },
    /// External data has no location, or an offset or length that is no number.
    #[error("the external data of tensor `{tensor}` has no sound `{key}`")]
    ExternalEntry { tensor: TensorName, key: &'static str },
    /// External data ends past the end of its file.
    #[error("the data of tensor `{tensor}` ends at byte {end_bytes} of `{location}`, which has {file_bytes}")]
    ExternalShort {
        tensor: TensorName,
        location: TensorName,
        end_bytes: u64,
        file_bytes: u64,
    },
    /// rten refuses the graph.
    #[error("rten cannot load the model")]
    Load(#[source] Foreign<rten::LoadError>),
    /// rten sees other inputs or outputs than the file declares.
    #[error("rten sees the inputs or outputs {found:?}, and the model declares {declared:?}")]
    Ports { declared: Vec<String>, found: Vec<String> },
    /// rten failed on this input.
    #[error("the model failed")]
    Run(#[source] Foreign<rten::RunError>),
    /// rten panicked; the process goes on.
    #[error("rten broke off while it {act} the model: {message}")]
    Panicked { act: &'static str, message: String },
    /// An int64 value does not fit the engine's 32 bits.
    #[error("input `{name}` has the value {value}, and the embedded engine has 32 bits")]
    InputRange { name: TensorName, value: i64 },
}
