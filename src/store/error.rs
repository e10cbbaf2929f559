use std::path::PathBuf;
use std::time::Duration;

use crate::fs;
use crate::oci::{self, Digest, Reference};

/// Says what the store refused or could not do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error(transparent)]
    Fs(#[from] fs::Error),
    /// A file of the layout itself cannot be understood.
    #[error("`{}` is damaged", path.display())]
    Layout {
        /// The file.
        path: PathBuf,
        /// What is wrong in it.
        #[source]
        source: oci::Error,
    },
    /// A later gpux made the store, or the file that says which is not gpux's.
    #[error("the store `{}` has version `{found}`; this gpux reads version {known}", path.display())]
    Newer {
        /// The home of the store.
        path: PathBuf,
        /// The version found, escaped and cut.
        found: String,
        /// The version that this gpux reads.
        known: &'static str,
    },
    /// Other users can change the store, and so what runs from it.
    #[error("`{}` can be changed by other users (owner {owner}, mode {mode:03o})", path.display())]
    OthersCanWrite {
        /// The folder that they can write.
        path: PathBuf,
        /// Its owner's number.
        owner: u32,
        /// Its permission bits.
        mode: u32,
    },
    /// Another command has kept the store locked for too long.
    #[error("another command has been changing the store for {} s (lock `{}`)", waited.as_secs(), path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long this command waited for it.
        waited: Duration,
    },
    /// No entry has the reference.
    #[error("`{reference}` is not in the store")]
    NotFound {
        /// The reference.
        reference: Box<Reference>,
    },
    /// No entry has the digest.
    #[error("no entry of the store names {digest}")]
    NoSuchEntry {
        /// The digest.
        digest: Digest,
    },
    /// A blob is not in the store.
    #[error("blob {digest} is not in the store")]
    MissingBlob {
        /// The digest.
        digest: Digest,
    },
    /// A blob is not the content that its name says.
    #[error("blob {digest} is damaged: `{}` has the content {found}", path.display())]
    Damaged {
        /// The digest that names the blob.
        digest: Digest,
        /// Where the blob lies.
        path: PathBuf,
        /// The digest of what lies there.
        found: Box<Digest>,
    },
    /// A blob is not as large as the descriptor that names it says.
    #[error("blob {digest} has {found_bytes} bytes; its descriptor says {expected_bytes}")]
    Size {
        /// The digest.
        digest: Digest,
        /// What the descriptor says.
        expected_bytes: u64,
        /// What was found.
        found_bytes: u64,
    },
    /// A blob is too large to be read into memory at once.
    #[error("blob {digest} has {size_bytes} bytes; at most {limit_bytes} are read at once")]
    TooLarge {
        /// The digest.
        digest: Digest,
        /// The size found.
        size_bytes: u64,
        /// The size that the caller takes.
        limit_bytes: u64,
    },
    /// Content that came is not the content that was expected.
    #[error("the content has the digest {found}; {expected} was expected")]
    OtherContent {
        /// The digest expected.
        expected: Box<Digest>,
        /// The digest of what came.
        found: Digest,
    },
    /// A reference names a digest, and something else was to be tagged with it.
    #[error("`{reference}` cannot name {digest}")]
    OtherDigest {
        /// The reference.
        reference: Box<Reference>,
        /// The digest of what was to be tagged.
        digest: Digest,
    },
    /// A manifest or an index cannot be read.
    #[error("manifest {digest} is refused")]
    Document {
        /// The digest.
        digest: Digest,
        /// Why.
        #[source]
        source: oci::Error,
    },
    /// Indexes name indexes, further down than any honest artifact.
    #[error("index {digest} nests more than {limit} deep")]
    TooDeep {
        /// The index at the limit.
        digest: Digest,
        /// The limit.
        limit: usize,
    },
    /// A file changed while it was read.
    #[error("`{}` changed while it was read", path.display())]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// A path is a folder, a pipe or a device where a file is wanted.
    #[error("`{}` is not a file", path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
}

impl Error {
    /// Tells whether the store cannot be written at all: it is mounted read-only, or it is another user's.
    pub fn is_read_only(&self) -> bool {
        matches!(self, Error::Fs(error) if error.is_read_only())
    }
}
