//! The local store: an OCI image layout that several processes, and other tools, use at once.
//!
//! | on disk, below `$GPUX_HOME` | here |
//! |---|---|
//! | `version`, `store/oci-layout` | `layout` |
//! | `store/index.json` | `tags` |
//! | `store/blobs/ALGORITHM/HEX` | `blob`, and what a manifest names in `graph` |
//! | `store.lock` | `lock` |
//! | `leases/ID` | `lease` |
//! | `ingest/ID`, `ingest/ALGORITHM-HEX`, `ingest/upload-HEX` | `ingest`, `part`, `notes` |
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
mod notes;
mod part;
mod tags;
mod verdicts;
mod verify;

#[cfg(test)]
mod crash;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod suite;

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::oci::Digest;
use layout::Layout;
use verdicts::Verdicts;

pub use blob::Blob;
pub use copy::{Source, hash};
pub use error::Error;
pub use gc::{GcOptions, GcReport};
pub use ingest::Ingest;
pub use lease::Lease;
pub use notes::Notes;
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

    /// Gives the folder where a layer that is an archive is unpacked, once; [`Store::gc`] removes it with its blob.
    pub fn unpacked(&self, digest: &Digest) -> PathBuf {
        self.layout()
            .unpacked()
            .join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
    }

    /// Gives the folder for what engines make of a graph; [`Store::gc`] removes it with the graph's blob.
    pub fn optimized(&self, digest: &Digest) -> PathBuf {
        self.layout()
            .optimized()
            .join(format!("{}-{}", digest.algorithm().name(), digest.hex()))
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
    use jiff::Timestamp;

    use super::*;
    use crate::fs::faults::{self, Fault};
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

    /// Stores an artifact of one layer and gives the descriptors of manifest and layer.
    pub(super) fn artifact(store: &Store, lease: &Lease, layer: &[u8]) -> (Descriptor, Descriptor) {
        let config = store
            .ingest_bytes(lease, b"{}")
            .unwrap()
            .descriptor(MediaType::MODEL_CONFIG);
        let layer = store
            .ingest_bytes(lease, layer)
            .unwrap()
            .descriptor(MediaType::MODEL_WEIGHT_RAW);
        let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer.clone()]).to_bytes();
        (
            store
                .ingest_bytes(lease, &manifest)
                .unwrap()
                .descriptor(MediaType::OCI_MANIFEST),
            layer,
        )
    }

    /// Makes a store in which each name is an artifact whose layer is the name.
    pub(super) fn store_with(home: &Path, names: &[&str]) -> Store {
        let store = Store::open(home).unwrap();
        let lease = store.lease(&[]).unwrap();
        for name in names {
            let (manifest, _) = artifact(&store, &lease, name.as_bytes());
            store
                .tag(&name.parse().unwrap(), &manifest, Timestamp::UNIX_EPOCH)
                .unwrap();
        }
        store
    }

    #[test]
    fn reading_makes_nothing() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = Store::open(&home).unwrap();
        let name: Reference = "x".parse().unwrap();
        assert!(store.list().unwrap().is_empty());
        assert!(matches!(store.checkout(&name), Err(Error::NotFound { .. })));
        assert!(matches!(store.remove(&name), Err(Error::NotFound { .. })));
        assert_eq!(store.gc(GcOptions::default()).unwrap(), GcReport::default());
        assert!(store.verify(true).unwrap().is_sound());
        assert!(!home.exists());
        store.lease(&[]).unwrap();
        assert!(home.join("store/index.json").exists() && home.join("store/oci-layout").exists());
    }

    #[test]
    fn a_read_only_store_is_read() {
        let folder = folder();
        let home = folder.path().join("home");
        let name: Reference = "x".parse().unwrap();
        let layer = {
            let store = store_with(&home, &["x"]);
            store.gc(GcOptions::default()).unwrap();
            crate::oci::Digest::of(b"x").to_string().parse().unwrap()
        };
        // No verdicts, as after a copy to a read-only disk.
        std::fs::remove_file(home.join("cache/verified")).unwrap();
        let _plan = faults::lasting(&home, 0, Fault::ReadOnly);
        let store = Store::open(&home).unwrap();
        let (entry, lease) = store.checkout(&name).unwrap();
        assert!(!lease.is_effective());
        assert_eq!(entry.reference, Some(name.clone()));
        assert_eq!(std::fs::read(store.blob(&layer).unwrap()).unwrap(), b"x");
        assert!(store.verify(false).unwrap().is_sound());
        for refused in [
            store.lease(&[]).map(|_| ()),
            store.remove(&name).map(|_| ()),
            store.tag(&name, &entry.descriptor, Timestamp::UNIX_EPOCH).map(|_| ()),
            store.gc(GcOptions::default()).map(|_| ()),
        ] {
            assert!(refused.unwrap_err().is_read_only());
        }
    }

    #[test]
    fn a_store_of_a_newer_version_is_refused() {
        let folder = folder();
        for (file, content) in [
            ("version", "2\n"),
            ("version", "\u{1b}[2J"),
            ("version", ""),
            ("store/oci-layout", r#"{"imageLayoutVersion":"2.0.0"}"#),
            ("store/oci-layout", "?"),
        ] {
            let home = folder.path().join("home");
            store_with(&home, &["x"]);
            std::fs::write(home.join(file), content).unwrap();
            let error = Store::open(&home).unwrap_err();
            assert!(matches!(error, Error::Newer { .. }), "{error:?}");
            assert!(!error.to_string().contains('\u{1b}'), "{error}");
            std::fs::remove_dir_all(home).unwrap();
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_store_that_others_can_write_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = folder();
        let home = folder.path().join("home");
        store_with(&home, &["x"]);
        for path in [home.clone(), home.join("store"), home.join("store/blobs")] {
            let before = std::fs::metadata(&path).unwrap().permissions();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).unwrap();
            let error = Store::open(&home).unwrap_err().to_string();
            assert!(
                error.contains(path.to_str().unwrap()) && error.contains("777"),
                "{error}"
            );
            std::fs::set_permissions(&path, before).unwrap();
        }
        Store::open(&home).unwrap();
    }

    #[test]
    fn a_busy_store_is_waited_for_and_then_told() {
        let folder = folder();
        let home = folder.path().join("home");
        let first = store_with(&home, &["x"]);
        let held = first.lock().unwrap();
        let second = Store::open_with_wait(&home, Duration::from_millis(30)).unwrap();
        let error = second.lease(&[]).unwrap_err();
        assert!(
            matches!(error, Error::Busy { .. }) && error.to_string().contains("store.lock"),
            "{error}"
        );
        assert_eq!(second.list().unwrap().len(), 1, "reading needs no lock");
        let waiting = Store::open(&home).unwrap();
        let waiter = std::thread::spawn(move || waiting.lease(&[]).map(|_| ()));
        std::thread::sleep(Duration::from_millis(30));
        drop(held);
        waiter.join().unwrap().unwrap();
    }
}
