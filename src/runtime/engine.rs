use std::collections::BTreeMap;
use std::path::PathBuf;

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
