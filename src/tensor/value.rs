use half::{bf16, f16};

use super::DType;

/// Holds the elements of a tensor, typed, in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    F16(Vec<f16>),
    BF16(Vec<bf16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    I8(Vec<i8>),
    I16(Vec<i16>),
    I32(Vec<i32>),
    I64(Vec<i64>),
    U8(Vec<u8>),
    U16(Vec<u16>),
    U32(Vec<u32>),
    U64(Vec<u64>),
    Bool(Vec<bool>),
    String(Vec<String>),
}

/// Runs the same expression for whichever element type a [`Data`] holds.
macro_rules! for_data {
    ($data:expr, $elements:ident => $body:expr) => {
        match $data {
            $crate::tensor::Data::F16($elements) => $body,
            $crate::tensor::Data::BF16($elements) => $body,
            $crate::tensor::Data::F32($elements) => $body,
            $crate::tensor::Data::F64($elements) => $body,
            $crate::tensor::Data::I8($elements) => $body,
            $crate::tensor::Data::I16($elements) => $body,
            $crate::tensor::Data::I32($elements) => $body,
            $crate::tensor::Data::I64($elements) => $body,
            $crate::tensor::Data::U8($elements) => $body,
            $crate::tensor::Data::U16($elements) => $body,
            $crate::tensor::Data::U32($elements) => $body,
            $crate::tensor::Data::U64($elements) => $body,
            $crate::tensor::Data::Bool($elements) => $body,
            $crate::tensor::Data::String($elements) => $body,
        }
    };
}

impl Data {
    /// Counts the elements.
    pub fn len(&self) -> usize {
        for_data!(self, elements => elements.len())
    }

    /// Tells whether there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives the element type.
    pub fn dtype(&self) -> DType {
        match self {
            Data::F16(_) => DType::F16,
            Data::BF16(_) => DType::BF16,
            Data::F32(_) => DType::F32,
            Data::F64(_) => DType::F64,
            Data::I8(_) => DType::I8,
            Data::I16(_) => DType::I16,
            Data::I32(_) => DType::I32,
            Data::I64(_) => DType::I64,
            Data::U8(_) => DType::U8,
            Data::U16(_) => DType::U16,
            Data::U32(_) => DType::U32,
            Data::U64(_) => DType::U64,
            Data::Bool(_) => DType::Bool,
            Data::String(_) => DType::String,
        }
    }
}

/// Is a Rust type that tensors hold.
pub trait Element: Sized {
    /// The element type's name in a signature.
    const DTYPE: DType;
    /// Wraps elements.
    fn wrap(elements: Vec<Self>) -> Data;
    /// Gives the elements where `data` is of this type.
    fn peek(data: &Data) -> Option<&[Self]>;
    /// Takes the elements where `data` is of this type, and gives `data` back where it is not.
    fn take(data: Data) -> Result<Vec<Self>, Data>;
}

macro_rules! element {
    ($($rust:ty, $variant:ident;)*) => { $(
        impl Element for $rust {
            const DTYPE: DType = DType::$variant;
            fn wrap(elements: Vec<Self>) -> Data {
                Data::$variant(elements)
            }
            fn peek(data: &Data) -> Option<&[Self]> {
                match data {
                    Data::$variant(elements) => Some(elements),
                    _ => None,
                }
            }
            fn take(data: Data) -> Result<Vec<Self>, Data> {
                match data {
                    Data::$variant(elements) => Ok(elements),
                    other => Err(other),
                }
            }
        }
    )* };
}

element! {
    f16, F16; bf16, BF16; f32, F32; f64, F64;
    i8, I8; i16, I16; i32, I32; i64, I64;
    u8, U8; u16, U16; u32, U32; u64, U64;
    bool, Bool; String, String;
}

/// Is a dense tensor in host memory, row-major.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: Data,
}

/// Says why elements and a shape do not make a tensor.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    /// The shape asks for another number of elements.
    #[error("shape {shape:?} needs {needed} elements, and there are {found}")]
    Count {
        shape: Vec<usize>,
        needed: usize,
        found: usize,
    },
    /// The product of the shape does not fit in memory.
    #[error("shape {0:?} overflows")]
    Overflow(Vec<usize>),
}

impl Tensor {
    /// Joins a shape and elements.
    ///
    /// Shape: the product of `shape` is the number of elements; `[]` is a scalar of one.
    /// Errors: [`TensorError`] where the two disagree.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Result<Self, TensorError> {
        let shape = shape.into();
        let Some(needed) = count(&shape) else {
            return Err(TensorError::Overflow(shape));
        };
        if needed != data.len() {
            return Err(TensorError::Count {
                needed,
                found: data.len(),
                shape,
            });
        }
        Ok(Tensor { shape, data })
    }

    /// Joins a shape and a vector of elements, as [`Tensor::new`] does.
    pub fn from_vec<T: Element>(shape: impl Into<Vec<usize>>, elements: Vec<T>) -> Result<Self, TensorError> {
        Tensor::new(shape, T::wrap(elements))
    }

    /// Gives the shape; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Gives the element type.
    pub fn dtype(&self) -> DType {
        self.data.dtype()
    }

    /// Gives the elements.
    pub fn data(&self) -> &Data {
        &self.data
    }

    /// Gives the elements as a slice, where they are of type `T`.
    pub fn elements<T: Element>(&self) -> Option<&[T]> {
        T::peek(&self.data)
    }

    /// Takes the tensor apart.
    pub fn into_parts(self) -> (Vec<usize>, Data) {
        (self.shape, self.data)
    }
}

/// Multiplies the sizes of a shape; `None` on overflow.
fn count(shape: &[usize]) -> Option<usize> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape
        .iter()
        .try_fold(1usize, |product, &size| product.checked_mul(size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tensor_has_as_many_elements_as_its_shape_says() {
        assert!(Tensor::from_vec([2, 3], vec![0f32; 6]).is_ok());
        assert!(Tensor::from_vec([], vec![1i64]).is_ok());
        assert!(Tensor::from_vec([0, 9], Vec::<i64>::new()).is_ok());
        assert!(matches!(
            Tensor::from_vec([2, 3], vec![0f32; 5]),
            Err(TensorError::Count {
                needed: 6,
                found: 5,
                ..
            })
        ));
        assert!(matches!(
            Tensor::from_vec([usize::MAX, 2], vec![0u8; 2]),
            Err(TensorError::Overflow(_))
        ));
    }
}
