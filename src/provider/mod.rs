//! What may run models beside the embedded engine: the hardware there is, the packs of libraries for it, and how they
//! come to this machine.
//!
//! Everything here is found out without loading a library of a provider: that is done by `runtime`, from a
//! [`LoadPlan`], and for the first time in a child process.

mod kind;
mod load;
mod platform;

pub use kind::{ProviderKind, UnknownProvider};
pub use load::{LoadPlan, Origin};
pub use platform::{Arch, Os, Platform, UnknownPlatform};
