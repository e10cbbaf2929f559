use std::io::Read;
use std::path::Path;

use zip::ZipArchive;

use super::{InstallError, Staging};
use crate::fs::{self, File};
use crate::oci::{Algorithm, Digest, FilePath, Hasher};
use crate::provider::{CATALOGUE, LOCK, Os, Pack, PackVersion, Platform, Row};

/// What a wheel may unpack to: the larger of this and twenty times its size.
const EXPANSION_LIMIT_BYTES: u64 = 512 << 20;
const EXPANSION_RATIO: u64 = 20;

/// The most members of a wheel.
const MEMBER_LIMIT: usize = 100_000;

/// Finds the row and the version that the name of a wheel tells: `onnxruntime_gpu-1.31.1-cp312-….whl`.
///
/// Errors: [`InstallError::UnknownWheel`]; [`InstallError::Name`] for a version that is none.
pub fn row_of_wheel(path: &Path) -> Result<(&'static Row, PackVersion), InstallError> {
    let unknown = || InstallError::UnknownWheel { path: path.to_owned() };
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(unknown)?;
    let mut parts = name.strip_suffix(".whl").ok_or_else(unknown)?.split('-');
    let (package, version) = parts.next().zip(parts.next()).ok_or_else(unknown)?;
    let package = package.replace('_', "-");
    let made_of = |row: &&Row| {
        let wheels = LOCK.wheels(row.name).filter(|wheel| wheel.package == package);
        // The packages for CUDA 13 and 12 have one name, and differ by their versions.
        let mut wheels = wheels.peekable();
        wheels.peek().is_some() && (row.name != "cuda12" || version == wheels.next().map_or("", |it| &it.version))
    };
    let mut rows = CATALOGUE.iter().filter(made_of);
    let first = rows.next().ok_or_else(unknown)?;
    let row = rows.next().filter(|row| row.name == "cuda12").unwrap_or(first);
    Ok((row, version.parse()?))
}

/// Unpacks the libraries of a wheel, and its licences.
///
/// Errors: [`InstallError::OtherContent`] where the lock has the file with another digest, before anything is unpacked;
/// [`InstallError::Zip`], [`InstallError::Unsafe`], [`InstallError::Expansion`]; [`InstallError::Incomplete`].
pub fn take_wheel(staging: &mut Staging<'_>, path: &Path) -> Result<Pack, InstallError> {
    let (row, version) = row_of_wheel(path)?;
    let mut file = File::open(path)?;
    check_lock(path, &mut file)?;
    let limit = EXPANSION_LIMIT_BYTES.max(file.stat()?.size_bytes.saturating_mul(EXPANSION_RATIO));
    unpack(staging, path, &file, row, limit)?;
    let platform = Platform::current();
    let made = row.pack(platform, version, staging.files());
    let mut pack = made.map_err(|source| InstallError::Incomplete {
        path: path.to_owned(),
        source,
    })?;
    pack.source = path.file_name().map(|name| name.to_string_lossy().into_owned());
    Ok(pack)
}

/// Holds a wheel that the lock knows to what the lock says.
fn check_lock(path: &Path, file: &mut File) -> Result<(), InstallError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let Some(locked) = LOCK.packs.iter().find(|wheel| wheel.file == name) else {
        return Ok(());
    };
    let found = digest(file)?;
    file.rewind()?;
    if found == locked.digest() {
        return Ok(());
    }
    Err(InstallError::OtherContent {
        path: path.to_owned(),
        expected: locked.digest(),
        found,
    })
}

fn digest(file: &mut File) -> Result<Digest, fs::Error> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut chunk = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut chunk)?;
        hasher.update(&chunk[..count]);
        if count < chunk.len() {
            return Ok(hasher.finish());
        }
    }
}

