//! The client of OCI registries: addresses, credentials, manifests, blobs.
//!
//! Every byte a registry says is a stranger's: lengths are bounded, addresses are checked before anything is sent to
//! them, and credentials stay on the registry's own origin. What moves whole artifacts is in `transfer`.
//!
//! The client is our own. `oci-client`, which oci-distribution became, reads token answers and manifests of any length, follows
//! whatever realm and redirect it is given, cannot be handed a connector that holds to the address that was checked, and
//! neither tries again nor goes on; to bound it would be to write it anew around its edges.
//!
//! Source: OCI distribution specification 1.1; the token protocol of the distribution project.

mod auth;
mod blob;
mod client;
mod credentials;
mod endpoint;
mod error;
mod manifest;
mod memory;
mod profile;
mod retry;

pub use auth::Credential;
pub use blob::{BlobAnswer, BlobBody, BlobRequest, BodySource, Upload, UploadStart};
pub use client::{Client, Options, Proxies};
pub use credentials::{CredentialSources, erase_credential, find_credential, store_credential};
pub use error::{Error, ErrorKind};
pub use manifest::{ManifestName, RawManifest};
pub use memory::Lesson;
pub use profile::{Profile, Upload as UploadStyle};
pub use reqwest::{Body, Url};
pub use retry::Retries;
