//! `POST /v2/repository/models/{m}/load` and `/unload`, in Triton's forms; as if they were not there, where the server does
//! not allow them.

use std::sync::Arc;

use axum::Extension;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::accept::collect;
use super::metadata::ModelPath;
use super::refusal::unknown_path;
use super::{Refusal, Shared};
use crate::serve::Caller;
use crate::serve::control::{Change, Parameter};

/// The longest body. Units: bytes.
const MOST_BYTES: usize = 64 << 10;

#[derive(Debug, Default, Deserialize)]
struct Asked {
    #[serde(default)]
    parameters: Map<String, Value>,
}

/// Loads a model, or another artifact under its name.
pub(super) async fn load(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<ModelPath>,
    uri: Uri,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let change = read(&shared, (&caller, uri), path.model, body).await?;
    change.load(&shared.repository).await?;
    Ok(StatusCode::OK)
}

/// Unloads a model.
pub(super) async fn unload(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(path): Path<ModelPath>,
    uri: Uri,
    body: Body,
) -> Result<StatusCode, Refusal> {
    let change = read(&shared, (&caller, uri), path.model, body).await?;
    change.unload(&shared.repository).await?;
    Ok(StatusCode::OK)
}

/// Reads what is to change, where the server lets calls change anything and this caller may.
async fn read(shared: &Shared, (caller, uri): (&Caller, Uri), model: String, body: Body) -> Result<Change, Refusal> {
    if !shared.is_controlled {
        return Err(unknown_path(uri).await);
    }
    caller.check_control(&model)?;
    let body = collect(body, MOST_BYTES).await?;
    let asked = match body.is_empty() {
        true => Asked::default(),
        false => serde_json::from_slice(&body)
            .map_err(|error| Refusal::bad(format!("the body is not {{\"parameters\": …}}: {error}")))?,
    };
    let parameters = asked.parameters.into_iter().map(|(name, value)| {
        let value = match value {
            Value::String(text) => Parameter::Text(text),
            Value::Bool(is_so) => Parameter::Bool(is_so),
            _ => Parameter::Other,
        };
        (name, value)
    });
    Ok(Change::read(model, parameters)?)
}
