//! Elements as the bytes that they are in memory, for moving them without a copy in between.
//!
//! The order of the bytes is the machine's own: both ends are on one machine.

use half::{bf16, f16};

use super::value::count;
use super::{DType, Data, Element, Tensor, TensorError};

/// Says why bytes do not make a tensor.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The type has no elements of fixed size that tensors hold.
    #[error("{0} has no elements of fixed size")]
    NoForm(DType),
    /// A bool is neither 0 nor 1.
    #[error("a bool is neither 0 nor 1")]
    Bool,
    /// The shape makes no tensor.
    #[error("the shape makes no tensor")]
    Tensor(#[from] TensorError),
    /// The bytes cannot be read.
    #[error("the elements cannot be read")]
    Read(#[source] std::io::Error),
}

/// Gives the bytes of a tensor's elements; `None` for strings, which have no fixed size.
pub fn bytes(tensor: &Tensor) -> Option<&[u8]> {
    Some(match tensor.data() {
        Data::F16(elements) => bytemuck::cast_slice(elements),
        Data::BF16(elements) => bytemuck::cast_slice(elements),
        Data::F32(elements) => bytemuck::cast_slice(elements),
        Data::F64(elements) => bytemuck::cast_slice(elements),
        Data::I8(elements) => bytemuck::cast_slice(elements),
        Data::I16(elements) => bytemuck::cast_slice(elements),
        Data::I32(elements) => bytemuck::cast_slice(elements),
        Data::I64(elements) => bytemuck::cast_slice(elements),
        Data::U8(elements) => elements,
        Data::U16(elements) => bytemuck::cast_slice(elements),
        Data::U32(elements) => bytemuck::cast_slice(elements),
        Data::U64(elements) => bytemuck::cast_slice(elements),
        Data::Bool(elements) => bytemuck::cast_slice(elements),
        Data::String(_) => return None,
    })
}

/// Makes a tensor whose elements `read` writes in place.
///
/// Errors: [`Error`]; what `read` answers is passed on.
pub fn fill(
    dtype: DType,
    shape: &[usize],
    read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
) -> Result<Tensor, Error> {
    fill_again(None, dtype, shape, read)
}

/// Makes a tensor whose elements `read` writes in place, in the memory of one that is no longer needed where it has the type.
///
/// Errors: as of [`fill`].
pub fn fill_again(
    spare: Option<Tensor>,
    dtype: DType,
    shape: &[usize],
    read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
) -> Result<Tensor, Error> {
    fn numbers<T: bytemuck::Pod + Element>(
        (count, spare): (usize, Option<Data>),
        read: impl FnOnce(&mut [u8]) -> std::io::Result<()>,
    ) -> Result<Vec<T>, Error> {
        let spare: Option<Vec<T>> = spare.and_then(|data| T::take(data).ok());
        let mut elements = match spare {
            Some(mut elements) if elements.capacity() >= count => {
                elements.resize(count, T::zeroed());
                elements
            }
            // Memory that the system has just filled with zeros need not be filled again.
            _ => vec![T::zeroed(); count],
        };
        read(bytemuck::cast_slice_mut(&mut elements)).map_err(Error::Read)?;
        Ok(elements)
    }
    let count = count(shape).ok_or_else(|| TensorError::Overflow(shape.to_vec()))?;
    let count = (count, spare.map(|tensor| tensor.into_parts().1));
    let data = match dtype {
        DType::F16 => Data::F16(numbers::<f16>(count, read)?),
        DType::BF16 => Data::BF16(numbers::<bf16>(count, read)?),
        DType::F32 => Data::F32(numbers(count, read)?),
        DType::F64 => Data::F64(numbers(count, read)?),
        DType::I8 => Data::I8(numbers(count, read)?),
        DType::I16 => Data::I16(numbers(count, read)?),
        DType::I32 => Data::I32(numbers(count, read)?),
        DType::I64 => Data::I64(numbers(count, read)?),
        DType::U8 => Data::U8(numbers(count, read)?),
        DType::U16 => Data::U16(numbers(count, read)?),
        DType::U32 => Data::U32(numbers(count, read)?),
        DType::U64 => Data::U64(numbers(count, read)?),
        DType::Bool => {
            let flags: Vec<u8> = numbers((count.0, None), read)?;
            if flags.iter().any(|&flag| flag > 1) {
                return Err(Error::Bool);
            }
            Data::Bool(flags.into_iter().map(|flag| flag == 1).collect())
        }
        other => return Err(Error::NoForm(other)),
    };
    Ok(Tensor::new(shape, data)?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tensor::arbitrary::{any_tensor, same};

    proptest! {
        #[test]
        fn what_is_filled_from_its_bytes_is_the_same(tensor in any_tensor()) {
            let Some(own) = bytes(&tensor) else {
                prop_assert_eq!(tensor.dtype(), DType::String);
                return Ok(());
            };
            let again = fill(tensor.dtype(), tensor.shape(), |to| {
                to.copy_from_slice(own);
                Ok(())
            });
            prop_assert!(same(&again.unwrap(), &tensor));
        }

        #[test]
        fn memory_of_another_tensor_takes_nothing_of_it_along(spare in any_tensor(), tensor in any_tensor()) {
            let Some(own) = bytes(&tensor) else { return Ok(()) };
            let again = fill_again(Some(spare), tensor.dtype(), tensor.shape(), |to| {
                to.copy_from_slice(own);
                Ok(())
            });
            prop_assert!(same(&again.unwrap(), &tensor));
        }
    }

    #[test]
    fn what_is_no_element_is_refused() {
        let two = |to: &mut [u8]| {
            to.fill(2);
            Ok(())
        };
        assert!(matches!(fill(DType::Bool, &[3], two), Err(Error::Bool)));
        assert!(matches!(fill(DType::String, &[3], two), Err(Error::NoForm(_))));
        assert!(matches!(fill(DType::F32, &[usize::MAX, 2], two), Err(Error::Tensor(_))));
        let broken = |_: &mut [u8]| Err(std::io::ErrorKind::UnexpectedEof.into());
        assert!(matches!(fill(DType::F32, &[3], broken), Err(Error::Read(_))));
    }
}
