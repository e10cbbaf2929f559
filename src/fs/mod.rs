//! The one caller of `std::fs`: every error names its path.

mod map;

use std::path::{Path, PathBuf};

pub use map::map;

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

/// Lists the entries of a folder as paths, in no order.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let failed = |source| Error {
        act: "list",
        path: folder.to_owned(),
        source,
    };
    let entries = std::fs::read_dir(folder).map_err(failed)?;
    entries
        .map(|entry| Ok(entry.map_err(failed)?.path()))
        .collect::<Result<_, _>>()
}

/// Gives the absolute path without links that leads to an existing file or folder.
pub fn canonical(path: &Path) -> Result<PathBuf, Error> {
    std::fs::canonicalize(path).map_err(|source| Error {
        act: "find",
        path: path.to_owned(),
        source,
    })
}

/// Tells whether a path leads to a file, through links too.
pub fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}
