use std::io;
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::channel::send;
use super::process::{Line, Shared};
use super::wire::{Halt, Interruption, Made, Order, Outcome};
use crate::predict::generate::Generated;
use crate::runtime::{Cancel, Stop, Value};
use crate::serve::executor::whole;
use crate::serve::{Executor, Fault, GenerateCall, OneCall};
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
    /// The number of the next call.
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
            calls: 1,
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

    /// Sends calls and takes what comes of each, in order; parts of a text go to `listen`.
    fn call(
        &mut self,
        asked: &[Asked<'_>],
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
        answered: &mut dyn FnMut(Result<Answer, Fault>),
    ) -> Result<(), Broken> {
        let (instance, first, most_bytes) = (self.instance as u32, self.calls, self.most_bytes);
        self.calls += asked.len() as u64;
        let line = match self.line(asked.iter().filter_map(|asked| asked.deadline).min()) {
            Ok(line) => line,
            Err(fault) => {
                asked.iter().for_each(|_| answered(Err(fault.clone())));
                return Ok(());
            }
        };
        let mut watches = Vec::with_capacity(asked.len());
        line.channel.start_over();
        for (call, asked) in (first..).zip(asked) {
            let order = Order {
                call,
                is_first: call == first,
                allowed_us: asked
                    .left()
                    .map(|left| u64::try_from(left.as_micros()).unwrap_or(u64::MAX - 1)),
                most_tokens: asked.most_tokens,
                inputs: line.channel.put(asked.inputs)?,
            };
            line.channel.hold(&order.encode())?;
        }
        line.channel.flush()?;
        for (call, asked) in (first..).zip(asked) {
            let control = Arc::clone(&line.control);
            let canceller = Arc::new(Canceller {
                control,
                instance,
                call,
            });
            watches.push((asked.cancel.watch(&canceller), canceller));
        }
        for ((call, asked), (_watch, canceller)) in (first..).zip(asked).zip(watches) {
            answered(line.hear((call, asked), most_bytes, &mut |part| {
                if listen(part).is_break() {
                    canceller.tell(Halt::NoMoreWords);
                }
            })?);
        }
        Ok(())
    }

    /// Gives back the worker of a call that did not come to its end: it is of no more use.
    fn give_up(&mut self, broken: Broken) -> Fault {
        if let Some(line) = self.line.take() {
            self.worker.end(line.run);
        }
        match broken {
            Broken::Lost => Fault::Lost,
            Broken::Late => Fault::DeadlinePassed,
        }
    }

    /// Makes one call.
    fn call_one(&mut self, asked: Asked<'_>, listen: &mut dyn FnMut(&str) -> ControlFlow<()>) -> Result<Answer, Fault> {
        let mut answer = Err(Fault::Lost);
        let called = self.call(&[asked], listen, &mut |made| answer = made);
        match called {
            Ok(()) => answer,
            Err(broken) => Err(self.give_up(broken)),
        }
    }
}

impl Line {
    /// Waits for what comes of a call.
    fn hear(
        &mut self,
        (call, asked): (u64, &Asked<'_>),
        most_bytes: u64,
        listen: &mut dyn FnMut(&str),
    ) -> Result<Result<Answer, Fault>, Broken> {
        loop {
            let message = match self.channel.receive(asked.left().map(|left| left + GRACE)) {
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
                Ok(Made::Outputs(placed)) => Ok(Answer::Outputs(self.channel.take(&placed, most_bytes, Vec::new())?)),
                Ok(Made::Text(generated)) => Ok(Answer::Text(generated)),
                Ok(Made::Part(part)) => {
                    listen(&part);
                    continue;
                }
                Err(fault) => Err(fault),
            });
        }
    }
}

/// Is a call to a worker.
struct Asked<'a> {
    /// Each in the parts that it lies in.
    inputs: &'a [Vec<&'a Tensor>],
    /// The most tokens, where text is wanted.
    most_tokens: Option<u64>,
    deadline: Option<Instant>,
    cancel: &'a Cancel,
}

impl Asked<'_> {
    fn left(&self) -> Option<Duration> {
        let deadline = self.deadline?;
        Some(deadline.saturating_duration_since(Instant::now()))
    }
}

/// Is what a worker answered.
enum Answer {
    Outputs(Vec<Tensor>),
    Text(Generated),
}

impl Answer {
    fn outputs(self) -> Result<Vec<Tensor>, Fault> {
        match self {
            Answer::Outputs(outputs) => Ok(outputs),
            Answer::Text(_) => Err(Fault::Failed(OUT_OF_TURN.to_owned())),
        }
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
        let inputs = whole(inputs.iter().filter_map(Value::as_host));
        self.run_parts(&inputs, deadline, cancel)
    }

    fn run_parts(
        &mut self,
        inputs: &[Vec<&Tensor>],
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Vec<Tensor>, Fault> {
        let asked = Asked {
            inputs,
            most_tokens: None,
            deadline,
            cancel,
        };
        let answer = self.call_one(asked, &mut |_| ControlFlow::Continue(()));
        answer.and_then(Answer::outputs)
    }

    fn most_at_once(&self) -> usize {
        16
    }

    fn run_each(&mut self, calls: &[OneCall<'_>], answered: &mut dyn FnMut(Result<Vec<Tensor>, Fault>)) {
        let inputs: Vec<_> = calls.iter().map(|call| whole(call.inputs)).collect();
        let asked = calls.iter().zip(&inputs).map(|(call, inputs)| Asked {
            inputs,
            most_tokens: None,
            deadline: call.deadline,
            cancel: call.cancel,
        });
        let asked: Vec<Asked<'_>> = asked.collect();
        let mut left = calls.len();
        let called = self.call(&asked, &mut |_| ControlFlow::Continue(()), &mut |made| {
            left -= 1;
            answered(made.and_then(Answer::outputs));
        });
        if let Err(broken) = called {
            // The worker held them all; only the first of them can have been too slow.
            let fault = self.give_up(broken);
            let lost = std::iter::repeat(Fault::Lost);
            std::iter::once(fault)
                .chain(lost)
                .take(left)
                .for_each(|fault| answered(Err(fault)));
        }
    }

    fn generate(
        &mut self,
        call: GenerateCall<'_>,
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Fault> {
        let asked = Asked {
            inputs: &whole(&call.inputs),
            most_tokens: Some(call.most_tokens),
            deadline: call.deadline,
            cancel: call.cancel,
        };
        match self.call_one(asked, listen)? {
            Answer::Text(generated) => Ok(generated),
            Answer::Outputs(_) => Err(Fault::Failed(OUT_OF_TURN.to_owned())),
        }
    }
}

/// Says that a worker answered something else than it was asked.
const OUT_OF_TURN: &str = "its worker process answered what it was not asked";

/// Tells the worker how a call is to end before its time.
struct Canceller {
    control: Arc<Mutex<UnixStream>>,
    instance: u32,
    call: u64,
}

impl Canceller {
    fn tell(&self, halt: Halt) {
        let interruption = Interruption {
            instance: self.instance,
            call: self.call,
            halt,
        };
        let mut control = self.control.lock().unwrap_or_else(PoisonError::into_inner);
        // A worker that is gone has stopped.
        let _ = send(&mut control, &interruption.encode());
    }
}

impl Stop for Canceller {
    fn stop(&self) {
        self.tell(Halt::Cancelled);
    }
}
