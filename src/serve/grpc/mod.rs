//! gRPC: the Open Inference Protocol, health and reflection.
//!
//! `generated.rs` and `descriptor.bin` are made from registry-spec/inference.proto by `make grpc`.

#[rustfmt::skip]
#[allow(clippy::all, missing_docs)]
mod generated;
mod service;
mod status;
mod tensors;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::{Router, middleware};
use tonic::service::Routes;
use tonic_health::ServingStatus;

use super::gate;
use super::http::Shared;
use generated::grpc_inference_service_server::GrpcInferenceServiceServer;
use service::Inference;

/// Describes the service to clients that ask.
const DESCRIPTOR: &[u8] = include_bytes!("descriptor.bin");

/// How often the health service looks whether the models are ready.
const INTERVAL: Duration = Duration::from_millis(200);

/// Makes the routes of gRPC; to be called within a runtime.
///
/// Errors: the descriptor is broken, which a test rules out.
pub fn router(shared: Arc<Shared>) -> Result<Router, tonic_reflection::server::Error> {
    let inference = GrpcInferenceServiceServer::new(Inference::new(Arc::clone(&shared)))
        .max_decoding_message_size(shared.most_body_bytes)
        .max_encoding_message_size(usize::MAX);
    let (reporter, health) = tonic_health::server::health_reporter();
    let watched = Arc::clone(&shared);
    tokio::spawn(async move {
        loop {
            let is_ready = watched.repository.is_ready() && !watched.is_draining.load(Ordering::Relaxed);
            let status = match is_ready {
                true => ServingStatus::Serving,
                false => ServingStatus::NotServing,
            };
            for service in ["", "inference.GRPCInferenceService"] {
                reporter.set_service_status(service, status).await;
            }
            tokio::time::sleep(INTERVAL).await;
        }
    });
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTOR)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()?;
    let routes = Routes::new(inference).add_service(health).add_service(reflection);
    Ok(routes
        .into_axum_router()
        .layer(middleware::from_fn_with_state(shared, gate::grpc)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_is_one() {
        let built = tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(DESCRIPTOR)
            .build_v1();
        assert!(built.is_ok());
    }
}
