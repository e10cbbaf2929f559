use std::collections::BTreeMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Serialize};

use super::descriptor::or_default;
use super::error::shown;
use super::json;
use super::{Annotations, Descriptor, Error, MediaType};

/// The largest manifest or index that is read from others; registries refuse larger ones too.
///
/// Units: bytes.
pub const MAX_DOCUMENT_BYTES: u64 = 4 << 20;

/// Describes one artifact: its config and its layers.
///
/// A manifest's digest is of the bytes as they came: keep those, and do not expect [`Manifest::to_bytes`] to give them
/// back for a manifest of another tool, whose unknown keys are ignored here.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    /// The type of the document itself, which old documents leave out.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What the artifact is.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The blob that describes the artifact as a whole.
    pub config: Descriptor,
    /// The blobs of the artifact, in order.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// The manifest that this one says something about, such as a signature.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Names and values about the artifact.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
}

impl Manifest {
    /// Makes a manifest of OCI's media type.
    pub fn new(artifact_type: MediaType, config: Descriptor, layers: Vec<Descriptor>) -> Manifest {
        Manifest {
            schema_version: 2,
            media_type: Some(MediaType::OCI_MANIFEST),
            artifact_type: Some(artifact_type),
            config,
            layers,
            subject: None,
            annotations: Annotations::new(),
        }
    }

    /// Reads a manifest.
    ///
    /// Errors: as for [`Document::parse`].
    pub fn parse(bytes: &[u8]) -> Result<Manifest, Error> {
        match Document::parse(bytes, None)? {
            Document::Manifest(manifest) => Ok(manifest),
            Document::Index(_) => Err(Error::OtherMediaType {
                declared: MediaType::OCI_MANIFEST.to_string(),
                found: MediaType::OCI_INDEX.to_string(),
            }),
        }
    }

    /// Writes the manifest: keys in the order of the specification, annotations sorted, no spaces. Equal manifests
    /// give equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Gives config, layers and subject: the blobs that the manifest names.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        std::iter::once(&self.config).chain(&self.layers).chain(&self.subject)
    }
}

/// Lists manifests: the variants of an artifact, or the contents of an image layout.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Index {
    #[serde(rename = "schemaVersion")]
    schema_version: u64,
    /// The type of the document itself, which old documents leave out.
    #[serde(rename = "mediaType", default, skip_serializing_if = "Option::is_none")]
    pub media_type: Option<MediaType>,
    /// What the artifact is.
    #[serde(rename = "artifactType", default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<MediaType>,
    /// The manifests, in order.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// The manifest that this index says something about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Descriptor>,
    /// Names and values about the index.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: Annotations,
    /// Every key not named above: `index.json` of a layout is rewritten, and must keep what others put there.
    #[serde(flatten)]
    pub extra: BTreeMap<String, serde_json::Value>,
}

impl Index {
    /// Makes an index of OCI's media type.
    pub fn new(manifests: Vec<Descriptor>) -> Index {
        Index {
            schema_version: 2,
            media_type: Some(MediaType::OCI_INDEX),
            artifact_type: None,
            manifests,
            subject: None,
            annotations: Annotations::new(),
            extra: BTreeMap::new(),
        }
    }

    /// Reads an index of at most `limit_bytes`.
    ///
    /// Errors: as for [`Document::parse`].
    pub fn parse(bytes: &[u8], limit_bytes: u64) -> Result<Index, Error> {
        match parse_within(bytes, Some(&MediaType::OCI_INDEX), limit_bytes, false)? {
            Document::Index(index) => Ok(index),
            Document::Manifest(_) => Err(Error::OtherMediaType {
                declared: MediaType::OCI_INDEX.to_string(),
                found: MediaType::OCI_MANIFEST.to_string(),
            }),
        }
    }

