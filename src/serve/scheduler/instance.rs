//! A thread that owns an executor and answers from the queue.

use std::ops::ControlFlow;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::queue::{Job, Joining, Next, Queue};
use super::{Answer, Shared, Times, Words, lock};
use crate::predict::generate::Generated;
use crate::runtime::{Cancel, Value};
use crate::serve::{Error, Executor, Fault, GenerateCall, OneCall};
use crate::tensor::Tensor;

/// Answers until the queue is closed and empty.
pub(super) fn serve(shared: &Shared, at: usize) {
    let most = lock(&shared.executors[at])
        .as_ref()
        .map_or(1, |executor| executor.most_at_once());
    while let Some(work) = wait(shared, most) {
        let mut executor = lock(&shared.executors[at]);
        match (executor.as_deref_mut(), work) {
            (Some(executor), Work::Joined(jobs)) => answer_joined(shared, executor, jobs),
            (Some(executor), Work::Each(jobs)) => answer_each(shared, executor, jobs),
            (None, _) => break,
        }
    }
    // It ends on the thread that used it.
    drop(lock(&shared.executors[at]).take());
}

/// Is what an instance has taken from the queue.
enum Work {
    /// Several requests that one call answers, or one that is filled up.
    Joined(Vec<Job>),
    /// Requests that are answered each by itself.
    Each(Vec<Job>),
}

/// Waits for requests, of which up to `most` that are brisk are taken together; `None` at the end.
fn wait(shared: &Shared, most: usize) -> Option<Work> {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let stale = state.queue.take_stale(now);
        if !stale.is_empty() {
            drop(state);
            shared.give_up(stale);
            state = shared.lock();
            continue;
        }
        // Nobody joins a queue that is closed.
        let mut joining = shared.joining();
        if state.is_closed {
            joining.delay = Duration::ZERO;
        }
        state = match state.queue.next(joining, now) {
            Next::Jobs(mut jobs) => {
                let work = match jobs.as_slice() {
                    [job] if !is_filled_up(shared, joining, job) => {
                        take_brisk(shared, &mut state.queue, &mut jobs, most);
                        Work::Each(jobs)
                    }
                    _ => Work::Joined(jobs),
                };
                shared.metrics.set_waiting(state.queue.len());
                if state.queue.len() > 0 && state.idle + state.gathering > 0 {
                    // Those that did not join are another instance's.
                    shared.changed.notify_one();
                }
                return Some(work);
            }
            Next::Nothing if state.is_closed => return None,
            Next::Nothing => {
                state.idle += 1;
                let mut state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                state
            }
            Next::Until(until) => {
                let left = until.saturating_duration_since(now);
                state.gathering += 1;
                let waited = shared.changed.wait_timeout(state, left);
                let mut state = waited.unwrap_or_else(PoisonError::into_inner).0;
                state.gathering -= 1;
                state
            }
        };
    }
}

/// Tells whether a request is filled up to a size that the device is ready for, as those are that join.
fn is_filled_up(shared: &Shared, joining: Joining, job: &Job) -> bool {
    let rows = job.candidate.rows;
    joining.most_rows > 1 && job.candidate.key.is_some() && shared.settings.filled(rows) != rows
}

/// Takes further requests to be answered each by itself, where all are brisk: this instance's share of those that wait.
fn take_brisk(shared: &Shared, queue: &mut Queue, jobs: &mut Vec<Job>, most: usize) {
    /// The most bytes of inputs that are taken together, which a stream between processes holds.
    const MOST_BYTES: u64 = 64 << 10;
    let is_brisk = |job: &Job| job.words.is_none() && shared.brisk.is_expected(job.input_bytes);
    if shared.joining().most_rows > 1 || !is_brisk(&jobs[0]) {
        return;
    }
    let waiting = jobs.len() + queue.len();
    let most = most.min(waiting.div_ceil(shared.executors.len()));
    let mut left = MOST_BYTES.saturating_sub(jobs[0].input_bytes);
    while jobs.len() < most {
        let next = queue.next_if(|job| is_brisk(job) && job.input_bytes <= left);
        let Some(job) = next else { return };
        left -= job.input_bytes;
        jobs.push(job);
    }
}

/// Answers requests each by a call of its own, which are given to the executor together.
fn answer_each(shared: &Shared, executor: &mut dyn Executor, mut jobs: Vec<Job>) {
    if jobs.len() == 1 {
        for job in jobs {
            answer_alone(shared, executor, job);
        }
        return;
    }
    let began = Instant::now();
    let inputs: Vec<Vec<Tensor>> = jobs.iter_mut().map(|job| std::mem::take(&mut job.inputs)).collect();
    let cancels: Vec<Cancel> = jobs.iter().map(|job| job.cancel.clone()).collect();
    let calls: Vec<OneCall<'_>> = jobs
        .iter()
        .zip(inputs.iter().zip(&cancels))
        .map(|(job, (inputs, cancel))| OneCall {
            inputs,
            deadline: job.deadline,
            cancel,
        })
        .collect();
    let mut outcomes = Vec::with_capacity(calls.len());
    executor.run_each(&calls, &mut |outcome| outcomes.push(outcome));
    // How long each took cannot be told, since they come together.
    let infer = began.elapsed() / u32::try_from(outcomes.len().max(1)).unwrap_or(u32::MAX);
    for (job, outcome) in jobs.into_iter().zip(outcomes) {
        conclude(shared, job, (began, infer), outcome.map(Made::Outputs));
    }
}

