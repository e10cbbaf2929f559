//! What each input of a decoder is fed with, found by the names that exporters give.

use crate::gpuxfile::error::{Error, PortKind, Problem, printable};
use crate::gpuxfile::file::Gpuxfile;
use crate::gpuxfile::source::Span;
use crate::tensor::{DType, Dim, Port, Signature, TensorName};

use super::GENERATION_MODELS;

/// How inputs that take past key values begin, and outputs that give them.
const PASTS: [&str; 2] = ["past_key_values.", "past."];
const PRESENTS: [&str; 2] = ["present.", "present_key_values."];

/// Says which models generate, by their places in [`Gpuxfile::graphs`], and how they hang together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wiring {
    /// The model that reads what is given, once.
    pub encoder: Option<usize>,
    /// The decoder of the first step, and of the others where there is none for them.
    pub decoder: Decoder,
    /// The decoder of all steps but the first.
    pub with_past: Option<Decoder>,
    /// The values that are kept from one step to the next, by the ends of their names.
    pub kept: Vec<String>,
}

/// Says what a decoder is fed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoder {
    /// The model's place.
    pub model: usize,
    /// One for each input, in the signature's order.
    pub inputs: Vec<DecoderInput>,
    /// The output that has the scores of each token, `[1, tokens, vocabulary]`.
    pub logits: usize,
    /// For each output the kept value that it gives.
    pub gives: Vec<Option<usize>>,
}

/// Says what goes into an input of a decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecoderInput {
    /// The tokens of the step. Shape: `[1, tokens]`.
    Tokens,
    /// A 1 for each token so far, that of the step included. Shape: `[1, all]`.
    Mask,
    /// The places of the tokens of the step, from 0. Shape: `[1, tokens]`.
    Positions,
    /// The same without the batch.
    CachePositions,
    /// Whether there are values of a step before. Shape: `[1]`.
    HasPast,
    /// An output of the encoder.
    Encoder(usize),
    /// The encoder's mask: its input of that name, else a 1 for each moment of its first output.
    EncoderMask,
    /// A kept value.
    Past(usize),
}

impl Wiring {
    /// Tells whether a kept value is made by the first step alone: what the encoder said does not change.
    pub fn is_of_encoder(&self, kept: usize) -> bool {
        self.kept[kept].contains("encoder.") && !self.kept[kept].contains("decoder.")
    }

    /// Tells whether steps go on from values of the step before, and not from all tokens again.
    pub fn has_past(&self) -> bool {
        !self.kept.is_empty()
    }
}

impl Gpuxfile {
    /// Finds out how the models hang together; `None` where there is no `generation`.
    ///
    /// `signatures` are those of [`Gpuxfile::graphs`], in that order.
    /// Errors: a model that generation does not know, or that is missing; an input that nothing feeds; no scores; a past
    /// value that no decoder gives; nothing to start from.
    pub fn wiring(&self, signatures: &[&Signature]) -> Result<Option<Wiring>, Error> {
        let Some(generation) = &self.generation else {
            return Ok(None);
        };
        let span = generation.span;
        let graphs = self.graphs();
        let find = |name: &str| graphs.iter().position(|(found, _)| *found == name);
        for (name, path) in graphs.iter().filter(|_| !self.models.is_empty()) {
            if !GENERATION_MODELS.contains(name) {
                let name = printable(name);
                return Err(self.error_at(path.span, Problem::GenerationModel { name }));
            }
        }
        let decoder = match self.models.is_empty() {
            true => Some(0),
            false => find("decoder"),
        };
        let Some(decoder) = decoder else {
            return Err(self.error_at(span, Problem::NoDecoder));
        };
        let encoder = find("encoder");
        if encoder.is_some() && generation.start.is_empty() {
            return Err(self.error_at(span, Problem::NoStart));
        }
        let with_past = find("decoder_with_past");
        let mut all = vec![decoder];
        all.extend(with_past);
        let mut kept = Vec::new();
        for &model in &all {
            kept.extend(signatures[model].inputs.iter().filter_map(|port| past_of(&port.name)));
        }
        kept.sort();
        kept.dedup();
        let wire = Wire {
            file: self,
            span,
            encoder: encoder.map(|at| signatures[at]),
            kept: &kept,
        };
        let wired: Vec<Decoder> = all
            .iter()
            .map(|&model| wire.decoder(graphs[model].0, model, signatures[model]))
            .collect::<Result<_, _>>()?;
        for (at, name) in kept.iter().enumerate() {
            // The first step has to give what the second one takes.
            if !wired[0].gives.contains(&Some(at)) {
                let problem = Problem::NoPresent {
                    model: graphs[decoder].0.to_owned(),
                    name: printable(name),
                };
                return Err(self.error_at(span, problem));
            }
        }
        let mut wired = wired.into_iter();
        Ok(wired.next().map(|decoder| Wiring {
            encoder,
            decoder,
            with_past: wired.next(),
            kept,
        }))
    }

