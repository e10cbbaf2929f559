use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use ort::session::RunOptions;

use crate::runtime::call::Stop;
use crate::runtime::{Error, Foreign};

/// Ends the running call of one session, when told to or at a deadline.
///
/// ONNX Runtime's flag stays up until it is taken down, so it is raised only while a call runs.
pub(super) struct Stopper {
    options: RunOptions,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    running: bool,
    stopped: Option<Stopped>,
    deadline: Option<Instant>,
    /// When the timer looks next; it sleeps without end where this is `None`.
    wakes: Option<Instant>,
    closed: bool,
}

#[derive(Clone, Copy)]
enum Stopped {
    Cancelled,
    DeadlinePassed,
}

impl Stopper {
    pub(super) fn new(options: RunOptions) -> Self {
        Stopper {
            options,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn options(&self) -> &RunOptions {
        &self.options
    }

    /// Opens a call: from here on a stop reaches it.
    pub(super) fn begin(&self, deadline: Option<Instant>) {
        let mut state = self.state();
        state.running = true;
        state.deadline = deadline;
        // A timer that already looks earlier needs no word; calls with one time-out each then seldom pay for a wake.
        if let Some(deadline) = deadline
            && state.wakes.is_none_or(|wakes| wakes > deadline)
        {
            self.changed.notify_one();
        }
    }

    /// Closes the call, and tells as an error whether it was stopped.
    pub(super) fn end(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.running = false;
        state.deadline = None;
        let Some(stopped) = state.stopped.take() else {
            return Ok(());
        };
        self.options.unterminate().map_err(|source| Error::Run {
            source: Foreign(source),
        })?;
        Err(match stopped {
            Stopped::Cancelled => Error::Cancelled,
            Stopped::DeadlinePassed => Error::DeadlinePassed,
        })
    }

    fn terminate(&self, state: &mut State, stopped: Stopped) {
        if state.running && state.stopped.is_none() && self.options.terminate().is_ok() {
            state.stopped = Some(stopped);
        }
    }

    /// Locks the state; no code that can panic runs under the lock, so poison is of no meaning.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for deadlines until the session closes.
    fn watch_deadlines(&self) {
        let mut state = self.state();
        while !state.closed {
            let now = Instant::now();
            if state.deadline.is_some_and(|deadline| deadline <= now) {
                state.deadline = None;
                self.terminate(&mut state, Stopped::DeadlinePassed);
            }
            state.wakes = state.deadline;
            state = match state.wakes {
                Some(wakes) => {
                    let wait = self.changed.wait_timeout(state, wakes - now);
                    wait.map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state)
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            };
        }
    }
}

impl Stop for Stopper {
    fn stop(&self) {
        self.terminate(&mut self.state(), Stopped::Cancelled);
    }
}

/// Is the thread that looks at the deadlines of one session.
pub(super) struct Timer {
    stopper: Arc<Stopper>,
    thread: Option<JoinHandle<()>>,
}

impl Timer {
    pub(super) fn start(stopper: &Arc<Stopper>) -> Result<Self, Error> {
        let watched = Arc::clone(stopper);
        let thread = thread::Builder::new()
            .name("deadline".to_owned())
            .spawn(move || watched.watch_deadlines())
            .map_err(|source| Error::Thread { source })?;
        Ok(Timer {
            stopper: Arc::clone(stopper),
            thread: Some(thread),
        })
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.stopper.state().closed = true;
        self.stopper.changed.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was printed when it happened; there is nobody to hand it to here.
            let _ = thread.join();
        }
    }
}
