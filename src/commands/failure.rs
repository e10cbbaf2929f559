use std::error::Error;
use std::fmt;

use super::hints;

/// Says what kind of failure ended a verb; each kind has its exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// Something did not work.
    Failed,
    /// The command line is wrong.
    Usage,
    /// What was named does not exist.
    NotFound,
    /// Credentials are missing or refused.
    Authentication,
    /// A registry or the network did not answer as it should.
    Network,
    /// A requirement that the user stated is not met.
    Requirement,
    /// A limit of time or memory was reached.
    Limit,
}

impl Code {
    /// Gives the exit status of the process.
    pub fn exit_status(self) -> u8 {
        match self {
            Code::Failed => 1,
            Code::Usage => 2,
            Code::NotFound => 3,
            Code::Authentication => 4,
            Code::Network => 5,
            Code::Requirement => 6,
            Code::Limit => 124,
        }
    }

    /// Gives the name in JSON errors.
    pub fn name(self) -> &'static str {
        match self {
            Code::Failed => "failed",
            Code::Usage => "usage",
            Code::NotFound => "not_found",
            Code::Authentication => "authentication",
            Code::Network => "network",
            Code::Requirement => "requirement",
            Code::Limit => "limit",
        }
    }
}

/// Is why a verb failed, in three parts: what could not be done, why, and what to do.
#[derive(Debug)]
pub struct Failure {
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
    hints: Vec<String>,
    code: Code,
}

impl Failure {
    /// Makes a failure without a deeper cause.
    pub fn new(code: Code, what: impl Into<String>) -> Self {
        Failure {
            what: what.into(),
            source: None,
            hints: Vec::new(),
            code,
        }
    }

    /// Adds a hint, unless it is there already.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.hints.contains(&hint) {
            self.hints.push(hint);
        }
        self
    }

    /// Gives the kind of failure.
    pub fn code(&self) -> Code {
        self.code
    }

    /// Gives what could not be done.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// Gives the chain of causes, outermost first, a line or a snippet each.
    pub fn causes(&self) -> Vec<String> {
        let mut causes: Vec<String> = Vec::new();
        for error in chain(self.source.as_deref().map(|error| error as &dyn Error)) {
            let text = error.to_string();
            // A wrapper that only repeats its source says nothing new.
            if causes.last() != Some(&text) {
                causes.push(text);
            }
        }
        causes
    }

    /// Gives what to do about it.
    pub fn hints(&self) -> &[String] {
        &self.hints
    }

    /// Tells whether the reader of stdout went away, which ends gpux in silence.
    pub fn is_closed_pipe(&self) -> bool {
        chain(self.source.as_deref().map(|error| error as &dyn Error)).any(|error| {
            error
                .downcast_ref::<std::io::Error>()
                .is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        })
    }

    /// Gives the failure as the JSON document of `--json`.
    pub fn to_json(&self) -> serde_json::Value {
        serde_json::json!({"error": {
            "code": self.code.name(),
            "message": self.what,
            "causes": self.causes(),
            "hints": self.hints,
        }})
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

/// Turns any module's error into a failure of the verb that met it.
pub trait OrFail<T> {
    /// Says what could not be done; hints and the exit code follow from the error's type.
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure>;
}

impl<T, E: Error + Send + Sync + 'static> OrFail<T> for Result<T, E> {
    fn or_fail(self, what: impl FnOnce() -> String) -> Result<T, Failure> {
        self.map_err(|error| {
            let (code, hints) = hints::advise(&error);
            Failure {
                what: what(),
                source: Some(Box::new(error)),
                hints,
                code,
            }
        })
    }
}

impl From<std::io::Error> for Failure {
    /// Takes what a stream of the terminal answered; files are the business of `fs`.
    fn from(error: std::io::Error) -> Self {
        Failure {
            what: "cannot write the answer".into(),
            source: Some(Box::new(error)),
            hints: Vec::new(),
            code: Code::Failed,
        }
    }
}

/// Walks an error and its sources.
pub(super) fn chain<'a>(first: Option<&'a (dyn Error + 'static)>) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(first, |&error| error.source())
}

/// Writes an error and its causes on one line.
pub fn explain(error: &(dyn Error + 'static)) -> String {
    let causes: Vec<String> = chain(Some(error)).map(ToString::to_string).collect();
    causes.join(": ")
}