    /// Writes the index: keys in the order of the specification, annotations sorted, no spaces. Equal indexes give
    /// equal bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        to_bytes(self)
    }

    /// Gives manifests and subject: the blobs that the index names.
    pub fn descriptors(&self) -> impl Iterator<Item = &Descriptor> {
        self.manifests.iter().chain(&self.subject)
    }
}

/// Holds what a registry serves as a manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Document {
    /// One artifact.
    Manifest(Manifest),
    /// A list of manifests.
    Index(Index),
}

impl Document {
    /// Reads a manifest or an index, OCI's or Docker's. `declared` is what a Content-Type or a descriptor says it is.
    ///
    /// Errors: [`Error::TooLarge`] over [`MAX_DOCUMENT_BYTES`]; [`Error::OtherMediaType`] if the body says something
    /// else than `declared`; [`Error::Ambiguous`], [`Error::NotOci`], [`Error::SchemaVersion`];
    /// [`Error::EmbeddedData`]; [`Error::Json`] for the rest, such as a key that stands twice or a negative size.
    pub fn parse(bytes: &[u8], declared: Option<&MediaType>) -> Result<Document, Error> {
        parse_within(bytes, declared, MAX_DOCUMENT_BYTES, true)
    }

    /// Gives the blobs that the document names.
    pub fn descriptors(&self) -> Vec<&Descriptor> {
        match self {
            Document::Manifest(manifest) => manifest.descriptors().collect(),
            Document::Index(index) => index.descriptors().collect(),
        }
    }
}

/// The keys that tell a manifest from an index. A null counts as absent.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Outline {
    schema_version: Option<u64>,
    media_type: Option<MediaType>,
    config: Option<IgnoredAny>,
    layers: Option<IgnoredAny>,
    manifests: Option<IgnoredAny>,
}

fn parse_within(bytes: &[u8], declared: Option<&MediaType>, limit_bytes: u64, strict: bool) -> Result<Document, Error> {
    let kind = if declared.is_some_and(MediaType::is_index) {
        "index"
    } else {
        "manifest"
    };
    if bytes.len() as u64 > limit_bytes {
        return Err(Error::TooLarge {
            kind,
            size_bytes: bytes.len() as u64,
            limit_bytes,
        });
    }
    let unreadable = |source| Error::Json { kind, source };
    json::check(bytes).map_err(unreadable)?;
    let outline: Outline = serde_json::from_slice(bytes).map_err(unreadable)?;
    if outline.manifests.is_some() && (outline.layers.is_some() || outline.config.is_some()) {
        return Err(Error::Ambiguous);
    }
    if let (Some(found), Some(declared)) = (&outline.media_type, declared)
        && found != declared
        && strict
    {
        return Err(Error::OtherMediaType {
            declared: shown(declared.as_str()),
            found: shown(found.as_str()),
        });
    }
    let is_index = match outline.media_type.as_ref().or(declared) {
        Some(media_type) if media_type.is_index() => true,
        Some(media_type) if media_type.is_manifest() => false,
        Some(_) => return Err(Error::NotOci),
        None if outline.manifests.is_some() => true,
        None if outline.config.is_some() => false,
        None => return Err(Error::NotOci),
    };
    if is_index && (outline.layers.is_some() || outline.config.is_some()) || !is_index && outline.manifests.is_some() {
        return Err(Error::Ambiguous);
    }
    let kind = if is_index { "index" } else { "manifest" };
    match outline.schema_version {
        Some(2) => {}
        Some(found) => return Err(Error::SchemaVersion { kind, found }),
        None => return Err(Error::NotOci),
    }
    let document = if is_index {
        Document::Index(typed(bytes, kind)?)
    } else {
        Document::Manifest(typed(bytes, kind)?)
    };
    for descriptor in document.descriptors() {
        descriptor.embedded()?;
    }
    Ok(document)
}

fn typed<T: DeserializeOwned>(bytes: &[u8], kind: &'static str) -> Result<T, Error> {
    serde_json::from_slice(bytes).map_err(|source| Error::Json { kind, source })
}

