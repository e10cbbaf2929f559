use std::time::Duration;

use super::access::Denial;

/// Says why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// The caller may not do this, or not now.
    #[error(transparent)]
    Denied(#[from] Denial),
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
    /// The model does not take the request's inputs.
    #[error("model `{name}` cannot answer: {why}")]
    Refused { name: String, why: String },
    /// The model was to be loaded or unloaded, and was not.
    #[error("model `{}` is not changed: {why}", name.escape_debug())]
    NotLoaded { name: String, why: String },
    /// The model failed.
    #[error("model `{name}` failed: {why}")]
    Failed { name: String, why: String },
}

/// Gives a text of a client's as an error may repeat it: on one line, and not all of a long one.
pub(super) fn shown(text: &str) -> String {
    const LONGEST: usize = 100;
    let end = text.char_indices().nth(LONGEST).map_or(text.len(), |(at, _)| at);
    text[..end].escape_debug().to_string()
}
