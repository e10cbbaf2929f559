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
    /// Where the next large tensors are written, and where they are read.
    write_from: u64,
    read_from: u64,
    /// Messages that were not sent yet.
    held: Vec<u8>,
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
            write_from: 0,
            read_from: 0,
            held: Vec::new(),
            outgoing: Vec::new(),
            incoming: Vec::new(),
            buffer: Vec::new(),
            taken: 0,
            found: 0,
            patience: None,
        }
    }

    /// Uses shared memory from its start again: both ends have read what the other wrote.
    pub fn start_over(&mut self) {
        (self.write_from, self.read_from) = (0, 0);
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
        for bytes in pieces {
            if is_small {
                self.outgoing.extend_from_slice(&bytes);
            } else {
                self.writes.write_at(&bytes, self.write_from)?;
                self.write_from += bytes.len() as u64;
            }
        }
        Ok(placed)
    }

    /// Reads what lies behind the last message, or in the memory that the other end wrote.
    fn read_at(&self, to: &mut [u8], offset: u64) -> io::Result<()> {
        if self.incoming.is_empty() {
            return self.reads.read_at(to, self.read_from.saturating_add(offset));
        }
        let from = usize::try_from(offset).ok();
        let found = from.and_then(|from| self.incoming.get(from..from.checked_add(to.len())?));
        to.copy_from_slice(found.ok_or_else(|| invalid("a message is shorter than its tensors"))?);
        Ok(())
    }

    /// Takes the tensors of the last message, into the memory of those that are spare where it fits.
    ///
    /// `most_bytes` bounds what they may take together.
    pub fn take(&mut self, placed: &[Placed], most_bytes: u64, spare: Vec<Tensor>) -> io::Result<Vec<Tensor>> {
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
        if self.incoming.is_empty() {
            self.read_from = self.read_from.saturating_add(offset);
        }
        Ok(tensors)
    }

    /// Sends a message, and the small tensors that were put.
    pub fn send(&mut self, message: &[u8]) -> io::Result<()> {
        self.hold(message)?;
        self.flush()
    }

    /// Sends a message, and the small tensors that were put, together with those that follow: with the next [`Channel::flush`],
    /// which [`Channel::receive`] does before it waits.
    pub fn hold(&mut self, message: &[u8]) -> io::Result<()> {
        for part in [message, &self.outgoing] {
            self.held
                .extend(u32::try_from(part.len()).map_err(invalid)?.to_le_bytes());
        }
        self.held.extend_from_slice(message);
        self.held.append(&mut self.outgoing);
        match self.held.len() < BUFFER_BYTES {
            true => Ok(()),
            false => self.flush(),
        }
    }

    /// Sends what is held.
    pub fn flush(&mut self) -> io::Result<()> {
        if !self.held.is_empty() {
            self.stream.write_all(&self.held)?;
            self.held.clear();
        }
        Ok(())
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
            self.flush()?;
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::serve::executor::whole;

    fn pair() -> io::Result<(Channel, Channel)> {
        let (ours, theirs) = UnixStream::pair()?;
        let (one, other) = (SharedMemory::new()?, SharedMemory::new()?);
        let again = |memory: &SharedMemory| memory.as_fd().try_clone_to_owned().map(SharedMemory::from);
        let far = Channel::new(theirs, again(&other)?, again(&one)?);
        Ok((Channel::new(ours, one, other), far))
    }

    #[test]
    fn messages_that_are_held_come_one_by_one_each_with_its_own_tensors() {
        let (mut near, mut far) = pair().unwrap();
        let tensor = |seed: i64, count: usize| Tensor::from_vec([count], vec![seed; count]).unwrap();
        for round in 0..3 {
            near.start_over();
            far.start_over();
            // Some travel behind their message, others lie in shared memory, one behind the other.
            let sizes = [1, 5000, 0, 100_000, 2, 4000];
            let sent: Vec<Vec<Tensor>> = (0..6i64)
                .map(|at| vec![tensor(round * 10 + at, sizes[at as usize]), tensor(-at, 3)])
                .collect();
            let mut placed = Vec::new();
            for (at, tensors) in (0u8..).zip(&sent) {
                placed.push(near.put(&whole(tensors)).unwrap());
                near.hold(&[at]).unwrap();
            }
            near.flush().unwrap();
            for (at, (tensors, placed)) in (0u8..).zip(sent.iter().zip(&placed)) {
                assert_eq!(far.receive(None).unwrap(), Some(vec![at]));
                assert_eq!(&far.take(placed, u64::MAX, Vec::new()).unwrap(), tensors, "{at}");
            }
        }
        // What is held goes out before its end waits.
        far.put(&[]).unwrap();
        far.hold(b"answer").unwrap();
        drop(near.put(&[]).unwrap());
        near.send(b"next").unwrap();
        assert_eq!(far.receive(None).unwrap(), Some(b"next".to_vec()));
        near.send(b"last").unwrap();
        assert_eq!(far.receive(None).unwrap(), Some(b"last".to_vec()));
        assert_eq!(near.receive(None).unwrap(), Some(b"answer".to_vec()));
    }
}
