//! Tensors, their types and signatures, and the forms in which they travel: JSON, `.npy`, `.npz`, raw bytes.
//!
//! Pure: nothing here touches a file or an engine.

#[cfg(test)]
pub(crate) mod arbitrary;
mod axis;
mod bytes;
mod cast;
mod decimal;
mod dtype;
mod fit;
pub mod json;
pub mod memory;
mod names;
pub mod npy;
pub mod npz;
pub mod oip;
pub mod raw;
mod rows;
mod signature;
mod value;

pub use axis::{AxisError, End};
pub use cast::{CastError, IndexPath, Number, TensorCastError};
pub use dtype::{DType, UnknownDType};
pub use fit::FitError;
pub use names::{NameError, NamedTensors};
pub use rows::RowsError;
pub use signature::{Dim, Port, Shape, Signature, TensorName};
pub use value::{Data, Element, MAX_RANK, Tensor, TensorError};
pub(crate) use value::{for_data, for_dtype};
