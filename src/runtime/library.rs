use std::cmp::Reverse;
use std::error::Error as StdError;
use std::fmt;
use std::path::{Path, PathBuf};

use ort::LoadDynamicError;
use ort::environment::EnvironmentBuilder;

use super::ProviderKind;
use super::error::Chain;
use crate::fs;
use crate::provider::Origin;
use crate::provider::{LoadPlan, Platform};

/// The oldest ONNX Runtime that is accepted.
///
/// Source: the `api-24` feature of `ort`.
pub const OLDEST_VERSION: &str = "1.24";

/// Says where ONNX Runtime may lie; the order of the fields is the order of the search.
///
/// Plain data, so that the search can be tested; the caller fills it from the environment. Every path is absolute.
#[derive(Clone, Debug, Default)]
pub struct LibrarySources {
    /// The file that `ORT_DYLIB_PATH` names, or the folder that has it. Where it is set, nothing else is looked at.
    pub explicit: Option<PathBuf>,
    /// The folder of installed packs, `$GPUX_HOME/providers`.
    pub packs: Option<PathBuf>,
    /// The folder of the running executable.
    pub executable: Option<PathBuf>,
    /// The prefixes of active Python environments: `VIRTUAL_ENV`, `CONDA_PREFIX`.
    pub python: Vec<PathBuf>,
    /// The system's folders of libraries.
    pub system: Vec<PathBuf>,
}

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
    /// There is no ONNX Runtime there.
    #[error("has no ONNX Runtime library")]
    Missing,
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

/// Says that no place gave a library; `looked` has every place in order.
#[derive(Debug, thiserror::Error)]
#[error("{}", describe(looked))]
pub struct NotFound {
    /// Every place, in the order of the search.
    pub looked: Vec<Looked>,
}

