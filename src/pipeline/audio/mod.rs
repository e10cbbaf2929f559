//! Sound: files into samples, samples into what models take.
//!
//! [`decode`] gives a [`Sound`] of one channel; [`Sound::resampled`] gives it another rate; [`MelPlan`],
//! [`frames`] and [`standardize`] make numbers of it. The arithmetic of each is in registry-spec/gpuxfile.md.

mod cepstrum;
mod container;
mod decode;
mod error;
mod frames;
mod mel;
mod resample;
mod spectrum;
#[cfg(test)]
mod tests;
mod wav;

pub use container::Container;
pub use decode::{Limits, Sound, decode};
pub use error::Error;
pub use frames::{frames, standardize};
pub use mel::MelPlan;
