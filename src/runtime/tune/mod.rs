//! Which provider and which of its options run a model fastest on this machine.
//!
//! [`search`] decides what to try and what to keep; who calls it runs each trial, in a process of its own. What was found
//! is kept as a [`Finding`] and read again by [`Findings`].

mod compare;
mod findings;
mod search;

pub use compare::{Deviation, deviation};
pub use findings::{Finding, Findings, Key, pick};
pub use search::{Effort, Outcome, Trial, search, tolerance};

use serde::{Deserialize, Serialize};

use super::{ProviderKind, SessionOptions, Settings};

/// Is a provider with the options that a session on it is made with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Configuration {
    pub provider: ProviderKind,
    /// Threads of one operator; `None` means as many as this process may use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// What is traded for speed.
    #[serde(default)]
    pub settings: Settings,
}

impl Configuration {
    /// Is the provider as it is without tuning.
    pub fn plain(provider: ProviderKind) -> Self {
        Configuration {
            provider,
            threads: None,
            settings: Settings::default(),
        }
    }

    /// Changes how a session is made; threads that the user asked for stay.
    pub fn apply(&self, session: &mut SessionOptions) {
        session.threads = session.threads.or(self.threads);
        session.settings = self.settings.clone();
    }

    /// Names what is not as it is without tuning, for people.
    pub fn names(&self) -> Vec<String> {
        let threads = self.threads.map(|threads| match threads {
            1 => "1 thread".to_owned(),
            more => format!("{more} threads"),
        });
        let settings = self.settings.names().into_iter().map(str::to_owned);
        settings.chain(threads).collect()
    }
}
