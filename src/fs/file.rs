use std::fs::{OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use super::{Error, Stat, call};

/// Holds an open file that knows its path.
#[derive(Debug)]
pub struct File {
    file: std::fs::File,
    path: PathBuf,
}

/// Tells whether a lock was got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Locked {
    /// The lock is held until the file is closed.
    Ours,
    /// Another file handle, here or in another process, holds the lock.
    ByOthers,
}

impl File {
    /// Opens a file for reading. A named pipe or a device does not block: it opens, and [`File::stat`] tells.
    pub fn open(path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::custom_flags(
            &mut options,
            (rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY)
                .bits()
                .cast_signed(),
        );
        File::with(&options, "open", path)
    }

    /// Makes a file that does not exist yet, for reading and writing.
    pub fn create_new(path: &Path) -> Result<File, Error> {
        File::with(
            OpenOptions::new().read(true).write(true).create_new(true),
            "create",
            path,
        )
    }

    /// Makes a file that does not exist yet and that its owner alone can read.
    pub fn create_new_private(path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        File::with(&options, "create", path)
    }

    /// Opens a file for reading and writing, and makes it if it does not exist.
    pub fn open_or_create(path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        File::with(&options, "create", path)
    }

    /// Opens a file as [`File::open_or_create`] does; one that is made is its owner's alone to read.
    pub fn open_or_create_private(path: &Path) -> Result<File, Error> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).truncate(false);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        File::with(&options, "create", path)
    }

    /// Opens a file for writing at its end, wherever that is by then, and makes it if it does not exist.
    pub fn open_to_append(path: &Path) -> Result<File, Error> {
        File::with(OpenOptions::new().append(true).create(true), "create", path)
    }

    fn with(options: &OpenOptions, act: &'static str, path: &Path) -> Result<File, Error> {
        let file = call(act, path, || options.open(path))?;
        Ok(File {
            file,
            path: path.to_owned(),
        })
    }

    /// Gives the path that the file was opened under.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives the system's file, for memory maps.
    pub fn system(&self) -> &std::fs::File {
        &self.file
    }

    /// Takes the system's file, for readers that own theirs.
    pub fn into_system(self) -> std::fs::File {
        self.file
    }

    /// Gives what the system knows about the file.
    pub fn stat(&self) -> Result<Stat, Error> {
        call("examine", &self.path, || {
            self.file.metadata().map(|found| Stat::of(&found))
        })
    }

    /// Fills as much of `buffer` as the file still has, and gives how much.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let file = &mut self.file;
        call("read", &self.path, || {
            let mut filled = 0;
            while filled < buffer.len() {
                match file.read(&mut buffer[filled..]) {
                    Ok(0) => break,
                    Ok(n) => filled += n,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(filled)
        })
    }

    /// Fills `buffer` from a position; another thread's position does not matter on Unix.
    pub fn read_exact_at(&self, buffer: &mut [u8], offset_bytes: u64) -> Result<(), Error> {
        call("read", &self.path, || {
            #[cfg(unix)]
            return std::os::unix::fs::FileExt::read_exact_at(&self.file, buffer, offset_bytes);
            #[cfg(not(unix))]
            {
                let mut done = 0;
                while done < buffer.len() {
                    let at = offset_bytes + done as u64;
                    match std::os::windows::fs::FileExt::seek_read(&self.file, &mut buffer[done..], at)? {
                        0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                        n => done += n,
                    }
                }
                Ok(())
            }
        })
    }

    /// Writes all of `bytes` at the file's position.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let file = &mut self.file;
        call("write", &self.path, || file.write_all(bytes))
    }

    /// Writes all of `bytes` at a position; threads may write different parts of one file at once.
    pub fn write_all_at(&self, bytes: &[u8], offset_bytes: u64) -> Result<(), Error> {
        call("write", &self.path, || {
            #[cfg(unix)]
            return std::os::unix::fs::FileExt::write_all_at(&self.file, bytes, offset_bytes);
            #[cfg(not(unix))]
            {
                let mut done = 0;
                while done < bytes.len() {
                    let at = offset_bytes + done as u64;
                    match std::os::windows::fs::FileExt::seek_write(&self.file, &bytes[done..], at)? {
                        0 => return Err(io::ErrorKind::WriteZero.into()),
                        n => done += n,
                    }
                }
                Ok(())
            }
        })
    }

    /// Goes back to the start of the file.
    pub fn rewind(&mut self) -> Result<(), Error> {
        let file = &mut self.file;
        call("read", &self.path, || file.rewind())
    }

    /// Gives the file a length: it is cut, or filled up with zeros.
    pub fn set_len(&self, size_bytes: u64) -> Result<(), Error> {
        call("resize", &self.path, || self.file.set_len(size_bytes))
    }

    /// Gives the file a length and reserves the space for it, so that a full disk is known before the first byte.
    pub fn allocate(&self, size_bytes: u64) -> Result<(), Error> {
        call("reserve space for", &self.path, || {
            #[cfg(target_os = "linux")]
            if size_bytes > 0 {
                use rustix::fs::{FallocateFlags, fallocate};
                use rustix::io::Errno;
                match fallocate(&self.file, FallocateFlags::empty(), 0, size_bytes) {
                    // File systems without reservation take the bytes as they come.
                    Ok(()) | Err(Errno::OPNOTSUPP | Errno::NOSYS) => {}
                    Err(error) => return Err(error.into()),
                }
            }
            self.file.set_len(size_bytes)
        })
    }

    /// Makes the file a copy of `source` that shares its disk blocks, where the file system can; false where not.
    pub fn clone_content(&self, source: &File) -> Result<bool, Error> {
        call("write", &self.path, || {
            #[cfg(target_os = "linux")]
            return Ok(rustix::fs::ioctl_ficlone(&self.file, &source.file).is_ok());
            #[cfg(not(target_os = "linux"))]
            {
                let _ = source;
                Ok(false)
            }
        })
    }

    /// Lets the system begin to bring a part of the content to the disk, and does not wait for it.
    pub fn begin_sync(&self, offset_bytes: u64, size_bytes: u64) -> Result<(), Error> {
        call("sync", &self.path, || {
            #[cfg(target_os = "linux")]
            if let Some(size) = std::num::NonZeroU64::new(size_bytes) {
                // Asked to forget pages that are not on the disk yet, Linux begins to write them.
                rustix::fs::fadvise(&self.file, offset_bytes, Some(size), rustix::fs::Advice::DontNeed)?;
            }
            #[cfg(not(target_os = "linux"))]
            let _ = (offset_bytes, size_bytes);
            Ok(())
        })
    }

    /// Brings the content to the disk.
    pub fn sync(&self) -> Result<(), Error> {
        call("sync", &self.path, || self.file.sync_all())
    }

    /// Takes the right to write from everybody, where the system has such rights.
    pub fn set_read_only(&self) -> Result<(), Error> {
        call("protect", &self.path, || {
            #[cfg(unix)]
            {
                use std::os::unix::fs::PermissionsExt;
                let mode = self.file.metadata()?.permissions().mode() & 0o555;
                self.file.set_permissions(std::fs::Permissions::from_mode(mode))?;
            }
            Ok(())
        })
    }

    /// Tries to lock the file together with others that share it, against those that lock it alone.
    pub fn try_lock_shared(&self) -> Result<Locked, Error> {
        self.locked(|file| file.try_lock_shared())
    }

    /// Tries to lock the file against all others that lock it.
    pub fn try_lock(&self) -> Result<Locked, Error> {
        self.locked(|file| file.try_lock())
    }

    fn locked(&self, lock: impl FnOnce(&std::fs::File) -> Result<(), TryLockError>) -> Result<Locked, Error> {
        call("lock", &self.path, || match lock(&self.file) {
            Ok(()) => Ok(Locked::Ours),
            Err(TryLockError::WouldBlock) => Ok(Locked::ByOthers),
            Err(TryLockError::Error(error)) => Err(error),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_held_until_the_file_is_closed() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let first = File::open_or_create(&path).unwrap();
        let second = File::open_or_create(&path).unwrap();
        assert_eq!(first.try_lock().unwrap(), Locked::Ours);
        assert_eq!(second.try_lock().unwrap(), Locked::ByOthers);
        drop(first);
        assert_eq!(second.try_lock().unwrap(), Locked::Ours);
    }

    #[test]
    fn those_who_share_a_lock_keep_out_who_wants_it_alone() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("lock");
        let files = [1, 2, 3].map(|_| File::open_or_create(&path).unwrap());
        assert_eq!(files[0].try_lock_shared().unwrap(), Locked::Ours);
        assert_eq!(files[1].try_lock_shared().unwrap(), Locked::Ours);
        assert_eq!(files[2].try_lock().unwrap(), Locked::ByOthers);
    }

    #[test]
    fn parts_are_written_and_read_in_any_order() {
        let home = tempfile::tempdir().unwrap();
        let file = File::create_new(&home.path().join("x")).unwrap();
        file.allocate(6).unwrap();
        file.write_all_at(b"def", 3).unwrap();
        file.write_all_at(b"abc", 0).unwrap();
        let mut middle = [0; 4];
        file.read_exact_at(&mut middle, 1).unwrap();
        assert_eq!(&middle, b"bcde");
        assert_eq!(file.stat().unwrap().size_bytes, 6);
        assert!(file.read_exact_at(&mut middle, 4).is_err());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn opening_a_named_pipe_does_not_block() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        assert!(!File::open(&path).unwrap().stat().unwrap().is_file);
    }
}
