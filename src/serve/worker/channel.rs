//! One end of an instance's stream and shared memory.
//!
//! Every call into the system costs a small model as much as its own work. So tensors of a few kilobytes travel behind their
//! message, which is written by one call and read by one; larger ones lie in shared memory.

use std::borrow::Cow;
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
    /// The small tensors that the next message brings.
    outgoing: Vec<u8>,
    /// The small tensors that the last message brought.
    incoming: Vec<u8>,
    /// What was read of the stream stands from `taken` up to `found`.
    buffer: Vec<u8>,
    taken: usize,
    found: usize,
    patience: Option<Duration>,
}

/// The most bytes of tensors that travel behind their message.
const SMALL_BYTES: usize = 16 << 10;
/// How much of the stream is read at once. Units: bytes.
const BUFFER_BYTES: usize = 32 << 10;

impl Channel {
    /// Joins a stream to the memory that this end writes and that which it reads.
    pub fn new(stream: UnixStream, writes: SharedMemory, reads: SharedMemory) -> Channel {
        Channel {
            stream,
            writes,
            reads,
            outgoing: Vec::new(),
            incoming: Vec::new(),
            buffer: Vec::new(),
            taken: 0,
            found: 0,
            patience: None,
        }
    }

    /// Puts tensors behind the next message, or into the memory that this end writes. Each may lie in several parts, which join
    /// along dimension 0: they are written one behind the other.
    pub fn put(&mut self, tensors: &[Vec<&Tensor>]) -> io::Result<Vec<Placed>> {
        self.outgoing.clear();
        let mut placed = Vec::with_capacity(tensors.len());
        let mut pieces = Vec::with_capacity(tensors.len());
        for parts in tensors {
            let mut size_bytes = 0;
            for tensor in parts {
                let bytes = memory::bytes(tensor).map(Cow::Borrowed);
                let bytes = bytes.unwrap_or_else(|| {
                    let mut bytes = Vec::new();
                    oip::encode_binary(tensor, &mut bytes);
                    Cow::Owned(bytes)
                });
                size_bytes += bytes.len() as u64;
                pieces.push(bytes);
            }
            let (dtype, shape) = match parts.as_slice() {
                [tensor] => (tensor.dtype(), tensor.shape().to_vec()),
                [first, ..] => (first.dtype(), Tensor::joined_shape(parts).map_err(invalid)?),
                [] => return Err(invalid("a tensor has no parts")),
            };
            placed.push(Placed {
                dtype,
                shape,
                size_bytes,
            });
        }
        let is_small = placed.iter().map(|tensor| tensor.size_bytes).sum::<u64>() <= SMALL_BYTES as u64;
        let mut offset = 0;
        for bytes in pieces {
            match is_small {
                true => self.outgoing.extend_from_slice(&bytes),
                false => self.writes.write_at(&bytes, offset)?,
            }
            offset += bytes.len() as u64;
        }
        Ok(placed)
    }

    /// Reads what lies behind the last message, or in the memory that the other end wrote.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        if self.incoming.is_empty() {
            return self.reads.read_at(to, offset);
        }
        let from = usize::try_from(offset).ok();
        let found = from.and_then(|from| self.incoming.get(from..from.checked_add(to.len())?));
        to.copy_from_slice(found.ok_or_else(|| invalid("a message is shorter than its tensors"))?);
        Ok(())
    }

    /// Takes the tensors of the last message, into the memory of those that are spare where it fits.
    ///
    /// `most_bytes` bounds what they may take together.
    pub fn take(&self, placed: &[Placed], most_bytes: u64, spare: Vec<Tensor>) -> io::Result<Vec<Tensor>> {
        let mut offset = 0u64;
        let mut tensors = Vec::with_capacity(placed.len());
        let mut spare = spare.into_iter();
        for Placed {
            dtype,
            shape,
            size_bytes,
        } in placed
        {
            let spare = spare.next();
            let end = offset.checked_add(*size_bytes).filter(|&end| end <= most_bytes);
            let end = end.ok_or_else(|| invalid("the tensors are larger than any may be"))?;
            let tensor = if *dtype == DType::String {
                let mut bytes = vec![0; usize::try_from(*size_bytes).map_err(invalid)?];
                self.read_at(&mut bytes, offset)?;
                oip::decode_binary(&TensorName::new("a string"), *dtype, shape, &bytes).map_err(invalid)?
            } else {
                let needed = shape.iter().try_fold(dtype.bits() as u64 / 8, |product, &size| {
                    product.checked_mul(size as u64)
                });
                if needed != Some(*size_bytes) {
                    return Err(invalid("a tensor is not as large as its shape says"));
                }
                memory::fill_again(spare, *dtype, shape, |to| self.read_at(to, offset)).map_err(invalid)?
            };
            offset = end;
            tensors.push(tensor);
        }
        Ok(tensors)
    }

    /// Sends a message, and the small tensors that were put.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        let mut whole = Vec::with_capacity(8 + message.len() + self.outgoing.len());
        for part in [message, &self.outgoing] {
            whole.extend(u32::try_from(part.len()).map_err(invalid)?.to_le_bytes());
        }
        whole.extend_from_slice(message);
        whole.append(&mut self.outgoing);
        self.stream.write_all(&whole)
    }

    /// Waits for a message; `None` where the other end is gone.
    ///
    /// Errors: none came within `patience`, or a second more; it is longer than any is.
    pub fn receive(&mut self, patience: Option<Duration>) -> io::Result<Option<Vec<u8>>> {
        // Whole seconds: most calls then need not tell the system.
        let patience = patience.map(|patience| Duration::from_secs(patience.as_secs() + 1));
        if patience != self.patience {
            self.stream.set_read_timeout(patience)?;
            self.patience = patience;
        }
        if !self.fill(8)? {
            return Ok(None);
        }
        let length = |at: usize| {
            let bytes = self.buffer[at..at + 4].try_into().unwrap_or_default();
            u32::from_le_bytes(bytes) as usize
        };
        let (message, small) = (length(self.taken), length(self.taken + 4));
        if message > MOST_BYTES || small > SMALL_BYTES {
            return Err(invalid("a message is longer than any may be"));
        }
        self.taken += 8;
        if !self.fill(message + small)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let (at, middle) = (self.taken, self.taken + message);
        self.taken = middle + small;
        self.incoming.clear();
        self.incoming.extend_from_slice(&self.buffer[middle..self.taken]);
        Ok(Some(self.buffer[at..middle].to_vec()))
    }

    /// Reads on until so many bytes wait to be taken; false where the other end is gone before the first.
    fn fill(&mut self, wanted: usize) -> io::Result<bool> {
        if self.found - self.taken >= wanted {
            return Ok(true);
        }
        self.buffer.copy_within(self.taken..self.found, 0);
        self.found -= self.taken;
        self.taken = 0;
        if self.buffer.len() < wanted.max(BUFFER_BYTES) {
            self.buffer.resize(wanted.max(BUFFER_BYTES), 0);
        }
        while self.found < wanted {
            match self.stream.read(&mut self.buffer[self.found..]) {
                Ok(0) if self.found == 0 => return Ok(false),
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(read) => self.found += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset && self.found == 0 => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// Says of tensors that each lies in one part.
pub(super) fn whole<'t>(tensors: impl IntoIterator<Item = &'t Tensor>) -> Vec<Vec<&'t Tensor>> {
    tensors.into_iter().map(|tensor| vec![tensor]).collect()
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
