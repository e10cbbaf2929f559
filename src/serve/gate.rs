//! What a request passes before its handler: it gets its ids, is asked where it comes from, and who makes it.
//!
//! One layer does all three: each layer copies the route for every request, and keeps its future in memory of its own.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use super::access::{admit_grpc, admit_http, admit_metrics};
use super::http::{Shared, check};
use super::telemetry::follow;

/// Stands before the handlers of HTTP.
pub(super) async fn http(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let answer = |request: Request| async {
        match check(&shared, &request) {
            Ok(()) => admit_http(&shared, request, next).await,
            Err(refusal) => refusal.into_response(),
        }
    };
    follow(&shared, request, answer).await
}

/// Stands before the handlers of gRPC.
pub(super) async fn grpc(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let answer = |request: Request| async {
        match check(&shared, &request) {
            Ok(()) => admit_grpc(&shared, request, next).await,
            Err(refusal) => refusal.into_response(),
        }
    };
    follow(&shared, request, answer).await
}

/// Stands before the metrics, which nobody hears of.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let admitted = match check(&shared, &request) {
        Ok(()) => admit_metrics(&shared, request, next).await,
        Err(refusal) => Err(refusal),
    };
    admitted.unwrap_or_else(IntoResponse::into_response)
}
