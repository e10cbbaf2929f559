//! HTTP/1.1 and HTTP/2: the Open Inference Protocol, health and metrics.

mod accept;
mod control;
mod guard;
mod head;
mod health;
mod held;
mod infer;
mod metadata;
mod openai;
mod openapi;
mod pace;
mod predict;
mod refusal;
mod statistics;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use super::Repository;
use super::access::{Access, Caller};
use super::gate;
use super::playground;
use super::telemetry::Telemetry;
use super::turns::Turns;

pub use accept::{Bounds, Listener};
pub(super) use accept::{Terms, serve};
pub use guard::Origins;
pub(super) use guard::check;
use head::Head;
pub(super) use held::hold;
pub(super) use refusal::Refusal;

/// Is what every handler knows.
#[derive(Debug)]
pub struct Shared {
    /// The models.
    pub repository: Arc<Repository>,
    /// Whether admins load and unload models by calls.
    pub is_controlled: bool,
    /// Whether the server is about to stop, and so no longer ready.
    pub is_draining: AtomicBool,
    /// Who may call.
    pub access: Arc<Access>,
    /// The longest body of a request. Units: bytes.
    pub most_body_bytes: usize,
    /// From where the server may be called.
    pub origins: Origins,
    /// Bounds how many things are made into tensors at once.
    pub aside: Arc<Turns>,
    /// When the server started. Units: seconds since 1970.
    pub started: u64,
    /// Hears of requests.
    pub telemetry: Telemetry,
}

impl Shared {
    /// Counts a request that reached no model, and answers it.
    fn stray(&self, caller: &Caller, refusal: impl IntoResponse) -> Response {
        let response = refusal.into_response();
        let code = response.status().as_u16();
        self.repository.metrics().count_stray(caller.tenant(), code);
        response
    }
}

/// Gives the time as OpenAI's API writes it.
pub(super) fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

/// Makes the routes of the service itself.
pub fn router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/", get(playground::page))
        .route("/openapi.json", get(openapi::document))
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
        .route("/v2/repository/models/{model}/load", post(control::load))
        .route("/v2/repository/models/{model}/unload", post(control::unload))
        .route("/v1/models", get(openai::list))
        .route("/v1/models/{model}", get(openai::one).post(predict::kserve))
        .route("/v1/models/{model}/predict", post(predict::predict))
        .route("/v1/models/{model}/versions/{version}/predict", post(predict::predict))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/completions", post(openai::completions))
        .route("/v1/audio/transcriptions", post(openai::transcriptions))
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), gate::http))
        .with_state(shared)
}

/// Makes the routes of the metrics' own port.
pub fn metrics_router(shared: Arc<Shared>) -> Router {
    Router::new()
        .route("/metrics", get(statistics::metrics))
        .fallback(refusal::unknown_path)
        .method_not_allowed_fallback(refusal::wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&shared), gate::metrics))
        .with_state(shared)
}
