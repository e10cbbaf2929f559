//! What people have in, answers out: requests prepared aside, called through the model's queue, and made into answers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::executor::chain;
use super::scheduler::Words;
use super::turns::Turns;
use super::{Error, Model, Request, Skill};
use crate::predict::generate::{End, Generated, Generator};
use crate::predict::{self, Answer, Outcome, Output, Predictor, Prepared, Record};
use crate::tensor::Tensor;

/// The name of generated text, where steps would have that of an output.
const TEXT: &str = "text";
/// The most requests of one client that share a call where the model's own bound is lower: they came together.
const GROUP: usize = 32;

/// Is what came of the things that one client sent.
#[derive(Debug)]
pub struct Answered {
    /// What each came to, in their order; why it has no answer, in words.
    pub outcomes: Vec<Result<Output, String>>,
    pub times: StepTimes,
    /// Tokens of the texts that were given.
    pub given_tokens: usize,
}

/// Says where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct StepTimes {
    /// From things to tensors.
    pub preprocess: Duration,
    /// The longest wait for the start of a call.
    pub queue: Duration,
    /// The longest call.
    pub infer: Duration,
    /// From tensors to answers.
    pub postprocess: Duration,
    /// The most rows that a call had, others' included.
    pub rows: usize,
}

/// Says why nothing was answered at all.
#[derive(Debug)]
pub enum Unanswered {
    /// The model's queue or process refused.
    Call(Error),
    /// What was sent is none that the model takes.
    Steps(String),
    /// The server itself failed on it.
    Broken,
}

impl From<Error> for Unanswered {
    fn from(error: Error) -> Self {
        Unanswered::Call(error)
    }
}

/// Says how a client's calls are to be made.
#[derive(Clone, Debug, Default)]
pub struct Manner {
    /// As [`Request::tenant`].
    pub tenant: Arc<str>,
    /// As [`Request::priority`].
    pub priority: u64,
    /// As [`Request::timeout`].
    pub timeout: Option<Duration>,
}

impl Manner {
    fn request(&self, inputs: Vec<Tensor>, words: Option<Words>) -> Request {
        Request {
            inputs,
            tenant: Arc::clone(&self.tenant),
            priority: self.priority,
            timeout: self.timeout,
            began: None,
            words,
        }
    }
}

/// Answers requests, in order; `aside` bounds how many are prepared at once.
///
/// Errors: [`Unanswered`], where it concerns all of them; a request alone that has no answer concerns all there are.
pub async fn answer(
    model: &Arc<Model>,
    requests: Vec<predict::Request>,
    manner: &Manner,
    aside: &Arc<Turns>,
) -> Result<Answered, Unanswered> {
    // Who will be refused is not to cost anything first.
    if let Some(full) = model.is_full_for(&manner.tenant) {
        return Err(full.into());
    }
    let answered = match model.skill().as_ref() {
        Skill::Answers(predictor) => answer_with_steps(model, predictor, requests, manner, aside).await?,
        Skill::Generates(_) => answer_with_words(model, requests, manner, aside).await?,
    };
    match answered.outcomes.as_slice() {
        [Err(why)] => Err(Unanswered::Steps(why.clone())),
        _ => Ok(answered),
    }
}

async fn answer_with_steps(
    model: &Arc<Model>,
    predictor: &Arc<Predictor>,
    requests: Vec<predict::Request>,
    manner: &Manner,
    aside: &Arc<Turns>,
) -> Result<Answered, Unanswered> {
    let began = Instant::now();
    let prepared = prepare_all(predictor, requests, &manner.tenant, aside).await?;
    let mut times = StepTimes {
        preprocess: began.elapsed(),
        ..StepTimes::default()
    };
    let given_tokens = prepared.iter().flatten().map(Prepared::tokens).sum();
    let mut outcomes: Vec<Option<Result<Output, String>>> = Vec::with_capacity(prepared.len());
    let mut ready: Vec<(usize, Prepared)> = Vec::new();
    for (at, one) in prepared.into_iter().enumerate() {
        match one {
            Ok(one) => {
                outcomes.push(None);
                ready.push((at, one));
            }
            Err(why) => outcomes.push(Some(Err(why))),
        }
    }
    let most = match predictor.unstackable() {
        None => GROUP.max(model.settings().max_batch_size),
        Some(_) => 1,
    };
    for group in in_groups(ready, most) {
        let (places, members): (Vec<usize>, Vec<Prepared>) = group.into_iter().unzip();
        for (at, outcome) in places
            .into_iter()
            .zip(call((model, predictor), members, manner, &mut times).await?)
        {
            outcomes[at] = Some(outcome);
        }
    }
    let mut outcomes: Vec<Result<Output, String>> = outcomes.into_iter().flatten().collect();
    compare(predictor, &mut outcomes)?;
    model.metrics().count_preprocess(times.preprocess);
    model.metrics().count_postprocess(times.postprocess);
    Ok(Answered {
        outcomes,
        times,
        given_tokens,
    })
}

