//! Tensors joined and split along their first dimension.

use super::{DType, Element, Tensor, TensorError, for_dtype};

/// Says why tensors cannot be joined or split along their first dimension.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RowsError {
    /// There is nothing to join.
    #[error("there are no tensors to join")]
    Nothing,
    /// A scalar has no first dimension.
    #[error("a scalar has no first dimension")]
    Scalar,
    /// Tensors differ in more than their first dimension.
    #[error("tensors of {first_dtype}{first:?} and {other_dtype}{other:?} differ in more than the first dimension")]
    Unlike {
        first_dtype: DType,
        first: Vec<usize>,
        other_dtype: DType,
        other: Vec<usize>,
    },
    /// The parts do not make up the whole.
    #[error("a first dimension of {found} does not split into parts of {wanted} in all")]
    Count { found: usize, wanted: usize },
    /// The whole does not fit in memory.
    #[error("the tensors do not join")]
    Tensor(#[from] TensorError),
}

impl Tensor {
    /// Gives the shape of tensors joined along their first dimension.
    ///
    /// Errors: [`RowsError`] where there is none, one is a scalar, or types or other dimensions differ.
    pub fn joined_shape(parts: &[&Tensor]) -> Result<Vec<usize>, RowsError> {
        let first = *parts.first().ok_or(RowsError::Nothing)?;
        let (_, inner) = first.shape().split_first().ok_or(RowsError::Scalar)?;
        let mut rows = 0usize;
        for part in parts {
            match part.shape().split_first() {
                Some((&more, others)) if others == inner && part.dtype() == first.dtype() => {
                    rows = rows.saturating_add(more);
                }
                Some(_) => return Err(unlike(first, part)),
                None => return Err(RowsError::Scalar),
            }
        }
        let mut shape = first.shape().to_vec();
        shape[0] = rows;
        Ok(shape)
    }

    /// Joins tensors along their first dimension, in order.
    ///
    /// Shape: [`Tensor::joined_shape`]. Errors: as there.
    pub fn join_rows(parts: &[&Tensor]) -> Result<Tensor, RowsError> {
        let shape = Tensor::joined_shape(parts)?;
        let first = *parts.first().ok_or(RowsError::Nothing)?;
        for_dtype!(first.dtype(), T => {
            let mut elements: Vec<T> = Vec::with_capacity(parts.iter().map(|part| part.data().len()).sum());
            for part in parts {
                elements.extend_from_slice(part.elements().ok_or_else(|| unlike(first, part))?);
            }
            Ok(Tensor::from_vec(shape, elements)?)
        }, else unreachable!("tensors hold no {}", first.dtype()))
    }

    /// Splits a tensor along its first dimension into parts of `rows` each, in order.
    ///
    /// Errors: [`RowsError`] where the tensor is a scalar or `rows` do not add up to its first size.
    pub fn split_rows(self, rows: &[usize]) -> Result<Vec<Tensor>, RowsError> {
        let Some(&found) = self.shape().first() else {
            return Err(RowsError::Scalar);
        };
        let wanted = rows.iter().fold(0usize, |sum, &more| sum.saturating_add(more));
        if wanted != found {
            return Err(RowsError::Count { found, wanted });
        }
        if rows.len() == 1 {
            return Ok(vec![self]);
        }
        let (shape, data) = self.into_parts();
        let row_elements = data.len() / found.max(1);
        for_dtype!(data.dtype(), T => {
            let mut rest = <T as Element>::take(data).unwrap_or_default().into_iter();
            let mut part = |rows: usize| {
                let mut shape = shape.clone();
                shape[0] = rows;
                Tensor::from_vec(shape, rest.by_ref().take(rows * row_elements).collect::<Vec<T>>())
            };
            Ok(rows.iter().map(|&rows| part(rows)).collect::<Result<_, _>>()?)
        }, else unreachable!("tensors hold no {}", data.dtype()))
    }
}

fn unlike(first: &Tensor, other: &Tensor) -> RowsError {
    RowsError::Unlike {
        first_dtype: first.dtype(),
        first: first.shape().to_vec(),
        other_dtype: other.dtype(),
        other: other.shape().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::{held_dtype, same, small_shape, tensor_of};

    #[test]
    fn tensors_that_differ_in_more_than_their_rows_are_not_joined() {
        let tensor = |shape: &[usize]| Tensor::from_vec(shape, vec![0f32; shape.iter().product()]).unwrap();
        let scalar = tensor(&[]);
        let integers = Tensor::from_vec([1, 3], vec![0i64; 3]).unwrap();
        assert_eq!(
            Tensor::join_rows(&[&tensor(&[2, 3]), &tensor(&[1, 3])]).unwrap(),
            tensor(&[3, 3])
        );
        assert_eq!(
            Tensor::join_rows(&[&tensor(&[2, 3]), &tensor(&[2, 4])])
                .unwrap_err()
                .to_string(),
            "tensors of float32[2, 3] and float32[2, 4] differ in more than the first dimension"
        );
        assert!(matches!(
            Tensor::join_rows(&[&tensor(&[2, 3]), &integers]),
            Err(RowsError::Unlike { .. })
        ));
        assert_eq!(Tensor::join_rows(&[&scalar]), Err(RowsError::Scalar));
        assert_eq!(Tensor::join_rows(&[&tensor(&[1]), &scalar]), Err(RowsError::Scalar));
        assert_eq!(Tensor::join_rows(&[]), Err(RowsError::Nothing));
        let vast = Tensor::from_vec([usize::MAX, 0], Vec::<f32>::new()).unwrap();
        assert!(Tensor::join_rows(&[&vast, &vast]).is_ok());
    }

    #[test]
    fn parts_must_make_up_the_whole() {
        let tensor = Tensor::from_vec([3], vec![1u8, 2, 3]).unwrap();
        assert_eq!(
            tensor.clone().split_rows(&[1, 1]),
            Err(RowsError::Count { found: 3, wanted: 2 })
        );
        assert_eq!(
            tensor.split_rows(&[usize::MAX, 4]),
            Err(RowsError::Count {
                found: 3,
                wanted: usize::MAX
            })
        );
        assert_eq!(
            Tensor::from_vec([], vec![1u8]).unwrap().split_rows(&[1]),
            Err(RowsError::Scalar)
        );
    }

    proptest! {
        #[test]
        fn what_is_joined_splits_into_the_same_parts(
            parts in (held_dtype(), small_shape(), vec(0..4usize, 1..5)).prop_flat_map(|(dtype, inner, rows)| {
                rows.into_iter()
                    .map(|rows| tensor_of(dtype, [&[rows], &inner[..]].concat()))
                    .collect::<Vec<_>>()
            })
        ) {
            let rows: Vec<usize> = parts.iter().map(|part| part.shape()[0]).collect();
            let whole = Tensor::join_rows(&parts.iter().collect::<Vec<_>>()).unwrap();
            let again = whole.split_rows(&rows).unwrap();
            prop_assert_eq!(again.len(), parts.len());
            prop_assert!(again.iter().zip(&parts).all(|(again, part)| same(again, part)));
        }
    }
}
