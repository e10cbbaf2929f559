//! ONNX files: what they take and give, what they are made of, and whether they are safe to give to an engine.
//!
//! Pure: bytes in, answers out. [`Model::parse`] copies no weights, so the bytes may be a mapped file of any size.
//! A model that comes from anywhere is shown to [`Model::check`] before an engine sees it; parsing alone says only that
//! the file is well formed.
//!
//! ```text
//! bytes ─ wire (bounds) ─ proto (prost) ─ Model ─┬─ signature, summary
//!                                                ├─ external, check
//!                                                ├─ weights, rewrite (where data lies)
//!                                                └─ graph (nodes with their types)
//!//! ```

mod attribute;
mod check;
mod error;
mod external;
mod graph;
#[cfg(test)]
mod hostile;
mod label;
mod model;
pub mod proto;
mod rewrite;
#[cfg(test)]
mod sample;
mod signature;
mod summary;
mod tensor_data;
mod visit;
mod visit_mut;
mod weights;
mod wire;

pub use attribute::{Attribute, AttributeFault};
pub use check::{Files, IR_VERSION_MAX, Opsets, SparseFault};
pub use error::Error;
pub use external::{ExternalData, Location, LocationFault};
pub use graph::{Constant, Dims, Node, Value};
pub use label::Label;
pub use model::Model;
pub use summary::{DEFAULT_DOMAIN, Summary};
pub use tensor_data::DimsFault;
pub use weights::{Elements, ElementsReader, Placed, Weight, WeightData, WeightKey};
pub use wire::{DECODED_BYTES_MAX, DEPTH_MAX, Fault as WireFault};
