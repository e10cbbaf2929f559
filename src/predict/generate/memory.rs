use crate::gpuxfile::{Decoder, DecoderInput, Wiring};
use crate::runtime::Value;
use crate::tensor::{DType, Data, Dim, Port, Signature, Tensor};

use super::Error;

/// Holds what lasts from one step to the next.
pub(super) struct Memory {
    /// What the encoder said, by its outputs; taken while a decoder reads it.
    encoded: Vec<Option<Value>>,
    /// The encoder's mask, where it has one.
    mask: Option<Tensor>,
    /// Past key values, by their places in the wiring; taken while a decoder reads them.
    kept: Vec<Option<Value>>,
}

impl Memory {
    /// Is the memory before the first step.
    pub fn new(wiring: &Wiring) -> Self {
        Memory {
            encoded: Vec::new(),
            mask: None,
            kept: wiring.kept.iter().map(|_| None).collect(),
        }
    }

    /// Takes the encoder's mask.
    pub fn set_mask(&mut self, mask: Option<Tensor>) {
        self.mask = mask;
    }

    /// Takes what the encoder said.
    pub fn set_encoded(&mut self, outputs: Vec<Value>) {
        self.encoded = outputs.into_iter().map(Some).collect();
    }

    /// Gathers what a decoder is fed with in a step over the tokens from `fresh` on.
    pub fn inputs(
        &mut self,
        decoder: &Decoder,
        signature: &Signature,
        (sequence, fresh): (&[i64], usize),
    ) -> Result<Vec<Value>, Error> {
        let all = sequence.len() as i64;
        let has_past = fresh > 0;
        // An exported graph with two branches computes neither of them well over nothing.
        let least = usize::from(decoder.inputs.contains(&DecoderInput::HasPast));
        let ports = decoder.inputs.iter().zip(&signature.inputs);
        ports
            .map(|(input, port)| {
                let row = |values: Vec<i64>| integers(port, vec![1, values.len()], values);
                match *input {
                    DecoderInput::Tokens => row(sequence[fresh..].to_vec()),
                    DecoderInput::Mask => row(vec![1; sequence.len()]),
                    DecoderInput::Positions => row((fresh as i64..all).collect()),
                    DecoderInput::CachePositions => {
                        integers(port, vec![sequence.len() - fresh], (fresh as i64..all).collect())
                    }
                    DecoderInput::HasPast => Ok(Tensor::from_vec([1], vec![has_past])?.into()),
                    DecoderInput::EncoderMask => self.encoder_mask(port),
                    DecoderInput::Encoder(output) => {
                        let value = self.encoded.get_mut(output).and_then(Option::take);
                        value.ok_or_else(|| Error::Unfed(port.name.clone()))
                    }
                    DecoderInput::Past(kept) => match self.kept[kept].take() {
                        Some(value) => Ok(value),
                        None if has_past => Err(Error::Unfed(port.name.clone())),
                        None => nothing(port, least),
                    },
                }
            })
            .collect()
    }

    /// Takes back what later steps read again.
    pub fn take_back(&mut self, decoder: &Decoder, inputs: Vec<Value>) {
        for (input, value) in decoder.inputs.iter().zip(inputs) {
            match *input {
                DecoderInput::Encoder(output) => self.encoded[output] = Some(value),
                DecoderInput::Past(kept) => self.kept[kept] = Some(value),
                _ => {}
            }
        }
    }

    /// Keeps the key values that a step gave, and gives its scores.
    ///
    /// What the encoder said is the same in every step, and of a graph of two branches the second does not repeat it.
    pub fn keep(
        &mut self,
        wiring: &Wiring,
        (decoder, is_first): (&Decoder, bool),
        outputs: Vec<Value>,
    ) -> Result<Tensor, Error> {
        let mut scores = None;
        for (at, value) in outputs.into_iter().enumerate() {
            if at == decoder.logits {
                scores = value.into_host();
                continue;
            }
            let Some(kept) = decoder.gives.get(at).copied().flatten() else {
                continue;
            };
            if is_first || !wiring.is_of_encoder(kept) {
                self.kept[kept] = Some(value);
            }
        }
        scores.ok_or(Error::Scores(Vec::new()))
    }

    fn encoder_mask(&self, port: &Port) -> Result<Value, Error> {
        if let Some(mask) = &self.mask {
            return Ok(mask.clone().into());
        }
        let first = self.encoded.first().and_then(Option::as_ref).and_then(Value::as_host);
        let length = first.and_then(|tensor| tensor.shape().get(1).copied());
        let length = length.ok_or_else(|| Error::Unfed(port.name.clone()))?;
        integers(port, vec![1, length], vec![1; length])
    }
}

/// Makes whole numbers of the input's type.
fn integers(port: &Port, shape: Vec<usize>, values: Vec<i64>) -> Result<Value, Error> {
    let tensor = match port.dtype {
        // Tokens and places are far smaller than these numbers go.
        DType::I32 => Tensor::from_vec(shape, values.iter().map(|&value| value as i32).collect::<Vec<_>>())?,
        _ => Tensor::from_vec(shape, values)?,
    };
    Ok(tensor.into())
}

/// Makes the past of a first step: nothing, or as little as the graph bears.
fn nothing(port: &Port, least: usize) -> Result<Value, Error> {
    let dims = port.shape.dims().unwrap_or_default().iter().enumerate();
    let shape: Vec<usize> = dims
        .map(|(axis, dim)| match dim {
            Dim::Fixed(size) => usize::try_from(*size).unwrap_or(usize::MAX),
            _ if axis == 0 => 1,
            _ => least,
        })
        .collect();
    let count = shape.iter().product();
    let data = match port.dtype {
        DType::F16 => Data::F16(vec![half::f16::ZERO; count]),
        DType::BF16 => Data::BF16(vec![half::bf16::ZERO; count]),
        DType::F64 => Data::F64(vec![0.0; count]),
        DType::F32 => Data::F32(vec![0.0; count]),
        _ => return Err(Error::Unfed(port.name.clone())),
    };
    Ok(Tensor::new(shape, data)?.into())
}
