//! Requests answered one after the other, while the next ones are prepared on other threads.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

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
    /// Whether the model runs on the processor's cores, which it then has to itself for each call: its threads wait for
    /// each other, so one that is held up by a thread that prepares holds up all. Requests are still read meanwhile.
    pub on_cores: bool,
}

/// Is what the threads share.
struct Shared<J> {
    /// Locked while the next job is waited for, which may take as long as a person types.
    jobs: Mutex<J>,
    state: Mutex<State>,
    changed: Condvar,
    ahead: usize,
    on_cores: bool,
}

#[derive(Default)]
struct State {
    /// How many jobs were taken.
    taken: usize,
    /// How many were handed on to the model.
    handed: usize,
    /// How many threads have a job that they may go on with.
    busy: usize,
    /// The model answers.
    answering: bool,
    prepared: BTreeMap<usize, Result<Prepared, Error>>,
    /// No further job will be taken.
    ended: bool,
}

impl<J> Shared<J> {
    /// Locks the state; a thread that panics ends the whole, so poison is of no meaning.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `wanted` holds.
    fn wait_until(&self, wanted: impl Fn(&State) -> bool) -> MutexGuard<'_, State> {
        let mut state = self.lock();
        while !wanted(&state) {
            state = self.wait(state);
        }
        state
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
            jobs: Mutex::new(jobs),
            state: Mutex::default(),
            changed: Condvar::new(),
            ahead: options.ahead.max(batch),
            on_cores: options.on_cores,
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
        if !shared.on_cores {
            give_way();
        }
        while let Some((at, job)) = next_job(shared) {
            let request = job();
            if shared.on_cores {
                wait_for_cores(shared);
            }
            let prepared = request.and_then(|request| self.prepare(&request));
            let mut state = shared.lock();
            state.busy -= 1;
            state.prepared.insert(at, prepared);
            shared.changed.notify_all();
        }
    }
}
/// Takes the next job, once there is room for what it will be made to; `None` at the end.
fn next_job<J: Iterator<Item = Job>>(shared: &Shared<J>) -> Option<(usize, Job)> {
    let mut jobs = shared.jobs.lock().unwrap_or_else(PoisonError::into_inner);
    let has_room = |state: &State| state.ended || state.taken < state.handed + shared.ahead;
    if shared.wait_until(has_room).ended {
        return None;
    }
    let job = jobs.next();
    let mut state = shared.lock();
    let Some(job) = job else {
        state.ended = true;
        shared.changed.notify_all();
        return None;
    };
    let at = state.taken;
    state.taken += 1;
    state.busy += 1;
    Some((at, job))
}

