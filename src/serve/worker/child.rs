//! The worker's side: loads a model and answers for it until its server is gone.

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::ops::ControlFlow;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use serde_json::{Value, json};

use super::channel::{Channel, invalid, receive, send};
use super::sandbox::restrict_calls;
use super::wire::{Halt, Interruption, Made, Malformed, Order, Outcome, signature_from_json, signature_to_json};
use crate::runtime::{self, Cancel};
use crate::serve::executor::whole;
use crate::serve::{Executor, Fault, GenerateCall, Loaded, Settings};
use crate::tensor::{Signature, Tensor};

/// Is what a worker says of the model that it has loaded.
#[derive(Clone, Debug, PartialEq)]
pub struct Description {
    pub signature: Signature,
    pub provider: String,
    pub digest: String,
    pub settings: Settings,
    pub instances: usize,
    /// What holds the worker back, for people.
    pub held_by: Vec<String>,
}

impl Description {
    fn to_json(&self) -> Value {
        let settings = &self.settings;
        json!({
            "signature": signature_to_json(&self.signature),
            "provider": self.provider,
            "digest": self.digest,
            "instances": self.instances,
            "held_by": self.held_by,
            "max_batch_size": settings.max_batch_size,
            "max_queue_delay_us": settings.max_queue_delay.as_micros() as u64,
            "timeout_us": settings.timeout.map(|timeout| timeout.as_micros() as u64),
            "queue_size": settings.queue_size,
            "even_batches": settings.even_batches,
        })
    }

    pub(super) fn from_json(value: &Value) -> Result<Description, Malformed> {
        let text = |key: &str| value[key].as_str().map(str::to_owned).ok_or(Malformed);
        let count = |key: &str| {
            value[key]
                .as_u64()
                .and_then(|count| usize::try_from(count).ok())
                .ok_or(Malformed)
        };
        let held_by = value["held_by"].as_array().ok_or(Malformed)?.iter();
        Ok(Description {
            signature: signature_from_json(&value["signature"])?,
            provider: text("provider")?,
            digest: text("digest")?,
            instances: count("instances")?,
            held_by: held_by.filter_map(|by| by.as_str().map(str::to_owned)).collect(),
            settings: Settings {
                max_batch_size: count("max_batch_size")?,
                max_queue_delay: Duration::from_micros(value["max_queue_delay_us"].as_u64().ok_or(Malformed)?),
                timeout: value["timeout_us"].as_u64().map(Duration::from_micros),
                queue_size: count("queue_size")?,
                even_batches: value["even_batches"].as_bool().ok_or(Malformed)?,
            },
        })
    }
}

/// Loads a model with `load`, and answers for it over the stream on stdin until that ends.
///
/// `files_are_held` says whether the file system is restricted already. Errors: the streams broke, or the model did not load,
/// which the server is told first.
pub fn serve<E: std::fmt::Display>(files_are_held: bool, load: impl FnOnce() -> Result<Loaded, E>) -> io::Result<()> {
    let mut control = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    // Nothing that the model or a library starts is to hold the stream, or to speak on it.
    let nowhere = std::os::unix::net::UnixStream::pair()?.0;
    rustix::stdio::dup2_stdin(&nowhere)?;
    let loaded = match load() {
        Ok(loaded) => loaded,
        Err(error) => {
            let text: String = error.to_string().chars().take(10_000).collect();
            return send(&mut control, json!({"failed": text}).to_string().as_bytes());
        }
    };
    let held = [("landlock", files_are_held), ("seccomp", restrict_calls())];
    let description = Description {
        signature: loaded.signature,
        provider: loaded.provider,
        digest: loaded.digest,
        settings: loaded.settings,
        instances: loaded.executors.len(),
        held_by: held.iter().filter(|by| by.1).map(|by| by.0.to_owned()).collect(),
    };
    send(&mut control, description.to_json().to_string().as_bytes())?;
    let mut cancels = Vec::new();
    for (at, executor) in loaded.executors.into_iter().enumerate() {
        let channel = receive_channel(&control)?;
        let running = Arc::new(Running::default());
        cancels.push(Arc::clone(&running));
        std::thread::Builder::new()
            .name(format!("instance {at}"))
            .spawn(move || answer_all(channel, executor, &running))?;
    }
    while let Some(message) = receive(&mut control)? {
        let Interruption { instance, call, halt } = Interruption::decode(&message).map_err(invalid)?;
        match (cancels.get(instance as usize), halt) {
            (Some(running), Halt::Cancelled) => running.cancel(call),
            (Some(running), Halt::NoMoreWords) => running.lock().said_enough = Some(call),
            (None, _) => {}
        }
    }
    // The model's leases and watchdogs lived until here.
    drop(loaded.held);
    Ok(())
}