/// Divides what is ready into calls.
fn in_groups(ready: Vec<(usize, Prepared)>, most: usize) -> Vec<Vec<(usize, Prepared)>> {
    let mut groups: Vec<Vec<(usize, Prepared)>> = Vec::new();
    for one in ready {
        match groups.last_mut() {
            Some(group) if group.len() < most => group.push(one),
            _ => groups.push(vec![one]),
        }
    }
    groups
}

/// Prepares every request: a short one here, others aside and beside each other.
async fn prepare_all(
    predictor: &Arc<Predictor>,
    requests: Vec<predict::Request>,
    tenant: &Arc<str>,
    aside: &Arc<Turns>,
) -> Result<Vec<Result<Prepared, String>>, Unanswered> {
    let mut prepared: Vec<Option<Result<Prepared, String>>> = requests.iter().map(|_| None).collect();
    let mut tasks = JoinSet::new();
    for (at, request) in requests.into_iter().enumerate() {
        if is_short(&request) {
            prepared[at] = Some(prepare(predictor, &request));
            continue;
        }
        let (predictor, aside, tenant) = (Arc::clone(predictor), Arc::clone(aside), Arc::clone(tenant));
        tasks.spawn(async move {
            let _place = aside.enter(&tenant).await;
            let made = tokio::task::spawn_blocking(move || prepare(&predictor, &request)).await;
            made.map(|made| (at, made))
        });
    }
    while let Some(done) = tasks.join_next().await {
        let (at, made) = done.and_then(|made| made).map_err(|_| Unanswered::Broken)?;
        prepared[at] = Some(made);
    }
    Ok(prepared.into_iter().flatten().collect())
}

fn prepare(predictor: &Predictor, request: &predict::Request) -> Result<Prepared, String> {
    predictor.prepare(request).map_err(|error| chain(&error))
}

/// Tells whether preparing takes less time than moving the work elsewhere.
fn is_short(request: &predict::Request) -> bool {
    const SHORT: usize = 1 << 10;
    let is_short = |item: &predict::Item| match item {
        predict::Item::Text(text) => text.len() < SHORT,
        predict::Item::Pair(first, second) => first.len() + second.len() < SHORT,
        predict::Item::Tensor(_) => true,
        predict::Item::Picture(_) | predict::Item::Sound(_) => false,
    };
    request.items.iter().all(|(_, item)| is_short(item))
}

/// Answers a group in one call, or, where they do not join or one of them spoils it, one by one.
async fn call(
    with: (&Model, &Arc<Predictor>),
    members: Vec<Prepared>,
    manner: &Manner,
    times: &mut StepTimes,
) -> Result<Vec<Result<Output, String>>, Unanswered> {
    let members = Arc::new(members);
    if members.len() > 1
        && let Ok(outputs) = call_once(with, &members, 0..members.len(), manner, times).await?
    {
        return Ok(outputs.into_iter().map(Ok).collect());
    }
    let mut outcomes = Vec::with_capacity(members.len());
    for at in 0..members.len() {
        let answer = call_once(with, &members, at..at + 1, manner, times).await?;
        outcomes.push(answer.map(|mut outputs| outputs.remove(0)));
    }
    Ok(outcomes)
}

async fn call_once(
    (model, predictor): (&Model, &Arc<Predictor>),
    members: &Arc<Vec<Prepared>>,
    range: std::ops::Range<usize>,
    manner: &Manner,
    times: &mut StepTimes,
) -> Result<Result<Vec<Output>, String>, Unanswered> {
    let some: Vec<&Prepared> = members[range.clone()].iter().collect();
    let inputs = match predictor.join(&some) {
        Ok(inputs) => inputs,
        Err(error) => return Ok(Err(chain(&error))),
    };
    let kept = if predictor.reads_inputs() {
        inputs.clone()
    } else {
        Vec::new()
    };
    let answer = match model.call(manner.request(inputs, None)).await {
        Ok(answer) => answer,
        Err(Error::Refused { why, .. }) => return Ok(Err(why)),
        Err(error) => return Err(error.into()),
    };
    times.queue = times.queue.max(answer.times.queue);
    times.infer = times.infer.max(answer.times.infer);
    times.rows = times.rows.max(answer.times.rows);
    let began = Instant::now();
    let (predictor, members) = (Arc::clone(predictor), Arc::clone(members));
    let finish = move || {
        let some: Vec<&Prepared> = members[range].iter().collect();
        predictor
            .outputs(&kept, answer.outputs, &some)
            .map_err(|error| chain(&error))
    };
    // A mask is a picture to be written; everything else is done sooner than moved.
    let made = match model.makes_pictures() {
        true => tokio::task::spawn_blocking(finish)
            .await
            .map_err(|_| Unanswered::Broken)?,
        false => finish(),
    };
    times.postprocess += began.elapsed();
    Ok(made)
}

