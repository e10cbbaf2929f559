//! Tensors, their types and signatures, and the forms in which they travel: JSON, `.npy`, `.npz`, raw bytes.
//!
//! Pure: nothing here touches a file or an engine.

#[cfg(test)]
pub(crate) mod arbitrary;
mod cast;
mod dtype;
pub mod json;
mod signature;
mod value;

pub use cast::{CastError, IndexPath, Number, TensorCastError};
pub use dtype::{DType, UnknownDType};
pub use signature::{Dim, Port, Shape, Signature, TensorName};
pub use value::{Data, Element, MAX_RANK, Tensor, TensorError};
pub(crate) use value::{for_data, for_dtype};