/// Writes what kept a library that exists from being used; where none exists, says so in one clause.
fn describe(looked: &[Looked]) -> String {
    let refused: Vec<String> = looked
        .iter()
        .filter(|place| place.origin == Origin::Explicit || !matches!(place.refusal, Refusal::Missing))
        .map(Looked::to_string)
        .collect();
    if refused.is_empty() {
        "no ONNX Runtime library was found".to_owned()
    } else {
        format!("no usable ONNX Runtime library: {}", refused.join("; "))
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
    /// Gives the plugin for a provider that lies in the same folder.
    pub(super) fn beside(&self, provider: ProviderKind) -> Option<PathBuf> {
        plugin_beside(&self.path, provider)
    }

    /// Tells whether `path` leads to this library, or to the folder that has it.
    pub(super) fn is_at(&self, path: &Path) -> bool {
        fs::canonical(path).is_ok_and(|path| self.path == path || self.path.parent() == Some(&path))
    }
}

impl LibrarySources {
    /// Gives the folders in which systems of this kind keep libraries.
    pub fn system_folders() -> Vec<PathBuf> {
        let folders: &[&str] = if cfg!(target_os = "linux") {
            &[
                "/usr/local/lib",
                "/usr/local/lib64",
                "/usr/lib",
                "/usr/lib64",
                "/usr/lib/x86_64-linux-gnu",
                "/usr/lib/aarch64-linux-gnu",
            ]
        } else if cfg!(target_os = "macos") {
            &["/opt/homebrew/lib", "/usr/local/lib"]
        } else {
            &[]
        };
        folders.iter().map(PathBuf::from).collect()
    }

    /// Loads the first library that works.
    ///
    /// The process keeps it until it ends: a later load, of whichever file, gives the first again.
    /// Errors: [`NotFound`] with every place that was looked at.
    pub(super) fn load(&self) -> Result<(Library, EnvironmentBuilder), NotFound> {
        let mut looked = Vec::new();
        for place in self.places() {
            let origin = place.origin;
            if place.libraries.is_empty() {
                looked.push(Looked {
                    origin,
                    path: place.path,
                    refusal: Refusal::Missing,
                });
            }
            for path in place.libraries {
                match open(&path) {
                    Ok(builder) => {
                        let library = Library { origin, path, looked };
                        return Ok((library, builder));
                    }
                    Err(refusal) => looked.push(Looked { origin, path, refusal }),
                }
            }
        }
        Err(NotFound { looked })
    }

    /// Lists the providers whose libraries lie beside the first ONNX Runtime that is there, without loading anything.
    pub fn plans(&self) -> Vec<LoadPlan> {
        let places = self.places().into_iter();
        let Some((origin, core)) = places
            .flat_map(|place| place.libraries.into_iter().map(move |path| (place.origin, path)))
            .next()
        else {
            return Vec::new();
        };
        let beside = |stem: &str| {
            let path = core.with_file_name(Platform::current().library(stem));
            fs::is_file(&path).then_some(path)
        };
        let plan = |kind: ProviderKind| {
            let plugin = plugin_beside(&core, kind);
            let library = match kind {
                ProviderKind::Cuda => beside("onnxruntime_providers_cuda"),
                ProviderKind::TensorRt => beside("onnxruntime_providers_tensorrt"),
                ProviderKind::OpenVino => beside("onnxruntime_providers_openvino"),
                ProviderKind::MiGraphX => beside("onnxruntime_providers_migraphx"),
                _ => None,
            };
            let is_there = kind == ProviderKind::Cpu || plugin.is_some() || library.is_some();
            is_there.then(|| LoadPlan {
                kind,
                ep_name: kind.ep_name().unwrap_or_default().to_owned(),
                pack: core
                    .parent()
                    .map_or_else(String::new, |folder| folder.display().to_string()),
                origin,
                dependencies: Vec::new(),
                key: [Some(&core), plugin.as_ref(), library.as_ref()]
                    .into_iter()
                    .flatten()
                    .map(|path| fingerprint(path))
                    .collect::<Vec<_>>()
                    .join(" "),
                core: core.clone(),
                plugin,
                library,
            })
        };
        ProviderKind::ALL.into_iter().filter_map(plan).collect()
    }

    /// Lists the places in the order of the search, each with the libraries it has, newest first.
    fn places(&self) -> Vec<Place> {
        if let Some(path) = &self.explicit {
            let mut libraries = libraries_in(path);
            if libraries.is_empty() && fs::is_file(path) {
                libraries.push(path.clone());
            }
            return vec![Place::new(Origin::Explicit, path, libraries)];
        }
        let mut places = Vec::new();
        if let Some(packs) = &self.packs {
            let folders = fs::list(packs).unwrap_or_default();
            let libraries = folders.iter().flat_map(|folder| libraries_in(folder)).collect();
            places.push(Place::new(Origin::Pack, packs, libraries));
        }
        if let Some(folder) = &self.executable {
            places.push(Place::new(Origin::Executable, folder, libraries_in(folder)));
        }
        for prefix in &self.python {
            let libraries = ["lib", "Lib"]
                .iter()
                .flat_map(|name| libraries_of_python(&prefix.join(name)))
                .collect();
            places.push(Place::new(Origin::Python, prefix, libraries));
        }
        for folder in &self.system {
            let mut libraries = libraries_in(folder);
            libraries.extend(libraries_of_python(folder));
            places.push(Place::new(Origin::System, folder, libraries));
        }
        places
    }
}

/// Tells a file from any other that may come to its place.
fn fingerprint(path: &Path) -> String {
    let stat = fs::stat(path).ok().flatten();
    let (size, modified) = stat.map_or((0, 0), |stat| (stat.size_bytes, stat.modified_ns));
    format!("{} {size} {modified}", path.display())
}

/// Gives the plugin for a provider that lies beside a library; `None` for providers that are no plugins.
fn plugin_beside(library: &Path, provider: ProviderKind) -> Option<PathBuf> {
    let stem = match provider {
        ProviderKind::WebGpu => "onnxruntime_providers_webgpu",
        ProviderKind::TensorRtRtx => "onnxruntime_providers_nv_tensorrt_rtx",
        _ => return None,
    };
    let path = library.with_file_name(Platform::current().library(stem));
    fs::is_file(&path).then_some(path)
}

/// Is one place of the search with the libraries it has.
struct Place {
    origin: Origin,
    path: PathBuf,
    libraries: Vec<PathBuf>,
}

impl Place {
    /// Makes the paths absolute, sorts them, newest first, and keeps one of those that lead to one file.
    fn new(origin: Origin, path: &Path, libraries: Vec<PathBuf>) -> Self {
        let mut files: Vec<PathBuf> = libraries
            .into_iter()
            .filter_map(|path| fs::canonical(&path).ok())
            .collect();
        files.sort_by_cached_key(|path| Reverse((version_in(path), path.clone())));
        files.dedup();
        Place {
            origin,
            path: path.to_owned(),
            libraries: files,
        }
    }
}

/// Lists the files in `folder` that are named as ONNX Runtime is.
fn libraries_in(folder: &Path) -> Vec<PathBuf> {
    let files = fs::list(folder).unwrap_or_default();
    files
        .into_iter()
        .filter(|path| version_in(path).is_some() && fs::is_file(path))
        .collect()
}

/// Lists the libraries of the `onnxruntime` packages of the Pythons whose modules lie in `folder`.
fn libraries_of_python(folder: &Path) -> Vec<PathBuf> {
    let versions = fs::list(folder).unwrap_or_default();
    let pythons = versions.into_iter().filter(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("python3"))
    });
    // On Windows the modules lie in `Lib` itself.
    pythons
        .chain([folder.to_owned()])
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages)))
        .flat_map(|packages| libraries_in(&packages.join("onnxruntime").join("capi")))
        .collect()
}

