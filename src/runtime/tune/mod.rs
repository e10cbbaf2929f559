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

    /// Leaves out what pays only over many calls: a search for algorithms, a recorded graph, and what needs one of them.
    pub fn for_one_call(mut self) -> Self {
        let Settings {
            tf32, fp16, no_arena, ..
        } = self.settings;
        self.settings = Settings {
            tf32,
            fp16,
            no_arena,
            ..Settings::default()
        };
        self
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::ConvolutionSearch;

    #[test]
    fn one_call_waits_for_no_search_and_keeps_the_provider_and_the_number_format() {
        let mut tuned = Configuration::plain(ProviderKind::Cuda);
        tuned.settings = Settings {
            cuda_graph: true,
            nhwc: true,
            convolution_search: ConvolutionSearch::Exhaustive,
            fuse_bias: true,
            tf32: true,
            ..Settings::default()
        };
        let once = tuned.for_one_call();
        let expected = Settings {
            tf32: true,
            ..Settings::default()
        };
        assert_eq!((once.provider, once.settings), (ProviderKind::Cuda, expected));
    }
}
