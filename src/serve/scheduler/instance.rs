//! A thread that owns a session and answers from the queue.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::queue::{Job, Next};
use super::{Answer, Shared, Times};
use crate::runtime::{self, Call, Cancel, Session, Value};
use crate::serve::Error;
use crate::tensor::Tensor;

/// Answers until the queue is closed and empty.
pub(super) fn serve(shared: &Shared, mut session: Box<dyn Session>) {
    while let Some(jobs) = wait(shared) {
        answer(shared, session.as_mut(), jobs);
    }
}

/// Waits for requests that one call answers; `None` at the end.
fn wait(shared: &Shared) -> Option<Vec<Job>> {
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
            Next::Jobs(jobs) => {
                shared.metrics.set_waiting(state.queue.len());
                return Some(jobs);
            }
            Next::Nothing if state.is_closed => return None,
            Next::Nothing => shared.changed.wait(state).unwrap_or_else(|poison| poison.into_inner()),
            Next::Until(until) => {
                let left = until.saturating_duration_since(now);
                let waited = shared.changed.wait_timeout(state, left);
                waited.unwrap_or_else(|poison| poison.into_inner()).0
            }
        };
    }
}

fn answer(shared: &Shared, session: &mut dyn Session, jobs: Vec<Job>) {
    if jobs.len() == 1 {
        for job in jobs {
            answer_alone(shared, session, job);
        }
        return;
    }
    let began = Instant::now();
    match together(shared, session, &jobs) {
        Ok((answers, rows)) => {
            let infer = began.elapsed();
            shared.metrics.count_call(rows, infer);
            for (job, outputs) in jobs.into_iter().zip(answers) {
                finish(shared, job, began, infer, rows, Ok(outputs));
            }
        }
        // One of them may be what the model fails on; the others are not to suffer.
        Err(()) => {
            for job in jobs {
                answer_alone(shared, session, job);
            }
        }
    }
}

/// Answers several requests by one call; an error says that they are to be answered one by one.
fn together(shared: &Shared, session: &mut dyn Session, jobs: &[Job]) -> Result<(Vec<Vec<Tensor>>, usize), ()> {
    let stacking = shared.stacking.as_ref().ok_or(())?;
    let requests: Vec<&[Tensor]> = jobs.iter().map(|job| job.inputs.as_slice()).collect();
    let (inputs, rows) = stacking.stack(&requests).map_err(drop)?;
    // The first deadline ends the call for all; those that have time left are then answered alone.
    let deadline = jobs.iter().filter_map(|job| job.deadline).min();
    let outputs = run(session, inputs, deadline, &Cancel::default()).map_err(drop)?;
    let answers = stacking.unstack(outputs, &rows).map_err(|_| {
        shared.mixes_rows.store(true, Ordering::Relaxed);
    })?;
    Ok((answers, rows.iter().sum()))
}

fn answer_alone(shared: &Shared, session: &mut dyn Session, mut job: Job) {
    let began = Instant::now();
    let inputs = std::mem::take(&mut job.inputs);
    let outcome = run(session, inputs, job.deadline, &job.cancel);
    let infer = began.elapsed();
    let rows = job.candidate.rows;
    shared.metrics.count_call(rows, infer);
    let outcome = outcome.map_err(|error| match error {
        runtime::Error::Cancelled => Error::Cancelled,
        runtime::Error::DeadlinePassed => {
            let allowed = job.deadline.map(|deadline| deadline - job.arrived);
            Error::TimedOut(allowed.unwrap_or_default())
        }
        source => Error::Run {
            name: shared.name.clone(),
            source: Arc::new(source),
        },
    });
    finish(shared, job, began, infer, rows, outcome);
}

fn run(
    session: &mut dyn Session,
    inputs: Vec<Tensor>,
    deadline: Option<Instant>,
    cancel: &Cancel,
) -> Result<Vec<Tensor>, runtime::Error> {
    let inputs: Vec<Value> = inputs.into_iter().map(Value::from).collect();
    let values = session.run(Call {
        inputs: &inputs,
        keep_on_device: &[],
        deadline,
        cancel,
    })?;
    Ok(values.into_iter().filter_map(Value::into_host).collect())
}

fn finish(
    shared: &Shared,
    job: Job,
    began: Instant,
    infer: Duration,
    rows: usize,
    outcome: Result<Vec<Tensor>, Error>,
) {
    let queue = began.saturating_duration_since(job.arrived);
    shared.metrics.count_answer(queue);
    let times = Times { queue, infer, rows };
    // A client that left does not hear the answer.
    let _ = job.answer.send(outcome.map(|outputs| Answer { outputs, times }));
}
