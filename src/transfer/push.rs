//! From the store to a registry.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Instant,
};

use tokio::{sync::Semaphore, task::JoinSet};

use super::{
    error::Error,
    fetch::blocking,
    progress::{Event, Progress, Skip},
    pull::{Remote, Report},
    send::{End, Sending},
};
use crate::oci::{Descriptor, Digest, Document, MAX_DOCUMENT_BYTES, Reference, Repository, Tag};
use crate::registry::{self, Client, ManifestName, RawManifest};
use crate::store::{Blob, Lease, Store};

/// Blobs sent at once.
const LANES: usize = 4;

/// Sends an artifact of the store to the registry that the reference names, under the reference's tag, or under its digest
/// alone.
///
/// Errors: [`Error::Local`]; [`Error::TooLargeForRegistry`]; [`Error::Overtaken`] when the registry has something else under
/// the tag afterwards; those of registry and store.
pub fn push(
    store: &Store,
    reference: &Reference,
    remote: &Remote,
    progress: Arc<dyn Progress>,
) -> Result<Report, Error> {
    let client = remote.client(reference)?;
    let (entry, lease) = store.checkout(reference)?;
    let documents = documents_of(store, &entry.descriptor)?;
    let siblings = siblings_of(store, reference)?;
    let push = Push {
        client,
        store: store.clone(),
        reference: reference.clone(),
        documents,
        siblings,
        progress,
        moved: AtomicU64::new(0),
        skipped: AtomicU64::new(0),
        mounted: AtomicU64::new(0),
        _lease: lease,
    };
    super::runtime()?.block_on(Arc::new(push).run())
}

struct Push {
    client: Client,
    store: Store,
    reference: Reference,
    /// What is pushed, and after it the manifests it names.
    documents: Vec<(Descriptor, Document, Vec<u8>)>,
    /// Repositories of the same registry that the store has artifacts of, with their blobs.
    siblings: Vec<(Repository, BTreeSet<Digest>)>,
    progress: Arc<dyn Progress>,
    moved: AtomicU64,
    skipped: AtomicU64,
    mounted: AtomicU64,
    _lease: Lease,
}

fn documents_of(store: &Store, root: &Descriptor) -> Result<Vec<(Descriptor, Document, Vec<u8>)>, Error> {
    let read = |descriptor: &Descriptor| -> Result<_, Error> {
        let document = store.document(descriptor)?;
        let bytes = store.read(&descriptor.digest, MAX_DOCUMENT_BYTES)?;
        Ok((descriptor.clone(), document, bytes))
    };
    let first = read(root)?;
    let mut children = Vec::new();
    if let Document::Index(index) = &first.1 {
        for child in index.manifests.iter().filter(|child| child.media_type.is_manifest()) {
            children.push(read(child)?);
        }
    }
    Ok(std::iter::once(first).chain(children).collect())
}

/// Finds where else at this registry our blobs may already be: what was pulled from there or pushed to there.
fn siblings_of(store: &Store, reference: &Reference) -> Result<Vec<(Repository, BTreeSet<Digest>)>, Error> {
    let mut siblings = Vec::new();
    for entry in store.list()? {
        let Some(other) = &entry.reference else { continue };
        if other.host() != reference.host() || other.repository() == reference.repository() {
            continue;
        }
        // An entry whose manifest is gone or unreadable offers nothing to mount, and is not this push's affair.
        if let Ok(document) = store.document(&entry.descriptor) {
            let digests = document
                .descriptors()
                .into_iter()
                .map(|descriptor| descriptor.digest)
                .collect();
            siblings.push((other.repository().clone(), digests));
        }
    }
    Ok(siblings)
}

impl Push {
    async fn run(self: Arc<Self>) -> Result<Report, Error> {
        let started = Instant::now();
        let repository = self.reference.repository();
        let root = self.documents[0].0.clone();
        let blobs = self.blobs();
        let size_bytes = self
            .documents
            .iter()
            .map(|(_, _, bytes)| bytes.len() as u64)
            .sum::<u64>()
            + blobs.iter().map(|blob| blob.size_bytes).sum::<u64>();
        // A registry that has the manifest has what it names: only the tag is missing.
        if self.client.has_manifest(repository, &root.digest).await? {
            for blob in &blobs {
                self.skip(blob, Skip::Present);
            }
        } else {
            self.send_blobs(&blobs, true).await?;
        }
        match self.send_manifests().await {
            Err(Error::Registry(error)) if says_blob_missing(&error) => {
                // Its answers about manifests or blobs were not true: send everything, without asking.
                self.send_blobs(&blobs, false).await?;
                self.send_manifests().await?;
            }
            result => result?,
        }
        self.read_back(&root.digest).await?;
        Ok(Report {
            descriptor: root,
            size_bytes,
            moved_bytes: self.moved.load(Ordering::Relaxed),
            skipped_bytes: self.skipped.load(Ordering::Relaxed),
            mounted_bytes: self.mounted.load(Ordering::Relaxed),
            requests: self.client.requests(),
            took: started.elapsed(),
        })
    }