/// Takes the stream and the two memories of an instance.
fn receive_channel(control: &UnixStream) -> io::Result<Channel> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut byte = [0];
    let flags = RecvFlags::CMSG_CLOEXEC;
    recvmsg(control, &mut [IoSliceMut::new(&mut byte)], &mut ancillary, flags)?;
    let mut found: Vec<OwnedFd> = Vec::new();
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(handles) = message {
            found.extend(handles);
        }
    }
    let [stream, reads, writes] = <[OwnedFd; 3]>::try_from(found).map_err(|_| invalid("a channel is missing"))?;
    Ok(Channel::new(stream.into(), writes.into(), reads.into()))
}

/// Is the call that an instance answers, so that it can be cancelled.
#[derive(Default)]
struct Running(Mutex<RunningCall>);

#[derive(Default)]
struct RunningCall {
    call: u64,
    cancel: Cancel,
    /// Calls that were cancelled and have not come yet.
    cancelled: Vec<u64>,
    /// The call of whose text no more is wanted.
    said_enough: Option<u64>,
}

impl Running {
    fn lock(&self) -> MutexGuard<'_, RunningCall> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, call: u64) -> Cancel {
        let mut state = self.lock();
        state.call = call;
        state.cancel = Cancel::default();
        if state.cancelled.contains(&call) {
            state.cancel.cancel();
        }
        state.cancelled.retain(|&cancelled| cancelled > call);
        state.cancel.clone()
    }

    fn cancel(&self, call: u64) {
        let mut state = self.lock();
        match call > state.call {
            true => state.cancelled.push(call),
            false if call == state.call => state.cancel.cancel(),
            false => {}
        }
    }
}

/// The largest inputs whose memory is kept for the next call. Units: bytes.
const MOST_SPARE_BYTES: u64 = 64 << 20;

fn answer_all(mut channel: Channel, mut executor: Box<dyn Executor>, running: &Running) {
    let mut spare = Vec::new();
    while let Ok(Some(message)) = channel.receive(None) {
        let Ok(order) = Order::decode(&message) else { return };
        let made = answer(&mut channel, executor.as_mut(), (&order, &mut spare), running);
        let outcome = Outcome { call: order.call, made };
        if channel.hold(&outcome.encode()).is_err() {
            return;
        }
    }
}

/// Answers one call; its inputs lie in the memory of those before where that is spare, and are spare after it.
fn answer(
    channel: &mut Channel,
    executor: &mut dyn Executor,
    (order, spare): (&Order, &mut Vec<Tensor>),
    running: &Running,
) -> Result<Made, Fault> {
    let broken = |error: io::Error| Fault::Failed(format!("tensors do not pass between the processes: {error}"));
    let cancel = running.start(order.call);
    if order.is_first {
        channel.start_over();
    }
    let inputs = channel
        .take(&order.inputs, u64::MAX, std::mem::take(spare))
        .map_err(broken)?;
    let deadline = order
        .allowed_us
        .map(|allowed| Instant::now() + Duration::from_micros(allowed));
    if let Some(most_tokens) = order.most_tokens {
        let call = GenerateCall {
            inputs,
            most_tokens,
            deadline,
            cancel: &cancel,
        };
        let generated = executor.generate(call, &mut |part| {
            let outcome = Outcome {
                call: order.call,
                made: Ok(Made::Part(part.to_owned())),
            };
            match channel.send(&outcome.encode()) {
                Ok(()) if running.lock().said_enough != Some(order.call) => ControlFlow::Continue(()),
                _ => ControlFlow::Break(()),
            }
        });
        return generated.map(Made::Text);
    }
    let inputs: Vec<runtime::Value> = inputs.into_iter().map(Into::into).collect();
    let outputs = executor.run(&inputs, deadline, &cancel);
    if order.inputs.iter().map(|input| input.size_bytes).sum::<u64>() <= MOST_SPARE_BYTES {
        spare.extend(inputs.into_iter().filter_map(runtime::Value::into_host));
    }
    channel.put(&whole(&outputs?)).map(Made::Outputs).map_err(broken)
}
