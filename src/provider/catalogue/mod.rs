//! The packs that gpux knows, and how one is made of the files of its wheel.

mod rows;

use super::pack::{LibraryFile, Needed, Needs, OnnxRuntime, Pack, PackName, PackVersion, Provided, Role};
use super::{Hardware, Os, Platform, ProviderKind};

pub use rows::CATALOGUE;

/// Is one pack that gpux knows how to make: what it is for, and which files of its wheel it is made of.
///
/// Versions and digests of the wheels are in `lock.json`.
#[derive(Debug)]
pub struct Row {
    /// The pack's name.
    pub name: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// How its main library takes part in ONNX Runtime; none in a pack that only others need.
    pub role: Option<Role>,
    /// What it provides, best first.
    pub provisions: &'static [Provision],
    /// The folders of the wheel whose libraries are taken, and no others.
    pub folders: &'static [&'static str],
    /// The oldest NVIDIA driver.
    pub nvidia_driver: Option<&'static str>,
    /// The oldest ONNX Runtime that a plugin works with.
    pub oldest_core: Option<&'static str>,
    /// What else the machine must have, in words.
    pub system: Option<&'static str>,
}

/// Is a provider that a pack brings.
#[derive(Debug)]
pub struct Provision {
    pub kind: ProviderKind,
    /// The library that ONNX Runtime loads for it, without `lib` and ending; none where the core has it inside.
    pub library: Option<&'static str>,
    /// Where it exists; everywhere the pack does, if none is named.
    pub systems: &'static [Os],
    /// What is loaded before the core, in this order.
    pub loads: &'static [Load],
}

/// Is a library that is loaded before the core.
#[derive(Debug)]
pub struct Load {
    /// The file's name on Linux; a `*` at the end stands for the rest of a version.
    pub linux: &'static str,
    /// The file's name on Windows; empty where it needs no loading there.
    pub windows: &'static str,
    /// The pack that brings it; none for the pack's own, and for what only the system has.
    pub pack: Option<&'static str>,
    /// Whether it is looked for when a model needs it, and not before.
    pub lazy: bool,
}

/// Finds a pack by its name.
pub fn row(name: &str) -> Option<&'static Row> {
    CATALOGUE.iter().find(|row| row.name == name)
}

/// Finds the pack that brings a provider to a machine.
///
/// Shape: `None` for the embedded engine, and for a provider that does not exist on the platform.
pub fn row_for(kind: ProviderKind, platform: Platform, hardware: &Hardware) -> Option<&'static Row> {
    let rows = CATALOGUE.iter().filter(|row| row.provision(kind, platform).is_some());
    match kind {
        // A driver that is not known is taken for a new one: what is there is told when it is tried.
        ProviderKind::Cuda | ProviderKind::TensorRt => rows.into_iter().find(|row| {
            let oldest = row.nvidia_driver.unwrap_or_default();
            hardware
                .nvidia_driver
                .as_ref()
                .is_none_or(|driver| !is_older(driver, oldest))
        }),
        ProviderKind::Cpu => row("cpu"),
        _ => rows.into_iter().next(),
    }
}

/// Tells whether a version comes before another, by their numbers.
pub fn is_older(version: &str, than: &str) -> bool {
    let numbers = |text: &str| text.parse::<PackVersion>().map(|it| it.numbers()).unwrap_or_default();
    numbers(version) < numbers(than)
}

