//! The embedded engine: rten, offered only what a table says it does right.
//!
//! ```text
//! model ── capability (table.txt) ── lower (what rten reads) ── session (types, values, panics)
//! ```
//!
//! rten is fast and starts in a millisecond, but it is incomplete and in places silently wrong. So [`capability`]
//! admits a model only if every node, with its opset, attributes and element types, stands in `table.txt`, which ONNX's
//! own node tests and seeded probes against ONNX Runtime have shown to be right (`make capability-table`).
//!
//! It works in 32 bits: int64 and bool become int32 inside and come out as declared. int64 values outside int32 are
//! refused at the input and in constants, but for the bounds of slices.

mod capability;
mod convert;
mod error;
mod form;
mod infer;
mod lasting;
mod lower;
mod session;
mod table;
mod threads;

pub use capability::{NodeName, Unsupported, capability, check, only_form, output_types};
pub use error::Error;
pub use form::Form;
pub use session::Embedded;
pub use table::{COMMITTED, Row, Table};
