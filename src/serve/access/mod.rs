//! Who may call: tokens, their tenants and limits, and TLS.
//!
//! Without tokens everybody may call who reaches the server; with them, whoever shows one. A token is of a tenant: it
//! sees only the models of its patterns, and shares what waits with other tenants.

mod file;
mod layer;
mod limits;
mod reload;
mod tls;
mod token;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock, PoisonError, RwLock};
use std::time::Duration;

use axum::http::{Extensions, HeaderMap, header};
use globset::GlobSet;
use jiff::Timestamp;
use tokio::sync::OwnedSemaphorePermit;

use super::Error;
use limits::{Excess, Usage};

pub use file::{TokenFileError, TokenRecord, WrongRecord, change_tokens, read_tokens};
pub(super) use layer::{admit_grpc, admit_http, admit_metrics};
pub use reload::Reloaded;
pub(super) use reload::{Hangup, keep_fresh};
pub(super) use tls::Tls;
pub use tls::{TlsError, TlsFiles};
pub use token::{NoRandom, Token, TokenHash};

/// Says who may call, and where that stands.
#[derive(Clone, Debug)]
pub struct AccessOptions {
    /// The file of tokens; `None` where none are asked for.
    pub tokens: Option<PathBuf>,
    /// The files of TLS; `None` for connections that everybody on the way can read.
    pub tls: Option<TlsFiles>,
    /// Tells the time, for tokens that expire.
    pub clock: fn() -> Timestamp,
}

/// Knows who may call.
#[derive(Debug)]
pub struct Access {
    tokens: Option<Tokens>,
    clock: fn() -> Timestamp,
}

#[derive(Debug)]
struct Tokens {
    path: PathBuf,
    by_id: RwLock<HashMap<String, Grant>>,
}

/// Is a token, as the server knows it, and what it gives.
#[derive(Debug)]
struct Grant {
    hash: TokenHash,
    expires: Option<Timestamp>,
    caller: Caller,
}

/// Is whoever made a request; handlers find it among the request's extensions.
#[derive(Clone, Debug)]
pub struct Caller(Arc<Identity>);

#[derive(Debug)]
struct Identity {
    tenant: Arc<str>,
    models: Models,
    is_admin: bool,
    reads_metrics: bool,
    usage: Arc<Usage>,
}

#[derive(Debug)]
enum Models {
    All,
    Of(GlobSet),
    None,
}

/// Says why a caller is not admitted.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum Denial {
    /// No token was shown.
    #[error("a token is needed: Authorization: Bearer TOKEN")]
    NoToken,
    /// What was shown is none, or one that was revoked.
    #[error("the token is not one of this server's")]
    Unknown,
    /// The time of the token is over.
    #[error("the token has expired")]
    Expired,
    /// The token is used more often than it may be.
    #[error("the token is used more often than it may be")]
    TooOften(Duration),
    /// As many requests of the token as may be are answered already.
    #[error("{0} requests of the token are being answered, which is all that may be at once")]
    AtOnce(u32),
    /// The token is not an admin's.
    #[error("only an admin's token may do this")]
    NotAdmin,
    /// The token does not read metrics.
    #[error("only a token for metrics, or an admin's, may read them")]
    NoMetrics,
}

impl Denial {
    /// Says when to come again, where that helps. Units: seconds.
    pub(super) fn retry_after_seconds(&self) -> Option<u64> {
        match self {
            Denial::TooOften(wait) => Some(wait.as_secs().saturating_add(1)),
            Denial::AtOnce(_) => Some(1),
            _ => None,
        }
    }
}

impl From<Excess> for Denial {
    fn from(excess: Excess) -> Self {
        match excess {
            Excess::Often(wait) => Denial::TooOften(wait),
            Excess::AtOnce(most) => Denial::AtOnce(most),
        }
    }
}

impl Caller {
    /// Is everybody, where no tokens are asked for: of no tenant, and no admin.
    pub fn anybody() -> Caller {
        static ANYBODY: LazyLock<Caller> = LazyLock::new(|| Caller::without_token(Models::All));
        ANYBODY.clone()
    }

    /// Is somebody who has shown no token, on a path that asks for none: no model is theirs.
    pub(super) fn nobody() -> Caller {
        static NOBODY: LazyLock<Caller> = LazyLock::new(|| Caller::without_token(Models::None));
        NOBODY.clone()
    }

    /// Finds who makes a request, as the layer before its handler found out.
    pub(super) fn of(extensions: &Extensions) -> Caller {
        extensions.get().cloned().unwrap_or_else(Caller::nobody)
    }

    fn without_token(models: Models) -> Caller {
        Caller(Arc::new(Identity {
            tenant: "".into(),
            models,
            is_admin: false,
            reads_metrics: false,
            usage: Arc::new(Usage::new(None, None)),
        }))
    }

    /// Gives the tenant's name; it is empty where no tokens are asked for.
    pub fn tenant(&self) -> &Arc<str> {
        &self.0.tenant
    }

    /// Tells whether a model is theirs to call, and to know of.
    pub fn may_call(&self, model: &str) -> bool {
        match &self.0.models {
            Models::All => true,
            Models::Of(patterns) => patterns.is_match(model),
            Models::None => false,
        }
    }