impl Row {
    /// Gives what the pack brings of a kind on a platform.
    pub fn provision(&self, kind: ProviderKind, platform: Platform) -> Option<&'static Provision> {
        self.provisions.iter().find(|it| {
            let exists = it.systems.is_empty() || it.systems.contains(&platform.os);
            it.kind == kind && exists
        })
    }

    /// Names the packs that its providers need beside it, each once, in the order in which they are loaded.
    pub fn needed_packs(&self, kinds: &[ProviderKind]) -> Vec<(&'static str, &'static Load)> {
        let wanted = self.provisions.iter().filter(|it| kinds.contains(&it.kind));
        let mut packs: Vec<(&str, &Load)> = Vec::new();
        for load in wanted.flat_map(|it| it.loads) {
            if let Some(pack) = load.pack
                && !packs.iter().any(|(_, known)| known.linux == load.linux)
            {
                packs.push((pack, load));
            }
        }
        packs
    }

    /// Makes the document of a pack out of the files it has.
    ///
    /// Shape: `files` are what the folders of the wheel had.
    /// Errors: [`Incomplete`] with the first library that must be there and is not.
    pub fn pack(&self, platform: Platform, version: PackVersion, files: Vec<LibraryFile>) -> Result<Pack, Incomplete> {
        let lacks = |library: &str| Incomplete {
            pack: self.name,
            library: library.to_owned(),
        };
        let mut providers = Vec::new();
        for provision in self
            .provisions
            .iter()
            .filter(|it| self.provision(it.kind, platform).is_some())
        {
            let library = match provision.library {
                None => None,
                Some(stem) => {
                    let name = platform.library(stem);
                    match files.iter().find(|file| file.path == name) {
                        Some(_) => Some(name),
                        // TensorRT's bridge comes with CUDA's, and not on every platform.
                        None if provision.kind == ProviderKind::TensorRt => continue,
                        None => return Err(lacks(&name)),
                    }
                }
            };
            let mut loads = Vec::new();
            for load in provision.loads {
                let Some(name) = load.name(platform) else { continue };
                let library = match (load.pack, name.strip_suffix('*')) {
                    (None, Some(start)) => shortest(&files, start).ok_or_else(|| lacks(name))?,
                    _ => name.to_owned(),
                };
                loads.push(Needed {
                    library,
                    pack: load
                        .pack
                        .map(|name| name.parse().expect("names in the catalogue are legal")),
                    lazy: load.lazy,
                });
            }
            providers.push(Provided {
                name: provision.kind,
                ep: provision.kind.ep_name().unwrap_or_default().to_owned(),
                library,
                loads,
            });
        }
        let onnxruntime = match self.role {
            None => None,
            Some(Role::Core) => {
                let core = files
                    .iter()
                    .find_map(|file| Some((file, core_version(&file.path, platform)?)));
                let (file, in_name) = core.ok_or_else(|| lacks(&platform.library("onnxruntime")))?;
                Some(OnnxRuntime {
                    role: Role::Core,
                    library: file.path.clone(),
                    version: in_name.unwrap_or_else(|| version.clone()),
                })
            }
            Some(Role::Plugin) => Some(OnnxRuntime {
                role: Role::Plugin,
                library: providers.first().and_then(|it| it.library.clone()).unwrap_or_default(),
                version: parsed(self.oldest_core.unwrap_or("1.24")),
            }),
        };
        if files.is_empty() {
            return Err(lacks("any library"));
        }
        Ok(Pack {
            format: Pack::FORMAT,
            name: self.pack_name(),
            version,
            platform,
            onnxruntime,
            providers,
            needs: Needs {
                nvidia_driver: self.nvidia_driver.map(parsed),
                system: self.system.map(str::to_owned),
            },
            libraries: files,
            source: None,
        })
    }

    /// Gives the name as packs have it.
    pub fn pack_name(&self) -> PackName {
        self.name.parse().expect("names in the catalogue are legal")
    }
}

impl Load {
    /// Gives the file's name on a platform; `None` where nothing is to be loaded.
    pub fn name(&self, platform: Platform) -> Option<&'static str> {
        let name = match platform.os {
            Os::Windows => self.windows,
            Os::Linux | Os::MacOs | Os::Other => self.linux,
        };
        (!name.is_empty()).then_some(name)
    }
}

fn parsed(version: &str) -> PackVersion {
    version.parse().expect("versions in the catalogue are legal")
}

/// Gives the file whose name starts so and is the shortest: of `libx.so.1.7` and `libx.so.1.7.1` the first.
fn shortest(files: &[LibraryFile], start: &str) -> Option<String> {
    let named = files
        .iter()
        .map(|file| &file.path)
        .filter(|path| path.starts_with(start));
    named.min_by_key(|path| path.len()).cloned()
}

/// Reads the version in the name of ONNX Runtime's own library.
///
/// Shape: `None` where the name is another library's; `Some(None)` where it has no version, as on Windows.
pub fn core_version(name: &str, platform: Platform) -> Option<Option<PackVersion>> {
    let plain = platform.library("onnxruntime");
    if name == plain {
        return Some(None);
    }
    let version = match platform.os {
        Os::Windows => return None,
        Os::MacOs => name.strip_prefix("libonnxruntime.")?.strip_suffix(".dylib")?,
        Os::Linux | Os::Other => name.strip_prefix("libonnxruntime.so.")?,
    };
    version.parse().ok().map(Some)
}

/// Says that the files of a wheel or folder do not make a pack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("a pack `{pack}` must have {library}, and it is not there")]
pub struct Incomplete {
    pub pack: &'static str,
    pub library: String,
}

#[cfg(test)]
mod tests;
