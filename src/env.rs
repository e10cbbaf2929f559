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
    /// The running executable, which starts itself to try what may crash.
    pub executable: Option<PathBuf>,
    /// The folder of the running executable.
    pub executable_dir: Option<PathBuf>,
    /// Where the system's loader looks first: `LD_LIBRARY_PATH`.
    pub library_folders: Vec<PathBuf>,
    /// The command line, without the command itself.
    pub arguments: Vec<OsString>,
    /// The variables that a worker is started with, and no others: what engines and drivers read.
    pub for_workers: Vec<(OsString, OsString)>,
    /// What concerns registries.
    pub registry: RegistryEnv,
    /// What concerns providers and their packs.
    pub provider: ProviderEnv,
}

/// Is what the environment says about providers, their packs and their libraries.
#[derive(Clone, Debug, Default)]
pub struct ProviderEnv {
    /// `GPUX_PACKS`: where packs are: the start of their references, or a folder.
    pub packs: Option<String>,
    /// `GPUX_PROVISION`: whether a missing pack is installed without a question, or not even spoken of.
    pub provision: Option<String>,
    /// `GPUX_PROBE_TIMEOUT`: how long a provider may take when it is tried.
    pub probe_timeout: Option<String>,
    /// `GPUX_SYSTEM_ROOT`, else `/`: where the files lie by which the system describes its hardware, and its libraries.
    pub system_root: PathBuf,
    /// `CUDA_HOME`, else `CUDA_PATH`.
    pub cuda_home: Option<PathBuf>,
    /// `ROCM_PATH`.
    pub rocm_path: Option<PathBuf>,
    /// `LD_LIBRARY_PATH`; on Windows `PATH`.
    pub library_path: Vec<PathBuf>,
    /// `PATH`.
    pub search_path: Vec<PathBuf>,
}

/// Is what the environment says about registries and the way to them.
#[derive(Clone, Default)]
pub struct RegistryEnv {
    /// `GPUX_REGISTRY`: the registry that the next two are for.
    pub registry: Option<String>,
    /// `GPUX_REGISTRY_USERNAME`.
    pub username: Option<String>,
    /// `GPUX_REGISTRY_PASSWORD`.
    pub password: Option<String>,
    /// Docker's `config.json`, below `DOCKER_CONFIG` or the home folder.
    pub docker_config: Option<PathBuf>,
    /// Podman's `auth.json`: `REGISTRY_AUTH_FILE`, or the two places it looks in.
    pub podman_auth: Vec<PathBuf>,
    /// `http_proxy`, in lower case alone: a web server sets the other from a request's header.
    pub http_proxy: Option<String>,
    /// `HTTPS_PROXY`, in either case; else `ALL_PROXY`.
    pub https_proxy: Option<String>,
    /// `NO_PROXY`, in either case.
    pub no_proxy: Option<String>,
}

impl std::fmt::Debug for RegistryEnv {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Passwords stand here, and in the addresses of proxies.
        f.debug_struct("RegistryEnv")
            .field("registry", &self.registry)
            .field("docker_config", &self.docker_config)
            .field("podman_auth", &self.podman_auth)
            .finish_non_exhaustive()
    }
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
            executable: std::env::current_exe().ok(),
            executable_dir: std::env::current_exe()
                .ok()
                .and_then(|path| path.parent().map(PathBuf::from)),
            library_folders: set("LD_LIBRARY_PATH")
                .map(|folders| std::env::split_paths(&folders).collect())
                .unwrap_or_default(),
            arguments: std::env::args_os().skip(1).collect(),
            for_workers: for_workers(),
            registry: registry(),
            provider: provider(),
        }
    }
}

/// Gathers what engines and drivers read; secrets are in none of these.
fn for_workers() -> Vec<(OsString, OsString)> {
    const NAMES: [&str; 15] = [
        "CONDA_PREFIX",
        "GLIBC_TUNABLES",
        "GPUX_HOME",
        "HOME",
        "LD_LIBRARY_PATH",
        "LOCALAPPDATA",
        "LLVM_PROFILE_FILE",
        "ORT_DYLIB_PATH",
        "PATH",
        "SOURCE_DATE_EPOCH",
        "SystemRoot",
        "TMPDIR",
        "USERPROFILE",
        "VIRTUAL_ENV",
        "XDG_DATA_HOME",
    ];
    const PREFIXES: [&str; 6] = ["CUDA_", "HIP_", "HSA_", "NVIDIA_", "ROCR_", "VK_"];
    let is_kept = |name: &str| NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix));
    let mut kept: Vec<_> = std::env::vars_os()
        .filter(|(name, _)| name.to_str().is_some_and(is_kept))
        .collect();
    // An engine in C++ takes the activations of each call from glibc, which then asks for huge pages: a call of many rows takes
    // up to a tenth less time. Other systems and older versions know no such variable and pass it over.
    if !kept.iter().any(|(name, _)| name == "GLIBC_TUNABLES") {
        kept.push(("GLIBC_TUNABLES".into(), "glibc.malloc.hugetlb=1".into()));
    }
    kept
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

fn text(names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| set(name)?.into_string().ok())
}

fn provider() -> ProviderEnv {
    let folders = |name: &str| {
        set(name)
            .map(|value| std::env::split_paths(&value).collect())
            .unwrap_or_default()
    };
    ProviderEnv {
        packs: text(&["GPUX_PACKS"]),
        provision: text(&["GPUX_PROVISION"]),
        probe_timeout: text(&["GPUX_PROBE_TIMEOUT"]),
        system_root: set("GPUX_SYSTEM_ROOT").map_or_else(|| PathBuf::from("/"), PathBuf::from),
        cuda_home: set("CUDA_HOME").or_else(|| set("CUDA_PATH")).map(PathBuf::from),
        rocm_path: set("ROCM_PATH").map(PathBuf::from),
        library_path: folders(if cfg!(windows) { "PATH" } else { "LD_LIBRARY_PATH" }),
        search_path: folders("PATH"),
    }
}

fn registry() -> RegistryEnv {
    let user = set(if cfg!(windows) { "USERPROFILE" } else { "HOME" }).map(PathBuf::from);
    let docker = set("DOCKER_CONFIG")
        .map(PathBuf::from)
        .or_else(|| user.as_ref().map(|user| user.join(".docker")));
    let podman_auth = match set("REGISTRY_AUTH_FILE") {
        Some(file) => vec![PathBuf::from(file)],
        None => [
            set("XDG_RUNTIME_DIR").map(PathBuf::from),
            set("XDG_CONFIG_HOME")
                .map(PathBuf::from)
                .or_else(|| user.map(|user| user.join(".config"))),
        ]
        .into_iter()
        .flatten()
        .map(|folder| folder.join("containers/auth.json"))
        .collect(),
    };
    RegistryEnv {
        registry: text(&["GPUX_REGISTRY"]),
        username: text(&["GPUX_REGISTRY_USERNAME"]),
        password: text(&["GPUX_REGISTRY_PASSWORD"]),
        docker_config: docker.map(|docker| docker.join("config.json")),
        podman_auth,
        http_proxy: text(&["http_proxy", "all_proxy", "ALL_PROXY"]),
        https_proxy: text(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        no_proxy: text(&["no_proxy", "NO_PROXY"]),
    }
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
