use std::collections::BTreeMap;

use crate::oci::{Descriptor, Digest, FilePath, Manifest, MediaType};
use crate::store::{Lease, Store};

use super::keeper::{Hashing, Keeper, Storing};
use super::layer::{ORIGINAL_DIGEST, Role, describe};
use super::pieces::Piece;
use super::plan::Content;
use super::{Error, Plan, config};

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
    let (manifest, _) = describe_all(plan, layers(plan, &Hashing)?, created);
    let digest = Digest::of(&manifest.to_bytes());
    Ok(Assembled { manifest, digest })
}

/// Stores the files, the config and the manifest; the same input gives the same digest, anywhere.
///
/// The blobs are kept by `lease` until a tag does.
pub fn build(store: &Store, lease: &Lease, plan: &Plan, created: Option<&str>) -> Result<Built, Error> {
    let layers = layers(plan, &Storing { store, lease })?;
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

/// Gives every file to `keeper` and describes the layers in their order.
fn layers(plan: &Plan, keeper: &dyn Keeper) -> Result<Vec<Descriptor>, Error> {
    let mut layers: Vec<Descriptor> = Vec::with_capacity(plan.files.len());
    let mut shards: BTreeMap<FilePath, Digest> = BTreeMap::new();
    for file in &plan.files {
        let blob = match &file.content {
            Content::Bytes(bytes) => keeper.keep(&[Piece::Bytes(bytes.clone())], true)?,
            Content::File { path, stat } => keeper.keep_file(path, stat.as_ref())?,
            Content::Sharded(at, sharding) => {
                let laid_out = sharding.lay_out(&plan.graphs()[*at].model, keeper)?;
                let graph = describe(&file.path, file.role, laid_out.graph.digest, laid_out.graph.size_bytes);
                layers.push(graph.with_annotation(ORIGINAL_DIGEST, laid_out.original.to_string()));
                for shard in &laid_out.shards {
                    let path: FilePath = shard.digest.hex().parse()?;
                    let layer = describe(&path, Role::Weight, shard.digest, shard.size_bytes);
                    // What several models have is one layer.
                    if shards.insert(path, shard.digest).is_none() {
                        layers.push(layer);
                    }
                }
                continue;
            }
        };
        match shards.get(&file.path) {
            // A shard of an artifact that was unpacked and is built again.
            Some(digest) if *digest == blob.digest => continue,
            Some(_) => return Err(Error::ShardPath(file.path.clone())),
            None => {}
        }
        let layer = describe(&file.path, file.role, blob.digest, blob.size_bytes);
        layers.push(if plan.is_graph(&file.path) && file.role == Role::Weight {
            layer.with_annotation(ORIGINAL_DIGEST, blob.digest.to_string())
        } else {
            layer
        });
    }
    Ok(layers)
}

fn describe_all(plan: &Plan, layers: Vec<Descriptor>, created: Option<&str>) -> (Manifest, Vec<u8>) {
    let digests: Vec<Digest> = layers.iter().map(|layer| layer.digest).collect();
    let config = config::write(plan, &digests, created);
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
