use std::f64::consts::PI;

/// Gives the first `count` coefficients of the orthonormal cosine transform (DCT-II) along the bands.
///
/// Shape: `log` is `[bands, frames]`, and the answer `[count, frames]`, both row-major.
pub(super) fn cosine_transform(log: &[f32], bands: usize, frames: usize, count: usize) -> Vec<f32> {
    let mut out = vec![0f32; count * frames];
    let mut row = vec![0f64; frames];
    for k in 0..count {
        row.fill(0.0);
        let scale = if k == 0 { 1.0 } else { 2.0 } / bands as f64;
        for (band, values) in log.chunks_exact(frames.max(1)).enumerate() {
            let angle = PI * k as f64 * (2 * band + 1) as f64 / (2 * bands) as f64;
            let weight = scale.sqrt() * angle.cos();
            for (sum, value) in row.iter_mut().zip(values) {
                *sum += weight * f64::from(*value);
            }
        }
        for (to, sum) in out[k * frames..].iter_mut().zip(&row) {
            *to = *sum as f32;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_even_spectrum_has_one_coefficient() {
        let found = cosine_transform(&[3.0; 8], 4, 2, 3);
        let expected = [6.0, 6.0, 0.0, 0.0, 0.0, 0.0];
        assert!(
            found
                .iter()
                .zip(expected)
                .all(|(found, expected)| (found - expected).abs() < 1e-6)
        );
    }
}
