use std::f64::consts::PI;

use super::Sound;

/// Zero crossings of the filter on each side of its middle.
const ZEROS: f64 = 64.0;
/// Where the filter lets half through, as a part of the lower of the two Nyquist frequencies.
const ROLLOFF: f64 = 0.947_593_716_739_959_6;
/// The form of the Kaiser window.
const BETA: f64 = 14.769_656_459_379_492;
/// Filters are kept for all phases of the ratio where they have at most this many weights.
const MOST_WEIGHTS: usize = 4 << 20;

impl Sound {
    /// Gives the sound at another rate, by a windowed sinc.
    ///
    /// Shape: ⌈samples · `rate` / self.rate⌉ samples.
    /// Source: registry-spec/gpuxfile.md, `resample`.
    pub fn resampled(&self, rate: u32) -> Sound {
        let samples = match self.rate == rate {
            true => self.samples.clone(),
            false => resample(&self.samples, self.rate, rate),
        };
        Sound { rate, samples }
    }
}

fn resample(samples: &[f32], from: u32, to: u32) -> Vec<f32> {
    let divisor = greatest_common_divisor(from, to);
    let (old, new) = (u64::from(from / divisor), u64::from(to / divisor));
    let filter = Filter::new(old, new);
    let length = (samples.len() as u64 * new).div_ceil(old);
    let taps = filter.taps();
    let keeps = taps.saturating_mul(new as usize) <= MOST_WEIGHTS;
    let phases: Vec<Phase> = match keeps {
        true => (0..new).map(|phase| filter.phase(phase)).collect(),
        false => Vec::new(),
    };
    (0..length)
        .map(|at| {
            let base = (at / new * old) as i64;
            let phase = at % new;
            match phases.get(phase as usize) {
                Some(phase) => phase.apply(samples, base),
                None => filter.phase(phase).apply(samples, base),
            }
        })
        .collect()
}

fn greatest_common_divisor(left: u32, right: u32) -> u32 {
    match right {
        0 => left,
        right => greatest_common_divisor(right, left % right),
    }
}

/// Is a low pass between the two rates.
struct Filter {
    old: f64,
    new: f64,
    /// The cut-off, in half cycles a sample of the old rate.
    cutoff: f64,
}

/// Is the filter where it lies for one place between two old samples.
struct Phase {
    /// The sample that the first weight is for, counted from the old sample that the place follows.
    first: i64,
    weights: Vec<f32>,
}

impl Filter {
    fn new(old: u64, new: u64) -> Self {
        let (old, new) = (old as f64, new as f64);
        Filter {
            old,
            new,
            cutoff: ROLLOFF * (new / old).min(1.0),
        }
    }

    /// Gives how many weights there are on both sides, at most.
    fn taps(&self) -> usize {
        (2.0 * ZEROS / self.cutoff) as usize + 2
    }

    fn phase(&self, phase: u64) -> Phase {
        let middle = phase as f64 * self.old / self.new;
        let half = ZEROS / self.cutoff;
        let first = (middle - half).ceil() as i64;
        let last = (middle + half).floor() as i64;
        let scale = bessel_0(BETA);
        let weights = (first..=last)
            .map(|at| {
                let t = (middle - at as f64) * self.cutoff;
                let inside = (1.0 - (t / ZEROS).powi(2)).max(0.0);
                let window = bessel_0(BETA * inside.sqrt()) / scale;
                (self.cutoff * sinc(t) * window) as f32
            })
            .collect();
        Phase { first, weights }
    }
}

impl Phase {
    /// Sums the samples under the filter; before the first and after the last there is silence.
    fn apply(&self, samples: &[f32], base: i64) -> f32 {
        let start = base + self.first;
        let skipped = usize::try_from(-start).unwrap_or(0).min(self.weights.len());
        let from = usize::try_from(start).unwrap_or(0).min(samples.len());
        let weights = &self.weights[skipped..];
        let count = weights.len().min(samples.len() - from);
        dot(&samples[from..from + count], &weights[..count])
    }
}

/// Multiplies and sums in eight lanes, which the compiler makes into wide instructions.
fn dot(left: &[f32], right: &[f32]) -> f32 {
    let mut lanes = [0f32; 8];
    let (left, right) = (left.chunks_exact(8), right.chunks_exact(8));
    let rest: f32 = left.remainder().iter().zip(right.remainder()).map(|(l, r)| l * r).sum();
    for (left, right) in left.zip(right) {
        for lane in 0..8 {
            lanes[lane] += left[lane] * right[lane];
        }
    }
    lanes.iter().sum::<f32>() + rest
}

fn sinc(t: f64) -> f64 {
    match t == 0.0 {
        true => 1.0,
        false => (PI * t).sin() / (PI * t),
    }
}

/// Gives the modified Bessel function of the first kind and order 0, by its series.
fn bessel_0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let (mut term, mut sum, mut k) = (1.0, 1.0, 1.0);
    while term > sum * 1e-17 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tone(rate: u32, hz: f64, seconds: f64) -> Sound {
        let count = (f64::from(rate) * seconds) as usize;
        let sample = |n| (2.0 * PI * hz * n as f64 / f64::from(rate)).sin() as f32;
        Sound {
            rate,
            samples: (0..count).map(sample).collect(),
        }
    }

    #[test]
    fn a_tone_is_the_same_tone_at_every_rate() {
        for (from, to) in [
            (8_000, 16_000),
            (44_100, 16_000),
            (48_000, 16_000),
            (11_025, 16_000),
            (16_000, 22_050),
        ] {
            let sound = tone(from, 440.0, 0.25).resampled(to);
            let expected = tone(to, 440.0, 0.25);
            assert!(
                sound.samples.len().abs_diff(expected.samples.len()) <= 1,
                "{from} to {to}"
            );
            // At the ends the filter reaches into silence.
            let edge = to as usize / 20;
            let worst = (edge..expected.samples.len() - edge)
                .map(|at| (sound.samples[at] - expected.samples[at]).abs())
                .fold(0f32, f32::max);
            assert!(worst < 1e-4, "{from} to {to}: off by {worst}");
        }
    }

    #[test]
    fn what_the_new_rate_cannot_hold_is_filtered_out() {
        let sound = tone(48_000, 11_000.0, 0.25).resampled(16_000);
        let edge = 1_000;
        let loudest = sound.samples[edge..sound.samples.len() - edge]
            .iter()
            .fold(0f32, |most, sample| most.max(sample.abs()));
        assert!(loudest < 1e-4, "{loudest}");
    }

    #[test]
    fn odd_ratios_take_the_same_filter_without_keeping_it() {
        let sound = tone(47_999, 440.0, 0.02);
        let filter = Filter::new(47_999, 16_000);
        assert!(filter.taps() * 16_000 > MOST_WEIGHTS);
        assert_eq!(sound.resampled(16_000).samples.len(), 320);
    }

    #[test]
    fn the_length_is_rounded_up_and_one_sample_is_enough() {
        let sound = |count| Sound {
            rate: 44_100,
            samples: vec![0.5; count],
        };
        assert_eq!(sound(1).resampled(16_000).samples.len(), 1);
        assert_eq!(sound(441).resampled(16_000).samples.len(), 160);
        assert_eq!(sound(442).resampled(16_000).samples.len(), 161);
        assert_eq!(sound(3).resampled(44_100), sound(3));
    }
}
