use std::sync::Arc;

use crate::pipeline::{Pipeline, Prepared, Record, Request};
use crate::runtime::{self, Value};
use crate::tensor::{Signature, Tensor};

use super::Error;
use super::batch::{Stacking, Unstackable};

/// Is a loaded model, as predictions call it.
pub trait Model {
    /// Gives what the model takes and gives.
    fn signature(&self) -> &Signature;

    /// Answers one call.
    ///
    /// Shape: inputs and outputs are in the signature's order; an output of which `keep_on_device` says so may stay on
    /// the device, and an empty slice means that none does.
    fn call(&mut self, inputs: &[Value], keep_on_device: &[bool]) -> Result<Vec<Value>, runtime::Error>;
}

/// Joins a pipeline to a model: makes calls of requests and answers of outputs.
#[derive(Clone, Debug)]
pub struct Predictor {
    pub(super) pipeline: Arc<Pipeline>,
    stacking: Result<Stacking, Unstackable>,
    raw: bool,
}

/// Is what a request came to.
pub type Outcome = Result<Output, Error>;

/// Is the answer to one request.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// What the steps of `postprocessing` made.
    Record(Record),
    /// What the model gave, in the signature's order: there are no steps, or they were not wanted.
    Tensors(Vec<Tensor>),
}

impl Predictor {
    /// Joins a pipeline to the model it was made for.
    pub fn new(pipeline: Pipeline) -> Predictor {
        Predictor {
            stacking: Stacking::of(pipeline.signature())
                .map(|stacking| stacking.filling_up(pipeline.filling().as_ref(), pipeline.signature())),
            pipeline: Arc::new(pipeline),
            raw: false,
        }
    }

    /// Takes tensors and gives tensors, for a model that has no steps.
    pub fn without_steps(signature: &Signature) -> Predictor {
        Predictor::new(Pipeline::without_steps(signature))
    }

    /// Gives tensors, whatever `postprocessing` says.
    pub fn raw(self) -> Predictor {
        Predictor { raw: true, ..self }
    }

    /// Gives the pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Tells how requests share a call.
    ///
    /// Errors: why they do not.
    pub fn stacking(&self) -> Result<&Stacking, &Unstackable> {
        self.stacking.as_ref()
    }

    /// Says why requests do not share a call, where they do not.
    pub fn unstackable(&self) -> Option<&Unstackable> {
        self.stacking.as_ref().err()
    }

    /// Makes one request into values for the model: all the work that needs no other request.
    ///
    /// Errors: a thing that is missing, given twice, of the wrong kind, or that cannot be read.
    pub fn prepare(&self, request: &Request) -> Result<Prepared, Error> {
        Ok(self.pipeline.prepare(request)?)
    }

    /// Joins what was prepared into the inputs of one call.
    ///
    /// Shape: one tensor an input, in the signature's order, with the rows of all.
    /// Errors: requests that do not join, because pictures differ in size or texts in length.
    pub fn join(&self, members: &[&Prepared]) -> Result<Vec<Tensor>, Error> {
        Ok(self.pipeline.join(members)?)
    }

    /// Tells whether answers are made of the inputs too.
    pub fn reads_inputs(&self) -> bool {
        !self.raw && self.pipeline.reads_inputs()
    }

    /// Makes answers of one call, one for each of `members`, in order.
    ///
    /// `inputs` are those of [`Predictor::join`], which only [`Predictor::reads_inputs`] needs, and `outputs` what the model
    /// made of them, in the signature's order.
    /// Errors: an output that is not what the steps work on, or has no row for each request.
    pub fn outputs(
        &self,
        inputs: &[Tensor],
        outputs: Vec<Tensor>,
        members: &[&Prepared],
    ) -> Result<Vec<Output>, Error> {
        if !self.raw && self.pipeline.has_answers() {
            let records = self.pipeline.answer(inputs, &outputs, members)?;
            return Ok(records.into_iter().map(Output::Record).collect());
        }
        let [_] = members else {
            let rows: Vec<usize> = members.iter().map(|one| one.rows()).collect();
            let stacking = self
                .stacking
                .as_ref()
                .expect("several share a call only where they stack");
            let lengths = members.iter().map(|one| one.length()).collect();
            let answers = stacking.unstack(outputs, &stacking.shares(rows, lengths))?;
            return Ok(answers.into_iter().map(Output::Tensors).collect());
        };
        Ok(vec![Output::Tensors(outputs)])
    }

