//! Tensors, their types and signatures, and the forms in which they travel: JSON, `.npy`, `.npz`, raw bytes.
//!
//! Pure: nothing here touches a file or an engine.

mod dtype;
mod signature;
mod value;

pub use dtype::{DType, UnknownDType};
pub use signature::{Dim, Port, Shape, Signature, TensorName};
pub use value::{Data, Element, Tensor, TensorError};
