//! The integration tests: one binary, one file a verb or theme.

#![allow(clippy::unwrap_used)]

mod archives;
mod build;
mod contracts;
#[cfg(unix)]
mod credentials;
mod dependencies;
mod distribution;
mod docs;
mod doctor;
mod embedded;
mod end_to_end;
mod fixtures;
mod foreign;
mod generate;
mod hostile_models;
mod hostile_registry;
mod kept_graphs;
mod killed;
mod killed_transfers;
mod limits;
mod local;
mod models;
mod onnx;
mod onnx_runtime;
#[cfg(unix)]
mod openapi;
mod other_clients;
mod packs;
mod pipelines;
mod plain_onnx;
#[cfg(unix)]
mod playground;
mod providers;
mod proxies;
mod readme;
mod real_models;
mod registry_verbs;
mod run;
#[cfg(unix)]
mod seen;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod serve_access;
#[cfg(unix)]
mod serve_people;
#[cfg(target_os = "linux")]
mod serve_threats;
mod store;
mod support;
#[cfg(unix)]
mod terminal;
mod threats;
mod tls;
mod transfer;
mod trials;
mod tune;
mod uploads;
mod variants;
mod weights;
