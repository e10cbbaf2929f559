use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ort::KeptGraph;
use super::{Assignment, Call, Error, Value};
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

    /// Tells what became of the optimized graph; `None` where none was to be kept.
    fn kept_graph(&self) -> Option<&KeptGraph> {
        None
    }

    /// Tells which provider has which node; `None` where the session was not asked to find out.
    fn assignment(&self) -> Option<&Assignment> {
        None
    }

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
    /// How far the graph is optimized on the processor.
    pub optimization: Optimization,
    /// Where optimized graphs of this model are kept; `None` keeps none.
    pub cache: Option<GraphCache>,
    /// The number of the device among those of its provider.
    pub device: usize,
    /// Sizes of open dimensions by their symbols, where the session is for these sizes alone: what computes with them is
    /// then computed at load.
    pub dimensions: BTreeMap<String, usize>,
    /// What may be traded for speed.
    pub settings: Settings,
    /// Options of the provider by its own names, beside those that [`Settings`] stands for.
    pub provider_options: BTreeMap<String, String>,
    /// The folder in which a provider may keep what it compiled from this very model, on this machine, with these libraries.
    pub engines: Option<PathBuf>,
    /// Whether the session tells afterwards which provider has which node.
    pub explain: bool,
}

/// Says how far ONNX Runtime optimizes a graph on the processor.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Optimization {
    /// Whatever leaves the weights where they lie.
    #[default]
    Extended,
    /// Also what rearranges weights: slower to load, faster to run.
    All,
}

/// Says where the optimized graphs of one model are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GraphCache {
    /// The model's own folder; it is made where it is missing.
    pub folder: PathBuf,
    /// Whether graphs are kept that have large weights in them, as the optimizer rearranged them.
    pub with_weights: bool,
}

/// Is what a session may trade for speed; tuning looks for the best, and the default is exact and suits every model.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether a call's kernels are recorded once for each set of shapes, and then started as one.
    #[serde(skip_serializing_if = "is_false")]
    pub cuda_graph: bool,
    /// Whether channels come last inside of the device.
    #[serde(skip_serializing_if = "is_false")]
    pub nhwc: bool,
    /// How the algorithm of a convolution is found.
    #[serde(skip_serializing_if = "is_default")]
    pub convolution_search: ConvolutionSearch,
    /// Whether a convolution adds its bias itself.
    #[serde(skip_serializing_if = "is_false")]
    pub fuse_bias: bool,
    /// Whether products of float32 are made from TF32: 10 bits of mantissa instead of 23.
    #[serde(skip_serializing_if = "is_false")]
    pub tf32: bool,
    /// Whether float32 is computed as float16 where the provider can.
    #[serde(skip_serializing_if = "is_false")]
    pub fp16: bool,
    /// Whether memory for intermediate values comes from the system each time instead of from a pool.
    #[serde(skip_serializing_if = "is_false")]
    pub no_arena: bool,
}

impl Settings {
    /// Names the number formats that it computes in and the model does not have; empty means exact.
    pub fn reduced_precision(&self) -> Vec<&'static str> {
        let formats = [(self.tf32, "TF32"), (self.fp16, "fp16")];
        formats
            .into_iter()
            .filter(|(used, _)| *used)
            .map(|(_, name)| name)
            .collect()
    }

    /// Names what is on, for people.
    pub fn names(&self) -> Vec<&'static str> {
        let search = match self.convolution_search {
            ConvolutionSearch::Default => None,
            ConvolutionSearch::Heuristic => Some("heuristic search"),
            ConvolutionSearch::Exhaustive => Some("exhaustive search"),
        };
        let flags = [
            (self.cuda_graph, "CUDA graph"),
            (self.nhwc, "NHWC"),
            (self.fuse_bias, "fused bias"),
            (self.tf32, "TF32"),
            (self.fp16, "fp16"),
            (self.no_arena, "no arena"),
        ];
        let on = flags.into_iter().filter(|(used, _)| *used).map(|(_, name)| name);
        on.chain(search).collect()
    }
}

/// Says how cuDNN's algorithm for a convolution is found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ConvolutionSearch {
    /// The one that is always right.
    #[default]
    Default,
    /// The one that cuDNN expects to be fast.
    Heuristic,
    /// The fastest of all, tried at the first call of each shape.
    Exhaustive,
}

fn is_false(value: &bool) -> bool {
    !value
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
