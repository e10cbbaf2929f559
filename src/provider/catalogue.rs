use super::pack::{LibraryFile, Needed, Needs, OnnxRuntime, Pack, PackName, PackVersion, Provided, Role};
use super::{Hardware, Os, Platform, ProviderKind};

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

const fn load(linux: &'static str, windows: &'static str, pack: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: Some(pack),
        lazy: false,
    }
}

const fn lazy(linux: &'static str, windows: &'static str, pack: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: Some(pack),
        lazy: true,
    }
}

const fn own(linux: &'static str) -> Load {
    Load {
        linux,
        windows: "",
        pack: None,
        lazy: false,
    }
}

/// What the CUDA provider of CUDA 13 needs, each after what it needs itself.
const CUDA_13: [Load; 7] = [
    load("libcudart.so.13", "cudart64_13.dll", "nvidia-cuda-runtime"),
    lazy("libnvrtc.so.13", "nvrtc64_130_0.dll", "nvidia-cuda-nvrtc"),
    load("libcublasLt.so.13", "cublasLt64_13.dll", "nvidia-cublas"),
    load("libcublas.so.13", "cublas64_13.dll", "nvidia-cublas"),
    load("libcurand.so.10", "curand64_10.dll", "nvidia-curand"),
    lazy("libcufft.so.12", "cufft64_12.dll", "nvidia-cufft"),
    lazy("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu13"),
];

const CUDA_12: [Load; 7] = [
    load("libcudart.so.12", "cudart64_12.dll", "nvidia-cuda-runtime-cu12"),
    lazy("libnvrtc.so.12", "nvrtc64_120_0.dll", "nvidia-cuda-nvrtc-cu12"),
    load("libcublasLt.so.12", "cublasLt64_12.dll", "nvidia-cublas-cu12"),
    load("libcublas.so.12", "cublas64_12.dll", "nvidia-cublas-cu12"),
    load("libcurand.so.10", "curand64_10.dll", "nvidia-curand-cu12"),
    load("libcufft.so.11", "cufft64_11.dll", "nvidia-cufft-cu12"),
    load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu12"),
];

const fn tensorrt(cuda: &[Load; 7], cudnn: Load) -> [Load; 9] {
    let [runtime, nvrtc, lt, blas, rand, fft, _] = cuda;
    [
        again(runtime),
        again(nvrtc),
        again(lt),
        again(blas),
        again(rand),
        again(fft),
        cudnn,
        system("libnvinfer.so.10", "nvinfer_10.dll"),
        system("libnvonnxparser.so.10", "nvonnxparser_10.dll"),
    ]
}

const fn again(load: &Load) -> Load {
    Load {
        linux: load.linux,
        windows: load.windows,
        pack: load.pack,
        lazy: load.lazy,
    }
}

const fn system(linux: &'static str, windows: &'static str) -> Load {
    Load {
        linux,
        windows,
        pack: None,
        lazy: false,
    }
}

const TENSORRT_13: [Load; 9] = tensorrt(&CUDA_13, load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu13"));
const TENSORRT_12: [Load; 9] = tensorrt(&CUDA_12, load("libcudnn.so.9", "cudnn64_9.dll", "nvidia-cudnn-cu12"));

const fn provision(kind: ProviderKind, library: &'static str, loads: &'static [Load]) -> Provision {
    Provision {
        kind,
        library: Some(library),
        systems: &[],
        loads,
    }
}

const fn inside(kind: ProviderKind, systems: &'static [Os]) -> Provision {
    Provision {
        kind,
        library: None,
        systems,
        loads: &[],
    }
}

const CPU: Provision = inside(ProviderKind::Cpu, &[]);

/// A row that only others need.
const fn libraries(name: &'static str, what: &'static str, folders: &'static [&'static str]) -> Row {
    Row {
        name,
        what,
        role: None,
        provisions: &[],
        folders,
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    }
}