    /// Looks whether they may call a model.
    ///
    /// Errors: there is no such model, as far as they may know.
    pub fn check(&self, model: &str) -> Result<(), Error> {
        match self.may_call(model) {
            true => Ok(()),
            false => Err(Error::UnknownModel(model.to_owned())),
        }
    }

    /// Tells whether they may load and unload models.
    pub fn is_admin(&self) -> bool {
        self.0.is_admin
    }

    /// Looks whether they may load and unload a model. Without a file of tokens there are no admins, and nobody may.
    ///
    /// Errors: they are no admin, or there is no such model, as far as they may know.
    pub fn check_control(&self, model: &str) -> Result<(), Error> {
        match self.is_admin() {
            true => self.check(model),
            false => Err(Error::Denied(Denial::NotAdmin)),
        }
    }

    /// Counts one more request of a stream, which was itself admitted as one.
    ///
    /// Errors: the token is used too often.
    pub fn count(&self) -> Result<(), Error> {
        let counted = self.0.usage.count();
        counted.map_err(|excess| Error::Denied(excess.into()))
    }
}

impl Access {
    /// Reads the tokens, where some are asked for.
    ///
    /// Errors: [`TokenFileError`].
    pub fn open(options: &AccessOptions) -> Result<Access, TokenFileError> {
        let tokens = options.tokens.as_ref().map(|path| Tokens {
            path: path.clone(),
            by_id: RwLock::default(),
        });
        let access = Access {
            tokens,
            clock: options.clock,
        };
        access.reload()?;
        Ok(access)
    }

    /// Reads the tokens again; what was counted of one that is still there goes on. Gives how many there are.
    ///
    /// Errors: [`TokenFileError`]; those that were there stay.
    fn reload(&self) -> Result<usize, TokenFileError> {
        let Some(tokens) = &self.tokens else { return Ok(0) };
        let records = read_tokens(&tokens.path)?.ok_or_else(|| TokenFileError::Missing(tokens.path.clone()))?;
        let mut by_id = tokens.by_id.write().unwrap_or_else(PoisonError::into_inner);
        let mut fresh = HashMap::with_capacity(records.len());
        for record in records {
            let checked = record.checked().map_err(|wrong| TokenFileError::Record {
                path: tokens.path.clone(),
                id: record.id.clone(),
                wrong,
            })?;
            let known = by_id.get(&record.id).map(|grant| &grant.caller.0.usage);
            let counted = known.filter(|usage| usage.is_for(record.rate, record.concurrency));
            let usage = counted.cloned();
            let identity = Identity {
                tenant: record.tenant.as_str().into(),
                models: Models::Of(checked.models),
                is_admin: record.admin,
                reads_metrics: record.admin || record.metrics,
                usage: usage.unwrap_or_else(|| Arc::new(Usage::new(record.rate, record.concurrency))),
            };
            let grant = Grant {
                hash: checked.hash,
                expires: checked.expires,
                caller: Caller(Arc::new(identity)),
            };
            fresh.insert(record.id, grant);
        }
        let count = fresh.len();
        *by_id = fresh;
        Ok(count)
    }

    /// Gives the file of tokens, where some are asked for.
    fn file(&self) -> Option<&PathBuf> {
        self.tokens.as_ref().map(|tokens| &tokens.path)
    }

    /// Finds out who calls.
    ///
    /// Errors: [`Denial`].
    fn identify(&self, headers: &HeaderMap) -> Result<Caller, Denial> {
        let Some(tokens) = &self.tokens else {
            return Ok(Caller::anybody());
        };
        let shown = bearer(headers)?;
        let token = Token::parse(shown).ok_or(Denial::Unknown)?;
        let by_id = tokens.by_id.read().unwrap_or_else(PoisonError::into_inner);
        let grant = by_id.get(token.id()).ok_or(Denial::Unknown)?;
        if !grant.hash.is(&token.hash()) {
            return Err(Denial::Unknown);
        }
        if grant.expires.is_some_and(|end| end <= (self.clock)()) {
            return Err(Denial::Expired);
        }
        Ok(grant.caller.clone())
    }

    /// Finds out who calls, and takes a place for the request, to be held until it is answered.
    ///
    /// Errors: [`Denial`]; where the token is good but used too much, with its caller.
    fn admit(&self, headers: &HeaderMap) -> Result<(Caller, Option<OwnedSemaphorePermit>), (Denial, Caller)> {
        let caller = self.identify(headers).map_err(|denial| (denial, Caller::nobody()))?;
        match caller.0.usage.enter() {
            Ok(place) => Ok((caller, place)),
            Err(excess) => Err((excess.into(), caller)),
        }
    }
}

/// Reads the one token that a client shows.
fn bearer(headers: &HeaderMap) -> Result<&str, Denial> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    match (values.next(), values.next()) {
        (None, _) => Err(Denial::NoToken),
        (Some(value), None) => {
            let text = value.to_str().map_err(|_| Denial::Unknown)?;
            let (scheme, token) = text.split_once(' ').ok_or(Denial::Unknown)?;
            match scheme.eq_ignore_ascii_case("bearer") {
                true => Ok(token.trim()),
                false => Err(Denial::NoToken),
            }
        }
        _ => Err(Denial::Unknown),
    }
}
