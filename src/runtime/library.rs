use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use ort::LoadDynamicError;
use ort::environment::EnvironmentBuilder;

use super::error::Chain;
use crate::fs;
use crate::provider::{self, LoadPlan, Origin, ProviderKind, Sources};

/// The oldest ONNX Runtime that is accepted.
///
/// Source: the `api-24` feature of `ort`.
pub const OLDEST_VERSION: &str = "1.24";

/// Is one place that was looked at, and why it did not give a library.
#[derive(Debug)]
pub struct Looked {
    pub origin: Origin,
    pub path: PathBuf,
    pub refusal: Refusal,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, path) = (self.origin, self.path.display());
        write!(f, "{origin}: `{path}`: {}", Chain(&self.refusal))
    }
}

/// Says why a place does not give a library.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// The files there are reason enough.
    #[error(transparent)]
    Unfit(#[from] provider::Refusal),
    /// The library is older than gpux can speak to.
    #[error("is ONNX Runtime {version}, and {OLDEST_VERSION} is the oldest that works")]
    TooOld { version: String },
    /// The system's loader refused the file.
    #[error("cannot be loaded")]
    NotLoaded {
        #[source]
        source: Box<dyn StdError + Send + Sync>,
    },
    /// The file is a library, and not ONNX Runtime.
    #[error("is a library that is not ONNX Runtime")]
    NotOnnxRuntime,
}

impl Refusal {
    /// Tells whether there is simply nothing there.
    fn is_absence(&self) -> bool {
        matches!(
            self,
            Refusal::Unfit(provider::Refusal::Missing | provider::Refusal::Lacks(_))
        )
    }
}

/// Says that no place gave a library; `looked` has every place in order.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(*kind, looked))]
pub struct NotFound {
    /// What the library was to have.
    pub kind: ProviderKind,
    /// Every place, in the order of the search; those that the files told of come before those that were tried.
    pub looked: Vec<Looked>,
}

/// Writes what kept a library that exists from being used; where none exists, says so in one clause.
fn describe(kind: ProviderKind, looked: &[Looked]) -> String {
    let refused: Vec<String> = looked
        .iter()
        .filter(|place| place.origin == Origin::Explicit || !place.refusal.is_absence())
        .map(Looked::to_string)
        .collect();
    match (kind, refused.is_empty()) {
        (ProviderKind::Cpu, true) => "no ONNX Runtime library was found".to_owned(),
        (ProviderKind::Cpu, false) => format!("no usable ONNX Runtime library: {}", refused.join("; ")),
        (kind, true) => format!("no ONNX Runtime with {kind} was found"),
        (kind, false) => format!("no usable ONNX Runtime with {kind}: {}", refused.join("; ")),
    }
}

/// Is the library that was loaded.
#[derive(Debug)]
pub struct Library {
    pub origin: Origin,
    pub path: PathBuf,
    /// The places before it, and why they were passed over.
    pub looked: Vec<Looked>,
}

impl Library {
    /// Tells whether `path` leads to this library, or to the folder that has it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::canonical(path).is_ok_and(|path| self.path == path || self.path.parent() == Some(&path))
    }
}

/// Loads the first ONNX Runtime that works.
///
/// The process keeps it until it ends: a later load, of whichever file, gives the first again.
/// Errors: [`NotFound`] with every place that was looked at.
pub(super) fn load(sources: &Sources) -> Result<(Library, EnvironmentBuilder), NotFound> {
    let kind = ProviderKind::Cpu;
    let found = sources.find(kind);
    let mut looked: Vec<Looked> = found.looked.into_iter().map(unfit).collect();
    for plan in found.plans {
        let held = provider::hold(&plan).map_err(|source| Refusal::NotLoaded {
            source: Box::new(source),
        });
        let LoadPlan { origin, core, .. } = plan;
        let refusal = match held.and_then(|()| open(&core)) {
            Ok(builder) => {
                let library = Library {
                    origin,
                    path: core,
                    looked,
                };
                return Ok((library, builder));
            }
            Err(refusal) => refusal,
        };
        looked.push(Looked {
            origin,
            path: core,
            refusal,
        });
    }
    Err(NotFound { kind, looked })
}

/// Finds what is to be loaded for a provider that comes with some builds of ONNX Runtime.
///
/// Errors: [`NotFound`] with every place that was looked at.
pub(super) fn find(kind: ProviderKind, sources: &Sources) -> Result<LoadPlan, NotFound> {
    let found = sources.find(kind);
    let looked = found.looked.into_iter().map(unfit).collect();
    found.plans.into_iter().next().ok_or(NotFound { kind, looked })
}

fn unfit(looked: provider::Looked) -> Looked {
    Looked {
        origin: looked.origin,
        path: looked.path,
        refusal: looked.refusal.into(),
    }
}

/// Loads one library.
fn open(path: &Path) -> Result<EnvironmentBuilder, Refusal> {
    ort::init_from(path).map_err(|error| match error {
        LoadDynamicError::Dlopen { error, .. } => Refusal::NotLoaded {
            source: Box::new(error),
        },
        LoadDynamicError::BadVersion { version_str, .. } => Refusal::TooOld { version: version_str },
        LoadDynamicError::MissingApi { .. } | LoadDynamicError::InvalidVersionString => Refusal::NotOnnxRuntime,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes a file that is named as the library of `version` is on this system, and is none.
    fn library(folder: &Path, version: &str) -> PathBuf {
        let name = provider::Platform::current().library("onnxruntime");
        let path = folder.join(format!("{name}{version}"));
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, "not a library".repeat(100)).unwrap();
        std::fs::canonicalize(path).unwrap()
    }

    #[test]
    fn every_place_that_gives_no_library_is_named_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let broken = library(root.path(), "");
        let sources = Sources {
            packs: Some(root.path().join("providers")),
            executable: Some(root.path().to_owned()),
            ..Sources::default()
        };
        let Err(error) = load(&sources) else {
            panic!("a text file is no library");
        };
        let [pack, beside] = &error.looked[..] else {
            panic!("two places: {error:?}");
        };
        assert!(pack.origin == Origin::Pack && pack.refusal.is_absence(), "{pack}");
        assert!(matches!(beside.refusal, Refusal::NotLoaded { .. }));
        assert_eq!(beside.path, broken);
        let text = error.to_string();
        assert!(text.contains(broken.to_str().unwrap()), "{text}");
        assert!(
            text.contains("invalid ELF header") || cfg!(not(target_os = "linux")),
            "{text}"
        );
    }

    #[test]
    fn an_explicit_library_that_is_not_there_is_named_and_nothing_else_is_tried() {
        let root = tempfile::tempdir().unwrap();
        library(root.path(), "");
        let sources = Sources {
            explicit: Some(root.path().join("gone.so")),
            executable: Some(root.path().to_owned()),
            ..Sources::default()
        };
        let Err(error) = load(&sources) else {
            panic!("there is no such file");
        };
        assert_eq!(error.looked.len(), 1);
        assert!(error.to_string().contains("gone.so"));
    }
}
