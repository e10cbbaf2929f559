//! What people have made into tensors, and tensors made into answers: the steps of a GPUXfile, at work.
//!
//! No sessions: [`Pipeline`] makes a model's inputs of [`Request`]s and [`Record`]s of its outputs; `predict` joins the
//! two. Everything here may be used from many threads at once.

mod answer;
pub mod audio;
mod draw;
mod error;
mod input;
mod item;
mod output;
mod picture;
mod prepared;
mod sound;
mod text;
mod tokenizer;
mod words;

pub use answer::{Answer, AnswerKind, Found, Label, Mask, Record};
pub use draw::annotate;
pub use error::Error;
pub use item::{Item, Request};
pub use picture::{Frame, Limits};
pub use prepared::{Filling, Prepared};
pub use words::{Vocabulary, Words};

use std::collections::BTreeMap;

use crate::gpuxfile::{Gpuxfile, Labels, Modality};
use crate::quiet;
use crate::tensor::{Port, Signature, Tensor};

use input::InputSteps;
use output::OutputSteps;

/// Is what a GPUXfile says of inputs and outputs, ready to work.
#[derive(Debug)]
pub struct Pipeline {
    signature: Signature,
    inputs: Vec<InputSteps>,
    outputs: Vec<OutputSteps>,
}

/// Is one thing that a person gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The name; `None` where there is one thing and it has none.
    pub name: Option<String>,
    /// What kind of thing it is.
    pub modality: Modality,
}

impl Source {
    /// Gives the name, or what kind of thing it is where it has none.
    pub fn label(&self) -> String {
        let kind = match self.modality {
            Modality::Picture => "image",
            Modality::Text => "text",
            Modality::Sound => "sound",
        };
        self.name.clone().unwrap_or_else(|| kind.to_owned())
    }
}

/// Holds the side files that steps and labels read, by path.
pub type SideFiles = BTreeMap<String, Vec<u8>>;

impl Pipeline {
    /// Gets the steps of a GPUXfile ready for a model.
    ///
    /// `files` holds those that [`Pipeline::files`] names.
    /// Errors: steps that do not fit the model, a file that is missing or is not what it should be.
    pub fn new(gpuxfile: &Gpuxfile, signature: &Signature, files: &SideFiles) -> Result<Pipeline, Error> {
        let feeds = gpuxfile.feeds(signature).map_err(Box::new)?;
        let inputs = gpuxfile.preprocessing.iter().zip(feeds);
        let inputs = inputs.map(|(pipeline, feeds)| InputSteps::new(pipeline, feeds, signature, files));
        let outputs = gpuxfile.postprocessing.iter();
        let outputs = outputs.map(|pipeline| OutputSteps::new(pipeline, gpuxfile, signature, files));
        Ok(Pipeline {
            signature: signature.clone(),
            inputs: inputs.collect::<Result<_, _>>()?,
            outputs: outputs.collect::<Result<_, _>>()?,
        })
    }

    /// Makes a pipeline of a model whose GPUXfile has no steps: tensors are given, and tensors are the answer.
    pub fn without_steps(signature: &Signature) -> Pipeline {
        Pipeline {
            signature: signature.clone(),
            inputs: Vec::new(),
            outputs: Vec::new(),
        }
    }

    /// Names the side files that the steps of a GPUXfile read.
    pub fn files(gpuxfile: &Gpuxfile) -> Vec<String> {
        let steps = gpuxfile
            .step_files()
            .into_iter()
            .map(|(path, _)| path.as_str().to_owned());
        let labels = gpuxfile.outputs.iter().filter_map(|port| match &port.labels {
            Some(Labels::File(path)) => Some(path.as_str().to_owned()),
            _ => None,
        });
        let labels = labels.filter(|_| !gpuxfile.postprocessing.is_empty());
        let mut all: Vec<String> = steps.chain(labels).collect();
        all.sort();
        all.dedup();
        all
    }

