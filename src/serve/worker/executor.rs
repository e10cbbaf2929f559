use std::io;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::{send, whole};
use super::process::{Line, Shared};
use super::wire::{Made, Order, Outcome};
use crate::predict::generate::Generated;
use crate::runtime::{Cancel, Stop, Value};
use crate::serve::{Executor, Fault, GenerateCall};
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

    /// Sends a call, and takes what comes of it; parts of a text go to `listen`.
    fn call(
        &mut self,
        inputs: &[Vec<&Tensor>],
        most_tokens: Option<u64>,
        (deadline, cancel): (Option<Instant>, &Cancel),
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Result<Answer, Fault>, Broken> {
        let (instance, call, most_bytes) = (self.instance, self.calls, self.most_bytes);
        let line = match self.line(deadline) {
            Ok(line) => line,
            Err(fault) => return Ok(Err(fault)),
        };
        let left = || deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let order = Order {
            call,
            allowed_us: left().map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX - 1)),
            most_tokens,
            inputs: line.channel.put(inputs)?,
        };
        line.channel.send(&order.encode())?;
        let canceller = Arc::new(Canceller {
            control: Arc::clone(&line.control),
            instance: instance as u32,
            call,
        });
        let _watch = cancel.watch(&canceller);
        loop {
            let message = match line.channel.receive(left().map(|left| left + GRACE)) {
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
            return Ok(match outcome.made {
                Ok(Made::Outputs(placed)) => Ok(Answer::Outputs(line.channel.take(&placed, most_bytes, Vec::new())?)),
                Ok(Made::Text(generated)) => Ok(Answer::Text(generated)),
                Ok(Made::Part(part)) => {
                    if listen(&part).is_break() {
                        canceller.stop();
                    }
                    continue;
                }
                Err(fault) => Err(fault),
            });
        }
    }

    /// Says what a call came to; a worker that cannot be spoken to is of no more use.
    fn settle(&mut self, answer: Result<Result<Answer, Fault>, Broken>) -> Result<Answer, Fault> {
        answer.unwrap_or_else(|broken| {
            if let Some(line) = self.line.take() {
                self.worker.end(line.run);
            }
            Err(match broken {
                Broken::Lost => Fault::Lost,
                Broken::Late => Fault::DeadlinePassed,
            })
        })
    }
}

/// Is what a worker answered.
enum Answer {
    Outputs(Vec<Tensor>),
    Text(Generated),
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
        let inputs = whole(inputs.iter().filter_map(Value::as_host));
        self.run_parts(&inputs, deadline, cancel)
    }

    fn run_parts(
        &mut self,
        inputs: &[Vec<&Tensor>],
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Vec<Tensor>, Fault> {
        self.calls += 1;
        let answer = self.call(inputs, None, (deadline, cancel), &mut |_| ControlFlow::Continue(()));
        match self.settle(answer)? {
            Answer::Outputs(outputs) => Ok(outputs),
            Answer::Text(_) => Err(Fault::Failed(OUT_OF_TURN.to_owned())),
        }
    }

    fn generate(
        &mut self,
        call: GenerateCall<'_>,
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Fault> {
        self.calls += 1;
        let bounds = (call.deadline, call.cancel);
        let inputs = whole(&call.inputs);
        let answer = self.call(&inputs, Some(call.most_tokens), bounds, listen);
        match self.settle(answer)? {
            Answer::Text(generated) => Ok(generated),
            Answer::Outputs(_) => Err(Fault::Failed(OUT_OF_TURN.to_owned())),
        }
    }
}

/// Says that a worker answered something else than it was asked.
const OUT_OF_TURN: &str = "its worker process answered what it was not asked";

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
