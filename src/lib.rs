//! gpux builds, moves and runs ONNX models as content-addressed OCI artifacts.
//!
//! Data flows one way, left to right and top to bottom:
//!
//! ```text
//! main → cli → commands → bundle   → gpuxfile, onnx → tensor
//!                       → serve    → predict, runtime
//!                       → predict  → pipeline, runtime → provider, gpuxfile, onnx, tensor
//!                                    provider, store, bundle → oci, fs
//! ```
//!
//! | on disk | module |
//! |---|---|
//! | `$GPUX_HOME/store/`, `store.lock`, `leases/`, `ingest/` | [`store`] |
//! | `$GPUX_HOME/store/blobs/…` of one artifact, as a model's files | [`bundle`] |
//! | `GPUXfile`, `gpux.yml` | [`gpuxfile`] |
//! | `*.onnx` | [`onnx`] |
//! | `.npy`, `.npz`, `.raw`, JSON tensors | [`tensor`] |
//! | `$GPUX_HOME/providers/NAME-VERSION/` | [`provider`] |
//! | shared libraries of ONNX Runtime | [`runtime`] |
//! | pictures, texts, `tokenizer.json`, labels | [`pipeline`] |
//! | what other tools read, made of an artifact | [`export`] |
//!
//! `tests/arrows.rs` holds the table of who may name whom.

pub mod bundle;
pub mod cli;
pub mod commands;
pub mod env;
pub mod export;
pub mod fs;
pub mod gpuxfile;
pub mod oci;
pub mod onnx;
pub mod pipeline;
pub mod predict;
pub mod provider;
mod quiet;
pub mod registry;
pub mod runtime;
pub mod serve;
pub mod store;
pub mod tensor;
pub mod term;
pub mod transfer;
