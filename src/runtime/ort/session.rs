use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::Outlet;

use super::bound::{Bound, BoundCall};
use super::device::DeviceValue;
use super::gate::{self, Pass};
use super::stopper::{Stopper, Timer};
use super::weights::{Committed, KeptGraph, Shared};
use super::{raw, tensors};
use crate::runtime::{Assignment, Call, Error, Foreign, Session, Value};
use crate::tensor::{DType, Port, Signature};

/// Is a model in ONNX Runtime, on whichever provider it was loaded for.
pub(super) struct GraphSession {
    /// The way to a device's memory, dropped before the session; `None` where ONNX Runtime takes host memory itself.
    bound: Option<Bound>,
    session: OrtSession,
    /// Dropped after the session, which looks into it: fields drop in this order.
    _shared: Option<Arc<Shared>>,
    kept: Option<KeptGraph>,
    signature: Signature,
    assignment: Option<Assignment>,
    stopper: Arc<Stopper>,
    /// Started by the first call that has a deadline.
    timer: Option<Timer>,
    /// Held while a device's memory is given back; fields drop in this order.
    leaving: Option<Pass>,
    /// Whether it must not run beside another session of its kind.
    takes_turns: bool,
}

/// Is whose turn it is among the sessions that must not run beside each other.
static TURN: Mutex<()> = Mutex::new(());

impl Drop for GraphSession {
    fn drop(&mut self) {
        self.leaving = self.bound.is_some().then(gate::together);
    }
}

impl GraphSession {
    /// Joins what ONNX Runtime loaded with what the ONNX file declares.
    ///
    /// Errors: [`Error::PortNames`] where the two have other names or another order.
    pub(super) fn new(committed: Committed, signature: &Signature) -> Result<Self, Error> {
        let Committed { session, shared, kept } = committed;
        same_names(session.inputs(), &signature.inputs)?;
        same_names(session.outputs(), &signature.outputs)?;
        for port in signature.inputs.iter().chain(&signature.outputs) {
            if !port.dtype.is_held() {
                return Err(Error::TypeNotHeld {
                    name: port.name.clone(),
                    dtype: port.dtype,
                });
            }
        }
        let options = RunOptions::new().map_err(|source| Error::Load {
            source: Foreign(source),
        })?;
        Ok(GraphSession {
            bound: None,
            assignment: None,
            session,
            _shared: shared,
            kept,
            signature: signature.clone(),
            stopper: Arc::new(Stopper::new(options)),
            timer: None,
            leaving: None,
            takes_turns: false,
        })
    }

    /// Sends inputs and outputs through buffers on a device.
    pub(super) fn bind(&mut self, bound: Bound) -> Result<(), ort::Error> {
        // The stream is waited for once the outputs are on their way; waiting before that costs twice.
        raw::set_run_option(self.stopper.options(), c"disable_synchronize_execution_providers", c"1")?;
        self.bound = Some(bound);
        Ok(())
    }

    /// Never lets it run beside another session of its kind: all share one device context that is for one thread.
    pub(super) fn take_turns(&mut self) {
        self.takes_turns = true;
    }

    /// Keeps what the session tells about its nodes.
    pub(super) fn explain(&mut self, assignment: Assignment) {
        self.assignment = Some(assignment);
    }

    pub(super) fn inner(&self) -> &OrtSession {
        &self.session
    }

    fn answer(&mut self, call: &Call<'_>) -> Result<Vec<Value>, Error> {
        if let Some(bound) = &mut self.bound {
            return bound.run(BoundCall {
                session: &mut self.session,
                signature: &self.signature,
                options: self.stopper.options(),
                inputs: call.inputs,
                keep: call.keep_on_device,
            });
        }
        let inputs = call.inputs.iter().zip(&self.signature.inputs);
        let inputs: Vec<SessionInputValue<'_>> = inputs
            .map(|(value, port)| match value {
                Value::Host(tensor) => tensors::lend(tensor, port),
                Value::Device(value) if value.is_on_host() => Ok(SessionInputValue::from(value.tensor().view())),
                Value::Device(_) => Err(Error::OtherEngine(port.name.clone())),
            })
            .collect::<Result<_, _>>()?;
        let mut outputs = self
            .session
            .run_with_options(inputs.as_slice(), self.stopper.options())
            .map_err(|source| Error::Run {
                source: Foreign(source),
            })?;
        let ports = self.signature.outputs.iter().enumerate();
        ports
            .map(|(at, port)| {
                let is_kept = call.keep_on_device.get(at).is_some_and(|&keep| keep) && port.dtype != DType::String;
                if !is_kept {
                    return Ok(Value::Host(tensors::copy(&outputs[port.name.as_str()], port)?));
                }
                let not_tensor = || Error::OutputNotTensor(port.name.clone());
                let value = outputs.remove(port.name.as_str()).ok_or_else(not_tensor)?;
                tensors::check_output(&value, port)?;
                let tensor = value.downcast().map_err(|_| not_tensor())?;
                Ok(Value::Device(DeviceValue::on_host(tensor, port)))
            })
            .collect()
    }
}

impl Session for GraphSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn kept_graph(&self) -> Option<&KeptGraph> {
        self.kept.as_ref()
    }

    fn assignment(&self) -> Option<&Assignment> {
        self.assignment.as_ref()
    }

    fn run(&mut self, call: Call<'_>) -> Result<Vec<Value>, Error> {
        let ports = &self.signature.inputs;
        if call.inputs.len() != ports.len() {
            return Err(Error::InputCount {
                expected: ports.len(),
                found: call.inputs.len(),
            });
        }
        if let Some(deadline) = call.deadline {
            if deadline <= Instant::now() {
                return Err(Error::DeadlinePassed);
            }
            if self.timer.is_none() {
                self.timer = Some(Timer::start(&self.stopper)?);
            }
        }
        let stopper = Arc::clone(&self.stopper);
        stopper.begin(call.deadline);
        let watch = call.cancel.watch(&stopper);
        let turn = self
            .takes_turns
            .then(|| TURN.lock().unwrap_or_else(PoisonError::into_inner));
        let answer = self.answer(&call);
        drop(turn);
        drop(watch);
        // A stop explains a failure better than the failure does.
        stopper.end()?;
        answer
    }
}

fn same_names(found: &[Outlet], declared: &[Port]) -> Result<(), Error> {
    let found: Vec<&str> = found.iter().map(Outlet::name).collect();
    let declared: Vec<&str> = declared.iter().map(|port| port.name.as_str()).collect();
    if found == declared {
        return Ok(());
    }
    Err(Error::PortNames {
        declared: declared.into_iter().map(str::to_owned).collect(),
        found: found.into_iter().map(str::to_owned).collect(),
    })
}
