use super::ingest::{check, publish};
use super::{Blob, Error, Lease, Store};
use crate::fs::{self, File, Locked};
use crate::oci::{Digest, Hasher};

/// Tells who brings a blob into the store.
#[derive(Debug)]
pub enum Claim {
    /// The blob is there, sound, and leased.
    Present,
    /// Another download, here or in another process, is bringing it: claim again later.
    Busy,
    /// This one is to bring it.
    Ours(Part),
}

/// Holds the unfinished file of a blob whose digest and size are known; it outlives its process and can be continued.
///
/// Shape: `ingest/ALGORITHM-HEX`, locked by its holder, with the size of the blob from the start; beside it
/// `ingest/ALGORITHM-HEX.journal`, whose content is the holder's own and says what of the file is there.
#[derive(Debug)]
pub struct Part {
    store: Store,
    blob: Blob,
    file: File,
}

impl Part {
    /// Gives the digest and size of the blob.
    pub fn blob(&self) -> &Blob {
        &self.blob
    }

    /// Gives the file, whose parts may be written and read by several threads at once.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Reads the journal; empty at the first claim.
    pub fn journal(&self) -> Result<Vec<u8>, Error> {
        Ok(fs::read_if_exists(&self.store.journal(&self.blob.digest))?.unwrap_or_default())
    }

    /// Adds to the journal.
    pub fn append_to_journal(&self, bytes: &[u8]) -> Result<(), Error> {
        let mut journal = File::open_to_append(&self.store.journal(&self.blob.digest))?;
        Ok(journal.write_all(bytes)?)
    }

    /// Replaces the journal in one step; an empty one means that nothing of the file counts.
    pub fn replace_journal(&self, bytes: &[u8]) -> Result<(), Error> {
        Ok(fs::replace(&self.store.journal(&self.blob.digest), bytes)?)
    }

    /// Makes the file the blob. `hashed` is what the holder's own hashing of all of it gave; without it the file is
    /// hashed here.
    ///
    /// Errors: [`Error::OtherContent`], [`Error::Size`]; nothing of the file is kept then.
    pub fn commit(mut self, lease: &Lease, hashed: Option<Digest>) -> Result<Blob, Error> {
        let found = match hashed {
            Some(digest) => digest,
            None => {
                let mut hasher = Hasher::new(self.blob.digest.algorithm());
                self.file.rewind()?;
                super::blob::hash_rest(&mut self.file, &mut hasher)?;
                hasher.finish()
            }
        };
        let found_bytes = self.file.stat()?.size_bytes;
        if let Err(error) = check(&self.blob, found_bytes, found) {
            self.discard()?;
            return Err(error);
        }
        self.file.sync()?;
        // Under the lock, so that nobody opens the file by its old name and then gets the lock of a blob.
        let lock = self.store.lock()?;
        lease.add(&lock, &[self.blob.digest])?;
        publish(&self.store, &self.file, &self.blob)?;
        fs::remove(&self.store.journal(&self.blob.digest))?;
        Ok(self.blob)
    }

    /// Gives the download up and removes what is there of it.
    pub fn discard(self) -> Result<(), Error> {
        let _lock = self.store.lock()?;
        fs::remove(&self.store.journal(&self.blob.digest))?;
        Ok(fs::remove(self.file.path())?)
    }
}

impl Store {
    /// Claims the right to bring a blob into the store. The space for it is reserved at once.
    ///
    /// Errors: those of the system; a full disk is told here.
    pub fn claim(&self, lease: &Lease, blob: &Blob) -> Result<Claim, Error> {
        if self.keep(lease, blob)? {
            return Ok(Claim::Present);
        }
        let path = self.layout().ingest().join(part_name(&blob.digest));
        let file = {
            let _lock = self.lock()?;
            let file = File::open_or_create(&path)?;
            match file.try_lock()? {
                Locked::Ours => file,
                Locked::ByOthers => return Ok(Claim::Busy),
            }
        };
        // Between the first look and the lock another download may have ended.
        if self.is_sound(blob)? {
            let part = self.part(blob, file);
            part.discard()?;
            return Ok(Claim::Present);
        }
        if file.stat()?.size_bytes != blob.size_bytes {
            fs::remove(&self.journal(&blob.digest))?;
            if let Err(error) = file.allocate(blob.size_bytes) {
                let _ = self.part(blob, file).discard();
                return Err(error.into());
            }
        }
        Ok(Claim::Ours(self.part(blob, file)))
    }

