use std::path::Path;

use super::wheel::wanted;
use super::{InstallError, Staging};
use crate::fs;
use crate::oci::FilePath;
use crate::provider::catalogue::core_version;
use crate::provider::{PACK_FILE, Pack, PackVersion, Platform, Row};

/// Takes a pack that another gpux made, as it lies in a folder.
///
/// Errors: [`InstallError::OtherContent`] with the first file that is not what the pack says.
pub fn take_pack(staging: &mut Staging<'_>, folder: &Path) -> Result<Pack, InstallError> {
    let mut pack = Pack::read(folder)?;
    if pack.platform != Platform::current() {
        return Err(InstallError::OtherPlatform {
            path: folder.join(PACK_FILE),
            found: pack.platform,
        });
    }
    for file in &pack.libraries {
        staging.copy(&file.path, &folder.join(&file.path))?;
    }
    let mut listed = pack.libraries.clone();
    listed.sort_by(|first, second| first.path.cmp(&second.path));
    for (expected, found) in listed.iter().zip(staging.files()) {
        if expected.digest != found.digest {
            return Err(InstallError::OtherContent {
                path: folder.join(&expected.path),
                expected: expected.digest,
                found: found.digest,
            });
        }
    }
    pack.libraries = staging.files();
    pack.source.get_or_insert_with(|| folder.display().to_string());
    Ok(pack)
}

/// Takes the libraries of a row out of a folder of Python packages, such as uv writes.
pub fn take_site(staging: &mut Staging<'_>, site: &Path, row: &Row, version: &str) -> Result<Pack, InstallError> {
    for path in fs::files_below(site)? {
        // Names that no wheel may have are in no wheel that was installed.
        let Ok(member) = path.parse::<FilePath>() else { continue };
        if let Some(target) = wanted(row, &member) {
            staging.copy(&target, &site.join(&path))?;
        }
    }
    finish(staging, site, row, version.parse()?)
}

/// Takes ONNX Runtime out of a folder that has it, with what lies beside it.
///
/// Shape: in a folder of the system, only what is named as ONNX Runtime is counts; anywhere else every library does.
/// Errors: [`InstallError::NothingThere`], [`InstallError::NoVersion`], [`InstallError::Incomplete`].
pub fn take_core(staging: &mut Staging<'_>, core: &Path, row: &Row, is_shared: bool) -> Result<Pack, InstallError> {
    let platform = Platform::current();
    let nothing = || InstallError::NothingThere { path: core.to_owned() };
    let folder = core.parent().ok_or_else(nothing)?;
    let core_name = core.file_name().and_then(|name| name.to_str()).ok_or_else(nothing)?;
    let version = core_version(core_name, platform).ok_or_else(nothing)?;
    let version = version.ok_or_else(|| InstallError::NoVersion { path: core.to_owned() })?;
    for name in fs::names(folder)? {
        let is_other_core = core_version(&name, platform).is_some() && name != core_name;
        let is_own = name.trim_start_matches("lib").starts_with("onnxruntime");
        let path = folder.join(&name);
        if platform.is_library(&name) && !is_other_core && (is_own || !is_shared) && fs::is_file(&path) {
            staging.copy(&name, &path)?;
        }
    }
    finish(staging, folder, row, version)
}

fn finish(staging: &Staging<'_>, folder: &Path, row: &Row, version: PackVersion) -> Result<Pack, InstallError> {
    let made = row.pack(Platform::current(), version, staging.files());
    let mut pack = made.map_err(|source| InstallError::Incomplete {
        path: folder.to_owned(),
        source,
    })?;
    pack.source = Some(folder.display().to_string());
    Ok(pack)
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use super::*;
    use crate::provider::install::Shelf;
    use crate::provider::{ProviderKind, row};

    fn write(path: &Path, content: &str) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn a_folder_of_the_system_gives_onnx_runtime_and_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/lib");
        for name in [
            "libonnxruntime.so.1.30.0",
            "libonnxruntime.so.1.29.0",
            "libonnxruntime_providers_shared.so",
            "libz.so.1",
        ] {
            write(&folder.join(name), name);
        }
        let shelf = Shelf::new(root.path().join("providers"));
        let lock = shelf.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let core = folder.join("libonnxruntime.so.1.30.0");
        let pack = take_core(&mut staging, &core, row("cpu").unwrap(), true).unwrap();
        let pack = staging.commit(&pack).unwrap().pack;
        let paths: Vec<&str> = pack.libraries.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(
            paths,
            ["libonnxruntime.so.1.30.0", "libonnxruntime_providers_shared.so"]
        );
        assert_eq!(pack.id(), "cpu-1.30.0");
    }

    #[test]
    fn a_pack_in_a_folder_is_taken_only_if_every_file_is_what_it_says() {
        let root = tempfile::tempdir().unwrap();
        let core = root.path().join("lib/libonnxruntime.so.1.30.0");
        write(&core, "core");
        let first = Shelf::new(root.path().join("first"));
        let lock = first.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let pack = take_core(&mut staging, &core, row("cpu").unwrap(), true).unwrap();
        let made = staging.commit(&pack).unwrap();
        let second = Shelf::new(root.path().join("second"));
        let lock = second.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let pack = take_pack(&mut staging, &made.folder).unwrap();
        assert!(
            staging
                .commit(&pack)
                .unwrap()
                .pack
                .provided(ProviderKind::Cpu)
                .is_some()
        );
        let library = made.folder.join("libonnxruntime.so.1.30.0");
        std::fs::remove_file(&library).unwrap();
        std::fs::write(&library, "evil").unwrap();
        let mut staging = lock.stage().unwrap();
        let refused = take_pack(&mut staging, &made.folder).unwrap_err();
        assert!(
            matches!(&refused, InstallError::OtherContent { path, .. } if *path == library),
            "{refused}"
        );
    }

    #[test]
    fn a_folder_of_python_packages_gives_the_libraries_of_the_row() {
        let root = tempfile::tempdir().unwrap();
        let site = root.path().join("site");
        write(&site.join("nvidia/cu13/lib/libcurand.so.10"), "x");
        write(&site.join("nvidia/cu13/lib/libcurand.alt"), "x");
        write(&site.join("nvidia/other/lib/libother.so.1"), "x");
        let shelf = Shelf::new(root.path().join("providers"));
        let lock = shelf.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let pack = take_site(&mut staging, &site, row("nvidia-curand").unwrap(), "10.4.0.35").unwrap();
        assert_eq!(pack.libraries.len(), 1);
        assert_eq!(pack.id(), "nvidia-curand-10.4.0.35");
        assert!(take_site(&mut lock.stage().unwrap(), &site, row("cpu").unwrap(), "1.0").is_err());
    }
}
