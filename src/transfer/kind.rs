//! What an artifact is: ours, another tool's, or no model at all.

use super::error::Error;
use crate::oci::{Document, Manifest, Reference, annotation};

/// Config types of container images and other things that are not models.
const FOREIGN: &[(&str, &str)] = &[
    ("application/vnd.oci.image.config.v1+json", "a container image"),
    ("application/vnd.docker.container.image.v1+json", "a container image"),
    ("application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
    ("application/vnd.wasm.config.v0+json", "a WebAssembly module"),
];

/// Who makes artifacts of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CNCF ModelPack, gpux's own format, or its older cnai types.
    ModelPack,
    /// KitOps.
    ModelKit,
    /// Files with titles, as ORAS pushes them.
    Files,
}

/// Tells what a manifest holds; `None` for what is no model, with what it is instead in [`foreign`].
pub fn kind_of(manifest: &Manifest) -> Option<Kind> {
    let types = manifest
        .layers
        .iter()
        .map(|layer| layer.media_type.as_str())
        .chain([manifest.config.media_type.as_str()])
        .chain(manifest.artifact_type.as_ref().map(|artifact| artifact.as_str()));
    for media_type in types {
        if media_type.starts_with("application/vnd.cncf.model.")
            || media_type.starts_with("application/vnd.cnai.model.")
        {
            return Some(Kind::ModelPack);
        }
        if media_type.starts_with("application/vnd.kitops.modelkit.") {
            return Some(Kind::ModelKit);
        }
    }
    let titled = |annotations: &crate::oci::Annotations| annotations.contains_key(annotation::TITLE);
    let files = manifest.layers.iter().any(|layer| titled(&layer.annotations));
    files.then_some(Kind::Files)
}

/// Names what a manifest holds that is no model.
fn foreign(manifest: &Manifest) -> String {
    let config = manifest.config.media_type.as_str();
    match FOREIGN.iter().find(|(media_type, _)| *media_type == config) {
        Some((_, what)) => (*what).to_owned(),
        None => {
            let artifact = manifest
                .artifact_type
                .as_ref()
                .map_or(config, |artifact| artifact.as_str());
            format!("of type `{artifact}`, and none of its layers has a file name")
        }
    }
}

/// Refuses what holds no model.
///
/// Errors: [`Error::NotAnArtifact`].
pub fn check_artifact(reference: &Reference, document: &Document) -> Result<(), Error> {
    let Document::Manifest(manifest) = document else {
        return Ok(());
    };
    match kind_of(manifest) {
        Some(_) => Ok(()),
        None => Err(Error::NotAnArtifact {
            reference: Box::new(reference.clone()),
            what: foreign(manifest),
        }),
    }
}
