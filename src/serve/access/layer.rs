//! Asks every request for its token, before anything of it is looked at but its head.

use std::sync::Arc;

use axum::RequestExt;
use axum::extract::{RawPathParams, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use super::{Caller, Denial};
use crate::serve::Error;
use crate::serve::http::{Refusal, Shared, hold};
use crate::serve::telemetry::note;

/// What answers whoever comes: the health of the server, which tells of no model, and the page, which asks for a token
/// itself, with the document of all calls.
const OPEN_PATHS: [&str; 10] = [
    "/",
    "/openapi.json",
    "/healthz",
    "/readyz",
    "/v2/health/live",
    "/v2/health/ready",
    "/inference.GRPCInferenceService/ServerLive",
    "/inference.GRPCInferenceService/ServerReady",
    "/grpc.health.v1.Health/Check",
    "/grpc.health.v1.Health/Watch",
];

/// Lets a request of HTTP through to its handler, with its [`Caller`]; a model in its path must be theirs.
pub(in crate::serve) async fn admit_http(shared: &Shared, request: Request, next: Next) -> Response {
    let is_openai = speaks_openai(request.uri().path());
    let answered = admit_to_model(shared, request, next).await;
    answered.unwrap_or_else(|refusal| match is_openai {
        true => refusal.in_openai_form(),
        false => refusal.into_response(),
    })
}

/// Tells whether errors of a path have OpenAI's form.
fn speaks_openai(path: &str) -> bool {
    matches!(path, "/v1/models" | "/v1/embeddings" | "/v1/completions") || path.starts_with("/v1/audio/")
}

async fn admit_to_model(shared: &Shared, mut request: Request, next: Next) -> Result<Response, Refusal> {
    let params = request.extract_parts::<RawPathParams>().await.ok();
    let (request, place) = admit(shared, request)?;
    if let (Some(params), Some(caller)) = (params, request.extensions().get::<Caller>()) {
        let named = params.iter().find(|(name, _)| *name == "model");
        let named = named.map(|(_, model)| model.strip_suffix(":predict").unwrap_or(model));
        if let Some(Err(error)) = named.map(|model| caller.check(model)) {
            shared.repository.metrics().count_stray(caller.tenant(), 404);
            return Err(error.into());
        }
    }
    Ok(with_place(next.run(request).await, place))
}

/// Lets a call of gRPC through; which model it is for stands in its body, so that the handlers look.
pub(in crate::serve) async fn admit_grpc(shared: &Shared, request: Request, next: Next) -> Response {
    match admit(shared, request) {
        Ok((request, place)) => with_place(next.run(request).await, place),
        Err(denial) => Status::from(Error::Denied(denial)).into_http(),
    }
}

/// Lets those through who may read the metrics, which tell of every model and tenant.
pub(in crate::serve) async fn admit_metrics(
    shared: &Shared,
    request: Request,
    next: Next,
) -> Result<Response, Refusal> {
    let (request, place) = admit(shared, request)?;
    let caller = request.extensions().get::<Caller>();
    let is_admitted = shared.access.file().is_none() || caller.is_some_and(|caller| caller.0.reads_metrics);
    match is_admitted {
        true => Ok(with_place(next.run(request).await, place)),
        false => Err(Denial::NoMetrics.into()),
    }
}

fn admit(shared: &Shared, mut request: Request) -> Result<(Request, Option<OwnedSemaphorePermit>), Denial> {
    let access = &shared.access;
    if OPEN_PATHS.contains(&request.uri().path()) {
        let caller = access.identify(request.headers()).unwrap_or_else(|_| Caller::nobody());
        request.extensions_mut().insert(caller);
        return Ok((request, None));
    }
    match access.admit(request.headers()) {
        Ok((caller, place)) => {
            tell_of(&caller);
            request.extensions_mut().insert(caller);
            Ok((request, place))
        }
        Err((denial, caller)) => {
            tell_of(&caller);
            let code = Refusal::from(denial).status().as_u16();
            shared.repository.metrics().count_stray(caller.tenant(), code);
            Err(denial)
        }
    }
}

/// Lets log and traces know on whose behalf a request came, where that is anybody.
fn tell_of(caller: &Caller) {
    note(|noted| noted.tenant = Some(Arc::clone(caller.tenant())).filter(|tenant| !tenant.is_empty()));
}

/// Holds a place until the answer has gone out, or its reader has.
fn with_place(response: Response, place: Option<OwnedSemaphorePermit>) -> Response {
    match place {
        Some(place) => hold(response, place),
        None => response,
    }
}
