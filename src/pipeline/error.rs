use crate::gpuxfile;
use crate::tensor::{DType, RowsError, TensorError};

use super::audio;
use super::picture::PictureError;

/// Says why something given was not made into tensors, or tensors into an answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The steps do not fit the model.
    #[error(transparent)]
    Gpuxfile(#[from] Box<gpuxfile::Error>),
    /// A side file that a step reads is not there.
    #[error("the artifact has no file `{0}`, which a step reads")]
    MissingFile(String),
    /// A tokenizer's file is not one.
    #[error("`{path}` is not a tokenizer that gpux reads")]
    Tokenizer { path: String, source: tokenizers::Error },
    /// A file of labels is not text.
    #[error("the labels file `{0}` is not UTF-8")]
    LabelsFile(String),
    /// There is no token to fill up with.
    #[error("the tokenizer `{path}` has no token to fill texts up with{}", named(token))]
    PadToken { path: String, token: Option<String> },
    /// Nothing was given for an input.
    #[error("nothing was given for `{0}`")]
    Missing(String),
    /// Something was given twice.
    #[error("`{0}` is given twice")]
    GivenTwice(String),
    /// It is not said what a thing is for.
    #[error("it does not say what it is for: one of {}", list(.0))]
    Unnamed(Vec<String>),
    /// The model takes nothing of this name.
    #[error("there is no `{name}` to give; known are {}", list(known))]
    Unknown { name: String, known: Vec<String> },
    /// A thing is of another kind.
    #[error("`{name}` takes {expected}, and this is {found}")]
    Kind {
        name: String,
        expected: &'static str,
        found: &'static str,
    },
    /// A picture cannot be read or changed.
    #[error(transparent)]
    Picture(#[from] PictureError),
    /// A sound cannot be read.
    #[error(transparent)]
    Sound(#[from] audio::Error),
    /// A decoder or tokenizer broke.
    #[error("what was given broke its decoder ({0}), so it is damaged or made to do so")]
    Broke(String),
    /// A text cannot be tokenized.
    #[error("the text cannot be tokenized")]
    Encode(#[source] tokenizers::Error),
    /// Tokens cannot be made into text.
    #[error("the tokens cannot be made into text")]
    Decode(#[source] tokenizers::Error),
    /// Texts of different lengths are not filled up.
    #[error("texts of {first} and {other} tokens do not join in one call without `padding`")]
    Lengths { first: usize, other: usize },
    /// Requests do not join in one call.
    #[error("the values for `{input}` do not join in one call")]
    Join { input: String, source: RowsError },
    /// A tensor's parts do not agree.
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// An output is of a type that the step does not work on.
    #[error("`{step}` does not work on {dtype}")]
    OutputType { step: &'static str, dtype: DType },
    /// An output has a shape that the step does not work on.
    #[error("`{step}` does not work on an output of shape {shape:?}: it takes {needs}")]
    OutputShape {
        step: &'static str,
        shape: Vec<usize>,
        needs: &'static str,
    },
    /// An output has no row for each request.
    #[error("output `{output}` has {found} rows for {wanted} requests")]
    OutputRows {
        output: String,
        found: usize,
        wanted: usize,
    },
    /// There are fewer labels than classes.
    #[error("class {index} of output `{output}` has no label; there are {labels}")]
    NoLabel {
        output: String,
        index: usize,
        labels: usize,
    },
}

fn list(names: &[String]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    quoted.join(", ")
}

fn named(token: &Option<String>) -> String {
    match token {
        Some(token) => format!(": `{token}` is not in its vocabulary"),
        None => "; name one with `pad_token`, or write `padding: none`".to_owned(),
    }
}
