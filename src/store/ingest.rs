use std::path::PathBuf;

use super::{Blob, Error, Lease, Store};
use crate::fs::{self, File};
use crate::oci::{Algorithm, Digest, Hasher};

/// Takes the content of one blob, piece by piece; dropped without a commit, nothing of it stays.
#[derive(Debug)]
pub struct Ingest {
    store: Store,
    hasher: Hasher,
    unfinished: Unfinished,
}

impl Ingest {
    /// Adds the next piece.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        Ok(self.unfinished.file_mut().write_all(bytes)?)
    }

    /// Makes what was written a blob, kept by `lease` until a tag does.
    pub fn commit(self, lease: &Lease) -> Result<Blob, Error> {
        let blob = Blob {
            size_bytes: self.hasher.size_bytes(),
            digest: self.hasher.finish(),
        };
        self.unfinished.commit(&self.store, lease, blob)
    }

    /// Makes what was written a blob if it is the content expected.
    ///
    /// Errors: [`Error::OtherContent`], [`Error::Size`].
    pub fn commit_as(self, lease: &Lease, expected: &Blob) -> Result<Blob, Error> {
        check(expected, self.hasher.size_bytes(), self.hasher.clone().finish())?;
        self.commit(lease)
    }
}

impl std::io::Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        Ingest::write(self, bytes).map_err(std::io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Store {
    /// Begins a blob that is named by its SHA-256.
    pub fn ingest(&self) -> Result<Ingest, Error> {
        self.ingest_with(Algorithm::Sha256)
    }

    /// Begins a blob that is named by the hash of another's choice.
    pub fn ingest_with(&self, algorithm: Algorithm) -> Result<Ingest, Error> {
        Ok(Ingest {
            store: self.clone(),
            hasher: Hasher::new(algorithm),
            unfinished: self.begin()?,
        })
    }

    /// Stores bytes as a blob.
    pub fn ingest_bytes(&self, lease: &Lease, bytes: &[u8]) -> Result<Blob, Error> {
        let blob = Blob {
            digest: Digest::of(bytes),
            size_bytes: bytes.len() as u64,
        };
        if self.keep(lease, &blob)? {
            return Ok(blob);
        }
        let mut unfinished = self.begin()?;
        unfinished.file_mut().write_all(bytes)?;
        unfinished.publish(self, blob)
    }

    /// Makes a file in `ingest/`, locked so that gc leaves it alone.
    pub(super) fn begin(&self) -> Result<Unfinished, Error> {
        let _lock = self.lock()?;
        let (path, file) = fs::unused(&self.layout().ingest(), &|n| format!("new-{}-{n}", std::process::id()))?;
        let unfinished = Unfinished { path, file: Some(file) };
        unfinished.file().try_lock()?;
        Ok(unfinished)
    }

    /// Leases a blob, and tells whether it is already there and sound.
    pub(super) fn keep(&self, lease: &Lease, blob: &Blob) -> Result<bool, Error> {
        lease.add(&self.lock()?, &[blob.digest])?;
        self.is_sound(blob)
    }
}

/// Refuses content that is not what was expected.
pub(super) fn check(expected: &Blob, found_bytes: u64, found: Digest) -> Result<(), Error> {
    if found_bytes != expected.size_bytes {
        return Err(Error::Size {
            digest: expected.digest,
            expected_bytes: expected.size_bytes,
            found_bytes,
        });
    }
    if found != expected.digest {
        return Err(Error::OtherContent {
            expected: Box::new(expected.digest),
            found,
        });
    }
    Ok(())
}

/// Holds a file in `ingest/` that becomes a blob or vanishes.
#[derive(Debug)]
pub(super) struct Unfinished {
    path: PathBuf,
    file: Option<File>,
}

impl Unfinished {
    pub(super) fn file(&self) -> &File {
        self.file
            .as_ref()
            .expect("the file is taken only by `publish` and `drop`, which end this value")
    }

    pub(super) fn file_mut(&mut self) -> &mut File {
        self.file
            .as_mut()
            .expect("the file is taken only by `publish` and `drop`, which end this value")
    }

    /// Leases the blob, and makes the file that blob unless a sound one is there already.
    pub(super) fn commit(self, store: &Store, lease: &Lease, blob: Blob) -> Result<Blob, Error> {
        if store.keep(lease, &blob)? {
            return Ok(blob);
        }
        self.publish(store, blob)
    }

    /// Makes the file the blob, which must be leased.
    pub(super) fn publish(mut self, store: &Store, blob: Blob) -> Result<Blob, Error> {
        publish(store, self.file(), &blob)?;
        self.file = None;
        Ok(blob)
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // What is left over has no holder, and the next gc removes it.
            let _ = fs::remove(&self.path);
        }
    }
}

/// Brings a finished file to the disk, gives it its name in `blobs/`, and brings the name to the disk.
pub(super) fn publish(store: &Store, file: &File, blob: &Blob) -> Result<(), Error> {
    let target = store.layout().blob(&blob.digest);
    let folder = store.layout().blobs(blob.digest.algorithm());
    file.set_read_only()?;
    file.sync()?;
    fs::create_folders(&folder)?;
    fs::rename(file.path(), &target)?;
    // The rename has touched the file's times, so only now they are what a later reader finds. A file whose times are
    // not to be had is hashed again then.
    if let Ok(stat) = file.stat() {
        store.verdicts().record(&blob.digest, &stat);
    }
    fs::sync_folder(&folder).map_err(|error| {
        // A name that may not outlive a power cut must not be found by the next one who stores this content.
        let _ = fs::remove(&target);
        error.into()
    })
}
