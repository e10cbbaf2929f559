use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use super::catalogue::{core_version, is_older};
use super::libraries::{Surroundings, find_library, library_folders};
use super::pack::{LibraryFile, OnnxRuntime, PACK_FILE, Pack, PackError, PackVersion, Provided, Role};
use super::{CATALOGUE, LoadPlan, Origin, Platform, ProviderKind, Row};
use crate::fs;
use crate::oci::{Algorithm, Digest, Hasher};

/// Says where ONNX Runtime may lie; the order of the fields is the order of the search.
///
/// Plain data, so that the search can be tested; the caller fills it from the environment. Every path is absolute.
#[derive(Clone, Debug, Default)]
pub struct Sources {
    /// The file that `ORT_DYLIB_PATH` names, or the folder that has it. Where it is set, no other core is looked at.
    pub explicit: Option<PathBuf>,
    /// The folder of installed packs, `$GPUX_HOME/providers`.
    pub packs: Option<PathBuf>,
    /// The folder of the running executable.
    pub executable: Option<PathBuf>,
    /// The prefixes of active Python environments: `VIRTUAL_ENV`, `CONDA_PREFIX`.
    pub python: Vec<PathBuf>,
    /// The system's folders of libraries.
    pub system: Vec<PathBuf>,
    /// Where the libraries that providers need are looked for, after packs.
    pub surroundings: Surroundings,
    /// The version of the NVIDIA driver; packs that need a newer one are passed over.
    pub nvidia_driver: Option<String>,
}

/// Is what a search found.
#[derive(Debug, Default)]
pub struct Found {
    /// What may be loaded, best first.
    pub plans: Vec<LoadPlan>,
    /// Every place that gives nothing, in the order of the search, and why.
    pub looked: Vec<Looked>,
}

/// Is one place that was looked at, and why it gives nothing.
#[derive(Debug)]
pub struct Looked {
    pub origin: Origin,
    pub path: PathBuf,
    pub refusal: Refusal,
}

impl fmt::Display for Looked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (origin, path) = (self.origin, self.path.display());
        write!(f, "{origin}: `{path}`: {}", self.refusal)
    }
}

/// Says why a place gives nothing.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// There is no ONNX Runtime there.
    #[error("has no ONNX Runtime library")]
    Missing,
    /// There is one, and it lacks the provider.
    #[error("has no {0} provider")]
    Lacks(ProviderKind),
    /// The folder is no pack.
    #[error(transparent)]
    NoPack(#[from] PackError),
    /// The pack is for another system.
    #[error("is for {found}, and this is {}", Platform::current())]
    OtherPlatform { found: Platform },
    /// A file of the pack is not there, or has another size.
    #[error("lacks its file `{0}`, or it has another size; `gpux provider verify` tells more")]
    Incomplete(String),
    /// The driver is too old.
    #[error("needs an NVIDIA driver of at least {needed}, and this one is {found}")]
    OldDriver { needed: PackVersion, found: String },
    /// A library that the provider needs is nowhere.
    #[error("needs `{library}`, which is in none of {}", listed(looked))]
    NoDependency { library: String, looked: Vec<PathBuf> },
    /// There is no core for the plugin.
    #[error("is a plugin for ONNX Runtime {needed} or newer, and no such ONNX Runtime was found")]
    NoCore { needed: PackVersion },
}

fn listed(folders: &[PathBuf]) -> String {
    let names: Vec<String> = folders.iter().map(|folder| format!("`{}`", folder.display())).collect();
    if names.is_empty() {
        "the folders of libraries".to_owned()
    } else {
        names.join(", ")
    }
}

/// Is a folder with ONNX Runtime, a plugin for it, or libraries that others need.
#[derive(Clone, Debug)]
pub struct Installed {
    pub origin: Origin,
    pub folder: PathBuf,
    pub pack: Pack,
    /// The digest of `pack.json`; none for a folder that is no pack and only looks like one.
    pub digest: Option<Digest>,
}

impl Installed {
    /// Gives the name by which the folder is told: NAME-VERSION, or its path.
    pub fn label(&self) -> String {
        match self.digest {
            Some(_) => self.pack.id(),
            None => self.folder.display().to_string(),
        }
    }
}

