use std::sync::Arc;
use std::sync::atomic::Ordering;

use axum::extract::{Extension, Path, State};
use axum::http::StatusCode;

use super::metadata::ModelPath;
use super::{Refusal, Shared};
use crate::serve::Caller;

/// Tells that the process answers.
pub(super) async fn live() -> StatusCode {
    StatusCode::OK
}

/// Tells whether every model is ready, and the server not about to stop; names only models that are the caller's.
pub(super) async fn ready(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
) -> Result<StatusCode, Refusal> {
    if shared.is_draining.load(Ordering::Relaxed) {
        return Err(Refusal::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "the server is about to stop",
        ));
    }
    if shared.repository.is_ready() {
        return Ok(StatusCode::OK);
    }
    let mut waited_for: Vec<String> = Vec::new();
    for status in shared.repository.index() {
        if !matches!(status.state, "READY" | "ASLEEP") && caller.may_call(&status.name) {
            waited_for.push(format!("{}:{} {}", status.name, status.version, status.state));
        }
    }
    Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, waited_for.join(", ")))
}

/// Tells whether a model is ready.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
) -> Result<StatusCode, Refusal> {
    match shared.repository.state(&path.model, path.version.as_deref())?.answers() {
        true => Ok(StatusCode::OK),
        false => Ok(StatusCode::SERVICE_UNAVAILABLE),
    }
}
