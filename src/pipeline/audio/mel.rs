use crate::gpuxfile::{Mel, MelLog, MelScale};

use super::cepstrum::cosine_transform;
use super::spectrum::Spectrum;

/// Is a [`Mel`] made ready: its filters and its transform.
pub struct MelPlan {
    mel: Mel,
    spectrum: Spectrum,
    bands: Vec<Band>,
}

/// Is the part of a filter that is not zero.
struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl MelPlan {
    /// Makes the filters for samples of a rate.
    ///
    /// Source: registry-spec/gpuxfile.md, `log_mel`.
    pub fn new(mel: &Mel, rate: u32) -> MelPlan {
        let spectrum = Spectrum::new(mel.size as usize, mel.hop as usize, mel.edge);
        MelPlan {
            bands: bands(mel, rate, spectrum.bins()),
            spectrum,
            mel: mel.clone(),
        }
    }

    /// Gives the logarithm of the power in each band.
    ///
    /// Shape: row-major, `[bands, frames]`, and the number of frames.
    pub fn log(&self, samples: &[f32]) -> (usize, Vec<f32>) {
        let frames = usize::try_from(self.mel.frames(samples.len() as u64)).unwrap_or(0);
        let mut out = vec![0f32; self.bands.len() * frames];
        self.spectrum.powers(samples, frames, |frame, powers| {
            for (at, band) in self.bands.iter().enumerate() {
                let inside = &powers[band.first..band.first + band.weights.len()];
                let power: f64 = band.weights.iter().zip(inside).map(|(w, p)| w * p).sum();
                out[at * frames + frame] = (power as f32).max(1e-10);
            }
        });
        self.finish(&mut out);
        (frames, out)
    }

    /// Gives the first `count` coefficients of the cosine transform of [`MelPlan::log`].
    ///
    /// Shape: row-major, `[count, frames]`, and the number of frames.
    pub fn cepstrum(&self, samples: &[f32], count: usize) -> (usize, Vec<f32>) {
        let (frames, log) = self.log(samples);
        (frames, cosine_transform(&log, self.bands.len(), frames, count))
    }

    fn finish(&self, values: &mut [f32]) {
        let log: fn(f32) -> f32 = match self.mel.log {
            MelLog::Whisper | MelLog::Log10 => f32::log10,
            MelLog::Ln => f32::ln,
            MelLog::Decibel => |value| 10.0 * value.log10(),
        };
        for value in values.iter_mut() {
            *value = log(*value);
        }
        if let Some(range) = self.mel.range {
            let least = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - range as f32;
            for value in values.iter_mut() {
                *value = value.max(least);
            }
        }
        if self.mel.log == MelLog::Whisper {
            for value in values {
                *value = (*value + 4.0) / 4.0;
            }
        }
    }
}

/// Makes triangles: each rises from the middle of the band before it to its own, and falls to that of the next.
fn bands(mel: &Mel, rate: u32, bins: usize) -> Vec<Band> {
    let high = mel.high.unwrap_or(f64::from(rate) / 2.0);
    let (low, high) = (of_hertz(mel.scale, mel.low), of_hertz(mel.scale, high));
    let corner = |n: usize| {
        let part = n as f64 / f64::from(mel.bands + 1);
        to_hertz(mel.scale, low + (high - low) * part)
    };
    let corners: Vec<f64> = (0..mel.bands as usize + 2).map(corner).collect();
    let width = f64::from(rate / 2) / (bins - 1) as f64;
    corners
        .windows(3)
        .map(|corner| {
            let height = match mel.even {
                true => 2.0 / (corner[2] - corner[0]),
                false => 1.0,
            };
            let weight = |bin: usize| {
                let hertz = bin as f64 * width;
                let rise = (hertz - corner[0]) / (corner[1] - corner[0]);
                let fall = (corner[2] - hertz) / (corner[2] - corner[1]);
                rise.min(fall).max(0.0) * height
            };
            let weights: Vec<f64> = (0..bins).map(weight).collect();
            let first = weights.iter().position(|w| *w > 0.0).unwrap_or(0);
            let last = weights.iter().rposition(|w| *w > 0.0).map_or(first, |at| at + 1);
            Band {
                first,
                weights: weights[first..last].to_vec(),
            }
        })
        .collect()
}

fn of_hertz(scale: MelScale, hertz: f64) -> f64 {
    match scale {
        MelScale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
        MelScale::Slaney if hertz < 1000.0 => 3.0 * hertz / 200.0,
        MelScale::Slaney => 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4f64.ln(),
    }
}

fn to_hertz(scale: MelScale, mels: f64) -> f64 {
    match scale {
        MelScale::Htk => 700.0 * (10f64.powf(mels / 2595.0) - 1.0),
        MelScale::Slaney if mels < 15.0 => 200.0 * mels / 3.0,
        MelScale::Slaney => 1000.0 * ((mels - 15.0) * 6.4f64.ln() / 27.0).exp(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_go_there_and_back() {
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for hertz in [0.0, 440.0, 999.9, 1000.0, 4000.0, 8000.0] {
                assert!((to_hertz(scale, of_hertz(scale, hertz)) - hertz).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn silence_is_level() {
        let plan = MelPlan::new(&Mel::whisper(80), 16_000);
        let (frames, log) = plan.log(&[0.0; 16_000]);
        assert_eq!(frames, 100);
        assert!(log.iter().all(|value| (*value + 1.5).abs() < 1e-6));
    }
}
