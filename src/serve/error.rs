use std::sync::Arc;
use std::time::Duration;

use crate::runtime;

/// Says why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No such model is served.
    #[error("there is no model `{}`", .0.escape_debug())]
    UnknownModel(String),
    /// The model is served, but not in this version.
    #[error("model `{name}` has no version `{}`", version.escape_debug())]
    UnknownVersion { name: String, version: String },
    /// The model is not ready: it loads, or could not be loaded.
    #[error("model `{name}` is not ready: {why}")]
    NotReady { name: String, why: String },
    /// The model's queue is full.
    #[error("the queue of model `{name}` is full: {waiting} requests wait")]
    Full { name: String, waiting: usize },
    /// The request waited or ran longer than it may.
    #[error("the request was not answered within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// The client went away.
    #[error("the request was cancelled")]
    Cancelled,
    /// The server is about to stop, or the model about to be unloaded.
    #[error("model `{0}` takes no more requests")]
    Closing(String),
    /// The model ended without an answer.
    #[error("model `{0}` ended before it answered")]
    Lost(String),
    /// The model refused or failed on the request.
    #[error("model `{name}` cannot answer")]
    Run {
        name: String,
        #[source]
        source: Arc<runtime::Error>,
    },
}

impl Error {
    /// Tells whether the request itself is at fault, so that it will never be answered.
    pub fn is_callers(&self) -> bool {
        match self {
            Error::Run { source, .. } => matches!(
                **source,
                runtime::Error::InputCount { .. }
                    | runtime::Error::InputType { .. }
                    | runtime::Error::InputShape { .. }
                    | runtime::Error::Input { .. }
                    | runtime::Error::Run { .. }
            ),
            _ => false,
        }
    }
}
