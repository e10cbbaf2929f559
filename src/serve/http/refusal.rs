use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::serve::executor::chain;
use crate::serve::{Denial, Error};
use crate::tensor::oip;

/// Is an answer that says why there is no other: `{"error": …}` with a status code.
#[derive(Debug)]
pub(in crate::serve) struct Refusal {
    status: StatusCode,
    message: String,
    retry_after_seconds: Option<u64>,
    /// What a client must show, where it showed nothing that counts.
    challenge: Option<&'static str>,
}

impl Refusal {
    /// Refuses with a status and a sentence that says why, and what to do.
    pub fn new(status: StatusCode, message: impl Into<String>) -> Self {
        Refusal {
            status,
            message: message.into(),
            retry_after_seconds: None,
            challenge: None,
        }
    }

    /// Refuses a request whose form is wrong.
    pub fn bad(message: impl Into<String>) -> Self {
        Refusal::new(StatusCode::BAD_REQUEST, message)
    }
}

impl From<Denial> for Refusal {
    fn from(denial: Denial) -> Self {
        let (status, challenge) = match denial {
            Denial::NoToken => (StatusCode::UNAUTHORIZED, Some(r#"Bearer realm="gpux""#)),
            Denial::Unknown | Denial::Expired => (
                StatusCode::UNAUTHORIZED,
                Some(r#"Bearer realm="gpux", error="invalid_token""#),
            ),
            Denial::TooOften(_) | Denial::AtOnce(_) => (StatusCode::TOO_MANY_REQUESTS, None),
            Denial::NotAdmin | Denial::NoMetrics => (StatusCode::FORBIDDEN, None),
        };
        Refusal {
            challenge,
            retry_after_seconds: denial.retry_after_seconds(),
            ..Refusal::new(status, denial.to_string())
        }
    }
}

impl Refusal {
    /// Refuses because the server itself failed.
    pub fn broken() -> Self {
        Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "the server failed on this request")
    }

    /// Gives the status code.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Gives the document of OpenAI's API.
    pub fn openai_document(&self) -> Value {
        let kind = match self.status {
            StatusCode::UNAUTHORIZED => "authentication_error",
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_server_error() => "server_error",
            _ => "invalid_request_error",
        };
        json!({"error": {"message": self.message, "type": kind, "param": null, "code": null}})
    }

    /// Answers in the form of OpenAI's API.
    pub fn in_openai_form(self) -> Response {
        let document = self.openai_document();
        self.respond(document)
    }

    fn respond(&self, document: Value) -> Response {
        let mut response = (self.status, Json(document)).into_response();
        if let Some(seconds) = self.retry_after_seconds {
            response
                .headers_mut()
                .insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if let Some(challenge) = self.challenge {
            response
                .headers_mut()
                .insert(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match &error {
            Error::Denied(denial) => return Refusal::from(*denial),
            Error::UnknownModel(_) | Error::UnknownVersion { .. } => StatusCode::NOT_FOUND,
            Error::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
            Error::NotReady { .. } | Error::Closing(_) => StatusCode::SERVICE_UNAVAILABLE,
            Error::TimedOut(_) => StatusCode::GATEWAY_TIMEOUT,
            // Nobody reads this one.
            Error::Cancelled => StatusCode::REQUEST_TIMEOUT,
            Error::Lost(_) => StatusCode::BAD_GATEWAY,
            Error::Refused { .. } => StatusCode::BAD_REQUEST,
            Error::NotLoaded { .. } => StatusCode::BAD_REQUEST,
            Error::Failed { .. } => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let is_passing = matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE);
        Refusal {
            retry_after_seconds: is_passing.then_some(1),
            ..Refusal::new(status, chain(&error))
        }
    }
}

impl From<oip::Error> for Refusal {
    fn from(error: oip::Error) -> Self {
        Refusal::bad(chain(&error))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        self.respond(json!({"error": self.message}))
    }
}

/// Answers a path that is none of ours.
pub(super) async fn unknown_path(uri: Uri) -> Refusal {
    let path: String = uri.path().chars().take(200).collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        format!("there is nothing at `{}`", path.escape_debug()),
    )
}

/// Answers a path of ours that is called with another method.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Refusal {
    let message = format!("`{}` does not take {method}", uri.path().escape_debug());
    Refusal::new(StatusCode::METHOD_NOT_ALLOWED, message)
}
