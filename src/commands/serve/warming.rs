//! The calls that a model answers before it is ready.

use crate::commands::synthetic;
use crate::predict::generate::Generator;
use crate::predict::{Item, Modality, Predictor, Request, Source};
use crate::serve::{Settings, Skill, WarmUp};
use crate::tensor::{Signature, Tensor};

/// Gives one call of each number of rows that a model will get ready for, where it says how large a row is or that follows from
/// a word or a silence; to one that generates, a word or a silence to go on from.
pub fn calls(signature: &Signature, settings: &Settings, skill: &Skill) -> Vec<WarmUp> {
    match skill {
        Skill::Answers(predictor) => {
            let inputs = |rows| {
                let sizes = synthetic::Sizes {
                    batch: rows,
                    ..synthetic::Sizes::default()
                };
                let made_up = synthetic::inputs(signature, &sizes).ok();
                made_up.or_else(|| inputs_of_things(predictor, rows))
            };
            settings.warm_sizes().filter_map(inputs).map(WarmUp::Call).collect()
        }
        Skill::Generates(generator) => inputs_to_go_on_from(generator).map(WarmUp::Words).into_iter().collect(),
    }
}

/// Makes inputs of so many rows from what people give, for a model whose shapes are only known from some.
fn inputs_of_things(predictor: &Predictor, rows: usize) -> Option<Vec<Tensor>> {
    if rows > 1 && predictor.unstackable().is_some() {
        return None;
    }
    let prepared = predictor.prepare(&things(predictor.pipeline().sources())?).ok()?;
    predictor.join(&vec![&prepared; rows]).ok()
}

fn inputs_to_go_on_from(generator: &Generator) -> Option<Vec<Tensor>> {
    let pipeline = generator.pipeline();
    let windows = pipeline.windows(&things(pipeline.sources())?).ok()?;
    pipeline.join(&[windows.first()?]).ok()
}

/// Gives a word for each text and a silence for each sound; `None` where there are others or none.
fn things(sources: Vec<Source>) -> Option<Request> {
    let item = |source: Source| match source.modality {
        Modality::Text => Some((source.name, Item::Text("a".to_owned()))),
        Modality::Sound => Some((source.name, Item::Sound(silence()))),
        Modality::Picture => None,
    };
    let items: Vec<_> = sources.into_iter().map(item).collect::<Option<_>>()?;
    (!items.is_empty()).then_some(Request { items })
}

/// Makes a WAV file of a second in which nothing is to be heard.
fn silence() -> Vec<u8> {
    const RATE: u32 = 16_000;
    const SAMPLE_BYTES: u16 = 2;
    let samples = vec![0; RATE as usize * usize::from(SAMPLE_BYTES)];
    let size = samples.len() as u32;
    let format = [
        &1u16.to_le_bytes()[..],
        &1u16.to_le_bytes(),
        &RATE.to_le_bytes(),
        &(RATE * u32::from(SAMPLE_BYTES)).to_le_bytes(),
        &SAMPLE_BYTES.to_le_bytes(),
        &(8 * SAMPLE_BYTES).to_le_bytes(),
    ];
    let format = format.concat();
    let parts = [
        b"RIFF",
        &(36 + size).to_le_bytes()[..],
        b"WAVEfmt ",
        &(format.len() as u32).to_le_bytes(),
        &format,
        b"data",
        &size.to_le_bytes(),
        &samples,
    ];
    parts.concat()
}
