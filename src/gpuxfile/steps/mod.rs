//! The typed steps of `preprocessing` and `postprocessing`.
//!
//! A preset and a short form stand for steps and are read as those; every option has a value once it is read, so that
//! what goes into an artifact does not depend on the defaults of whoever runs it.

mod check;
mod input;
mod options;
mod order;
mod output;
mod picture;
mod presets;
mod read;
mod sound;
mod text;
mod write;

pub use check::{Feed, FeedRole};
pub use input::{InputStep, Modality};
pub use output::{BoxOrder, Ctc, DecodeTokens, Detect, DetectForm, OutputStep};
pub use picture::{Color, Filter, Layout, Normalize, Pad, PadPosition, Picture, Resize, ResizeTo, Size, TensorForm};
pub use presets::{INPUT_PRESETS, OUTPUT_PRESETS};
pub use sound::{Edge, Frames, Mel, MelLog, MelScale, Sound};
pub use text::{Padding, Side, Tokenize, Truncation};

pub(super) use read::{read_postprocessing, read_preprocessing};
pub(super) use write::write_pipelines;

use crate::tensor::TensorName;

use super::file::Gpuxfile;
use super::paths::ContextPath;
use super::source::{Located, Span};

/// Says how what a person gives becomes inputs of the model.
#[derive(Clone, Debug, PartialEq)]
pub struct InputPipeline {
    /// The model's input, or, where the steps feed several, a name of the author's; `None` where there is one thing to
    /// give and it needs no name.
    pub name: Option<Located<TensorName>>,
    /// The steps, in order; never empty.
    pub steps: Vec<Located<InputStep>>,
}

/// Says how an output of the model becomes an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct OutputPipeline {
    /// The model's output; `None` for its first.
    pub name: Option<Located<TensorName>>,
    /// The steps, in order; never empty.
    pub steps: Vec<Located<OutputStep>>,
}

impl InputPipeline {
    /// Tells what a person gives.
    pub fn modality(&self) -> Modality {
        self.steps.first().map_or(Modality::Picture, |step| step.modality())
    }
}

impl Gpuxfile {
    /// Gives the side files that the steps and generation read, besides labels, each where it is named.
    pub fn step_files(&self) -> Vec<(&ContextPath, Span)> {
        let inputs = self.preprocessing.iter().flat_map(|pipeline| &pipeline.steps);
        let outputs = self.postprocessing.iter().flat_map(|pipeline| &pipeline.steps);
        let of_inputs = inputs.filter_map(|step| Some((step.value.file()?, step.span)));
        let of_outputs = outputs.filter_map(|step| Some((step.value.file()?, step.span)));
        let generation = self.generation.as_ref();
        let of_generation = generation.map(|generation| (&generation.tokenizer.value, generation.tokenizer.span));
        of_inputs.chain(of_outputs).chain(of_generation).collect()
    }
}
