//! The one reader of environment variables, the home folder and the clock.

#![allow(unsafe_code)] // Setting a variable, whose reason stands beside it.

use std::ffi::OsString;
use std::path::PathBuf;

use jiff::Timestamp;

/// Is what gpux takes from its surroundings, read once at the start.
#[derive(Clone, Debug)]
pub struct Env {
    /// Where the store, packs and caches live: `GPUX_HOME`, else the platform's data folder with `gpux` in it.
    /// `None` where the environment names neither.
    pub home: Option<PathBuf>,
    /// The folder that relative paths start from.
    pub current_dir: PathBuf,
    /// `SOURCE_DATE_EPOCH`: the time written into artifacts, in seconds since 1970.
    pub source_date_epoch: Option<OsString>,
    /// `ORT_DYLIB_PATH`: the ONNX Runtime library the user insists on.
    pub ort_dylib_path: Option<PathBuf>,
    /// The active Python environments: `VIRTUAL_ENV`, then `CONDA_PREFIX`.
    pub python_environments: Vec<PathBuf>,
    /// The folder of the running executable.
    pub executable_dir: Option<PathBuf>,
}

impl Env {
    /// Reads the environment of this process.
    pub fn read() -> Env {
        Env {
            home: home(),
            current_dir: std::env::current_dir().unwrap_or_else(|_| PathBuf::from(".")),
            source_date_epoch: set("SOURCE_DATE_EPOCH"),
            ort_dylib_path: set("ORT_DYLIB_PATH").map(PathBuf::from),
            python_environments: ["VIRTUAL_ENV", "CONDA_PREFIX"]
                .into_iter()
                .filter_map(set)
                .map(PathBuf::from)
                .collect(),
            executable_dir: std::env::current_exe()
                .ok()
                .and_then(|path| path.parent().map(PathBuf::from)),
        }
    }
}

/// Sets and removes variables that libraries read, before any thread is started and any library loaded.
pub fn prepare(variables: &[(&str, Option<&str>)]) {
    for (name, value) in variables {
        // SAFETY: main calls this first, while the process has one thread, so nobody reads the environment meanwhile.
        unsafe {
            match value {
                Some(value) => std::env::set_var(name, value),
                None => std::env::remove_var(name),
            }
        }
    }
}

/// Reads the clock.
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// Reads a variable; an empty one counts as absent.
fn set(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn home() -> Option<PathBuf> {
    if let Some(home) = set("GPUX_HOME") {
        return Some(PathBuf::from(home));
    }
    let data = if cfg!(windows) {
        set("LOCALAPPDATA").map(PathBuf::from)
    } else if cfg!(target_os = "macos") {
        set("HOME").map(|home| PathBuf::from(home).join("Library/Application Support"))
    } else {
        set("XDG_DATA_HOME")
            .map(PathBuf::from)
            .or_else(|| set("HOME").map(|home| PathBuf::from(home).join(".local/share")))
    };
    data.map(|data| data.join("gpux"))
}
