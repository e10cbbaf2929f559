use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Error;
use super::error::shown;

/// Names what a blob is.
///
/// Shape: `type/subtype` of RFC 6838, without parameters, at most 255 characters.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct MediaType(Cow<'static, str>);

macro_rules! media_types {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl MediaType {
            $($(#[$doc])* pub const $name: MediaType = MediaType(Cow::Borrowed($text));)*
        }
    };
}

media_types! {
    /// An OCI manifest.
    OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json";
    /// An OCI index.
    OCI_INDEX = "application/vnd.oci.image.index.v1+json";
    /// The config of an OCI container image.
    OCI_IMAGE_CONFIG = "application/vnd.oci.image.config.v1+json";
    /// The empty object `{}`, the config of artifacts that have none.
    OCI_EMPTY = "application/vnd.oci.empty.v1+json";
    /// Docker's manifest, second schema.
    DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's list of manifests.
    DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// The config of a Docker container image.
    DOCKER_IMAGE_CONFIG = "application/vnd.docker.container.image.v1+json";

    /// The artifact type of ModelPack.
    MODEL_ARTIFACT = "application/vnd.cncf.model.manifest.v1+json";
    /// ModelPack's config.
    MODEL_CONFIG = "application/vnd.cncf.model.config.v1+json";
    /// A file of weights, ONNX graphs included, as it is.
    MODEL_WEIGHT_RAW = "application/vnd.cncf.model.weight.v1.raw";
    /// Weights in a tar archive.
    MODEL_WEIGHT_TAR = "application/vnd.cncf.model.weight.v1.tar";
    /// Weights in a tar archive compressed with gzip.
    MODEL_WEIGHT_TAR_GZIP = "application/vnd.cncf.model.weight.v1.tar+gzip";
    /// Weights in a tar archive compressed with zstd.
    MODEL_WEIGHT_TAR_ZSTD = "application/vnd.cncf.model.weight.v1.tar+zstd";
    /// A side file of the weights, such as the GPUXfile, a tokenizer or labels, as it is.
    MODEL_WEIGHT_CONFIG_RAW = "application/vnd.cncf.model.weight.config.v1.raw";
    /// Side files in a tar archive.
    MODEL_WEIGHT_CONFIG_TAR = "application/vnd.cncf.model.weight.config.v1.tar";
    /// Side files in a tar archive compressed with gzip.
    MODEL_WEIGHT_CONFIG_TAR_GZIP = "application/vnd.cncf.model.weight.config.v1.tar+gzip";
    /// Side files in a tar archive compressed with zstd.
    MODEL_WEIGHT_CONFIG_TAR_ZSTD = "application/vnd.cncf.model.weight.config.v1.tar+zstd";
    /// A document, such as a README or a licence, as it is.
    MODEL_DOC_RAW = "application/vnd.cncf.model.doc.v1.raw";
    /// Documents in a tar archive.
    MODEL_DOC_TAR = "application/vnd.cncf.model.doc.v1.tar";
    /// Documents in a tar archive compressed with gzip.
    MODEL_DOC_TAR_GZIP = "application/vnd.cncf.model.doc.v1.tar+gzip";
    /// Documents in a tar archive compressed with zstd.
    MODEL_DOC_TAR_ZSTD = "application/vnd.cncf.model.doc.v1.tar+zstd";
    /// A file of code, as it is.
    MODEL_CODE_RAW = "application/vnd.cncf.model.code.v1.raw";
    /// Code in a tar archive.
    MODEL_CODE_TAR = "application/vnd.cncf.model.code.v1.tar";
    /// Code in a tar archive compressed with gzip.
    MODEL_CODE_TAR_GZIP = "application/vnd.cncf.model.code.v1.tar+gzip";
    /// Code in a tar archive compressed with zstd.
    MODEL_CODE_TAR_ZSTD = "application/vnd.cncf.model.code.v1.tar+zstd";
    /// A file of samples, as it is.
    MODEL_DATASET_RAW = "application/vnd.cncf.model.dataset.v1.raw";
    /// Samples in a tar archive.
    MODEL_DATASET_TAR = "application/vnd.cncf.model.dataset.v1.tar";
    /// Samples in a tar archive compressed with gzip.
    MODEL_DATASET_TAR_GZIP = "application/vnd.cncf.model.dataset.v1.tar+gzip";
    /// Samples in a tar archive compressed with zstd.
    MODEL_DATASET_TAR_ZSTD = "application/vnd.cncf.model.dataset.v1.tar+zstd";

    /// The artifact type of ModelPack before it moved to CNCF; its layers have the same ends (see
    /// [`MediaType::modernized`]).
    OLD_MODEL_ARTIFACT = "application/vnd.cnai.model.manifest.v1+json";
    /// ModelPack's config before it moved to CNCF.
    OLD_MODEL_CONFIG = "application/vnd.cnai.model.config.v1+json";

    /// The config of a KitOps ModelKit.
    KITOPS_CONFIG = "application/vnd.kitops.modelkit.config.v1+json";
    /// The model of a ModelKit in a tar archive.
    KITOPS_MODEL_TAR = "application/vnd.kitops.modelkit.model.v1.tar";
    /// The model of a ModelKit in a tar archive compressed with gzip.
    KITOPS_MODEL_TAR_GZIP = "application/vnd.kitops.modelkit.model.v1.tar+gzip";
    /// A part of the model of a ModelKit in a tar archive.
    KITOPS_MODEL_PART_TAR = "application/vnd.kitops.modelkit.modelpart.v1.tar";
    /// A part of the model of a ModelKit in a tar archive compressed with gzip.
    KITOPS_MODEL_PART_TAR_GZIP = "application/vnd.kitops.modelkit.modelpart.v1.tar+gzip";
    /// Data of a ModelKit in a tar archive.
    KITOPS_DATASET_TAR = "application/vnd.kitops.modelkit.dataset.v1.tar";
    /// Data of a ModelKit in a tar archive compressed with gzip.
    KITOPS_DATASET_TAR_GZIP = "application/vnd.kitops.modelkit.dataset.v1.tar+gzip";
    /// Code of a ModelKit in a tar archive.
    KITOPS_CODE_TAR = "application/vnd.kitops.modelkit.code.v1.tar";
    /// Code of a ModelKit in a tar archive compressed with gzip.
    KITOPS_CODE_TAR_GZIP = "application/vnd.kitops.modelkit.code.v1.tar+gzip";
    /// Documents of a ModelKit in a tar archive.
    KITOPS_DOCS_TAR = "application/vnd.kitops.modelkit.docs.v1.tar";
    /// Documents of a ModelKit in a tar archive compressed with gzip.
    KITOPS_DOCS_TAR_GZIP = "application/vnd.kitops.modelkit.docs.v1.tar+gzip";
}

impl MediaType {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Tells whether content of the type is a manifest, OCI's or Docker's.
    pub fn is_manifest(&self) -> bool {
        *self == MediaType::OCI_MANIFEST || *self == MediaType::DOCKER_MANIFEST
    }

    /// Tells whether content of the type is an index, OCI's or Docker's.
    pub fn is_index(&self) -> bool {
        *self == MediaType::OCI_INDEX || *self == MediaType::DOCKER_INDEX
    }

    /// Gives the ModelPack type that an older `application/vnd.cnai.model.…` type became; other types stay.
    pub fn modernized(&self) -> MediaType {
        match self.0.strip_prefix("application/vnd.cnai.model.") {
            Some(rest) => MediaType(Cow::Owned(format!("application/vnd.cncf.model.{rest}"))),
            None => self.clone(),
        }
    }
}

impl FromStr for MediaType {
    type Err = Error;

    /// Reads `type/subtype`.
    ///
    /// Errors: [`Error::MediaType`] for every other text.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::MediaType {
            text: shown(text),
            problem,
        };
        if text.len() > 255 {
            return Err(refuse("it has more than 255 characters"));
        }
        let (kind, subtype) = text.split_once('/').ok_or_else(|| refuse("it has no `/`"))?;
        let legal = |part: &str| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "!#$&-^_.+".contains(c))
        };
        if !legal(kind) || !legal(subtype) {
            return Err(refuse("it must be `type/subtype` in letters, digits and !#$&-^_.+"));
        }
        Ok(MediaType(Cow::Owned(text.to_owned())))
    }
}

