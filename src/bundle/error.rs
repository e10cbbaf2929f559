use std::path::PathBuf;

use crate::fs;
use crate::gpuxfile;
use crate::oci::{self, Digest};
use crate::onnx;
use crate::store;

/// Says why an artifact was not made or not opened.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The folder has no GPUXfile.
    #[error("`{}` has no GPUXfile and no gpux.yml", .0.display())]
    NoGpuxfile(PathBuf),
    /// The GPUXfile is wrong, or does not fit the model or the files beside it.
    #[error(transparent)]
    Gpuxfile(#[from] Box<gpuxfile::Error>),
    /// The model is not one that gpux takes.
    #[error("the model `{}` is refused", .path.display())]
    Model { path: PathBuf, source: Box<onnx::Error> },
    /// A file of the model's external data is not in the build context.
    #[error("the model's external data `{location}` {fault}")]
    External {
        location: String,
        fault: super::context::Fault,
    },
    /// Too many files to look through for a pattern.
    #[error("`{}` has more than {limit} files, too many to look through for a pattern", .root.display())]
    TooManyFiles { root: PathBuf, limit: usize },
    /// Two models have different files of external data at one place.
    #[error("two of the models have external data at `{0}`, and it is not the same file")]
    SameLocation(oci::FilePath),
    /// A file was changed by somebody while it was read.
    #[error("`{}` changed while it was built", .0.display())]
    Changed(PathBuf),
    /// A file has the name of a shard and is another.
    #[error("`{0}` has the name of a shard of the model, and other content")]
    ShardPath(oci::FilePath),
    /// A shard is not what its name says.
    #[error("{tensor} has its data in shard `{}`, and the layer of that name holds {found}", .named.hex())]
    ShardSwapped {
        tensor: onnx::Label,
        named: Digest,
        found: Box<Digest>,
    },
    /// A tensor begins in the middle of another, or of nothing.
    #[error("{tensor} has its data in shard `{}` from {offset_bytes} on, where no tensor begins", .shard.hex())]
    ShardOffset {
        tensor: onnx::Label,
        shard: Digest,
        offset_bytes: u64,
    },
    /// A name or path is not legal in an artifact.
    #[error(transparent)]
    Oci(#[from] oci::Error),
    /// A file could not be read or written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The manifest is of something else.
    #[error("{0} is not a gpux artifact: it is {1}")]
    NotAnArtifact(Digest, String),
    /// The manifest is a list of variants, and none of them was chosen.
    #[error("{index} is an index of {} models: {}", variants.len(), some_of(variants))]
    Variants { index: Digest, variants: Vec<Digest> },
    /// A layer does not say which file it is.
    #[error("layer {0} names no file")]
    UnnamedLayer(Digest),
    /// A layer that the model needs is not in the manifest.
    #[error("the artifact has no file `{0}`")]
    MissingFile(String),
    /// The artifact does not say which of its models to run.
    #[error("the artifact has no GPUXfile and {0} ONNX files, and gpux needs one of either")]
    NoModel(usize),
    /// A layer that is an archive cannot be unpacked.
    #[error("layer {layer} cannot be unpacked")]
    Unpack { layer: Digest, source: std::io::Error },
    /// An entry of a layer that is an archive is refused.
    #[error("`{path}` in layer {layer} is refused: {why}")]
    UnpackEntry {
        layer: Digest,
        path: String,
        why: &'static str,
    },
    /// A blob of the artifact is not a form that this version reads.
    #[error("layer `{path}` is of type `{media_type}`, which this version cannot read")]
    LayerType { path: String, media_type: String },
}

/// Names the first few of many.
fn some_of(variants: &[Digest]) -> String {
    const MOST: usize = 8;
    let mut text: Vec<String> = variants.iter().take(MOST).map(Digest::to_string).collect();
    if variants.len() > MOST {
        text.push("…".to_owned());
    }
    text.join(", ")
}
