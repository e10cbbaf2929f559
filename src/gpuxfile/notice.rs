use std::fmt;

use super::source::Place;

/// Tells the user of a key that was read and does not do what it says.
///
/// Prints as one line: ``GPUXfile:12:1: `inputs.x.required` has no effect: every input of an ONNX model must be given``.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// Where the key stands.
    pub place: Place,
    /// The key, with the keys above it: `runtime.gpu.memory`.
    pub key: String,
    /// What happens instead.
    pub reason: NoticeReason,
}

/// Says why a key does not do what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NoticeReason {
    /// The key of the Python tool has no counterpart here.
    NoCounterpart {
        /// What to use instead.
        instead: &'static str,
    },
    /// The name was made legal.
    Renamed { to: String },
    /// The version was made a semantic version.
    Reversioned { to: String },
    /// The version is none, and the tag is `latest`.
    NoVersion,
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: `{}` ", self.place, self.key)?;
        match &self.reason {
            NoticeReason::NoCounterpart { instead } => write!(f, "has no effect: {instead}"),
            NoticeReason::Renamed { to } => write!(f, "is not a legal name; the artifact is named `{to}`"),
            NoticeReason::Reversioned { to } => write!(f, "is not a semantic version; it is read as `{to}`"),
            NoticeReason::NoVersion => write!(f, "is not a semantic version; the artifact has none"),
        }
    }
}
