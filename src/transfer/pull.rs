//! From a registry into the store.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

use jiff::Timestamp;

use super::{
    error::Error,
    fetch::{Fetch, Fetched, blocking},
    progress::Progress,
};
use crate::oci::{Descriptor, Digest, Document, MediaType, Reference};
use crate::registry::{Client, Credential, ManifestName, Options, RawManifest};
use crate::store::{Blob, Lease, Store};

/// How to reach the registry, and who we are there.
#[derive(Clone, Debug, Default)]
pub struct Remote {
    /// How to reach it.
    pub options: Options,
    /// Who we are; `None` for anybody.
    pub credential: Option<Credential>,
}

impl Remote {
    pub(super) fn client(&self, reference: &Reference) -> Result<Client, Error> {
        let host = reference.host().ok_or_else(|| Error::Local {
            reference: Box::new(reference.clone()),
        })?;
        Ok(Client::new(host, self.credential.clone(), self.options.clone())?)
    }
}

/// What a push or pull did.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// What was moved: a manifest or an index.
    pub descriptor: Descriptor,
    /// Bytes of all blobs and manifests. Units: bytes.
    pub size_bytes: u64,
    /// Bytes that went over the network for blobs.
    pub moved_bytes: u64,
    /// Bytes that need not move.
    pub skipped_bytes: u64,
    /// Those of them that the registry took from another of its repositories.
    pub mounted_bytes: u64,
    /// Requests sent.
    pub requests: u64,
    /// How long it took.
    pub took: Duration,
}

/// Brings an artifact into the store and tags it, as of the time `at`. A digest in the reference decides over the tag beside it.
///
/// Errors: [`Error::Local`]; [`Error::NotAnArtifact`] for a container image and the like, before anything large comes;
/// [`Error::Corrupt`]; those of registry and store. What came is kept, and the next pull goes on there.
pub fn pull(
    store: &Store,
    reference: &Reference,
    remote: &Remote,
    progress: Arc<dyn Progress>,
    at: Timestamp,
) -> Result<Report, Error> {
    let client = remote.client(reference)?;
    let runtime = super::runtime()?;
    let (store, reference) = (store.clone(), reference.clone());
    runtime.block_on(async move {
        let pull = Pull {
            client,
            store,
            reference,
            progress,
            at,
        };
        pull.run().await
    })
}

/// A manifest as the registry has it, with the documents below it, and no blob.
#[derive(Clone, Debug)]
pub struct RemoteArtifact {
    /// What the reference names.
    pub descriptor: Descriptor,
    /// What it says.
    pub document: Document,
    /// The manifests of an index, in its order.
    pub children: Vec<(Descriptor, Document)>,
    /// The config of a manifest, where it is no larger than a manifest may be.
    pub config: Option<Vec<u8>>,
}

/// Reads what a reference names at its registry, without its layers.
pub fn inspect(reference: &Reference, remote: &Remote) -> Result<RemoteArtifact, Error> {
    let client = remote.client(reference)?;
    let runtime = super::runtime()?;
    let reference = reference.clone();
    runtime.block_on(async move {
        let documents = fetch_documents(&client, &reference).await?;
        let config = match &documents.root().document {
            Document::Manifest(manifest) => client.small_blob(reference.repository(), &manifest.config).await?,
            Document::Index(_) => None,
        };
        let mut all = documents.0.into_iter();
        let Some(root) = all.next() else {
            return Err(Error::Local {
                reference: Box::new(reference),
            });
        };
        Ok(RemoteArtifact {
            descriptor: root.descriptor,
            document: root.document,
            children: all.map(|fetched| (fetched.descriptor, fetched.document)).collect(),
            config,
        })
    })
}

struct Pull {
    client: Client,
    store: Store,
    reference: Reference,
    progress: Arc<dyn Progress>,
    at: Timestamp,
}

pub(super) struct FetchedDocument {
    pub descriptor: Descriptor,
    pub document: Document,
    pub bytes: Vec<u8>,
}

/// What a reference names, first, and what an index names after it.
pub(super) struct Documents(pub Vec<FetchedDocument>);

