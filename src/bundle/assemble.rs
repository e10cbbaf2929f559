use crate::fs;
use crate::oci::{Descriptor, Digest, Manifest, MediaType};
use crate::store::{Lease, Store};

use super::layer::{Role, describe};
use super::plan::{Content, GRAPH_PATH, PlannedFile};
use super::{Error, Plan, config};

/// Names the digest of the ONNX file as it was built from, on the layer of the graph.
const ORIGINAL_DIGEST: &str = "io.gpux.original.digest";

/// Is an artifact that is worked out and not stored.
#[derive(Debug)]
pub struct Assembled {
    /// The manifest.
    pub manifest: Manifest,
    /// Its digest.
    pub digest: Digest,
}

/// Is an artifact that was stored, not yet tagged.
#[derive(Debug)]
pub struct Built {
    /// Names the manifest.
    pub descriptor: Descriptor,
    /// All blobs together.
    pub size_bytes: u64,
    /// How many files there are.
    pub layers: usize,
}

/// Works out the artifact by hashing the files, and stores nothing.
pub fn assemble(plan: &Plan, created: Option<&str>) -> Result<Assembled, Error> {
    let mut layers = Vec::with_capacity(plan.files.len());
    for file in &plan.files {
        let (digest, size_bytes) = match &file.content {
            Content::Bytes(bytes) => (Digest::of(bytes), bytes.len() as u64),
            Content::File { path, .. } => hash(path)?,
        };
        layers.push(layer(file, digest, size_bytes));
    }
    let (manifest, _) = describe_all(plan, layers, created);
    let digest = Digest::of(&manifest.to_bytes());
    Ok(Assembled { manifest, digest })
}

/// Stores the files, the config and the manifest; the same input gives the same digest, anywhere.
///
/// The blobs are kept by `lease` until a tag does.
pub fn build(store: &Store, lease: &Lease, plan: &Plan, created: Option<&str>) -> Result<Built, Error> {
    let mut layers = Vec::with_capacity(plan.files.len());
    for file in &plan.files {
        let blob = match &file.content {
            Content::Bytes(bytes) => store.ingest_bytes(lease, bytes)?,
            Content::File { path, stat } => {
                let blob = store.ingest_file(lease, path)?;
                if fs::stat(path)? != *stat {
                    return Err(Error::Changed(path.clone()));
                }
                blob
            }
        };
        layers.push(layer(file, blob.digest, blob.size_bytes));
    }
    let (manifest, config) = describe_all(plan, layers, created);
    store.ingest_bytes(lease, &config)?;
    let bytes = manifest.to_bytes();
    store.ingest_bytes(lease, &bytes)?;
    let mut descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
    descriptor.artifact_type = Some(MediaType::MODEL_ARTIFACT);
    let blobs = manifest.descriptors().map(|blob| blob.size_bytes).sum::<u64>();
    Ok(Built {
        size_bytes: blobs + descriptor.size_bytes,
        layers: manifest.layers.len(),
        descriptor,
    })
}

fn layer(file: &PlannedFile, digest: Digest, size_bytes: u64) -> Descriptor {
    let original = digest.to_string();
    let layer = describe(&file.path, file.role, digest, size_bytes);
    if file.path.as_str() == GRAPH_PATH && file.role == Role::Weight {
        return layer.with_annotation(ORIGINAL_DIGEST, original);
    }
    layer
}

fn describe_all(plan: &Plan, layers: Vec<Descriptor>, created: Option<&str>) -> (Manifest, Vec<u8>) {
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = config::write(plan, &plan.model().summary(), &digests, created);
    let descriptor = Descriptor::of(MediaType::MODEL_CONFIG, &config);
    let mut manifest = Manifest::new(MediaType::MODEL_ARTIFACT, descriptor, layers);
    let gpuxfile = plan.gpuxfile();
    let mut annotate = |key: &str, value: Option<String>| {
        if let Some(value) = value {
            manifest
                .annotations
                .insert(format!("org.opencontainers.image.{key}"), value);
        }
    };
    annotate("title", Some(gpuxfile.name.value.as_str().to_owned()));
    annotate(
        "version",
        gpuxfile.version.as_ref().map(|version| version.value.to_string()),
    );
    annotate("description", gpuxfile.description.clone());
    annotate(
        "licenses",
        (!gpuxfile.licenses.is_empty()).then(|| gpuxfile.licenses.join(" AND ")),
    );
    annotate(
        "authors",
        (!gpuxfile.authors.is_empty()).then(|| gpuxfile.authors.join(", ")),
    );
    annotate("created", created.map(str::to_owned));
    (manifest, config)
}

fn hash(path: &std::path::Path) -> Result<(Digest, u64), fs::Error> {
    let mut hasher = crate::oci::Hasher::new(crate::oci::Algorithm::Sha256);
    hasher.update(&fs::map(path)?);
    let size_bytes = hasher.size_bytes();
    Ok((hasher.finish(), size_bytes))
}
