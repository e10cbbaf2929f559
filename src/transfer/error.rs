//! What can go wrong when artifacts move.

use std::path::PathBuf;

use crate::fs;
use crate::oci::{self, Digest, Reference};
use crate::registry;
use crate::store;

/// Says what could not be moved, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference is local: there is no registry to go to.
    #[error("`{reference}` names no registry: it is a local name")]
    Local {
        /// The reference.
        reference: Box<Reference>,
    },
    /// The registry failed.
    #[error(transparent)]
    Registry(Box<registry::Error>),
    /// The store failed.
    #[error(transparent)]
    Store(Box<store::Error>),
    /// A file failed.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The runtime of the network could not be started.
    #[error("cannot start the network")]
    Runtime(#[source] std::io::Error),
    /// A manifest from elsewhere is not what it should be.
    #[error("the manifest {digest} of `{reference}` is not valid")]
    Manifest {
        /// What was asked for.
        reference: Box<Reference>,
        /// The manifest.
        digest: Box<Digest>,
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
    /// Somebody's container image, or something else that holds no model.
    #[error("`{reference}` is not a gpux artifact: it is {what}")]
    NotAnArtifact {
        /// What was asked for.
        reference: Box<Reference>,
        /// What it is instead.
        what: String,
    },
    /// An index holds an index.
    #[error("the index of `{reference}` holds another index, {digest}")]
    Nested {
        /// What was asked for.
        reference: Box<Reference>,
        /// The index inside.
        digest: Digest,
    },
    /// A manifest gives one digest two sizes.
    #[error("the manifest of `{reference}` gives {digest} two sizes: {first_bytes} and {second_bytes} bytes")]
    TwoSizes {
        /// What was asked for.
        reference: Box<Reference>,
        /// The blob.
        digest: Digest,
        /// One size.
        first_bytes: u64,
        /// The other.
        second_bytes: u64,
    },
    /// What came, twice, is not what the digest says.
    #[error("blob {wanted} arrived damaged twice: its bytes hash to {got}")]
    Corrupt {
        /// The blob.
        wanted: Box<Digest>,
        /// The hash of what came.
        got: Box<Digest>,
    },
    /// The registry changes its mind about a blob's content or ranges again and again.
    #[error("{host} keeps changing its answers for blob {digest}")]
    Restless {
        /// The registry.
        host: String,
        /// The blob.
        digest: Digest,
    },
    /// A blob is larger than the registry takes.
    #[error("blob {digest} has {size_bytes} bytes; {registry} takes {limit_bytes} at most")]
    TooLargeForRegistry {
        /// The blob.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
        /// The registry's name.
        registry: &'static str,
        /// The registry's limit.
        limit_bytes: u64,
    },
    /// The registry answers with another manifest than the one just pushed.
    #[error(
        "`{reference}` names {got} right after {pushed} was pushed to it: somebody else pushed, or the registry lies"
    )]
    Overtaken {
        /// The reference.
        reference: Box<Reference>,
        /// What was pushed.
        pushed: Box<Digest>,
        /// What is there.
        got: Box<Digest>,
    },
    /// An archive is not an OCI layout.
    #[error("`{}` is not an OCI archive: {why}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong.
        why: &'static str,
    },
    /// An archive does not name what it holds.
    #[error("`{}` gives {digest} no name", path.display())]
    Unnamed {
        /// The archive.
        path: PathBuf,
        /// What has no name.
        digest: Digest,
    },
    /// An archive cannot be read.
    #[error("cannot read the archive `{}`", path.display())]
    ReadArchive {
        /// The archive.
        path: PathBuf,
        /// What the reader said.
        #[source]
        source: std::io::Error,
    },
    /// An archive cannot be written.
    #[error("cannot write the archive `{}`", path.display())]
    WriteArchive {
        /// The archive.
        path: PathBuf,
        /// What the writer said.
        #[source]
        source: std::io::Error,
    },
    /// The document of an archive is not valid.
    #[error("`{name}` in `{}` is not valid", path.display())]
    ArchiveDocument {
        /// The archive.
        path: PathBuf,
        /// The entry.
        name: String,
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
}

impl From<registry::Error> for Error {
    fn from(error: registry::Error) -> Self {
        Self::Registry(Box::new(error))
    }
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(Box::new(error))
    }
}