fn unpack(
    staging: &mut Staging<'_>,
    path: &Path,
    file: &File,
    row: &Row,
    limit_bytes: u64,
) -> Result<(), InstallError> {
    let broken = |source| InstallError::Zip {
        path: path.to_owned(),
        source,
    };
    let refuse = |problem: String| InstallError::Unsafe {
        path: path.to_owned(),
        problem,
    };
    let mut archive = ZipArchive::new(file.system()).map_err(broken)?;
    if archive.len() > MEMBER_LIMIT {
        return Err(refuse(format!("it has {} files", archive.len())));
    }
    if archive.has_duplicate_names() {
        return Err(refuse("several have one name".to_owned()));
    }
    let mut taken = Vec::new();
    let mut unpacked_bytes: u64 = 0;
    for at in 0..archive.len() {
        let member = archive.by_index_raw(at).map_err(broken)?;
        let name = String::from_utf8_lossy(member.name_raw()).into_owned();
        if member.is_dir() {
            continue;
        }
        // One bad name is reason enough to want nothing of the rest.
        let name: FilePath = name.parse().map_err(|error| refuse(format!("{error}")))?;
        let Some(target) = wanted(row, &name) else { continue };
        if member.is_symlink() || member.encrypted() {
            return Err(refuse(format!("`{name}` is no plain file")));
        }
        unpacked_bytes = unpacked_bytes.saturating_add(member.size());
        taken.push((at, target.parse::<FilePath>()?));
    }
    if unpacked_bytes > limit_bytes {
        return Err(InstallError::Expansion {
            path: path.to_owned(),
            limit_bytes,
        });
    }
    FilePath::check_distinct(taken.iter().map(|(_, target)| target)).map_err(|error| refuse(format!("{error}")))?;
    for (at, target) in taken {
        let mut member = archive.by_index(at).map_err(broken)?;
        let mut left = member.size();
        staging.add(target.as_str(), &mut |chunk| {
            let count = read_some(&mut member, chunk).map_err(|error| broken(error.into()))?;
            // What is declared was counted; more than that is a lie.
            left = left
                .checked_sub(count as u64)
                .ok_or_else(|| refuse(format!("`{target}` is longer than it says")))?;
            Ok(count)
        })?;
    }
    Ok(())
}