impl Sources {
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

    /// Finds what may be loaded to have a provider, without loading anything.
    pub fn find(&self, kind: ProviderKind) -> Found {
        let mut survey = self.survey();
        let mut found = survey.find(kind);
        if kind.ep_name().is_some() {
            found.looked.splice(0..0, std::mem::take(&mut survey.looked));
        }
        found
    }

    /// Looks at every place once, for questions about several providers.
    pub fn survey(&self) -> Survey<'_> {
        let mut looked = Vec::new();
        let places = self.places(&mut looked);
        Survey {
            sources: self,
            places,
            looked,
            libraries: OnceCell::new(),
        }
    }

    /// Lists every place with libraries in the order of the search; what gives nothing goes to `looked`.
    fn places(&self, looked: &mut Vec<Looked>) -> Vec<Installed> {
        let mut places = Vec::new();
        if let Some(path) = &self.explicit {
            let mut cores = cores_in(path);
            if cores.is_empty() && fs::is_file(path) {
                cores.push(path.clone());
            }
            places.extend(beside_cores(Origin::Explicit, path, cores, looked));
        }
        if let Some(packs) = &self.packs {
            let (installed, refused) = installed(packs);
            if installed.is_empty() && refused.is_empty() && self.explicit.is_none() {
                looked.push(Looked {
                    origin: Origin::Pack,
                    path: packs.clone(),
                    refusal: Refusal::Missing,
                });
            }
            looked.extend(refused);
            // An explicit core is the only one; plugins for it, and what it needs, may still come from packs.
            let fits = |it: &Installed| self.explicit.is_none() || it.pack.core().is_none();
            places.extend(installed.into_iter().filter(fits));
        }
        if self.explicit.is_some() {
            return places;
        }
        if let Some(folder) = &self.executable {
            places.extend(beside_cores(Origin::Executable, folder, cores_in(folder), looked));
        }
        for prefix in &self.python {
            let folders = ["lib", "Lib"].map(|name| prefix.join(name));
            let cores = folders.iter().flat_map(|folder| cores_of_python(folder)).collect();
            places.extend(beside_cores(Origin::Python, prefix, cores, looked));
        }
        for folder in &self.system {
            let cores = cores_in(folder).into_iter().chain(cores_of_python(folder)).collect();
            places.extend(beside_cores(Origin::System, folder, cores, looked));
        }
        places
    }
}

/// Is every place with libraries, as they were when it was made.
#[derive(Debug)]
pub struct Survey<'a> {
    sources: &'a Sources,
    places: Vec<Installed>,
    /// The places that give nothing to anybody.
    looked: Vec<Looked>,
    /// The folders of the system's libraries, listed when the first is wanted.
    libraries: OnceCell<Vec<PathBuf>>,
}

