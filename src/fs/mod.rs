//! The one caller of `std::fs`: every error says what was tried, and on which path.
//!
//! What is written here survives: [`replace`] shows readers the old file or the new one, and [`File::sync`] and
//! [`sync_folder`] bring content and names to the disk. Under test, `faults` makes any of these calls fail.

mod file;
mod map;
#[cfg(unix)]
mod shared;
mod stat;

#[cfg(test)]
pub mod faults;

use std::io;
use std::path::{Path, PathBuf};

pub use file::{File, Locked};
pub use map::map;
#[cfg(unix)]
pub use shared::SharedMemory;
pub use stat::Stat;

/// Says which act on which path failed, and why.
#[derive(Debug, thiserror::Error)]
#[error("cannot {act} `{}`", path.display())]
pub struct Error {
    /// What was tried, as a verb: `read`, `write`, `rename`.
    pub act: &'static str,
    /// What it was tried on.
    pub path: PathBuf,
    /// What the system answered.
    #[source]
    pub source: io::Error,
}

impl Error {
    /// Tells whether the path does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == io::ErrorKind::NotFound
    }

    /// Tells whether the place cannot be written at all: it is mounted read-only, or it is another user's.
    pub fn is_read_only(&self) -> bool {
        matches!(
            self.source.kind(),
            io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied
        )
    }
}

/// Calls the system with a path: an error gets its act and path, and a planned fault strikes first.
fn call<T>(act: &'static str, path: &Path, system: impl FnOnce() -> io::Result<T>) -> Result<T, Error> {
    #[cfg(test)]
    let answer = faults::strike(act, path).map_or_else(system, Err);
    #[cfg(not(test))]
    let answer = system();
    answer.map_err(|source| Error {
        act,
        path: path.to_owned(),
        source,
    })
}

/// Reads a whole file.
pub fn read(path: &Path) -> Result<Vec<u8>, Error> {
    call("read", path, || std::fs::read(path))
}

/// Reads a file up to a size, so that one more byte than a format allows tells that it is too long. Does not wait for a
/// named pipe.
pub fn read_at_most(path: &Path, limit_bytes: usize) -> Result<Vec<u8>, Error> {
    let mut bytes = vec![0; limit_bytes];
    let count = File::open(path)?.read(&mut bytes)?;
    bytes.truncate(count);
    Ok(bytes)
}

/// Reads a whole file; `None` if there is none.
pub fn read_if_exists(path: &Path) -> Result<Option<Vec<u8>>, Error> {
    if_exists(read(path))
}

/// Turns the error that a path does not exist into `None`.
pub fn if_exists<T>(result: Result<T, Error>) -> Result<Option<T>, Error> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.is_not_found() => Ok(None),
        Err(error) => Err(error),
    }
}

/// Gives what the system knows about a path, links followed; `None` if there is nothing.
pub fn stat(path: &Path) -> Result<Option<Stat>, Error> {
    if_exists(call("examine", path, || std::fs::metadata(path))).map(|found| found.map(|found| Stat::of(&found)))
}

/// Gives what the system knows about a path itself, be it a link; `None` if there is nothing.
pub fn stat_link(path: &Path) -> Result<Option<Stat>, Error> {
    if_exists(call("examine", path, || std::fs::symlink_metadata(path))).map(|found| found.map(|it| Stat::of(&it)))
}

/// Lists the entries of a folder as paths, in no order.
pub fn list(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    call("list", folder, || {
        std::fs::read_dir(folder)?.map(|entry| Ok(entry?.path())).collect()
    })
}

/// Gives the absolute path without links that leads to an existing file or folder.
pub fn canonical(path: &Path) -> Result<PathBuf, Error> {
    call("find", path, || std::fs::canonicalize(path))
}

/// Tells whether a path leads to a file, through links too.
pub fn is_file(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
}

/// Lists the names in a folder, sorted; empty if there is no such folder. Names that are not Unicode are left out.
pub fn names(folder: &Path) -> Result<Vec<String>, Error> {
    let read = || {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(folder)? {
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    };
    Ok(if_exists(call("list", folder, read))?.unwrap_or_default())
}

/// Makes a folder and those above it, where they are missing, and brings their names to the disk.
///
/// Shape: folders made here are writable by their owner alone, whatever the umask.
pub fn create_folders(folder: &Path) -> Result<(), Error> {
    if folder.as_os_str().is_empty() || stat(folder)?.is_some_and(|found| found.is_folder) {
        return Ok(());
    }
    let parent = folder.parent().unwrap_or(Path::new(""));
    create_folders(parent)?;
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o755);
    match call("make folder", folder, || builder.create(folder)) {
        Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
        Ok(()) => sync_folder(parent),
    }
}

/// Brings the names in a folder to the disk. On systems that cannot, names are on the disk when the call that set them
/// returns.
pub fn sync_folder(folder: &Path) -> Result<(), Error> {
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    call("sync", folder, || {
        #[cfg(unix)]
        std::fs::File::open(folder)?.sync_all()?;
        Ok(())
    })
}

/// Renames a file; one that has the new name is replaced.
pub fn rename(from: &Path, to: &Path) -> Result<(), Error> {
    call("rename", from, || std::fs::rename(from, to))
}

/// Removes a file; it is no error if there is none.
pub fn remove(path: &Path) -> Result<(), Error> {
    if_exists(call("remove", path, || std::fs::remove_file(path))).map(|_| ())
}