    /// Gives what a person gives; empty where tensors are given.
    pub fn sources(&self) -> Vec<Source> {
        self.inputs.iter().map(InputSteps::source).collect()
    }

    /// Tells whether outputs become answers, and not only tensors.
    pub fn has_answers(&self) -> bool {
        !self.outputs.is_empty()
    }

    /// Names the outputs that become answers, in the order of their answers.
    pub fn answer_names(&self) -> Vec<&str> {
        self.outputs.iter().map(OutputSteps::name).collect()
    }

    /// Says what the answers will be, in their order.
    pub fn answer_kinds(&self) -> Vec<AnswerKind> {
        self.outputs.iter().map(OutputSteps::kind).collect()
    }

    /// Tells whether answers are made of the inputs of a call too, and not of its outputs alone.
    pub fn reads_inputs(&self) -> bool {
        self.outputs.iter().any(OutputSteps::reads_inputs)
    }

    /// Tells whether the answer to one request depends on the others of the call.
    pub fn compares(&self) -> bool {
        self.outputs.iter().any(OutputSteps::compares)
    }

    /// Says how the inputs of one text are filled up, so that texts of different length go into one call; `None` where that
    /// would change what the model makes of them, or may.
    pub fn filling(&self) -> Option<Filling> {
        let mut texts = self
            .inputs
            .iter()
            .filter(|steps| steps.source().modality == Modality::Text);
        match (texts.next(), texts.next()) {
            (Some(steps), None) => steps.filling(),
            _ => None,
        }
    }

    /// Gives what the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Makes one request into values for the model: all the work that needs no other request.
    ///
    /// Errors: a thing that is missing, given twice, of the wrong kind, or that cannot be read.
    pub fn prepare(&self, request: &Request) -> Result<Prepared, Error> {
        let mut prepared = Prepared::default();
        let mut given = vec![false; self.inputs.len()];
        for (name, item) in &request.items {
            if let Item::Tensor(tensor) = item {
                self.take_tensor(name.as_deref(), tensor, &mut prepared)?;
                continue;
            }
            let at = self.source_at(name.as_deref())?;
            if std::mem::replace(&mut given[at], true) {
                return Err(Error::GivenTwice(self.inputs[at].label()));
            }
            // Decoders and tokenizers are others' code, and a file may be made to break them.
            let work = || self.inputs[at].prepare(at, item, &self.signature, &mut prepared);
            quiet::catch(work).map_err(Error::Broke)??;
        }
        for (steps, _) in self.inputs.iter().zip(&given).filter(|(_, given)| !**given) {
            if !steps.feeds().iter().all(|feed| prepared.has(feed.input)) {
                return Err(Error::Missing(steps.label()));
            }
        }
        match (0..self.signature.inputs.len()).find(|&at| !prepared.has(at)) {
            Some(at) => Err(Error::Missing(self.signature.inputs[at].name.to_string())),
            None => Ok(prepared),
        }
    }

    /// Makes one request into values for as many calls as it takes to hear all of a long sound; one for all else.
    ///
    /// Errors: as of [`Pipeline::prepare`].
    pub fn windows(&self, request: &Request) -> Result<Vec<Prepared>, Error> {
        let sources = request.items.iter().enumerate().filter_map(|(at, (name, item))| {
            let steps = self.inputs.get(self.source_at(name.as_deref()).ok()?)?;
            Some((at, steps, quiet::catch(|| steps.windows(item)).transpose()?))
        });
        let Some((at, steps, windows)) = sources.into_iter().next() else {
            return Ok(vec![self.prepare(request)?]);
        };
        let windows = windows.map_err(Error::Broke)??;
        let prepare = |window: Tensor| {
            let mut request = request.clone();
            request.items.remove(at);
            for feed in steps.feeds() {
                let name = self.signature.inputs[feed.input].name.as_str().to_owned();
                request.items.push((Some(name), Item::Tensor(window.clone())));
            }
            self.prepare(&request)
        };
        windows.into_iter().map(prepare).collect()
    }