impl Survey<'_> {
    /// Finds what may be loaded to have a provider; tells of the places that might have it and have not.
    pub fn find(&self, kind: ProviderKind) -> Found {
        let mut found = Found::default();
        let Some(ep_name) = kind.ep_name() else { return found };
        let cores: Vec<&Installed> = self.places.iter().filter(|place| place.pack.core().is_some()).collect();
        let mut candidates: Vec<&Installed> = self.places.iter().filter(|it| it.pack.onnxruntime.is_some()).collect();
        // Within packs, those made for the provider come before those that have it as well. The sort keeps the order.
        candidates.sort_by_key(|it| {
            (
                rank(it.origin),
                it.pack.providers.first().map(|it| it.name) != Some(kind),
            )
        });
        for place in candidates {
            let Some(provided) = place.pack.provided(kind) else {
                // A plugin is for its own provider, and says nothing about another.
                if place.pack.core().is_some() {
                    found.look(place, Refusal::Lacks(kind));
                }
                continue;
            };
            match self.plan(place, provided, &cores) {
                Ok(mut plan) => {
                    ep_name.clone_into(&mut plan.ep_name);
                    found.plans.push(plan);
                }
                Err(refusal) => found.look(place, refusal),
            }
        }
        found
    }

    /// Lists the folders in which the system has libraries.
    pub fn libraries(&self) -> &[PathBuf] {
        self.libraries
            .get_or_init(|| library_folders(&self.sources.surroundings, Platform::current()))
    }

    /// Says what is loaded for a provider out of one place.
    fn plan(&self, place: &Installed, provided: &Provided, cores: &[&Installed]) -> Result<LoadPlan, Refusal> {
        if place.pack.platform != Platform::current() {
            return Err(Refusal::OtherPlatform {
                found: place.pack.platform,
            });
        }
        if let (Some(needed), Some(found)) = (&place.pack.needs.nvidia_driver, &self.sources.nvidia_driver)
            && is_older(found, needed.as_str())
        {
            return Err(Refusal::OldDriver {
                needed: needed.clone(),
                found: found.clone(),
            });
        }
        if place.digest.is_some() {
            is_whole(place)?;
        }
        let Some(own) = &place.pack.onnxruntime else {
            return Err(Refusal::Missing);
        };
        let (core, plugin) = match own.role {
            Role::Core => (place, None),
            Role::Plugin => {
                let core = cores
                    .iter()
                    .find(|core| suits(core, own))
                    .ok_or_else(|| Refusal::NoCore {
                        needed: own.version.clone(),
                    })?;
                is_whole(core)?;
                (*core, Some(place.folder.join(&own.library)))
            }
        };
        let core_library = core.pack.core().map(|it| core.folder.join(&it.library));
        let mut missing = Vec::new();
        let mut dependencies = Vec::new();
        for needed in &provided.loads {
            let folders = self.folders_for(place, needed.pack.as_ref().map(|it| it.as_str()));
            match find_library(&needed.library, &folders) {
                Some(path) => dependencies.push(path),
                None if needed.lazy => missing.push(needed.library.clone()),
                None => {
                    return Err(Refusal::NoDependency {
                        library: needed.library.clone(),
                        looked: folders,
                    });
                }
            }
        }
        let library = provided.library.as_ref().map(|name| place.folder.join(name));
        let mut plan = LoadPlan {
            kind: provided.name,
            ep_name: provided.ep.clone(),
            pack: place.label(),
            version: core.pack.version.to_string(),
            origin: place.origin,
            dependencies,
            missing,
            core: core_library.ok_or(Refusal::Missing)?,
            library: library.filter(|_| plugin.is_none()),
            plugin,
            key: String::new(),
        };
        plan.key = key(&plan, [place, core]);
        Ok(plan)
    }

    /// Lists where a needed library is looked for: in the pack itself, in the pack that brings it, on the system.
    fn folders_for(&self, place: &Installed, pack: Option<&str>) -> Vec<PathBuf> {
        let mut folders = vec![place.folder.clone()];
        let brought = self
            .places
            .iter()
            .filter(|it| Some(it.pack.name.as_str()) == pack && it.digest.is_some());
        folders.extend(brought.map(|it| it.folder.clone()));
        folders.extend(self.libraries().iter().cloned());
        folders
    }
}

impl Found {
    fn look(&mut self, place: &Installed, refusal: Refusal) {
        self.looked.push(Looked {
            origin: place.origin,
            path: place.folder.clone(),
            refusal,
        });
    }
}

/// Orders places as the search does.
fn rank(origin: Origin) -> u8 {
    match origin {
        Origin::Explicit => 0,
        Origin::Pack => 1,
        Origin::Executable => 2,
        Origin::Python => 3,
        Origin::System => 4,
    }
}

/// Tells whether a core is new enough for a plugin. One whose version is not known may be.
fn suits(core: &Installed, plugin: &OnnxRuntime) -> bool {
    let known = core.pack.core().filter(|it| it.version.as_str() != UNKNOWN_VERSION);
    known.is_none_or(|it| !is_older(it.version.as_str(), plugin.version.as_str()))
}

/// Checks that every file of a pack is there with its size: cheap, and enough to tell a half-copied pack.
fn is_whole(place: &Installed) -> Result<(), Refusal> {
    if place.digest.is_none() {
        return Ok(());
    }
    for file in &place.pack.libraries {
        let stat = fs::stat(&place.folder.join(&file.path)).ok().flatten();
        if stat.is_none_or(|stat| !stat.is_file || stat.size_bytes != file.size_bytes) {
            return Err(Refusal::Incomplete(file.path.clone()));
        }
    }
    Ok(())
}

