use std::convert::Infallible;

use axum::extract::FromRequestParts;
use axum::http::HeaderMap;
use axum::http::request::Parts;

use crate::serve::Caller;

/// Is what a request says before its body: its headers, and who makes it.
#[derive(Debug)]
pub(super) struct Head {
    pub headers: HeaderMap,
    pub caller: Caller,
}

impl<S: Sync> FromRequestParts<S> for Head {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Head {
            headers: std::mem::take(&mut parts.headers),
            caller: Caller::of(&parts.extensions),
        })
    }
}