impl fmt::Display for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for MediaType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl From<MediaType> for String {
    fn from(media_type: MediaType) -> String {
        media_type.0.into_owned()
    }
}

impl TryFrom<String> for MediaType {
    type Error = Error;

    fn try_from(text: String) -> Result<Self, Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_type_and_subtype_are_read() {
        let read: MediaType = "application/vnd.oci.image.manifest.v1+json".parse().unwrap();
        assert_eq!(read, MediaType::OCI_MANIFEST);
        for text in [
            "",
            "json",
            "/",
            "a/",
            "/b",
            "a/b/c",
            "a/b; charset=utf-8",
            "a/b\n",
            "a/\u{1b}[31m",
            " a/b",
        ] {
            assert!(text.parse::<MediaType>().is_err(), "{text:?}");
        }
        assert!(format!("a/{}", "b".repeat(254)).parse::<MediaType>().is_err());
    }

    #[test]
    fn older_model_types_become_the_present_ones() {
        let old: MediaType = "application/vnd.cnai.model.weight.v1.raw".parse().unwrap();
        assert_eq!(old.modernized(), MediaType::MODEL_WEIGHT_RAW);
        assert_eq!(MediaType::OLD_MODEL_CONFIG.modernized(), MediaType::MODEL_CONFIG);
        assert_eq!(MediaType::OCI_EMPTY.modernized(), MediaType::OCI_EMPTY);
    }
}