/// Tells these libraries from any others: by the packs' digests, and by size and time of every file that is loaded.
fn key(plan: &LoadPlan, packs: [&Installed; 2]) -> String {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hasher.update(format!("{} {}\n", plan.kind, plan.ep_name).as_bytes());
    for pack in packs {
        hasher.update(format!("{:?}\n", pack.digest).as_bytes());
    }
    let own = plan.library.iter().chain(&plan.plugin).chain([&plan.core]);
    for path in own.chain(&plan.dependencies) {
        let stat = fs::stat(path).ok().flatten();
        let (size, time) = stat.map_or((0, 0), |stat| (stat.size_bytes, stat.modified_ns));
        hasher.update(format!("{} {size} {time}\n", path.display()).as_bytes());
    }
    hasher.finish().hex()
}

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
fn implied(origin: Origin, core: &Path) -> Vec<Installed> {
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
fn beside_cores(origin: Origin, path: &Path, cores: Vec<PathBuf>, looked: &mut Vec<Looked>) -> Vec<Installed> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::row;

    /// Makes an empty file that is named as the library of `version` is on this system.
    fn library(folder: &Path, version: &str) -> PathBuf {
        let name = format!("{}{version}", Platform::current().library("onnxruntime"));
        file(folder, &name)
    }

    fn file(folder: &Path, name: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        std::fs::write(folder.join(name), "x").unwrap();
        std::fs::canonicalize(folder.join(name)).unwrap()
    }

    /// Installs a pack of a row with these files, one byte each.
    fn install(packs: &Path, name: &str, version: &str, files: &[&str]) -> PathBuf {
        let listed = files.iter().map(|path| LibraryFile {
            path: (*path).to_owned(),
            digest: Digest::of(b"x"),
            size_bytes: 1,
        });
        let pack = row(name)
            .unwrap()
            .pack(Platform::current(), version.parse().unwrap(), listed.collect())
            .unwrap();
        let folder = packs.join(pack.id());
        for name in files {
            file(&folder, name);
        }
        std::fs::write(folder.join(PACK_FILE), pack.to_bytes()).unwrap();
        folder
    }

    #[test]
    fn places_are_searched_in_the_documented_order_and_newest_first() {
        let root = tempfile::tempdir().unwrap();
        let at = |path: &str| root.path().join(path);
        let beside = library(&at("bin"), "");
        let suffix = Platform::current().library("onnxruntime");
        let old = install(&at("providers"), "cpu", "1.9.0", &[&suffix]).join(&suffix);
        let new = install(&at("providers"), "cpu", "1.31.1", &[&suffix]).join(&suffix);
        let older = library(&at("venv/lib/python3.11/site-packages/onnxruntime/capi"), "");
        let system = library(&at("usr/lib"), "");
        let mut sources = Sources {
            packs: Some(at("providers")),
            executable: Some(at("bin")),
            python: vec![at("venv")],
            system: vec![at("usr/lib"), at("usr/lib64")],
            ..Sources::default()
        };
        let cores = |sources: &Sources| -> Vec<_> {
            let plans = sources.find(ProviderKind::Cpu).plans.into_iter();
            plans.map(|plan| (plan.origin, plan.core)).collect()
        };
        let expected = [
            (Origin::Pack, new),
            (Origin::Pack, old),
            (Origin::Executable, beside),
            (Origin::Python, older.clone()),
            (Origin::System, system),
        ];
        assert_eq!(cores(&sources), expected);
        sources.explicit = older.parent().map(Path::to_owned);
        assert_eq!(
            cores(&sources),
            [(Origin::Explicit, older)],
            "a folder stands for the library in it"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_system_folder_gives_its_newest_library_first() {
        let root = tempfile::tempdir().unwrap();
        library(root.path(), ".1.9.0");
        library(root.path(), ".1.31.1");
        let sources = Sources {
            system: vec![root.path().to_owned()],
            ..Sources::default()
        };
        let plans = sources.find(ProviderKind::Cpu).plans;
        let versions: Vec<&str> = plans.iter().map(|plan| plan.version.as_str()).collect();
        assert_eq!(versions, ["1.31.1", "1.9.0"]);
    }

    #[test]
    fn every_place_that_gives_nothing_is_named_with_its_reason() {
        let root = tempfile::tempdir().unwrap();
        let packs = root.path().join("providers");
        std::fs::create_dir_all(packs.join("cpu-1.0")).unwrap();
        std::fs::create_dir_all(packs.join(".cpu-2.0.1.tmp")).unwrap();
        let sources = Sources {
            packs: Some(packs.clone()),
            executable: Some(root.path().to_owned()),
            ..Sources::default()
        };
        let found = sources.find(ProviderKind::Cpu);
        assert!(found.plans.is_empty());
        let [pack, beside] = &found.looked[..] else {
            panic!("two places: {found:?}");
        };
        assert!(
            matches!((pack.origin, &pack.refusal), (Origin::Pack, Refusal::NoPack(_))),
            "{pack}"
        );
        assert_eq!(pack.path, packs.join("cpu-1.0"));
        assert!(matches!(beside.refusal, Refusal::Missing));
        let found = Sources::default().find(ProviderKind::Embedded);
        assert!(found.plans.is_empty() && found.looked.is_empty());
    }

    #[cfg(all(target_os = "linux", target_arch = "x86_64"))]
    mod linux {
        use super::*;

        const CORE: [&str; 2] = ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"];
        const CUDA: [&str; 4] = [
            "libcudart.so.13",
            "libcublasLt.so.13",
            "libcublas.so.13",
            "libcurand.so.10",
        ];

        /// Surroundings in which the user names a folder of libraries.
        fn given(folder: &Path) -> Surroundings {
            Surroundings {
                root: folder.join("root"),
                library_path: vec![folder.to_owned()],
                ..Surroundings::default()
            }
        }

        #[test]
        fn dependencies_are_found_in_packs_before_the_system_and_in_the_order_of_the_pack() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            let system = root.path().join("cuda/lib64");
            install(&packs, "cuda", "1.31.1", &CORE);
            let runtime = install(&packs, "nvidia-cuda-runtime", "13.0.96", &[CUDA[0]]);
            for name in CUDA {
                file(&system, name);
            }
            let cudnn = file(&system, "libcudnn.so.9");
            let sources = Sources {
                packs: Some(packs),
                surroundings: given(&system),
                ..Sources::default()
            };
            let plan = sources.find(ProviderKind::Cuda).plans.remove(0);
            let mut expected = vec![runtime.join(CUDA[0])];
            expected.extend(CUDA[1..].iter().map(|name| system.join(name)));
            expected.push(cudnn);
            assert_eq!(plan.dependencies, expected);
            assert_eq!(plan.missing, ["libnvrtc.so.13", "libcufft.so.12"], "both are lazy");
            assert_eq!(
                (plan.pack.as_str(), plan.ep_name.as_str()),
                ("cuda-1.31.1", "CUDAExecutionProvider")
            );
            assert_eq!(plan.library.unwrap().file_name().unwrap(), CORE[1]);
            assert_eq!(
                sources.find(ProviderKind::Cpu).plans.len(),
                1,
                "its core runs on the processor too"
            );
        }

        #[test]
        fn a_missing_dependency_is_named_with_every_folder_that_was_searched() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            let folder = install(&packs, "cuda", "1.31.1", &CORE);
            let system = root.path().join("lib");
            file(&system, CUDA[0]);
            let sources = Sources {
                packs: Some(packs),
                surroundings: given(&system),
                ..Sources::default()
            };
            let found = sources.find(ProviderKind::Cuda);
            let [looked] = &found.looked[..] else {
                panic!("{found:?}")
            };
            let Refusal::NoDependency { library, looked } = &looked.refusal else {
                panic!("{looked}");
            };
            assert_eq!((library.as_str(), looked), (CUDA[1], &vec![folder, system]));
        }

        #[test]
        fn an_old_driver_passes_over_the_pack_that_needs_a_newer_one() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            install(&packs, "cuda", "1.31.1", &CORE);
            let sources = Sources {
                packs: Some(packs),
                nvidia_driver: Some("575.57.08".to_owned()),
                ..Sources::default()
            };
            let found = sources.find(ProviderKind::Cuda);
            assert!(
                matches!(found.looked[0].refusal, Refusal::OldDriver { .. }),
                "{found:?}"
            );
        }

        #[test]
        fn a_plugin_takes_the_first_core_that_is_new_enough_for_it() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            let plugin = "libonnxruntime_providers_webgpu.so";
            let pack = install(&packs, "webgpu", "0.4.0", &[plugin]);
            let mut sources = Sources {
                packs: Some(packs.clone()),
                ..Sources::default()
            };
            let refused = sources.find(ProviderKind::WebGpu).looked.remove(0).refusal;
            assert!(matches!(refused, Refusal::NoCore { .. }), "{refused}");
            install(&packs, "cpu", "1.24.1", &["libonnxruntime.so.1.24.1"]);
            assert!(
                sources.find(ProviderKind::WebGpu).plans.is_empty(),
                "1.24.4 is the oldest"
            );
            let core = install(&packs, "cpu", "1.32.0", &["libonnxruntime.so.1.32.0"]);
            let plan = sources.find(ProviderKind::WebGpu).plans.remove(0);
            assert_eq!(plan.core, core.join("libonnxruntime.so.1.32.0"));
            assert_eq!((plan.plugin, plan.library), (Some(pack.join(plugin)), None));
            let explicit = library(&root.path().join("own"), ".1.30.0");
            sources.explicit = Some(explicit.clone());
            assert_eq!(sources.find(ProviderKind::WebGpu).plans.remove(0).core, explicit);
        }

        #[test]
        fn a_half_copied_pack_and_one_for_another_system_are_refused() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            let core = "libonnxruntime.so.1.32.0";
            let folder = install(&packs, "cpu", "1.32.0", &[core]);
            let sources = Sources {
                packs: Some(packs),
                ..Sources::default()
            };
            std::fs::write(folder.join(core), "longer").unwrap();
            let refused = sources.find(ProviderKind::Cpu).looked.remove(0).refusal;
            assert!(
                matches!(&refused, Refusal::Incomplete(file) if file == core),
                "{refused}"
            );
            let document = std::fs::read_to_string(folder.join(PACK_FILE)).unwrap();
            std::fs::write(
                folder.join(PACK_FILE),
                document.replace("linux-x86_64", "macos-aarch64"),
            )
            .unwrap();
            let refused = sources.find(ProviderKind::Cpu).looked.remove(0).refusal;
            assert!(matches!(refused, Refusal::OtherPlatform { .. }), "{refused}");
        }

        #[test]
        fn a_python_package_for_a_gpu_is_told_by_what_lies_beside_its_core() {
            let root = tempfile::tempdir().unwrap();
            let capi = root.path().join("lib/python3.12/site-packages/onnxruntime/capi");
            for (version, cudart) in [("1.31.1", "libcudart.so.13"), ("1.26.0", "libcudart.so.12")] {
                let core = file(&capi, &format!("libonnxruntime.so.{version}"));
                file(&capi, "libonnxruntime_providers_cuda.so");
                let place = implied(Origin::Python, &core).remove(0);
                let cuda = place.pack.provided(ProviderKind::Cuda).unwrap();
                assert_eq!(cuda.loads[0].library, cudart);
                assert!(place.pack.provided(ProviderKind::Cpu).is_some());
                assert!(place.pack.provided(ProviderKind::OpenVino).is_none());
            }
        }

        #[test]
        fn the_key_changes_with_any_library() {
            let root = tempfile::tempdir().unwrap();
            let packs = root.path().join("providers");
            let core = "libonnxruntime.so.1.32.0";
            let folder = install(&packs, "cpu", "1.32.0", &[core]);
            let sources = Sources {
                packs: Some(packs),
                ..Sources::default()
            };
            let key = || sources.find(ProviderKind::Cpu).plans.remove(0).key;
            let before = key();
            assert_eq!(key(), before);
            let file = std::fs::File::options().write(true).open(folder.join(core)).unwrap();
            file.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
            assert_ne!(key(), before);
        }
    }
}
