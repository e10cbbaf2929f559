use std::convert::Infallible;
use std::sync::Arc;
use std::time::Instant;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tonic::codegen::tokio_stream::wrappers::ReceiverStream;

use super::stops::Stops;
use super::{OpenAiRefusal, counted, model_for, read_json, unsupported};
use crate::predict::generate::End;
use crate::predict::{Item, Request};
use crate::serve::answering::{self, Manner, Spoken};
use crate::serve::http::predict::{manner, timing};
use crate::serve::http::{Head, Refusal, Shared, seconds_since_1970};
use crate::serve::telemetry::carried;
use crate::serve::{Form, Model, Words};

/// Is a body of this call. What would change the text and is not understood is refused, and not ignored.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Asked {
    model: String,
    prompt: Texts,
    /// Texts that end what the model says, and are not part of it.
    stop: Option<Texts>,
    max_tokens: Option<u64>,
    #[serde(default)]
    stream: bool,
    stream_options: Option<StreamOptions>,
    n: Option<u64>,
    best_of: Option<u64>,
    temperature: Option<f64>,
    #[serde(default)]
    echo: bool,
    // Without meaning where the best token is taken each time.
    #[serde(rename = "top_p")]
    _top_p: Option<f64>,
    #[serde(rename = "seed")]
    _seed: Option<i64>,
    #[serde(rename = "user")]
    _user: Option<String>,
}

#[derive(Clone, Copy, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
}

/// The most prompts of one call.
const MOST_PROMPTS: usize = 64;
/// The most texts that may end one, as in OpenAI's API.
const MOST_STOPS: usize = 4;
/// How many events may wait for a client that does not read.
const EVENTS: usize = 64;

/// Answers `POST /v1/completions`.
pub(in crate::serve::http) async fn completions(State(shared): State<Arc<Shared>>, head: Head, body: Body) -> Response {
    let read = async {
        let asked: Asked = read_json(&shared, body).await?;
        let model = model_for(&shared, &head, &asked.model, Form::Completions).await?;
        Ok((asked, model))
    };
    let read = match read.await {
        Ok((asked @ Asked { stream: true, .. }, model)) => {
            let began = Instant::now();
            // A stream that has begun is counted at its end.
            return stream(&shared, Arc::clone(&model), asked, &head).unwrap_or_else(|refusal| {
                let response = refusal.into_response();
                let code = response.status().as_u16();
                model
                    .metrics()
                    .count_request(head.caller.tenant(), code, began.elapsed());
                response
            });
        }
        read => read,
    };
    counted(&shared, &head, read, async |asked, model| {
        answer(&shared, &model, asked, &head).await
    })
    .await
}

impl Asked {
    /// Refuses what the model does not do, and gives the prompts.
    fn prompts(&self) -> Result<Vec<String>, Refusal> {
        if self.temperature.is_some_and(|temperature| temperature != 0.0) {
            return Err(unsupported(
                "the model decodes greedily: `temperature` must be 0, or left out",
            ));
        }
        if self.n.is_some_and(|n| n != 1) || self.best_of.is_some_and(|n| n != 1) {
            return Err(unsupported(
                "there is one text for a prompt: `n` and `best_of` must be 1, or left out",
            ));
        }
        if self.max_tokens == Some(0) {
            return Err(unsupported("`max_tokens` must be 1 or more"));
        }
        match &self.prompt {
            Texts::One(prompt) => Ok(vec![prompt.clone()]),
            Texts::Many(prompts) if prompts.is_empty() => Err(unsupported("`prompt` is an empty list")),
            Texts::Many(prompts) if prompts.len() > MOST_PROMPTS => {
                Err(unsupported(&format!("`prompt` has more than {MOST_PROMPTS} texts")))
            }
            Texts::Many(prompts) => Ok(prompts.clone()),
        }
    }

    /// Refuses what ends no text, or too much, and gives what ends one.
    fn stops(&self) -> Result<Stops, Refusal> {
        let stops = match &self.stop {
            None => Vec::new(),
            Some(Texts::One(stop)) => vec![stop.clone()],
            Some(Texts::Many(stops)) => stops.clone(),
        };
        if stops.len() > MOST_STOPS || stops.iter().any(String::is_empty) {
            return Err(unsupported(&format!(
                "`stop` must be a text, or up to {MOST_STOPS} of them, none of which is empty"
            )));
        }
        Ok(Stops::new(stops))
    }
}

fn words(asked: &Asked, listen: mpsc::UnboundedSender<String>) -> Words {
    Words {
        most_tokens: asked.max_tokens.unwrap_or(u64::MAX),
        listen,
    }
}

/// Says why a text ended, as this API does.
fn reason(end: End, is_stopped: bool) -> &'static str {
    match end {
        End::Length if !is_stopped => "length",
        _ => "stop",
    }
}

fn usage(given: usize, made: usize) -> Value {
    json!({"prompt_tokens": given, "completion_tokens": made, "total_tokens": given + made})
}