/// Removes a folder with all that is in it, links unfollowed; it is no error if there is none.
pub fn remove_folder(folder: &Path) -> Result<(), Error> {
    if_exists(call("remove", folder, || std::fs::remove_dir_all(folder))).map(|_| ())
}

/// Lists the files below a folder by their paths from there, with `/` between components, sorted. Links are no files.
pub fn files_below(folder: &Path) -> Result<Vec<String>, Error> {
    let mut files = Vec::new();
    let mut open = vec![String::new()];
    while let Some(prefix) = open.pop() {
        for name in names(&folder.join(&prefix))? {
            let path = format!("{prefix}{name}");
            match stat_link(&folder.join(&path))? {
                Some(found) if found.is_folder => open.push(format!("{path}/")),
                Some(found) if found.is_file => files.push(path),
                _ => {}
            }
        }
    }
    files.sort();
    Ok(files)
}

/// Replaces a file's content in one step: readers see the old content or the new one, also after a crash.
///
/// The new content is first written beside the file under a name that [`is_temporary`] recognises.
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_with(path, &mut |file| file.write_all(bytes))
}

/// Replaces a file's content as [`replace`] does, with what `write` writes.
pub fn replace_with(path: &Path, write: &mut dyn FnMut(&mut File) -> Result<(), Error>) -> Result<(), Error> {
    replace_as(path, write, &File::create_new)
}

/// Replaces a file's content as [`replace`] does, and lets nobody but its owner read it.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    replace_as(path, &mut |file| file.write_all(bytes), &File::create_new_private)
}

fn replace_as(
    path: &Path,
    write: &mut dyn FnMut(&mut File) -> Result<(), Error>,
    create: &dyn Fn(&Path) -> Result<File, Error>,
) -> Result<(), Error> {
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (temporary, mut file) = unused_as(folder, &|n| format!(".{name}.{}-{n}.tmp", std::process::id()), create)?;
    let written = write(&mut file).and_then(|()| file.sync());
    drop(file);
    let replaced = written.and_then(|()| rename(&temporary, path));
    if replaced.is_err() {
        // The first error is the one to tell; what is left over is recognised by its name.
        let _ = remove(&temporary);
    }
    replaced?;
    sync_folder(folder)
}

/// Tells whether a file name is one that [`replace`] gives to unfinished content.
pub fn is_temporary(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(".tmp")
}

/// Makes a new file under the first of `name(0)`, `name(1)`, … that is free.
pub fn unused(folder: &Path, name: &dyn Fn(u64) -> String) -> Result<(PathBuf, File), Error> {
    unused_as(folder, name, &File::create_new)
}

fn unused_as(
    folder: &Path,
    name: &dyn Fn(u64) -> String,
    create: &dyn Fn(&Path) -> Result<File, Error>,
) -> Result<(PathBuf, File), Error> {
    let mut n = 0;
    loop {
        let path = folder.join(name(n));
        match create(&path) {
            Err(error) if error.source.kind() == io::ErrorKind::AlreadyExists => n += 1,
            made => return made.map(|file| (path, file)),
        }
    }
}

/// Gives the number of bytes that the file system of `path` has left for this user; `None` where it cannot be asked.
pub fn free_bytes(path: &Path) -> Result<Option<u64>, Error> {
    #[cfg(unix)]
    return call("examine", path, || {
        let found = rustix::fs::statvfs(path)?;
        Ok(Some(found.f_bavail.saturating_mul(found.f_frsize)))
    });
    #[cfg(not(unix))]
    call("examine", path, || Ok(None))
}

/// Gives a file a second name, or copies it where the file system has no second names or the two are on different ones.
pub fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    match call("link", to, || std::fs::hard_link(from, to)) {
        Ok(()) => Ok(()),
        Err(_) => copy(from, to),
    }
}

/// Copies a file's content to another file, which is made where it is missing.
pub fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    call("copy to", to, || std::fs::copy(from, to).map(|_| ()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replace_leaves_the_old_or_the_new_content_at_every_fault() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("x");
        replace(&path, b"old").unwrap();
        for n in 0.. {
            let plan = faults::plan(home.path(), n, faults::Fault::NoSpace);
            let replaced = replace(&path, b"new");
            if !plan.struck() {
                assert_eq!(n, 5, "create, write, sync, rename and sync of the folder can fail");
                replaced.unwrap();
                break;
            }
            drop(plan);
            let error = replaced.unwrap_err();
            assert_eq!(error.source.kind(), io::ErrorKind::StorageFull);
            let content = read(&path).unwrap();
            assert!(
                content == b"old" || content == b"new" && error.act == "sync",
                "{error:?}"
            );
            assert_eq!(names(home.path()).unwrap(), ["x"]);
            replace(&path, b"old").unwrap();
        }
    }

    #[test]
    fn an_error_names_act_path_and_cause() {
        let error = read(Path::new("/no/such/file")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read `/no/such/file`");
        assert!(error.is_not_found());
        assert_eq!(names(Path::new("/no/such/folder")).unwrap(), [""; 0]);
    }

    #[cfg(unix)]
    #[test]
    fn folders_are_not_writable_by_others() {
        let home = tempfile::tempdir().unwrap();
        let folder = home.path().join("a/b");
        create_folders(&folder).unwrap();
        create_folders(&folder).unwrap();
        assert_eq!(stat(&folder).unwrap().unwrap().mode & 0o022, 0);
    }
}
