//! An instance of a model that generates text: all sessions of the artifact, and what joins them.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Instant;

use super::executor::chain;
use super::{Executor, Fault, GenerateCall};
use crate::predict::Model;
use crate::predict::generate::{Error, Generated, Generator};
use crate::runtime::{self, Call, Cancel, Session, Value};
use crate::tensor::{Signature, Tensor};

/// Generates text with sessions of this process.
pub struct Speaker {
    generator: Arc<Generator>,
    sessions: Vec<Box<dyn Session>>,
}

impl Speaker {
    /// Joins the sessions of an artifact, in the order of its models, to what generates with them.
    pub fn new(generator: Arc<Generator>, sessions: Vec<Box<dyn Session>>) -> Speaker {
        Speaker { generator, sessions }
    }
}

/// Says that a model has no words.
pub(super) const NO_WORDS: &str = "the model generates no text";

impl Executor for Speaker {
    fn run(&mut self, inputs: &[Value], deadline: Option<Instant>, cancel: &Cancel) -> Result<Vec<Tensor>, Fault> {
        let entry = self.generator.entry();
        Executor::run(&mut self.sessions[entry], inputs, deadline, cancel)
    }

    fn generate(
        &mut self,
        call: GenerateCall<'_>,
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Fault> {
        let GenerateCall {
            inputs,
            most_tokens,
            deadline,
            cancel,
        } = call;
        let mut parts: Vec<Part<'_>> = self
            .sessions
            .iter_mut()
            .map(|session| Part {
                session,
                deadline,
                cancel,
            })
            .collect();
        let mut models: Vec<&mut dyn Model> = Vec::with_capacity(parts.len());
        for part in &mut parts {
            models.push(part);
        }
        Ok(self.generator.continue_from(&mut models, inputs, most_tokens, listen)?)
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::Runtime(error) => error.into(),
            error => Fault::Refused(chain(&error)),
        }
    }
}

/// Is one of the sessions during a call.
struct Part<'a> {
    session: &'a mut Box<dyn Session>,
    deadline: Option<Instant>,
    cancel: &'a Cancel,
}

impl Model for Part<'_> {
    fn signature(&self) -> &Signature {
        self.session.signature()
    }

    fn call(&mut self, inputs: &[Value], keep_on_device: &[bool]) -> Result<Vec<Value>, runtime::Error> {
        // Between two steps nothing else looks.
        if self.cancel.is_cancelled() {
            return Err(runtime::Error::Cancelled);
        }
        if self.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
            return Err(runtime::Error::DeadlinePassed);
        }
        let call = Call {
            inputs,
            keep_on_device,
            deadline: self.deadline,
            cancel: self.cancel,
        };
        Session::run(self.session.as_mut(), call)
    }
}
