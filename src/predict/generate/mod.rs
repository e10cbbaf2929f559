//! Text that is made token by token: an encoder and a decoder, or a decoder alone, in greedy search.
//!
//! ```text
//! request ─ pipeline ─▶ encoder ─▶ decoder ─▶ scores ─▶ token ─▶ words
//!                                   ▲  │ past key values    │
//!                                   └──┴────────────────────┘
//! ```
//!
//! Past key values go from one step to the next as the engine gave them: on a device where it keeps them there, and else
//! moved, not copied.

mod choice;
mod error;
mod memory;

pub use error::Error;

use std::ops::ControlFlow;

use crate::gpuxfile::{Decoder, Generation, Gpuxfile, Wiring};
use crate::pipeline::{Pipeline, Request, SideFiles, Vocabulary};
use crate::runtime::Value;
use crate::tensor::{Signature, Tensor};

use super::Model;
use choice::Choice;
use memory::Memory;

/// Generates text, by the `generation` of a GPUXfile.
#[derive(Debug)]
pub struct Generator {
    generation: Generation,
    wiring: Wiring,
    pipeline: Pipeline,
    vocabulary: Vocabulary,
    signatures: Vec<Signature>,
}

/// Is what was generated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    /// The text, without tokens that stand for none.
    pub text: String,
    /// The tokens after those that were given, the one that ended it included.
    pub tokens: Vec<u32>,
    /// Why there are no more.
    pub end: End,
}

/// Says why generation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// One of the tokens that end it came.
    Token,
    /// There are as many tokens as there may be.
    Length,
    /// Nobody listened any more.
    Stopped,
}

impl End {
    /// Names it, as answers do: `token`, `length` or `stopped`.
    pub fn name(self) -> &'static str {
        match self {
            End::Token => "token",
            End::Length => "length",
            End::Stopped => "stopped",
        }
    }
}

impl Generator {
    /// Gets the `generation` of a GPUXfile ready; `None` where it has none.
    ///
    /// `signatures` are those of [`Gpuxfile::graphs`], and `files` the side files that [`Generator::files`] names.
    /// Errors: models that do not hang together, a file that is missing or is not what it should be.
    pub fn new(gpuxfile: &Gpuxfile, signatures: &[&Signature], files: &SideFiles) -> Result<Option<Generator>, Error> {
        let (Some(wiring), Some(generation)) = (gpuxfile.wiring(signatures).map_err(Box::new)?, &gpuxfile.generation)
        else {
            return Ok(None);
        };
        let given = wiring.encoder.unwrap_or(wiring.decoder.model);
        Ok(Some(Generator {
            pipeline: Pipeline::new(gpuxfile, &gpuxfile.given(signatures[given]), files)?,
            vocabulary: Vocabulary::read(generation.tokenizer.as_str(), files)?,
            generation: generation.value.clone(),
            signatures: signatures.iter().map(|&signature| signature.clone()).collect(),
            wiring,
        }))
    }

    /// Gives the place of the model that takes what a person gives, in the order of [`Gpuxfile::graphs`].
    pub fn entry(&self) -> usize {
        self.wiring.encoder.unwrap_or(self.wiring.decoder.model)
    }

