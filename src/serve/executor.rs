use std::error::Error as StdError;
use std::ops::ControlFlow;
use std::time::Instant;

use super::speaker::NO_WORDS;
use crate::predict::generate::Generated;
use crate::runtime::{self, Call, Cancel, Session, Value};
use crate::tensor::Tensor;

/// Answers the calls of one instance: a session of this process or one of a worker's.
pub trait Executor: Send {
    /// Answers one call; tensors are in the signature's order.
    ///
    /// Errors: [`Fault`]; the executor stays usable.
    fn run(&mut self, inputs: &[Value], deadline: Option<Instant>, cancel: &Cancel) -> Result<Vec<Tensor>, Fault>;

    /// Answers one call whose inputs lie in several parts, which join along dimension 0; what need not join them first does not.
    ///
    /// Errors: as of [`Executor::run`]; parts that do not join.
    fn run_parts(
        &mut self,
        inputs: &[Vec<&Tensor>],
        deadline: Option<Instant>,
        cancel: &Cancel,
    ) -> Result<Vec<Tensor>, Fault> {
        let joined = inputs.iter().map(|parts| Tensor::join_rows(parts).map(Value::from));
        let joined: Vec<Value> = joined
            .collect::<Result<_, _>>()
            .map_err(|error| Fault::Refused(error.to_string()))?;
        self.run(&joined, deadline, cancel)
    }

    /// Tells how many calls it may be given at once, where to give it each by itself costs more than a brisk one does.
    fn most_at_once(&self) -> usize {
        1
    }

    /// Answers several calls, each by itself; `answered` is told what each came to, in their order.
    fn run_each(&mut self, calls: &[OneCall<'_>], answered: &mut dyn FnMut(Result<Vec<Tensor>, Fault>)) {
        for call in calls {
            answered(self.run_parts(&whole(call.inputs), call.deadline, call.cancel));
        }
    }

    /// Tells whether any thread may use it, and at once: it waits for nothing but the processor.
    fn runs_anywhere(&self) -> bool {
        false
    }

    /// Generates text; `listen` is told each part when it is certain, and may end it.
    ///
    /// Errors: [`Fault`], where the model generates none too; the executor stays usable.
    fn generate(
        &mut self,
        _call: GenerateCall<'_>,
        _listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Fault> {
        Err(Fault::Refused(NO_WORDS.to_owned()))
    }
}

/// Says of tensors that each lies in one part.
pub(super) fn whole<'t>(tensors: impl IntoIterator<Item = &'t Tensor>) -> Vec<Vec<&'t Tensor>> {
    tensors.into_iter().map(|tensor| vec![tensor]).collect()
}

/// Is one of several calls that an executor is given at once.
pub struct OneCall<'a> {
    /// Tensors in the signature's order.
    pub inputs: &'a [Tensor],
    /// When it must be done.
    pub deadline: Option<Instant>,
    /// Ends it at once.
    pub cancel: &'a Cancel,
}

/// Is a wish for text.
pub struct GenerateCall<'a> {
    /// What the model that takes what people give is given, in the order of its signature.
    pub inputs: Vec<Tensor>,
    /// The most tokens; the artifact's own bound where that is less.
    pub most_tokens: u64,
    /// When it must be done.
    pub deadline: Option<Instant>,
    /// Ends it at once.
    pub cancel: &'a Cancel,
}

/// Says why a call has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The caller stopped it.
    #[error("the call was cancelled")]
    Cancelled,
    /// It took longer than its deadline allows.
    #[error("the deadline passed before the answer came")]
    DeadlinePassed,
    /// The model does not take these inputs, whatever the server does.
    #[error("{0}")]
    Refused(String),
    /// The model or its engine failed.
    #[error("{0}")]
    Failed(String),
    /// The worker ended before it answered.
    #[error("its worker process ended")]
    Lost,
    /// The worker ended, and is not there again yet.
    #[error("its worker process is being started again")]
    Away,
}

impl Executor for Box<dyn Session> {
    fn run(&mut self, inputs: &[Value], deadline: Option<Instant>, cancel: &Cancel) -> Result<Vec<Tensor>, Fault> {
        let call = Call {
            inputs,
            keep_on_device: &[],
            deadline,
            cancel,
        };
        let values = Session::run(self.as_mut(), call)?;
        Ok(values.into_iter().filter_map(Value::into_host).collect())
    }
}

/// Is a session that runs on the processor's cores alone, and so on any thread.
pub struct OnCores(pub Box<dyn Session>);

impl Executor for OnCores {
    fn run(&mut self, inputs: &[Value], deadline: Option<Instant>, cancel: &Cancel) -> Result<Vec<Tensor>, Fault> {
        Executor::run(&mut self.0, inputs, deadline, cancel)
    }

    fn runs_anywhere(&self) -> bool {
        true
    }
}

impl From<runtime::Error> for Fault {
    fn from(error: runtime::Error) -> Self {
        use runtime::Error;
        let text = chain(&error);
        match error {
            Error::Cancelled => Fault::Cancelled,
            Error::DeadlinePassed => Fault::DeadlinePassed,
            // What the model cannot compute, such as an index that is out of range, is in the inputs.
            Error::InputCount { .. }
            | Error::InputType { .. }
            | Error::InputShape { .. }
            | Error::Input { .. }
            | Error::Run { .. }
            | Error::Embedded(_) => Fault::Refused(text),
            _ => Fault::Failed(text),
        }
    }
}

/// Writes an error and its causes on one line.
pub(super) fn chain(error: &dyn StdError) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
