//! HTTP/1.1 and HTTP/2: the Open Inference Protocol, health and metrics.

mod accept;
mod guard;
mod health;
mod infer;
mod metadata;
mod refusal;
mod statistics;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use super::Repository;

pub use accept::{Bounds, Listener, serve};
pub use guard::Origins;
pub(super) use guard::check;
pub(super) use refusal::Refusal;

/// Is what every handler knows.
#[derive(Debug)]
pub struct Shared {
    /// The models.
    pub repository: Arc<Repository>,
    /// Whether the server is about to stop, and so no longer ready.
    pub is_draining: AtomicBool,
    /// The longest body of a request. Units: bytes.
    pub most_body_bytes: usize,
    /// From where the server may be called.
    pub origins: Origins,
}

/// Makes the routes of the service itself.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/v2", get(metadata::server))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .route("/healthz", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/v2/models/{model}", get(metadata::model))
        .route("/v2/models/{model}/versions/{version}", get(metadata::model))
        .route("/v2/models/{model}/ready", get(health::model))
        .route("/v2/models/{model}/versions/{version}/ready", get(health::model))
        .route("/v2/models/{model}/config", get(metadata::config))
        .route("/v2/models/{model}/versions/{version}/config", get(metadata::config))
        .route("/v2/models/{model}/stats", get(statistics::model))
        .route("/v2/models/{model}/versions/{version}/stats", get(statistics::model))
        .route("/v2/models/stats", get(statistics::all))
        .route("/v2/models/{model}/infer", post(infer::infer))
        .route("/v2/models/{model}/versions/{version}/infer", post(infer::infer))
        .route("/v2/repository/index", post(metadata::index))
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::check))
        .with_state(shared)
}

/// Makes the routes of the metrics' own port.
pub fn metrics_router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(statistics::metrics))
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), guard::check))
        .with_state(shared)
}
