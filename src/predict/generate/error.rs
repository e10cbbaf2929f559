use crate::gpuxfile;
use crate::pipeline;
use crate::runtime;
use crate::tensor::{TensorError, TensorName};

/// Says why text was not generated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The models do not hang together.
    #[error(transparent)]
    Gpuxfile(#[from] Box<gpuxfile::Error>),
    /// What was given does not become tensors, or tokens no text.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// A model did not answer.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// There is nothing to go on from.
    #[error("there are no tokens to go on from: the text is empty, and `generation` has no `start`")]
    NoTokens,
    /// A value that an input takes was not given by any step.
    #[error("nothing was given for input `{0}` of the decoder")]
    Unfed(TensorName),
    /// The scores are not one row for each token.
    #[error("the scores have the shape {0:?}, and not one row for each token of one sequence")]
    Scores(Vec<usize>),
    /// The scores say nothing.
    #[error("the scores of token {0} are not numbers")]
    NotNumbers(u64),
    /// No token is left to choose from.
    #[error("every token is suppressed")]
    AllSuppressed,
    /// A tensor's parts do not agree.
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