    fn part(&self, blob: &Blob, file: File) -> Part {
        Part {
            store: self.clone(),
            blob: *blob,
            file,
        }
    }

    fn journal(&self, digest: &Digest) -> std::path::PathBuf {
        self.layout().ingest().join(format!("{}.journal", part_name(digest)))
    }
}

fn part_name(digest: &Digest) -> String {
    format!("{}-{}", digest.algorithm().name(), digest.hex())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::GcOptions;
    use crate::store::tests::folder;

    fn ours(claim: Claim) -> Part {
        match claim {
            Claim::Ours(part) => part,
            other => panic!("{other:?}"),
        }
    }

    fn blob() -> Blob {
        Blob {
            digest: Digest::of(b"abcdef"),
            size_bytes: 6,
        }
    }

    #[test]
    fn a_dropped_download_is_continued() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        let part = ours(store.claim(&lease, &blob()).unwrap());
        assert_eq!(
            (part.journal().unwrap(), part.file().stat().unwrap().size_bytes),
            (vec![], 6)
        );
        part.file().write_all_at(b"def", 3).unwrap();
        part.append_to_journal(b"3").unwrap();
        part.append_to_journal(b"-6").unwrap();
        assert!(matches!(store.claim(&lease, &blob()).unwrap(), Claim::Busy));
        assert_eq!(
            store.gc(GcOptions::default()).unwrap().ingests,
            [""; 0],
            "a living download is spared"
        );
        drop(part);
        let part = ours(store.claim(&lease, &blob()).unwrap());
        assert_eq!(part.journal().unwrap(), b"3-6");
        part.replace_journal(b"0-6").unwrap();
        part.file().write_all_at(b"abc", 0).unwrap();
        assert_eq!(part.commit(&lease, Some(blob().digest)).unwrap(), blob());
        assert!(matches!(store.claim(&lease, &blob()).unwrap(), Claim::Present));
        assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
        assert_eq!(store.read(&blob().digest, 10).unwrap(), b"abcdef");
    }

    #[test]
    fn a_download_of_other_content_leaves_nothing() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        for hashed in [None, Some(Digest::of(b"other"))] {
            let part = ours(store.claim(&lease, &blob()).unwrap());
            part.append_to_journal(b"all").unwrap();
            assert!(matches!(part.commit(&lease, hashed), Err(Error::OtherContent { .. })));
            assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
            assert_eq!(store.find(&blob().digest).unwrap(), None);
        }
    }

    #[test]
    fn gc_removes_downloads_that_nobody_continues() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        let part = ours(store.claim(&lease, &blob()).unwrap());
        part.append_to_journal(b"x").unwrap();
        drop(part);
        let report = store.gc(GcOptions::default()).unwrap();
        assert_eq!((report.ingests.len(), report.freed_bytes), (2, 6));
        assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_disk_too_small_is_told_before_the_first_byte() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        let size_bytes = 1 << 60;
        let digest = blob().digest;
        assert!(store.claim(&lease, &Blob { digest, size_bytes }).is_err());
        assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
    }

    #[test]
    fn two_downloads_of_one_blob_become_one() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let downloads = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let lease = store.lease(&[]).unwrap();
                    loop {
                        match store.claim(&lease, &blob()).unwrap() {
                            Claim::Present => break,
                            Claim::Busy => std::thread::yield_now(),
                            Claim::Ours(part) => {
                                downloads.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                                part.file().write_all_at(b"abcdef", 0).unwrap();
                                part.commit(&lease, None).unwrap();
                            }
                        }
                    }
                });
            }
        });
        assert_eq!(downloads.into_inner(), 1);
        assert_eq!(store.read(&blob().digest, 10).unwrap(), b"abcdef");
    }
}
