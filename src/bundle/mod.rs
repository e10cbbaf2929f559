//! A GPUXfile and the files it names, made into an artifact in the store, and back into paths.
//!
//! [`Plan`] reads a build context and checks everything that can be checked before a byte is stored; [`build`] stores
//! it; [`Bundle`] opens what is stored. registry-spec/manifest.md describes the artifact.

mod assemble;
mod config;
mod context;
mod error;
mod graph;
mod keeper;
mod layer;
mod open;
mod pieces;
mod plain;
mod plan;
mod side;
mod unpacked;
mod weights;

pub use assemble::{Assembled, Built, assemble, build};
pub use error::Error;
pub use graph::GraphFiles;
pub use layer::layer_path;
pub use open::{Bundle, BundledGraph};
pub use plain::{LARGEST_FILE_BYTES, Plain, plain};
pub use plan::{Plan, PlanOptions, PlannedGraph, find_gpuxfile};
pub use weights::{SHARD_THRESHOLD_BYTES, Weights};
