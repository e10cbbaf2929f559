//! Folders read as packs: those that are, and those that only have libraries.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Installed, Looked, Refusal};
use crate::fs;
use crate::oci::Digest;
use crate::provider::catalogue::{core_version, is_older};
use crate::provider::pack::{LibraryFile, OnnxRuntime, PACK_FILE, Pack, PackError, PackVersion, Provided, Role};
use crate::provider::{CATALOGUE, Origin, Platform, ProviderKind, Row};

/// Lists the packs in `folder`, newest first within a name, and what there is no pack.
pub fn installed(folder: &Path) -> (Vec<Installed>, Vec<Looked>) {
    let mut packs = Vec::new();
    let mut refused = Vec::new();
    // Names that start with a dot are unfinished packs and locks.
    let names = fs::names(folder)
        .unwrap_or_default()
        .into_iter()
        .filter(|name| !name.starts_with('.'));
    for name in names {
        let path = folder.join(&name);
        if fs::is_file(&path) {
            continue;
        }
        match read(&path, &name) {
            Ok(pack) => packs.push(pack),
            Err(error) => refused.push(Looked {
                origin: Origin::Pack,
                path,
                refusal: Refusal::NoPack(error),
            }),
        }
    }
    let order = |name: &str| CATALOGUE.iter().position(|row| row.name == name).unwrap_or(usize::MAX);
    packs.sort_by_cached_key(|it: &Installed| {
        let name = it.pack.name.as_str();
        (order(name), name.to_owned(), Reverse(it.pack.version.numbers()))
    });
    (packs, refused)
}

/// Reads one pack, whose folder must be named as it says.
fn read(folder: &Path, name: &str) -> Result<Installed, PackError> {
    let bytes = fs::read_at_most(&folder.join(PACK_FILE), 1 << 20)?;
    let pack = Pack::parse(&bytes, &folder.join(PACK_FILE))?;
    if pack.id() != name {
        return Err(PackError::Misplaced {
            path: folder.join(PACK_FILE),
            expected: pack.id(),
        });
    }
    Ok(Installed {
        origin: Origin::Pack,
        folder: folder.to_owned(),
        digest: Some(Digest::of(&bytes)),
        pack,
    })
}

/// What stands for a version that is not told by the name of the file.
pub const UNKNOWN_VERSION: &str = "0";

/// Reads a core library and what lies beside it as if it were a pack, and the plugins there as packs of their own.
pub(super) fn implied(origin: Origin, core: &Path) -> Vec<Installed> {
    let Some(place) = implied_core(origin, core) else {
        return Vec::new();
    };
    let oldest = |row: &Row| row.oldest_core.unwrap_or(UNKNOWN_VERSION).parse().ok();
    let rows = CATALOGUE.iter().filter(|row| row.role == Some(Role::Plugin));
    let plugins = rows.filter_map(|row| {
        let files = place.pack.libraries.clone();
        let pack = row.pack(Platform::current(), oldest(row)?, files).ok()?;
        Some(Installed { pack, ..place.clone() })
    });
    let plugins: Vec<Installed> = plugins.collect();
    std::iter::once(place).chain(plugins).collect()
}

fn implied_core(origin: Origin, core: &Path) -> Option<Installed> {
    let platform = Platform::current();
    let folder = core.parent()?;
    let file_name = core.file_name()?.to_str()?;
    let in_name = core_version(file_name, platform).flatten();
    let version = in_name.unwrap_or_else(|| UNKNOWN_VERSION.parse().expect("a version"));
    let names = fs::names(folder).unwrap_or_default();
    let digest = Digest::of(b"");
    // What files are is not asked: nothing is known that they should be.
    let file = |name: &String| LibraryFile {
        path: name.clone(),
        digest,
        size_bytes: 0,
    };
    let mut files: Vec<LibraryFile> = vec![file(&file_name.to_owned())];
    let is_other = |name: &&String| platform.is_library(name) && core_version(name, platform).is_none();
    files.extend(names.iter().filter(is_other).map(file));
    let mut providers: BTreeMap<ProviderKind, Provided> = BTreeMap::new();
    for row in CATALOGUE.iter().filter(|row| row.role == Some(Role::Core)) {
        // A build for CUDA 12 ends at 1.26, one for CUDA 13 starts after it.
        let for_twelve = version.as_str() != UNKNOWN_VERSION && is_older(version.as_str(), "1.27");
        if row.name == "cuda" && for_twelve || row.name == "cuda12" && !for_twelve {
            continue;
        }
        if let Ok(pack) = row.pack(platform, version.clone(), files.clone()) {
            for provided in pack.providers {
                providers.entry(provided.name).or_insert(provided);
            }
        }
    }
    Some(Installed {
        origin,
        folder: folder.to_owned(),
        pack: Pack {
            format: Pack::FORMAT,
            name: "onnxruntime".parse().expect("a name"),
            version: version.clone(),
            platform,
            onnxruntime: Some(OnnxRuntime {
                role: Role::Core,
                library: file_name.to_owned(),
                version,
            }),
            providers: providers.into_values().collect(),
            needs: Default::default(),
            libraries: files,
            source: None,
        },
        digest: None,
    })
}

/// Reads each core of one place, newest first, with what lies beside it.
pub(super) fn beside_cores(
    origin: Origin,
    path: &Path,
    cores: Vec<PathBuf>,
    looked: &mut Vec<Looked>,
) -> Vec<Installed> {
    let found: Vec<Installed> = newest_first(cores)
        .iter()
        .flat_map(|core| implied(origin, core))
        .collect();
    if found.is_empty() {
        looked.push(Looked {
            origin,
            path: path.to_owned(),
            refusal: Refusal::Missing,
        });
    }
    found
}

/// Makes paths absolute, sorts them, newest first, and keeps one of those that lead to one file.
fn newest_first(cores: Vec<PathBuf>) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = cores.into_iter().filter_map(|path| fs::canonical(&path).ok()).collect();
    files.sort_by_cached_key(|path| Reverse((version_in(path).map(|it| it.numbers()), path.clone())));
    files.dedup();
    files
}

fn version_in(path: &Path) -> Option<PackVersion> {
    core_version(path.file_name()?.to_str()?, Platform::current()).flatten()
}

/// Lists the files in `folder` that are named as ONNX Runtime is.
pub fn cores_in(folder: &Path) -> Vec<PathBuf> {
    let names = fs::names(folder).unwrap_or_default();
    let cores = names
        .iter()
        .filter(|name| core_version(name, Platform::current()).is_some());
    cores
        .map(|name| folder.join(name))
        .filter(|path| fs::is_file(path))
        .collect()
}

/// Lists the libraries of the `onnxruntime` packages of the Pythons whose modules lie in `folder`.
pub fn cores_of_python(folder: &Path) -> Vec<PathBuf> {
    let names = fs::names(folder).unwrap_or_default();
    let pythons = names
        .iter()
        .filter(|name| name.starts_with("python3"))
        .map(|name| folder.join(name));
    // On Windows the modules lie in `Lib` itself.
    pythons
        .chain([folder.to_owned()])
        .flat_map(|python| ["site-packages", "dist-packages"].map(|packages| python.join(packages)))
        .flat_map(|packages| cores_in(&packages.join("onnxruntime").join("capi")))
        .collect()
}
