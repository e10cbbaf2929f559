//! How packs come to this machine: what must come, from where, and how it is put into place.
//!
//! A source gives files to a [`Staging`], a folder beside the packs under a name that nobody takes for a pack; when all
//! are there, it is renamed. Nothing of a source runs here but the user's own pip or uv.

mod artifact;
mod error;
mod folder;
mod python;
mod shelf;
mod wheel;

use std::path::PathBuf;

use super::find::Installed;
use super::libraries::find_library;
use super::{LOCK, Platform, ProviderKind, Row, Wheel};

pub use artifact::{PACK_ARTIFACT, pack_reference, push_to_store, take_artifact};
pub use error::InstallError;
pub use folder::{take_core, take_pack, take_site};
pub use python::{Fetched, Fetcher};
pub use shelf::{Damage, Shelf, ShelfLock, Staging};
pub use wheel::{row_of_wheel, take_wheel};

/// Is one pack that must come for a provider to work.
#[derive(Clone, Copy, Debug)]
pub struct Item {
    pub row: &'static Row,
    /// The wheel that it is made of.
    pub wheel: &'static Wheel,
}

/// Lists the packs that are missing for some kinds of a row: its own, and those of libraries that neither a pack nor the
/// system has.
///
/// Errors: [`InstallError::NoWheel`] where the platform has none.
pub fn missing(
    row: &'static Row,
    kinds: &[ProviderKind],
    installed: &[Installed],
    libraries: &[PathBuf],
) -> Result<Vec<Item>, InstallError> {
    let platform = Platform::current();
    let item = |row: &'static Row| match LOCK.wheel(row.name, platform) {
        Some(wheel) => Ok(Item { row, wheel }),
        None => Err(InstallError::NoWheel {
            pack: row.name,
            platform,
        }),
    };
    let has = |name: &str| installed.iter().any(|it| it.pack.name.as_str() == name);
    let mut items: Vec<Item> = Vec::new();
    let own = item(row)?;
    if !installed
        .iter()
        .any(|it| it.pack.name.as_str() == row.name && it.pack.version.as_str() == own.wheel.version)
    {
        items.push(own);
    }
    for (pack, load) in row.needed_packs(kinds) {
        let Some(name) = load.name(platform) else { continue };
        let is_there = has(pack) || find_library(name, libraries).is_some();
        if !is_there && !items.iter().any(|item| item.row.name == pack) {
            let brings = super::row(pack).ok_or(InstallError::NoWheel { pack, platform })?;
            items.push(item(brings)?);
        }
    }
    Ok(items)
}

/// Gives the number of bytes that a download of these moves.
pub fn download_bytes(items: &[Item]) -> u64 {
    items.iter().map(|item| item.wheel.size_bytes).sum()
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::provider::row;

    #[test]
    fn what_the_system_has_does_not_come_again() {
        let cuda = row("cuda").unwrap();
        let names = |libraries: &[PathBuf]| -> Vec<&str> {
            let items = missing(cuda, &[ProviderKind::Cuda], &[], libraries).unwrap();
            items.iter().map(|item| item.row.name).collect()
        };
        let all = [
            "cuda",
            "nvidia-cuda-runtime",
            "nvidia-cuda-nvrtc",
            "nvidia-cublas",
            "nvidia-curand",
            "nvidia-cufft",
            "nvidia-cudnn-cu13",
        ];
        assert_eq!(names(&[]), all);
        let system = tempfile::tempdir().unwrap();
        for name in [
            "libcudart.so.13",
            "libcublas.so.13",
            "libcublasLt.so.13",
            "libcurand.so.10",
            "libnvrtc.so.13",
        ] {
            std::fs::write(system.path().join(name), "").unwrap();
        }
        assert_eq!(
            names(&[system.path().to_owned()]),
            ["cuda", "nvidia-cufft", "nvidia-cudnn-cu13"]
        );
    }

    #[test]
    fn a_row_without_a_wheel_for_this_machine_is_refused() {
        let refused = missing(row("directml").unwrap(), &[], &[], &[]);
        assert!(
            matches!(refused, Err(InstallError::NoWheel { pack: "directml", .. })),
            "{refused:?}"
        );
    }

    #[test]
    fn the_size_of_a_download_is_that_of_its_wheels() {
        let items = missing(row("cpu").unwrap(), &[ProviderKind::Cpu], &[], &[]).unwrap();
        assert_eq!(
            download_bytes(&items),
            LOCK.wheel("cpu", Platform::current()).unwrap().size_bytes
        );
    }
}
