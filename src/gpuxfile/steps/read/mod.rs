//! Steps as a GPUXfile has them, read into what they mean: a file for each kind.

mod output;
mod picture;
mod short;
mod sound;
mod text;

use super::input::InputStep;
use super::options::{Given, Raw};
use super::output::OutputStep;
use super::picture::Color;
use super::presets::{INPUT_PRESETS, OUTPUT_PRESETS, UNIT, input_preset, output_preset};
use super::sound::Mel;
use super::text::Tokenize;
use super::{InputPipeline, OutputPipeline, order};
use crate::gpuxfile::error::{Error, Problem, nearest, printable};
use crate::gpuxfile::fields::Field;
use crate::gpuxfile::keys::{INPUT_STEPS, OUTPUT_STEPS, PREPROCESSING_KEYS, step_keys};
use crate::gpuxfile::node::{Content, Key};
use crate::gpuxfile::read::Reader;
use crate::gpuxfile::source::Located;
use crate::tensor::TensorName;

use output::{ctc, decode_tokens, detect, template};
use picture::{normalize, pad, picture, resize, size, tensor};
use short::short_form;
use sound::{cepstral, frames, mel, sound};
use text::{default_tokenizer, tokenize};

type Steps<T> = Vec<Located<T>>;

/// Reads `preprocessing`: one pipeline, or one for each thing that a person gives, by name.
pub(in crate::gpuxfile) fn read_preprocessing<'n>(
    reader: &mut Reader<'n>,
    field: Field<'n>,
) -> Result<Vec<InputPipeline>, Error> {
    let Content::Map(entries) = &field.node.content else {
        return Ok(vec![input_pipeline(reader, None, &field)?]);
    };
    let is_short = |key: &str| PREPROCESSING_KEYS.contains(&key) || (reader.python && key == "custom");
    if entries.is_empty() || entries.iter().any(|(key, _)| is_short(key)) {
        let short = short_form(reader, field)?;
        return Ok(short.into_iter().collect());
    }
    let mut pipelines = Vec::new();
    for (key, entry) in field.entries()? {
        refuse_misspelt(&field, key, &entry)?;
        let name = Located::new(TensorName::new(key.to_string()), key.span);
        pipelines.push(input_pipeline(reader, Some(name), &entry)?);
    }
    Ok(pipelines)
}

/// Refuses a key that is likely a slip of one of the short form, where its value is no list of steps.
fn refuse_misspelt(field: &Field<'_>, key: &Key<'_>, entry: &Field<'_>) -> Result<(), Error> {
    let is_steps = match &entry.node.content {
        Content::List(_) | Content::Map(_) => true,
        Content::Text(text) => INPUT_STEPS.contains(&text.as_ref()) || INPUT_PRESETS.contains(&text.as_ref()),
        _ => false,
    };
    if is_steps || nearest(key, PREPROCESSING_KEYS).is_none() {
        return Ok(());
    }
    let problem = Problem::UnknownKey {
        key: printable(key),
        known: PREPROCESSING_KEYS.to_vec(),
    };
    Err(Error::at(field.source, key.span, problem))
}

/// Reads `postprocessing`: one pipeline, or one for each output, by name.
pub(in crate::gpuxfile) fn read_postprocessing(field: Field<'_>) -> Result<Vec<OutputPipeline>, Error> {
    let Content::Map(entries) = &field.node.content else {
        return Ok(vec![output_pipeline(None, &field)?]);
    };
    // Several steps in one mapping have no order, which is an error that names the list.
    if entries.iter().all(|(key, _)| OUTPUT_STEPS.contains(&key.as_ref())) {
        return Ok(vec![output_pipeline(None, &field)?]);
    }
    let mut pipelines = Vec::new();
    for (key, entry) in field.entries()? {
        let name = Located::new(TensorName::new(key.to_string()), key.span);
        pipelines.push(output_pipeline(Some(name), &entry)?);
    }
    Ok(pipelines)
}

fn input_pipeline<'n>(
    reader: &mut Reader<'n>,
    name: Option<Located<TensorName>>,
    field: &Field<'n>,
) -> Result<InputPipeline, Error> {
    if matches!(&field.node.content, Content::Map(entries) if entries.len() != 1 || PREPROCESSING_KEYS.contains(&entries[0].0.as_ref()))
    {
        let short = short_form(reader, field.clone())?;
        let short = short.ok_or_else(|| field.kind_error("one step or more"))?;
        return Ok(InputPipeline { name, ..short });
    }
    let mut steps: Steps<InputStep> = Vec::new();
    for item in field.one_or_list()? {
        let raw = Raw::of(&item)?;
        match input_preset(raw.name.value) {
            Some(preset) => {
                raw.alone()?;
                steps.extend(preset.into_iter().map(|step| Located::new(step, raw.span())));
            }
            None => steps.push(Located::new(input_step(&item, &raw)?, raw.span())),
        }
    }
    if steps.is_empty() {
        return Err(field.kind_error("one step or more"));
    }
    Ok(InputPipeline {
        name,
        steps: order::input_order(field.source, steps)?,
    })
}

fn output_pipeline(name: Option<Located<TensorName>>, field: &Field<'_>) -> Result<OutputPipeline, Error> {
    let mut steps: Steps<OutputStep> = Vec::new();
    for item in field.one_or_list()? {
        let raw = Raw::of(&item)?;
        match output_preset(raw.name.value) {
            Some(preset) => {
                raw.alone()?;
                steps.extend(preset.into_iter().map(|step| Located::new(step, raw.span())));
            }
            None => steps.push(Located::new(output_step(&item, &raw)?, raw.span())),
        }
    }
    if steps.is_empty() {
        return Err(field.kind_error("one step or more"));
    }
    order::output_order(field.source, &steps)?;
    Ok(OutputPipeline { name, steps })
}

