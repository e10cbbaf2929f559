//! What the text of a list of steps tells by itself: which step may follow which.

use crate::gpuxfile::error::{Error, Problem};
use crate::gpuxfile::source::{Located, Source};

use super::input::{InputStep, Modality};
use super::output::OutputStep;
use super::picture::{Color, Picture};
use super::sound::Sound;

/// Checks the order of steps, and puts in front what the steps of a picture or a sound begin with, where it is left
/// out.
pub(super) fn input_order(source: &Source, steps: Vec<Located<InputStep>>) -> Result<Vec<Located<InputStep>>, Error> {
    let mut steps = steps;
    let Some(first) = steps.first() else {
        return Ok(steps);
    };
    let begins = match (first.value.modality(), &first.value) {
        (Modality::Picture, InputStep::Picture(_)) | (Modality::Sound, InputStep::Sound(_)) => None,
        (Modality::Picture, _) => Some(InputStep::Picture(Picture {
            color: Color::Rgb,
            background: None,
        })),
        (Modality::Sound, _) => Some(InputStep::Sound(Sound {
            rate: 16_000,
            seconds: None,
        })),
        (Modality::Text, _) => None,
    };
    if let Some(step) = begins {
        let span = first.span;
        steps.insert(0, Located::new(step, span));
    }
    for pair in steps.windows(2) {
        let [before, step] = pair else { continue };
        if let Some(why) = input_fault(&before.value, &step.value) {
            let problem = Problem::StepOrder {
                step: step.value.name(),
                before: before.value.name(),
                why,
            };
            return Err(Error::at(source, step.span, problem));
        }
    }
    bound_frequencies(source, &mut steps)?;
    let mut channels = 1;
    for step in &steps {
        match &step.value {
            InputStep::Picture(picture) => channels = picture.color.channels(),
            InputStep::Convert(color) => channels = color.channels(),
            InputStep::Normalize(normalize) if normalize.mean.len() != 1 && normalize.mean.len() != channels => {
                let problem = Problem::MeanCount {
                    means: normalize.mean.len(),
                    channels,
                };
                return Err(Error::at(source, step.span, problem));
            }
            _ => {}
        }
    }
    Ok(steps)
}

/// Says why a step cannot follow another.
fn input_fault(before: &InputStep, step: &InputStep) -> Option<&'static str> {
    /// Where in a list a step of a picture stands.
    fn stage(step: &InputStep) -> u8 {
        match step {
            InputStep::Picture(_) => 0,
            InputStep::Rescale(_) => 2,
            InputStep::Normalize(_) => 3,
            InputStep::Tensor(_) => 4,
            _ => 1,
        }
    }
    if before.modality() != step.modality() {
        return Some("one works on another kind of thing than the other");
    }
    match step.modality() {
        Modality::Picture => {}
        Modality::Text => return Some("text becomes numbers in one step"),
        Modality::Sound => return sound_fault(before, step),
    }
    match (stage(before), stage(step)) {
        (0..=3, 0) => Some("a picture is decoded once, at the start"),
        (earlier, later) if earlier == later && later != 1 => Some("it is done once"),
        (2..=4, 1) => Some("pixels are moved before their values are scaled"),
        (earlier, later) if earlier > later => Some("the order is rescale, normalize, tensor"),
        _ => None,
    }
}

/// Says why a step of a sound cannot follow another.
fn sound_fault(before: &InputStep, step: &InputStep) -> Option<&'static str> {
    match (before, step) {
        (_, InputStep::Sound(_)) => Some("a sound is decoded once, at the start"),
        (InputStep::Standardize, InputStep::Standardize) => Some("it is done once"),
        (InputStep::Sound(_) | InputStep::Standardize, _) => None,
        _ => Some("that made the tensor already"),
    }
}

/// Fills in the highest frequency of bands where it is left to the rate, and checks it where it is not.
fn bound_frequencies(source: &Source, steps: &mut [Located<InputStep>]) -> Result<(), Error> {
    let mut half = 0.0;
    for step in steps {
        let (name, span) = (step.value.name(), step.span);
        match &mut step.value {
            InputStep::Sound(sound) => half = f64::from(sound.rate) / 2.0,
            InputStep::LogMel(mel) | InputStep::Mfcc(mel, _) => {
                let high = *mel.high.get_or_insert(half);
                let fault = |key: &str, value: f64, least, most| {
                    let problem = Problem::Interval {
                        key: format!("{name}.{key}"),
                        text: value.to_string(),
                        least,
                        most,
                    };
                    Err(Error::at(source, span, problem))
                };
                if high > half {
                    return fault("high", high, 1.0, half);
                }
                if mel.low >= high {
                    return fault("low", mel.low, 0.0, high);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Is what the steps of an output have made so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Made {
    /// What the model gave, or numbers like it.
    Numbers,
    /// An answer that a template can write.
    Answer,
    /// Text, or numbers that are the answer.
    End,
}

/// Checks the order of steps.
pub(super) fn output_order(source: &Source, steps: &[Located<OutputStep>]) -> Result<(), Error> {
    let mut made = Made::Numbers;
    let mut before = None;
    for step in steps {
        let needed = match step.value {
            OutputStep::Template(_) => Made::Answer,
            _ => Made::Numbers,
        };
        if made != needed {
            let problem = match before {
                None => Problem::StepNeeds {
                    step: step.value.name().to_owned(),
                    expected: "a step before it that makes labels, boxes or text",
                },
                Some(before) => Problem::StepOrder {
                    step: step.value.name(),
                    before,
                    why: match (made, needed) {
                        (Made::Numbers, _) => "it writes labels, boxes or text, and there are none yet",
                        _ => "that made the answer already",
                    },
                },
            };
            return Err(Error::at(source, step.span, problem));
        }
        made = made_by(&step.value);
        before = Some(step.value.name());
    }
    Ok(())
}

fn made_by(step: &OutputStep) -> Made {
    match step {
        OutputStep::Softmax
        | OutputStep::Sigmoid
        | OutputStep::MeanPool { .. }
        | OutputStep::ClsPool
        | OutputStep::L2Normalize => Made::Numbers,
        OutputStep::Argmax
        | OutputStep::TopK(_)
        | OutputStep::Threshold(_)
        | OutputStep::Detect(_)
        | OutputStep::DecodeTokens(_)
        | OutputStep::Ctc(_) => Made::Answer,
        OutputStep::CosineSimilarity | OutputStep::Mask | OutputStep::Template(_) => Made::End,
    }
}