    /// Lists configs and layers, each digest once, the large ones first.
    fn blobs(&self) -> Vec<Blob> {
        let mut seen = BTreeSet::new();
        let mut blobs = Vec::new();
        for (_, document, _) in &self.documents {
            let Document::Manifest(manifest) = document else {
                continue;
            };
            for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
                if seen.insert(descriptor.digest) {
                    blobs.push(Blob {
                        digest: descriptor.digest,
                        size_bytes: descriptor.size_bytes,
                    });
                }
            }
        }
        blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size_bytes));
        blobs
    }

    async fn send_blobs(self: &Arc<Self>, blobs: &[Blob], ask: bool) -> Result<(), Error> {
        let free = Arc::new(Semaphore::new(LANES));
        let mut lanes: JoinSet<Result<(), Error>> = JoinSet::new();
        for blob in blobs {
            let blob = *blob;
            let (this, free) = (Arc::clone(self), Arc::clone(&free));
            lanes.spawn(async move {
                // The semaphore is never closed.
                let _permit = free.acquire_owned().await;
                this.send_blob(&blob, ask).await
            });
        }
        while let Some(ended) = lanes.join_next().await {
            match ended {
                Ok(result) => result?,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            }
        }
        Ok(())
    }

    async fn send_blob(&self, blob: &Blob, ask: bool) -> Result<(), Error> {
        let repository = self.reference.repository();
        let digest = blob.digest;
        let profile = self.client.profile();
        if let Some(limit_bytes) = profile.largest_blob_bytes.filter(|limit| blob.size_bytes > *limit) {
            return Err(Error::TooLargeForRegistry {
                digest,
                size_bytes: blob.size_bytes,
                registry: profile.name,
                limit_bytes,
            });
        }
        if ask && self.client.has_blob(repository, &digest, blob.size_bytes).await? {
            self.skip(blob, Skip::Present);
            return Ok(());
        }
        // A registry whose answers were not true is not asked to mount either.
        let from = self.siblings.iter().find(|(_, held)| ask && held.contains(&digest));
        let store = self.store.clone();
        let path = blocking(move || store.blob(&digest)).await?;
        let sending = Sending {
            client: &self.client,
            store: &self.store,
            reference: &self.reference,
            blob: *blob,
            progress: &self.progress,
        };
        let sent = sending.run(path, from.map(|(name, _)| name)).await;
        self.moved.fetch_add(sent.moved_bytes, Ordering::Relaxed);
        self.skipped.fetch_add(sent.held_bytes, Ordering::Relaxed);
        match sent.end? {
            End::Mounted => self.skip(blob, Skip::Mounted),
            End::Arrived => self.progress.event(Event::Finished { digest }),
        }
        Ok(())
    }

    /// Stores the manifests, those that an index names before the index.
    async fn send_manifests(&self) -> Result<(), Error> {
        let repository = self.reference.repository();
        for (n, (descriptor, _, bytes)) in self.documents.iter().enumerate().rev() {
            let manifest = RawManifest {
                bytes: bytes.clone(),
                digest: descriptor.digest,
                media_type: Some(descriptor.media_type.clone()),
            };
            let name = match self.tag() {
                Some(tag) if n == 0 => ManifestName::Tag(tag),
                _ => ManifestName::Digest(&descriptor.digest),
            };
            self.client.put_manifest(repository, name, &manifest).await?;
        }
        Ok(())
    }

    /// The tag that is set; none where the reference decides by digest.
    fn tag(&self) -> Option<&Tag> {
        self.reference.tag().filter(|_| self.reference.digest().is_none())
    }

    /// Reads the manifest as a pull would, and holds it against what was pushed.
    async fn read_back(&self, pushed: &Digest) -> Result<(), Error> {
        let name = match self.tag() {
            Some(tag) => ManifestName::Tag(tag),
            None => ManifestName::Digest(pushed),
        };
        let found = self.client.manifest(self.reference.repository(), name).await?;
        if pushed.matches(&found.bytes) {
            return Ok(());
        }
        Err(Error::Overtaken {
            reference: Box::new(self.reference.clone()),
            pushed: Box::new(*pushed),
            got: Box::new(found.digest),
        })
    }

    fn skip(&self, blob: &Blob, why: Skip) {
        self.skipped.fetch_add(blob.size_bytes, Ordering::Relaxed);
        if matches!(why, Skip::Mounted) {
            self.mounted.fetch_add(blob.size_bytes, Ordering::Relaxed);
        }
        self.progress.event(Event::Skipped {
            digest: blob.digest,
            size_bytes: blob.size_bytes,
            why,
        });
    }
}

fn says_blob_missing(error: &registry::Error) -> bool {
    matches!(error, registry::Error::Status { status: 400 | 404, code, .. }
        if code.as_deref().is_none_or(|code| code.contains("BLOB_UNKNOWN") || code.contains("MANIFEST_INVALID")))
}
