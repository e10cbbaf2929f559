use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::serve::executor::chain;
use crate::serve::{Denial, Error};
use crate::tensor::oip;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let code = match &error {
            Error::Denied(denial) => match denial {
                Denial::NoToken | Denial::Unknown | Denial::Expired => Code::Unauthenticated,
                Denial::TooOften(_) | Denial::AtOnce(_) => Code::ResourceExhausted,
                Denial::NotAdmin | Denial::NoMetrics => Code::PermissionDenied,
            },
            Error::UnknownModel(_) | Error::UnknownVersion { .. } => Code::NotFound,
            Error::Full { .. } => Code::ResourceExhausted,
            Error::NotReady { .. } | Error::Closing(_) | Error::Lost(_) => Code::Unavailable,
            Error::TimedOut(_) => Code::DeadlineExceeded,
            Error::Cancelled => Code::Cancelled,
            Error::Refused { .. } => Code::InvalidArgument,
            Error::NotLoaded { .. } => Code::InvalidArgument,
            Error::Failed { .. } => Code::Internal,
        };
        let retry_after_seconds = match &error {
            Error::Denied(denial) => denial.retry_after_seconds(),
            Error::Full { .. } => Some(1),
            _ => None,
        };
        let mut status = Status::new(code, chain(&error));
        if let Some(seconds) = retry_after_seconds {
            status
                .metadata_mut()
                .insert("retry-after", MetadataValue::from(seconds));
        }
        status
    }
}

impl From<oip::Error> for Status {
    fn from(error: oip::Error) -> Self {
        Status::invalid_argument(chain(&error))
    }
}

/// Gives the HTTP status code that counts the same in the metrics.
pub(super) fn http_code(status: &Status) -> u16 {
    match status.code() {
        Code::Ok => 200,
        Code::InvalidArgument => 400,
        Code::NotFound => 404,
        Code::Unauthenticated => 401,
        Code::PermissionDenied => 403,
        Code::Cancelled => 408,
        Code::ResourceExhausted => 429,
        Code::Unavailable => 503,
        Code::DeadlineExceeded => 504,
        _ => 500,
    }
}