fn unknown(item: &Field<'_>, raw: &Raw<'_>, steps: &[&'static str], presets: &[&'static str]) -> Error {
    let problem = Problem::UnknownStep {
        name: printable(raw.name.value),
        known: [steps, presets].concat(),
    };
    Error::at(item.source, raw.span(), problem)
}

fn input_step(item: &Field<'_>, raw: &Raw<'_>) -> Result<InputStep, Error> {
    let keys = step_keys(raw.name.value);
    Ok(match raw.name.value {
        "image" => InputStep::Picture(picture(raw, keys)?),
        "resize" => InputStep::Resize(resize(item, raw, keys)?),
        "center_crop" => InputStep::CenterCrop(size(item, raw, keys)?),
        "pad" => InputStep::Pad(pad(item, raw, keys)?),
        "convert" => match raw.given(&[])? {
            Given::Value(field) => InputStep::Convert(field.choice(Color::NAMES)?),
            _ => return Err(lacks(item, raw, "a colour: rgb, bgr or gray")),
        },
        "invert" => raw.alone().map(|()| InputStep::Invert)?,
        "rescale" => match raw.given(&[])? {
            Given::Value(field) => InputStep::Rescale(field.number_within(-1e6, 1e6)?),
            _ => InputStep::Rescale(UNIT),
        },
        "normalize" => match &raw.value {
            Some(field) => InputStep::Normalize(normalize(field)?),
            None => return Err(lacks(item, raw, "a preset, or a mapping with `mean` and `std`")),
        },
        "tensor" => InputStep::Tensor(tensor(raw, keys)?),
        "tokenize" => InputStep::Tokenize(match raw.given(keys)? {
            Given::Nothing => Tokenize::with(default_tokenizer()),
            Given::Value(field) => Tokenize::with(field.path()?.value),
            Given::Options(fields) => tokenize(&fields)?,
        }),
        "sound" => InputStep::Sound(sound(raw, keys)?),
        "standardize" => raw.alone().map(|()| InputStep::Standardize)?,
        "frames" => InputStep::Frames(match raw.options(keys)? {
            Some(fields) => frames(&fields)?,
            None => return Err(lacks(item, raw, "`size`")),
        }),
        "log_mel" => InputStep::LogMel(match raw.options(keys)? {
            Some(fields) => mel(&fields, Mel::whisper(80))?,
            None => Mel::whisper(80),
        }),
        "mfcc" => {
            let mut count = 13;
            let mut form = cepstral();
            if let Some(fields) = raw.options(keys)? {
                form = mel(&fields, form)?;
                if let Some(field) = fields.get("count") {
                    count = field.integer(1, form.bands.into())? as u32;
                }
            }
            InputStep::Mfcc(form, count)
        }
        _ => return Err(unknown(item, raw, INPUT_STEPS, INPUT_PRESETS)),
    })
}

/// Says that a step needs something beside its name.
fn lacks(item: &Field<'_>, raw: &Raw<'_>, expected: &'static str) -> Error {
    let problem = Problem::StepNeeds {
        step: raw.name.value.to_owned(),
        expected,
    };
    Error::at(item.source, raw.span(), problem)
}

fn output_step(item: &Field<'_>, raw: &Raw<'_>) -> Result<OutputStep, Error> {
    let keys = step_keys(raw.name.value);
    let alone = |step: OutputStep| raw.alone().map(|()| step);
    Ok(match raw.name.value {
        "softmax" => alone(OutputStep::Softmax)?,
        "sigmoid" => alone(OutputStep::Sigmoid)?,
        "argmax" => alone(OutputStep::Argmax)?,
        "cls_pool" => alone(OutputStep::ClsPool)?,
        "l2_normalize" => alone(OutputStep::L2Normalize)?,
        "cosine_similarity" => alone(OutputStep::CosineSimilarity)?,
        "mask" => alone(OutputStep::Mask)?,
        "top_k" => OutputStep::TopK(match raw.given(keys)? {
            Given::Nothing => 5,
            Given::Value(field) => field.integer(1, 65_536)?,
            Given::Options(fields) => match fields.get("k") {
                Some(field) => field.integer(1, 65_536)?,
                None => 5,
            },
        }),
        "threshold" => OutputStep::Threshold(match raw.given(keys)? {
            Given::Nothing => 0.5,
            Given::Value(field) => field.number()?,
            Given::Options(fields) => fields.get("at").map(|f| f.number()).transpose()?.unwrap_or(0.5),
        }),
        "mean_pool" => OutputStep::MeanPool {
            mask: match raw.options(keys)?.and_then(|fields| fields.get("mask")) {
                Some(field) => field.port()?,
                None => TensorName::new("attention_mask"),
            },
        },
        "detect" => OutputStep::Detect(detect(item, raw, keys)?),
        "decode_tokens" => OutputStep::DecodeTokens(decode_tokens(raw, keys)?),
        "ctc" => OutputStep::Ctc(ctc(raw, keys)?),
        "template" => match raw.given(&[])? {
            Given::Value(field) => OutputStep::Template(template(&field)?),
            _ => return Err(lacks(item, raw, "a text such as \"{label}: {percent}\"")),
        },
        _ => return Err(unknown(item, raw, OUTPUT_STEPS, OUTPUT_PRESETS)),
    })
}
