use std::path::PathBuf;

use super::copy::Source;
use super::{Error, Store};
use crate::fs::{self, File, Stat};
use crate::oci::{Descriptor, Digest, Document, Hasher, MAX_DOCUMENT_BYTES, MediaType};

/// How much of a blob is read at once where it is hashed.
const CHUNK_BYTES: usize = 1 << 20;

/// Names a blob of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Blob {
    /// The hash of the content.
    pub digest: Digest,
    /// The number of bytes of the content.
    pub size_bytes: u64,
}

impl Blob {
    /// Gives the descriptor that names the blob as content of a media type.
    pub fn descriptor(&self, media_type: MediaType) -> Descriptor {
        Descriptor::new(media_type, self.digest, self.size_bytes)
    }
}

impl Store {
    /// Finds a blob by its name alone, without looking at its content; `None` if it is not there.
    pub fn find(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        let found = fs::stat_link(&self.layout().blob(digest))?;
        Ok(found.filter(|found| found.is_file).map(|found| Blob {
            digest: *digest,
            size_bytes: found.size_bytes,
        }))
    }

    /// Gives the path of a blob whose content is what its digest says. It is hashed if it was never found sound, or if
    /// its inode, size or times have changed since.
    ///
    /// Errors: [`Error::MissingBlob`], [`Error::Damaged`].
    pub fn blob(&self, digest: &Digest) -> Result<PathBuf, Error> {
        Ok(self.open_blob(digest)?.path().to_owned())
    }