fn answer_joined(shared: &Shared, executor: &mut dyn Executor, jobs: Vec<Job>) {
    let began = Instant::now();
    match together(shared, executor, &jobs) {
        Ok((answers, rows)) => {
            let infer = began.elapsed();
            shared.metrics.count_call(rows, infer);
            let times = Times::of_call(infer, rows);
            for (job, outputs) in jobs.into_iter().zip(answers) {
                finish(shared, job, began, times, Ok(Made::Outputs(outputs)));
            }
        }
        // What took the worker down is not to take it down once for each.
        Err(Some(fault @ (Fault::Lost | Fault::Away))) => {
            for job in jobs {
                let error = shared.error(&job, fault.clone());
                finish(shared, job, began, Times::default(), Err(error));
            }
        }
        // One of them may be what the model fails on; the others are not to suffer.
        Err(_) => {
            for job in jobs {
                answer_alone(shared, executor, job);
            }
        }
    }
}

/// Answers several requests by one call; an error without a fault says that they do not go together after all.
fn together(
    shared: &Shared,
    executor: &mut dyn Executor,
    jobs: &[Job],
) -> Result<(Vec<Vec<Tensor>>, usize), Option<Fault>> {
    let stacking = shared.stacking.as_ref().ok_or(None)?;
    let mut requests: Vec<&[Tensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
    let own: usize = jobs.iter().map(|job| job.candidate.rows).sum();
    let filler = shared.settings.filled(own) - own;
    let row = match filler {
        0 => Vec::new(),
        _ => first_row(requests[0]).ok_or(None)?,
    };
    requests.extend(std::iter::repeat_n(row.as_slice(), filler));
    let stack = stacking.parts(&requests).map_err(|_| None)?;
    let inputs = stack.inputs.iter();
    let inputs: Vec<Vec<&Tensor>> = inputs.map(|parts| parts.iter().map(AsRef::as_ref).collect()).collect();
    // The first deadline ends the call for all; those that have time left are then answered alone.
    let deadline = jobs.iter().filter_map(|job| job.deadline).min();
    let outputs = executor
        .run_parts(&inputs, deadline, &Cancel::default())
        .map_err(Some)?;
    let answers = stacking.unstack(outputs, &stack.shares).map_err(|_| {
        shared.mixes_rows.store(true, Ordering::Relaxed);
        None
    })?;
    Ok((answers, own))
}

/// Gives the first row of each input, which stands for those that are missing: what a model makes of it is known to do.
fn first_row(request: &[Tensor]) -> Option<Vec<Tensor>> {
    let rows = request.iter().map(|tensor| {
        let others = tensor.shape().first()?.checked_sub(1)?;
        let split = tensor.clone().split_rows(&[1, others]);
        split.ok()?.into_iter().next()
    });
    rows.collect()
}

/// Answers a request by a call of its own.
pub(super) fn answer_alone(shared: &Shared, executor: &mut dyn Executor, mut job: Job) {
    let began = Instant::now();
    let inputs = std::mem::take(&mut job.inputs);
    let outcome = match job.words.take() {
        Some(words) => speak(executor, inputs, &words, &job),
        None => run(executor, inputs, job.deadline, &job.cancel).map(Made::Outputs),
    };
    conclude(shared, job, (began, began.elapsed()), outcome);
}

/// Gives a request what came of its own call, and takes note of how long that took.
fn conclude(shared: &Shared, job: Job, (began, infer): (Instant, Duration), outcome: Result<Made, Fault>) {
    if outcome.is_ok() {
        shared.brisk.note(job.input_bytes, infer);
    }
    let rows = job.candidate.rows;
    shared.metrics.count_call(rows, infer);
    let outcome = outcome.map_err(|fault| shared.error(&job, fault));
    finish(shared, job, began, Times::of_call(infer, rows), outcome);
}

/// Is what came of a call for one request.
enum Made {
    Outputs(Vec<Tensor>),
    Text(Generated),
}

fn speak(executor: &mut dyn Executor, inputs: Vec<Tensor>, words: &Words, job: &Job) -> Result<Made, Fault> {
    let call = GenerateCall {
        inputs,
        most_tokens: words.most_tokens,
        deadline: job.deadline,
        cancel: &job.cancel,
    };
    let generated = executor.generate(call, &mut |part| match words.listen.send(part.to_owned()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
    generated.map(Made::Text)
}

fn run(
    executor: &mut dyn Executor,
    inputs: Vec<Tensor>,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<Vec<Tensor>, Fault> {
    let inputs: Vec<Value> = inputs.into_iter().map(Value::from).collect();
    executor.run(&inputs, deadline, cancel)
}

/// Gives a request what came of its call, which began at `began`.
fn finish(shared: &Shared, job: Job, began: Instant, mut times: Times, outcome: Result<Made, Error>) {
    times.queue = began.saturating_duration_since(job.arrived);
    shared.metrics.count_answer(times.queue);
    // A client that left does not hear the answer.
    let _ = job.answer.send(outcome.map(|made| match made {
        Made::Outputs(outputs) => Answer {
            outputs,
            generated: None,
            times,
        },
        Made::Text(generated) => Answer {
            outputs: Vec::new(),
            generated: Some(generated),
            times,
        },
    }));
}
