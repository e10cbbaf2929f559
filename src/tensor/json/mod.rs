//! Tensors as JSON: nested lists, or a bare value for a scalar.
//!
//! Values are cast to the type that the port declares, by the rules of [`CastError`](super::CastError): whole numbers
//! where floats are wanted, `"NaN"`, `"Infinity"` and `"-Infinity"` for the floats that JSON has no number for. Text is
//! read straight into typed elements: no tree of values stands between. Large texts are read and written on all cores.

mod build;
mod cores;
mod decode;
mod encode;
mod error;
mod parts;
pub(super) mod scan;
#[cfg(test)]
mod tests;
mod text;

pub use decode::{decode, decode_map_value};
pub use encode::{append, append_flat, encode, write};
pub use error::{Error, Found, ShapeFault};
pub use scan::{Expected, SyntaxError, utf8};
pub(super) use text::read;
pub use text::{decode_map, decode_str, decode_text, elements, members};