/// Compares the answers of the call, where the steps ask for it.
fn compare(predictor: &Predictor, outcomes: &mut Vec<Result<Output, String>>) -> Result<(), Unanswered> {
    if !predictor.compares() {
        return Ok(());
    }
    let mut all: Vec<Outcome> = Vec::with_capacity(outcomes.len());
    for outcome in outcomes.drain(..) {
        // One that cannot be compared leaves a hole in the answers of all the others.
        all.push(Ok(outcome.map_err(Unanswered::Steps)?));
    }
    predictor.compare(&mut all);
    outcomes.extend(all.into_iter().map(|outcome| outcome.map_err(|error| chain(&error))));
    Ok(())
}

async fn answer_with_words(
    model: &Arc<Model>,
    requests: Vec<predict::Request>,
    manner: &Manner,
    aside: &Arc<Turns>,
) -> Result<Answered, Unanswered> {
    let (mut outcomes, mut times, mut given_tokens) = (Vec::with_capacity(requests.len()), StepTimes::default(), 0);
    for request in requests {
        let (listen, _unheard) = mpsc::unbounded_channel();
        let words = Words {
            most_tokens: u64::MAX,
            listen,
        };
        let spoken = match speak(model, request, words, manner, aside).await {
            Ok(spoken) => spoken,
            Err(Unanswered::Steps(why)) => {
                outcomes.push(Err(why));
                continue;
            }
            Err(error) => return Err(error),
        };
        times.preprocess += spoken.times.preprocess;
        times.queue += spoken.times.queue;
        times.infer += spoken.times.infer;
        times.rows = times.rows.max(spoken.times.rows);
        given_tokens += spoken.given_tokens;
        outcomes.push(Ok(Output::Record(record(spoken.generated))));
    }
    Ok(Answered {
        outcomes,
        times,
        given_tokens,
    })
}

/// Makes an answer of a text.
fn record(generated: Generated) -> Record {
    let Generated { text, tokens, end } = generated;
    let ended = end.name();
    Record {
        answers: vec![(TEXT.to_owned(), Answer::Generated { text, tokens, ended })],
    }
}

/// Is a text that was generated.
#[derive(Debug)]
pub struct Spoken {
    pub generated: Generated,
    pub times: StepTimes,
    /// Tokens of the text that was given.
    pub given_tokens: usize,
}

/// Generates text from one request.
pub async fn speak(
    model: &Arc<Model>,
    request: predict::Request,
    words: Words,
    manner: &Manner,
    aside: &Arc<Turns>,
) -> Result<Spoken, Unanswered> {
    let began = Instant::now();
    let Skill::Generates(generator) = model.skill().as_ref() else {
        return Err(Unanswered::Steps(super::speaker::NO_WORDS.to_owned()));
    };
    let windows = windows(generator, request, &manner.tenant, aside).await?;
    let mut spoken = Spoken {
        generated: Generated {
            text: String::new(),
            tokens: Vec::new(),
            end: End::Length,
        },
        times: StepTimes {
            preprocess: began.elapsed(),
            ..StepTimes::default()
        },
        given_tokens: windows.iter().map(Prepared::tokens).sum(),
    };
    model.metrics().count_preprocess(spoken.times.preprocess);
    for window in windows {
        let joined = generator.pipeline().join(&[&window]);
        let inputs = joined.map_err(|error| Unanswered::Steps(chain(&error)))?;
        let answer = match model.call(manner.request(inputs, Some(words.clone()))).await {
            Ok(answer) => answer,
            Err(Error::Refused { why, .. }) => return Err(Unanswered::Steps(why)),
            Err(error) => return Err(error.into()),
        };
        let generated = answer.generated.ok_or(Unanswered::Broken)?;
        spoken.generated.text.push_str(&generated.text);
        spoken.generated.tokens.extend(generated.tokens);
        spoken.generated.end = generated.end;
        spoken.times.queue += answer.times.queue;
        spoken.times.infer += answer.times.infer;
        spoken.times.rows = spoken.times.rows.max(answer.times.rows);
        if generated.end == End::Stopped {
            break;
        }
    }
    Ok(spoken)
}

/// Prepares a request for as many calls as it takes to hear all of it: a long sound for several.
async fn windows(
    generator: &Arc<Generator>,
    request: predict::Request,
    tenant: &Arc<str>,
    aside: &Arc<Turns>,
) -> Result<Vec<Prepared>, Unanswered> {
    let generator = Arc::clone(generator);
    let prepare = move |request: predict::Request| {
        let windows = generator.pipeline().windows(&request);
        windows.map_err(|error| chain(&error))
    };
    if is_short(&request) {
        return prepare(request).map_err(Unanswered::Steps);
    }
    let _place = aside.enter(tenant).await;
    let prepared = tokio::task::spawn_blocking(move || prepare(request)).await;
    prepared.map_err(|_| Unanswered::Broken)?.map_err(Unanswered::Steps)
}
