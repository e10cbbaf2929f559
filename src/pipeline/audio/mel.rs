use super::Error;
use super::cepstrum::cosine_transform;
use super::spectrum::{Edge, Spectrum};

/// Says how frequencies are spaced as the ear hears them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MelScale {
    /// Linear below 1,000 Hz and logarithmic above.
    Slaney,
    /// `2595 · log₁₀(1 + f / 700)`.
    Htk,
}

/// Says what a mel spectrum is made of.
#[derive(Clone, Debug, PartialEq)]
pub struct Mel {
    /// Samples in a second.
    pub rate: u32,
    /// Samples of one transform.
    pub size: usize,
    /// Samples from one frame to the next.
    pub hop: usize,
    /// How many bands.
    pub bands: usize,
    /// Where the first band starts. Units: Hz.
    pub low: f64,
    /// Where the last band ends. Units: Hz.
    pub high: f64,
    /// How bands are spaced.
    pub scale: MelScale,
    /// Whether each band is divided by half its width, so that bands of noise are alike.
    pub even: bool,
    /// What lies beyond the ends.
    pub edge: Edge,
}

/// Says what is made of the power in a band.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum LogForm {
    /// `log₁₀(max(x, 10⁻¹⁰))` without the last frame, at least 8 below the greatest, then `(x + 4) / 4`.
    Whisper,
    /// `log₁₀(max(x, 10⁻¹⁰))`.
    Log10,
    /// `ln(max(x, 10⁻¹⁰))`.
    Ln,
    /// `10 · log₁₀(max(x, 10⁻¹⁰))`, at least this much below the greatest.
    Decibel { range: Option<f32> },
}

impl Mel {
    /// Is what Whisper takes, of 80 bands or 128.
    pub fn whisper(bands: usize) -> Mel {
        Mel {
            rate: 16_000,
            size: 400,
            hop: 160,
            bands,
            low: 0.0,
            high: 8_000.0,
            scale: MelScale::Slaney,
            even: true,
            edge: Edge::Reflect,
        }
    }

    fn check(&self) -> Result<(), Error> {
        let within = |what, value: f64, least: f64, most: f64| match (least..=most).contains(&value) {
            true => Ok(()),
            false => Err(Error::Parameter {
                what,
                value,
                least,
                most,
            }),
        };
        within("the size of a frame", self.size as f64, 2.0, 65_536.0)?;
        within("the hop", self.hop as f64, 1.0, 65_536.0)?;
        within("the number of bands", self.bands as f64, 1.0, 1_024.0)?;
        within("the highest frequency", self.high, 1.0, f64::from(self.rate) / 2.0)?;
        within("the lowest frequency", self.low, 0.0, self.high)
    }
}

/// Is a [`Mel`] made ready: its filters and its transform.
pub struct MelPlan {
    spectrum: Spectrum,
    bands: Vec<Band>,
}

/// Is the part of a filter that is not zero.
struct Band {
    first: usize,
    weights: Vec<f64>,
}

impl MelPlan {
    /// Makes the filters.
    ///
    /// Errors: [`Error::Parameter`] for sizes that make no spectrum.
    /// Source: registry-spec/gpuxfile.md, `log_mel`.
    pub fn new(mel: &Mel) -> Result<MelPlan, Error> {
        mel.check()?;
        let spectrum = Spectrum::new(mel.size, mel.hop, mel.edge);
        let bands = bands(mel, spectrum.bins());
        Ok(MelPlan { spectrum, bands })
    }

    /// Gives the logarithm of the power in each band.
    ///
    /// Shape: row-major, `[bands, frames]`, and the number of frames.
    pub fn log(&self, samples: &[f32], form: LogForm) -> (usize, Vec<f32>) {
        let all = self.spectrum.frames(samples.len());
        let frames = match form {
            LogForm::Whisper => all.saturating_sub(1),
            _ => all,
        };
        let mut out = vec![0f32; self.bands.len() * frames];
        self.spectrum.powers(samples, frames, |frame, powers| {
            for (at, band) in self.bands.iter().enumerate() {
                let inside = &powers[band.first..band.first + band.weights.len()];
                let power: f64 = band.weights.iter().zip(inside).map(|(w, p)| w * p).sum();
                out[at * frames + frame] = (power as f32).max(1e-10);
            }
        });
        finish(&mut out, form);
        (frames, out)
    }

