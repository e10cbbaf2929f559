//! What several tests need: programs, the Python environment, models that are made rather than kept.

// Each theme uses its own part.
#![allow(dead_code)]

pub mod artifacts;
#[cfg(unix)]
pub mod chromium;
pub mod deps;
pub mod distribution;
mod gpux;
pub mod graph;
pub mod nginx;
pub mod proxy;
pub mod registry;
#[cfg(unix)]
pub mod server;
pub mod terminal;

pub use gpux::{Answer, Gpux};
