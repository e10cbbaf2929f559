//! Reads tokens and certificates again when their files change, or when the server is told to by SIGHUP.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::{Access, Tls};
use crate::fs::{self, Stat};
use crate::serve::executor::chain;

/// How often the files are looked at: a token that is revoked is refused within this time.
const PERIOD: Duration = Duration::from_secs(1);

/// Is what came of reading something again: in words, why it stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reloaded {
    /// The tokens, and how many there are.
    Tokens(Result<usize, String>),
    /// The certificates and the key.
    Certificates(Result<(), String>),
}

/// Hears the signal to read everything again.
pub(in crate::serve) struct Hangup(#[cfg(unix)] tokio::signal::unix::Signal);

impl Hangup {
    #[cfg(unix)]
    pub fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        signal(SignalKind::hangup()).map(Hangup)
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        self.0.recv().await;
    }

    #[cfg(not(unix))]
    pub fn new() -> io::Result<Self> {
        Ok(Hangup())
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        std::future::pending().await
    }
}

/// Keeps tokens and certificates as their files are, for as long as it is polled.
pub(in crate::serve) async fn keep_fresh(
    access: Arc<Access>,
    tls: Option<Arc<Tls>>,
    mut hangup: Hangup,
    tell: impl Fn(Reloaded),
) {
    let mut seen = Seen::of(&access, tls.as_deref());
    loop {
        let is_asked = tokio::select! {
            () = hangup.wait() => true,
            () = tokio::time::sleep(PERIOD) => false,
        };
        let (before, access, tls) = (seen.clone(), Arc::clone(&access), tls.clone());
        let looked = tokio::task::spawn_blocking(move || look(&before, &access, tls.as_deref(), is_asked));
        let Ok((now, reloaded)) = looked.await else { continue };
        seen = now;
        for each in reloaded {
            tell(each);
        }
    }
}

/// Is how the files looked; two equal ones mean that none was touched.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    tokens: Vec<Option<Stat>>,
    certificates: Vec<Option<Stat>>,
}

impl Seen {
    fn of(access: &Access, tls: Option<&Tls>) -> Seen {
        let stats =
            |paths: &mut dyn Iterator<Item = &PathBuf>| paths.map(|path| fs::stat(path).ok().flatten()).collect();
        Seen {
            tokens: stats(&mut access.file().into_iter()),
            certificates: tls.map_or_else(Vec::new, |tls| stats(&mut tls.paths())),
        }
    }
}

fn look(before: &Seen, access: &Access, tls: Option<&Tls>, is_asked: bool) -> (Seen, Vec<Reloaded>) {
    let now = Seen::of(access, tls);
    let mut reloaded = Vec::new();
    if access.file().is_some() && (is_asked || now.tokens != before.tokens) {
        reloaded.push(Reloaded::Tokens(access.reload().map_err(|error| chain(&error))));
    }
    if let Some(tls) = tls.filter(|_| is_asked || now.certificates != before.certificates) {
        reloaded.push(Reloaded::Certificates(tls.reload().map_err(|error| chain(&error))));
    }
    (now, reloaded)
}
