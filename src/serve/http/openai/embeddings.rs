use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{OpenAiRefusal, counted, model_for, read_json, unsupported};
use crate::predict::{Answer, Item, Output, Request};
use crate::serve::http::predict::manner;
use crate::serve::http::{Head, Refusal, Shared};
use crate::serve::{Form, Model, answering};

#[derive(Deserialize)]
struct Asked {
    model: String,
    input: Input,
    #[serde(default)]
    encoding_format: Encoding,
    dimensions: Option<u64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    One(String),
    Many(Vec<String>),
    /// Tokens, which only the tokenizer that made them has a meaning for.
    Tokens(#[allow(dead_code, reason = "read to be refused")] Vec<Value>),
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    #[default]
    Float,
    Base64,
}

/// The most texts of one call, as this API has it.
const MOST_TEXTS: usize = 2048;

/// Answers `POST /v1/embeddings`.
pub(in crate::serve::http) async fn embeddings(State(shared): State<Arc<Shared>>, head: Head, body: Body) -> Response {
    let read = async {
        let asked: Asked = read_json(&shared, body).await?;
        let model = model_for(&shared, &head, &asked.model, Form::Embeddings).await?;
        Ok((asked, model))
    };
    counted(&shared, &head, read.await, async |asked, model| {
        answer(&shared, &model, asked, &head).await
    })
    .await
}

async fn answer(shared: &Shared, model: &Arc<Model>, asked: Asked, head: &Head) -> Result<Response, OpenAiRefusal> {
    let texts = match asked.input {
        Input::One(text) => vec![text],
        Input::Many(texts) if texts.is_empty() => return Err(unsupported("`input` is an empty list").into()),
        Input::Many(texts) if texts.len() > MOST_TEXTS => {
            return Err(unsupported(&format!("`input` has more than {MOST_TEXTS} texts")).into());
        }
        Input::Many(texts) => texts,
        Input::Tokens(_) => {
            return Err(unsupported("`input` must be text: tokens mean what this model's own tokenizer says").into());
        }
    };
    let requests = texts.into_iter().map(|text| Request::from(Item::Text(text)));
    let answered = answering::answer(model, requests.collect(), &manner(head)?, &shared.aside).await?;
    let mut data = Vec::with_capacity(answered.outcomes.len());
    for (index, outcome) in answered.outcomes.iter().enumerate() {
        let output = outcome
            .as_ref()
            .map_err(|why| Refusal::bad(format!("text {index} has no embedding: {why}")))?;
        let values = numbers(output).ok_or_else(Refusal::broken)?;
        if asked.dimensions.is_some_and(|wanted| wanted != values.len() as u64) {
            let has = format!("the model's embeddings have {} dimensions, and no others", values.len());
            return Err(unsupported(&has).into());
        }
        let embedding = match asked.encoding_format {
            Encoding::Float => Numbers::Plain(values),
            Encoding::Base64 => {
                let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
                Numbers::Packed(STANDARD.encode(bytes))
            }
        };
        let object = "embedding";
        data.push(Embedding {
            object,
            index,
            embedding,
        });
    }
    let tokens = answered.given_tokens;
    let document = List {
        object: "list",
        data,
        model: &asked.model,
        usage: json!({"prompt_tokens": tokens, "total_tokens": tokens}),
    };
    Ok(Json(document).into_response())
}

// Written as they are: a tree of values would make each number a longer one.
#[derive(Serialize)]
struct List<'a> {
    object: &'static str,
    data: Vec<Embedding<'a>>,
    model: &'a str,
    usage: Value,
}

#[derive(Serialize)]
struct Embedding<'a> {
    object: &'static str,
    index: usize,
    embedding: Numbers<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Numbers<'a> {
    Plain(&'a [f32]),
    /// Little end first, in base64.
    Packed(String),
}

/// Gives the numbers of the first answer.
fn numbers(output: &Output) -> Option<&[f32]> {
    match output {
        Output::Record(record) => match record.answers.first() {
            Some((_, Answer::Numbers { values, .. })) => Some(values),
            _ => None,
        },
        Output::Tensors(_) => None,
    }
}
