use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize};

use super::{Platform, ProviderKind};
use crate::fs;
use crate::oci::{self, Digest, FilePath};

/// The name of the document in a pack's folder.
pub const PACK_FILE: &str = "pack.json";

/// The form of the document that this gpux reads and writes.
const FORMAT: u32 = 1;

/// The longest document that is read.
const LIMIT_BYTES: usize = 1 << 20;

/// Names a pack: lower-case words with `-` between them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
pub struct PackName(String);

/// Is the version of a pack, in the characters that versions of packages have.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct PackVersion(String);

/// Says that a text is no name or version of a pack.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{text}` is no {what} of a pack")]
pub struct BadName {
    text: String,
    what: &'static str,
}

impl PackName {
    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl PackVersion {
    /// Gives the version as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the numbers at the start, by which versions are ordered: `1.31.1rc2` is `[1, 31, 1]`.
    pub fn numbers(&self) -> Vec<u64> {
        let parts = self.0.split(['.', '-', '+']);
        let number = |part: &str| {
            let digits = part.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
            digits.parse().ok()
        };
        parts.map_while(number).collect()
    }
}

impl FromStr for PackName {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_word = |word: &str| {
            !word.is_empty()
                && word
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        };
        if text.len() <= 64 && text.split('-').all(is_word) {
            return Ok(PackName(text.to_owned()));
        }
        Err(BadName {
            text: text.escape_debug().take(80).collect(),
            what: "name",
        })
    }
}

impl FromStr for PackVersion {
    type Err = BadName;

    fn from_str(text: &str) -> Result<Self, BadName> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'+' | b'_');
        if text.len() <= 64 && text.bytes().all(is_plain) && text.starts_with(|c: char| c.is_ascii_digit()) {
            return Ok(PackVersion(text.to_owned()));
        }
        Err(BadName {
            text: text.escape_debug().take(80).collect(),
            what: "version",
        })
    }
}

/// Both read themselves from JSON as from text.
macro_rules! parsed_from_json {
    ($($name:ident),*) => {$(
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
    )*};
}
parsed_from_json!(PackName, PackVersion);

/// Is `pack.json`: what a folder of libraries is for, and what they must be.
///
/// Source: `registry-spec/provider-pack.md`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pack {
    /// The form of the document: 1.
    pub format: u32,
    pub name: PackName,
    pub version: PackVersion,
    /// What the libraries are made for.
    pub platform: Platform,
    /// The library that speaks ONNX Runtime's interface; none in a pack that only others need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub onnxruntime: Option<OnnxRuntime>,
    /// What can run models with it, best first.
    #[serde(default)]
    pub providers: Vec<Provided>,
    /// What must be on the machine beside packs.
    #[serde(default)]
    pub needs: Needs,
    /// Every file of the pack.
    pub libraries: Vec<LibraryFile>,
    /// Where the libraries came from, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
}

/// Is the library of a pack that speaks ONNX Runtime's interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnnxRuntime {
    pub role: Role,
    /// The file, among the pack's libraries.
    pub library: String,
    /// Of a core its own version; of a plugin the oldest core that it works with.
    pub version: PackVersion,
}

/// Says how a library takes part in ONNX Runtime.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// It is ONNX Runtime: a process loads one such library.
    Core,
    /// It is registered with a core of another pack.
    Plugin,
}

/// Is a provider that a pack brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provided {
    /// gpux's name.
    pub name: ProviderKind,
    /// ONNX Runtime's name.
    pub ep: String,
    /// The file that ONNX Runtime loads for it; none where the core has it inside.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub library: Option<String>,
    /// What is loaded before the core, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub loads: Vec<Needed>,
}

/// Is a library that a provider needs beside its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needed {
    /// The file name under which libraries name it: `libcudart.so.13`.
    pub library: String,
    /// The pack that brings it; none for what only the system has, and for the pack's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pack: Option<PackName>,
    /// Whether a provider starts without it, and misses it when a model needs it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lazy: bool,
}

/// Says what must be on the machine beside packs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Needs {
    /// The oldest NVIDIA driver.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nvidia_driver: Option<PackVersion>,
    /// What else, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
}

/// Is a file of a pack.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LibraryFile {
    /// The path below the pack's folder.
    pub path: String,
    pub digest: Digest,
    pub size_bytes: u64,
}

/// Says why a document is no pack.
#[derive(Debug, thiserror::Error)]
pub enum PackError {
    #[error(transparent)]
    File(#[from] fs::Error),
    #[error("`{}` is no pack: {source}", path.display())]
    Json { path: PathBuf, source: serde_json::Error },
    #[error("`{}` is of format {found}, and this gpux reads {FORMAT}", path.display())]
    Format { path: PathBuf, found: u32 },
    #[error("`{}` names a file that is not safe: {source}", path.display())]
    Path { path: PathBuf, source: oci::Error },
    #[error("`{}` names the library `{library}`, which is not among its files", path.display())]
    Unlisted { path: PathBuf, library: String },
    #[error("`{}` stands in a folder of another name than {expected}", path.display())]
    Misplaced { path: PathBuf, expected: String },
}

impl Pack {
    /// The format that new packs have.
    pub const FORMAT: u32 = FORMAT;

    /// Gives the name of the pack's folder: NAME-VERSION.
    pub fn id(&self) -> String {
        format!("{}-{}", self.name, self.version)
    }

    /// Gives the number of bytes of all its files.
    pub fn size_bytes(&self) -> u64 {
        self.libraries
            .iter()
            .fold(0, |sum, file| sum.saturating_add(file.size_bytes))
    }

