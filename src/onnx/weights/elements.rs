use prost::bytes::Bytes;

use crate::onnx::proto::TensorProto;
use crate::onnx::tensor_data::Field;
use crate::tensor::DType;

/// Is the elements of a tensor within the model's file, to be read in the raw form.
///
/// Source: the comments of TensorProto in onnx.proto: raw data is little-endian, in row-major order.
#[derive(Clone, Debug)]
pub struct Elements(Form);

#[derive(Clone, Debug)]
enum Form {
    /// The raw form already, in one piece or several.
    Raw(Vec<Bytes>),
    /// Numbers of variable length, of each of which so many low bytes count.
    Varints { chunks: Vec<Bytes>, keep: Keep },
}

/// Says what of a number of variable length makes its raw form.
#[derive(Clone, Copy, Debug)]
enum Keep {
    Low(usize),
    /// One byte that is 0 or 1.
    Truth,
}

impl Elements {
    /// Finds the elements of a tensor that is within the file; the check of the model has seen that they are right.
    pub(super) fn of(tensor: &TensorProto, dtype: DType) -> Elements {
        if let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) {
            return Elements(Form::Raw(vec![raw.clone()]));
        }
        let (field, _) = Field::holding(dtype, 0);
        let chunks = field.of(tensor).to_vec();
        Elements(match field {
            Field::Float | Field::Double | Field::String => Form::Raw(chunks),
            Field::Int32 | Field::Int64 | Field::Uint64 => Form::Varints {
                chunks,
                keep: match dtype {
                    DType::Bool => Keep::Truth,
                    // Elements below a byte share one, and each number is such a byte.
                    dtype => Keep::Low((dtype.bits() / 8).max(1)),
                },
            },
        })
    }

    /// Gives the pieces where they lie in the file; `None` where the raw form has to be made.
    pub fn as_raw(&self) -> Option<&[Bytes]> {
        match &self.0 {
            Form::Raw(chunks) => Some(chunks),
            Form::Varints { .. } => None,
        }
    }

    /// Reads the raw form from its beginning.
    pub fn reader(&self) -> ElementsReader {
        ElementsReader {
            elements: self.clone(),
            chunk: 0,
            at: 0,
            made: [0; 8],
            left: 0,
        }
    }
}

/// Reads the raw form of elements piece by piece.
#[derive(Clone, Debug)]
pub struct ElementsReader {
    elements: Elements,
    chunk: usize,
    at: usize,
    /// The raw form of the last number, and how many bytes of it were not yet taken.
    made: [u8; 8],
    left: usize,
}

impl ElementsReader {
    /// Fills as much of `buffer` as there still is, and gives how much.
    pub fn fill(&mut self, buffer: &mut [u8]) -> usize {
        let mut filled = 0;
        while filled < buffer.len() {
            let added = match &self.elements.0 {
                Form::Raw(_) => self.copy(&mut buffer[filled..]),
                Form::Varints { .. } => self.convert(&mut buffer[filled..]),
            };
            if added == 0 {
                break;
            }
            filled += added;
        }
        filled
    }

    fn copy(&mut self, buffer: &mut [u8]) -> usize {
        let Form::Raw(chunks) = &self.elements.0 else { return 0 };
        while let Some(chunk) = chunks.get(self.chunk) {
            let rest = &chunk[self.at..];
            if rest.is_empty() {
                (self.chunk, self.at) = (self.chunk + 1, 0);
                continue;
            }
            let size = rest.len().min(buffer.len());
            buffer[..size].copy_from_slice(&rest[..size]);
            self.at += size;
            return size;
        }
        0
    }

    fn convert(&mut self, buffer: &mut [u8]) -> usize {
        let Form::Varints { chunks, keep } = &self.elements.0 else {
            return 0;
        };
        let width = match keep {
            Keep::Low(width) => *width,
            Keep::Truth => 1,
        };
        if self.left == 0 {
            let Some(number) = next_varint(chunks, &mut self.chunk, &mut self.at) else {
                return 0;
            };
            self.made = match keep {
                Keep::Low(_) => number,
                Keep::Truth => u64::from(number != 0),
            }
            .to_le_bytes();
            self.left = width;
        }
        let size = self.left.min(buffer.len());
        let start = width - self.left;
        buffer[..size].copy_from_slice(&self.made[start..start + size]);
        self.left -= size;
        size
    }
}

