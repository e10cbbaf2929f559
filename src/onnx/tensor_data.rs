//! How many elements a tensor has, and how many bytes they take.

use prost::bytes::Bytes;

use super::proto::TensorProto;
use crate::tensor::DType;

/// Says why the dimensions of a tensor are none.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum DimsFault {
    /// A dimension is below zero.
    #[error("has a dimension of {0}")]
    Negative(i64),
    /// There are more elements than a number of 64 bits counts.
    #[error("has dimensions {0:?}…, whose product overflows")]
    Overflow(Vec<i64>),
}

/// The dimensions that a message repeats, at most.
const DIMS_SHOWN: usize = 8;

/// Multiplies dimensions into the number of elements.
///
/// Shape: none means a scalar, of one element.
/// Errors: a negative dimension, and an overflow even where another dimension is 0, for an engine may multiply in any
/// order.
pub fn count_elements(dims: &[i64]) -> Result<u64, DimsFault> {
    if let Some(dim) = dims.iter().find(|dim| **dim < 0) {
        return Err(DimsFault::Negative(*dim));
    }
    let product = dims
        .iter()
        .filter(|dim| **dim != 0)
        .try_fold(1i64, |product, dim| product.checked_mul(*dim))
        .ok_or_else(|| DimsFault::Overflow(dims.iter().copied().take(DIMS_SHOWN).collect()))?;
    Ok(if dims.contains(&0) { 0 } else { product.unsigned_abs() })
}

/// Gives the size of elements as ONNX stores them raw, types below a byte packed.
///
/// Units: bytes; `None` on overflow, and for strings, which are not stored raw.
pub fn stored_bytes(dtype: DType, elements: u64) -> Option<u64> {
    match dtype.bits() as u64 {
        0 => None,
        bits if bits < 8 => Some(elements.checked_mul(bits)?.div_ceil(8)),
        bits => elements.checked_mul(bits / 8),
    }
}

/// Is one of the fields in which a tensor's elements can be written one by one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    Float,
    Int32,
    Int64,
    Double,
    Uint64,
    String,
}

impl Field {
    /// Every field.
    pub const ALL: [Field; 6] = [
        Field::Float,
        Field::Int32,
        Field::Int64,
        Field::Double,
        Field::Uint64,
        Field::String,
    ];

    /// Gives the field's name in the format.
    pub fn name(self) -> &'static str {
        match self {
            Field::Float => "float_data",
            Field::Int32 => "int32_data",
            Field::Int64 => "int64_data",
            Field::Double => "double_data",
            Field::Uint64 => "uint64_data",
            Field::String => "string_data",
        }
    }

    /// Gives what a tensor has in the field: chunks of packed elements, or one string an entry.
    pub fn of(self, tensor: &TensorProto) -> &[Bytes] {
        match self {
            Field::Float => &tensor.float_data,
            Field::Int32 => &tensor.int32_data,
            Field::Int64 => &tensor.int64_data,
            Field::Double => &tensor.double_data,
            Field::Uint64 => &tensor.uint64_data,
            Field::String => &tensor.string_data,
        }
    }

    /// Finds the field for a type, and how many entries so many elements are there; `None` on overflow.
    ///
    /// Source: the comments of TensorProto in onnx.proto: complex numbers are two entries, and elements below a byte
    /// share one.
    pub fn holding(dtype: DType, elements: u64) -> (Field, Option<u64>) {
        match dtype {
            DType::F32 => (Field::Float, Some(elements)),
            DType::Complex64 => (Field::Float, elements.checked_mul(2)),
            DType::F64 => (Field::Double, Some(elements)),
            DType::Complex128 => (Field::Double, elements.checked_mul(2)),
            DType::I64 => (Field::Int64, Some(elements)),
            DType::U32 | DType::U64 => (Field::Uint64, Some(elements)),
            DType::String => (Field::String, Some(elements)),
            narrow => match narrow.bits() as u64 {
                bits if bits < 8 => (Field::Int32, Some(elements.div_ceil(8 / bits))),
                _ => (Field::Int32, Some(elements)),
            },
        }
    }

    /// Counts the entries; `None` where a chunk ends within one.
    pub fn count(self, tensor: &TensorProto) -> Option<u64> {
        let chunks = self.of(tensor);
        let fixed = |size: usize| {
            let whole = chunks.iter().all(|chunk| chunk.len().is_multiple_of(size));
            whole.then(|| chunks.iter().map(|chunk| (chunk.len() / size) as u64).sum())
        };
        match self {
            Field::String => Some(chunks.len() as u64),
            Field::Float => fixed(4),
            Field::Double => fixed(8),
            Field::Int32 | Field::Int64 | Field::Uint64 => {
                let whole = chunks.iter().all(|chunk| chunk.last().is_none_or(|last| *last < 0x80));
                // Each number ends with the one byte of it that is below 0x80.
                let ends = |chunk: &Bytes| chunk.iter().filter(|byte| **byte < 0x80).count() as u64;
                whole.then(|| chunks.iter().map(ends).sum())
            }
        }
    }

    /// Reads entries that are numbers of variable length; `None` where one is cut or too long.
    pub fn varints(self, tensor: &TensorProto) -> Option<Vec<u64>> {
        let mut numbers = Vec::new();
        for chunk in self.of(tensor) {
            let mut chunk = chunk.clone();
            while !chunk.is_empty() {
                numbers.push(prost::encoding::decode_varint(&mut chunk).ok()?);
            }
        }
        Some(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_counted_without_overflow() {
        assert_eq!(count_elements(&[]), Ok(1));
        assert_eq!(count_elements(&[2, 3]), Ok(6));
        assert_eq!(count_elements(&[0, 3]), Ok(0));
        assert_eq!(count_elements(&[2, -1]), Err(DimsFault::Negative(-1)));
        assert!(matches!(
            count_elements(&[1 << 40, 1 << 40, 0]),
            Err(DimsFault::Overflow(_))
        ));
    }

    #[test]
    fn types_below_a_byte_are_packed() {
        assert_eq!(stored_bytes(DType::U4, 3), Some(2));
        assert_eq!(stored_bytes(DType::I2, 5), Some(2));
        assert_eq!(stored_bytes(DType::F32, 5), Some(20));
        assert_eq!(stored_bytes(DType::F64, 1 << 62), None);
        assert_eq!(stored_bytes(DType::String, 1), None);
    }
}
