use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;

use super::Platform;
use crate::oci::Digest;

/// The wheels that packs are made of; `make provider-lock` writes them anew.
pub static LOCK: LazyLock<Lock> =
    LazyLock::new(|| serde_json::from_str(include_str!("lock.json")).expect("the lock in the source is well formed"));

/// Is the list of wheels that packs are made of, with what every byte of them must be.
#[derive(Debug, Deserialize)]
pub struct Lock {
    /// The version of Python whose wheels are taken; what is in them needs no Python.
    pub python: String,
    /// What pip calls the platforms.
    pub tags: BTreeMap<String, Vec<String>>,
    pub packs: Vec<Wheel>,
}

/// Is one wheel.
#[derive(Clone, Debug, Deserialize)]
pub struct Wheel {
    /// The pack that is made of it.
    pub pack: String,
    pub platform: Platform,
    /// The package, as pip knows it.
    pub package: String,
    pub version: String,
    /// The file's name.
    pub file: String,
    /// The SHA-256, in hex.
    pub sha256: String,
    /// The size of the file, which is what a download moves.
    pub size_bytes: u64,
}

impl Lock {
    /// Gives the wheels of a pack, one a platform.
    pub fn wheels(&self, pack: &str) -> impl Iterator<Item = &Wheel> {
        self.packs.iter().filter(move |wheel| wheel.pack == pack)
    }

    /// Gives the wheel of a pack for a platform.
    pub fn wheel(&self, pack: &str, platform: Platform) -> Option<&Wheel> {
        self.wheels(pack).find(|wheel| wheel.platform == platform)
    }

    /// Gives the names under which pip knows a platform, best first.
    pub fn tags(&self, platform: Platform) -> &[String] {
        self.tags.get(&platform.to_string()).map_or(&[], Vec::as_slice)
    }
}

impl Wheel {
    /// Gives what the file's bytes must be.
    pub fn digest(&self) -> Digest {
        format!("sha256:{}", self.sha256)
            .parse()
            .expect("digests in the lock are well formed")
    }

    /// Gives the line of a requirements file that asks for this wheel and no other.
    pub fn requirement(&self) -> String {
        format!("{}=={} --hash=sha256:{}", self.package, self.version, self.sha256)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_wheel_is_named_with_a_digest_a_size_and_tags_that_its_platform_has() {
        assert!(LOCK.packs.len() > 40);
        for wheel in &LOCK.packs {
            assert!(
                wheel.size_bytes > 10_000 && wheel.digest().to_string().len() == 71,
                "{wheel:?}"
            );
            let package = wheel.package.replace('-', "_");
            assert!(
                wheel.file.starts_with(&format!("{package}-{}-", wheel.version)),
                "{wheel:?}"
            );
            let suits = |tag: &String| wheel.file.contains(tag.as_str()) || wheel.file.contains("universal2");
            let also = ["manylinux2010_x86_64", "manylinux_2_17"];
            assert!(
                LOCK.tags(wheel.platform).iter().any(suits) || also.iter().any(|tag| wheel.file.contains(tag)),
                "{wheel:?}"
            );
        }
    }

    #[test]
    fn a_pack_has_one_wheel_a_platform() {
        let mut seen = std::collections::BTreeSet::new();
        for wheel in &LOCK.packs {
            assert!(seen.insert((&wheel.pack, wheel.platform)), "{wheel:?}");
        }
    }
}
