//! Engines, sessions, and the choice between them.
//!
//! An [`Engine`] loads a model into a [`Session`]; a session answers a [`Call`]. Runtime sees paths and options, never
//! a manifest.

mod call;
mod engine;

pub use call::{Call, Cancel, Value};
pub use engine::{Engine, Error, ModelFiles, ProviderKind, Session, SessionOptions, UnknownProvider};