fn read_some(from: &mut impl Read, chunk: &mut [u8]) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < chunk.len() {
        match from.read(&mut chunk[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(filled)
}

/// Says under which name a member of a wheel is kept: libraries by their own, licences in a folder; the rest is not.
pub(super) fn wanted(row: &Row, member: &FilePath) -> Option<String> {
    let name = member.file_name();
    let folder = member.as_str().strip_suffix(name)?.trim_end_matches('/');
    let is_licence = ["LICENSE", "License", "ThirdPartyNotices", "Qualcomm_LICENSE"]
        .iter()
        .any(|start| name.starts_with(start));
    if is_licence {
        return Some(format!("licenses/{}", member.as_str().replace('/', "_")));
    }
    let is_listed = row.folders.contains(&folder);
    let platform = Platform::current();
    // Qualcomm's processors load libraries of their own, with their catalogues, on Windows too.
    let is_for_chip =
        row.name == "qnn" && platform.os == Os::Windows && (name.ends_with(".so") || name.ends_with(".cat"));
    (is_listed && (platform.is_library(name) || is_for_chip) && !name.contains("Py3")).then(|| name.to_owned())
}

#[cfg(test)]
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;
    use crate::provider::Installed;
    use crate::provider::install::Shelf;

    const CORE: &str = "onnxruntime/capi/libonnxruntime.so.1.32.9";

    /// Is a member of an archive: its name and content.
    type Member<'a> = (&'a str, &'a [u8]);

    fn wheel(folder: &Path, name: &str, members: &[(&str, &[u8])]) -> std::path::PathBuf {
        let path = folder.join(name);
        let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
        for (name, content) in members {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(content).unwrap();
        }
        zip.finish().unwrap();
        path
    }

    fn install(folder: &Path, wheel: &Path) -> Result<Installed, InstallError> {
        let shelf = Shelf::new(folder.join("providers"));
        let lock = shelf.lock()?;
        let mut staging = lock.stage()?;
        let pack = take_wheel(&mut staging, wheel)?;
        staging.commit(&pack)
    }

    const NAME: &str = "onnxruntime-1.32.9-cp312-cp312-manylinux_2_28_x86_64.whl";

    #[test]
    fn libraries_and_licences_are_taken_and_python_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let members: [(&str, &[u8]); 6] = [
            (CORE, b"core"),
            (
                "onnxruntime/capi/onnxruntime_pybind11_state.cpython-312-x86_64-linux-gnu.so",
                b"python",
            ),
            ("onnxruntime/__init__.py", b"python"),
            ("onnxruntime/tools/libother.so", b"elsewhere"),
            ("onnxruntime/LICENSE", b"MIT"),
            ("onnxruntime-1.32.9.dist-info/RECORD", b""),
        ];
        let pack = install(folder.path(), &wheel(folder.path(), NAME, &members)).unwrap();
        let paths: Vec<&str> = pack.pack.libraries.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(paths, ["libonnxruntime.so.1.32.9", "licenses/onnxruntime_LICENSE"]);
        assert_eq!(
            (pack.pack.id().as_str(), pack.pack.source.as_deref()),
            ("cpu-1.32.9", Some(NAME))
        );
    }

    #[test]
    fn a_wheel_that_is_not_what_it_must_be_installs_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let good: (&str, &[u8]) = (CORE, b"core");
        let cases: [(&str, &str, Vec<Member>); 7] = [
            ("not safe", NAME, vec![good, ("../../evil.so", b"x")]),
            ("not safe", NAME, vec![good, ("/etc/evil.so", b"x")]),
            ("not safe", NAME, vec![good, ("onnxruntime\\capi\\evil.so", b"x")]),
            (
                "not safe",
                NAME,
                vec![
                    good,
                    ("onnxruntime/capi/libOther.so", b"x"),
                    ("onnxruntime/capi/libother.so", b"x"),
                ],
            ),
            (
                "must have libonnxruntime.so",
                NAME,
                vec![("onnxruntime/capi/libx.so", b"x")],
            ),
            (
                "no wheel of a pack",
                "numpy-2.0-cp312-cp312-linux_x86_64.whl",
                vec![good],
            ),
            (
                "is expected",
                "onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl",
                vec![good],
            ),
        ];
        for (expected, name, members) in cases {
            let Err(error) = install(folder.path(), &wheel(folder.path(), name, &members)) else {
                panic!("{members:?} were installed");
            };
            assert!(error.to_string().contains(expected), "{expected}: {error}");
            let left = fs::names(&folder.path().join("providers")).unwrap();
            assert_eq!(left, [".lock"], "{expected}");
        }
        std::fs::write(folder.path().join(NAME), b"PK no zip").unwrap();
        let error = install(folder.path(), &folder.path().join(NAME)).unwrap_err();
        assert!(matches!(error, InstallError::Zip { .. }), "{error}");
    }

    #[test]
    fn a_link_in_a_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        let mut zip = ZipWriter::new(std::fs::File::create(&path).unwrap());
        zip.add_symlink(CORE, "/etc/passwd", SimpleFileOptions::default())
            .unwrap();
        zip.finish().unwrap();
        let error = install(folder.path(), &path).unwrap_err();
        assert!(error.to_string().contains("no plain file"), "{error}");
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let folder = tempfile::tempdir().unwrap();
        let zeros = vec![0; 1 << 20];
        let path = wheel(folder.path(), NAME, &[(CORE, &zeros)]);
        let shelf = Shelf::new(folder.path().join("providers"));
        let lock = shelf.lock().unwrap();
        let mut staging = lock.stage().unwrap();
        let file = File::open(&path).unwrap();
        let row = crate::provider::row("cpu").unwrap();
        let error = unpack(&mut staging, &path, &file, row, 1 << 19).unwrap_err();
        assert!(matches!(error, InstallError::Expansion { .. }), "{error}");
        assert!(staging.files().is_empty());
    }

    #[test]
    fn the_pack_is_told_by_the_name_of_the_wheel() {
        for (name, expected) in [
            ("onnxruntime-1.32.0-cp312-x.whl", Some("cpu")),
            ("onnxruntime_gpu-1.31.1-cp312-x.whl", Some("cuda")),
            ("onnxruntime_gpu-1.26.0-cp312-x.whl", Some("cuda12")),
            ("onnxruntime_gpu-1.33.0-cp312-x.whl", Some("cuda")),
            ("onnxruntime_ep_webgpu-0.4.0-py3-none-x.whl", Some("webgpu")),
            ("nvidia_cublas-13.1.0.3-py3-none-x.whl", Some("nvidia-cublas")),
            ("onnxruntime.whl", None),
            ("onnxruntime_gpu-1.31.1.tar.gz", None),
        ] {
            let found = row_of_wheel(Path::new(name)).ok().map(|(row, _)| row.name);
            assert_eq!(found, expected, "{name}");
        }
    }
}
