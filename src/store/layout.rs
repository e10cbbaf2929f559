use std::path::{Path, PathBuf};

use super::Error;
use super::lock::StoreLock;
use crate::fs;
use crate::oci::{Algorithm, Digest, Index};

/// The version of everything below the home that gpux alone writes.
const VERSION: &str = "1";

/// What OCI requires in the file `oci-layout`.
const OCI_LAYOUT: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Knows where everything lies below the home.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    home: PathBuf,
}

impl Layout {
    pub(super) fn new(home: &Path) -> Layout {
        Layout { home: home.to_owned() }
    }

    pub(super) fn store(&self) -> PathBuf {
        self.home.join("store")
    }

    pub(super) fn index(&self) -> PathBuf {
        self.home.join("store/index.json")
    }

    pub(super) fn blobs(&self, algorithm: Algorithm) -> PathBuf {
        self.home.join("store/blobs").join(algorithm.name())
    }

    pub(super) fn blob(&self, digest: &Digest) -> PathBuf {
        self.blobs(digest.algorithm()).join(digest.hex())
    }

    pub(super) fn lock(&self) -> PathBuf {
        self.home.join("store.lock")
    }

    pub(super) fn leases(&self) -> PathBuf {
        self.home.join("leases")
    }

    pub(super) fn ingest(&self) -> PathBuf {
        self.home.join("ingest")
    }

    pub(super) fn verdicts(&self) -> PathBuf {
        self.home.join("cache/verified")
    }

    /// Gives the folder of unpacked layers, each under the name of its digest.
    pub(super) fn unpacked(&self) -> PathBuf {
        self.home.join("cache/unpacked")
    }

    /// Gives the folder of optimized graphs, each model's under the name of its graph's digest.
    pub(super) fn optimized(&self) -> PathBuf {
        self.home.join("cache/optimized")
    }

    fn version(&self) -> PathBuf {
        self.home.join("version")
    }

    fn oci_layout(&self) -> PathBuf {
        self.home.join("store/oci-layout")
    }

    /// Gives the folders in which unfinished replacements may be left over.
    pub(super) fn replaced_in(&self) -> [PathBuf; 3] {
        [self.home.clone(), self.store(), self.home.join("cache")]
    }

    /// Refuses a store of another version, and one that other users can change.
    pub(super) fn check(&self) -> Result<(), Error> {
        let newer = |found: &str| Error::Newer {
            path: self.home.clone(),
            found: found.trim().escape_debug().take(40).collect(),
            known: VERSION,
        };
        if let Some(bytes) = fs::read_if_exists(&self.version())? {
            let found = String::from_utf8_lossy(&bytes);
            if found.trim() != VERSION {
                return Err(newer(&found));
            }
        }
        if let Some(bytes) = fs::read_if_exists(&self.oci_layout())? {
            let found = serde_json::from_slice::<serde_json::Value>(&bytes).unwrap_or_default();
            let found = found["imageLayoutVersion"].as_str().unwrap_or("unknown");
            if !found.starts_with("1.") {
                return Err(newer(&format!("imageLayoutVersion {found}")));
            }
        }
        for folder in [self.home.clone(), self.store(), self.home.join("store/blobs")] {
            self.check_writers(&folder)?;
        }
        Ok(())
    }

    #[cfg(unix)]
    fn check_writers(&self, folder: &Path) -> Result<(), Error> {
        let user = rustix::process::geteuid().as_raw();
        match fs::stat(folder)? {
            Some(found) if others_can_write(found.mode, found.owner, user) => Err(Error::OthersCanWrite {
                path: folder.to_owned(),
                owner: found.owner,
                mode: found.mode,
            }),
            _ => Ok(()),
        }
    }

    #[cfg(not(unix))]
    fn check_writers(&self, _: &Path) -> Result<(), Error> {
        Ok(())
    }

    /// Makes what is missing. The files are made under the lock, so that two first writers do not undo each other.
    pub(super) fn create(&self, lock: impl FnOnce() -> Result<StoreLock, Error>) -> Result<(), Error> {
        for folder in [
            self.blobs(Algorithm::Sha256),
            self.leases(),
            self.ingest(),
            self.home.join("cache"),
        ] {
            fs::create_folders(&folder)?;
        }
        let files = [
            (self.version(), format!("{VERSION}\n").into_bytes()),
            (self.oci_layout(), OCI_LAYOUT.as_bytes().to_vec()),
            (self.index(), Index::new(Vec::new()).to_bytes()),
        ];
        let is_missing = |path: &Path| Ok::<_, Error>(fs::stat(path)?.is_none());
        let mut held = None;
        let mut lock = Some(lock);
        for (path, bytes) in &files {
            if !is_missing(path)? {
                continue;
            }
            if let Some(lock) = lock.take() {
                held = Some(lock()?);
            }
            if is_missing(path)? {
                fs::replace(path, bytes)?;
            }
        }
        drop(held);
        Ok(())
    }
}

/// Tells whether a folder is one that everybody can write, or that a group can write and that is not this user's own:
/// there, somebody may exchange a blob after it was verified. A group that shares its member's own store is trusted by
/// that member, and many systems give every user a group of their own.
#[cfg(unix)]
fn others_can_write(mode: u32, owner: u32, user: u32) -> bool {
    mode & 0o002 != 0 || mode & 0o020 != 0 && owner != user
}

#[cfg(all(test, unix))]
mod tests {
    use super::others_can_write;

    #[test]
    fn everybody_or_a_foreign_group_must_not_write() {
        for (mode, owner, expected) in [
            (0o755, 1000, false),
            (0o775, 1000, false),
            (0o777, 1000, true),
            (0o1777, 1000, true),
            (0o755, 1, false),
            (0o775, 1, true),
            (0o757, 1, true),
        ] {
            assert_eq!(others_can_write(mode, owner, 1000), expected, "{mode:o} {owner}");
        }
    }
}
