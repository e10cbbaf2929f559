use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::{OpenAiRefusal, counted, model_for, unsupported};
use crate::predict::{Answer, Item, Output, Request};
use crate::serve::error::shown;
use crate::serve::http::accept::collect;
use crate::serve::http::predict::{Field, fields, manner};
use crate::serve::http::{Head, Refusal, Shared};
use crate::serve::{Form, Model, answering};

/// Is what a form asks for.
#[derive(Default)]
struct Asked {
    model: Option<String>,
    file: Option<Vec<u8>>,
    form: TextForm,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum TextForm {
    #[default]
    Json,
    Text,
}

/// Answers `POST /v1/audio/transcriptions`.
pub(in crate::serve::http) async fn transcriptions(
    State(shared): State<Arc<Shared>>,
    head: Head,
    body: Body,
) -> Response {
    let read = async {
        let body = collect(body, shared.most_body_bytes).await?;
        let asked = read(fields(&head.headers, body).await?)?;
        let name = asked.model.as_deref();
        let name = name.ok_or_else(|| Refusal::bad("the form must have `model`"))?;
        let model = model_for(&shared, &head, name, Form::Transcriptions).await?;
        Ok((asked, model))
    };
    counted(&shared, &head, read.await, async |asked, model| {
        answer(&shared, &model, asked, &head).await
    })
    .await
}

/// Reads the fields; one that would change the answer, and is not understood, is refused.
fn read(fields: Vec<Field>) -> Result<Asked, Refusal> {
    let mut asked = Asked::default();
    for field in fields {
        let text = std::str::from_utf8(&field.bytes).unwrap_or_default().trim();
        match (field.name.as_str(), text) {
            ("model", name) => asked.model = Some(name.to_owned()),
            ("file", _) => asked.file = Some(field.bytes.to_vec()),
            ("response_format", "json") => asked.form = TextForm::Json,
            ("response_format", "text") => asked.form = TextForm::Text,
            ("response_format", _) => return Err(unsupported("`response_format` must be `json` or `text`")),
            ("temperature", number) if number.parse::<f64>() == Ok(0.0) => {}
            ("temperature", _) => return Err(unsupported("the model decodes greedily: `temperature` must be 0")),
            ("stream", "false") => {}
            (other, _) => {
                let other = shown(other);
                return Err(unsupported(&format!("`{other}` has no effect here: leave it out")));
            }
        }
    }
    Ok(asked)
}

async fn answer(shared: &Shared, model: &Arc<Model>, asked: Asked, head: &Head) -> Result<Response, OpenAiRefusal> {
    let file = asked
        .file
        .ok_or_else(|| Refusal::bad("the form must have `file`, a sound"))?;
    let requests = vec![Request::from(Item::Sound(file))];
    let mut answered = answering::answer(model, requests, &manner(head)?, &shared.aside).await?;
    let output = answered.outcomes.remove(0).map_err(Refusal::bad)?;
    let text = text(output).ok_or_else(Refusal::broken)?;
    Ok(match asked.form {
        TextForm::Json => Json(json!({"text": text})).into_response(),
        TextForm::Text => (
            [(header::CONTENT_TYPE, "text/plain; charset=utf-8")],
            format!("{text}\n"),
        )
            .into_response(),
    })
}

fn text(output: Output) -> Option<String> {
    match output {
        Output::Record(record) => match record.answers.into_iter().next() {
            Some((_, Answer::Text { text } | Answer::Generated { text, .. })) => Some(text),
            _ => None,
        },
        Output::Tensors(_) => None,
    }
}
