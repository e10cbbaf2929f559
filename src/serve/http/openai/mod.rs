//! The calls of OpenAI's API that a model's steps allow: their bodies, their answers, their errors.

mod completions;
mod embeddings;
mod listing;
mod transcriptions;

pub(super) use completions::completions;
pub(super) use embeddings::embeddings;
pub(super) use listing::{list, one};
pub(super) use transcriptions::transcriptions;

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

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
    if !model.skill().forms().contains(&form) {
        let has = model.skill().forms();
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

/// Answers, and counts the request of the model that it found.
async fn counted<F>(
    shared: &Shared,
    head: &Head,
    model: Result<Arc<Model>, OpenAiRefusal>,
    answer: impl FnOnce(Arc<Model>) -> F,
) -> Response
where
    F: Future<Output = Result<Response, OpenAiRefusal>>,
{
    let began = Instant::now();
    let model = match model {
        Ok(model) => model,
        Err(refusal) => {
            let response = refusal.into_response();
            shared
                .repository
                .metrics()
                .count_stray(head.caller.tenant(), response.status().as_u16());
            return response;
        }
    };
    let response = answer(Arc::clone(&model))
        .await
        .unwrap_or_else(IntoResponse::into_response);
    model
        .metrics()
        .count_request(head.caller.tenant(), response.status().as_u16(), began.elapsed());
    response
}

/// Gives the time as this API writes it.
fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
