use serde_json::json;

use crate::oci::{Descriptor, Digest, FilePath, MediaType, annotation};

/// Names the digest of the ONNX file as it was built from, on the layer of the graph.
pub const ORIGINAL_DIGEST: &str = "io.gpux.original.digest";

/// Says what a file is to the artifact, which decides its media type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The GPUXfile as resolved.
    Gpuxfile,
    /// The graph, or data of its tensors.
    Weight,
    /// A tokenizer, labels, and whatever else goes along.
    Side,
    /// README and LICENSE.
    Document,
    /// Inputs with their expected outputs.
    Sample,
}

impl Role {
    /// Decides from a file's path in the artifact what it is, where nothing else says so.
    pub fn of_path(path: &FilePath) -> Role {
        if path.as_str().starts_with("samples/") {
            return Role::Sample;
        }
        if is_document(path.as_str()) {
            Role::Document
        } else {
            Role::Side
        }
    }

    /// Gives the layer's media type: raw, one file each.
    pub fn media_type(self) -> MediaType {
        match self {
            Role::Gpuxfile | Role::Side => MediaType::MODEL_WEIGHT_CONFIG_RAW,
            Role::Weight => MediaType::MODEL_WEIGHT_RAW,
            Role::Document => MediaType::MODEL_DOC_RAW,
            Role::Sample => MediaType::MODEL_DATASET_RAW,
        }
    }
}

/// Tells whether a file at the context's root is documentation that goes along without being named.
pub fn is_document(path: &str) -> bool {
    let stem = path.split('.').next().unwrap_or(path).to_ascii_uppercase();
    !path.contains('/') && matches!(stem.as_str(), "README" | "LICENSE" | "LICENCE" | "NOTICE")
}

/// Describes the layer of one file. Mode, owner and time are the same everywhere, so that equal files are equal layers.
pub fn describe(path: &FilePath, role: Role, digest: Digest, size_bytes: u64) -> Descriptor {
    let metadata = json!({
        "name": path.file_name(),
        "mode": 0o644,
        "uid": 0,
        "gid": 0,
        "size": size_bytes,
        "mtime": "1970-01-01T00:00:00Z",
        "typeflag": 0,
    });
    Descriptor::new(role.media_type(), digest, size_bytes)
        .with_annotation(annotation::FILE_PATH, path.as_str())
        .with_annotation(annotation::TITLE, path.as_str())
        .with_annotation(annotation::FILE_METADATA, metadata.to_string())
}

/// Gives the path that a layer says it has; `None` where it says none.
pub fn layer_path(layer: &Descriptor) -> Option<&str> {
    [annotation::FILE_PATH, annotation::OLD_FILE_PATH, annotation::TITLE]
        .into_iter()
        .find_map(|key| layer.annotation(key))
}
