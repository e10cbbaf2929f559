//! The local store: an OCI image layout that several processes, and other tools, use at once.
//!
//! | on disk, below `$GPUX_HOME` | here |
//! |---|---|
//! | `version`, `store/oci-layout` | `layout` |
//! | `store/index.json` | `tags` |
//! | `store/blobs/ALGORITHM/HEX` | `blob`, and what a manifest names in `graph` |
//! | `store.lock` | `lock` |
//! | `leases/ID` | `lease` |
//! | `ingest/ID`, `ingest/ALGORITHM-HEX` | `ingest`, `part` |
//! | `cache/verified` | `verdicts` |
//!
//! A writer takes a [`Lease`], ingests blobs under it, tags, and drops the lease; a reader takes the lease of what it
//! reads with [`Store::checkout`]. [`Store::gc`] spares what tags and leases name. Readers need no lock: a blob and
//! `index.json` come into being by a rename, whole.

mod blob;
mod copy;
mod error;
mod gc;
mod graph;
mod ingest;
mod layout;
mod lease;
mod lock;
mod part;
mod tags;
mod verdicts;
mod verify;

#[cfg(test)]
mod faults;
#[cfg(test)]
mod suite;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use layout::Layout;
use verdicts::Verdicts;

pub use blob::Blob;
pub use error::Error;
pub use gc::{GcOptions, GcReport};
pub use ingest::Ingest;
pub use lease::Lease;
pub use part::{Claim, Part};
pub use tags::Entry;
pub use verify::{Damaged, Missing, Unreadable, VerifyReport};

/// How long a command waits for another one's change of the store.
const LOCK_WAIT: Duration = Duration::from_secs(60);

/// Holds artifacts by the digests of their content, and the tags that name them.
///
/// Cheap to clone: clones are one store.
#[derive(Clone, Debug)]
pub struct Store {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    layout: Layout,
    lock_wait: Duration,
    verdicts: Verdicts,
    prepared: OnceLock<()>,
}

impl Store {
    /// Opens the store below `home`, which need not exist: it is made when something is first written.
    ///
    /// Errors: [`Error::Newer`] if a later gpux made it, [`Error::OthersCanWrite`] if other users may change it.
    pub fn open(home: &Path) -> Result<Store, Error> {
        Store::open_with_wait(home, LOCK_WAIT)
    }

    /// Opens the store and sets how long a change of it waits for the changes of others.
    pub fn open_with_wait(home: &Path, lock_wait: Duration) -> Result<Store, Error> {
        let layout = Layout::new(home);
        layout.check()?;
        Ok(Store {
            inner: Arc::new(Inner {
                verdicts: Verdicts::new(layout.verdicts()),
                layout,
                lock_wait,
                prepared: OnceLock::new(),
            }),
        })
    }

    /// Gives the folder of the image layout, as other tools take it: `oci:PATH:REFERENCE`.
    pub fn path(&self) -> PathBuf {
        self.inner.layout.store()
    }

    fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    fn verdicts(&self) -> &Verdicts {
        &self.inner.verdicts
    }

    /// Makes what is missing of the layout, before the first write.
    fn prepare(&self) -> Result<(), Error> {
        if self.inner.prepared.get().is_some() {
            return Ok(());
        }
        self.layout()
            .create(|| lock::take(self.layout(), self.inner.lock_wait))?;
        let _ = self.inner.prepared.set(());
        Ok(())
    }

    fn lock(&self) -> Result<lock::StoreLock, Error> {
        self.prepare()?;
        lock::take(self.layout(), self.inner.lock_wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, Manifest, MediaType, Reference};

    /// Makes a folder in memory, where the system has such a place: hundreds of commands run in it, each of which waits
    /// for a disk several times.
    pub(super) fn folder() -> tempfile::TempDir {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() {
            tempfile::tempdir_in(memory)
        } else {
            tempfile::tempdir()
        }
        .unwrap()
    }

    #[test]
    fn what_is_tagged_is_found_and_outlives_gc() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("home");
        let store = Store::open(&home).unwrap();
        assert!(store.list().unwrap().is_empty() && store.gc(GcOptions::default()).unwrap() == GcReport::default());
        assert!(!home.exists(), "reading makes nothing");
        let reference: Reference = "x:1".parse().unwrap();
        let lease = store.lease(&[]).unwrap();
        let config = store
            .ingest_bytes(&lease, b"{}")
            .unwrap()
            .descriptor(MediaType::MODEL_CONFIG);
        let layer = store
            .ingest_bytes(&lease, b"weights")
            .unwrap()
            .descriptor(MediaType::MODEL_WEIGHT_RAW);
        let loose = store.ingest_bytes(&lease, b"loose").unwrap();
        let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer.clone()]).to_bytes();
        let manifest = store
            .ingest_bytes(&lease, &manifest)
            .unwrap()
            .descriptor(MediaType::OCI_MANIFEST);
        store.tag(&reference, &manifest, jiff::Timestamp::UNIX_EPOCH).unwrap();
        assert_eq!(store.gc(GcOptions::default()).unwrap(), GcReport::default());
        drop(lease);
        let report = store.gc(GcOptions::default()).unwrap();
        assert_eq!((report.blobs, report.freed_bytes), (vec![loose], 5));
        let found: Descriptor = store.resolve(&reference).unwrap().descriptor;
        assert_eq!(found.digest, manifest.digest);
        assert_eq!(std::fs::read(store.blob(&layer.digest).unwrap()).unwrap(), b"weights");
        assert!(store.verify(false).unwrap().is_sound());
    }
}
