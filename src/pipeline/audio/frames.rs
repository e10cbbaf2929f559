/// Cuts samples into frames of `size`, one every `hop`.
///
/// Shape: row-major, `[1 + ⌊(samples − size) / hop⌋, size]`; samples that do not fill a last frame are left out, and fewer
/// samples than one frame are followed by silence.
pub fn frames(samples: &[f32], size: usize, hop: usize) -> (usize, Vec<f32>) {
    if samples.len() < size {
        let mut only = samples.to_vec();
        only.resize(size, 0.0);
        return (1, only);
    }
    let count = 1 + (samples.len() - size) / hop.max(1);
    let cut = (0..count).flat_map(|frame| &samples[frame * hop..frame * hop + size]);
    (count, cut.copied().collect())
}

/// Gives samples whose mean is 0 and whose variance is 1: `(x − mean) / √(variance + 10⁻⁷)`.
pub fn standardize(samples: &mut [f32]) {
    let count = samples.len().max(1) as f64;
    let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = samples.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / count;
    let scale = 1.0 / (variance + 1e-7).sqrt();
    for sample in samples {
        *sample = ((f64::from(*sample) - mean) * scale) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_overlap_and_the_rest_is_left_out() {
        let samples = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        assert_eq!(frames(&samples, 3, 2), (2, vec![1.0, 2.0, 3.0, 3.0, 4.0, 5.0]));
        assert_eq!(frames(&samples[..2], 3, 2), (1, vec![1.0, 2.0, 0.0]));
        assert_eq!(frames(&samples, 6, 1).0, 1);
    }

    #[test]
    fn standardized_samples_have_mean_0_and_variance_1() {
        let mut samples = [1.0, 2.0, 3.0, 4.0];
        standardize(&mut samples);
        for (found, expected) in samples
            .iter()
            .zip([-1.341_640_7, -0.447_213_6, 0.447_213_6, 1.341_640_7])
        {
            assert!((found - expected).abs() < 1e-6);
        }
        let mut silence = [0.5; 4];
        standardize(&mut silence);
        assert_eq!(silence, [0.0; 4]);
    }
}
