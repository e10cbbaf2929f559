//! Tensors as the Open Inference Protocol, version 2, has them: a JSON document, with or without a binary part.
//!
//! The elements of an input stand in the JSON, flat or nested, or behind it as bytes: row-major, little end first, a
//! bool a byte, a string its length in four bytes and its UTF-8. Text is read straight into typed elements.
//!
//! Source: the protocol's `infer` call, and Triton's binary tensor data extension.

mod binary;
mod datatype;
mod error;
mod request;
mod response;
#[cfg(test)]
mod tests;

pub use binary::{decode as decode_binary, encode as encode_binary};
pub use datatype::{datatype, from_datatype, shape};
pub use error::Error;
pub use request::{Request, WantedOutput, decode_request};
pub use response::{Response, encode_response};
