//! One end of an instance's stream and shared memory.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::wire::{MOST_BYTES, Placed};
use crate::fs::SharedMemory;
use crate::tensor::{DType, Tensor, TensorName, memory, oip};

/// Joins the stream to the memory that this end writes and the memory that it reads.
#[derive(Debug)]
pub(super) struct Channel {
    pub stream: UnixStream,
    pub writes: SharedMemory,
    pub reads: SharedMemory,
}

impl Channel {
    /// Puts tensors into the memory that this end writes.
    pub fn put<'t>(&mut self, tensors: impl IntoIterator<Item = &'t Tensor>) -> io::Result<Vec<Placed>> {
        let mut offset = 0;
        let mut placed = Vec::new();
        for tensor in tensors {
            let size_bytes = match memory::bytes(tensor) {
                Some(bytes) => {
                    self.writes.write_at(bytes, offset)?;
                    bytes.len() as u64
                }
                None => {
                    let mut bytes = Vec::new();
                    oip::encode_binary(tensor, &mut bytes);
                    self.writes.write_at(&bytes, offset)?;
                    bytes.len() as u64
                }
            };
            offset += size_bytes;
            placed.push(Placed {
                dtype: tensor.dtype(),
                shape: tensor.shape().to_vec(),
                size_bytes,
            });
        }
        Ok(placed)
    }

    /// Takes tensors out of the memory that the other end wrote.
    ///
    /// `most_bytes` bounds what they may take together.
    pub fn take(&self, placed: &[Placed], most_bytes: u64) -> io::Result<Vec<Tensor>> {
        let mut offset = 0u64;
        let mut tensors = Vec::with_capacity(placed.len());
        for Placed {
            dtype,
            shape,
            size_bytes,
        } in placed
        {
            let end = offset.checked_add(*size_bytes).filter(|&end| end <= most_bytes);
            let end = end.ok_or_else(|| invalid("the tensors are larger than any may be"))?;
            let tensor = if *dtype == DType::String {
                let mut bytes = vec![0; usize::try_from(*size_bytes).map_err(invalid)?];
                self.reads.read_at(&mut bytes, offset)?;
                oip::decode_binary(&TensorName::new("a string"), *dtype, shape, &bytes).map_err(invalid)?
            } else {
                let needed = shape.iter().try_fold(dtype.bits() as u64 / 8, |product, &size| {
                    product.checked_mul(size as u64)
                });
                if needed != Some(*size_bytes) {
                    return Err(invalid("a tensor is not as large as its shape says"));
                }
                memory::fill(*dtype, shape, |to| self.reads.read_at(to, offset)).map_err(invalid)?
            };
            offset = end;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// Sends a message.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        send(&mut self.stream, message)
    }

    /// Waits for a message; `None` where the other end is gone.
    ///
    /// Errors: none came within `patience`, or it is longer than any is.
    pub fn receive(&mut self, patience: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_read_timeout(patience)?;
        receive(&mut self.stream)
    }
}

/// Sends a message behind its length.
pub(super) fn send(stream: &mut UnixStream, message: &[u8]) -> io::Result<()> {
    let length = u32::try_from(message.len()).map_err(invalid)?;
    let whole = [&length.to_le_bytes(), message].concat();
    stream.write_all(&whole)
}

/// Waits for a message; `None` where the other end is gone.
pub(super) fn receive(stream: &mut UnixStream) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match stream.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(None),
        read => read?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > MOST_BYTES {
        return Err(invalid("a message is longer than any may be"));
    }
    let mut message = vec![0; length];
    stream.read_exact(&mut message)?;
    Ok(Some(message))
}

pub(super) fn invalid(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
