//! What is told while artifacts move.

use crate::oci::Digest;

/// Something that happened to a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// It is about to move; `held_bytes` of it need not.
    Started {
        /// The blob.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
        /// What is there from an earlier try.
        held_bytes: u64,
    },
    /// More of it has moved.
    Moved {
        /// The blob.
        digest: Digest,
        /// How much more.
        bytes: u64,
    },
    /// It was interrupted and goes on; what is not held moves again.
    Restarted {
        /// The blob.
        digest: Digest,
        /// What is there, from the beginning.
        held_bytes: u64,
    },
    /// Another process is moving it; that one is waited for.
    Waiting {
        /// The blob.
        digest: Digest,
    },
    /// It is there.
    Finished {
        /// The blob.
        digest: Digest,
    },
    /// It need not move.
    Skipped {
        /// The blob.
        digest: Digest,
        /// Its size.
        size_bytes: u64,
        /// Why.
        why: Skip,
    },
}

/// Why a blob need not move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// It is already where it should go.
    Present,
    /// The registry took it from another of its repositories.
    Mounted,
}

/// Is told what happens, from several threads.
pub trait Progress: Send + Sync {
    /// Takes one event; it should return at once.
    fn event(&self, event: Event);
}

/// Tells nobody.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Progress for Silent {
    fn event(&self, _: Event) {}
}
