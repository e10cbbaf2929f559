use std::io;

#[cfg(unix)]
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Is memory that two processes share, without a name: who is given it can read and write it.
///
/// It is read and written by calls and not mapped, so that a partner who shrinks it causes an error and not a signal.
#[derive(Debug)]
pub struct SharedMemory {
    file: std::fs::File,
    size_bytes: u64,
}

/// What memory grows by at least, so that it seldom has to. Units: bytes.
const STEP_BYTES: u64 = 64 << 10;

impl SharedMemory {
    /// Makes memory of no size.
    #[cfg(target_os = "linux")]
    pub fn new() -> io::Result<SharedMemory> {
        let fd = rustix::fs::memfd_create("gpux", rustix::fs::MemfdFlags::CLOEXEC)?;
        Ok(SharedMemory::from(fd))
    }

    /// Writes at an offset, making room where there is none.
    #[cfg(unix)]
    pub fn write_at(&mut self, bytes: &[u8], offset: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        let end = offset.saturating_add(bytes.len() as u64);
        if end > self.size_bytes {
            let size_bytes = end.max(self.size_bytes.saturating_mul(2)).next_multiple_of(STEP_BYTES);
            self.file.set_len(size_bytes)?;
            self.size_bytes = size_bytes;
        }
        self.file.write_all_at(bytes, offset)
    }

    /// Reads at an offset; memory that ends before is an error.
    #[cfg(unix)]
    pub fn read_at(&self, bytes: &mut [u8], offset: u64) -> io::Result<()> {
        use std::os::unix::fs::FileExt;
        self.file.read_exact_at(bytes, offset)
    }
}

#[cfg(unix)]
impl From<OwnedFd> for SharedMemory {
    /// Takes memory that another process made.
    fn from(fd: OwnedFd) -> Self {
        SharedMemory {
            file: fd.into(),
            size_bytes: 0,
        }
    }
}

#[cfg(unix)]
impl AsFd for SharedMemory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn what_one_end_writes_the_other_reads() {
        let mut one = SharedMemory::new().unwrap();
        let other = SharedMemory::from(one.as_fd().try_clone_to_owned().unwrap());
        one.write_at(b"abc", STEP_BYTES - 1).unwrap();
        let mut read = [0; 3];
        other.read_at(&mut read, STEP_BYTES - 1).unwrap();
        assert_eq!(&read, b"abc");
        let end = other.read_at(&mut [0; 3], 2 * STEP_BYTES);
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
