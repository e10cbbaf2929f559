use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::{Extension, Path, State};
use axum::http::header;
use axum::response::IntoResponse;
use serde_json::{Value, json};

use super::metadata::ModelPath;
use super::{Refusal, Shared};
use crate::serve::{Caller, Profile};

/// Tells what a model has done, in the form of Triton's statistics.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    let model = shared.repository.profile(&path.model, path.version.as_deref())?;
    Ok(Json(json!({"model_stats": [statistics(&model)]})))
}

/// Tells what every model that answers has done.
pub(super) async fn all(State(shared): State<Arc<Shared>>, Extension(caller): Extension<Caller>) -> Json<Value> {
    let profiles = shared.repository.profiles();
    let theirs = profiles.iter().filter(|model| caller.may_call(model.name()));
    let each: Vec<Value> = theirs.map(|model| statistics(model)).collect();
    Json(json!({"model_stats": each}))
}

/// Gives every counter in the form that Prometheus reads.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let metrics = shared.repository.metrics();
    metrics.set_memory(&shared.repository.ready());
    metrics.set_gpus(&shared.telemetry.gpus());
    metrics.set_lost(shared.telemetry.lost().counts());
    let mut text = String::new();
    let written = metrics.write(&mut text);
    debug_assert!(written.is_ok(), "a string takes whatever is written");
    const FORM: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, FORM)], text)
}

fn statistics(model: &Profile) -> Value {
    let found = model.metrics().statistics();
    let pair = |count: u64, time: Duration| json!({"count": count, "ns": nanoseconds(time)});
    let all = found.succeeded + found.failed;
    json!({
        "name": model.name(),
        "version": model.version(),
        "inference_count": found.rows,
        "execution_count": found.calls,
        "inference_stats": {
            "success": pair(found.succeeded, found.succeeded_time),
            "fail": pair(found.failed, found.failed_time),
            "queue": pair(all, found.queue_time),
            "compute_infer": pair(found.calls, found.infer_time),
        },
    })
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}
