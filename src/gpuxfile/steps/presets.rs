use super::input::InputStep;
use super::output::OutputStep;
use super::picture::{Color, Filter, Normalize, Picture, Resize, ResizeTo, Size};
use super::sound::{Mel, Sound};
use crate::tensor::TensorName;

/// Names the presets of `preprocessing`.
pub const INPUT_PRESETS: &[&str] = &["imagenet", "clip", "yolo", "whisper"];

/// Names the presets of `postprocessing`.
pub const OUTPUT_PRESETS: &[&str] = &["classify", "sentence"];

/// Names what `normalize` may be, besides a mean and a deviation.
pub(super) const NORMALIZATIONS: &[(&str, Normalization)] = &[
    ("imagenet", Normalization::ImageNet),
    ("clip", Normalization::Clip),
    ("half", Normalization::Half),
];

/// Names a well-known mean and deviation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Normalization {
    ImageNet,
    Clip,
    Half,
}

impl Normalization {
    /// Gives the mean and the deviation, of values from 0 to 1.
    pub fn values(self) -> Normalize {
        let (mean, std): (&[f64], &[f64]) = match self {
            Normalization::ImageNet => (&[0.485, 0.456, 0.406], &[0.229, 0.224, 0.225]),
            Normalization::Clip => (
                &[0.481_454_66, 0.457_827_5, 0.408_210_73],
                &[0.268_629_54, 0.261_302_58, 0.275_777_11],
            ),
            Normalization::Half => (&[0.5], &[0.5]),
        };
        Normalize {
            mean: mean.to_vec(),
            std: std.to_vec(),
        }
    }
}

/// The factor that makes 0 to 255 into 0 to 1.
pub(super) const UNIT: f64 = 1.0 / 255.0;

/// Says what a preset of `preprocessing` stands for.
pub(super) fn input_preset(name: &str) -> Option<Vec<InputStep>> {
    let square = |side| Size {
        height: side,
        width: side,
    };
    let resize = |to, filter, antialias| InputStep::Resize(Resize { to, filter, antialias });
    let picture = InputStep::Picture(Picture {
        color: Color::Rgb,
        background: None,
    });
    let steps = match name {
        "imagenet" => vec![
            picture,
            resize(ResizeTo::Shortest(256), Filter::Bilinear, true),
            InputStep::CenterCrop(square(224)),
            InputStep::Rescale(UNIT),
            InputStep::Normalize(Normalization::ImageNet.values()),
        ],
        "clip" => vec![
            picture,
            resize(ResizeTo::Shortest(224), Filter::Bicubic, true),
            InputStep::CenterCrop(square(224)),
            InputStep::Rescale(UNIT),
            InputStep::Normalize(Normalization::Clip.values()),
        ],
        "yolo" => {
            let to = ResizeTo::Letterbox {
                size: square(640),
                fill: 114,
            };
            vec![picture, resize(to, Filter::Bilinear, false), InputStep::Rescale(UNIT)]
        }
        "whisper" => vec![
            InputStep::Sound(Sound {
                rate: 16_000,
                seconds: Some(30.0),
            }),
            InputStep::LogMel(Mel::whisper(80)),
        ],
        _ => return None,
    };
    Some(steps)
}

/// Says what a preset of `postprocessing` stands for.
pub(super) fn output_preset(name: &str) -> Option<Vec<OutputStep>> {
    match name {
        "classify" => Some(vec![OutputStep::Softmax, OutputStep::TopK(5)]),
        "sentence" => Some(vec![
            OutputStep::MeanPool {
                mask: TensorName::new("attention_mask"),
            },
            OutputStep::L2Normalize,
        ]),
        _ => None,
    }
}
