//! The server's side: starts a worker, sees it end, and starts it again.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::channel::{Channel, invalid, receive};
use super::child::Description;
use super::executor::RemoteExecutor;
use crate::fs::SharedMemory;
use crate::runtime::resident_bytes_of;
use crate::serve::Memory;

/// How long a worker that ended is waited with before it is started again; doubled each time it ends soon.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// A worker that lived so long did not end soon.
const LONG_LIFE: Duration = Duration::from_secs(60);

/// Is a worker process, and what starts it again when it ends. Dropped, it ends.
pub struct Worker {
    shared: Arc<Shared>,
    watcher: Option<JoinHandle<()>>,
}

/// Says why a worker did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The system gives no process, stream or memory.
    #[error("its worker process cannot be started")]
    System(#[from] io::Error),
    /// The worker could not load the model.
    #[error("{0}")]
    Model(String),
    /// The worker ended while it loaded the model.
    #[error("its worker process ended while it loaded the model{0}")]
    Ended(String),
}

/// Makes the command that starts a worker.
pub(super) type Recipe = Box<dyn Fn() -> Command + Send + Sync>;

pub(super) struct Shared {
    recipe: Recipe,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    phase: Phase,
    /// Counts the processes.
    run: u64,
    is_closed: bool,
}

#[derive(Default)]
enum Phase {
    /// It does not answer, and will again.
    #[default]
    Away,
    Running {
        process: u32,
        control: Arc<Mutex<UnixStream>>,
        /// One an instance, until its executor takes it.
        channels: Vec<Option<Channel>>,
    },
}

/// Is a worker that has loaded its model.
struct Launched {
    child: Child,
    control: UnixStream,
    description: Description,
    channels: Vec<Channel>,
}

/// Is what an executor needs to speak to its instance.
pub(super) struct Line {
    pub run: u64,
    pub channel: Channel,
    pub control: Arc<Mutex<UnixStream>>,
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Worker {
    /// Starts a worker and waits until it has loaded its model.
    ///
    /// Gives an executor for each of its instances.
    /// Errors: [`StartError`]; a worker that never ran is not started again.
    pub fn start(
        recipe: impl Fn() -> Command + Send + Sync + 'static,
    ) -> Result<(Worker, Description, Vec<RemoteExecutor>), StartError> {
        let shared = Arc::new(Shared {
            recipe: Box::new(recipe),
            state: Mutex::default(),
            changed: Condvar::new(),
        });
        let launched = shared.launch()?;
        let description = launched.description.clone();
        let executors = (0..description.instances)
            .map(|instance| RemoteExecutor::new(Arc::clone(&shared), instance))
            .collect();
        let watched = Arc::clone(&shared);
        let watcher = thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || watched.keep(launched))?;
        let worker = Worker {
            shared,
            watcher: Some(watcher),
        };
        Ok((worker, description, executors))
    }
}

