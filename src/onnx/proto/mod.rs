//! The messages of an ONNX file, as Rust types; `generate.sh` makes them from `onnx.proto`.

mod generated;

pub use generated::*;
