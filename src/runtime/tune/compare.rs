use crate::tensor::{Data, Tensor};

/// Says how far outputs lie from what they should be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Deviation {
    /// Their numbers, shapes or types are others, or values that must be equal are not.
    Different,
    /// The largest difference of two elements, as a share of the largest magnitude in the same output.
    Relative(f64),
}

impl Deviation {
    /// Tells whether it is small enough.
    pub fn is_within(self, tolerance: f64) -> bool {
        match self {
            Deviation::Different => false,
            Deviation::Relative(share) => share <= tolerance,
        }
    }
}

/// Compares outputs with those of the reference: floats by their distance, all else must be equal.
///
/// A distance is a share of the largest magnitude of the whole output: a logit near 0 beside others near 10 is not off
/// because it is small.
pub fn deviation(outputs: &[Tensor], reference: &[Tensor]) -> Deviation {
    if outputs.len() != reference.len() {
        return Deviation::Different;
    }
    let mut worst = 0f64;
    for (output, expected) in outputs.iter().zip(reference) {
        if output.shape() != expected.shape() || output.dtype() != expected.dtype() {
            return Deviation::Different;
        }
        match (floats(output.data()), floats(expected.data())) {
            (Some(output), Some(expected)) => match distance(&output, &expected) {
                Deviation::Relative(share) => worst = worst.max(share),
                Deviation::Different => return Deviation::Different,
            },
            _ if output.data() == expected.data() => {}
            _ => return Deviation::Different,
        }
    }
    Deviation::Relative(worst)
}

fn distance(output: &[f64], expected: &[f64]) -> Deviation {
    let finite = expected.iter().copied().filter(|value| value.is_finite());
    let magnitude = finite.map(f64::abs).fold(0f64, f64::max);
    let mut worst = 0f64;
    for (&output, &expected) in output.iter().zip(expected) {
        // Equal infinities, and two values that are no numbers, agree.
        if output == expected || output.is_nan() && expected.is_nan() {
            continue;
        }
        if !output.is_finite() || !expected.is_finite() {
            return Deviation::Different;
        }
        worst = worst.max((output - expected).abs());
    }
    Deviation::Relative(if worst == 0.0 {
        0.0
    } else {
        worst / magnitude.max(f64::MIN_POSITIVE)
    })
}

fn floats(data: &Data) -> Option<Vec<f64>> {
    Some(match data {
        Data::F16(elements) => elements.iter().map(|element| element.to_f64()).collect(),
        Data::BF16(elements) => elements.iter().map(|element| element.to_f64()).collect(),
        Data::F32(elements) => elements.iter().map(|&element| f64::from(element)).collect(),
        Data::F64(elements) => elements.clone(),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floats(elements: &[f32]) -> Vec<Tensor> {
        vec![Tensor::from_vec([elements.len()], elements.to_vec()).unwrap()]
    }

    #[test]
    fn floats_are_compared_by_their_share_of_the_largest_magnitude() {
        let expected = floats(&[10.0, 0.001, f32::NAN, f32::INFINITY]);
        let near = floats(&[10.0, 0.002, f32::NAN, f32::INFINITY]);
        let Deviation::Relative(share) = deviation(&near, &expected) else {
            panic!("they are comparable");
        };
        assert!((share - 1e-4).abs() < 1e-8, "{share}");
        assert!(deviation(&near, &expected).is_within(1e-3));
        assert!(!deviation(&near, &expected).is_within(1e-5));
        assert_eq!(deviation(&expected, &expected), Deviation::Relative(0.0));
    }

    #[test]
    fn what_is_no_number_where_one_is_expected_is_never_near() {
        for wrong in [f32::NAN, f32::INFINITY] {
            assert_eq!(deviation(&floats(&[wrong]), &floats(&[1.0])), Deviation::Different);
            assert_eq!(deviation(&floats(&[1.0]), &floats(&[wrong])), Deviation::Different);
        }
        assert!(!deviation(&floats(&[1e-3]), &floats(&[0.0])).is_within(1.0));
    }

    #[test]
    fn integers_shapes_types_and_counts_must_be_equal() {
        let integers = |element: i64| vec![Tensor::from_vec([1], vec![element]).unwrap()];
        assert_eq!(deviation(&integers(1), &integers(1)), Deviation::Relative(0.0));
        assert_eq!(deviation(&integers(1), &integers(2)), Deviation::Different);
        assert_eq!(deviation(&floats(&[1.0]), &integers(1)), Deviation::Different);
        assert_eq!(deviation(&floats(&[1.0]), &floats(&[1.0, 1.0])), Deviation::Different);
        assert_eq!(deviation(&[], &integers(1)), Deviation::Different);
    }
}
