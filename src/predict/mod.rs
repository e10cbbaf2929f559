//! Requests to a model: how they are put together for a session, and the answers taken apart again.

pub mod batch;
