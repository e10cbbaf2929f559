//! The inference server: models behind bounded queues, called over HTTP.
//!
//! ```text
//! http → repository → model → scheduler: queue → instance (a thread) → executor: a session, or a worker's
//! ```
//!
//! A [`Repository`] holds what is served; each [`Model`] has one queue, and as many instances as it is given. The store
//! is not known here: whoever starts a server gives it a [`ModelSource`].

mod access;
mod answering;
mod control;
mod error;
mod executor;
mod gate;
mod grpc;
mod hex;
pub mod http;
mod loops;
mod metrics;
mod model;
mod playground;
mod protocol;
mod repository;
mod scheduler;
mod server;
mod skill;
mod speaker;
mod telemetry;
mod turns;
#[cfg(unix)]
pub mod worker;

pub use access::{
    Access, AccessOptions, Caller, Denial, NoRandom, Reloaded, TlsError, TlsFiles, Token, TokenFileError, TokenHash,
    TokenRecord, WrongRecord, change_tokens, read_tokens,
};
pub use answering::StepTimes;
pub use error::Error;
pub use executor::{Executor, Fault, GenerateCall, OnCores, OneCall};
pub use http::{Bounds, Origins};
pub use metrics::{GpuUse, Gpus, Metrics, ModelMetrics, Statistics};
pub use model::{Loaded, Memory, Model, Profile, Settings, WarmUp};
pub use repository::{
    Found, Look, ModelName, ModelSource, Moved, Policy, Repository, SourceError, State, Status, Version, Wanted,
};
pub use scheduler::{Answer, Request, Scheduler, Times, Words};
pub use server::{Event, ServerError, ServerOptions, run};
pub use skill::{Form, Skill};
pub use speaker::Speaker;
pub use telemetry::{Collector, CollectorError, Lines, Noted, Pulse, TelemetryOptions, note};
