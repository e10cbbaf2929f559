use crate::gpuxfile::error::Error;
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::steps::options::{Given, Raw};
use crate::gpuxfile::steps::sound::{Edge, Frames, Mel, MelLog, MelScale, Sound};

/// The sample rates that recordings have, and the longest sound, in seconds.
const RATES: (u64, u64) = (1_000, 384_000);
const SECONDS_LIMIT: f64 = 7_200.0;
/// The most samples of a frame, and bands of a spectrum.
const FRAME_LIMIT: u64 = 65_536;
const BAND_LIMIT: u64 = 1_024;

pub(super) fn sound(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Sound, Error> {
    let mut sound = Sound {
        rate: 16_000,
        seconds: None,
    };
    let rate = |field: &Field<'_>| field.integer(RATES.0, RATES.1).map(|rate| rate as u32);
    match raw.given(keys)? {
        Given::Nothing => {}
        Given::Value(field) => sound.rate = rate(&field)?,
        Given::Options(fields) => {
            if let Some(field) = fields.get("rate") {
                sound.rate = rate(&field)?;
            }
            let seconds = fields.get("seconds");
            let seconds = seconds.map(|field| field.number_within(0.01, SECONDS_LIMIT));
            sound.seconds = seconds.transpose()?;
        }
    }
    Ok(sound)
}

pub(super) fn frames(fields: &Fields<'_>) -> Result<Frames, Error> {
    let size = fields.need("size")?.integer(1, FRAME_LIMIT)? as u32;
    let hop = match fields.get("hop") {
        Some(field) => field.integer(1, FRAME_LIMIT)? as u32,
        None => size,
    };
    Ok(Frames { size, hop })
}

/// Is what `mfcc` has where nothing else is said.
pub(super) fn cepstral() -> Mel {
    Mel {
        size: 512,
        bands: 40,
        high: None,
        scale: MelScale::Htk,
        even: false,
        edge: Edge::Silence,
        log: MelLog::Decibel,
        range: Some(80.0),
        ..Mel::whisper(40)
    }
}

pub(super) fn mel(fields: &Fields<'_>, default: Mel) -> Result<Mel, Error> {
    let mut mel = default;
    for (key, least, most, value) in [
        ("size", 2, FRAME_LIMIT, &mut mel.size),
        ("hop", 1, FRAME_LIMIT, &mut mel.hop),
        ("bands", 1, BAND_LIMIT, &mut mel.bands),
    ] {
        if let Some(field) = fields.get(key) {
            *value = field.integer(least, most)? as u32;
        }
    }
    let half = RATES.1 as f64 / 2.0;
    if let Some(field) = fields.get("low") {
        mel.low = field.number_within(0.0, half)?;
    }
    if let Some(field) = fields.get("high") {
        mel.high = Some(field.number_within(1.0, half)?);
    }
    if let Some(field) = fields.get("scale") {
        mel.scale = field.choice(MelScale::NAMES)?;
    }
    if let Some(field) = fields.get("even") {
        mel.even = field.boolean()?;
    }
    if let Some(field) = fields.get("edge") {
        mel.edge = field.choice(Edge::NAMES)?;
    }
    if let Some(field) = fields.get("log") {
        mel.log = field.choice(MelLog::NAMES)?;
        // The default is of the default form.
        if fields.get("range").is_none() && mel.log != MelLog::Whisper {
            mel.range = None;
        }
    }
    if let Some(field) = fields.get("range") {
        mel.range = Some(field.number_within(0.001, 1_000.0)?);
    }
    Ok(mel)
}
