use std::path::Path;

use super::{InstallError, Staging};
use crate::oci::{Descriptor, Document, FilePath, Manifest, MediaType, Reference, annotation};
use crate::provider::find::Installed;
use crate::provider::{PACK_FILE, Pack, Platform};
use crate::store::{Lease, Store};

/// The type of an artifact that is a pack.
pub const PACK_ARTIFACT: &str = "application/vnd.gpux.provider-pack.v1";

/// The type of its config, which is `pack.json`.
const PACK_CONFIG: &str = "application/vnd.gpux.provider-pack.config.v1+json";

/// The type of its layers: one file each, as it is.
const PACK_FILE_TYPE: &str = "application/vnd.gpux.provider-pack.file.v1";

/// The longest `pack.json`.
const LIMIT_BYTES: u64 = 1 << 20;

/// Names the artifact of a pack below a prefix: `PREFIX/NAME:VERSION-PLATFORM`.
///
/// Errors: the prefix is none.
pub fn pack_reference(prefix: &str, name: &str, version: &str, platform: Platform) -> Result<Reference, InstallError> {
    // Tags have no `+`.
    let version = version.replace('+', "_");
    Ok(format!("{}/{name}:{version}-{platform}", prefix.trim_end_matches('/')).parse()?)
}

/// Puts a pack into the store as an artifact, for a registry or an archive.
///
/// Shape: the same pack gives the same digests everywhere.
pub fn push_to_store(store: &Store, lease: &Lease, installed: &Installed) -> Result<Descriptor, InstallError> {
    let mut layers = Vec::new();
    for file in &installed.pack.libraries {
        let path = installed.folder.join(&file.path);
        let blob = store.ingest_file(lease, &path)?;
        if blob.digest != file.digest {
            return Err(InstallError::OtherContent {
                path,
                expected: file.digest,
                found: blob.digest,
            });
        }
        layers.push(
            blob.descriptor(media_type(PACK_FILE_TYPE))
                .with_annotation(annotation::TITLE, &*file.path),
        );
    }
    let mut pack = installed.pack.clone();
    // Where it came from on this machine is nobody else's business.
    pack.source = None;
    let config = pack.to_bytes();
    store.ingest_bytes(lease, &config)?;
    let artifact = media_type(PACK_ARTIFACT);
    let mut manifest = Manifest::new(
        artifact.clone(),
        Descriptor::of(media_type(PACK_CONFIG), &config),
        layers,
    );
    let notes = [
        ("org.opencontainers.image.title", pack.name.to_string()),
        ("org.opencontainers.image.version", pack.version.to_string()),
    ];
    manifest
        .annotations
        .extend(notes.map(|(key, value)| (key.to_owned(), value)));
    let bytes = manifest.to_bytes();
    store.ingest_bytes(lease, &bytes)?;
    let mut descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &bytes);
    descriptor.artifact_type = Some(artifact);
    Ok(descriptor)
}

fn media_type(text: &str) -> MediaType {
    text.parse().expect("media types of packs are well formed")
}

/// Takes a pack out of the store.
///
/// Errors: [`InstallError::NotAPack`]; [`InstallError::OtherPlatform`]; what the store finds damaged.
pub fn take_artifact(
    staging: &mut Staging<'_>,
    store: &Store,
    reference: &Reference,
    descriptor: &Descriptor,
) -> Result<Pack, InstallError> {
    let refuse = |problem: &str| InstallError::NotAPack {
        reference: reference.to_string(),
        problem: problem.to_owned(),
    };
    let Document::Manifest(manifest) = store.document(descriptor)? else {
        return Err(refuse("it is an index"));
    };
    if manifest.config.media_type.as_str() != PACK_CONFIG {
        return Err(refuse(&format!(
            "its config is of type `{}`",
            manifest.config.media_type
        )));
    }
    let bytes = store.read(&manifest.config.digest, LIMIT_BYTES)?;
    let mut pack = Pack::parse(&bytes, Path::new(PACK_FILE))?;
    if pack.platform != Platform::current() {
        return Err(InstallError::OtherPlatform {
            path: reference.to_string().into(),
            found: pack.platform,
        });
    }
    for file in &pack.libraries {
        // Safe: the document was parsed, and it has no others.
        let path: FilePath = file.path.parse()?;
        let named =
            |layer: &&Descriptor| layer.annotations.get(annotation::TITLE).map(String::as_str) == Some(path.as_str());
        let layer = manifest
            .layers
            .iter()
            .find(named)
            .ok_or_else(|| refuse(&format!("it has no layer `{path}`")))?;
        if (layer.digest, layer.size_bytes) != (file.digest, file.size_bytes) {
            return Err(refuse(&format!("its layer `{path}` is not what its pack says")));
        }
        staging.link(path.as_str(), &store.blob(&layer.digest)?, layer.digest)?;
    }
    pack.source = Some(reference.to_string());
    Ok(pack)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::provider::install::{Shelf, take_core};
    use crate::provider::row;

    #[test]
    fn a_pack_comes_out_of_the_store_as_it_went_in() {
        let root = tempfile::tempdir().unwrap();
        let core = root.path().join("libonnxruntime.so.1.30.0");
        std::fs::write(&core, "core").unwrap();
        let shelf = Shelf::new(root.path().join("first"));
        let lock = shelf.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let pack = take_core(&mut staging, &core, row("cpu").unwrap(), true).unwrap();
        let made = staging.commit(&pack).unwrap();

        let store = Store::open(&root.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        let descriptor = push_to_store(&store, &lease, &made).unwrap();
        assert_eq!(push_to_store(&store, &lease, &made).unwrap().digest, descriptor.digest);
        let reference = pack_reference("example.org/packs/", "cpu", "1.30.0", Platform::current()).unwrap();
        assert_eq!(
            reference.to_string(),
            format!("example.org/packs/cpu:1.30.0-{}", Platform::current())
        );

        let second = Shelf::new(root.path().join("second"));
        let lock = second.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let pack = take_artifact(&mut staging, &store, &reference, &descriptor).unwrap();
        let taken = staging.commit(&pack).unwrap();
        assert_eq!(taken.pack.libraries, made.pack.libraries);
        assert_eq!(Shelf::verify(&taken).unwrap(), []);
    }

    #[test]
    fn what_is_no_pack_is_refused() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::open(&root.path().join("home")).unwrap();
        let lease = store.lease(&[]).unwrap();
        store.ingest_bytes(&lease, b"{}").unwrap();
        let config = Descriptor::of("application/vnd.oci.image.config.v1+json".parse().unwrap(), b"{}");
        let manifest = Manifest::new(media_type(PACK_ARTIFACT), config, Vec::new()).to_bytes();
        store.ingest_bytes(&lease, &manifest).unwrap();
        let descriptor = Descriptor::of(MediaType::OCI_MANIFEST, &manifest);
        let shelf = Shelf::new(root.path().join("providers"));
        let lock = shelf.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let refused = take_artifact(&mut staging, &store, &"x".parse().unwrap(), &descriptor).unwrap_err();
        assert!(matches!(refused, InstallError::NotAPack { .. }), "{refused}");
        assert!(pack_reference("UPPER CASE", "cpu", "1", Platform::current()).is_err());
    }
}
