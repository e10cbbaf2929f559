//! The GPUXfile: text in, a validated [`Gpuxfile`] or an error with line, column and caret out.
//!
//! Pure: nothing here opens a file. What only a file system can tell, such as whether the model is there, the caller
//! finds out and reports with [`Gpuxfile::error_at`]. The format is described in `registry-spec/gpuxfile.md`.

mod check;
mod error;
mod fields;
mod file;
mod generation;
mod keys;
mod name;
mod node;
mod notice;
mod paths;
mod ports;
mod python;
mod quantity;
mod read;
mod source;
mod steps;
#[cfg(test)]
mod tests;
mod value;
mod write;
mod yaml;

pub use error::{Error, FileRole, Limit, PortKind, Problem};
pub use file::{Gpuxfile, Labels, PortDeclaration, ProviderOptions, Runtime, Serving};
pub use generation::{Decoder, DecoderInput, GENERATION_MODELS, Generation, Wiring};
pub use keys::{KEYS, STEP_KEYS};
pub use name::{ArtifactName, NameFault};
pub use notice::{Notice, NoticeReason};
pub use paths::{ContextPath, PathFault, Pattern, PatternFault};
pub use quantity::{duration, memory};
pub use read::{parse, parse_bytes};
pub use source::{Located, Place, Span};
pub use steps::{
    BoxOrder, Color, Ctc, DecodeTokens, Detect, DetectForm, Edge, Feed, FeedRole, Filter, Frames, INPUT_PRESETS,
    InputPipeline, InputStep, Layout, Mel, MelLog, MelScale, Modality, Normalize, OUTPUT_PRESETS, OutputPipeline,
    OutputStep, Pad, PadPosition, Padding, Picture, Resize, ResizeTo, Side, Size, Sound, TensorForm, Tokenize,
    Truncation,
};
pub use value::Value;
pub use write::{DraftSteps, draft, draft_with};

/// The most bytes that a GPUXfile has; a reader need not read further.
pub const SIZE_LIMIT_BYTES: u64 = 1 << 20;

/// The deepest that lists and mappings nest.
pub const DEPTH_LIMIT: usize = 32;

/// Names what `runtime.provider` may list, best first, after `auto`.
pub const PROVIDERS: &[&str] = &[
    "auto",
    "tensorrt",
    "tensorrt-rtx",
    "cuda",
    "migraphx",
    "rocm",
    "coreml",
    "directml",
    "openvino",
    "qnn",
    "webgpu",
    "cpu",
    "embedded",
];