/// Where NVIDIA's wheels for CUDA 13 have their libraries: one for Linux, one for Windows.
const CUDA_13_FOLDERS: &[&str] = &["nvidia/cu13/lib", "nvidia/cu13/bin/x86_64"];

/// Every pack, with the best for its hardware first.
pub const CATALOGUE: &[Row] = &[
    Row {
        name: "cuda",
        what: "NVIDIA GPUs, CUDA 13",
        role: Some(Role::Core),
        provisions: &[
            provision(ProviderKind::TensorRt, "onnxruntime_providers_tensorrt", &TENSORRT_13),
            provision(ProviderKind::Cuda, "onnxruntime_providers_cuda", &CUDA_13),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: Some("580"),
        oldest_core: None,
        system: None,
    },
    Row {
        name: "cuda12",
        what: "NVIDIA GPUs, CUDA 12, for drivers before 580",
        role: Some(Role::Core),
        provisions: &[
            provision(ProviderKind::TensorRt, "onnxruntime_providers_tensorrt", &TENSORRT_12),
            provision(ProviderKind::Cuda, "onnxruntime_providers_cuda", &CUDA_12),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: Some("525.60.13"),
        oldest_core: None,
        system: None,
    },
    Row {
        name: "tensorrt-rtx",
        what: "NVIDIA RTX GPUs, TensorRT for RTX",
        role: Some(Role::Plugin),
        provisions: &[provision(
            ProviderKind::TensorRtRtx,
            "onnxruntime_providers_nv_tensorrt_rtx",
            &[
                own("libcudart.so.13*"),
                own("libtensorrt_rtx.so.1*"),
                own("libtensorrt_onnxparser_rtx.so.1*"),
            ],
        )],
        folders: &["onnxruntime_ep_nv_tensorrt_rtx"],
        nvidia_driver: Some("580"),
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "migraphx",
        what: "AMD GPUs, ROCm 7",
        role: Some(Role::Core),
        provisions: &[
            provision(
                ProviderKind::MiGraphX,
                "onnxruntime_providers_migraphx",
                &[
                    system("libamdhip64.so.7", "amdhip64_7.dll"),
                    system("libmigraphx_c.so.3", "migraphx_c.dll"),
                ],
            ),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: Some("ROCm 7 with MIGraphX, from AMD's packages"),
    },
    Row {
        name: "directml",
        what: "any GPU on Windows, through DirectX 12",
        role: Some(Role::Core),
        provisions: &[inside(ProviderKind::DirectMl, &[Os::Windows]), CPU],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    Row {
        name: "openvino",
        what: "Intel processors, GPUs and NPUs; other x86 processors too",
        role: Some(Role::Core),
        provisions: &[
            provision(
                ProviderKind::OpenVino,
                "onnxruntime_providers_openvino",
                &[
                    own("libtbb.so.12"),
                    own("libopenvino.so.2541"),
                    own("libopenvino_onnx_frontend.so.2541"),
                ],
            ),
            CPU,
        ],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    Row {
        name: "openvino-plugin",
        what: "Intel processors, GPUs and NPUs, as a plugin",
        role: Some(Role::Plugin),
        provisions: &[provision(
            ProviderKind::OpenVino,
            "onnxruntime_providers_openvino_plugin",
            &[
                own("libtbb.so.12"),
                own("libopenvino.so.2641"),
                own("libopenvino_onnx_frontend.so.2641"),
            ],
        )],
        folders: &["onnxruntime_ep_openvino"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "qnn",
        what: "Qualcomm NPUs and GPUs",
        role: Some(Role::Plugin),
        provisions: &[provision(ProviderKind::Qnn, "onnxruntime_providers_qnn", &[])],
        folders: &["onnxruntime_qnn"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "webgpu",
        what: "any GPU with Vulkan, Metal or Direct3D 12",
        role: Some(Role::Plugin),
        provisions: &[provision(ProviderKind::WebGpu, "onnxruntime_providers_webgpu", &[])],
        folders: &["onnxruntime_ep_webgpu"],
        nvidia_driver: None,
        oldest_core: Some("1.24.4"),
        system: None,
    },
    Row {
        name: "cpu",
        what: "the processor; Apple's GPUs and NPUs too, through CoreML",
        role: Some(Role::Core),
        provisions: &[inside(ProviderKind::CoreMl, &[Os::MacOs]), CPU],
        folders: &["onnxruntime/capi"],
        nvidia_driver: None,
        oldest_core: None,
        system: None,
    },
    libraries("nvidia-cuda-runtime", "CUDA 13 runtime", CUDA_13_FOLDERS),
    libraries("nvidia-cuda-nvrtc", "CUDA 13 compiler", CUDA_13_FOLDERS),
    libraries("nvidia-cublas", "CUDA 13 matrix products", CUDA_13_FOLDERS),
    libraries("nvidia-curand", "CUDA 13 random numbers", CUDA_13_FOLDERS),
    libraries("nvidia-cufft", "CUDA 13 Fourier transforms", CUDA_13_FOLDERS),
    libraries(
        "nvidia-cudnn-cu13",
        "cuDNN 9 for CUDA 13",
        &["nvidia/cudnn/lib", "nvidia/cudnn/bin", "nvidia/cudnn/bin/x86_64"],
    ),
    libraries(
        "nvidia-cuda-runtime-cu12",
        "CUDA 12 runtime",
        &["nvidia/cuda_runtime/lib", "nvidia/cuda_runtime/bin"],
    ),
    libraries(
        "nvidia-cuda-nvrtc-cu12",
        "CUDA 12 compiler",
        &["nvidia/cuda_nvrtc/lib", "nvidia/cuda_nvrtc/bin"],
    ),
    libraries(
        "nvidia-cublas-cu12",
        "CUDA 12 matrix products",
        &["nvidia/cublas/lib", "nvidia/cublas/bin"],
    ),
    libraries(
        "nvidia-curand-cu12",
        "CUDA 12 random numbers",
        &["nvidia/curand/lib", "nvidia/curand/bin"],
    ),
    libraries(
        "nvidia-cufft-cu12",
        "CUDA 12 Fourier transforms",
        &["nvidia/cufft/lib", "nvidia/cufft/bin"],
    ),
    libraries(
        "nvidia-cudnn-cu12",
        "cuDNN 9 for CUDA 12",
        &["nvidia/cudnn/lib", "nvidia/cudnn/bin"],
    ),
];

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
mod tests {
    use super::*;
    use crate::provider::{Arch, LOCK};

    fn platform(text: &str) -> Platform {
        text.parse().unwrap()
    }

    #[test]
    fn every_row_has_its_wheels_in_the_lock_and_every_wheel_its_row() {
        for row in CATALOGUE {
            assert!(LOCK.wheels(row.name).next().is_some(), "{} has no wheel", row.name);
            for (pack, _) in row.needed_packs(&ProviderKind::ALL) {
                assert!(super::row(pack).is_some(), "{pack} is no row");
            }
        }
        for wheel in &LOCK.packs {
            assert!(row(&wheel.pack).is_some(), "{} is no row", wheel.pack);
        }
    }

    #[test]
    fn every_kind_but_the_embedded_engine_comes_with_some_pack() {
        let platforms = ["linux-x86_64", "linux-aarch64", "macos-aarch64", "windows-x86_64"].map(platform);
        for kind in ProviderKind::ALL {
            let found = platforms
                .iter()
                .any(|&it| row_for(kind, it, &Hardware::default()).is_some());
            assert_eq!(found, kind != ProviderKind::Embedded, "{kind}");
        }
        let mac = platform("macos-aarch64");
        let name = |kind, platform| row_for(kind, platform, &Hardware::default()).map(|row| row.name);
        assert_eq!(name(ProviderKind::CoreMl, mac), Some("cpu"));
        assert_eq!(name(ProviderKind::CoreMl, platform("linux-x86_64")), None);
        assert_eq!(
            name(ProviderKind::DirectMl, platform("windows-x86_64")),
            Some("directml")
        );
    }

    #[test]
    fn the_driver_decides_between_cuda_13_and_12() {
        let linux = platform("linux-x86_64");
        for (driver, expected) in [
            (Some("580.65.06"), Some("cuda")),
            (Some("575.57.08"), Some("cuda12")),
            (Some("470.82.01"), None),
            (None, Some("cuda")),
        ] {
            let hardware = Hardware {
                nvidia_driver: driver.map(str::to_owned),
                ..Hardware::default()
            };
            for kind in [ProviderKind::Cuda, ProviderKind::TensorRt] {
                assert_eq!(
                    row_for(kind, linux, &hardware).map(|row| row.name),
                    expected,
                    "{driver:?}"
                );
            }
        }
    }

    /// A file of no content.
    fn file(path: &str) -> LibraryFile {
        LibraryFile {
            path: path.to_owned(),
            digest: crate::oci::Digest::of(b""),
            size_bytes: 0,
        }
    }

    #[test]
    fn a_pack_names_what_is_loaded_in_the_order_in_which_libraries_need_each_other() {
        let linux = platform("linux-x86_64");
        let names = ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"];
        let pack = row("cuda")
            .unwrap()
            .pack(linux, parsed("1.31.1"), names.map(file).into())
            .unwrap();
        let cuda = pack.provided(ProviderKind::Cuda).unwrap();
        let loads: Vec<&str> = cuda.loads.iter().map(|needed| needed.library.as_str()).collect();
        let order = [
            "libcudart.so.13",
            "libnvrtc.so.13",
            "libcublasLt.so.13",
            "libcublas.so.13",
            "libcurand.so.10",
            "libcufft.so.12",
            "libcudnn.so.9",
        ];
        assert_eq!(loads, order);
        assert!(
            pack.provided(ProviderKind::TensorRt).is_none(),
            "its bridge is not among the files"
        );
        assert_eq!(pack.core().unwrap().version.as_str(), "1.31.1");
    }

    #[test]
    fn files_that_make_no_pack_are_refused_with_what_is_missing() {
        let linux = platform("linux-x86_64");
        for (name, files, missing) in [
            ("cpu", &[][..], "libonnxruntime.so"),
            (
                "cuda",
                &["libonnxruntime.so.1.31.1"],
                "libonnxruntime_providers_cuda.so",
            ),
            ("webgpu", &["libx.so"], "libonnxruntime_providers_webgpu.so"),
            ("nvidia-curand", &[], "any library"),
            (
                "tensorrt-rtx",
                &["libonnxruntime_providers_nv_tensorrt_rtx.so", "libcudart.so.13.4.36"],
                "libtensorrt_rtx.so.1*",
            ),
        ] {
            let files = files.iter().copied().map(file).collect();
            let refused = row(name).unwrap().pack(linux, parsed("1.0"), files).unwrap_err();
            assert_eq!(refused.library, missing, "{name}");
        }
    }

    #[test]
    fn the_name_of_the_core_has_its_version() {
        let linux = platform("linux-x86_64");
        let windows = Platform {
            os: Os::Windows,
            arch: Arch::X86_64,
        };
        let version = |name, platform| core_version(name, platform).map(|it| it.map(|it| it.to_string()));
        assert_eq!(
            version("libonnxruntime.so.1.31.1", linux),
            Some(Some("1.31.1".to_owned()))
        );
        assert_eq!(version("libonnxruntime.so", linux), Some(None));
        assert_eq!(version("onnxruntime.dll", windows), Some(None));
        assert_eq!(
            version("libonnxruntime.1.32.0.dylib", platform("macos-aarch64")),
            Some(Some("1.32.0".to_owned()))
        );
        for other in [
            "libonnxruntime_providers_shared.so",
            "libonnxruntime.so.old",
            "libx.so.1",
        ] {
            assert_eq!(version(other, linux), None, "{other}");
        }
    }
}
