//! What can go wrong between gpux and a registry.

use std::{path::PathBuf, time::Duration};

use crate::fs;
use crate::oci;

/// Says which request to which registry failed, and why. No variant holds a secret: addresses carry no query, and no
/// header is kept.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The reference is local: it names no registry.
    #[error("`{reference}` names no registry")]
    NotRemote {
        /// The reference as it was written.
        reference: String,
    },
    /// The host is not one that an address can be made of.
    #[error("`{host}` is not a registry host")]
    Host {
        /// The host as it was written.
        host: String,
    },
    /// The client could not be set up: a certificate, a key or a proxy is not what it should be.
    #[error("cannot prepare {what} for connections")]
    Setup {
        /// What could not be used.
        what: &'static str,
        /// What the library said.
        #[source]
        source: reqwest::Error,
    },
    /// What should hold certificates of authorities holds none.
    #[error("there is no certificate in what should hold those of authorities")]
    NoCertificate,
    /// A host name has no address.
    #[error("cannot resolve `{host}`")]
    Resolve {
        /// The name.
        host: String,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// The connection failed or broke.
    #[error("cannot {act} {address}")]
    Transport {
        /// What was tried, as a verb.
        act: &'static str,
        /// Where, without query.
        address: String,
        /// What the library said, without the address.
        #[source]
        source: reqwest::Error,
    },
    /// Nothing, or next to nothing, came for a while.
    #[error("{address} stalled: too few bytes in {} s", after.as_secs_f64())]
    Stalled {
        /// Where, without query.
        address: String,
        /// How long was waited.
        after: Duration,
    },
    /// The registry answered with a status that means failure.
    #[error("cannot {act} {address}: {status}{}", detail(code, message))]
    Status {
        /// What was tried, as a verb.
        act: &'static str,
        /// Where, without query.
        address: String,
        /// The HTTP status.
        status: u16,
        /// The registry's own error code.
        code: Option<String>,
        /// The registry's own words, cut and without control characters.
        message: Option<String>,
        /// How long the registry asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// What was asked for is not there.
    #[error("{what} does not exist at {host}")]
    NotFound {
        /// What was asked for.
        what: String,
        /// The registry.
        host: String,
    },
    /// The registry wants credentials, or others.
    #[error("{host} refuses access to {what}: {}", if *anonymous { "no credentials were found" } else { "the credentials are not accepted" })]
    Unauthorized {
        /// The registry.
        host: String,
        /// What was asked for.
        what: String,
        /// No credentials were at hand.
        anonymous: bool,
    },
    /// The registry's challenge cannot be understood.
    #[error("{host} asks for credentials in a way that is not understood")]
    Challenge {
        /// The registry.
        host: String,
    },
    /// The registry sends its users' credentials where they must not go.
    #[error("{host} names the token realm `{realm}`, which is refused: {why}")]
    Realm {
        /// The registry.
        host: String,
        /// The realm, escaped and cut.
        realm: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// The token endpoint's answer is no token.
    #[error("the token endpoint of {host} answered with no token")]
    Token {
        /// The registry.
        host: String,
        /// Where the JSON is wrong, if it was JSON.
        #[source]
        source: Option<serde_json::Error>,
    },
    /// A redirect that must not be followed.
    #[error("{address} redirects, which is refused: {why}")]
    Redirect {
        /// Where the last redirect came from, without query.
        address: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// An answer is larger than such an answer may be.
    #[error("{what} from {host} is larger than {limit_bytes} bytes")]
    TooLarge {
        /// What was read.
        what: &'static str,
        /// The registry.
        host: String,
        /// The most that is read.
        limit_bytes: u64,
    },
    /// An answer breaks the protocol.
    #[error("{address} breaks the distribution protocol: {why}")]
    Protocol {
        /// Where, without query.
        address: String,
        /// The rule it breaks.
        why: &'static str,
    },
    /// A body is not JSON of the shape it should have.
    #[error("{what} from {host} cannot be read")]
    Json {
        /// What was read.
        what: &'static str,
        /// The registry.
        host: String,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// A document of the registry's is not what it should be.
    #[error("{what} from {host} is not valid")]
    Document {
        /// What was read.
        what: &'static str,
        /// The registry.
        host: String,
        /// What is wrong with it.
        #[source]
        source: oci::Error,
    },
    /// The bytes are not those the digest names.
    #[error("{what} from {host} is not what its digest says: wanted {wanted}, got {got}")]
    Digest {
        /// What was read.
        what: &'static str,
        /// The registry.
        host: String,
        /// The digest that was asked for.
        wanted: String,
        /// The digest of what came.
        got: String,
    },
    /// The credentials file cannot be understood.
    #[error("cannot read credentials in `{}`", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        #[source]
        source: serde_json::Error,
    },
    /// An entry of the credentials file cannot be decoded.
    #[error("the entry `{key}` in `{}` is not base64 of USER:PASSWORD", path.display())]
    CredentialEntry {
        /// The file.
        path: PathBuf,
        /// The entry.
        key: String,
    },
    /// A credential helper cannot be run.
    #[error("cannot run the credential helper `{helper}`")]
    Helper {
        /// Its program.
        helper: String,
        /// What the system answered.
        #[source]
        source: std::io::Error,
    },
    /// A credential helper failed.
    #[error("the credential helper `{helper}` failed: {message}")]
    HelperFailed {
        /// Its program.
        helper: String,
        /// Its own words, cut and without control characters.
        message: String,
    },
    /// A file could not be used.
    #[error(transparent)]
    File(#[from] fs::Error),
}

/// What a failure means to the one who called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// It is not there.
    NotFound,
    /// Who are you?
    Authentication,
    /// The network or the registry failed.
    Registry,
    /// Something on this machine.
    Local,
}

impl Error {
    /// Sorts failures as exit codes do.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::NotFound { .. } => ErrorKind::NotFound,
            Self::Unauthorized { .. } => ErrorKind::Authentication,
            Self::Status { status: 401 | 403, .. } => ErrorKind::Authentication,
            Self::NotRemote { .. }
            | Self::Host { .. }
            | Self::Setup { .. }
            | Self::NoCertificate
            | Self::Credentials { .. }
            | Self::CredentialEntry { .. }
            | Self::Helper { .. }
            | Self::HelperFailed { .. }
            | Self::File(_) => ErrorKind::Local,
            _ => ErrorKind::Registry,
        }
    }

    /// How long the registry asks to be left alone, if it does.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Says whether the same request may succeed when it is made again.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Transport { .. } | Self::Stalled { .. } => true,
            Self::Status { status, .. } => is_transient_status(*status),
            _ => false,
        }
    }
}

/// Statuses that a later try may change.
pub(super) fn is_transient_status(status: u16) -> bool {
    matches!(status, 408 | 425 | 429 | 500 | 502 | 503 | 504)
}

fn detail(code: &Option<String>, message: &Option<String>) -> String {
    match (code, message) {
        (Some(code), Some(message)) => format!(" {code}: {message}"),
        (Some(text), None) | (None, Some(text)) => format!(" {text}"),
        (None, None) => String::new(),
    }
}

/// Makes a stranger's text fit for one line of a message: escaped, and cut at 300 characters.
pub(super) fn quote(text: &str) -> String {
    let mut short: String = text.chars().take(300).flat_map(char::escape_debug).collect();
    if short.len() < text.len() && text.chars().count() > 300 {
        short.push('…');
    }
    short
}
