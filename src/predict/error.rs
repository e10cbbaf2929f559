use std::error::Error as StdError;

use crate::pipeline;
use crate::runtime;

use super::batch;

/// Says why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// What was given does not become tensors, or tensors no answer.
    #[error(transparent)]
    Pipeline(#[from] pipeline::Error),
    /// The model did not answer.
    #[error(transparent)]
    Runtime(#[from] runtime::Error),
    /// The outputs of several requests do not come apart.
    #[error(transparent)]
    Batch(#[from] batch::Error),
    /// The request itself could not be had.
    #[error("the request cannot be read")]
    Request(#[source] Box<dyn StdError + Send + Sync>),
    /// The answer to one request depends on others of the call, and the call failed for one of them.
    #[error("another request of the call has no answer, so this one cannot be compared with it")]
    Compared,
}
