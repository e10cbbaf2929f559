use std::f64::consts::PI;
use std::sync::Arc;

use realfft::{RealFftPlanner, RealToComplex};

use crate::gpuxfile::Edge;

/// Is a short-time Fourier transform with a periodic Hann window.
pub(super) struct Spectrum {
    size: usize,
    hop: usize,
    edge: Edge,
    window: Vec<f64>,
    transform: Arc<dyn RealToComplex<f64>>,
}

impl Spectrum {
    pub fn new(size: usize, hop: usize, edge: Edge) -> Self {
        let window = (0..size).map(|n| 0.5 - 0.5 * (2.0 * PI * n as f64 / size as f64).cos());
        Spectrum {
            size,
            hop,
            edge,
            window: window.collect(),
            transform: RealFftPlanner::new().plan_fft_forward(size),
        }
    }

    /// Counts the frequencies: from 0 to half the sample rate.
    pub fn bins(&self) -> usize {
        self.size / 2 + 1
    }

    fn padding(&self) -> usize {
        match self.edge {
            Edge::Reflect | Edge::Silence => self.size / 2,
            Edge::None => 0,
        }
    }

    /// Gives the squared magnitudes of each frame below `count` to `take`.
    pub fn powers(&self, samples: &[f32], count: usize, mut take: impl FnMut(usize, &[f64])) {
        let mut frame = self.transform.make_input_vec();
        let mut bins = self.transform.make_output_vec();
        let mut scratch = self.transform.make_scratch_vec();
        let mut powers = vec![0.0; self.bins()];
        let padding = self.padding();
        for at in 0..count {
            let start = at * self.hop;
            match start
                .checked_sub(padding)
                .and_then(|from| samples.get(from..from + self.size))
            {
                Some(inside) => {
                    for ((to, sample), window) in frame.iter_mut().zip(inside).zip(&self.window) {
                        *to = f64::from(*sample) * window;
                    }
                }
                None => {
                    let first = start as i64 - padding as i64;
                    for ((n, to), window) in frame.iter_mut().enumerate().zip(&self.window) {
                        *to = f64::from(self.beyond(samples, first + n as i64)) * window;
                    }
                }
            }
            // The buffers come from the plan itself, and have the sizes that it checks.
            if self
                .transform
                .process_with_scratch(&mut frame, &mut bins, &mut scratch)
                .is_ok()
            {
                for (power, bin) in powers.iter_mut().zip(&bins) {
                    *power = bin.norm_sqr();
                }
                take(at, &powers);
            }
        }
    }

    /// Gives the sample at a place that may lie outside.
    fn beyond(&self, samples: &[f32], at: i64) -> f32 {
        let length = samples.len() as i64;
        if (0..length).contains(&at) {
            return samples[at as usize];
        }
        if self.edge != Edge::Reflect || length == 0 {
            return 0.0;
        }
        if length == 1 {
            return samples[0];
        }
        // A mirror at either end: the pattern repeats with this period.
        let period = 2 * (length - 1);
        let folded = at.rem_euclid(period);
        samples[folded.min(period - folded) as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mirrors_do_not_repeat_the_ends() {
        let spectrum = Spectrum::new(8, 4, Edge::Reflect);
        let samples = [1.0, 2.0, 3.0];
        let seen: Vec<f32> = (-5..8).map(|at| spectrum.beyond(&samples, at)).collect();
        assert_eq!(seen, [2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
        assert_eq!(spectrum.beyond(&[7.0], -3), 7.0);
        assert_eq!(Spectrum::new(8, 4, Edge::Silence).beyond(&samples, -1), 0.0);
    }

    #[test]
    fn a_tone_has_its_power_where_it_belongs() {
        let samples: Vec<f32> = (0..64).map(|n| (2.0 * PI * f64::from(n) / 8.0).cos() as f32).collect();
        let spectrum = Spectrum::new(16, 16, Edge::None);
        spectrum.powers(&samples, 4, |_, powers| {
            // A Hann window halves the amplitude of the middle bin, and spreads a quarter to either side.
            assert!((powers[2] - 16.0).abs() < 1e-6 && (powers[1] - 4.0).abs() < 1e-6);
            assert!(powers[4..].iter().all(|power| *power < 1e-9));
        });
    }
}
