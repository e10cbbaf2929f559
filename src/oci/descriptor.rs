use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize};

use super::{Digest, Error, MediaType};

/// Names and values that a manifest, an index or a descriptor carries, in the order of the names.
pub type Annotations = BTreeMap<String, String>;

/// The largest size that a descriptor may have: OCI sizes are signed 64-bit numbers.
pub const MAX_SIZE_BYTES: u64 = i64::MAX as u64;

/// Names a blob: what it is, how large, and the digest of its content.
///
/// Keys of later versions of the specification, and other tools' own, are kept in `extra`, so that an `index.json` that
/// others write too loses nothing when gpux rewrites it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Descriptor {
    /// What the content is.
    #[serde(rename = "mediaType")]
    pub media_type: MediaType,
    /// The hash of the content.
    pub digest: Digest,
    /// The number of bytes of the content, at most [`MAX_SIZE_BYTES`].
    #[serde(rename = "size", deserialize_with = "size")]
    pub size_bytes: u64,
    /// Other places where the content may lie. gpux keeps them and never fetches from them.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Names and values about the content.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// The content itself in base64; [`Descriptor::embedded`] checks it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<String>,
    /// The artifact type of the manifest that the descriptor names.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// Every key not named above.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Descriptor {
    /// Makes a descriptor without annotations.
    pub fn new(media_type: MediaType, digest: Digest, size_bytes: u64) -> Descriptor {
        Descriptor {
            media_type,
            digest,
            size_bytes,
            urls: Vec::new(),
            annotations: Annotations::new(),
            data: None,
            artifact_type: None,
            extra: BTreeMap::new(),
        }
    }

    /// Makes the descriptor of `bytes`, hashed with SHA-256.
    pub fn of(media_type: MediaType, bytes: &[u8]) -> Descriptor {
        Descriptor::new(media_type, Digest::of(bytes), bytes.len() as u64)
    }

    /// Adds an annotation.
    pub fn with_annotation(mut self, key: &str, value: impl Into<String>) -> Descriptor {
        self.annotations.insert(key.to_owned(), value.into());
        self
    }

    /// Gives the value of an annotation.
    pub fn annotation(&self, key: &str) -> Option<&str> {
        self.annotations.get(key).map(String::as_str)
    }

    /// Decodes the content that the descriptor carries, where it carries one.
    ///
    /// Errors: [`Error::EmbeddedData`] if it is not base64 or not the content that digest and size name.
    pub fn embedded(&self) -> Result<Option<Vec<u8>>, Error> {
        let Some(data) = &self.data else { return Ok(None) };
        match STANDARD.decode(data) {
            Ok(bytes) if bytes.len() as u64 == self.size_bytes && self.digest.matches(&bytes) => Ok(Some(bytes)),
            _ => Err(Error::EmbeddedData {
                digest: self.digest.to_string(),
            }),
        }
    }
}

fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    let size_bytes = u64::deserialize(deserializer)?;
    if size_bytes > MAX_SIZE_BYTES {
        return Err(serde::de::Error::custom(format_args!(
            "size {size_bytes} is larger than 2^63 - 1"
        )));
    }
    Ok(size_bytes)
}

/// Reads null as empty: encoders of Go write an absent list or map that way.
pub(super) fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}
