use crate::gpuxfile::{Feed, InputPipeline, InputStep, Modality};
use crate::tensor::{Signature, Tensor};

use super::picture::PictureSteps;
use super::prepared::{Filling, Prepared};
use super::sound::SoundSteps;
use super::text::TextSteps;
use super::{Error, Item, SideFiles, Source};

/// Is one pipeline of `preprocessing`, ready to work.
#[derive(Debug)]
pub(super) struct InputSteps {
    name: Option<String>,
    feeds: Vec<Feed>,
    work: Work,
}

#[derive(Debug)]
enum Work {
    Picture(PictureSteps),
    Text(Box<TextSteps>),
    Sound(Box<SoundSteps>),
}

impl InputSteps {
    /// Gets the steps of an input ready, for the inputs of the model that they feed.
    ///
    /// Errors: a side file that is missing or not what it should be.
    pub fn new(
        pipeline: &InputPipeline,
        feeds: Vec<Feed>,
        signature: &Signature,
        files: &SideFiles,
    ) -> Result<InputSteps, Error> {
        let tokenize = pipeline.steps.iter().find_map(|step| match &step.value {
            InputStep::Tokenize(tokenize) => Some(tokenize),
            _ => None,
        });
        let work = match tokenize {
            Some(tokenize) => Work::Text(Box::new(TextSteps::new(tokenize, files)?)),
            None => {
                let port = &signature.inputs[feeds.first().map_or(0, |feed| feed.input)];
                match pipeline.modality() {
                    Modality::Sound => Work::Sound(Box::new(SoundSteps::new(&pipeline.steps, port))),
                    _ => Work::Picture(PictureSteps::new(&pipeline.steps, port)),
                }
            }
        };
        Ok(InputSteps {
            name: pipeline.name.as_ref().map(|name| name.value.as_str().to_owned()),
            feeds,
            work,
        })
    }

    /// Gives what a person gives for them.
    pub fn source(&self) -> Source {
        Source {
            name: self.name.clone(),
            modality: match self.work {
                Work::Picture(_) => Modality::Picture,
                Work::Text(_) => Modality::Text,
                Work::Sound(_) => Modality::Sound,
            },
        }
    }

    /// Gives the inputs of the model that they feed.
    pub fn feeds(&self) -> &[Feed] {
        &self.feeds
    }

    /// Names the steps, for messages.
    pub fn label(&self) -> String {
        self.source().label()
    }

    /// Tells whether a name means these steps: their own, or what kind of thing they take where they have none.
    pub fn is_called(&self, name: &str) -> bool {
        self.label() == name
    }

    /// Makes a thing into values.
    pub fn prepare(&self, at: usize, item: &Item, signature: &Signature, prepared: &mut Prepared) -> Result<(), Error> {
        if let Some(feed) = self.feeds.iter().find(|feed| prepared.has(feed.input)) {
            return Err(Error::GivenTwice(signature.inputs[feed.input].name.to_string()));
        }
        match (&self.work, item) {
            (Work::Picture(steps), Item::Picture(bytes)) => {
                let (tensor, frame) = steps.run(bytes)?;
                prepared.frame.get_or_insert(frame);
                for feed in &self.feeds {
                    prepared.put(feed.input, tensor.clone());
                }
                Ok(())
            }
            (Work::Picture(_), other) => Err(Error::Kind {
                name: self.label(),
                expected: "a picture",
                found: other.kind(),
            }),
            (Work::Sound(steps), Item::Sound(bytes)) => {
                let tensor = steps.run(bytes)?;
                for feed in &self.feeds {
                    prepared.put(feed.input, tensor.clone());
                }
                Ok(())
            }
            (Work::Sound(_), other) => Err(Error::Kind {
                name: self.label(),
                expected: "a sound",
                found: other.kind(),
            }),
            (Work::Text(steps), item) => {
                let tokens = steps.encode(item, &self.label())?;
                prepared.texts.insert(at, tokens);
                prepared.promised.extend(self.feeds.iter().map(|feed| feed.input));
                Ok(())
            }
        }
    }

    /// Makes a sound into values for each of the calls that it takes to hear all of it; `None` where these steps take
    /// something else.
    pub fn windows(&self, item: &Item) -> Option<Result<Vec<Tensor>, Error>> {
        match (&self.work, item) {
            (Work::Sound(steps), Item::Sound(bytes)) => Some(steps.windows(bytes)),
            _ => None,
        }
    }

    /// Says how the inputs are filled up, where calls of different length go together.
    pub fn filling(&self) -> Option<Filling> {
        match &self.work {
            Work::Picture(_) | Work::Sound(_) => None,
            Work::Text(steps) => steps.filling(&self.feeds),
        }
    }

    /// Joins what only the whole call tells the size of.
    pub fn join(
        &self,
        at: usize,
        prepared: &[&Prepared],
        signature: &Signature,
        tensors: &mut [Option<Tensor>],
    ) -> Result<(), Error> {
        match &self.work {
            Work::Picture(_) | Work::Sound(_) => Ok(()),
            Work::Text(steps) => steps.join(at, prepared, (&self.feeds, signature), tensors),
        }
    }
}