    /// Answers requests, as many in one call as `batch` and the model allow, in order.
    pub fn predict(&self, model: &mut dyn Model, requests: &[Request], batch: usize) -> Vec<Outcome> {
        let prepared = requests
            .iter()
            .map(|request| Ok(self.pipeline.prepare(request)?))
            .collect();
        let mut outcomes = self.answer(model, prepared, batch);
        self.compare(&mut outcomes);
        outcomes
    }

    /// Tells whether the answer to one request depends on the others of the call.
    pub fn compares(&self) -> bool {
        !self.raw && self.pipeline.compares()
    }

    /// Answers what was prepared, in order; one that fails does not fail its neighbours.
    pub(super) fn answer(
        &self,
        model: &mut dyn Model,
        prepared: Vec<Result<Prepared, Error>>,
        batch: usize,
    ) -> Vec<Outcome> {
        let batch = if self.stacking.is_ok() { batch.max(1) } else { 1 };
        let mut outcomes: Vec<Option<Outcome>> = Vec::with_capacity(prepared.len());
        let mut ready: Vec<(usize, Prepared)> = Vec::new();
        for (at, one) in prepared.into_iter().enumerate() {
            match one {
                Ok(one) => {
                    ready.push((at, one));
                    outcomes.push(None);
                }
                Err(error) => outcomes.push(Some(Err(error))),
            }
        }
        for group in ready.chunks(batch) {
            for ((at, _), outcome) in group.iter().zip(self.call(model, group)) {
                outcomes[*at] = Some(outcome);
            }
        }
        outcomes.into_iter().flatten().collect()
    }

    /// Answers a group in one call, or, where they do not join or one of them spoils it, one by one.
    fn call(&self, model: &mut dyn Model, group: &[(usize, Prepared)]) -> Vec<Outcome> {
        let members: Vec<&Prepared> = group.iter().map(|(_, one)| one).collect();
        match self.call_once(model, &members) {
            Ok(outputs) => outputs.into_iter().map(Ok).collect(),
            Err(error) if members.len() == 1 => vec![Err(error)],
            Err(_) => members
                .iter()
                .map(|one| {
                    let mut outputs = self.call_once(model, &[*one])?;
                    Ok(outputs.remove(0))
                })
                .collect(),
        }
    }

    fn call_once(&self, model: &mut dyn Model, members: &[&Prepared]) -> Result<Vec<Output>, Error> {
        let values: Vec<Value> = self.join(members)?.into_iter().map(Value::from).collect();
        let outputs = model.call(&values, &[])?;
        let outputs: Vec<Tensor> = outputs.into_iter().filter_map(Value::into_host).collect();
        let inputs: Vec<Tensor> = values.into_iter().filter_map(Value::into_host).collect();
        self.outputs(&inputs, outputs, members)
    }

    /// Compares the answers of all the requests of a call, where the steps ask for it; one that failed fails them all.
    pub fn compare(&self, outcomes: &mut [Outcome]) {
        if !self.compares() {
            return;
        }
        if outcomes.iter().any(Result::is_err) {
            for outcome in outcomes.iter_mut().filter(|outcome| outcome.is_ok()) {
                *outcome = Err(Error::Compared);
            }
            return;
        }
        let records = outcomes.iter_mut().filter_map(|outcome| match outcome {
            Ok(Output::Record(record)) => Some(record),
            _ => None,
        });
        self.pipeline.finish(&mut records.collect::<Vec<_>>());
    }
}