    /// Gives what a person gives values for: the model's inputs, but of a decoder that starts from text its tokens alone.
    pub fn given(&self, signature: &Signature) -> Signature {
        if self.generation.is_none() || self.models.iter().any(|(name, _)| name == "encoder") {
            return signature.clone();
        }
        let is_tokens = |port: &&Port| is_tokens(port.name.as_str());
        Signature {
            inputs: signature.inputs.iter().filter(is_tokens).cloned().collect(),
            outputs: signature.outputs.clone(),
        }
    }
}

/// Is what the inputs of decoders are looked up in.
struct Wire<'a> {
    file: &'a Gpuxfile,
    span: Span,
    encoder: Option<&'a Signature>,
    kept: &'a [String],
}

impl Wire<'_> {
    fn decoder(&self, name: &str, model: usize, signature: &Signature) -> Result<Decoder, Error> {
        let inputs = signature.inputs.iter().map(|port| self.input(name, port));
        let inputs: Vec<DecoderInput> = inputs.collect::<Result<_, _>>()?;
        if !inputs.contains(&DecoderInput::Tokens) {
            let problem = Problem::NoSuchPort {
                kind: PortKind::Input,
                name: "input_ids".to_owned(),
                known: signature
                    .inputs
                    .iter()
                    .map(|port| port.name.as_str().to_owned())
                    .collect(),
            };
            return Err(self.file.error_at(self.span, problem));
        }
        let logits = signature.outputs.iter().position(|port| {
            port.name.as_str() == "logits"
                && matches!(port.dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
                && port.shape.dims().is_none_or(|dims| dims.len() == 3)
        });
        let Some(logits) = logits else {
            let model = name.to_owned();
            return Err(self.file.error_at(self.span, Problem::NoLogits { model }));
        };
        let gives = signature.outputs.iter().map(|port| {
            let end = end_of(port.name.as_str(), &PRESENTS)?;
            self.kept.iter().position(|kept| kept == end)
        });
        Ok(Decoder {
            model,
            inputs,
            logits,
            gives: gives.collect(),
        })
    }

    fn input(&self, model: &str, port: &Port) -> Result<DecoderInput, Error> {
        let name = port.name.as_str();
        if let Some(end) = past_of(&port.name) {
            let kept = self.kept.iter().position(|kept| *kept == end);
            let sized = port
                .shape
                .dims()
                .is_some_and(|dims| dims.iter().skip(1).filter(|dim| !matches!(dim, Dim::Fixed(_))).count() == 1);
            return match kept {
                Some(kept) if sized => Ok(DecoderInput::Past(kept)),
                _ => Err(self.unfed(model, port, "has one dimension besides the batch that is open")),
            };
        }
        let fed = match name {
            _ if is_tokens(name) => Some(DecoderInput::Tokens),
            "attention_mask" | "decoder_attention_mask" => Some(DecoderInput::Mask),
            "position_ids" => Some(DecoderInput::Positions),
            "cache_position" => Some(DecoderInput::CachePositions),
            "use_cache_branch" => Some(DecoderInput::HasPast),
            "encoder_attention_mask" if self.encoder.is_some() => Some(DecoderInput::EncoderMask),
            _ => self.encoder.and_then(|encoder| {
                let same = encoder.outputs.iter().position(|output| output.name == port.name);
                let first = (name == "encoder_hidden_states" && !encoder.outputs.is_empty()).then_some(0);
                same.or(first).map(DecoderInput::Encoder)
            }),
        };
        let Some(fed) = fed else {
            return Err(self.unfed(model, port, "has a name that generation knows"));
        };
        let wanted: &[DType] = match fed {
            DecoderInput::HasPast => &[DType::Bool],
            DecoderInput::Encoder(_) => return Ok(fed),
            _ => &[DType::I64, DType::I32],
        };
        match wanted.contains(&port.dtype) {
            true => Ok(fed),
            false => Err(self.unfed(model, port, "is of whole numbers, or bool for `use_cache_branch`")),
        }
    }

    fn unfed(&self, model: &str, port: &Port, needs: &'static str) -> Error {
        let problem = Problem::Unfed {
            model: model.to_owned(),
            name: printable(port.name.as_str()),
            dtype: port.dtype,
            shape: port.shape.clone(),
            needs,
        };
        self.file.error_at(self.span, problem)
    }
}

fn is_tokens(name: &str) -> bool {
    matches!(name, "input_ids" | "decoder_input_ids")
}

/// Gives the end of the name of an input that takes past key values.
fn past_of(name: &TensorName) -> Option<String> {
    end_of(name.as_str(), &PASTS).map(str::to_owned)
}

fn end_of<'a>(name: &'a str, starts: &[&str]) -> Option<&'a str> {
    starts.iter().find_map(|start| name.strip_prefix(start))
}
