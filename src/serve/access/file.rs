//! The file that tokens are kept in: JSON, for its owner alone, replaced in one step.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::TokenHash;
use crate::fs;

/// The form that is written.
const VERSION: u32 = 1;
/// The longest file that is read.
const MOST_BYTES: usize = 16 << 20;
/// How long another change of the file is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// Is what the file says of one token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    /// By which it is spoken of.
    pub id: String,
    /// What is kept of it, in hexadecimal digits.
    pub sha256: String,
    /// Whose it is: what is waiting is shared between tenants, and counted by them.
    pub tenant: String,
    /// Patterns of the models that it may call.
    pub models: Vec<String>,
    /// How many requests a second it may make.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<f64>,
    /// How many of its requests may be answered at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub concurrency: Option<u32>,
    /// Whether it may load and unload models, and read the metrics.
    #[serde(default)]
    pub admin: bool,
    /// Whether it may read the metrics, which tell of every model and tenant.
    #[serde(default)]
    pub metrics: bool,
    /// When it was made, as RFC 3339 has it.
    pub created: String,
    /// From when on it is not taken any more, as RFC 3339 has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<String>,
}

/// Is the whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Content {
    version: u32,
    tokens: Vec<TokenRecord>,
}

/// Says what is wrong with the file of tokens.
#[derive(Debug, thiserror::Error)]
pub enum TokenFileError {
    /// The file cannot be read or written.
    #[error(transparent)]
    System(#[from] fs::Error),
    /// There is no such file.
    #[error("there is no `{}`", .0.display())]
    Missing(PathBuf),
    /// The file is not what gpux writes.
    #[error("`{}` is not a file of tokens", .path.display())]
    Form {
        path: PathBuf,
        #[source]
        source: serde_json::Error,
    },
    /// Another gpux wrote it, in a form that came later.
    #[error("`{}` has version {version}, and this gpux reads version {VERSION}", .path.display())]
    Version { path: PathBuf, version: u32 },
    /// It is longer than any such file.
    #[error("`{}` is longer than {MOST_BYTES} bytes", .0.display())]
    Long(PathBuf),
    /// Others could give themselves tokens.
    #[error("`{}` can be written by others than its owner (mode {mode:o})", .path.display())]
    Exposed { path: PathBuf, mode: u32 },
    /// What it says of a token makes no sense.
    #[error("`{}` says of token `{}` what makes no sense: {wrong}", .path.display(), .id.escape_debug())]
    Record {
        path: PathBuf,
        id: String,
        wrong: WrongRecord,
    },
    /// Another command changes the file and does not end.
    #[error("`{}` is being changed by another command", .0.display())]
    Busy(PathBuf),
}

/// Says what of a token makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrongRecord {
    /// Names go into metrics and tables.
    #[error("a tenant's name has 1 to 64 letters, digits, `.`, `_` and `-`")]
    Tenant,
    /// A pattern is none.
    #[error("`{}` is no pattern of models", .0.escape_debug())]
    Models(String),
    /// It may not be used at all.
    #[error("a rate is a number of requests a second, above 0 and at most 1,000,000")]
    Rate,
    /// It may not be used at all.
    #[error("a concurrency is a whole number from 1 to 1,000,000")]
    Concurrency,
    /// The hash is none.
    #[error("`sha256` is not 64 hexadecimal digits")]
    Hash,
    /// A time is none.
    #[error("`{}` is no time", .0.escape_debug())]
    Time(String),
    /// Another has the same id.
    #[error("it stands there twice")]
    Twice,
}

/// Is a token as the server knows it.
pub(super) struct Checked {
    pub hash: TokenHash,
    pub models: GlobSet,
    pub expires: Option<Timestamp>,
}

impl TokenRecord {
    /// Looks whether everything makes sense.
    ///
    /// Errors: the first thing that does not.
    pub fn check(&self) -> Result<(), WrongRecord> {
        self.checked().map(|_| ())
    }

