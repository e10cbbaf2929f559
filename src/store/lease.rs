use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use super::lock::StoreLock;
use super::{Entry, Error, Store};
use crate::fs::{self, File, Locked};
use crate::oci::{Digest, Reference};

/// Keeps blobs from being collected, until it is dropped or its process ends.
///
/// A lease on a manifest keeps what the manifest names as well. On a store that this user cannot write, a lease keeps
/// nothing: nothing there is collected by this user either.
#[derive(Debug)]
pub struct Lease {
    file: Option<Mutex<File>>,
    path: PathBuf,
}

impl Lease {
    /// Tells whether the lease keeps anything: false on a store that this user cannot write.
    pub fn is_effective(&self) -> bool {
        self.file.is_some()
    }

    /// Adds digests; gc must not be between its mark and its delete, hence the lock.
    pub(super) fn add(&self, _: &StoreLock, digests: &[Digest]) -> Result<(), Error> {
        let (Some(file), false) = (&self.file, digests.is_empty()) else {
            return Ok(());
        };
        // A line that a full disk cut short must not spoil the next one, so each write begins a line of its own.
        let lines: String = digests.iter().map(|digest| format!("\n{digest}\n")).collect();
        let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(file.write_all(lines.as_bytes())?)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.file.take().is_some() {
            // A lease that is left over has no holder, and the next gc removes it.
            let _ = fs::remove(&self.path);
        }
    }
}

impl Store {
    /// Leases `digests`, which need not exist yet, and what the manifests among them name.
    pub fn lease(&self, digests: &[Digest]) -> Result<Lease, Error> {
        let lock = self.lock()?;
        self.lease_locked(&lock, digests)
    }

    /// Finds the entry of a reference and leases it, in one step: no gc comes between.
    ///
    /// Errors: [`Error::NotFound`].
    pub fn checkout(&self, reference: &Reference) -> Result<(Entry, Lease), Error> {
        let entry = self.resolve(reference)?;
        match self.lock() {
            Ok(lock) => {
                let entry = self.resolve(reference)?;
                let lease = self.lease_locked(&lock, &[entry.descriptor.digest])?;
                Ok((entry, lease))
            }
            Err(error) if error.is_read_only() => {
                let path = self.layout().leases();
                Ok((entry, Lease { file: None, path }))
            }
            Err(error) => Err(error),
        }
    }

    fn lease_locked(&self, lock: &StoreLock, digests: &[Digest]) -> Result<Lease, Error> {
        let (path, file) = fs::unused(&self.layout().leases(), &|n| format!("{}-{n}", std::process::id()))?;
        // The file is new and the store is locked, so nobody else has come to lock it.
        if let Err(error) = file.try_lock() {
            let _ = fs::remove(&path);
            return Err(error.into());
        }
        let lease = Lease {
            file: Some(Mutex::new(file)),
            path,
        };
        lease.add(lock, digests)?;
        Ok(lease)
    }

    /// Gives the digests that living leases name, and the names of the leases whose holders are gone.
    pub(super) fn leases(&self, _: &StoreLock) -> Result<(BTreeSet<Digest>, Vec<String>), Error> {
        let folder = self.layout().leases();
        let mut leased = BTreeSet::new();
        let mut stale = Vec::new();
        for name in fs::names(&folder)? {
            let path = folder.join(&name);
            let Some(file) = fs::if_exists(File::open(&path))? else {
                continue;
            };
            if file.try_lock()? == Locked::Ours {
                stale.push(name);
                continue;
            }
            let bytes = fs::read_if_exists(&path)?.unwrap_or_default();
            leased.extend(
                String::from_utf8_lossy(&bytes)
                    .lines()
                    .filter_map(|line| line.parse::<Digest>().ok()),
            );
        }
        Ok((leased, stale))
    }
}
