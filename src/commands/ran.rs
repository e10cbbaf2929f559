use std::io::{self, Write};
use std::time::Duration;

use serde_json::json;

use super::answer::milliseconds;
use super::explain::Explanation;
use super::opened::Opened;
use crate::runtime::Refused;

/// Is what every document of `run` says beside the answers themselves.
#[derive(Debug)]
pub struct Ran<'a> {
    /// The artifact, folder or file, as the user named it.
    model: &'a str,
    /// The manifest's digest; that of a folder or file is what `build` would give.
    digest: String,
    /// The provider that ran.
    provider: &'static str,
    /// The providers that did not, and why.
    refused: &'a [Refused],
    /// What the session was made with that is not as it is by itself.
    options: Vec<&'static str>,
    /// Whether tuning chose the provider and the options.
    tuned: bool,
    /// Which provider has which nodes, where it was asked for.
    explanation: Option<&'a Explanation<'a>>,
    /// How long the model took to load.
    load: Duration,
    /// How long the answers took, from reading to the last.
    run: Duration,
}

impl<'a> Ran<'a> {
    /// Takes what a loaded model tells of itself.
    pub fn new(
        opened: &'a Opened,
        model: &'a str,
        digest: String,
        explanation: Option<&'a Explanation<'a>>,
        run: Duration,
    ) -> Self {
        Ran {
            model,
            digest,
            provider: opened.provider.name(),
            refused: &opened.refused,
            options: opened.settings.names(),
            tuned: opened.tuned,
            explanation,
            load: opened.load,
            run,
        }
    }

    /// Writes the JSON document of the contract, with what `answers` writes under `key`.
    pub fn write_json(
        &self,
        to: &mut dyn Write,
        key: &str,
        answers: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let refused = self
            .refused
            .iter()
            .map(|refused| json!({"provider": refused.provider.name(), "reason": refused.reason.to_string()}));
        write!(
            to,
            "{{\"model\":{},\"digest\":{},\"provider\":{},\"options\":{},\"tuned\":{},\"refused\":{},\"{key}\":",
            json!(self.model),
            json!(self.digest),
            json!(self.provider),
            json!(self.options),
            self.tuned,
            json!(refused.collect::<Vec<_>>()),
        )?;
        answers(to)?;
        let timing = json!({"load": milliseconds(self.load), "run": milliseconds(self.run)});
        write!(to, ",\"timing_ms\":{timing}")?;
        if let Some(explanation) = self.explanation {
            write!(to, ",\"explain\":{}", explanation.to_json())?;
        }
        writeln!(to, "}}")
    }
}
