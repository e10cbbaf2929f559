//! The inference server: models behind bounded queues, called over HTTP.
//!
//! ```text
//! http → repository → model → scheduler: queue → instance (a thread and its session)
//! ```
//!
//! A [`Repository`] holds what is served; each [`Model`] has one queue, and as many instances as it is given. The store
//! is not known here: whoever starts a server gives it a [`ModelSource`].

mod error;
pub mod http;
mod metrics;
mod model;
mod repository;
mod scheduler;

pub use error::Error;
pub use metrics::{Metrics, ModelMetrics, Statistics};
pub use model::{Loaded, Model, Settings};
pub use repository::{ModelName, ModelSource, Repository, SourceError, State, Status, Version};
pub use scheduler::{Answer, Request, Scheduler, Times};
