use super::picture::{Color, Normalize, Pad, Picture, Resize, Size, TensorForm};
use super::sound::{Frames, Mel, Sound};
use super::text::Tokenize;
use crate::gpuxfile::paths::ContextPath;

/// Is one step on the way from what a person gives to tensors.
#[derive(Clone, Debug, PartialEq)]
pub enum InputStep {
    /// Decodes a picture.
    Picture(Picture),
    /// Changes the size of a picture.
    Resize(Resize),
    /// Cuts the middle out of a picture.
    CenterCrop(Size),
    /// Fills a picture up to a size.
    Pad(Pad),
    /// Changes the channels of a picture.
    Convert(Color),
    /// Turns dark into bright: each value v of 0 to 255 becomes 255 − v.
    Invert,
    /// Multiplies each value.
    Rescale(f64),
    /// Subtracts a mean and divides by a deviation, channel by channel.
    Normalize(Normalize),
    /// Says how the values lie in the tensor.
    Tensor(TensorForm),
    /// Makes text into numbers of tokens.
    Tokenize(Tokenize),
    /// Decodes a sound.
    Sound(Sound),
    /// Makes the mean of the samples 0 and their variance 1.
    Standardize,
    /// Cuts samples into frames.
    Frames(Frames),
    /// Makes samples into the logarithm of the power in bands.
    LogMel(Mel),
    /// Makes samples into so many coefficients of the cosine transform of that.
    Mfcc(Mel, u32),
}

/// Says what kind of thing a person gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modality {
    /// A picture, encoded.
    Picture,
    /// Text.
    Text,
    /// A sound, encoded.
    Sound,
}

impl InputStep {
    /// Gives the name in a GPUXfile.
    pub fn name(&self) -> &'static str {
        match self {
            InputStep::Picture(_) => "image",
            InputStep::Resize(_) => "resize",
            InputStep::CenterCrop(_) => "center_crop",
            InputStep::Pad(_) => "pad",
            InputStep::Convert(_) => "convert",
            InputStep::Invert => "invert",
            InputStep::Rescale(_) => "rescale",
            InputStep::Normalize(_) => "normalize",
            InputStep::Tensor(_) => "tensor",
            InputStep::Tokenize(_) => "tokenize",
            InputStep::Sound(_) => "sound",
            InputStep::Standardize => "standardize",
            InputStep::Frames(_) => "frames",
            InputStep::LogMel(_) => "log_mel",
            InputStep::Mfcc(..) => "mfcc",
        }
    }

    /// Tells what the step works on.
    pub fn modality(&self) -> Modality {
        match self {
            InputStep::Tokenize(_) => Modality::Text,
            InputStep::Sound(_)
            | InputStep::Standardize
            | InputStep::Frames(_)
            | InputStep::LogMel(_)
            | InputStep::Mfcc(..) => Modality::Sound,
            _ => Modality::Picture,
        }
    }

    /// Gives the side file that the step reads.
    pub fn file(&self) -> Option<&ContextPath> {
        match self {
            InputStep::Tokenize(tokenize) => Some(&tokenize.tokenizer),
            _ => None,
        }
    }
}