    /// Gives the pipeline that makes tensors of requests.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// Answers one request; `listen` is told each part of the text when it is certain, and may end it.
    ///
    /// A sound that is longer than the model hears is heard in windows, one after the other, and what is said of each follows
    /// what was said of the one before; `max_tokens` bounds each.
    ///
    /// `models` are loaded from [`Gpuxfile::graphs`], in that order.
    /// Errors: [`Error`]; the models stay usable.
    pub fn generate(
        &self,
        models: &mut [&mut dyn Model],
        request: &Request,
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Error> {
        let mut all = Generated {
            text: String::new(),
            tokens: Vec::new(),
            end: End::Length,
        };
        for window in self.pipeline.windows(request)? {
            let given = self.pipeline.join(&[&window])?;
            let one = self.continue_from(models, given, u64::MAX, listen)?;
            all.text.push_str(&one.text);
            all.tokens.extend(one.tokens);
            all.end = one.end;
            if one.end == End::Stopped {
                break;
            }
        }
        Ok(all)
    }

    /// Generates from the inputs of the model that takes what a person gives, in its signature's order: at most so many tokens,
    /// or what the GPUXfile allows where that is less.
    ///
    /// `models` and `listen` are those of [`Generator::generate`]. Errors: [`Error`]; the models stay usable.
    pub fn continue_from(
        &self,
        models: &mut [&mut dyn Model],
        given: Vec<Tensor>,
        most_tokens: u64,
        listen: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<Generated, Error> {
        let most_tokens = most_tokens.min(self.generation.max_tokens);
        let mut memory = Memory::new(&self.wiring);
        let mut sequence: Vec<i64> = self.generation.start.iter().map(|&token| token.into()).collect();
        match self.wiring.encoder {
            Some(encoder) => self.encode(models, encoder, given, &mut memory)?,
            None => sequence.extend(tokens_of(&given)?),
        }
        if sequence.is_empty() {
            return Err(Error::NoTokens);
        }
        let choice = Choice::new(&self.generation);
        let mut words = self.vocabulary.words();
        let mut text = String::new();
        let mut end = End::Length;
        let mut count = 0;
        while count < most_tokens {
            let decoder = self.decoder_of_step(count);
            let fresh = match count > 0 && self.wiring.has_past() {
                true => sequence.len() - 1,
                false => 0,
            };
            let scores = self.step(models, decoder, (&sequence, fresh), &mut memory)?;
            let token = choice.of(&scores, sequence.len() as u64, count == 0)?;
            sequence.push(token.into());
            count += 1;
            let part = words.push(token)?;
            text.push_str(&part);
            if !part.is_empty() && listen(&part).is_break() {
                end = End::Stopped;
                break;
            }
            if self.generation.end.contains(&token) {
                end = End::Token;
                break;
            }
        }
        let (rest, tokens) = words.finish()?;
        text.push_str(&rest);
        if !rest.is_empty() && end != End::Stopped {
            // There is nothing left to end.
            let _ = listen(&rest);
        }
        Ok(Generated { text, tokens, end })
    }

    /// Runs the encoder once, and keeps what it says.
    fn encode(
        &self,
        models: &mut [&mut dyn Model],
        encoder: usize,
        given: Vec<Tensor>,
        memory: &mut Memory,
    ) -> Result<(), Error> {
        let signature = &self.signatures[encoder];
        let mask = signature
            .inputs
            .iter()
            .position(|port| port.name.as_str() == "attention_mask");
        memory.set_mask(mask.map(|at| given[at].clone()));
        let values: Vec<Value> = given.into_iter().map(Value::from).collect();
        // Without a mask of its own its length is that of the first output, which is looked at for that.
        let keep: Vec<bool> = (0..signature.outputs.len())
            .map(|at| at > 0 || mask.is_some())
            .collect();
        memory.set_encoded(models[encoder].call(&values, &keep)?);
        Ok(())
    }

    fn decoder_of_step(&self, step: u64) -> &Decoder {
        match (&self.wiring.with_past, step) {
            (Some(with_past), 1..) => with_past,
            _ => &self.wiring.decoder,
        }
    }

    /// Runs a decoder over the tokens from `fresh` on, and gives the scores of what comes next.
    fn step(
        &self,
        models: &mut [&mut dyn Model],
        decoder: &Decoder,
        (sequence, fresh): (&[i64], usize),
        memory: &mut Memory,
    ) -> Result<Tensor, Error> {
        let signature = &self.signatures[decoder.model];
        let inputs = memory.inputs(decoder, signature, (sequence, fresh))?;
        let keep: Vec<bool> = decoder.gives.iter().map(Option::is_some).collect();
        let outputs = models[decoder.model].call(&inputs, &keep);
        memory.take_back(decoder, inputs);
        memory.keep(&self.wiring, (decoder, fresh == 0), outputs?)
    }
}

/// Gives the tokens that were given, from the only input.
fn tokens_of(given: &[Tensor]) -> Result<Vec<i64>, Error> {
    let Some(tensor) = given.first() else {
        return Ok(Vec::new());
    };
    if let Some(tokens) = tensor.elements::<i64>() {
        return Ok(tokens.to_vec());
    }
    match tensor.elements::<i32>() {
        Some(tokens) => Ok(tokens.iter().map(|&token| token.into()).collect()),
        None => Err(Error::NoTokens),
    }
}
