use std::path::PathBuf;

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

/// Hashes a file from its position to its end.
pub(super) fn hash_rest(file: &mut File, hasher: &mut Hasher) -> Result<(), fs::Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = file.read(&mut chunk)?;
        hasher.update(&chunk[..filled]);
        if filled < chunk.len() {
            return Ok(());
        }
    }
}
