use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Is a system that libraries are made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Platform {
    pub os: Os,
    pub arch: Arch,
}

/// Names an operating system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Os {
    Linux,
    MacOs,
    Windows,
    /// None that packs exist for.
    Other,
}

/// Names a processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Arch {
    X86_64,
    Aarch64,
    /// None that packs exist for.
    Other,
}

impl Platform {
    /// Gives the platform that this gpux was built for.
    pub const fn current() -> Platform {
        Platform {
            os: if cfg!(target_os = "linux") {
                Os::Linux
            } else if cfg!(target_os = "macos") {
                Os::MacOs
            } else if cfg!(windows) {
                Os::Windows
            } else {
                Os::Other
            },
            arch: if cfg!(target_arch = "x86_64") {
                Arch::X86_64
            } else if cfg!(target_arch = "aarch64") {
                Arch::Aarch64
            } else {
                Arch::Other
            },
        }
    }

    /// Tells whether a file of this name is a shared library here: `libx.so`, `libx.so.1.2`, `x.dll`, `libx.dylib`.
    ///
    /// Python's own modules, which only Python can load, are none.
    pub fn is_library(self, name: &str) -> bool {
        if name.contains("pybind11") || name.contains(".cpython-") || name.ends_with(".pyd") {
            return false;
        }
        match self.os {
            Os::Windows => name.ends_with(".dll"),
            Os::MacOs => name.ends_with(".dylib") || name.ends_with(".so"),
            Os::Linux | Os::Other => name.split_once(".so").is_some_and(|(stem, version)| {
                let is_version = |text: &str| {
                    text.split('.')
                        .all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
                };
                !stem.is_empty() && (version.is_empty() || version.starts_with('.') && is_version(&version[1..]))
            }),
        }
    }

    /// Gives the file name of a library without a version: `libx.so`, `x.dll`, `libx.dylib`.
    pub fn library(self, stem: &str) -> String {
        match self.os {
            Os::Windows => format!("{stem}.dll"),
            Os::MacOs => format!("lib{stem}.dylib"),
            Os::Linux | Os::Other => format!("lib{stem}.so"),
        }
    }
}

impl Default for Platform {
    fn default() -> Self {
        Platform::current()
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let os = match self.os {
            Os::Linux => "linux",
            Os::MacOs => "macos",
            Os::Windows => "windows",
            Os::Other => "other",
        };
        let arch = match self.arch {
            Arch::X86_64 => "x86_64",
            Arch::Aarch64 => "aarch64",
            Arch::Other => "other",
        };
        f.pad(&format!("{os}-{arch}"))
    }
}

/// Says that a text names no platform.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a platform such as linux-x86_64")]
pub struct UnknownPlatform(pub String);

impl FromStr for Platform {
    type Err = UnknownPlatform;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let platforms = [Os::Linux, Os::MacOs, Os::Windows, Os::Other]
            .into_iter()
            .flat_map(|os| [Arch::X86_64, Arch::Aarch64, Arch::Other].map(|arch| Platform { os, arch }));
        platforms
            .into_iter()
            .find(|platform| platform.to_string() == text)
            .ok_or_else(|| UnknownPlatform(text.escape_debug().take(40).collect()))
    }
}

impl Serialize for Platform {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Platform {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_told_from_other_files_by_their_names() {
        let at = |text: &str| text.parse::<Platform>().unwrap();
        for (platform, name, expected) in [
            ("linux-x86_64", "libonnxruntime.so.1.31.1", true),
            ("linux-x86_64", "libcudnn.so.9", true),
            ("linux-x86_64", "libonnxruntime_providers_cuda.so", true),
            (
                "linux-x86_64",
                "onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so",
                false,
            ),
            ("linux-x86_64", "libx.so.1.old", false),
            ("linux-x86_64", "libx.so.py", false),
            ("linux-x86_64", ".so", false),
            ("linux-x86_64", "__init__.py", false),
            ("windows-x86_64", "onnxruntime.dll", true),
            ("windows-aarch64", "onnxruntime_pybind11_state.pyd", false),
            ("macos-aarch64", "libonnxruntime.1.31.1.dylib", true),
        ] {
            assert_eq!(at(platform).is_library(name), expected, "{platform} {name}");
        }
        assert_eq!(Platform::current().to_string().parse(), Ok(Platform::current()));
        assert!("linux".parse::<Platform>().is_err());
    }
}