    /// Joins what was prepared into one call.
    ///
    /// Shape: one tensor an input, in the signature's order, with a row for each request; texts are filled up to the
    /// longest.
    /// Errors: requests that do not join, because pictures differ in size or texts in length.
    pub fn join(&self, prepared: &[&Prepared]) -> Result<Vec<Tensor>, Error> {
        let mut tensors: Vec<Option<Tensor>> = self.signature.inputs.iter().map(|_| None).collect();
        for (at, steps) in self.inputs.iter().enumerate() {
            steps.join(at, prepared, &self.signature, &mut tensors)?;
        }
        for (at, slot) in tensors.iter_mut().enumerate().filter(|(_, slot)| slot.is_none()) {
            *slot = Some(self.join_tensors(at, prepared)?);
        }
        Ok(tensors.into_iter().flatten().collect())
    }

    /// Makes answers of the outputs of one call, one for each of `prepared`, in order.
    ///
    /// `inputs` and `outputs` are those of the call, in the signature's order; of the inputs none need be there unless
    /// [`Pipeline::reads_inputs`].
    /// Errors: an output that is not what the steps work on, or has no row for each request.
    pub fn answer(&self, inputs: &[Tensor], outputs: &[Tensor], prepared: &[&Prepared]) -> Result<Vec<Record>, Error> {
        let mut records: Vec<Record> = prepared.iter().map(|_| Record::default()).collect();
        for steps in &self.outputs {
            let answers = steps.answer(inputs, outputs, prepared, &self.signature)?;
            for (record, answer) in records.iter_mut().zip(answers) {
                record.answers.push((steps.name().to_owned(), answer));
            }
        }
        Ok(records)
    }

    /// Compares the answers of all the requests of a call, where the steps ask for it.
    pub fn finish(&self, records: &mut [&mut Record]) {
        for (at, steps) in self.outputs.iter().enumerate().filter(|(_, steps)| steps.compares()) {
            steps.compare(at, records);
        }
    }

    fn source_at(&self, name: Option<&str>) -> Result<usize, Error> {
        let names = || self.inputs.iter().map(InputSteps::label).collect();
        match (name, self.inputs.as_slice()) {
            (None, [_]) => Ok(0),
            (None, _) => Err(Error::Unnamed(names())),
            (Some(name), all) => {
                let found = all.iter().position(|steps| steps.is_called(name));
                found.ok_or_else(|| Error::Unknown {
                    name: name.to_owned(),
                    known: names(),
                })
            }
        }
    }

    fn take_tensor(&self, name: Option<&str>, tensor: &Tensor, prepared: &mut Prepared) -> Result<(), Error> {
        let inputs = &self.signature.inputs;
        let at = match (name, inputs.as_slice()) {
            (None, [_]) => Some(0),
            (None, _) => {
                return Err(Error::Unnamed(
                    inputs.iter().map(|port| port.name.to_string()).collect(),
                ));
            }
            (Some(name), _) => inputs.iter().position(|port| port.name.as_str() == name),
        };
        let at = at.ok_or_else(|| Error::Unknown {
            name: name.unwrap_or_default().to_owned(),
            known: inputs.iter().map(|port| port.name.to_string()).collect(),
        })?;
        match prepared.put(at, tensor.clone()) {
            true => Ok(()),
            false => Err(Error::GivenTwice(inputs[at].name.to_string())),
        }
    }

    fn join_tensors(&self, at: usize, prepared: &[&Prepared]) -> Result<Tensor, Error> {
        let port: &Port = &self.signature.inputs[at];
        let parts: Vec<&Tensor> = prepared.iter().filter_map(|one| one.tensor(at)).collect();
        if parts.len() != prepared.len() {
            return Err(Error::Missing(port.name.to_string()));
        }
        if let [only] = parts.as_slice() {
            return Ok((*only).clone());
        }
        Tensor::join_rows(&parts).map_err(|source| Error::Join {
            input: port.name.to_string(),
            source,
        })
    }
}
