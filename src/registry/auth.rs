//! Who we say we are: challenges, tokens and their refresh.

use std::{
    collections::HashMap,
    fmt,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use reqwest::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::error::Error;

/// No challenge is read beyond this: an honest one has a few hundred bytes.
const LONGEST_CHALLENGE_BYTES: usize = 8 << 10;

/// What proves who we are to one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user with a password or an access token.
    Password {
        /// The user's name.
        username: String,
        /// The password.
        password: String,
    },
    /// A token that is exchanged for short-lived ones.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Password { username, .. } => write!(f, "Password({username}, …)"),
            Self::IdentityToken(_) => f.write_str("IdentityToken(…)"),
        }
    }
}

impl Credential {
    /// The header of Basic authentication; an identity token has none.
    pub(super) fn basic(&self) -> Option<HeaderValue> {
        let Self::Password { username, password } = self else {
            return None;
        };
        secret_header(&format!("Basic {}", STANDARD.encode(format!("{username}:{password}"))))
    }
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// What a registry asks for in `WWW-Authenticate`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    Basic,
    Bearer {
        realm: String,
        service: Option<String>,
        scope: Option<String>,
    },
}

impl Challenge {
    /// Reads the challenges of an answer; a bearer token is preferred where both are offered.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut basic = None;
        for value in headers.get_all(WWW_AUTHENTICATE) {
            if value.len() > LONGEST_CHALLENGE_BYTES {
                continue;
            }
            let Some(found) = value
                .to_str()
                .ok()
                .and_then(|text| http_auth::parse_challenges(text).ok())
            else {
                continue;
            };
            for challenge in found {
                let param = |name: &str| {
                    let (_, value) = challenge
                        .params
                        .iter()
                        .find(|(key, _)| key.eq_ignore_ascii_case(name))?;
                    Some(value.to_unescaped())
                };
                if challenge.scheme.eq_ignore_ascii_case("bearer") {
                    return Some(Self::Bearer {
                        realm: param("realm")?,
                        service: param("service"),
                        scope: param("scope"),
                    });
                }
                if challenge.scheme.eq_ignore_ascii_case("basic") {
                    basic = Some(Self::Basic);
                }
            }
        }
        basic
    }
}

/// A header that a registry accepted, or may.
#[derive(Clone)]
pub(super) struct Grant {
    pub header: HeaderValue,
    pub expires: Option<Instant>,
    /// What was answered to, so that it can be answered again before the grant runs out.
    pub challenge: Challenge,
    /// Tells grants apart, so that only one of many refused requests fetches a new one.
    pub serial: u64,
}

/// The grants held, by scope. One lock around both look-up and fetch makes refreshes single.
#[derive(Default)]
pub(super) struct Grants {
    pub held: HashMap<String, Grant>,
    pub serial: u64,
}

impl Grants {
    /// Stores a grant for a scope and numbers it.
    pub fn insert(&mut self, scope: &str, header: HeaderValue, (challenge, expires): (Challenge, Option<Instant>)) {
        self.serial += 1;
        let grant = Grant {
            header,
            expires,
            challenge,
            serial: self.serial,
        };
        self.held.insert(scope.to_owned(), grant);
    }
}

#[derive(Deserialize)]
struct TokenAnswer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<f64>,
}

/// Reads the token endpoint's answer into a header and the moment it runs out.
pub(super) fn read_token(host: &str, body: &[u8]) -> Result<(HeaderValue, Option<Instant>), Error> {
    let refuse = |source| Error::Token {
        host: host.to_owned(),
        source,
    };
    let answer: TokenAnswer = serde_json::from_slice(body).map_err(|source| refuse(Some(source)))?;
    let token = answer.token.or(answer.access_token).filter(|token| !token.is_empty());
    let header = token
        .and_then(|token| secret_header(&format!("Bearer {token}")))
        .ok_or_else(|| refuse(None))?;
    // The specification's default is a minute. A tenth is kept as a margin for requests on their way.
    let seconds = answer.expires_in.unwrap_or(60.0).clamp(1.0, 86_400.0);
    let expires = Instant::now().checked_add(Duration::from_secs_f64(seconds * 0.9));
    Ok((header, expires))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Option<Challenge> {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(WWW_AUTHENTICATE, value.parse().unwrap());
        }
        Challenge::read(&headers)
    }

    #[test]
    fn challenges_of_known_registries_are_read() {
        let bearer = r#"Bearer realm="https://ghcr.io/token",service="ghcr.io",scope="repository:a/b:pull""#;
        let wanted = Challenge::Bearer {
            realm: "https://ghcr.io/token".into(),
            service: Some("ghcr.io".into()),
            scope: Some("repository:a/b:pull".into()),
        };
        assert_eq!(read(&[bearer]), Some(wanted.clone()));
        assert_eq!(read(&["Basic realm=\"x\"", bearer]), Some(wanted.clone()));
        assert_eq!(read(&[&format!("Basic realm=\"x\", {bearer}")]), Some(wanted));
        assert_eq!(read(&["basic realm=here"]), Some(Challenge::Basic));
    }

    #[test]
    fn challenges_that_are_none_are_refused() {
        assert_eq!(read(&[]), None);
        assert_eq!(read(&["Bearer service=\"x\""]), None);
        assert_eq!(read(&["Negotiate"]), None);
        assert_eq!(read(&["\"\"\""]), None);
        assert_eq!(
            read(&[&format!("Bearer realm=\"https://x/{}\"", "a".repeat(100_000))]),
            None
        );
    }

    #[test]
    fn token_answers_that_hold_no_token_are_refused() {
        for body in [
            "",
            "{}",
            "[]",
            "<html>",
            r#"{"token":""}"#,
            r#"{"token":"a\nb"}"#,
            r#"{"token":7}"#,
        ] {
            assert!(read_token("x", body.as_bytes()).is_err(), "{body}");
        }
        assert!(read_token("x", br#"{"access_token":"abc","expires_in":1e300}"#).is_ok());
    }

    #[test]
    fn secrets_are_not_printed() {
        let credential = Credential::Password {
            username: "me".into(),
            password: "hunter2".into(),
        };
        assert!(!format!("{credential:?}").contains("hunter2"));
        assert!(!format!("{:?}", credential.basic()).contains("aHVudGVyMg"));
        assert!(!format!("{:?}", Credential::IdentityToken("hunter2".into())).contains("hunter2"));
    }
}