impl Documents {
    fn root(&self) -> &FetchedDocument {
        // `fetch_documents` makes no empty list.
        &self.0[0]
    }
}

impl Pull {
    async fn run(self) -> Result<Report, Error> {
        let started = Instant::now();
        let documents = fetch_documents(&self.client, &self.reference).await?;
        for fetched in &documents.0 {
            check_artifact(&self.reference, &fetched.document)?;
        }
        let blobs = blobs_of(&self.reference, &documents)?;
        let root = documents.root().descriptor.clone();
        let documents_bytes: u64 = documents.0.iter().map(|fetched| fetched.bytes.len() as u64).sum();
        let size_bytes = documents_bytes + blobs.iter().map(|blob| blob.size_bytes).sum::<u64>();
        let digests: Vec<Digest> = blobs
            .iter()
            .map(|blob| blob.digest)
            .chain(documents.0.iter().map(|fetched| fetched.descriptor.digest))
            .collect();
        let store = self.store.clone();
        let (present, lease) = blocking(move || -> Result<_, Error> {
            let lease = store.lease(&digests)?;
            for fetched in &documents.0 {
                store_document(&store, &lease, fetched)?;
            }
            let present = embedded(&store, &lease, &documents)?;
            Ok((present, lease))
        })
        .await?;
        let lease = Arc::new(lease);
        let fetch = Fetch {
            client: self.client.clone(),
            repository: self.reference.repository().clone(),
            store: self.store.clone(),
            lease: Arc::clone(&lease),
            progress: self.progress,
        };
        let wanted: Vec<Blob> = blobs
            .into_iter()
            .filter(|blob| !present.contains(&blob.digest))
            .collect();
        let Fetched {
            moved_bytes,
            skipped_bytes,
        } = fetch.run(wanted).await?;
        let (store, reference, at, tagged) = (self.store, self.reference, self.at, root.clone());
        blocking(move || -> Result<(), Error> {
            store.tag(&reference, &tagged, at)?;
            drop(lease);
            Ok(())
        })
        .await?;
        Ok(Report {
            descriptor: root,
            size_bytes,
            moved_bytes,
            skipped_bytes,
            mounted_bytes: 0,
            requests: self.client.requests(),
            took: started.elapsed(),
        })
    }
}

/// Fetches what a reference names, and the manifests of an index. Indexes in indexes are not followed.
pub(super) async fn fetch_documents(client: &Client, reference: &Reference) -> Result<Documents, Error> {
    let repository = reference.repository();
    let latest = crate::oci::Tag::latest();
    let name = match (reference.digest(), reference.tag()) {
        (Some(digest), _) => ManifestName::Digest(digest),
        (None, tag) => ManifestName::Tag(tag.unwrap_or(&latest)),
    };
    let raw = client.manifest(repository, name).await?;
    let root = read_document(reference, raw, None)?;
    let mut children = Vec::new();
    if let Document::Index(index) = &root.document {
        let mut seen = BTreeSet::new();
        for descriptor in &index.manifests {
            if descriptor.media_type.is_index() {
                return Err(Error::Nested {
                    reference: Box::new(reference.clone()),
                    digest: descriptor.digest,
                });
            }
            if !descriptor.media_type.is_manifest() || !seen.insert(descriptor.digest) {
                continue;
            }
            let raw = client
                .manifest(repository, ManifestName::Digest(&descriptor.digest))
                .await?;
            let child = read_document(reference, raw, Some(descriptor))?;
            if matches!(child.document, Document::Index(_)) {
                return Err(Error::Nested {
                    reference: Box::new(reference.clone()),
                    digest: descriptor.digest,
                });
            }
            children.push(child);
        }
    }
    Ok(Documents(std::iter::once(root).chain(children).collect()))
}