/// Reads the next number; `None` at the end, and where a number is cut, which the check of the model refuses.
fn next_varint(chunks: &[Bytes], chunk: &mut usize, at: &mut usize) -> Option<u64> {
    while chunks.get(*chunk)?.len() == *at {
        (*chunk, *at) = (*chunk + 1, 0);
    }
    let mut value = 0u64;
    for (place, byte) in chunks[*chunk][*at..].iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * place as u32).min(63);
        if *byte < 0x80 {
            *at += place + 1;
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw_form(tensor: &TensorProto, dtype: DType) -> Vec<u8> {
        let elements = Elements::of(tensor, dtype);
        let mut whole = vec![0; 100];
        let size = elements.reader().fill(&mut whole);
        whole.truncate(size);
        // Read in bits of three bytes it is the same.
        let (mut reader, mut pieces) = (elements.reader(), Vec::<u8>::new());
        loop {
            let mut bit = [0; 3];
            let size = reader.fill(&mut bit);
            pieces.extend(&bit[..size]);
            if size < bit.len() {
                break;
            }
        }
        assert_eq!(whole, pieces);
        whole
    }

    fn varints(numbers: &[u64]) -> Vec<Bytes> {
        let (first, rest) = numbers.split_at(numbers.len() / 2);
        let chunk = |numbers: &[u64]| {
            let mut bytes = Vec::new();
            numbers
                .iter()
                .for_each(|number| prost::encoding::encode_varint(*number, &mut bytes));
            Bytes::from(bytes)
        };
        vec![chunk(first), Bytes::new(), chunk(rest)]
    }

    #[test]
    fn every_field_is_read_as_raw_data() {
        let int32 = |numbers: &[i32]| TensorProto {
            int32_data: varints(
                &numbers
                    .iter()
                    .map(|number| i64::from(*number) as u64)
                    .collect::<Vec<_>>(),
            ),
            ..Default::default()
        };
        assert_eq!(raw_form(&int32(&[1, -2]), DType::I32), [1, 0, 0, 0, 254, 255, 255, 255]);
        assert_eq!(raw_form(&int32(&[1, -2]), DType::I16), [1, 0, 254, 255]);
        assert_eq!(raw_form(&int32(&[1, -2, 3]), DType::I8), [1, 254, 3]);
        assert_eq!(raw_form(&int32(&[0x3c00, 0xbc00]), DType::F16), [0, 0x3c, 0, 0xbc]);
        assert_eq!(raw_form(&int32(&[0x3f80]), DType::BF16), [0x80, 0x3f]);
        assert_eq!(raw_form(&int32(&[0, 1, 2]), DType::Bool), [0, 1, 1]);
        assert_eq!(raw_form(&int32(&[0x21, 0x43]), DType::I4), [0x21, 0x43]);
        let int64 = TensorProto {
            int64_data: varints(&[1, u64::MAX]),
            ..Default::default()
        };
        assert_eq!(
            raw_form(&int64, DType::I64),
            [1, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        let uint64 = TensorProto {
            uint64_data: varints(&[1, 0xffff_ffff]),
            ..Default::default()
        };
        assert_eq!(raw_form(&uint64, DType::U32), [1, 0, 0, 0, 255, 255, 255, 255]);
        let float = TensorProto {
            float_data: vec![
                Bytes::copy_from_slice(&1f32.to_le_bytes()),
                Bytes::copy_from_slice(&2f32.to_le_bytes()),
            ],
            ..Default::default()
        };
        assert_eq!(
            raw_form(&float, DType::F32),
            [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat()
        );
    }

    #[test]
    fn what_is_cut_ends_the_reading() {
        let cut = TensorProto {
            int64_data: vec![Bytes::from_static(&[5, 0x80])],
            ..Default::default()
        };
        assert_eq!(raw_form(&cut, DType::I64), [5, 0, 0, 0, 0, 0, 0, 0]);
    }
}
