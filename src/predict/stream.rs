//! Requests answered one after the other, while the next ones are prepared on other threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use crate::pipeline::{Prepared, Request};

use super::{Error, Model, Outcome, Predictor};

/// Gets one request, such as by reading a file; done on the thread that prepares it.
pub type Job = Box<dyn FnOnce() -> Result<Request, Error> + Send>;

/// Says how a stream is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamOptions {
    /// The most requests of one call.
    pub batch: usize,
    /// Threads that prepare.
    pub threads: usize,
    /// How many requests may be prepared and wait for the model.
    pub ahead: usize,
}

/// Is what the threads share.
struct Shared<J> {
    state: Mutex<State<J>>,
    changed: Condvar,
    ahead: usize,
}

struct State<J> {
    jobs: J,
    /// How many jobs were taken.
    taken: usize,
    /// How many were handed on to the model.
    handed: usize,
    prepared: BTreeMap<usize, Result<Prepared, Error>>,
    /// No further job will be taken.
    ended: bool,
}

impl<J> Shared<J> {
    /// Locks the state; a thread that panics ends the whole, so poison is of no meaning.
    fn lock(&self) -> MutexGuard<'_, State<J>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State<J>>) -> MutexGuard<'a, State<J>> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ends the stream for the threads that prepare, however the one that answers leaves.
struct End<'a, J>(&'a Shared<J>);

impl<J> Drop for End<'_, J> {
    fn drop(&mut self) {
        self.0.lock().ended = true;
        self.0.changed.notify_all();
    }
}

impl Predictor {
    /// Answers requests in order, as `answered` takes them, while others are prepared beside it.
    ///
    /// `answered` is given the place of the request and what it came to, and may break off.
    pub fn stream<J>(
        &self,
        model: &mut dyn Model,
        jobs: J,
        options: StreamOptions,
        mut answered: impl FnMut(usize, Outcome) -> ControlFlow<()>,
    ) where
        J: Iterator<Item = Job> + Send,
    {
        let batch = options.batch.max(1);
        let shared = Shared {
            state: Mutex::new(State {
                jobs,
                taken: 0,
                handed: 0,
                prepared: BTreeMap::new(),
                ended: false,
            }),
            changed: Condvar::new(),
            ahead: options.ahead.max(batch),
        };
        thread::scope(|scope| {
            let _end = End(&shared);
            for _ in 0..options.threads.max(1) {
                scope.spawn(|| self.prepare_all(&shared));
            }
            let mut at = 0;
            loop {
                let group = next_group(&shared, batch);
                if group.is_empty() {
                    return;
                }
                for outcome in self.answer(model, group, batch) {
                    if answered(at, outcome).is_break() {
                        return;
                    }
                    at += 1;
                }
            }
        });
    }

    /// Takes jobs and prepares them until there are no more.
    fn prepare_all<J: Iterator<Item = Job>>(&self, shared: &Shared<J>) {
        give_way();
        loop {
            let mut state = shared.lock();
            while !state.ended && state.taken >= state.handed + shared.ahead {
                state = shared.wait(state);
            }
            if state.ended {
                return;
            }
            let Some(job) = state.jobs.next() else {
                state.ended = true;
                shared.changed.notify_all();
                return;
            };
            let at = state.taken;
            state.taken += 1;
            drop(state);
            let prepared = job().and_then(|request| self.prepare(&request));
            shared.lock().prepared.insert(at, prepared);
            shared.changed.notify_all();
        }
    }
}

/// Lets the threads of the model go before this one: they wait for each other, so one that is held up holds up all.
fn give_way() {
    // Elsewhere the call is about the whole process. Where it is not allowed nothing is lost but some speed.
    #[cfg(target_os = "linux")]
    let _ = rustix::process::nice(10);
}

/// Waits for the next requests in order: as many as a call takes, or all that are left.
fn next_group<J>(shared: &Shared<J>, batch: usize) -> Vec<Result<Prepared, Error>> {
    let mut state = shared.lock();
    loop {
        let wanted = match state.ended {
            true => batch.min(state.taken - state.handed),
            false => batch,
        };
        let first = state.handed;
        if (first..first + wanted).all(|at| state.prepared.contains_key(&at)) {
            let group = (first..first + wanted)
                .filter_map(|at| state.prepared.remove(&at))
                .collect();
            state.handed += wanted;
            shared.changed.notify_all();
            return group;
        }
        state = shared.wait(state);
    }
}