async fn answer(shared: &Shared, model: &Arc<Model>, asked: Asked, head: &Head) -> Result<Response, OpenAiRefusal> {
    let manner = manner(head)?;
    let (mut choices, mut given, mut made) = (Vec::new(), 0, 0);
    let began = Instant::now();
    let mut times = crate::serve::StepTimes::default();
    let (prompts, stops) = (asked.prompts()?, asked.stops()?);
    for (index, prompt) in prompts.into_iter().enumerate() {
        let (listen, parts) = mpsc::unbounded_channel();
        let request = Request::from(Item::Text(prompt.clone()));
        let speaking = answering::speak(model, request, words(&asked, listen), &manner, &shared.aside);
        let mut hearing = Hearing {
            parts,
            stops: stops.clone(),
        };
        let hearing = async move {
            let mut text = String::new();
            while let Some(part) = hearing.next().await {
                text.push_str(&part);
            }
            (text, hearing.stops.is_found())
        };
        let (spoken, (heard, is_stopped)) = tokio::join!(speaking, hearing);
        let spoken = spoken?;
        given += spoken.given_tokens;
        made += spoken.generated.tokens.len();
        times = spoken.times;
        let text = match asked.echo {
            true => prompt + &heard,
            false => heard,
        };
        let finish_reason = reason(spoken.generated.end, is_stopped);
        choices.push(json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish_reason}));
    }
    Ok(Json(json!({
        "id": id(),
        "object": "text_completion",
        "created": seconds_since_1970(),
        "model": asked.model,
        "choices": choices,
        "usage": usage(given, made),
        "timing_ms": timing(times, began.elapsed()),
    }))
    .into_response())
}

/// Hears a text up to what stops it; the model says no more once this is gone.
struct Hearing {
    parts: mpsc::UnboundedReceiver<String>,
    stops: Stops,
}

impl Hearing {
    /// Waits for more of the text; `None` at its end.
    async fn next(&mut self) -> Option<String> {
        while !self.stops.is_found() {
            let Some(part) = self.parts.recv().await else {
                return Some(self.stops.rest()).filter(|rest| !rest.is_empty());
            };
            let text = self.stops.push(&part);
            if !text.is_empty() {
                return Some(text);
            }
        }
        None
    }
}

fn id() -> String {
    format!("cmpl-{:016x}{:016x}", fastrand::u64(..), fastrand::u64(..))
}

/// Answers by server-sent events, one for each part of the text.
fn stream(shared: &Arc<Shared>, model: Arc<Model>, asked: Asked, head: &Head) -> Result<Response, OpenAiRefusal> {
    let prompts = asked.prompts()?;
    let stops = asked.stops()?;
    let manner = manner(head)?;
    if asked.echo {
        return Err(unsupported("`echo` and `stream` do not go together").into());
    }
    if let Some(full) = model.is_full_for(&manner.tenant) {
        return Err(full.into());
    }
    let (events, receiver) = mpsc::channel(EVENTS);
    let shared = Arc::clone(shared);
    tokio::spawn(carried(async move {
        let began = Instant::now();
        let stream = Stream {
            id: id(),
            created: seconds_since_1970(),
            asked,
            stops,
            events,
        };
        let code = match stream.run(&shared, &model, prompts, &manner).await {
            Ok(()) => 200,
            Err(refusal) => {
                let code = refusal.status().as_u16();
                let _ = stream.send(refusal.openai_document()).await;
                code
            }
        };
        model.metrics().count_request(&manner.tenant, code, began.elapsed());
    }));
    let stream = ReceiverStream::new(receiver);
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()).into_response())
}

struct Stream {
    id: String,
    created: u64,
    asked: Asked,
    stops: Stops,
    events: mpsc::Sender<Result<Event, Infallible>>,
}

impl Stream {
    async fn run(
        &self,
        shared: &Shared,
        model: &Arc<Model>,
        prompts: Vec<String>,
        manner: &Manner,
    ) -> Result<(), Refusal> {
        let (mut given, mut made) = (0, 0);
        for (index, prompt) in prompts.into_iter().enumerate() {
            let Some(spoken) = self.speak(shared, model, (index, prompt), manner).await? else {
                return Ok(());
            };
            given += spoken.given_tokens;
            made += spoken.generated.tokens.len();
        }
        if self.asked.stream_options.unwrap_or_default().include_usage {
            let mut chunk = self.chunk(json!([]));
            chunk["usage"] = usage(given, made);
            self.send(chunk).await;
        }
        let _ = self.events.send(Ok(Event::default().data("[DONE]"))).await;
        Ok(())
    }

    /// Passes on one text; `None` where the client has left.
    async fn speak(
        &self,
        shared: &Shared,
        model: &Arc<Model>,
        (index, prompt): (usize, String),
        manner: &Manner,
    ) -> Result<Option<Spoken>, Refusal> {
        let (listen, parts) = mpsc::unbounded_channel();
        let request = Request::from(Item::Text(prompt));
        let speaking = answering::speak(model, request, words(&self.asked, listen), manner, &shared.aside);
        let mut hearing = Hearing {
            parts,
            stops: self.stops.clone(),
        };
        let telling = async move {
            while let Some(text) = hearing.next().await {
                let choice = json!([{"index": index, "text": text, "logprobs": null, "finish_reason": null}]);
                if !self.send(self.chunk(choice)).await {
                    return None;
                }
            }
            Some(hearing.stops.is_found())
        };
        let (spoken, is_stopped) = tokio::select! {
            // The client went away, and its text with it.
            () = self.events.closed() => return Ok(None),
            (spoken, heard) = async { tokio::join!(speaking, telling) } => {
                let Some(is_stopped) = heard else {
                    return Ok(None);
                };
                (spoken?, is_stopped)
            }
        };
        let finish_reason = reason(spoken.generated.end, is_stopped);
        let choice = json!([{"index": index, "text": "", "logprobs": null, "finish_reason": finish_reason}]);
        self.send(self.chunk(choice)).await;
        Ok(Some(spoken))
    }

    fn chunk(&self, choices: Value) -> Value {
        json!({
            "id": self.id,
            "object": "text_completion",
            "created": self.created,
            "model": self.asked.model,
            "choices": choices,
        })
    }

    async fn send(&self, document: Value) -> bool {
        let event = Event::default().data(document.to_string());
        self.events.send(Ok(event)).await.is_ok()
    }
}