impl Worker {
    /// Gives what tells how much memory the worker takes; that of the process which runs when it is asked.
    pub fn memory(&self) -> Memory {
        let shared = Arc::clone(&self.shared);
        Box::new(move || match &shared.lock().phase {
            Phase::Running { process, .. } => resident_bytes_of(*process),
            Phase::Away => Some(0),
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let run = {
            let mut state = self.shared.lock();
            state.is_closed = true;
            state.run
        };
        self.shared.end(run);
        self.shared.changed.notify_all();
        if let Some(watcher) = self.watcher.take() {
            // It ends once the process has.
            let _ = watcher.join();
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends a process, where it runs still.
    pub fn end(&self, run: u64) {
        let state = self.lock();
        if let Phase::Running { control, .. } = &state.phase
            && state.run == run
        {
            let control = control.lock().unwrap_or_else(PoisonError::into_inner);
            // The watcher sees the stream end, and kills.
            let _ = control.shutdown(Shutdown::Both);
        }
    }

    /// Tells whether a process runs still.
    pub fn runs(&self, run: u64) -> bool {
        let state = self.lock();
        state.run == run && matches!(state.phase, Phase::Running { .. })
    }

    /// Waits until the worker runs, and takes the line to an instance; `None` where it does not run until `until`.
    pub fn line(&self, instance: usize, until: Instant) -> Option<Line> {
        let mut state = self.lock();
        loop {
            let run = state.run;
            if let Phase::Running { control, channels, .. } = &mut state.phase {
                let control = Arc::clone(control);
                let channel = channels.get_mut(instance).and_then(Option::take);
                return channel.map(|channel| Line { run, channel, control });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() || state.is_closed {
                return None;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Watches a worker, and starts the next when it has ended.
    fn keep(&self, mut launched: Launched) {
        let mut pause = FIRST_PAUSE;
        loop {
            let began = Instant::now();
            if !self.watch(launched) {
                return;
            }
            if began.elapsed() > LONG_LIFE {
                pause = FIRST_PAUSE;
            }
            launched = loop {
                if !self.pause(pause) {
                    return;
                }
                pause = (pause * 2).min(LONGEST_PAUSE);
                if let Ok(launched) = self.launch() {
                    break launched;
                }
            };
        }
    }

    /// Lets executors speak to a worker until it ends; tells whether another is to follow.
    fn watch(&self, launched: Launched) -> bool {
        let Launched {
            mut child,
            control,
            channels,
            ..
        } = launched;
        let mut end = match control.try_clone() {
            Ok(end) => end,
            Err(_) => return kill(&mut child, false),
        };
        {
            let mut state = self.lock();
            if state.is_closed {
                return kill(&mut child, false);
            }
            state.run += 1;
            state.phase = Phase::Running {
                process: child.id(),
                control: Arc::new(Mutex::new(control)),
                channels: channels.into_iter().map(Some).collect(),
            };
        }
        self.changed.notify_all();
        // It has nothing more to say, so whatever comes is the end.
        let _ = receive(&mut end);
        let mut state = self.lock();
        state.phase = Phase::Away;
        let goes_on = !state.is_closed;
        drop(state);
        kill(&mut child, goes_on)
    }

    /// Waits before the next start; tells whether there is to be one.
    fn pause(&self, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let mut state = self.lock();
        while !state.is_closed {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }

    fn launch(&self) -> Result<Launched, StartError> {
        let (mut control, theirs) = UnixStream::pair()?;
        let mut command = (self.recipe)();
        command.stdin(Stdio::from(OwnedFd::from(theirs))).stdout(Stdio::null());
        // A terminal's Ctrl-C is the server's to hear, which lets its workers finish.
        command.process_group(0);
        let mut child = command.spawn()?;
        // The command holds the other end of the stream, and would keep it from ending.
        drop(command);
        match greet(&mut control, &mut child) {
            Ok((description, channels)) => Ok(Launched {
                child,
                control,
                description,
                channels,
            }),
            Err(error) => {
                kill(&mut child, false);
                Err(error)
            }
        }
    }
}

/// Waits for the worker's description, and gives it the channels.
fn greet(control: &mut UnixStream, child: &mut Child) -> Result<(Description, Vec<Channel>), StartError> {
    // How long a model may load is the worker's own watchdog's business.
    let Some(message) = receive(control)? else {
        let status = child.wait()?;
        return Err(StartError::Ended(match status.code() {
            Some(code) => format!(": exit code {code}"),
            None => format!(": {status}"),
        }));
    };
    let message: serde_json::Value = serde_json::from_slice(&message).map_err(invalid)?;
    if let Some(text) = message["failed"].as_str() {
        return Err(StartError::Model(text.to_owned()));
    }
    let description = Description::from_json(&message).map_err(invalid)?;
    let channels = (0..description.instances).map(|_| send_channel(control));
    let channels = channels.collect::<io::Result<_>>()?;
    Ok((description, channels))
}

fn send_channel(control: &UnixStream) -> io::Result<Channel> {
    let (stream, theirs) = UnixStream::pair()?;
    let (writes, reads) = (SharedMemory::new()?, SharedMemory::new()?);
    let handles = [theirs.as_fd(), writes.as_fd(), reads.as_fd()];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(&handles));
    sendmsg(control, &[IoSlice::new(&[1])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(Channel::new(stream, writes, reads))
}

/// Ends a process that may have ended already; gives `then` back.
fn kill(child: &mut Child, then: bool) -> bool {
    let _ = child.kill();
    let _ = child.wait();
    then
}
