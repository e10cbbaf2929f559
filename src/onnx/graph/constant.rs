use crate::onnx::Attribute;
use crate::onnx::external::is_external;
use crate::onnx::proto::TensorProto;
use crate::onnx::tensor_data::Field;
use crate::tensor::DType;

/// Is a value that stands in the file: an initializer, or what a Constant node gives.
#[derive(Clone, Copy, Debug)]
pub enum Constant<'m> {
    /// A tensor, perhaps with its data in another file.
    Tensor(&'m TensorProto),
    /// A number or a list of numbers in an attribute.
    Attribute(Attribute<'m>),
}

impl Constant<'_> {
    /// Gives the element type.
    pub fn dtype(&self) -> Option<DType> {
        match self {
            Constant::Tensor(tensor) => DType::from_onnx(tensor.data_type()),
            Constant::Attribute(Attribute::Int(_) | Attribute::Ints(_)) => Some(DType::I64),
            Constant::Attribute(Attribute::Float(_) | Attribute::Floats(_)) => Some(DType::F32),
            Constant::Attribute(Attribute::String(_) | Attribute::Strings(_)) => Some(DType::String),
            Constant::Attribute(_) => None,
        }
    }

    /// Gives the dimensions; `None` where the file has a negative one.
    pub fn shape(&self) -> Option<Vec<u64>> {
        match self {
            Constant::Tensor(tensor) => tensor.dims.iter().map(|dim| u64::try_from(*dim).ok()).collect(),
            Constant::Attribute(Attribute::Ints(values)) => Some(vec![values.len() as u64]),
            Constant::Attribute(Attribute::Floats(values)) => Some(vec![values.len() as u64]),
            Constant::Attribute(Attribute::Strings(values)) => Some(vec![values.len() as u64]),
            Constant::Attribute(_) => Some(Vec::new()),
        }
    }

    /// Gives the size of the elements as the file writes them; 0 for those in another file.
    pub(super) fn within_bytes(&self) -> usize {
        match self {
            Constant::Tensor(tensor) => {
                let typed = Field::ALL.iter().flat_map(|field| field.of(tensor));
                typed.chain(&tensor.raw_data).map(|chunk| chunk.len()).sum()
            }
            Constant::Attribute(Attribute::Ints(values)) => values.len(),
            Constant::Attribute(_) => 0,
        }
    }

    /// Gives the elements of an integer or bool constant that is within the file; `None` for any other, and where one
    /// is beyond an i64.
    pub fn ints(&self) -> Option<Vec<i64>> {
        match self {
            Constant::Tensor(tensor) => tensor_ints(tensor),
            Constant::Attribute(Attribute::Int(value)) => Some(vec![*value]),
            Constant::Attribute(Attribute::Ints(values)) => Some(values.to_vec()),
            Constant::Attribute(_) => None,
        }
    }

    /// Gives the elements of a float32 constant that is within the file.
    pub fn floats(&self) -> Option<Vec<f32>> {
        match self {
            Constant::Tensor(tensor) if tensor.data_type() == DType::F32.onnx() && !is_external(tensor) => {
                let chunks = match raw(tensor) {
                    Some(raw) => std::slice::from_ref(raw),
                    None => Field::Float.of(tensor),
                };
                let numbers = chunks.iter().flat_map(|chunk| chunk.as_chunks::<4>().0);
                Some(numbers.map(|bytes| f32::from_le_bytes(*bytes)).collect())
            }
            Constant::Attribute(Attribute::Float(value)) => Some(vec![*value]),
            Constant::Attribute(Attribute::Floats(values)) => Some(values.to_vec()),
            Constant::Tensor(_) | Constant::Attribute(_) => None,
        }
    }
}

fn raw(tensor: &TensorProto) -> Option<&prost::bytes::Bytes> {
    tensor.raw_data.as_ref().filter(|raw| !raw.is_empty())
}

/// Reads the elements of an integer tensor; those below a byte, which no index or shape has, are left out.
fn tensor_ints(tensor: &TensorProto) -> Option<Vec<i64>> {
    let dtype = DType::from_onnx(tensor.data_type())?;
    let integer = matches!(
        dtype,
        DType::I8
            | DType::I16
            | DType::I32
            | DType::I64
            | DType::U8
            | DType::U16
            | DType::U32
            | DType::U64
            | DType::Bool
    );
    if !integer || is_external(tensor) {
        return None;
    }
    let Some(raw) = raw(tensor) else {
        let (field, _) = Field::holding(dtype, 0);
        let unsigned = dtype == DType::U64;
        return field
            .varints(tensor)?
            .into_iter()
            .map(|bits| signed(bits, unsigned))
            .collect();
    };
    let negative = matches!(dtype, DType::I8 | DType::I16 | DType::I32 | DType::I64);
    let widen = |bytes: &[u8]| {
        let fill = if negative && bytes.last().is_some_and(|top| *top >= 0x80) {
            0xff
        } else {
            0
        };
        let mut word = [fill; 8];
        word[..bytes.len()].copy_from_slice(bytes);
        signed(u64::from_le_bytes(word), dtype == DType::U64)
    };
    raw.chunks_exact(dtype.bits() / 8).map(widen).collect()
}

fn signed(bits: u64, unsigned: bool) -> Option<i64> {
    if unsigned {
        i64::try_from(bits).ok()
    } else {
        Some(bits.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::sample::raw;

    #[test]
    fn integers_of_every_width_are_read() {
        for (number, bytes, expected) in [
            (3, &[0xfe, 2][..], Some(vec![-2, 2])),
            (2, &[0xfe, 2], Some(vec![254, 2])),
            (5, &[0xfe, 0xff], Some(vec![-2])),
            (6, &[0xfe, 0xff, 0xff, 0xff], Some(vec![-2])),
            (12, &[0xfe, 0xff, 0xff, 0xff], Some(vec![0xffff_fffe])),
            (7, &[0xff; 8], Some(vec![-1])),
            (13, &[0xff; 8], None),
            (9, &[1, 0], Some(vec![1, 0])),
            (1, &[0; 4], None),
        ] {
            assert_eq!(
                Constant::Tensor(&raw("", number, &[], bytes)).ints(),
                expected,
                "type {number}"
            );
        }
        let typed = TensorProto {
            data_type: Some(7),
            int64_data: vec![prost::bytes::Bytes::from_static(&[
                3, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1,
            ])],
            ..Default::default()
        };
        assert_eq!(Constant::Tensor(&typed).ints(), Some(vec![3, -1]));
    }
}
