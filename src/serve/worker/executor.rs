use std::io;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::send;
use super::process::{Line, Shared};
use super::wire::{Order, Outcome};
use crate::runtime::{Cancel, Stop, Value};
use crate::serve::{Executor, Fault};
use crate::tensor::Tensor;

/// How long a call waits for a worker that is being started again, where it has no deadline of its own.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after its deadline a call may end by itself before its worker is killed.
const GRACE: Duration = Duration::from_secs(1);

/// Answers the calls of one instance of a worker.
pub struct RemoteExecutor {
    worker: Arc<Shared>,
    instance: usize,
    line: Option<Line>,
    calls: u64,
    /// The most that the outputs of a call may take. Units: bytes.
    most_bytes: u64,
}

impl RemoteExecutor {
    pub(super) fn new(worker: Arc<Shared>, instance: usize) -> Self {
        RemoteExecutor {
            worker,
            instance,
            line: None,
            calls: 0,
            most_bytes: 4 << 30,
        }
    }

    fn line(&mut self, deadline: Option<Instant>) -> Result<&mut Line, Fault> {
        // A worker that ended between two calls has lost none of them.
        self.line.take_if(|line| !self.worker.runs(line.run));
        if self.line.is_none() {
            let until = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
            self.line = self.worker.line(self.instance, until);
        }
        match &mut self.line {
            Some(line) => Ok(line),
            None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => Err(Fault::DeadlinePassed),
            None => Err(Fault::Away),
        }
    }

    fn call(
        &mut self,
        inputs: &[Value],
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Result<Vec<Tensor>, Fault>, Broken> {
        let (instance, call, most_bytes) = (self.instance, self.calls, self.most_bytes);
        let line = match self.line(deadline) {
            Ok(line) => line,
            Err(fault) => return Ok(Err(fault)),
        };
        let allowed = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let order = Order {
            call,
            allowed_us: allowed.map(|allowed| u64::try_from(allowed.as_micros()).unwrap_or(u64::MAX - 1)),
            inputs: line.channel.put(inputs.iter().filter_map(Value::as_host))?,
        };
        line.channel.send(&order.encode())?;
        let canceller = Arc::new(Canceller {
            control: Arc::clone(&line.control),
            instance: instance as u32,
            call,
        });
        let _watch = cancel.watch(&canceller);
        let message = match line.channel.receive(allowed.map(|allowed| allowed + GRACE)) {
            Ok(Some(message)) => message,
            Ok(None) => return Err(Broken::Lost),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                return Err(Broken::Late);
            }
            Err(_) => return Err(Broken::Lost),
        };
        let outcome = Outcome::decode(&message).map_err(|_| Broken::Lost)?;
        if outcome.call != call {
            return Err(Broken::Lost);
        }
        Ok(match outcome.outputs {
            Ok(placed) => Ok(line.channel.take(&placed, most_bytes)?),
            Err(fault) => Err(fault),
        })
    }
}

/// Says why a worker cannot be spoken to any more.
enum Broken {
    Lost,
    /// It did not end a call long after its deadline.
    Late,
}

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Broken::Lost
    }
}

impl Executor for RemoteExecutor {
    fn run(&mut self, inputs: &[Value], deadline: Option<Instant>, cancel: &Cancel) -> Result<Vec<Tensor>, Fault> {
        self.calls += 1;
        match self.call(inputs, deadline, cancel) {
            Ok(answer) => answer,
            Err(broken) => {
                // Whatever state it is in, it is of no more use.
                if let Some(line) = self.line.take() {
                    self.worker.end(line.run);
                }
                Err(match broken {
                    Broken::Lost => Fault::Lost,
                    Broken::Late => Fault::DeadlinePassed,
                })
            }
        }
    }
}

/// Passes a cancellation on to the worker.
struct Canceller {
    control: Arc<Mutex<UnixStream>>,
    instance: u32,
    call: u64,
}

impl Stop for Canceller {
    fn stop(&self) {
        let message = [&self.instance.to_le_bytes()[..], &self.call.to_le_bytes()].concat();
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker that is gone has stopped.
        let _ = send(&mut control, &message);
    }
}