/// Reads the version in the name of a library; `None` where the name is not ONNX Runtime's.
///
/// `libonnxruntime.so.1.31.1` and `libonnxruntime.1.31.1.dylib` are `[1, 31, 1]`, `onnxruntime.dll` is `[]`.
fn version_in(path: &Path) -> Option<Vec<u64>> {
    let name = path.file_name()?.to_str()?;
    let stem = name
        .strip_prefix(std::env::consts::DLL_PREFIX)?
        .strip_prefix("onnxruntime")?;
    let suffix = std::env::consts::DLL_SUFFIX;
    let version = stem.strip_suffix(suffix).or_else(|| stem.strip_prefix(suffix))?;
    if version.is_empty() {
        return Some(Vec::new());
    }
    let numbers = version.strip_prefix('.')?.split('.');
    numbers.map(|number| number.parse().ok()).collect()
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

    /// Makes an empty file that is named as the library of `version` is on this system.
    fn library(folder: &Path, version: &str) -> PathBuf {
        let prefix = std::env::consts::DLL_PREFIX;
        let suffix = std::env::consts::DLL_SUFFIX;
        let path = folder.join(format!("{prefix}onnxruntime{suffix}{version}"));
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(&path, "not a library".repeat(100)).unwrap();
        std::fs::canonicalize(path).unwrap()
    }

    #[test]
    fn names_are_read_with_their_versions() {
        let suffix = std::env::consts::DLL_SUFFIX;
        let prefix = std::env::consts::DLL_PREFIX;
        let read = |name: String| version_in(Path::new(&name));
        assert_eq!(read(format!("{prefix}onnxruntime{suffix}")), Some(vec![]));
        assert_eq!(
            read(format!("{prefix}onnxruntime{suffix}.1.31.1")),
            Some(vec![1, 31, 1])
        );
        assert_eq!(
            read(format!("{prefix}onnxruntime.1.31.1{suffix}")),
            Some(vec![1, 31, 1])
        );
        assert_eq!(read(format!("{prefix}onnxruntime_providers_shared{suffix}")), None);
        assert_eq!(read(format!("{prefix}onnxruntime{suffix}.old")), None);
    }

    #[test]
    fn places_are_searched_in_the_documented_order_and_newest_first() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let beside = library(&at("bin"), "");
        let pack_old = library(&at("providers/cpu-1.9.0"), ".1.9.0");
        let pack_new = library(&at("providers/cpu-1.31.1"), ".1.31.1");
        let python = library(&at("venv/lib/python3.11/site-packages/onnxruntime/capi"), ".1.30.0");
        let system = library(&at("usr/lib"), ".1.24.0");
        let mut sources = LibrarySources {
            explicit: None,
            packs: Some(at("providers")),
            executable: Some(at("bin")),
            python: vec![at("venv")],
            system: vec![at("usr/lib"), at("usr/lib64")],
        };
        let flat = |sources: &LibrarySources| -> Vec<_> {
            let places = sources.places().into_iter();
            places
                .flat_map(|place| place.libraries.into_iter().map(move |path| (place.origin, path)))
                .collect()
        };
        assert_eq!(
            flat(&sources),
            [
                (Origin::Pack, pack_new),
                (Origin::Pack, pack_old),
                (Origin::Executable, beside),
                (Origin::Python, python.clone()),
                (Origin::System, system),
            ]
        );
        sources.explicit = Some(python.parent().unwrap().to_owned());
        assert_eq!(
            flat(&sources),
            [(Origin::Explicit, python)],
            "a folder stands for the library in it"
        );
    }

    #[test]
    fn every_place_that_gives_no_library_is_named_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let broken = library(root.path(), ".1.31.1");
        let sources = LibrarySources {
            packs: Some(root.path().join("providers")),
            executable: Some(root.path().to_owned()),
            ..LibrarySources::default()
        };
        let Err(error) = sources.load() else {
            panic!("a text file is no library");
        };
        let [pack, beside] = &error.looked[..] else {
            panic!("two places: {error:?}");
        };
        assert!(matches!((pack.origin, &pack.refusal), (Origin::Pack, Refusal::Missing)));
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
        library(root.path(), ".1.31.1");
        let sources = LibrarySources {
            explicit: Some(root.path().join("gone.so")),
            executable: Some(root.path().to_owned()),
            ..LibrarySources::default()
        };
        let Err(error) = sources.load() else {
            panic!("there is no such file");
        };
        assert_eq!(error.looked.len(), 1);
        assert!(error.to_string().contains("gone.so"));
    }
}
