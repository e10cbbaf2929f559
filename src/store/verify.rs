use std::collections::{BTreeMap, HashMap};

use super::graph::Reach;
use super::{Blob, Error, Store};
use crate::fs;
use crate::oci::Digest;

/// Says what a check of the whole store found.
#[derive(Debug, Default)]
pub struct VerifyReport {
    /// The number of blobs hashed.
    pub blobs: u64,
    /// The bytes hashed.
    pub size_bytes: u64,
    /// Blobs whose content is not what their name says.
    pub damaged: Vec<Damaged>,
    /// Blobs that an entry needs and that are not there.
    pub missing: Vec<Missing>,
    /// Manifests and indexes that an entry needs and that cannot be read, though their content is what they were made
    /// with.
    pub unreadable: Vec<Unreadable>,
}

/// Names a damaged blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damaged {
    /// The digest that names the blob.
    pub digest: Digest,
    /// The digest of what lies there.
    pub found: Digest,
    /// The labels of the entries that need it.
    pub needed_by: Vec<String>,
    /// Whether it was taken out of the store.
    pub removed: bool,
}

/// Names a missing blob.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Missing {
    /// The digest.
    pub digest: Digest,
    /// The labels of the entries that need it.
    pub needed_by: Vec<String>,
}

/// Names a manifest or index that cannot be read.
#[derive(Debug)]
pub struct Unreadable {
    /// The digest.
    pub digest: Digest,
    /// Why.
    pub error: Error,
    /// The labels of the entries that need it.
    pub needed_by: Vec<String>,
}

impl VerifyReport {
    /// Tells whether every blob is sound and every entry complete.
    pub fn is_sound(&self) -> bool {
        self.damaged.is_empty() && self.missing.is_empty() && self.unreadable.is_empty()
    }
}

impl Store {
    /// Hashes every blob and follows every entry. With `repair`, damaged blobs are taken out of the store, so that the
    /// next pull or build brings them again; what is left of them lies in `ingest/` until the next gc.
    ///
    /// The store is not locked while blobs are hashed; a blob that is collected meanwhile is no finding.
    pub fn verify(&self, repair: bool) -> Result<VerifyReport, Error> {
        let mut report = VerifyReport::default();
        let mut damaged = BTreeMap::new();
        for blob in self.blobs()? {
            match self.hash(&blob.digest) {
                Ok(()) => {}
                Err(Error::MissingBlob { .. }) => continue,
                Err(Error::Damaged { digest, found, .. }) => _ = damaged.insert(digest, *found),
                Err(error) => return Err(error),
            }
            report.blobs += 1;
            report.size_bytes += blob.size_bytes;
        }
        let mut needed_by: HashMap<Digest, Vec<String>> = HashMap::new();
        for entry in self.list()? {
            let mut reach = Reach::default();
            self.walk([&entry.descriptor], &mut reach)?;
            for digest in &reach.digests {
                needed_by.entry(*digest).or_default().push(entry.label());
            }
            for digest in reach.missing {
                if report.missing.iter().all(|missing| missing.digest != digest) {
                    let needed_by = Vec::new();
                    report.missing.push(Missing { digest, needed_by });
                }
            }
            for (digest, error) in reach.refused.into_iter().chain(reach.wrong_size) {
                let is_known = damaged.contains_key(&digest);
                if !is_known && report.unreadable.iter().all(|unreadable| unreadable.digest != digest) {
                    let needed_by = Vec::new();
                    report.unreadable.push(Unreadable {
                        digest,
                        error,
                        needed_by,
                    });
                }
            }
        }
        let needed_by = |digest: &Digest| needed_by.get(digest).cloned().unwrap_or_default();
        for missing in &mut report.missing {
            missing.needed_by = needed_by(&missing.digest);
        }
        for unreadable in &mut report.unreadable {
            unreadable.needed_by = needed_by(&unreadable.digest);
        }
        for (digest, found) in damaged {
            report.damaged.push(Damaged {
                digest,
                found,
                needed_by: needed_by(&digest),
                removed: repair && self.take_out(&digest)?,
            });
        }
        Ok(report)
    }