fn to_bytes(document: &impl Serialize) -> Vec<u8> {
    // Keys are strings and numbers are integers, so nothing here can fail to become JSON.
    serde_json::to_vec(document).expect("a manifest is always JSON")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Digest;

    fn descriptor(size: &str) -> String {
        let digest = Digest::of(b"abc");
        format!(r#"{{"mediaType":"application/octet-stream","digest":"{digest}","size":{size}}}"#)
    }

    fn manifest_with(rest: &str) -> Result<Document, Error> {
        let text = format!(r#"{{"schemaVersion":2,"config":{}{rest}}}"#, descriptor("3"));
        Document::parse(text.as_bytes(), None)
    }

    #[test]
    fn equal_manifests_give_equal_bytes_in_the_order_of_the_specification() {
        let config = Descriptor::of(MediaType::MODEL_CONFIG, b"{}");
        let layer = Descriptor::of(MediaType::MODEL_WEIGHT_RAW, b"abc")
            .with_annotation("b", "2")
            .with_annotation("a", "1");
        let mut manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer]);
        manifest.annotations.insert("z".into(), "\n".into());
        let bytes = manifest.to_bytes();
        assert_eq!(
            String::from_utf8(bytes.clone()).unwrap(),
            concat!(
                r#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","#,
                r#""artifactType":"application/vnd.cncf.model.manifest.v1+json","config":{"#,
                r#""mediaType":"application/vnd.cncf.model.config.v1+json","digest":"#,
                r#""sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"#,
                r#""layers":[{"mediaType":"application/vnd.cncf.model.weight.v1.raw","digest":"#,
                r#""sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3,"#,
                r#""annotations":{"a":"1","b":"2"}}],"annotations":{"z":"\n"}}"#,
            )
        );
        assert_eq!(Manifest::parse(&bytes).unwrap(), manifest);
    }

    #[test]
    fn an_index_keeps_the_keys_of_others() {
        let text = format!(
            r#"{{"schemaVersion":2,"x-other":[1],"manifests":[{},{}]}}"#,
            r#"{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","size":3,"platform":{"os":"linux"},"x":null}"#,
            descriptor("0"),
        );
        let index = Index::parse(text.as_bytes(), 1 << 20).unwrap();
        let again = String::from_utf8(index.to_bytes()).unwrap();
        for kept in [r#""x-other":[1]"#, r#""platform":{"os":"linux"}"#, r#""x":null"#] {
            assert!(again.contains(kept), "{again}");
        }
        assert_eq!(Index::parse(again.as_bytes(), 1 << 20).unwrap(), index);
    }

    #[test]
    fn null_lists_are_empty() {
        let text = br#"{"schemaVersion":2,"manifests":null,"annotations":null}"#;
        assert!(Index::parse(text, 1 << 20).unwrap().manifests.is_empty());
        assert!(matches!(manifest_with(r#","layers":null"#), Ok(Document::Manifest(m)) if m.layers.is_empty()));
    }

    #[test]
    fn a_document_that_could_be_read_two_ways_is_refused() {
        assert!(matches!(
            manifest_with(r#","layers":[],"manifests":[]"#),
            Err(Error::Ambiguous)
        ));
        assert!(matches!(manifest_with(r#","manifests":[]"#), Err(Error::Ambiguous)));
        let lying = r#","mediaType":"application/vnd.oci.image.index.v1+json","layers":[]"#;
        assert!(matches!(manifest_with(lying), Err(Error::Ambiguous)));
        let text = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","manifests":[]}"#;
        assert!(matches!(Document::parse(text, None), Err(Error::Ambiguous)));
    }

    #[test]
    fn a_content_type_other_than_the_bodys_is_refused() {
        let own = r#","layers":[],"mediaType":"application/vnd.oci.image.manifest.v1+json""#;
        let text = format!(r#"{{"schemaVersion":2,"config":{}{own}}}"#, descriptor("3"));
        assert!(Document::parse(text.as_bytes(), Some(&MediaType::OCI_MANIFEST)).is_ok());
        for declared in [
            MediaType::OCI_INDEX,
            MediaType::DOCKER_MANIFEST,
            MediaType::MODEL_CONFIG,
        ] {
            let refused = Document::parse(text.as_bytes(), Some(&declared));
            assert!(matches!(refused, Err(Error::OtherMediaType { .. })), "{declared}");
        }
    }

    #[test]
    fn a_size_that_is_negative_huge_or_not_whole_is_refused() {
        for size in [
            "-1",
            "9223372036854775808",
            "18446744073709551616",
            "1.0",
            "1e3",
            "\"3\"",
            "null",
        ] {
            let refused = manifest_with(&format!(r#","layers":[{}]"#, descriptor(size)));
            assert!(matches!(refused, Err(Error::Json { .. })), "{size}");
        }
        assert!(manifest_with(&format!(r#","layers":[{}]"#, descriptor("9223372036854775807"))).is_ok());
    }

    #[test]
    fn a_key_that_stands_twice_is_refused_known_or_not() {
        for rest in [
            r#","layers":[],"layers":[]"#,
            r#","x":1,"x":2"#,
            r#","annotations":{"a":"1","a":"2"}"#,
        ] {
            assert!(matches!(manifest_with(rest), Err(Error::Json { .. })), "{rest}");
        }
    }

    #[test]
    fn a_document_over_the_limit_or_nested_deep_is_refused() {
        let long = format!(r#","x":"{}""#, "x".repeat(4 << 20));
        assert!(matches!(manifest_with(&long), Err(Error::TooLarge { .. })));
        let deep = format!(r#","x":{}{}"#, "[".repeat(10_000), "]".repeat(10_000));
        assert!(matches!(manifest_with(&deep), Err(Error::Json { .. })));
        let many = vec![descriptor("3"); 100_000].join(",");
        assert!(matches!(
            manifest_with(&format!(r#","layers":[{many}]"#)),
            Err(Error::TooLarge { .. })
        ));
    }

    #[test]
    fn one_digest_may_be_named_ten_thousand_times() {
        let many = vec![descriptor("3"); 10_000].join(",");
        let Ok(Document::Manifest(manifest)) = manifest_with(&format!(r#","layers":[{many}]"#)) else {
            panic!("refused");
        };
        assert_eq!(manifest.layers.len(), 10_000);
    }

    #[test]
    fn embedded_data_must_be_the_content_named() {
        let layer = |data: &str, size: u64| {
            let digest = Digest::of(b"abc");
            manifest_with(&format!(
                r#","layers":[{{"mediaType":"a/b","digest":"{digest}","size":{size},"data":"{data}"}}]"#
            ))
        };
        let Ok(Document::Manifest(manifest)) = layer("YWJj", 3) else {
            panic!("refused");
        };
        assert_eq!(manifest.layers[0].embedded().unwrap().unwrap(), b"abc");
        for (data, size) in [("YWJk", 3), ("YWJj", 4), ("****", 3), ("", 3)] {
            assert!(matches!(layer(data, size), Err(Error::EmbeddedData { .. })), "{data}");
        }
    }

    #[test]
    fn what_is_no_manifest_is_refused() {
        for text in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"schemaVersion":2}"#,
            r#"{"schemaVersion":2,"layers":[]}"#,
            "<html>",
        ] {
            assert!(Document::parse(text.as_bytes(), None).is_err(), "{text}");
        }
        let old = format!(r#"{{"schemaVersion":1,"config":{}}}"#, descriptor("3"));
        assert!(matches!(
            Document::parse(old.as_bytes(), None),
            Err(Error::SchemaVersion { found: 1, .. })
        ));
        let path = r#"{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:../../x","size":1}}"#;
        assert!(Document::parse(path.as_bytes(), None).is_err());
    }
}
