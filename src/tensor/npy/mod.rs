//! Tensors as NumPy's `.npy` files.
//!
//! Reads format 1.0, 2.0 and 3.0, both byte orders, C and Fortran order; writes 1.0, byte for byte what NumPy writes.
//! Strings are `<U…`; bfloat16, for which NumPy has no name, is `<V2` as `ml_dtypes` writes it.
//!
//! Source: `numpy.lib.format`, NEP 1.

mod decode;
mod encode;
mod error;
mod header;
#[cfg(test)]
mod tests;

pub use decode::{decode, decode_for};
pub use encode::encode;
pub use error::{EncodeError, Error};
