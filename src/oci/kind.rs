use super::{Annotations, Manifest, annotation};

/// Config types of container images and other things that are not models.
const FOREIGN: &[(&str, &str)] = &[
    ("application/vnd.oci.image.config.v1+json", "a container image"),
    ("application/vnd.docker.container.image.v1+json", "a container image"),
    ("application/vnd.cncf.helm.config.v1+json", "a Helm chart"),
    ("application/vnd.wasm.config.v0+json", "a WebAssembly module"),
];

/// Says whose format an artifact has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// CNCF ModelPack, gpux's own format, or its older cnai types.
    ModelPack,
    /// A ModelKit of KitOps.
    ModelKit,
    /// Files with titles, as ORAS pushes them.
    Files,
}

/// Says how a layer holds its files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// It is one file.
    Raw,
    /// It is a tar archive of files.
    Tar,
    /// It is a tar archive, compressed with gzip.
    TarGzip,
    /// It is a tar archive, compressed with zstd.
    TarZstd,
}

impl Manifest {
    /// Tells whose format the artifact has; `None` for what is no model.
    pub fn kind(&self) -> Option<Kind> {
        let types = self
            .layers
            .iter()
            .map(|layer| layer.media_type.as_str())
            .chain([self.config.media_type.as_str()])
            .chain(self.artifact_type.as_ref().map(|artifact| artifact.as_str()));
        for media_type in types {
            let begins = |prefix: &str| media_type.starts_with(prefix);
            if begins("application/vnd.cncf.model.") || begins("application/vnd.cnai.model.") {
                return Some(Kind::ModelPack);
            }
            if begins("application/vnd.kitops.modelkit.") {
                return Some(Kind::ModelKit);
            }
        }
        let titled = |annotations: &Annotations| annotations.contains_key(annotation::TITLE);
        let files = self.layers.iter().any(|layer| titled(&layer.annotations));
        files.then_some(Kind::Files)
    }

    /// Names in a few words what an artifact is that is no model.
    pub fn described(&self) -> String {
        let config = self.config.media_type.as_str();
        match FOREIGN.iter().find(|(media_type, _)| *media_type == config) {
            Some((_, what)) => (*what).to_owned(),
            None => {
                let artifact = self.artifact_type.as_ref().map_or(config, |artifact| artifact.as_str());
                format!("of type `{artifact}`, and none of its layers has a file name")
            }
        }
    }
}

impl super::Descriptor {
    /// Tells how a layer of an artifact of `kind` holds its files; `None` for a packing that is not known.
    ///
    /// ORAS gives files of all sorts the media type of a tar archive, and says in an annotation which are folders.
    pub fn packing(&self, kind: Kind) -> Option<Packing> {
        let media_type = self.media_type.as_str();
        let tar = |ending: &str| match ending {
            "tar" => Some(Packing::Tar),
            "tar+gzip" | "tar.gzip" | "tar+gz" => Some(Packing::TarGzip),
            "tar+zstd" | "tar.zstd" | "tar+zst" => Some(Packing::TarZstd),
            _ => None,
        };
        let ending = media_type.rfind(".tar").map(|at| &media_type[at + 1..]);
        match kind {
            Kind::Files if self.annotation(annotation::UNPACK) == Some("true") => {
                ending.and_then(tar).or(Some(Packing::TarGzip))
            }
            Kind::Files => Some(Packing::Raw),
            _ if media_type.ends_with(".raw") => Some(Packing::Raw),
            _ => ending.and_then(tar),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, MediaType};

    fn layer(media_type: &str) -> Descriptor {
        Descriptor::of(media_type.parse().unwrap(), b"x")
    }

    #[test]
    fn layers_tell_how_they_are_packed() {
        let packing = |media_type: &str, kind| layer(media_type).packing(kind);
        let (pack, kit) = (Kind::ModelPack, Kind::ModelKit);
        assert_eq!(
            packing("application/vnd.cncf.model.weight.v1.raw", pack),
            Some(Packing::Raw)
        );
        assert_eq!(
            packing("application/vnd.cnai.model.weight.v1.tar", pack),
            Some(Packing::Tar)
        );
        assert_eq!(
            packing("application/vnd.cncf.model.weight.v1.tar+gzip", pack),
            Some(Packing::TarGzip)
        );
        assert_eq!(
            packing("application/vnd.cncf.model.doc.v1.tar+zstd", pack),
            Some(Packing::TarZstd)
        );
        assert_eq!(
            packing("application/vnd.kitops.modelkit.model.v1.tar+gzip", kit),
            Some(Packing::TarGzip)
        );
        assert_eq!(packing("application/vnd.cncf.model.weight.v1.tar+brotli", pack), None);
        assert_eq!(packing("application/vnd.cncf.model.weight.v1", pack), None);
        let tar = "application/vnd.oci.image.layer.v1.tar";
        assert_eq!(packing(tar, Kind::Files), Some(Packing::Raw));
        let folder = layer(&format!("{tar}+gzip")).with_annotation(annotation::UNPACK, "true");
        assert_eq!(folder.packing(Kind::Files), Some(Packing::TarGzip));
    }

    #[test]
    fn artifacts_tell_whose_they_are() {
        let manifest = |config: &str, layer: Descriptor| {
            let mut manifest = Manifest::new(MediaType::MODEL_ARTIFACT, self::layer(config), vec![layer]);
            manifest.artifact_type = None;
            manifest
        };
        let image = manifest("application/vnd.oci.image.config.v1+json", layer("a/b"));
        assert_eq!((image.kind(), image.described().as_str()), (None, "a container image"));
        let kit = manifest("application/vnd.kitops.modelkit.config.v1+json", layer("a/b"));
        assert_eq!(kit.kind(), Some(Kind::ModelKit));
        let old = manifest("application/vnd.cnai.model.config.v1+json", layer("a/b"));
        assert_eq!(old.kind(), Some(Kind::ModelPack));
        let titled = layer("a/b").with_annotation(annotation::TITLE, "model.onnx");
        assert_eq!(
            manifest("application/vnd.oci.empty.v1+json", titled).kind(),
            Some(Kind::Files)
        );
    }
}
