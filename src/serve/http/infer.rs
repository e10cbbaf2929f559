use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::metadata::ModelPath;
use super::{Head, Refusal, Shared};
use crate::serve::protocol::SESSION;
use crate::serve::{self, Caller, Found, Profile, Wanted};
use crate::tensor::{Tensor, oip};

/// How much of a body is JSON, where a binary part follows.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// From this size on, reading and writing tensors is not done between other clients' turns.
const LARGE_BYTES: usize = 256 << 10;

/// Answers a request of the protocol.
pub(super) async fn infer(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
    Head { headers, caller }: Head,
    body: Body,
) -> Response {
    let began = Instant::now();
    let wanted = Wanted {
        name: &path.model,
        version: path.version.as_deref(),
        session: session(&headers),
    };
    let found = match shared.repository.find(wanted) {
        Ok(found) => found,
        Err(error) => return shared.stray(&caller, Refusal::from(error)),
    };
    let profile = Arc::clone(found.profile());
    let response = match answer(&shared, (found, &caller), &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    profile
        .metrics()
        .count_request(caller.tenant(), response.status().as_u16(), began.elapsed());
    response
}

async fn answer(
    shared: &Shared,
    (found, caller): (Found, &Caller),
    headers: &HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let header_bytes = header_bytes(headers)?;
    if headers.contains_key(header::CONTENT_ENCODING) {
        return Err(Refusal::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "compressed bodies are not taken: leave Content-Encoding out",
        ));
    }
    let body = super::accept::collect(body, shared.most_body_bytes).await?;
    let began = Instant::now();
    let profile = Arc::clone(found.profile());
    let mut asked = decode(&body, header_bytes, &profile).await?;
    let timeout = (asked.timeout_us > 0).then(|| Duration::from_micros(asked.timeout_us));
    let model = shared.repository.awake(found, timeout).await?;
    if model.signature() != profile.signature() {
        // It woke as another one.
        asked = decode(&body, header_bytes, model.profile()).await?;
    }
    drop(body);
    let request = serve::Request {
        inputs: asked.inputs,
        tenant: Arc::clone(caller.tenant()),
        priority: asked.priority,
        timeout,
        began: Some(began),
        words: None,
    };
    let answer = model.call(request).await?;
    let size_bytes = about_bytes(&answer.outputs);
    let (wanted, id) = (asked.outputs, asked.id);
    let write = move || {
        let ports = &model.signature().outputs;
        let outputs: Vec<_> = wanted
            .iter()
            .map(|wanted| (&ports[wanted.at], &answer.outputs[wanted.at], wanted.is_binary))
            .collect();
        oip::encode_response(&oip::Response {
            model_name: model.name(),
            model_version: model.version(),
            id: id.as_deref(),
            outputs: &outputs,
        })
    };
    let (body, header_bytes) = off_turn(size_bytes, write).await?;
    let mut response = Response::new(Body::from(body));
    let kind = match header_bytes {
        Some(bytes) => {
            response.headers_mut().insert(HEADER_LENGTH, HeaderValue::from(bytes));
            "application/octet-stream"
        }
        None => "application/json",
    };
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    Ok(response)
}

/// Reads the tensors of a body.
async fn decode(body: &Bytes, header_bytes: Option<usize>, profile: &Arc<Profile>) -> Result<oip::Request, Refusal> {
    let (body, profile) = (body.clone(), Arc::clone(profile));
    off_turn(body.len(), move || {
        oip::decode_request(&body, header_bytes, profile.signature())
    })
    .await
}

/// Reads what requests have in common that one version is to answer.
pub(super) fn session(headers: &HeaderMap) -> Option<&str> {
    headers.get(SESSION)?.to_str().ok()
}

/// Gives about how large tensors are, in memory or written.
pub(super) fn about_bytes<'t>(tensors: impl IntoIterator<Item = &'t Tensor>) -> usize {
    const ELEMENT_BYTES: usize = 8;
    tensors
        .into_iter()
        .map(|tensor| tensor.data().len() * ELEMENT_BYTES)
        .sum()
}

/// Does work on `size_bytes`, aside where that is much.
pub(super) async fn off_turn<T, E>(
    size_bytes: usize,
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, Refusal>
where
    T: Send + 'static,
    E: Into<Refusal> + Send + 'static,
{
    if size_bytes < LARGE_BYTES {
        return work().map_err(Into::into);
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done.map_err(Into::into),
        Err(_) => Err(Refusal::broken()),
    }
}

fn header_bytes(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let mut values = headers.get_all(HEADER_LENGTH).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let number = value
        .to_str()
        .ok()
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    match (number.and_then(|text| text.parse().ok()), values.next()) {
        (Some(bytes), None) => Ok(Some(bytes)),
        _ => Err(Refusal::bad("Inference-Header-Content-Length must be one whole number")),
    }
}
