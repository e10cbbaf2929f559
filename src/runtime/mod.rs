//! Engines, sessions, and the choice between them.
//!
//! An [`Engine`] loads a model into a [`Session`]; a session answers a [`Call`]. Runtime sees paths and options, never
//! a manifest.

mod assignment;
mod call;
pub mod embedded;
mod engine;
mod error;
mod library;
mod limits;
pub mod ort;
pub mod probe;
mod processor;
mod select;
pub mod tune;

pub use assignment::{Assignment, Node, Partition, Share};
pub use call::{Call, Cancel, Stop, Value, Watch};
pub use engine::{
    ConvolutionSearch, Engine, GraphCache, ModelFiles, Optimization, Session, SessionOptions, Settings, Source,
};
pub use error::{Error, Foreign};
pub use library::{Library, Looked, NotFound, OLDEST_VERSION, Refusal};
pub use limits::{Broken, EXIT_CODE, LimitedAllocator, Limits, MemoryUse, Phase, Watchdog, resident_bytes_of};
pub use ort::DeviceValue;
pub use processor::{processor_name, usable_threads};
pub use select::{Offer, ProviderOrder, Reason, Refusals, Refused, Requirement, Selected, Selection, Verdict, select};
pub use tune::Configuration;

pub use crate::provider::{LoadPlan, Origin, ProviderKind, Sources as LibrarySources, UnknownProvider};

/// The environment that engines need, set or removed (`None`) in main before any thread and any library.
///
/// ONNX Runtime reads the first when it is loaded and sends usage data without it, lets a model set its own session
/// options by the second, and prints what is returned as errors by the third. rten starts as many threads of its own as
/// the fourth says, beside those that sessions bring, and prints of its own by the last two.
pub const ENVIRONMENT: [(&str, Option<&str>); 6] = [
    ("ORT_DISABLE_TELEMETRY", Some("1")),
    ("ORT_LOAD_CONFIG_FROM_MODEL", None),
    ("ORT_LOG", None),
    ("RTEN_NUM_THREADS", Some("1")),
    ("RTEN_OPTIMIZER_DEBUG", None),
    ("RTEN_TIMING", None),
];