    /// Gives the first `count` coefficients of the cosine transform of [`MelPlan::log`].
    ///
    /// Shape: row-major, `[count, frames]`, and the number of frames.
    pub fn cepstrum(&self, samples: &[f32], form: LogForm, count: usize) -> (usize, Vec<f32>) {
        let (frames, log) = self.log(samples, form);
        (frames, cosine_transform(&log, self.bands.len(), frames, count))
    }
}

fn finish(values: &mut [f32], form: LogForm) {
    let scale = |values: &mut [f32], factor: f32| {
        for value in values {
            *value = factor * value.log10();
        }
    };
    let floor = |values: &mut [f32], range: f32| {
        let least = values.iter().copied().fold(f32::NEG_INFINITY, f32::max) - range;
        for value in values {
            *value = value.max(least);
        }
    };
    match form {
        LogForm::Whisper => {
            scale(values, 1.0);
            floor(values, 8.0);
            for value in values {
                *value = (*value + 4.0) / 4.0;
            }
        }
        LogForm::Log10 => scale(values, 1.0),
        LogForm::Ln => {
            for value in values {
                *value = value.ln();
            }
        }
        LogForm::Decibel { range } => {
            scale(values, 10.0);
            if let Some(range) = range {
                floor(values, range);
            }
        }
    }
}

/// Makes triangles: each rises from the middle of the band before it to its own, and falls to that of the next.
fn bands(mel: &Mel, bins: usize) -> Vec<Band> {
    let (low, high) = (mel.scale.of_hertz(mel.low), mel.scale.of_hertz(mel.high));
    let corner = |n: usize| {
        let part = n as f64 / (mel.bands + 1) as f64;
        mel.scale.to_hertz(low + (high - low) * part)
    };
    let corners: Vec<f64> = (0..mel.bands + 2).map(corner).collect();
    let width = f64::from(mel.rate / 2) / (bins - 1) as f64;
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

impl MelScale {
    fn of_hertz(self, hertz: f64) -> f64 {
        match self {
            MelScale::Htk => 2595.0 * (1.0 + hertz / 700.0).log10(),
            MelScale::Slaney if hertz < 1000.0 => 3.0 * hertz / 200.0,
            MelScale::Slaney => 15.0 + (hertz / 1000.0).ln() * 27.0 / 6.4f64.ln(),
        }
    }

    fn to_hertz(self, mels: f64) -> f64 {
        match self {
            MelScale::Htk => 700.0 * (10f64.powf(mels / 2595.0) - 1.0),
            MelScale::Slaney if mels < 15.0 => 200.0 * mels / 3.0,
            MelScale::Slaney => 1000.0 * ((mels - 15.0) * 6.4f64.ln() / 27.0).exp(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_go_there_and_back() {
        for scale in [MelScale::Slaney, MelScale::Htk] {
            for hertz in [0.0, 440.0, 999.9, 1000.0, 4000.0, 8000.0] {
                assert!((scale.to_hertz(scale.of_hertz(hertz)) - hertz).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn sizes_that_make_no_spectrum_are_refused() {
        let refused = |change: fn(&mut Mel)| {
            let mut mel = Mel::whisper(80);
            change(&mut mel);
            MelPlan::new(&mel).err().map(|error| error.to_string())
        };
        assert_eq!(refused(|_| {}), None);
        assert_eq!(
            refused(|mel| mel.hop = 0).unwrap(),
            "the hop is 0, and must be from 1 to 65536"
        );
        assert!(
            refused(|mel| mel.high = 9000.0)
                .unwrap()
                .starts_with("the highest frequency is 9000")
        );
        assert!(refused(|mel| mel.bands = 0).is_some());
        assert!(refused(|mel| mel.size = 1).is_some());
    }

    #[test]
    fn silence_is_level() {
        let plan = MelPlan::new(&Mel::whisper(80)).unwrap();
        let (frames, log) = plan.log(&[0.0; 16_000], LogForm::Whisper);
        assert_eq!(frames, 100);
        assert!(log.iter().all(|value| (*value + 1.5).abs() < 1e-6));
    }
}