    /// Reads the pack in `folder`.
    ///
    /// Errors: [`PackError`], which names the document.
    pub fn read(folder: &Path) -> Result<Pack, PackError> {
        let path = folder.join(PACK_FILE);
        let bytes = fs::read_at_most(&path, LIMIT_BYTES)?;
        Pack::parse(&bytes, &path)
    }

    /// Reads the document of `path`.
    ///
    /// Errors: [`PackError`], which names the document.
    pub fn parse(bytes: &[u8], path: &Path) -> Result<Pack, PackError> {
        let path = || path.to_owned();
        #[derive(Deserialize)]
        struct Form {
            format: u32,
        }
        let json = |source| PackError::Json { path: path(), source };
        let Form { format } = serde_json::from_slice(bytes).map_err(json)?;
        if format != FORMAT {
            return Err(PackError::Format {
                path: path(),
                found: format,
            });
        }
        let pack: Pack = serde_json::from_slice(bytes).map_err(json)?;
        let unsafe_path = |source| PackError::Path { path: path(), source };
        let paths = pack.libraries.iter().map(|file| file.path.parse());
        let paths: Vec<FilePath> = paths.collect::<Result<_, _>>().map_err(unsafe_path)?;
        FilePath::check_distinct(&paths).map_err(unsafe_path)?;
        let own = pack.onnxruntime.iter().map(|it| &it.library);
        for library in own.chain(pack.providers.iter().filter_map(|it| it.library.as_ref())) {
            if !pack.libraries.iter().any(|file| file.path == *library) {
                return Err(PackError::Unlisted {
                    path: path(),
                    library: library.escape_debug().take(80).collect(),
                });
            }
        }
        Ok(pack)
    }

    /// Gives the bytes of the document.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = serde_json::to_vec_pretty(self).expect("a pack has only text, numbers and lists");
        bytes.push(b'\n');
        bytes
    }

    /// Gives what the pack brings of a kind.
    pub fn provided(&self, kind: ProviderKind) -> Option<&Provided> {
        self.providers.iter().find(|provided| provided.name == kind)
    }

    /// Tells whether ONNX Runtime itself is in the pack.
    pub fn core(&self) -> Option<&OnnxRuntime> {
        self.onnxruntime.as_ref().filter(|it| it.role == Role::Core)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) const EXAMPLE: &str = r#"{
        "format": 1, "name": "cuda", "version": "1.31.1", "platform": "linux-x86_64",
        "onnxruntime": {"role": "core", "library": "libonnxruntime.so.1.31.1", "version": "1.31.1"},
        "providers": [{"name": "cuda", "ep": "CUDAExecutionProvider", "library": "libonnxruntime_providers_cuda.so",
                       "loads": [{"library": "libcudart.so.13", "pack": "nvidia-cuda-runtime"}]}],
        "libraries": [
            {"path": "libonnxruntime.so.1.31.1", "size_bytes": 3,
             "digest": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"},
            {"path": "libonnxruntime_providers_cuda.so", "size_bytes": 3,
             "digest": "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"}]}"#;

    fn parse(text: &str) -> Result<Pack, PackError> {
        Pack::parse(text.as_bytes(), Path::new("pack.json"))
    }

    #[test]
    fn a_document_is_read_as_it_is_written() {
        let pack = parse(EXAMPLE).unwrap();
        assert_eq!(pack.id(), "cuda-1.31.1");
        assert_eq!(pack.size_bytes(), 6);
        assert!(pack.core().is_some() && pack.provided(ProviderKind::Cpu).is_none());
        assert_eq!(parse(std::str::from_utf8(&pack.to_bytes()).unwrap()).unwrap(), pack);
    }

    #[test]
    fn what_leaves_the_folder_or_contradicts_itself_is_refused() {
        for (from, to, expected) in [
            ("\"format\": 1", "\"format\": 2", "format 2"),
            (
                "{\"path\": \"libonnxruntime.so.1.31.1\"",
                "{\"path\": \"../x\"",
                "not safe",
            ),
            (
                "{\"path\": \"libonnxruntime.so.1.31.1\"",
                "{\"path\": \"/etc/x\"",
                "not safe",
            ),
            (
                "{\"path\": \"libonnxruntime.so.1.31.1\"",
                "{\"path\": \"LIBonnxruntime_providers_cuda.so\"",
                "not safe",
            ),
            (
                "\"library\": \"libonnxruntime.so.1.31.1\"",
                "\"library\": \"x\"",
                "not among its files",
            ),
            (
                "\"name\": \"cuda\", \"version\"",
                "\"name\": \"../cuda\", \"version\"",
                "no name of a pack",
            ),
            (
                "\"1.31.1\", \"platform\"",
                "\"1/../1\", \"platform\"",
                "no version of a pack",
            ),
            ("\"size_bytes\": 3", "\"size_bytes\": -1", "no pack"),
            ("linux-x86_64", "beos-m68k", "not a platform"),
            (
                "\"name\": \"cuda\", \"ep\"",
                "\"name\": \"gpu\", \"ep\"",
                "not a provider",
            ),
            ("sha256:2c26", "sha256:../2c", "no pack"),
        ] {
            let text = EXAMPLE.replacen(from, to, 1);
            assert_ne!(text, EXAMPLE, "{from}");
            let error = parse(&text).unwrap_err().to_string();
            assert!(error.contains(expected), "{to}: {error}");
        }
        assert!(parse("").is_err() && parse("{}").is_err() && parse("[]").is_err());
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let numbers = |text: &str| text.parse::<PackVersion>().unwrap().numbers();
        assert!(numbers("1.9.0") < numbers("1.31.1"));
        assert_eq!(numbers("1.31.1rc2"), [1, 31, 1]);
        for bad in ["", "v1", "1 2", "1/2", ".1", "-1", "1\n"] {
            assert!(bad.parse::<PackVersion>().is_err(), "{bad:?}");
        }
    }
}
