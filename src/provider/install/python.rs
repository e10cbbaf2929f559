use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::{InstallError, Item};
use crate::fs;
use crate::provider::child::{self, Ended};
use crate::provider::{LOCK, Platform, Wheel};

/// How long a program may take to say its version.
const VERSION_DEADLINE: Duration = Duration::from_secs(20);

/// Is a program of the user's that fetches wheels: it knows the index and its mirrors, gpux does not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetcher {
    /// pip, as a command line that is followed by pip's own arguments: `python3 -m pip`, or `pip`.
    Pip(Vec<OsString>),
    Uv(PathBuf),
}

/// Is what a program brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fetched {
    /// The file of the wheel.
    Wheel(PathBuf),
    /// A folder of packages that has it unpacked.
    Site(PathBuf),
}

impl Fetcher {
    /// Finds pip: that of an active environment, then those on the search path.
    ///
    /// Errors: [`InstallError::NoProgram`].
    pub fn pip(environments: &[PathBuf], search_path: &[PathBuf]) -> Result<Fetcher, InstallError> {
        let folder = if cfg!(windows) { "Scripts" } else { "bin" };
        let folders: Vec<PathBuf> = environments
            .iter()
            .map(|it| it.join(folder))
            .chain(search_path.to_vec())
            .collect();
        let pythons = ["python3", "python"]
            .iter()
            .filter_map(|name| find_program(name, &folders));
        let by_python = pythons.map(|python| vec![python.into_os_string(), "-m".into(), "pip".into()]);
        let alone = ["pip3", "pip"].iter().filter_map(|name| find_program(name, &folders));
        let mut commands = by_python.chain(alone.map(|pip| vec![pip.into_os_string()]));
        commands
            .find(|command| answers(command))
            .map(Fetcher::Pip)
            .ok_or_else(|| InstallError::NoProgram {
                program: "pip".to_owned(),
            })
    }

    /// Finds uv on the search path.
    ///
    /// Errors: [`InstallError::NoProgram`].
    pub fn uv(environments: &[PathBuf], search_path: &[PathBuf]) -> Result<Fetcher, InstallError> {
        let folder = if cfg!(windows) { "Scripts" } else { "bin" };
        let folders: Vec<PathBuf> = environments
            .iter()
            .map(|it| it.join(folder))
            .chain(search_path.to_vec())
            .collect();
        find_program("uv", &folders)
            .filter(|uv| answers(&[uv.clone().into()]))
            .map(Fetcher::Uv)
            .ok_or_else(|| InstallError::NoProgram {
                program: "uv".to_owned(),
            })
    }

    /// Gives the name that the user knows.
    pub fn name(&self) -> &'static str {
        match self {
            Fetcher::Pip(_) => "pip",
            Fetcher::Uv(_) => "uv",
        }
    }

    /// Fetches the one wheel of the lock, whose digest the program checks, into a folder.
    ///
    /// Shape: with `shows` the program's own words and bars go to stderr.
    /// Errors: [`InstallError::Fetch`] with the program's last words.
    pub fn fetch(&self, item: &Item, folder: &Path, shows: bool) -> Result<Fetched, InstallError> {
        let requirements = folder.join("requirements.txt");
        fs::replace(&requirements, format!("{}\n", item.wheel.requirement()).as_bytes())?;
        let target = folder.join("fetched");
        fs::create_folders(&target)?;
        let mut command = self.command(item.wheel, &requirements, &target);
        if shows {
            // What a program tells is no data of ours.
            command.stdout(std::io::stderr()).stderr(Stdio::inherit());
        } else {
            command.stdout(Stdio::piped()).stderr(Stdio::piped());
        }
        let ended =
            child::run(&mut command, b"", None).map_err(|error| self.failed(&error.to_string(), String::new()))?;
        if !ended.is_success() {
            return Err(self.failed(&ended.describe(), said(&ended)));
        }
        match self {
            Fetcher::Uv(_) => Ok(Fetched::Site(target)),
            Fetcher::Pip(_) => {
                let wheel = target.join(&item.wheel.file);
                if fs::is_file(&wheel) {
                    return Ok(Fetched::Wheel(wheel));
                }
                Err(InstallError::NotFetched {
                    program: self.name().to_owned(),
                    file: item.wheel.file.clone(),
                })
            }
        }
    }

    /// Writes the command: this wheel by its digest, for this platform, no source, no other package, no code of its.
    fn command(&self, wheel: &Wheel, requirements: &Path, target: &Path) -> Command {
        let python = LOCK.python.as_str();
        let mut command = match self {
            Fetcher::Pip(words) => {
                let mut command = Command::new(&words[0]);
                command
                    .args(&words[1..])
                    .args(["download", "--disable-pip-version-check", "--no-input"]);
                command.args([
                    "--only-binary=:all:",
                    "--no-deps",
                    "--require-hashes",
                    "--python-version",
                    python,
                ]);
                command.args([
                    "--implementation",
                    "cp",
                    "--abi",
                    &format!("cp{}", python.replace('.', "")),
                ]);
                command.args(["--abi", "abi3", "--abi", "none", "--dest"]).arg(target);
                for tag in LOCK.tags(wheel.platform) {
                    command.args(["--platform", tag]);
                }
                command
            }
            Fetcher::Uv(uv) => {
                let mut command = Command::new(uv);
                command.args(["pip", "install", "--no-deps", "--only-binary=:all:", "--require-hashes"]);
                command.args(["--no-compile-bytecode", "--link-mode=copy", "--python-version", python]);
                command
                    .args(["--python-platform", uv_platform(wheel), "--target"])
                    .arg(target);
                command
            }
        };
        // The folder of the user's project may have settings that are meant for it.
        command.arg("--requirement").arg(requirements).current_dir(target);
        command
    }

    fn failed(&self, how: &str, said: String) -> InstallError {
        InstallError::Fetch {
            program: self.name().to_owned(),
            how: how.to_owned(),
            said,
        }
    }
}

