//! The one caller of `std::fs`: every error names its path.

use std::path::{Path, PathBuf};

/// Says which act on which path failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`", path.display())]
pub struct Error {
    /// What was tried, as a verb: `read`, `write`, `rename`.
    pub act: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub source: std::io::Error,
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path).map_err(|source| Error {
        act: "read",
        path: path.to_owned(),
        source,
    })
}
