//! The vocabulary of OCI: digests, references, media types, descriptors, manifests and indexes.
//!
//! Nothing here touches a disk or a network. A value of [`Digest`], [`Reference`], [`Repository`], [`Tag`],
//! [`MediaType`] or [`FilePath`] exists only if its text was checked, or, for a digest, if bytes were hashed.
//!
//! Source: OCI image specification 1.1 and OCI distribution specification 1.1.

mod descriptor;
mod digest;
mod document;
mod error;
mod file_path;
mod json;
mod kind;
mod media_type;
mod reference;

pub use descriptor::{Annotations, Descriptor, MAX_SIZE_BYTES};
pub use digest::{Algorithm, Digest, Hasher};
pub use document::{Document, Index, MAX_DOCUMENT_BYTES, Manifest};
pub use error::Error;
pub use file_path::FilePath;
pub use kind::{Kind, Packing};
pub use media_type::MediaType;
pub use reference::{Host, Reference, Repository, Tag};

/// The keys of annotations that gpux reads or writes.
pub mod annotation {
    /// The reference of an entry of an image layout's `index.json`.
    pub const REF_NAME: &str = "org.opencontainers.image.ref.name";
    /// The name of the file that a layer holds.
    pub const TITLE: &str = "org.opencontainers.image.title";
    /// When the artifact was made, RFC 3339.
    pub const CREATED: &str = "org.opencontainers.image.created";
    /// The path, below the artifact's root, of the file that a ModelPack layer holds.
    pub const FILE_PATH: &str = "org.cncf.model.filepath";
    /// Mode, owner and time of the file that a ModelPack layer holds, as JSON.
    pub const FILE_METADATA: &str = "org.cncf.model.file.metadata+json";
    /// The path of a layer in artifacts older than ModelPack's move to CNCF.
    pub const OLD_FILE_PATH: &str = "org.cnai.model.filepath";
    /// Says that ORAS is to unpack a layer into a folder.
    pub const UNPACK: &str = "io.deis.oras.content.unpack";
    /// The whole reference of an entry of `index.json` whose name `org.opencontainers.image.ref.name` cannot hold.
    pub const REFERENCE: &str = "io.gpux.reference";
    /// When an entry of `index.json` was last set in this store, RFC 3339.
    pub const TAGGED_AT: &str = "io.gpux.tagged-at";
}
