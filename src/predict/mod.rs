//! Pipelines joined to sessions: what people have goes in, answers come out, in one call, in batches and in a stream.
//!
//! Free of files and terminals: a caller brings [`Request`]s and takes [`Record`](crate::pipeline::Record)s, which are
//! written with serde.

pub mod batch;
mod error;
pub mod generate;
mod predictor;
mod sequence;
mod stream;

pub use error::Error;
pub use predictor::{Model, Outcome, Output, Predictor};
pub use stream::{Job, StreamOptions};

pub use crate::gpuxfile::Modality;
pub use crate::pipeline::{Answer, AnswerKind, Item, Prepared, Record, Request, Source};
