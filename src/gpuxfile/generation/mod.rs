//! The section `generation`: how a decoder makes one token after another.

mod read;
mod wiring;
mod write;

pub use wiring::{Decoder, DecoderInput, Wiring};

pub(super) use read::read_generation;
pub(super) use write::write_generation;

use super::paths::ContextPath;
use super::source::Located;

/// Names the models that generation knows.
pub const GENERATION_MODELS: &[&str] = &["encoder", "decoder", "decoder_with_past"];

/// Says how text is generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The tokenizer that makes text of tokens.
    pub tokenizer: Located<ContextPath>,
    /// The most tokens after those that are given.
    pub max_tokens: u64,
    /// What the decoder starts from; empty where it starts from what was given.
    pub start: Vec<u32>,
    /// The tokens that end it.
    pub end: Vec<u32>,
    /// Tokens that stand at a place whatever the scores are, by their place after the first of `start`.
    pub forced: Vec<(u64, u32)>,
    /// Tokens that are never chosen.
    pub suppress: Vec<u32>,
    /// Tokens that are not chosen first.
    pub suppress_first: Vec<u32>,
}