/// Waits while the model has the cores; a thread that waits is not busy.
fn wait_for_cores<J>(shared: &Shared<J>) {
    let mut state = shared.lock();
    if state.answering {
        state.busy -= 1;
        drop(state);
        shared.wait_until(|state| !state.answering || state.ended).busy += 1;
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
    /// How long the model waits at most for what is prepared beside its next call.
    const PATIENCE: Duration = Duration::from_millis(10);
    let mut state = shared.lock();
    state.answering = false;
    shared.changed.notify_all();
    let mut ready_since = None;
    loop {
        let wanted = match state.ended {
            true => batch.min(state.taken - state.handed),
            false => batch,
        };
        let first = state.handed;
        let is_ready = (first..first + wanted).all(|at| state.prepared.contains_key(&at));
        if !is_ready {
            state = shared.wait(state);
            continue;
        }
        // The cores are given to the model for many calls at a time, or there would be little to gain.
        let waited = ready_since.get_or_insert_with(Instant::now).elapsed();
        if shared.on_cores && state.busy > 0 && waited < PATIENCE {
            let woken = shared.changed.wait_timeout(state, PATIENCE - waited);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
            continue;
        }
        let group = (first..first + wanted)
            .filter_map(|at| state.prepared.remove(&at))
            .collect();
        state.handed += wanted;
        state.answering = true;
        shared.changed.notify_all();
        return group;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc::channel;

    use super::*;
    use crate::pipeline::Item;
    use crate::predict::Output;
    use crate::runtime::{self, Value};
    use crate::tensor::{DType, Data, Dim, Port, Shape, Signature, Tensor, TensorName};

    fn signature() -> Signature {
        let port = |name: &str| Port {
            name: TensorName::new(name),
            dtype: DType::I64,
            shape: Shape::of([Dim::Symbol("N".into())]),
        };
        Signature {
            inputs: vec![port("x")],
            outputs: vec![port("y")],
        }
    }

    /// Gives its input back.
    struct Echo(Signature);

    impl Model for Echo {
        fn signature(&self) -> &Signature {
            &self.0
        }

        fn call(&mut self, inputs: &[Value], _: &[bool]) -> Result<Vec<Value>, runtime::Error> {
            let input = inputs[0].as_host().unwrap().clone();
            Ok(vec![input.into()])
        }
    }

    fn request(number: i64) -> Request {
        let tensor = Tensor::from_vec([1], vec![number]).unwrap();
        Request {
            items: vec![(Some("x".to_owned()), Item::Tensor(tensor))],
        }
    }

    fn number(outcome: Outcome) -> i64 {
        match &outcome.unwrap() {
            Output::Tensors(tensors) if let Data::I64(numbers) = tensors[0].data() => numbers[0],
            other => panic!("{other:?}"),
        }
    }

    fn options() -> impl Iterator<Item = StreamOptions> {
        [(1, 1, false), (1, 3, true), (4, 2, false), (4, 1, true), (3, 4, true)]
            .into_iter()
            .map(|(batch, threads, on_cores)| StreamOptions {
                batch,
                threads,
                ahead: 2 * batch + threads,
                on_cores,
            })
    }

    #[test]
    fn answers_come_in_the_order_of_their_requests_however_they_are_prepared() {
        let predictor = Predictor::without_steps(&signature());
        for options in options() {
            let under_way = AtomicUsize::new(0);
            let jobs = (0..100).map(|at| Box::new(move || Ok(request(at))) as Job);
            let jobs = jobs.inspect(|_| {
                under_way.fetch_add(1, Ordering::Relaxed);
            });
            let mut found = Vec::new();
            predictor.stream(&mut Echo(signature()), jobs, options, |at, outcome| {
                // No more is read than may wait, and what is in hand.
                let ahead = under_way.load(Ordering::Relaxed) - at;
                assert!(ahead <= options.ahead + options.batch, "{ahead} with {options:?}");
                found.push(number(outcome));
                ControlFlow::Continue(())
            });
            assert_eq!(found, (0..100).collect::<Vec<_>>(), "{options:?}");
        }
    }

    #[test]
    fn an_answer_does_not_wait_for_the_next_request_to_be_written() {
        let predictor = Predictor::without_steps(&signature());
        for options in options().filter(|options| options.batch == 1) {
            let (answered, heard) = channel();
            let mut written = 0;
            let jobs = std::iter::from_fn(move || {
                if written > 0 {
                    // Who writes reads an answer first.
                    heard.recv_timeout(Duration::from_secs(20)).ok()?;
                }
                written += 1;
                let at = written;
                (at <= 5).then(|| Box::new(move || Ok(request(at))) as Job)
            });
            let mut found = Vec::new();
            predictor.stream(&mut Echo(signature()), jobs, options, |_, outcome| {
                found.push(number(outcome));
                answered.send(()).unwrap();
                ControlFlow::Continue(())
            });
            assert_eq!(found, [1, 2, 3, 4, 5], "{options:?}");
        }
    }

    #[test]
    fn a_request_that_cannot_be_read_fails_alone_and_a_stream_can_be_left() {
        let predictor = Predictor::without_steps(&signature());
        for options in options() {
            let jobs = (0..1000).map(|at| {
                Box::new(move || match at {
                    3 => Err(Error::Request("it is gone".into())),
                    at => Ok(request(at)),
                }) as Job
            });
            let mut found = Vec::new();
            predictor.stream(&mut Echo(signature()), jobs, options, |at, outcome| {
                found.push(outcome.is_ok());
                match at {
                    5 => ControlFlow::Break(()),
                    _ => ControlFlow::Continue(()),
                }
            });
            assert_eq!(found, [true, true, true, false, true, true], "{options:?}");
        }
    }
}