    fn hash(&self, digest: &Digest) -> Result<(), Error> {
        let mut file = self.open_unverified(digest)?;
        self.verify_blob(&mut file, digest)?;
        Ok(())
    }

    /// Moves a damaged blob to `ingest/`. It is hashed again under the lock: somebody may have replaced it.
    fn take_out(&self, digest: &Digest) -> Result<bool, Error> {
        let _lock = self.lock()?;
        if !matches!(self.hash(digest), Err(Error::Damaged { .. })) {
            return Ok(false);
        }
        let target = self.layout().ingest().join(format!("damaged-{}", digest.hex()));
        fs::rename(&self.layout().blob(digest), &target)?;
        fs::sync_folder(&self.layout().blobs(digest.algorithm()))?;
        Ok(true)
    }

    /// Gives the size of an artifact: the bytes of every blob it names, each once.
    pub fn size_bytes(&self, descriptor: &crate::oci::Descriptor) -> Result<u64, Error> {
        let mut reach = Reach::default();
        self.walk([descriptor], &mut reach)?;
        let mut size_bytes = 0;
        for digest in &reach.digests {
            size_bytes += self.find(digest)?.map_or(0, |Blob { size_bytes, .. }| size_bytes);
        }
        Ok(size_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::GcOptions;
    use crate::store::tests::{folder, store_with};

    #[test]
    fn repair_takes_damaged_blobs_out_and_tells_who_needs_them() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x", "y"]);
        let (bad, gone) = (Digest::of(b"x"), Digest::of(b"y"));
        std::fs::remove_file(store.layout().blob(&bad)).unwrap();
        std::fs::write(store.layout().blob(&bad), b"?").unwrap();
        std::fs::remove_file(store.layout().blob(&gone)).unwrap();

        let report = store.verify(false).unwrap();
        let damaged = |removed| Damaged {
            digest: bad,
            found: Digest::of(b"?"),
            needed_by: vec!["x:latest".into()],
            removed,
        };
        let missing = Missing {
            digest: gone,
            needed_by: vec!["y:latest".into()],
        };
        assert_eq!(
            (&report.damaged, &report.missing),
            (&vec![damaged(false)], &vec![missing])
        );
        assert!(!report.is_sound());

        assert_eq!(store.verify(true).unwrap().damaged, [damaged(true)]);
        let report = store.verify(true).unwrap();
        assert_eq!((report.damaged.len(), report.missing.len()), (0, 2));
        assert!(store.gc(GcOptions::default()).unwrap().ingests[0].starts_with("damaged-"));

        let lease = store.lease(&[]).unwrap();
        store.ingest_bytes(&lease, b"x").unwrap();
        store.ingest_bytes(&lease, b"y").unwrap();
        assert!(store.verify(false).unwrap().is_sound());
    }

    #[test]
    fn a_manifest_that_cannot_be_read_is_told_with_its_reason() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        let lease = store.lease(&[]).unwrap();
        let blob = store
            .ingest_bytes(&lease, br#"{"schemaVersion":2,"layers":[],"manifests":[]}"#)
            .unwrap();
        let mut index = store.index().unwrap();
        index
            .manifests
            .push(blob.descriptor(crate::oci::MediaType::OCI_MANIFEST));
        store.write_index(&store.lock().unwrap(), &index).unwrap();
        let report = store.verify(false).unwrap();
        assert_eq!(report.unreadable.len(), 1);
        assert_eq!(report.unreadable[0].needed_by, [blob.digest.to_string()]);
        assert!(matches!(report.unreadable[0].error, Error::Document { .. }));
    }

    #[test]
    fn the_size_of_an_artifact_counts_each_blob_once() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        let manifest = store.resolve(&"x".parse().unwrap()).unwrap().descriptor;
        assert_eq!(store.size_bytes(&manifest).unwrap(), manifest.size_bytes + 2 + 1);
    }
}
