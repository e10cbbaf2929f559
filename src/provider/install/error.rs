use std::path::PathBuf;

use crate::fs;
use crate::oci::{self, Digest};
use crate::provider::{BadName, Incomplete, PackError, Platform};
use crate::store;

/// Says why a pack did not come, or cannot be what it is.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    #[error(transparent)]
    File(#[from] fs::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
    #[error(transparent)]
    Pack(#[from] PackError),
    #[error(transparent)]
    Name(#[from] BadName),
    #[error("`{}`: {source}", path.display())]
    Incomplete { path: PathBuf, source: Incomplete },
    /// Nobody builds the pack for this system.
    #[error("there is no pack `{pack}` for {platform}")]
    NoWheel { pack: &'static str, platform: Platform },
    /// The pack is for another system.
    #[error("`{}` is for {found}, and this is {}", path.display(), Platform::current())]
    OtherPlatform { path: PathBuf, found: Platform },
    /// Another gpux is changing the packs.
    #[error("another gpux is changing the packs (`{}`)", path.display())]
    Busy { path: PathBuf },
    /// A process has loaded libraries of the pack.
    #[error("the pack `{pack}` is in use{}", by(processes))]
    InUse {
        pack: String,
        /// Their numbers, as far as the system tells them.
        processes: Vec<u32>,
    },
    /// A file is not what it must be.
    #[error("`{}` has the digest {found}, and {expected} is expected", path.display())]
    OtherContent {
        path: PathBuf,
        expected: Digest,
        found: Digest,
    },
    /// The file is no wheel, or is a broken one.
    #[error("`{}` is no wheel that can be read", path.display())]
    Zip {
        path: PathBuf,
        #[source]
        source: zip::result::ZipError,
    },
    /// A name in a wheel leaves its folder or is no plain file's.
    #[error("`{}` has a file that is not safe: {problem}", path.display())]
    Unsafe { path: PathBuf, problem: String },
    /// A wheel unpacks to more than it may.
    #[error("`{}` unpacks to more than {limit_bytes} bytes", path.display())]
    Expansion { path: PathBuf, limit_bytes: u64 },
    /// The file's name is that of no wheel that packs are made of.
    #[error("`{}` is no wheel of a pack that gpux knows", path.display())]
    UnknownWheel { path: PathBuf },
    /// The folder has nothing to make a pack of.
    #[error("`{}` has no pack, no wheel and no ONNX Runtime", path.display())]
    NothingThere { path: PathBuf },
    /// The folder has others.
    #[error("`{}` has nothing that becomes the pack `{pack}`", path.display())]
    NothingOf { path: PathBuf, pack: &'static str },
    /// The folder has ONNX Runtime, and nothing says which.
    #[error("`{}` does not tell its version by its name", path.display())]
    NoVersion { path: PathBuf },
    /// The program that fetches wheels failed.
    #[error("{program} {how}{said}")]
    Fetch { program: String, how: String, said: String },
    /// The program ended well, and a wheel is not there.
    #[error("{program} brought no `{file}`")]
    NotFetched { program: String, file: String },
    /// There is no such program.
    #[error("{program} is not there")]
    NoProgram { program: String },
    /// An artifact is not a pack.
    #[error("`{reference}` is not a pack of providers: {problem}")]
    NotAPack { reference: String, problem: String },
    /// A document of an artifact cannot be understood.
    #[error(transparent)]
    Oci(#[from] oci::Error),
    /// No such pack is installed.
    #[error("there is no pack `{0}`")]
    NotInstalled(String),
}

fn by(processes: &[u32]) -> String {
    let numbers: Vec<String> = processes.iter().map(u32::to_string).collect();
    match numbers.as_slice() {
        [] => String::new(),
        [one] => format!(" by the process {one}"),
        many => format!(" by the processes {}", many.join(", ")),
    }
}