    /// Opens a blob whose content is what its digest says, as [`Store::blob`] does.
    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let mut file = self.open_unverified(digest)?;
        if !self.verdicts().vouches_for(digest, &file.stat()?) {
            self.verify_blob(&mut file, digest)?;
            file.rewind()?;
        }
        Ok(file)
    }

    /// Reads a blob of at most `limit_bytes` and hashes what it read.
    ///
    /// Errors: [`Error::MissingBlob`], [`Error::TooLarge`], [`Error::Damaged`].
    pub fn read(&self, digest: &Digest, limit_bytes: u64) -> Result<Vec<u8>, Error> {
        let mut file = self.open_unverified(digest)?;
        let size_bytes = file.stat()?.size_bytes;
        if size_bytes > limit_bytes {
            return Err(Error::TooLarge {
                digest: *digest,
                size_bytes,
                limit_bytes,
            });
        }
        let mut bytes = vec![0; usize::try_from(size_bytes).unwrap_or(usize::MAX)];
        let filled = file.read(&mut bytes)?;
        bytes.truncate(filled);
        let mut hasher = Hasher::new(digest.algorithm());
        hasher.update(&bytes);
        self.check_digest(digest, hasher.finish())?;
        Ok(bytes)
    }

    /// Reads the manifest or the index that a descriptor names: size, digest and media type are what it says.
    ///
    /// Errors: as for [`Store::read`]; [`Error::Size`], [`Error::Document`].
    pub fn document(&self, descriptor: &Descriptor) -> Result<Document, Error> {
        let digest = descriptor.digest;
        let bytes = self.read(&digest, MAX_DOCUMENT_BYTES)?;
        if bytes.len() as u64 != descriptor.size_bytes {
            return Err(Error::Size {
                digest,
                expected_bytes: descriptor.size_bytes,
                found_bytes: bytes.len() as u64,
            });
        }
        Document::parse(&bytes, Some(&descriptor.media_type)).map_err(|source| Error::Document { digest, source })
    }

    /// Tells whether a blob is there, of the right size and content.
    pub(super) fn is_sound(&self, blob: &Blob) -> Result<bool, Error> {
        if self.find(&blob.digest)? != Some(*blob) {
            return Ok(false);
        }
        match self.blob(&blob.digest) {
            Ok(_) => Ok(true),
            Err(Error::Damaged { .. } | Error::MissingBlob { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Hashes a whole blob and remembers that it is sound.
    ///
    /// Errors: [`Error::Damaged`]; [`Error::Changed`] if somebody wrote to it meanwhile.
    pub(super) fn verify_blob(&self, file: &mut File, digest: &Digest) -> Result<Stat, Error> {
        let before = file.stat()?;
        let mut hasher = Hasher::new(digest.algorithm());
        hash_rest(file, &mut hasher)?;
        self.check_digest(digest, hasher.finish())?;
        if file.stat()? != before {
            return Err(Error::Changed {
                path: file.path().to_owned(),
            });
        }
        self.verdicts().record(digest, &before);
        Ok(before)
    }

    pub(super) fn open_unverified(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.layout().blob(digest);
        let file = fs::if_exists(File::open(&path))?.ok_or(Error::MissingBlob { digest: *digest })?;
        if !file.stat()?.is_file {
            return Err(Error::NotAFile { path });
        }
        Ok(file)
    }

    fn check_digest(&self, digest: &Digest, found: Digest) -> Result<(), Error> {
        if found == *digest {
            return Ok(());
        }
        Err(Error::Damaged {
            digest: *digest,
            path: self.layout().blob(digest),
            found: Box::new(found),
        })
    }
}

/// Hashes a source from its position to its end.
pub(super) fn hash_rest(source: &mut dyn Source, hasher: &mut Hasher) -> Result<(), fs::Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = source.fill(&mut chunk)?;
        hasher.update(&chunk[..filled]);
        if filled < chunk.len() {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::faults::{self, Fault};
    use crate::store::tests::{folder, store_with};

    #[test]
    fn a_sound_blob_is_not_hashed_again_until_it_changes() {
        let folder = folder();
        let home = folder.path().join("home");
        let digest = Digest::of(b"x");
        store_with(&home, &["x"]);
        let blobs = home.join("store/blobs");
        let unreadable = faults::lasting(&blobs, 0, Fault::Unreadable);
        // Another process, which knows only what is on the disk.
        let path = Store::open(&home).unwrap().blob(&digest).unwrap();
        drop(unreadable);

        let other = path.with_file_name("copy");
        std::fs::copy(&path, &other).unwrap();
        std::fs::rename(&other, &path).unwrap();
        let unreadable = faults::lasting(&blobs, 0, Fault::Unreadable);
        let refused = Store::open(&home).unwrap().blob(&digest);
        assert!(matches!(refused, Err(Error::Fs(_))), "another inode is hashed again");
        drop(unreadable);
        Store::open(&home).unwrap().blob(&digest).unwrap();
        let _unreadable = faults::lasting(&blobs, 0, Fault::Unreadable);
        Store::open(&home)
            .unwrap()
            .blob(&digest)
            .expect("and then trusted again");
    }

    #[test]
    fn a_bit_flipped_in_place_is_found_though_size_and_time_are_as_before() {
        let folder = folder();
        let home = folder.path().join("home");
        let digest = Digest::of(b"x");
        let store = store_with(&home, &["x"]);
        let path = store.blob(&digest).unwrap();
        let before = std::fs::metadata(&path).unwrap();
        // The system counts time in ticks of some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        let mut permissions = before.permissions();
        #[allow(clippy::permissions_set_readonly_false)]
        permissions.set_readonly(false);
        std::fs::set_permissions(&path, permissions).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(&path).unwrap();
        std::io::Write::write_all(&mut &file, b"y").unwrap();
        file.set_modified(before.modified().unwrap()).unwrap();
        drop(file);
        let error = store.blob(&digest).unwrap_err();
        assert!(
            matches!(&error, Error::Damaged { found, .. } if **found == Digest::of(b"y")),
            "{error}"
        );
        assert!(store.open_blob(&digest).is_err() && store.read(&digest, 10).is_err());
    }

    #[test]
    fn storing_content_again_heals_a_damaged_blob() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x"]);
        let digest = Digest::of(b"x");
        let path = store.blob(&digest).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"y").unwrap();
        let lease = store.lease(&[]).unwrap();
        store.ingest_bytes(&lease, b"x").unwrap();
        assert_eq!(std::fs::read(store.blob(&digest).unwrap()).unwrap(), b"x");
    }

    #[test]
    fn what_is_too_large_for_memory_is_refused_before_it_is_read() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["four"]);
        let digest = Digest::of(b"four");
        assert!(matches!(
            store.read(&digest, 3),
            Err(Error::TooLarge { size_bytes: 4, .. })
        ));
        assert_eq!(store.read(&digest, 4).unwrap(), b"four");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_file_is_no_blob() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x"]);
        let (folded, linked) = (Digest::of(b"folder"), Digest::of(b"link"));
        std::fs::create_dir(store.layout().blob(&folded)).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", store.layout().blob(&linked)).unwrap();
        for digest in [folded, linked] {
            assert_eq!(store.find(&digest).unwrap(), None);
            assert!(store.blob(&digest).is_err());
        }
    }
}
