use crate::pipeline::Error;
use crate::tensor::{Data, Tensor};

/// Is what a model gave for one request: a row of an output, without the dimension of the batch.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Numbers {
    /// Takes a row of a tensor.
    ///
    /// A tensor without a row for each request is the answer to the only one there is.
    pub fn row(tensor: &Tensor, (row, rows): (usize, usize), name: &str, step: &'static str) -> Result<Self, Error> {
        let shape = tensor.shape();
        let (first, inner) = match shape.split_first() {
            Some((&first, inner)) => (first, inner),
            None => (1, shape),
        };
        if first != rows {
            return Err(Error::OutputRows {
                output: name.to_owned(),
                found: first,
                wanted: rows,
            });
        }
        let size = tensor.data().len() / rows.max(1);
        let range = row * size..(row + 1) * size;
        let values = match tensor.data() {
            Data::F32(values) => values[range].to_vec(),
            Data::F64(values) => values[range].iter().map(|&value| value as f32).collect(),
            Data::F16(values) => values[range].iter().map(|value| value.to_f32()).collect(),
            Data::BF16(values) => values[range].iter().map(|value| value.to_f32()).collect(),
            // Numbers of tokens and classes, which a float holds up to 16 million.
            Data::I64(values) => values[range].iter().map(|&value| value as f32).collect(),
            Data::I32(values) => values[range].iter().map(|&value| value as f32).collect(),
            other => {
                return Err(Error::OutputType {
                    step,
                    dtype: other.dtype(),
                });
            }
        };
        Ok(Numbers {
            shape: inner.to_vec(),
            values,
        })
    }

    /// Refuses a shape that a step does not work on.
    pub fn misshapen(&self, step: &'static str, needs: &'static str) -> Error {
        Error::OutputShape {
            step,
            shape: self.shape.clone(),
            needs,
        }
    }

    /// Gives the length of the last dimension; that of a scalar is 1.
    fn last(&self) -> usize {
        self.shape.last().copied().unwrap_or(1).max(1)
    }

    /// Makes scores into shares of 1 along the last dimension; the greatest is subtracted first.
    pub fn softmax(mut self) -> Self {
        let last = self.last();
        for group in self.values.chunks_mut(last) {
            let most = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for value in group.iter_mut() {
                *value = (*value - most).exp();
                sum += *value;
            }
            for value in group {
                *value /= sum;
            }
        }
        self
    }

    /// Makes each score a share of 1 by itself.
    pub fn sigmoid(mut self) -> Self {
        for value in &mut self.values {
            *value = sigmoid(*value);
        }
        self
    }

    /// Divides by the Euclidean length along the last dimension, or by 10^-12 where it is less.
    pub fn l2_normalized(mut self) -> Self {
        let last = self.last();
        for group in self.values.chunks_mut(last) {
            let length = group.iter().map(|value| value * value).sum::<f32>().sqrt().max(1e-12);
            for value in group {
                *value /= length;
            }
        }
        self
    }

    /// Takes the vector of the first token.
    pub fn first_token(self) -> Result<Self, Error> {
        match *self.shape.as_slice() {
            [tokens, size] if tokens > 0 => Ok(Numbers {
                shape: vec![size],
                values: self.values[..size].to_vec(),
            }),
            _ => Err(self.misshapen("cls_pool", "a vector for each token")),
        }
    }

    /// Takes the mean of the vectors of the tokens that the mask has.
    pub fn mean_pooled(self, mask: &Numbers) -> Result<Self, Error> {
        let [tokens, size] = *self.shape.as_slice() else {
            return Err(self.misshapen("mean_pool", "a vector for each token"));
        };
        if mask.values.len() != tokens {
            return Err(self.misshapen("mean_pool", "as many tokens as the mask has"));
        }
        let mut sum = vec![0f32; size];
        for (vector, weight) in self.values.chunks(size.max(1)).zip(&mask.values) {
            for (total, value) in sum.iter_mut().zip(vector) {
                *total += value * weight;
            }
        }
        let count = mask.values.iter().sum::<f32>().max(1e-9);
        Ok(Numbers {
            shape: vec![size],
            values: sum.into_iter().map(|total| total / count).collect(),
        })
    }
}

pub(super) fn sigmoid(value: f32) -> f32 {
    1.0 / (1.0 + (-value).exp())
}

/// Gives the cosine of the angle between two vectors; 0 where one has no length.
pub(super) fn cosine(one: &[f32], other: &[f32]) -> f32 {
    let dot = |left: &[f32], right: &[f32]| {
        let products = left.iter().zip(right).map(|(a, b)| f64::from(*a) * f64::from(*b));
        products.sum::<f64>()
    };
    let lengths = (dot(one, one) * dot(other, other)).sqrt();
    match lengths > 0.0 {
        true => (dot(one, other) / lengths) as f32,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(shape: &[usize], values: &[f32]) -> Numbers {
        Numbers {
            shape: shape.to_vec(),
            values: values.to_vec(),
        }
    }

    #[test]
    fn shares_add_up_to_one_however_great_the_scores() {
        let shares = numbers(&[2, 2], &[1000.0, 1000.0, -1e30, 0.0]).softmax();
        assert_eq!(shares.values, [0.5, 0.5, 0.0, 1.0]);
        assert_eq!(numbers(&[1], &[0.0]).sigmoid().values, [0.5]);
    }

    #[test]
    fn only_tokens_of_the_mask_count_in_the_mean() {
        let vectors = numbers(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 100.0, 100.0]);
        let mask = numbers(&[3], &[1.0, 1.0, 0.0]);
        assert_eq!(vectors.clone().mean_pooled(&mask).unwrap().values, [2.0, 3.0]);
        assert_eq!(vectors.clone().first_token().unwrap().values, [1.0, 2.0]);
        assert!(vectors.mean_pooled(&numbers(&[2], &[1.0, 1.0])).is_err());
    }

    #[test]
    fn a_vector_without_length_is_like_none() {
        assert_eq!(cosine(&[1.0, 0.0], &[2.0, 0.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 0.0]), 0.0);
        assert_eq!(numbers(&[2], &[3.0, 4.0]).l2_normalized().values, [0.6, 0.8]);
        assert_eq!(numbers(&[2], &[0.0, 0.0]).l2_normalized().values, [0.0, 0.0]);
    }

    #[test]
    fn an_output_without_a_row_for_each_request_is_refused() {
        let tensor = Tensor::from_vec([3, 1], vec![1f32, 2.0, 3.0]).unwrap();
        assert_eq!(Numbers::row(&tensor, (1, 3), "y", "softmax").unwrap().values, [2.0]);
        assert!(matches!(
            Numbers::row(&tensor, (1, 2), "y", "softmax"),
            Err(Error::OutputRows {
                found: 3,
                wanted: 2,
                ..
            })
        ));
    }
}
