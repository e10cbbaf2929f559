use std::collections::BTreeMap;

use crate::tensor::{End, Tensor};

use super::picture::Frame;

/// Is a request on its way into a call.
#[derive(Clone, Debug, Default)]
pub struct Prepared {
    /// Values that are ready, by input.
    tensors: BTreeMap<usize, Tensor>,
    /// Texts by their steps: their length depends on the others of the call.
    pub(super) texts: BTreeMap<usize, Tokens>,
    /// How the picture that was given lies in the one that goes in.
    pub(super) frame: Option<Frame>,
    /// The inputs that `texts` will fill.
    pub(super) promised: Vec<usize>,
}

/// Says how inputs are filled up along dimension 1, so that sequences of different length go into one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filling {
    /// The inputs, and with what.
    pub values: Vec<(usize, i64)>,
    /// Where.
    pub end: End,
}

/// Is a text as numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub ids: Vec<u32>,
    pub types: Vec<u32>,
}

impl Prepared {
    /// Tells whether there is, or will be, a value for an input.
    pub(super) fn has(&self, input: usize) -> bool {
        self.tensors.contains_key(&input) || self.promised.contains(&input)
    }

    /// Sets the value of an input; false where it has one.
    pub(super) fn put(&mut self, input: usize, tensor: Tensor) -> bool {
        !self.has(input) && self.tensors.insert(input, tensor).is_none()
    }

    /// Gives the value of an input.
    pub(super) fn tensor(&self, input: usize) -> Option<&Tensor> {
        self.tensors.get(&input)
    }

    /// Counts the tokens of its texts.
    pub fn tokens(&self) -> usize {
        self.texts.values().map(|tokens| tokens.ids.len()).sum()
    }

    /// Gives the length of the text that was given; `None` where there is none, or several.
    pub fn length(&self) -> Option<usize> {
        let mut texts = self.texts.values();
        match (texts.next(), texts.next()) {
            (Some(text), None) => Some(text.ids.len()),
            _ => None,
        }
    }

    /// Counts the rows of the request: those of its first tensor, else one.
    pub fn rows(&self) -> usize {
        let first = self.tensors.values().next();
        match first.and_then(|tensor| tensor.shape().first()) {
            Some(&rows) if self.texts.is_empty() && self.frame.is_none() => rows,
            _ => 1,
        }
    }
}