    pub(super) fn checked(&self) -> Result<Checked, WrongRecord> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
        if self.tenant.is_empty() || self.tenant.len() > 64 || !self.tenant.bytes().all(is_plain) {
            return Err(WrongRecord::Tenant);
        }
        if self.rate.is_some_and(|rate| !(rate > 0.0 && rate <= 1e6)) {
            return Err(WrongRecord::Rate);
        }
        if self.concurrency.is_some_and(|most| most == 0 || most > 1_000_000) {
            return Err(WrongRecord::Concurrency);
        }
        let time = |text: &String| text.parse::<Timestamp>().map_err(|_| WrongRecord::Time(text.clone()));
        time(&self.created)?;
        Ok(Checked {
            hash: TokenHash::parse(&self.sha256).ok_or(WrongRecord::Hash)?,
            models: patterns(&self.models)?,
            expires: self.expires.as_ref().map(time).transpose()?,
        })
    }
}

fn patterns(models: &[String]) -> Result<GlobSet, WrongRecord> {
    let mut set = GlobSetBuilder::new();
    for pattern in models {
        let wrong = |_| WrongRecord::Models(pattern.clone());
        set.add(GlobBuilder::new(pattern).build().map_err(wrong)?);
    }
    set.build().map_err(|_| WrongRecord::Models(models.join(" ")))
}

/// Reads the tokens; `None` where there is no such file.
///
/// Errors: [`TokenFileError`].
pub fn read_tokens(path: &Path) -> Result<Option<Vec<TokenRecord>>, TokenFileError> {
    let Some(stat) = fs::stat(path)? else {
        return Ok(None);
    };
    if stat.mode & 0o022 != 0 {
        let (path, mode) = (path.to_owned(), stat.mode);
        return Err(TokenFileError::Exposed { path, mode });
    }
    let Some(bytes) = fs::if_exists(fs::read_at_most(path, MOST_BYTES + 1))? else {
        return Ok(None);
    };
    if bytes.len() > MOST_BYTES {
        return Err(TokenFileError::Long(path.to_owned()));
    }
    let content: Content = serde_json::from_slice(&bytes).map_err(|source| TokenFileError::Form {
        path: path.to_owned(),
        source,
    })?;
    if content.version != VERSION {
        let (path, version) = (path.to_owned(), content.version);
        return Err(TokenFileError::Version { path, version });
    }
    let mut ids = std::collections::HashSet::new();
    for record in &content.tokens {
        let twice = (!ids.insert(&record.id)).then_some(WrongRecord::Twice);
        if let Some(wrong) = twice.or_else(|| record.check().err()) {
            let (path, id) = (path.to_owned(), record.id.clone());
            return Err(TokenFileError::Record { path, id, wrong });
        }
    }
    Ok(Some(content.tokens))
}

/// Changes the tokens, with nobody else changing them meanwhile.
///
/// Errors: [`TokenFileError`]; the file is as it was.
pub fn change_tokens<T>(path: &Path, change: impl FnOnce(&mut Vec<TokenRecord>) -> T) -> Result<T, TokenFileError> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        fs::create_folders(folder)?;
    }
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".lock");
    let lock = fs::File::open_or_create_private(&path.with_file_name(name))?;
    let until = Instant::now() + PATIENCE;
    while lock.try_lock()? == fs::Locked::ByOthers {
        if Instant::now() >= until {
            return Err(TokenFileError::Busy(path.to_owned()));
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let mut tokens = read_tokens(path)?.unwrap_or_default();
    let before = tokens.clone();
    let done = change(&mut tokens);
    if tokens != before {
        let content = Content {
            version: VERSION,
            tokens,
        };
        let mut text = serde_json::to_vec_pretty(&content).map_err(|source| TokenFileError::Form {
            path: path.to_owned(),
            source,
        })?;
        text.push(b'\n');
        fs::replace_private(path, &text)?;
    }
    Ok(done)
}
