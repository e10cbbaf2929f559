//! Moves artifacts between the store and registries, and between the store and archives.
//!
//! The functions here block; the network runs on threads of its own below them. Nothing holds a layer in memory, and what
//! was moved before an interruption is not moved again.

mod archive;
mod download;
mod error;
mod fetch;
mod progress;
mod pull;
mod push;
mod ramp;
mod remote;
mod send;
mod upload;

pub use archive::{Archived, load, save};
pub use error::Error;
pub use progress::{Event, Progress, Silent, Skip};
pub use pull::{Remote, RemoteArtifact, Report, inspect, pull};
pub use push::push;
pub use remote::{check_credential, delete, digest, referrers, tags};

/// Starts the threads of the network. They wait more than they work.
fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .thread_name("network")
        .enable_all()
        .build()
        .map_err(Error::Runtime)
}