fn said(ended: &Ended) -> String {
    let words = ended.last_words();
    if words.is_empty() { words } else { format!(": {words}") }
}

/// Gives uv's name of the platform that the wheel is for.
fn uv_platform(wheel: &Wheel) -> &'static str {
    use crate::provider::{Arch, Os};
    let Platform { os, arch } = wheel.platform;
    let is_new = wheel.file.contains("manylinux_2_34") || wheel.file.contains("manylinux_2_39");
    match (os, arch) {
        (Os::Linux, Arch::Aarch64) if is_new => "aarch64-manylinux_2_34",
        (Os::Linux, Arch::Aarch64) => "aarch64-manylinux_2_28",
        (Os::MacOs, _) => "aarch64-apple-darwin",
        (Os::Windows, Arch::Aarch64) => "aarch64-pc-windows-msvc",
        (Os::Windows, _) => "x86_64-pc-windows-msvc",
        _ if is_new => "x86_64-manylinux_2_34",
        _ => "x86_64-manylinux_2_28",
    }
}

/// Finds a program in the first folder that has it.
fn find_program(name: &str, folders: &[PathBuf]) -> Option<PathBuf> {
    let name = if cfg!(windows) {
        format!("{name}.exe")
    } else {
        name.to_owned()
    };
    folders
        .iter()
        .map(|folder| folder.join(&name))
        .find(|path| fs::is_file(path))
}

/// Tells whether a command says its version: a Python without pip does not.
fn answers(words: &[OsString]) -> bool {
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    child::run(&mut command, b"", Some(VERSION_DEADLINE)).is_ok_and(|ended| ended.is_success())
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::provider::row;

    fn program(folder: &Path, name: &str, script: &str) -> PathBuf {
        std::fs::create_dir_all(folder).unwrap();
        let path = folder.join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        path
    }

    fn item() -> Item {
        let row = row("webgpu").unwrap();
        Item {
            row,
            wheel: LOCK.wheel("webgpu", "linux-x86_64".parse().unwrap()).unwrap(),
        }
    }

    #[test]
    fn a_python_without_pip_is_passed_over() {
        let root = tempfile::tempdir().unwrap();
        let (first, second) = (root.path().join("1"), root.path().join("2"));
        assert!(Fetcher::pip(&[], std::slice::from_ref(&first)).is_err());
        program(&first, "python3", "exit 1");
        let pip = program(&second, "pip", "exit 0");
        let found = Fetcher::pip(&[], &[first, second.clone()]).unwrap();
        assert_eq!(found, Fetcher::Pip(vec![pip.into()]));
        let own = program(&root.path().join("venv/bin"), "python", "exit 0");
        let found = Fetcher::pip(&[root.path().join("venv")], &[second]).unwrap();
        assert_eq!(found, Fetcher::Pip(vec![own.into(), "-m".into(), "pip".into()]));
    }

    #[test]
    fn pip_is_asked_for_this_wheel_by_its_digest_and_for_nothing_else() {
        let root = tempfile::tempdir().unwrap();
        let file = &item().wheel.file;
        let script = format!(
            "echo \"$@\" > {0}/asked; cat \"$(echo \"$@\" | sed 's/.*--requirement //')\" > {0}/wanted; touch {file}",
            root.path().display()
        );
        let pip = Fetcher::Pip(vec![program(root.path(), "pip", &script).into()]);
        let folder = root.path().join("work");
        std::fs::create_dir(&folder).unwrap();
        let fetched = pip.fetch(&item(), &folder, false).unwrap();
        assert_eq!(fetched, Fetched::Wheel(folder.join("fetched").join(file)));
        let asked = std::fs::read_to_string(root.path().join("asked")).unwrap();
        for part in [
            "download",
            "--only-binary=:all:",
            "--no-deps",
            "--require-hashes",
            "--python-version 3.12",
            "--platform manylinux_2_28_x86_64",
        ] {
            assert!(asked.contains(part), "{part}: {asked}");
        }
        let wanted = std::fs::read_to_string(root.path().join("wanted")).unwrap();
        assert_eq!(wanted, format!("{}\n", item().wheel.requirement()));
    }

    #[test]
    fn a_program_that_fails_is_told_with_its_last_words() {
        let root = tempfile::tempdir().unwrap();
        let pip = Fetcher::Pip(vec![
            program(root.path(), "pip", "echo 'no route to host' >&2; exit 2").into(),
        ]);
        let error = pip.fetch(&item(), root.path(), false).unwrap_err().to_string();
        assert_eq!(error, "pip ended with exit code 2: no route to host");
        let other = Fetcher::Pip(vec![program(root.path(), "pip", "exit 0").into()]);
        let error = other.fetch(&item(), root.path(), false).unwrap_err();
        assert!(matches!(error, InstallError::NotFetched { .. }), "{error}");
    }
}
