use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Extension, Path, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::metadata::ModelPath;
use super::{Refusal, Shared};
use crate::serve::{self, Caller, Model};
use crate::tensor::oip;

/// How much of a body is JSON, where a binary part follows.
const HEADER_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");
/// From this size on, reading and writing tensors is not done between other clients' turns.
pub(super) const LARGE_BYTES: usize = 256 << 10;

/// Answers a request of the protocol.
pub(super) async fn infer(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
    Extension(caller): Extension<Caller>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let began = Instant::now();
    let model = match shared.repository.find(&path.model, path.version.as_deref()) {
        Ok(model) => model,
        Err(error) => return shared.stray(&caller, error.into()),
    };
    let response = match answer(&shared, (&model, &caller), &headers, body).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_response(),
    };
    model
        .metrics()
        .count_request(caller.tenant(), response.status().as_u16(), began.elapsed());
    response
}

async fn answer(
    shared: &Shared,
    (model, caller): (&Arc<Model>, &Caller),
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
    let body = read(body, shared.most_body_bytes).await?;
    let asked = {
        let model = Arc::clone(model);
        let read = move || oip::decode_request(&body.0, header_bytes, model.signature());
        off_turn(body.1, read).await?
    };
    let request = serve::Request {
        inputs: asked.inputs,
        tenant: Arc::clone(caller.tenant()),
        priority: asked.priority,
        timeout: (asked.timeout_us > 0).then(|| Duration::from_micros(asked.timeout_us)),
        words: None,
    };
    let answer = model.call(request).await?;
    let size_bytes: usize = answer.outputs.iter().map(|tensor| tensor.data().len() * 8).sum();
    let model = Arc::clone(model);
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

/// Does work on `size_bytes`, aside where that is much.
async fn off_turn<T: Send + 'static>(
    size_bytes: usize,
    work: impl FnOnce() -> Result<T, oip::Error> + Send + 'static,
) -> Result<T, Refusal> {
    if size_bytes < LARGE_BYTES {
        return Ok(work()?);
    }
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => Ok(done?),
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

/// Reads a body of at most `most_bytes`; gives it and its size.
async fn read(body: Body, most_bytes: usize) -> Result<(Bytes, usize), Refusal> {
    super::accept::collect(body, most_bytes).await.map(|bytes| {
        let size_bytes = bytes.len();
        (bytes, size_bytes)
    })
}