fn read_document(
    reference: &Reference,
    raw: RawManifest,
    named: Option<&Descriptor>,
) -> Result<FetchedDocument, Error> {
    let refuse = |source| Error::Manifest {
        reference: Box::new(reference.clone()),
        digest: Box::new(raw.digest),
        source,
    };
    let declared = named.map(|named| &named.media_type).or(raw.media_type.as_ref());
    let document = Document::parse(&raw.bytes, declared).map_err(refuse)?;
    let own = match &document {
        Document::Manifest(manifest) => manifest.media_type.clone().unwrap_or(MediaType::OCI_MANIFEST),
        Document::Index(index) => index.media_type.clone().unwrap_or(MediaType::OCI_INDEX),
    };
    let media_type = declared.cloned().unwrap_or(own);
    let size_bytes = raw.bytes.len() as u64;
    if let Some(named) = named
        && named.size_bytes != size_bytes
    {
        return Err(Error::TwoSizes {
            reference: Box::new(reference.clone()),
            digest: named.digest,
            first_bytes: named.size_bytes,
            second_bytes: size_bytes,
        });
    }
    Ok(FetchedDocument {
        descriptor: Descriptor::new(media_type, raw.digest, size_bytes),
        document,
        bytes: raw.bytes,
    })
}

/// Refuses what holds no model.
///
/// Errors: [`Error::NotAnArtifact`].
pub(super) fn check_artifact(reference: &Reference, document: &Document) -> Result<(), Error> {
    match document {
        Document::Manifest(manifest) if manifest.kind().is_none() => Err(Error::NotAnArtifact {
            reference: Box::new(reference.clone()),
            what: manifest.described(),
        }),
        _ => Ok(()),
    }
}

/// Lists configs and layers, each digest once.
fn blobs_of(reference: &Reference, documents: &Documents) -> Result<Vec<Blob>, Error> {
    let mut sizes: BTreeMap<Digest, u64> = BTreeMap::new();
    let mut blobs = Vec::new();
    for fetched in &documents.0 {
        let Document::Manifest(manifest) = &fetched.document else {
            continue;
        };
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            let (digest, size_bytes) = (descriptor.digest, descriptor.size_bytes);
            match sizes.insert(digest, size_bytes) {
                None => blobs.push(Blob { digest, size_bytes }),
                Some(first_bytes) if first_bytes != size_bytes => {
                    return Err(Error::TwoSizes {
                        reference: Box::new(reference.clone()),
                        digest,
                        first_bytes,
                        second_bytes: size_bytes,
                    });
                }
                Some(_) => {}
            }
        }
    }
    // Large blobs first: they are what the end waits for.
    blobs.sort_by_key(|blob| std::cmp::Reverse(blob.size_bytes));
    Ok(blobs)
}

fn store_document(store: &Store, lease: &Lease, fetched: &FetchedDocument) -> Result<(), Error> {
    let blob = Blob {
        digest: fetched.descriptor.digest,
        size_bytes: fetched.bytes.len() as u64,
    };
    store_bytes(store, lease, (&blob, &fetched.bytes))
}

fn store_bytes(store: &Store, lease: &Lease, (blob, bytes): (&Blob, &[u8])) -> Result<(), Error> {
    if store.find(&blob.digest)? == Some(*blob) && store.blob(&blob.digest).is_ok() {
        return Ok(());
    }
    let mut ingest = store.ingest_with(blob.digest.algorithm())?;
    ingest.write(bytes)?;
    ingest.commit_as(lease, blob)?;
    Ok(())
}

/// Stores blobs that the manifests carry in themselves, and names them.
fn embedded(store: &Store, lease: &Lease, documents: &Documents) -> Result<BTreeSet<Digest>, Error> {
    let mut present = BTreeSet::new();
    for fetched in &documents.0 {
        let Document::Manifest(manifest) = &fetched.document else {
            continue;
        };
        for descriptor in std::iter::once(&manifest.config).chain(&manifest.layers) {
            // Parsing has held the data against the digest.
            if let Ok(Some(bytes)) = descriptor.embedded() {
                let blob = Blob {
                    digest: descriptor.digest,
                    size_bytes: descriptor.size_bytes,
                };
                store_bytes(store, lease, (&blob, &bytes))?;
                present.insert(blob.digest);
            }
        }
    }
    Ok(present)
}
