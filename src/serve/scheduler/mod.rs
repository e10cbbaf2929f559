//! One bounded queue a model, and the instances that answer from it.

mod brisk;
mod instance;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::{Error, Executor, Fault, ModelMetrics, Settings, loops};
use crate::predict::batch::{Candidate, Stacking};
use crate::predict::generate::Generated;
use crate::runtime::Cancel;
use crate::tensor::Tensor;

use brisk::Brisk;
use queue::{Job, Joining, Queue};

/// Is a request to a model, its tensors in the signature's order.
#[derive(Debug, Default)]
pub struct Request {
    pub inputs: Vec<Tensor>,
    /// Whose it is: tenants take turns, and none fills the queue of another.
    pub tenant: Arc<str>,
    /// 1 is the most urgent; 0 is the model's own, behind every other.
    pub priority: u64,
    /// How long the client waits; the model's own time-out where it is shorter.
    pub timeout: Option<Duration>,
    /// When it came, where it has waited for something else already.
    pub began: Option<Instant>,
    /// Wants text, and not the outputs.
    pub words: Option<Words>,
}

/// Says what text a request wants, and who hears it.
#[derive(Clone, Debug)]
pub struct Words {
    /// The most tokens; the artifact's own bound where that is less.
    pub most_tokens: u64,
    /// Is sent each part of the text when it is certain; who hears no more ends it.
    pub listen: mpsc::UnboundedSender<String>,
}

/// Is what came of a request.
#[derive(Debug)]
pub struct Answer {
    /// One tensor an output, in the signature's order.
    pub outputs: Vec<Tensor>,
    /// The text, where it was wanted.
    pub generated: Option<Generated>,
    pub times: Times,
}

/// Says where the time of a request went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Times {
    /// From its arrival to the start of the call.
    pub queue: Duration,
    /// The call, which it may have shared.
    pub infer: Duration,
    /// How many rows the call had, its own and others'.
    pub rows: usize,
}

impl Times {
    fn of_call(infer: Duration, rows: usize) -> Self {
        Times {
            infer,
            rows,
            ..Times::default()
        }
    }
}

/// Takes requests to one model.
#[derive(Debug)]
pub struct Scheduler {
    shared: Arc<Shared>,
    instances: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared {
    name: String,
    settings: Settings,
    stacking: Option<Stacking>,
    /// Whether an answer has shown that the model mixes rows, so that requests are no longer joined.
    mixes_rows: AtomicBool,
    metrics: ModelMetrics,
    /// That of each instance, which takes it along when it ends.
    executors: Vec<Mutex<Option<Box<dyn Executor>>>>,
    brisk: Brisk,
    /// How many requests have no answer yet.
    unanswered: AtomicUsize,
    state: Mutex<State>,
    changed: Condvar,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct State {
    queue: Queue,
    /// Whether nothing is taken any more; what waits is still answered.
    is_closed: bool,
    /// How many instances wait for a request.
    idle: usize,
    /// How many instances wait for more requests to join the next.
    gathering: usize,
}

impl State {
    /// Tells whether an instance is to be woken for what waits. One that gathers is woken once nothing more can join, and not
    /// for each request: it wakes by itself when the first has waited long enough.
    fn wants_instance(&self, joining: Joining) -> bool {
        match (self.idle, self.gathering) {
            (0, 0) => false,
            (_, 0) => true,
            _ => self.queue.is_full(joining),
        }
    }
}

impl Scheduler {
    /// Starts an instance for each executor; requests are joined where `stacking` says that they may be.
    ///
    /// Errors: the system gives no thread.
    pub fn start(
        name: &str,
        executors: Vec<Box<dyn Executor>>,
        stacking: Option<Stacking>,
        settings: Settings,
        metrics: ModelMetrics,
    ) -> std::io::Result<Scheduler> {
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            settings,
            stacking,
            mixes_rows: AtomicBool::new(false),
            metrics,
            executors: executors
                .into_iter()
                .map(|executor| Mutex::new(Some(executor)))
                .collect(),
            brisk: Brisk::default(),
            unanswered: AtomicUsize::new(0),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let scheduler = Scheduler {
            shared: Arc::clone(&shared),
            instances: Mutex::default(),
        };
        for at in 0..shared.executors.len() {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(format!("{name}/{at}"));
            let handle = thread.spawn(move || instance::serve(&shared, at))?;
            lock(&scheduler.instances).push(handle);
        }
        Ok(scheduler)
    }

    /// Queues a request and waits for its answer; a caller that stops waiting cancels it.
    ///
    /// Errors: [`Error`]; a full queue refuses at once.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        let timeout = [request.timeout, self.shared.settings.timeout]
            .into_iter()
            .flatten()
            .min();
        let waited = request.began.map_or(Duration::ZERO, |began| began.elapsed());
        let timeout = timeout.map(|timeout| timeout.saturating_sub(waited));
        let cancel = CancelOnDrop(Cancel::default());
        let _counted = Counted::new(&self.shared.unanswered);
        let receiver = self.submit(request, timeout, cancel.0.clone())?;
        let lost = || Error::Lost(self.shared.name.clone());
        match timeout {
            // The instance ends a call at its deadline; the grace is for one that cannot be ended.
            Some(timeout) => match tokio::time::timeout(timeout + timeout / 8, receiver).await {
                Ok(answer) => answer.map_err(|_| lost())?,
                Err(_) => Err(Error::TimedOut(timeout)),
            },
            None => receiver.await.map_err(|_| lost())?,
        }
    }

    fn submit(
        &self,
        request: Request,
        timeout: Option<Duration>,
        cancel: Cancel,
    ) -> Result<oneshot::Receiver<Result<Answer, Error>>, Error> {
        let arrived = Instant::now();
        let candidate = match &self.shared.stacking {
            Some(stacking) if request.words.is_none() => stacking.candidate(&request.inputs),
            _ => Candidate { key: None, rows: 1 },
        };
        let (answer, receiver) = oneshot::channel();
        let job = Job {
            input_bytes: queue::size_of(&request.inputs),
            inputs: request.inputs,
            words: request.words,
            tenant: request.tenant,
            candidate,
            arrived,
            deadline: timeout.map(|timeout| arrived + timeout),
            cancel,
            answer,
        };
        // 0 is behind every other.
        let urgency = request.priority.wrapping_sub(1);
        let mut state = self.shared.lock();
        if state.is_closed {
            return Err(Error::Closing(self.shared.name.clone()));
        }
        if state.queue.len() >= self.shared.settings.queue_size {
            let stale = state.queue.take_stale(arrived);
            let waiting = state.queue.len();
            let is_full = waiting >= self.shared.settings.queue_size;
            let name = self.shared.name.clone();
            let full = Error::Full { name, waiting };
            let displaced = is_full.then(|| state.queue.make_room_for(&job.tenant)).flatten();
            let is_refused = is_full && displaced.is_none();
            if is_refused {
                drop(state);
                self.shared.give_up(stale);
                return Err(full);
            }
            if let Some(displaced) = displaced {
                displaced.refuse(full);
            }
            self.shared.give_up(stale);
        }
        if state.queue.len() == 0
            && let Some(mut executor) = self.shared.free_executor(&job)
        {
            drop(state);
            if let Some(executor) = executor.as_deref_mut() {
                instance::answer_alone(&self.shared, executor, job);
                loops::linger();
            }
            return Ok(receiver);
        }
        state.queue.push(urgency, job);
        self.shared.metrics.set_waiting(state.queue.len());
        let wants_instance = state.wants_instance(self.shared.joining());
        drop(state);
        if wants_instance {
            self.shared.changed.notify_one();
        }
        Ok(receiver)
    }

    /// Says that the queue is full, where a request of a tenant would be refused.
    pub fn is_full_for(&self, tenant: &Arc<str>) -> Option<Error> {
        let state = self.shared.lock();
        let waiting = state.queue.len();
        let is_full = waiting >= self.shared.settings.queue_size && state.queue.longer_than(tenant).is_none();
        is_full.then(|| Error::Full {
            name: self.shared.name.clone(),
            waiting,
        })
    }

    /// Gives how many requests wait.
    pub fn waiting(&self) -> usize {
        self.shared.lock().queue.len()
    }

    /// Takes no more requests; those that wait are answered.
    pub fn close(&self) {
        self.shared.lock().is_closed = true;
        self.shared.changed.notify_all();
    }

    /// Refuses those that wait, and waits for the calls that run.
    pub fn stop(&self) {
        let waiting = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            state.queue.drain()
        };
        self.shared.changed.notify_all();
        for job in waiting {
            job.refuse(Error::Closing(self.shared.name.clone()));
        }
        self.join();
    }

