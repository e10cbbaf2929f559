use std::path::{Path, PathBuf};

use super::{Os, Platform};
use crate::fs;

/// Says where shared libraries may lie besides packs: what is given here is looked at before the system's own folders.
#[derive(Clone, Debug, Default)]
pub struct Surroundings {
    /// The root of the file system: `/`, but in tests.
    pub root: PathBuf,
    /// `LD_LIBRARY_PATH`, or `PATH` on Windows.
    pub library_path: Vec<PathBuf>,
    /// `CUDA_HOME` or `CUDA_PATH`.
    pub cuda_home: Option<PathBuf>,
    /// `ROCM_PATH`.
    pub rocm_path: Option<PathBuf>,
    /// The prefixes of active Python environments.
    pub python: Vec<PathBuf>,
}

/// Lists the folders in which the libraries that a provider needs are looked for, in order; only those that exist.
pub fn library_folders(surroundings: &Surroundings, platform: Platform) -> Vec<PathBuf> {
    let at = |path: &str| surroundings.root.join(path.trim_start_matches('/'));
    let mut folders = surroundings.library_path.clone();
    if let Some(cuda) = &surroundings.cuda_home {
        folders.extend(["lib64", "lib", "bin", "bin/x64"].map(|name| cuda.join(name)));
    }
    if let Some(rocm) = &surroundings.rocm_path {
        folders.extend(["lib", "lib/migraphx/lib"].map(|name| rocm.join(name)));
    }
    for prefix in &surroundings.python {
        folders.extend(of_python(prefix));
    }
    if platform.os == Os::Linux {
        folders.extend(
            versions_of(&at("usr/local"), "cuda")
                .into_iter()
                .map(|cuda| cuda.join("lib64")),
        );
        for rocm in versions_of(&at("opt"), "rocm") {
            folders.extend(["lib", "lib/migraphx/lib"].map(|name| rocm.join(name)));
        }
        folders.extend(configured(&surroundings.root));
        let triplet = match platform.arch {
            super::Arch::Aarch64 => "aarch64-linux-gnu",
            _ => "x86_64-linux-gnu",
        };
        folders.extend(
            [
                "usr/local/lib",
                "usr/lib/wsl/lib",
                "usr/lib64",
                "usr/lib",
                "lib64",
                "lib",
            ]
            .iter()
            .flat_map(|name| [at(name).join(triplet), at(name)]),
        );
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for folder in folders {
        let exists = folder.is_absolute() && fs::stat(&folder).is_ok_and(|it| it.is_some_and(|it| it.is_folder));
        if exists && !found.contains(&folder) {
            found.push(folder);
        }
    }
    found
}

/// Lists the folders of NVIDIA's packages in a Python environment: `site-packages/nvidia/NAME/lib`.
fn of_python(prefix: &Path) -> Vec<PathBuf> {
    let library = prefix.join("lib");
    let pythons = fs::names(&library).unwrap_or_default();
    let pythons = pythons.iter().filter(|name| name.starts_with("python3"));
    let packages = pythons
        .map(|name| library.join(name).join("site-packages"))
        .chain([prefix.join("Lib").join("site-packages")]);
    packages
        .flat_map(|packages| {
            let nvidia = packages.join("nvidia");
            let names = fs::names(&nvidia).unwrap_or_default();
            let parts = names
                .into_iter()
                .flat_map(move |name| ["lib", "bin"].map(|part| nvidia.join(&name).join(part)));
            parts.chain([packages.join("tensorrt_libs")]).collect::<Vec<_>>()
        })
        .collect()
}

/// Lists the folders in `parent` of a name, with and without a version, newest first: `cuda`, `cuda-13.1`, `cuda-12.8`.
fn versions_of(parent: &Path, name: &str) -> Vec<PathBuf> {
    let names = fs::names(parent).unwrap_or_default();
    let mut found: Vec<(Vec<u64>, PathBuf)> = names
        .iter()
        .filter_map(|entry| {
            let rest = entry.strip_prefix(name)?;
            let numbers = match rest.strip_prefix('-') {
                Some(version) => version
                    .split('.')
                    .map(|part| part.parse().ok())
                    .collect::<Option<_>>()?,
                None if rest.is_empty() => vec![u64::MAX],
                None => return None,
            };
            Some((numbers, parent.join(entry)))
        })
        .collect();
    found.sort();
    found.into_iter().rev().map(|(_, path)| path).collect()
}

/// Lists the folders that the system's loader is set up to search.
///
/// Source: `ld.so.conf`, whose lines are folders, `include` with a pattern, or comments.
fn configured(root: &Path) -> Vec<PathBuf> {
    let folder = root.join("etc/ld.so.conf.d");
    let files = fs::names(&folder).unwrap_or_default();
    let files = files
        .iter()
        .filter(|name| name.ends_with(".conf"))
        .map(|name| folder.join(name));
    let mut folders = Vec::new();
    for file in files.chain([root.join("etc/ld.so.conf")]) {
        let text = fs::read_at_most(&file, 1 << 16).unwrap_or_default();
        for line in String::from_utf8_lossy(&text).lines() {
            let line = line.split('#').next().unwrap_or_default().trim();
            if let Some(path) = line.strip_prefix('/') {
                folders.push(root.join(path));
            }
        }
    }
    folders
}

/// Finds a library of this very name in the first folder that has it.
pub fn find_library(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    folders
        .iter()
        .map(|folder| folder.join(name))
        .find(|path| fs::is_file(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_searched_from_what_the_user_says_to_what_the_system_has() {
        let root = tempfile::tempdir().unwrap();
        let make = |path: &str| {
            let path = root.path().join(path);
            std::fs::create_dir_all(&path).unwrap();
            path
        };
        let given = make("given");
        let home = make("opt/cuda/lib64");
        let python = make("venv/lib/python3.12/site-packages/nvidia/cu13/lib");
        let newest = make("usr/local/cuda-13.1/lib64");
        let older = make("usr/local/cuda-12.8/lib64");
        let configured = make("opt/nvidia/lib");
        let system = make("usr/lib/x86_64-linux-gnu");
        make("etc/ld.so.conf.d");
        let config = "# NVIDIA\n/opt/nvidia/lib # here\n/opt/gone\ninclude x\n";
        std::fs::write(root.path().join("etc/ld.so.conf.d/nvidia.conf"), config).unwrap();
        let surroundings = Surroundings {
            root: root.path().to_owned(),
            library_path: vec![given.clone(), "relative".into(), root.path().join("gone")],
            cuda_home: Some(root.path().join("opt/cuda")),
            rocm_path: None,
            python: vec![root.path().join("venv")],
        };
        let folders = library_folders(&surroundings, "linux-x86_64".parse().unwrap());
        let places: Vec<_> = [given, home, python, newest.clone(), older, configured, system]
            .iter()
            .map(|expected| folders.iter().position(|folder| folder == expected))
            .collect();
        assert!(places.iter().all(Option::is_some), "{places:?} {folders:?}");
        assert!(places.is_sorted(), "{places:?} {folders:?}");
        std::fs::write(newest.join("libcudart.so.13"), "").unwrap();
        assert_eq!(
            find_library("libcudart.so.13", &folders),
            Some(newest.join("libcudart.so.13"))
        );
        assert_eq!(find_library("libcudart.so", &folders), None);
    }
}
