use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::extract::{Extension, Path, State};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Refusal, Shared};
use crate::serve::Caller;
use crate::serve::protocol::{EXTENSIONS, platform};
use crate::tensor::Port;
use crate::tensor::oip::{datatype, shape};

/// Is the part of a path that names a model.
#[derive(Debug, Deserialize)]
pub(super) struct ModelPath {
    pub model: String,
    pub version: Option<String>,
}

/// Says what the server is.
pub(super) async fn server() -> Json<Value> {
    Json(json!({"name": "gpux", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS}))
}

/// Says what a model takes and gives.
pub(super) async fn model(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    let model = shared.repository.profile(&path.model, path.version.as_deref())?;
    let signature = model.signature();
    let ports = |ports: &[Port]| ports.iter().map(port).collect::<Vec<_>>();
    Ok(Json(json!({
        "name": model.name(),
        "versions": shared.repository.versions(model.name()),
        "platform": platform(&model),
        "inputs": ports(&signature.inputs),
        "outputs": ports(&signature.outputs),
    })))
}

/// Says how a model is served, in the form of Triton's configuration.
pub(super) async fn config(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
) -> Result<Json<Value>, Refusal> {
    let model = shared.repository.profile(&path.model, path.version.as_deref())?;
    let (signature, settings) = (model.signature(), model.settings());
    let ports = |ports: &[Port]| {
        let each = ports.iter().map(|port| {
            json!({"name": port.name.as_str(), "data_type": format!("TYPE_{}", datatype(port.dtype)), "dims": shape(port)})
        });
        each.collect::<Vec<_>>()
    };
    Ok(Json(json!({
        "name": model.name(),
        "platform": platform(&model),
        // 0 in Triton's sense: the dimensions hold the batch axis too.
        "max_batch_size": 0,
        "input": ports(&signature.inputs),
        "output": ports(&signature.outputs),
        "parameters": {
            "digest": {"string_value": model.digest()},
            "provider": {"string_value": model.provider()},
            "max_batch_rows": {"string_value": settings.max_batch_size.to_string()},
            "max_queue_delay_microseconds": {"string_value": settings.max_queue_delay.as_micros().to_string()},
        },
    })))
}

#[derive(Debug, Default, Deserialize)]
struct IndexRequest {
    #[serde(default)]
    ready: bool,
}

/// Lists the models.
pub(super) async fn index(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    body: Bytes,
) -> Result<Json<Value>, Refusal> {
    let asked: IndexRequest = match body.is_empty() {
        true => IndexRequest::default(),
        false => serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad(format!("the body is not {{\"ready\": …}}: {error}")))?,
    };
    let statuses = shared.repository.index().into_iter();
    let theirs = statuses.filter(|status| caller.may_call(&status.name));
    let wanted = theirs.filter(|status| !asked.ready || status.state == "READY");
    let each = wanted.map(|status| {
        json!({"name": status.name, "version": status.version, "state": status.state, "reason": status.reason})
    });
    Ok(Json(Value::Array(each.collect())))
}

/// Describes an input or an output.
pub(super) fn port(port: &Port) -> Value {
    json!({"name": port.name.as_str(), "datatype": datatype(port.dtype), "shape": shape(port)})
}
