//! Where ONNX Runtime and its providers lie on this machine.

mod places;

use std::cell::OnceCell;
use std::fmt;
use std::path::PathBuf;

use super::catalogue::is_older;
use super::libraries::{Surroundings, find_library, library_folders};
use super::pack::{OnnxRuntime, Pack, PackError, PackVersion, Provided, Role};
use super::{LoadPlan, Origin, Platform, ProviderKind};
use crate::fs;
use crate::oci::{Algorithm, Digest, Hasher};

pub use places::{UNKNOWN_VERSION, cores_in, cores_of_python, installed};

use places::beside_cores;

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

#[cfg(test)]
mod tests;
