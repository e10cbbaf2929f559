//! A model in a process of its own: what it does to its process, it does to no other model.
//!
//! ```text
//! server                                       worker: gpux serve --worker N …
//!   Worker  ── control: a stream on stdin ──▶  start, cancel, end
//!   RemoteExecutor ── a stream each ─────────▶ a thread and its session
//!                  ── memory they share ─────▶ tensors in, tensors out
//! ```
//!
//! Tensors lie in shared memory; the streams carry only what they are. A worker that ends is started again, later each
//! time it ends soon; one whose server ends sees its control stream end, and ends too.

mod channel;
mod child;
mod executor;
mod process;
mod sandbox;
mod wire;

pub use child::{Description, serve};
pub use executor::RemoteExecutor;
pub use process::{StartError, Worker};
pub use sandbox::{Places, restrict_files};
