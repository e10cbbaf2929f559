use std::sync::Arc;
use std::time::Instant;

use ort::session::{RunOptions, Session as OrtSession, SessionInputValue};
use ort::value::Outlet;

use super::stopper::{Stopper, Timer};
use super::tensors;
use crate::runtime::{Call, Error, Foreign, Session, Value};
use crate::tensor::{Port, Signature};

/// Is a model in ONNX Runtime, on whichever provider it was loaded for.
pub(super) struct GraphSession {
    session: OrtSession,
    signature: Signature,
    stopper: Arc<Stopper>,
    /// Started by the first call that has a deadline.
    timer: Option<Timer>,
}

impl GraphSession {
    /// Joins what ONNX Runtime loaded with what the ONNX file declares.
    ///
    /// Errors: [`Error::PortNames`] where the two have other names or another order.
    pub(super) fn new(session: OrtSession, signature: &Signature) -> Result<Self, Error> {
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
            session,
            signature: signature.clone(),
            stopper: Arc::new(Stopper::new(options)),
            timer: None,
        })
    }

    fn answer(&mut self, inputs: &[SessionInputValue<'_>]) -> Result<Vec<Value>, Error> {
        let outputs = self
            .session
            .run_with_options(inputs, self.stopper.options())
            .map_err(|source| Error::Run {
                source: Foreign(source),
            })?;
        let ports = self.signature.outputs.iter().enumerate();
        ports
            .map(|(at, port)| Ok(Value::Host(tensors::copy(&outputs[at], port)?)))
            .collect()
    }
}

impl Session for GraphSession {
    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn run(&mut self, call: Call<'_>) -> Result<Vec<Value>, Error> {
        let ports = &self.signature.inputs;
        if call.inputs.len() != ports.len() {
            return Err(Error::InputCount {
                expected: ports.len(),
                found: call.inputs.len(),
            });
        }
        let inputs = call
            .inputs
            .iter()
            .zip(ports)
            .map(|(Value::Host(tensor), port)| tensors::lend(tensor, port))
            .collect::<Result<Vec<_>, _>>()?;
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
        let answer = self.answer(&inputs);
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