    /// Waits until every instance has ended, as it does after [`Scheduler::close`] once nothing waits.
    pub fn join(&self) {
        let handles = std::mem::take(&mut *lock(&self.instances));
        for handle in handles {
            // An instance that panicked has told so; the others end all the same.
            let _ = handle.join();
        }
    }
}

impl Drop for Scheduler {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn joining(&self) -> Joining {
        let may_join = self.stacking.is_some() && !self.mixes_rows.load(Ordering::Relaxed);
        Joining {
            most_rows: if may_join { self.settings.max_batch_size } else { 1 },
            delay: self.settings.max_queue_delay,
        }
    }

    /// Gives an executor to answer a request with here and now, where that is sooner done than to wake an instance, and no
    /// other is to join it. Where several wait, an instance answers while this thread takes the next request.
    fn free_executor(&self, job: &Job) -> Option<MutexGuard<'_, Option<Box<dyn Executor>>>> {
        let joining = self.joining();
        let is_alone = joining.most_rows == 1 || joining.delay.is_zero() || job.candidate.key.is_none();
        let is_alone = is_alone && self.unanswered.load(Ordering::Relaxed) <= 1;
        if !is_alone || job.words.is_some() || !self.brisk.is_expected(job.input_bytes) {
            return None;
        }
        // One that panicked is not used again.
        let mut free = self.executors.iter().filter_map(|executor| executor.try_lock().ok());
        free.find(|executor| executor.as_ref().is_some_and(|executor| executor.runs_anywhere()))
    }

    /// Says of a fault what it means for a request.
    fn error(&self, job: &Job, fault: Fault) -> Error {
        let name = self.name.clone();
        match fault {
            Fault::Cancelled => Error::Cancelled,
            Fault::DeadlinePassed => {
                let allowed = job
                    .deadline
                    .map(|deadline| deadline.saturating_duration_since(job.arrived));
                Error::TimedOut(allowed.unwrap_or_default())
            }
            Fault::Refused(why) => Error::Refused { name, why },
            Fault::Failed(why) => Error::Failed { name, why },
            Fault::Lost => Error::Lost(name),
            Fault::Away => Error::NotReady {
                name,
                why: fault.to_string(),
            },
        }
    }

    /// Refuses requests that nobody waits for any more, or that waited too long.
    fn give_up(&self, stale: Vec<Job>) {
        for job in stale {
            let error = match job.deadline {
                Some(deadline) if !job.is_abandoned() => Error::TimedOut(deadline - job.arrived),
                _ => Error::Cancelled,
            };
            job.refuse(error);
        }
    }
}

/// Counts as one until it is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Counted(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Asks the call to stop when its caller no longer waits.
struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.cancel();
    }
}

/// Locks; a panic elsewhere leaves the queue whole, so poison is of no meaning.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
