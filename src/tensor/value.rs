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

pub(crate) use for_data;

/// Runs the same expression with the Rust type of a [`DType`] that tensors hold, and another for the other types.
macro_rules! for_dtype {
    ($dtype:expr, $T:ident => $body:expr, else $other:expr) => {
        match $dtype {
            $crate::tensor::DType::F16 => $crate::tensor::value::with_type!($T, half::f16, $body),
            $crate::tensor::DType::BF16 => $crate::tensor::value::with_type!($T, half::bf16, $body),
            $crate::tensor::DType::F32 => $crate::tensor::value::with_type!($T, f32, $body),
            $crate::tensor::DType::F64 => $crate::tensor::value::with_type!($T, f64, $body),
            $crate::tensor::DType::I8 => $crate::tensor::value::with_type!($T, i8, $body),
            $crate::tensor::DType::I16 => $crate::tensor::value::with_type!($T, i16, $body),
            $crate::tensor::DType::I32 => $crate::tensor::value::with_type!($T, i32, $body),
            $crate::tensor::DType::I64 => $crate::tensor::value::with_type!($T, i64, $body),
            $crate::tensor::DType::U8 => $crate::tensor::value::with_type!($T, u8, $body),
            $crate::tensor::DType::U16 => $crate::tensor::value::with_type!($T, u16, $body),
            $crate::tensor::DType::U32 => $crate::tensor::value::with_type!($T, u32, $body),
            $crate::tensor::DType::U64 => $crate::tensor::value::with_type!($T, u64, $body),
            $crate::tensor::DType::Bool => $crate::tensor::value::with_type!($T, bool, $body),
            $crate::tensor::DType::String => $crate::tensor::value::with_type!($T, String, $body),
            _ => $other,
        }
    };
}
pub(crate) use for_dtype;

/// Gives `$T` a meaning within an expression.
macro_rules! with_type {
    ($T:ident, $rust:ty, $body:expr) => {{
        type $T = $rust;
        $body
    }};
}
pub(crate) use with_type;

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
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
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
    /// The shape has more dimensions than a tensor may have.
    #[error("a shape of {0} dimensions is over the limit of {MAX_RANK}")]
    Rank(usize),
}

/// Is the greatest number of dimensions of a tensor: NumPy's own limit, and a bound on recursion along a shape.
pub const MAX_RANK: usize = 64;

impl Tensor {
    /// Joins a shape and elements.
    ///
    /// Shape: the product of `shape` is the number of elements; `[]` is a scalar of one.
    /// Errors: [`TensorError`] where the two disagree.
    pub fn new(shape: impl Into<Vec<usize>>, data: Data) -> Result<Self, TensorError> {
        let shape = shape.into();
        if shape.len() > MAX_RANK {
            return Err(TensorError::Rank(shape.len()));
        }
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

    /// Joins a shape and elements that are known to agree, having come from one tensor.
    pub(super) fn from_checked_parts(shape: Vec<usize>, data: Data) -> Self {
        debug_assert_eq!(count(&shape), Some(data.len()));
        Tensor { shape, data }
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
pub(super) fn count(shape: &[usize]) -> Option<usize> {
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
        assert_eq!(Tensor::from_vec(vec![1; 65], vec![0u8]), Err(TensorError::Rank(65)));
    }
}
