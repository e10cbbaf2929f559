//! The calls of OpenAI's API that a model's steps allow: their bodies, their answers, their errors.

mod completions;
mod embeddings;
mod listing;
mod stops;
mod transcriptions;

pub(super) use completions::completions;
pub(super) use embeddings::embeddings;
pub(super) use listing::{list, one};
pub(super) use transcriptions::transcriptions;

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::de::DeserializeOwned;

use super::accept::collect;
use super::infer::session;
use super::predict::manner;
use super::{Head, Refusal, Shared};
use crate::serve::{Error, Form, Found, Model, Wanted};

/// Is a refusal in the form of this API: `{"error": {"message", "type", …}}`.
#[derive(Debug)]
pub(super) struct OpenAiRefusal(Refusal);

impl<R: Into<Refusal>> From<R> for OpenAiRefusal {
    fn from(refusal: R) -> Self {
        OpenAiRefusal(refusal.into())
    }
}

impl IntoResponse for OpenAiRefusal {
    fn into_response(self) -> Response {
        self.0.in_openai_form()
    }
}

/// Finds the model of a body, `NAME` or `NAME:VERSION`, which must allow this call.
async fn model_for(shared: &Shared, head: &Head, asked: &str, form: Form) -> Result<Arc<Model>, Refusal> {
    let find = |name: &str, version: Option<&str>| -> Result<Found, Error> {
        head.caller.check(name)?;
        let session = session(&head.headers);
        shared.repository.find(Wanted { name, version, session })
    };
    let found = match (find(asked, None), asked.rsplit_once(':')) {
        (Ok(found), _) => found,
        (Err(_), Some((name, version))) => find(name, Some(version))?,
        (Err(error), None) => return Err(error.into()),
    };
    let model = found.profile();
    let has = model.skill().forms();
    if !has.contains(&form) {
        let has: Vec<&str> = has.into_iter().map(Form::name).collect();
        return Err(Refusal::bad(format!(
            "model `{}` has no {}: it has {}",
            model.name(),
            form.name(),
            has.join(", ")
        )));
    }
    Ok(shared.repository.awake(found, manner(head)?.timeout).await?)
}

/// Refuses an option that would be ignored.
fn unsupported(what: &str) -> Refusal {
    Refusal::new(StatusCode::BAD_REQUEST, what)
}

/// Answers what was read for a model that was found, and counts it there; what reached none is counted as astray.
async fn counted<A, F>(
    shared: &Shared,
    head: &Head,
    read: Result<(A, Arc<Model>), OpenAiRefusal>,
    answer: impl FnOnce(A, Arc<Model>) -> F,
) -> Response
where
    F: Future<Output = Result<Response, OpenAiRefusal>>,
{
    let began = Instant::now();
    let (asked, model) = match read {
        Ok(read) => read,
        Err(refusal) => return shared.stray(&head.caller, refusal),
    };
    let answered = answer(asked, Arc::clone(&model)).await;
    let response = answered.unwrap_or_else(IntoResponse::into_response);
    model
        .metrics()
        .count_request(head.caller.tenant(), response.status().as_u16(), began.elapsed());
    response
}

/// Reads a body of JSON.
async fn read_json<A: DeserializeOwned>(shared: &Shared, body: Body) -> Result<A, Refusal> {
    let body = collect(body, shared.most_body_bytes).await?;
    serde_json::from_slice(&body)
        .map_err(|error| Refusal::bad(format!("the body is not what this call takes: {error}")))
}
