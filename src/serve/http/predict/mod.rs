//! `predict`: what a person has, as JSON, a form or a bare file, becomes what the steps of the artifact make of it.

mod form;
mod things;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};

use super::infer::{about_bytes, off_turn, session};
use super::metadata::ModelPath;
use super::{Head, Refusal, Shared};
use crate::predict::Request;
use crate::serve::answering::{self, Manner, Unanswered};
use crate::serve::{Found, Model, StepTimes, Wanted};

pub(super) use form::{Field, fields};
use things::Kind;
use things::of_json;

/// Is one thing to answer, with what it is called.
#[derive(Debug)]
pub(super) struct Thing {
    /// A file's name, or the text, shortened.
    pub label: Option<String>,
    pub request: Request,
}

impl Thing {
    /// Makes a thing without a name.
    pub fn bare(request: Request) -> Thing {
        Thing { label: None, request }
    }
}

/// Answers `POST …/predict`.
pub(super) async fn predict(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
    head: Head,
    body: Body,
) -> Response {
    run(&shared, path, &head, body, Shape::Answers).await
}

/// Answers `POST /v1/models/{m}:predict` as KServe's first protocol wants it.
pub(super) async fn kserve(
    State(shared): State<Arc<Shared>>,
    Path(path): Path<ModelPath>,
    head: Head,
    body: Body,
) -> Response {
    let Some(model) = path.model.strip_suffix(":predict") else {
        let what = "send to `/v1/models/MODEL/predict`, or to `/v1/models/MODEL:predict`";
        let refusal = Refusal::new(StatusCode::METHOD_NOT_ALLOWED, what);
        return ([(header::ALLOW, "GET,HEAD")], refusal).into_response();
    };
    let path = ModelPath {
        model: model.to_owned(),
        version: None,
    };
    run(&shared, path, &head, body, Shape::Predictions).await
}

/// Says which document the answers become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    /// Ours: every answer with its kind, and where the time went.
    Answers,
    /// KServe's: `{"predictions": […]}`.
    Predictions,
}

async fn run(shared: &Shared, path: ModelPath, head: &Head, body: Body, shape: Shape) -> Response {
    let began = Instant::now();
    let wanted = Wanted {
        name: &path.model,
        version: path.version.as_deref(),
        session: session(&head.headers),
    };
    let found = match shared.repository.find(wanted) {
        Ok(found) => found,
        Err(error) => return shared.stray(&head.caller, Refusal::from(error)),
    };
    let model = Arc::clone(found.profile());
    let answered = answer(shared, found, head, body, (shape, began)).await;
    let response = answered.unwrap_or_else(IntoResponse::into_response);
    model
        .metrics()
        .count_request(head.caller.tenant(), response.status().as_u16(), began.elapsed());
    response
}

async fn answer(
    shared: &Shared,
    found: Found,
    head: &Head,
    body: Body,
    (shape, began): (Shape, Instant),
) -> Result<Response, Refusal> {
    let manner = manner(head)?;
    let body = super::accept::collect(body, shared.most_body_bytes).await?;
    let model = &shared.repository.awake(found, manner.timeout).await?;
    let things = read(model, &head.headers, body, shape).await?;
    let (labels, requests): (Vec<_>, Vec<_>) = things.into_iter().map(|thing| (thing.label, thing.request)).unzip();
    let answered = answering::answer(model, requests, &manner, &shared.aside).await?;
    let document = {
        let model = Arc::clone(model);
        let size_bytes = about_bytes(write::tensors_of(&answered));
        off_turn(size_bytes, move || match shape {
            Shape::Answers => Ok(write::answers(&model, &labels, &answered, began)),
            Shape::Predictions => write::predictions(&model, &answered),
        })
        .await?
    };
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}

/// Reads how the calls are to be made: `x-gpux-priority` and `x-gpux-timeout` in milliseconds.
pub(super) fn manner(head: &Head) -> Result<Manner, Refusal> {
    let number = |name: &str| match head.headers.get(name) {
        None => Ok(None),
        Some(value) => {
            let number = value.to_str().ok().and_then(|text| text.trim().parse::<u64>().ok());
            match number {
                Some(number) => Ok(Some(number)),
                None => Err(Refusal::bad(format!("`{name}` must be a whole number"))),
            }
        }
    };
    Ok(Manner {
        tenant: Arc::clone(head.caller.tenant()),
        priority: number("x-gpux-priority")?.unwrap_or_default(),
        timeout: number("x-gpux-timeout")?
            .filter(|&own| own > 0)
            .map(Duration::from_millis),
    })
}

/// Reads what a body holds, by its Content-Type.
async fn read(model: &Arc<Model>, headers: &HeaderMap, body: Bytes, shape: Shape) -> Result<Vec<Thing>, Refusal> {
    let content_type = headers
        .get(header::CONTENT_TYPE)
        .map(|value| value.to_str().unwrap_or_default());
    let kind = content_type
        .unwrap_or_default()
        .split(';')
        .next()
        .unwrap_or_default()
        .trim();
    let kind = kind.to_ascii_lowercase();
    // What curl and others say of a body that they were told nothing about.
    let is_unsaid = matches!(kind.as_str(), "" | "application/x-www-form-urlencoded");
    let looks_like_json = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    if kind == "application/json" || kind.ends_with("+json") || (is_unsaid && looks_like_json) {
        let model = Arc::clone(model);
        return off_turn(body.len(), move || of_json(&body, &model)).await;
    }
    if shape == Shape::Predictions {
        let what = "this call takes JSON: {\"instances\": […]}";
        return Err(Refusal::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, what));
    }
    let kind = match kind.split_once('/') {
        Some(("multipart", "form-data")) => return form::read(model, headers, body).await,
        Some(("image", _)) => Kind::Picture,
        Some(("audio", _)) => Kind::Sound,
        Some(("text", "plain")) => Kind::Text,
        Some(("application", "octet-stream")) => Kind::Any,
        _ => {
            return Err(Refusal::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "a body's Content-Type must be application/json, multipart/form-data, image/*, audio/*, text/plain or \
                 application/octet-stream",
            ));
        }
    };
    let size_bytes = body.len();
    let sources = model.skill().sources();
    let source = match sources.as_slice() {
        [] => None,
        [source] => Some(source.clone()),
        _ => {
            return Err(Refusal::bad(format!(
                "the model takes {}: send JSON or multipart/form-data, which have names",
                things::names(&sources, model)
            )));
        }
    };
    let model = Arc::clone(model);
    let made = move || {
        let item = things::of_bytes(&body, kind, source.as_ref(), &model)?;
        let label = match &item {
            crate::predict::Item::Text(text) => Some(things::shortened(text)),
            _ => None,
        };
        let request = Request::from(item);
        Ok::<_, Refusal>(vec![Thing { label, request }])
    };
    off_turn(size_bytes, made).await
}

impl From<Unanswered> for Refusal {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::Call(error) => error.into(),
            Unanswered::Steps(why) => Refusal::bad(why),
            Unanswered::Broken => Refusal::broken(),
        }
    }
}

/// Writes where the time went. Units: milliseconds.
pub(super) fn timing(times: StepTimes, total: Duration) -> serde_json::Value {
    let milliseconds = |time: Duration| (time.as_secs_f64() * 1e6).round() / 1e3;
    serde_json::json!({
        "preprocess": milliseconds(times.preprocess),
        "queue": milliseconds(times.queue),
        "infer": milliseconds(times.infer),
        "postprocess": milliseconds(times.postprocess),
        "total": milliseconds(total),
    })
}
