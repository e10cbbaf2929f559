#![allow(unsafe_code)] // The one mapping call, whose reason stands beside it.

use std::fs::File;
use std::io;
use std::path::Path;

use bytes::Bytes;
use memmap2::Mmap;

use super::Error;

/// Maps a file into memory for reading: nothing is read until it is looked at, and nothing is copied.
///
/// The bytes stay as long as any clone or slice of them. They follow the file: what overwrites it in place is seen, and
/// what shortens it ends this process at the next look (SIGBUS). Blobs of the store are never changed in place.
///
/// Errors: the path is no regular file, or cannot be opened or mapped.
pub fn map(path: &Path) -> Result<Bytes, Error> {
    map_regular(path).map_err(|source| Error {
        act: "map",
        path: path.to_owned(),
        source,
    })
}

fn map_regular(path: &Path) -> io::Result<Bytes> {
    // Asked before opening: to open a FIFO is to wait for its writer.
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
    }
    // An empty mapping is refused by the system.
    if metadata.len() == 0 {
        return Ok(Bytes::new());
    }
    let file = File::open(path)?;
    // SAFETY: the mapping is private and read-only, and lives as long as the bytes that own it. Another process could
    // still write to the file; whoever reads foreign bytes here checks every length in them, so that changed bytes are
    // wrong data and not a broken invariant.
    let mapped = unsafe { Mmap::map(&file)? };
    Ok(Bytes::from_owner(mapped))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapped_file_reads_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        std::fs::write(&path, b"content").unwrap();
        assert_eq!(map(&path).unwrap(), "content");
        std::fs::write(&path, b"").unwrap();
        assert!(map(&path).unwrap().is_empty());
    }

    #[test]
    fn a_folder_is_not_mapped() {
        let folder = tempfile::tempdir().unwrap();
        let error = map(folder.path()).unwrap_err();
        assert_eq!((error.act, error.path.as_path()), ("map", folder.path()));
    }
}
