//! What may run models beside the embedded engine: the hardware there is, the packs of libraries for it, and how they
//! come to this machine.
//!
//! | on disk, below `$GPUX_HOME` | here |
//! |---|---|
//! | `providers/NAME-VERSION/pack.json` | `pack` |
//! | `cache/providers/KEY.json` | `verdict` |
//!
//! No library of a provider is loaded here: that is done by `runtime`, from a [`LoadPlan`], and for the first time in a
//! child process.

mod assess;
mod catalogue;
pub mod child;
mod find;
mod hardware;
mod hold;
pub mod install;
mod kind;
mod libraries;
mod load;
mod lock;
mod pack;
mod platform;
mod verdict;

pub use assess::{Assessment, Evidence, State, assess, counted, suits};
pub use catalogue::{CATALOGUE, Incomplete, Load, Provision, Row, is_older, row, row_for};
pub use find::{Found, Installed, Looked, Refusal, Sources, Survey, cores_in, installed};
pub use hardware::{
    Asked, Gpu, GpuUse, Hardware, Library, Npu, Processor, Vendor, VulkanDevice, ask, nvidia_driver, watch_gpus,
};
pub use hold::hold;
pub use kind::{ProviderKind, UnknownProvider};
pub use libraries::{Surroundings, find_library, library_folders};
pub use load::{LoadPlan, Origin};
pub use lock::{LOCK, Lock, Wheel};
pub use pack::{
    BadName, LibraryFile, Needed, Needs, OnnxRuntime, PACK_FILE, Pack, PackError, PackName, PackVersion, Provided, Role,
};
pub use platform::{Arch, Os, Platform, UnknownPlatform};
pub use verdict::{Outcome, Record, Verdicts};
