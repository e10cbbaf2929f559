//! Elements in the binary form of the protocol.

use super::Error;
use crate::tensor::bytes::{self, Fault, Order};
use crate::tensor::value::count;
use crate::tensor::{DType, Data, Tensor, TensorError, TensorName};

/// The bytes that stand before each string: its length.
const LENGTH_BYTES: usize = 4;

/// Reads a tensor from its bytes.
///
/// Shape: `shape`, which the bytes must fill exactly.
/// Errors: another number of bytes, a string that is cut short or not UTF-8, a bool that is neither 0 nor 1.
pub fn decode(name: &TensorName, dtype: DType, shape: &[usize], data: &[u8]) -> Result<Tensor, Error> {
    let made = |source| Error::Tensor {
        name: name.clone(),
        source,
    };
    let elements = count(shape).ok_or_else(|| made(TensorError::Overflow(shape.to_vec())))?;
    let data = if dtype == DType::String {
        Data::String(strings(name, elements, data)?)
    } else {
        let needed_bytes = (elements as u64).saturating_mul(dtype.bits() as u64 / 8);
        if needed_bytes != data.len() as u64 {
            return Err(Error::InputLength {
                name: name.clone(),
                shape: shape.to_vec(),
                needed_bytes,
                found_bytes: data.len() as u64,
            });
        }
        bytes::decode(dtype, data, Order::Little).map_err(|fault| match fault {
            Fault::Bool { offset, byte } => Error::Bool {
                name: name.clone(),
                at: offset,
                byte,
            },
            Fault::NoForm => Error::Datatype(dtype.name().to_owned()),
        })?
    };
    Tensor::new(shape, data).map_err(made)
}

/// Appends the elements of a tensor and gives how many bytes they took.
pub fn encode(tensor: &Tensor, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    match tensor.data() {
        Data::String(strings) => {
            for string in strings {
                // A string of 4 GiB does not get here: no body is that long.
                out.extend((string.len() as u32).to_le_bytes());
                out.extend(string.as_bytes());
            }
        }
        data => bytes::encode(data, out).expect("every type but strings has a form of fixed size"),
    }
    out.len() - start
}

fn strings(name: &TensorName, count: usize, mut data: &[u8]) -> Result<Vec<String>, Error> {
    let wrong = || Error::Strings {
        name: name.clone(),
        count,
    };
    // Each takes its length at least, so the count is no reason to allocate more than was sent.
    if count > data.len() / LENGTH_BYTES {
        return Err(wrong());
    }
    let mut strings = Vec::with_capacity(count);
    for at in 0..count {
        let (length, rest) = data.split_first_chunk::<LENGTH_BYTES>().ok_or_else(wrong)?;
        let length = usize::try_from(u32::from_le_bytes(*length)).map_err(|_| wrong())?;
        let (string, rest) = rest.split_at_checked(length).ok_or_else(wrong)?;
        let string = std::str::from_utf8(string).map_err(|_| Error::NotText { name: name.clone(), at })?;
        strings.push(string.to_owned());
        data = rest;
    }
    match data.is_empty() {
        true => Ok(strings),
        false => Err(wrong()),
    }
}
