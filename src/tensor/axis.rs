//! Tensors made longer and shorter along one dimension.

use super::{DType, Data, Tensor, TensorError, for_dtype};

/// Says which end of a dimension is added to, or cut off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    Front,
    Back,
}

/// Says why a tensor cannot be made longer or shorter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AxisError {
    /// It has no such dimension, or one that is longer or shorter already.
    #[error("dimension {axis} of a tensor of {shape:?} does not become {size}")]
    Size {
        axis: usize,
        shape: Vec<usize>,
        size: usize,
    },
    /// Nothing is known to fill up tensors of this type with.
    #[error("tensors of {0} are not filled up")]
    Type(DType),
    /// The result does not fit in memory.
    #[error("the tensor cannot be made")]
    Tensor(#[from] TensorError),
}

impl Tensor {
    /// Fills a dimension up with a number.
    ///
    /// Shape: that of the tensor, with `size` at `axis`.
    /// Errors: [`AxisError`] where it is longer already, or the type is neither int32 nor int64.
    pub fn fill_up(&self, axis: usize, size: usize, (end, value): (End, i64)) -> Result<Tensor, AxisError> {
        let found = self.shape().get(axis).copied();
        let Some(more) = found.and_then(|found| size.checked_sub(found)) else {
            return Err(self.no_size(axis, size));
        };
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let (kept, added) = ((size - more) * inner, more * inner);
        let mut shape = self.shape().to_vec();
        shape[axis] = size;
        match self.data() {
            Data::I64(elements) => Ok(Tensor::from_vec(shape, filled(elements, (kept, added), (end, value)))?),
            Data::I32(elements) => {
                let value = i32::try_from(value).map_err(|_| AxisError::Type(DType::I32))?;
                Ok(Tensor::from_vec(shape, filled(elements, (kept, added), (end, value)))?)
            }
            other => Err(AxisError::Type(other.dtype())),
        }
    }

    /// Takes what [`Tensor::fill_up`] put on: leaves `size` of a dimension, cutting off `end`.
    ///
    /// Shape: that of the tensor, with `size` at `axis`.
    /// Errors: [`AxisError`] where it is shorter already.
    pub fn cut(self, axis: usize, size: usize, end: End) -> Result<Tensor, AxisError> {
        let found = self.shape().get(axis).copied();
        let Some(less) = found.and_then(|found| found.checked_sub(size)) else {
            return Err(self.no_size(axis, size));
        };
        if less == 0 {
            return Ok(self);
        }
        let inner: usize = self.shape()[axis + 1..].iter().product();
        let (whole, kept) = ((size + less) * inner, size * inner);
        let from = match end {
            End::Front => whole - kept,
            End::Back => 0,
        };
        let mut shape = self.shape().to_vec();
        shape[axis] = size;
        for_dtype!(self.dtype(), T => {
            let elements: &[T] = self.elements().unwrap_or_default();
            let parts = elements.chunks_exact(whole.max(1)).flat_map(|part| &part[from..from + kept]);
            Ok(Tensor::from_vec(shape, parts.cloned().collect::<Vec<T>>())?)
        }, else Err(AxisError::Type(self.dtype())))
    }

    fn no_size(&self, axis: usize, size: usize) -> AxisError {
        AxisError::Size {
            axis,
            shape: self.shape().to_vec(),
            size,
        }
    }
}

/// Puts `added` elements to each `kept`.
fn filled<T: Copy>(elements: &[T], (kept, added): (usize, usize), (end, value): (End, T)) -> Vec<T> {
    let parts = elements.len().checked_div(kept).unwrap_or(0);
    let mut all = Vec::with_capacity(parts * (kept + added));
    for part in elements.chunks_exact(kept.max(1)) {
        let fill = std::iter::repeat_n(value, added);
        match end {
            End::Back => {
                all.extend_from_slice(part);
                all.extend(fill);
            }
            End::Front => {
                all.extend(fill);
                all.extend_from_slice(part);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::{held_dtype, same, tensor_of};

    #[test]
    fn a_dimension_is_filled_up_at_either_end() {
        let ids = Tensor::from_vec([2, 2], vec![1i64, 2, 3, 4]).unwrap();
        let back = ids.fill_up(1, 3, (End::Back, 9)).unwrap();
        assert_eq!(back, Tensor::from_vec([2, 3], vec![1i64, 2, 9, 3, 4, 9]).unwrap());
        let front = ids.fill_up(1, 4, (End::Front, 0)).unwrap();
        assert_eq!(
            front,
            Tensor::from_vec([2, 4], vec![0i64, 0, 1, 2, 0, 0, 3, 4]).unwrap()
        );
        let small = Tensor::from_vec([1, 1], vec![7i32]).unwrap();
        let wide = small.fill_up(1, 2, (End::Back, -1)).unwrap();
        assert_eq!(wide, Tensor::from_vec([1, 2], vec![7i32, -1]).unwrap());
        let error = ids.fill_up(1, 1, (End::Back, 0)).unwrap_err().to_string();
        assert_eq!(error, "dimension 1 of a tensor of [2, 2] does not become 1");
        assert!(ids.fill_up(2, 3, (End::Back, 0)).is_err());
        let floats = Tensor::from_vec([1, 1], vec![1f32]).unwrap();
        assert!(floats.fill_up(1, 2, (End::Back, 0)).is_err());
        assert!(floats.cut(1, 2, End::Back).is_err());
    }

    proptest! {
        #[test]
        fn what_was_cut_is_what_was_there(
            (tensor, axis, size) in (held_dtype(), 0..3usize, [1..4usize, 1..4usize, 1..4usize], 0..4usize)
                .prop_flat_map(|(dtype, axis, shape, size)| {
                    (tensor_of(dtype, shape.to_vec()), Just(axis), Just(size.min(shape[axis])))
                }),
            at_back: bool,
        ) {
            let end = if at_back { End::Back } else { End::Front };
            let cut = tensor.clone().cut(axis, size, end).unwrap();
            prop_assert_eq!(cut.shape()[axis], size);
            let whole = tensor.shape()[axis];
            let inner: usize = tensor.shape()[axis + 1..].iter().product();
            let outer: usize = tensor.shape()[..axis].iter().product();
            let from = if at_back { 0 } else { whole - size };
            // Row by row, by the definition.
            for at in 0..outer * size * inner {
                let (o, rest) = (at / (size * inner).max(1), at % (size * inner).max(1));
                let there = o * whole * inner + from * inner + rest;
                let one = |tensor: &Tensor, at: usize| format!("{:?}", element(tensor, at));
                prop_assert_eq!(one(&cut, at), one(&tensor, there));
            }
            prop_assert!(same(&tensor.clone().cut(axis, whole, end).unwrap(), &tensor));
        }
    }

    /// Gives one element, in words.
    fn element(tensor: &Tensor, at: usize) -> String {
        for_dtype!(tensor.dtype(), T => format!("{:?}", tensor.elements::<T>().unwrap()[at]), else String::new())
    }
}
