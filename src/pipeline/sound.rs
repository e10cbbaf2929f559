use half::{bf16, f16};

use crate::gpuxfile::{InputStep, Located, Mel};
use crate::tensor::{DType, Data, Port, Tensor};

use super::Error;
use super::audio::{self, Limits, MelPlan};

/// What is decoded beyond the end that is kept: the filter that changes the rate looks ahead.
const AHEAD_SECONDS: f64 = 0.2;

/// The share of a second that a last window has at least.
const LEAST_WINDOW: usize = 10;

/// Makes a sound into a tensor.
pub(super) struct SoundSteps {
    rate: u32,
    /// How long the sound is made.
    samples: Option<usize>,
    limits: Limits,
    standardize: bool,
    made: Made,
    dtype: DType,
}

/// Says what is made of the samples.
enum Made {
    Samples,
    Frames { size: usize, hop: usize },
    Mel(MelPlan),
    Cepstrum(MelPlan, usize),
}

impl std::fmt::Debug for SoundSteps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SoundSteps")
            .field("rate", &self.rate)
            .finish_non_exhaustive()
    }
}

impl SoundSteps {
    pub fn new(steps: &[Located<InputStep>], port: &Port) -> SoundSteps {
        let mut made = SoundSteps {
            rate: 16_000,
            samples: None,
            limits: Limits::default(),
            standardize: false,
            made: Made::Samples,
            dtype: port.dtype,
        };
        for step in steps {
            let plan = |mel: &Mel, rate| MelPlan::new(mel, rate);
            match &step.value {
                InputStep::Sound(sound) => {
                    made.rate = sound.rate;
                    made.samples = sound.samples().and_then(|samples| usize::try_from(samples).ok());
                    made.limits.wanted_seconds = sound.seconds.map(|seconds| seconds + AHEAD_SECONDS);
                }
                InputStep::Standardize => made.standardize = true,
                InputStep::Frames(frames) => {
                    made.made = Made::Frames {
                        size: frames.size as usize,
                        hop: frames.hop as usize,
                    };
                }
                InputStep::LogMel(mel) => made.made = Made::Mel(plan(mel, made.rate)),
                InputStep::Mfcc(mel, count) => made.made = Made::Cepstrum(plan(mel, made.rate), *count as usize),
                _ => {}
            }
        }
        made
    }

    /// Makes the bytes of a file into a tensor.
    ///
    /// Shape: `[1, …]`, as registry-spec/gpuxfile.md has it for each step.
    pub fn run(&self, bytes: &[u8]) -> Result<Tensor, Error> {
        let sound = audio::decode(bytes, &self.limits)?.resampled(self.rate);
        self.tensor(sound.samples)
    }

    /// Makes the bytes of a file into as many tensors as it takes to hear all of it; one where no length is said.
    ///
    /// Shape: as of [`SoundSteps::run`].
    pub fn windows(&self, bytes: &[u8]) -> Result<Vec<Tensor>, Error> {
        let Some(count) = self.samples.filter(|&count| count > 0) else {
            return Ok(vec![self.run(bytes)?]);
        };
        let limits = Limits {
            wanted_seconds: None,
            ..self.limits
        };
        let sound = audio::decode(bytes, &limits)?.resampled(self.rate);
        let windows = sound.samples.chunks(count).enumerate();
        // What a file has too much, because frames of a codec are full, is no window of its own.
        let least = self.rate as usize / LEAST_WINDOW;
        let windows = windows.filter(|(at, window)| *at == 0 || window.len() >= least);
        windows.map(|(_, window)| self.tensor(window.to_vec())).collect()
    }

    /// Makes samples into a tensor.
    fn tensor(&self, mut samples: Vec<f32>) -> Result<Tensor, Error> {
        // Silence that fills up is no part of the mean.
        if let Some(count) = self.samples {
            samples.truncate(count);
        }
        if self.standardize {
            audio::standardize(&mut samples);
        }
        if let Some(count) = self.samples {
            samples.resize(count, 0.0);
        }
        let (shape, values) = match &self.made {
            Made::Samples => (vec![1, samples.len()], samples),
            Made::Frames { size, hop } => {
                let (count, values) = audio::frames(&samples, *size, *hop);
                (vec![1, count, *size], values)
            }
            Made::Mel(plan) => {
                let (frames, values) = plan.log(&samples);
                (vec![1, values.len() / frames.max(1), frames], values)
            }
            Made::Cepstrum(plan, count) => {
                let (frames, values) = plan.cepstrum(&samples, *count);
                (vec![1, *count, frames], values)
            }
        };
        let data = match self.dtype {
            DType::F16 => Data::F16(values.into_iter().map(f16::from_f32).collect()),
            DType::BF16 => Data::BF16(values.into_iter().map(bf16::from_f32).collect()),
            DType::F64 => Data::F64(values.into_iter().map(f64::from).collect()),
            _ => Data::F32(values),
        };
        Ok(Tensor::new(shape, data)?)
    }
}
