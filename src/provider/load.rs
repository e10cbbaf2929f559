use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::ProviderKind;

/// Is what a process loads to have one provider; every path is absolute.
///
/// Plain data: it is made without loading anything, and travels to the child process that tries it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadPlan {
    /// The provider.
    pub kind: ProviderKind,
    /// ONNX Runtime's own name of the provider; a plugin is registered under it.
    pub ep_name: String,
    /// The pack, as NAME-VERSION; the folder, for libraries outside of packs.
    pub pack: String,
    /// The version of ONNX Runtime, as far as its pack or its file's name tells.
    pub version: String,
    /// What made the place worth a look.
    pub origin: Origin,
    /// What is loaded before ONNX Runtime, in this order.
    pub dependencies: Vec<PathBuf>,
    /// What is not to be found, and is missed only by models that need it.
    pub missing: Vec<String>,
    /// ONNX Runtime itself: one a process.
    pub core: PathBuf,
    /// The library that is registered with ONNX Runtime, where the provider is a plugin.
    pub plugin: Option<PathBuf>,
    /// The library of a provider that ONNX Runtime loads by itself from beside the core.
    pub library: Option<PathBuf>,
    /// What tells these libraries from any others: part of the key of what was found out about them.
    pub key: String,
}

/// Says what made a place worth a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    Explicit,
    Pack,
    Executable,
    Python,
    System,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Origin::Explicit => "ORT_DYLIB_PATH",
            Origin::Pack => "installed packs",
            Origin::Executable => "beside the executable",
            Origin::Python => "the active Python environment",
            Origin::System => "the system",
        })
    }
}
