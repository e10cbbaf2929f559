//! What is made of an artifact for other tools.

mod onnx;

pub use onnx::{Error, Exported, write_onnx};
