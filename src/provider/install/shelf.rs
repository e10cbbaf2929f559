use std::collections::HashMap;
use std::path::{Path, PathBuf};

use super::InstallError;
use crate::fs::{self, File, Locked};
use crate::oci::{Algorithm, Digest, Hasher};
use crate::provider::find::{Installed, Looked, installed};
use crate::provider::{LibraryFile, PACK_FILE, Pack, PackError, hold};

/// How much is read and written at once.
const CHUNK_BYTES: usize = 1 << 20;

/// Is the folder of installed packs, `$GPUX_HOME/providers`.
#[derive(Clone, Debug)]
pub struct Shelf {
    folder: PathBuf,
}

/// Holds the folder of packs against the changes of others, until it is dropped.
#[derive(Debug)]
pub struct ShelfLock {
    folder: PathBuf,
    _file: File,
}

/// Is a pack in the making: a folder that is renamed when it is whole, and removed when it is dropped before.
#[derive(Debug)]
pub struct Staging<'a> {
    lock: &'a ShelfLock,
    folder: PathBuf,
    files: Vec<LibraryFile>,
    /// Files by their content: what several names have is stored once.
    known: HashMap<Digest, PathBuf>,
}

/// Is a file of a pack that is not what the pack says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    pub path: String,
    /// What lies there; none where nothing does.
    pub found: Option<Digest>,
    pub expected: Digest,
}

impl Shelf {
    /// Is the shelf at `folder`, which need not exist.
    pub fn new(folder: PathBuf) -> Shelf {
        Shelf { folder }
    }

    /// Lists the packs, and what there is no pack.
    pub fn list(&self) -> (Vec<Installed>, Vec<Looked>) {
        installed(&self.folder)
    }

    /// Finds the packs that a text names: NAME-VERSION, or NAME for all its versions.
    pub fn named(&self, text: &str) -> Vec<Installed> {
        let (packs, _) = self.list();
        packs
            .into_iter()
            .filter(|it| it.pack.id() == text || it.pack.name.as_str() == text)
            .collect()
    }

    /// Locks the folder, which is made where it is missing.
    ///
    /// Errors: [`InstallError::Busy`] at once where another process has the lock.
    pub fn lock(&self) -> Result<ShelfLock, InstallError> {
        fs::create_folders(&self.folder)?;
        let path = self.folder.join(".lock");
        let file = File::open_or_create(&path)?;
        if file.try_lock()? == Locked::ByOthers {
            return Err(InstallError::Busy { path });
        }
        Ok(ShelfLock {
            folder: self.folder.clone(),
            _file: file,
        })
    }

    /// Hashes every file of a pack.
    pub fn verify(pack: &Installed) -> Result<Vec<Damage>, InstallError> {
        let mut damages = Vec::new();
        for file in &pack.pack.libraries {
            let found = match File::open(&pack.folder.join(&file.path)) {
                Ok(opened) => Some(digest_of(opened)?),
                Err(error) if error.is_not_found() => None,
                Err(error) => return Err(error.into()),
            };
            if found != Some(file.digest) {
                damages.push(Damage {
                    path: file.path.clone(),
                    found,
                    expected: file.digest,
                });
            }
        }
        Ok(damages)
    }
}

fn digest_of(mut file: File) -> Result<Digest, InstallError> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let count = file.read(&mut chunk)?;
        hasher.update(&chunk[..count]);
        if count < chunk.len() {
            return Ok(hasher.finish());
        }
    }
}

impl ShelfLock {
    /// Begins a pack.
    pub fn stage(&self) -> Result<Staging<'_>, InstallError> {
        let mut n = 0;
        let folder = loop {
            let folder = self.folder.join(format!(".{}-{n}.tmp", std::process::id()));
            if fs::stat_link(&folder)?.is_none() {
                break folder;
            }
            n += 1;
        };
        fs::create_folders(&folder)?;
        Ok(Staging {
            lock: self,
            folder,
            files: Vec::new(),
            known: HashMap::new(),
        })
    }

    /// Tells that no process has loaded libraries of a pack: some load more of them later.
    ///
    /// Errors: [`InstallError::InUse`] names the processes.
    pub fn check_unused(&self, pack: &Pack) -> Result<(), InstallError> {
        match hold::holders(&self.folder.join(pack.id()))? {
            None => Ok(()),
            Some(processes) => Err(InstallError::InUse {
                pack: pack.id(),
                processes,
            }),
        }
    }

    /// Removes a pack: at once for those who look, and its bytes thereafter.
    ///
    /// Errors: [`InstallError::InUse`] where a process has loaded its libraries.
    pub fn remove(&self, pack: &Installed) -> Result<(), InstallError> {
        self.check_unused(&pack.pack)?;
        let away = self
            .folder
            .join(format!(".{}-{}.tmp", pack.pack.id(), std::process::id()));
        fs::remove_folder(&away)?;
        fs::rename(&pack.folder, &away)?;
        fs::sync_folder(&self.folder)?;
        Ok(fs::remove_folder(&away)?)
    }

    /// Removes what installations left over that did not come to their end. Nobody is installing, since this is locked.
    pub fn sweep(&self) -> Result<Vec<String>, InstallError> {
        let mut swept = fs::names(&self.folder)?;
        swept.retain(|name| fs::is_temporary(name));
        for name in &swept {
            fs::remove_folder(&self.folder.join(name))?;
        }
        Ok(swept)
    }
}

impl Staging<'_> {
    /// Gives the folder, for programs that write into it themselves; only what is added counts.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Adds a file that `read` gives in parts, an empty part at its end.
    ///
    /// Shape: `path` is safe below a folder. Content that another file of the pack has is stored once.
    pub fn add(
        &mut self,
        path: &str,
        read: &mut dyn FnMut(&mut [u8]) -> Result<usize, InstallError>,
    ) -> Result<(), InstallError> {
        let target = self.place(path)?;
        let mut file = File::create_new(&target)?;
        let mut hasher = Hasher::new(Algorithm::Sha256);
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = read(&mut chunk)?;
            if count == 0 {
                break;
            }
            hasher.update(&chunk[..count]);
            file.write_all(&chunk[..count])?;
        }
        let size_bytes = hasher.size_bytes();
        let digest = hasher.finish();
        match self.known.get(&digest) {
            Some(known) => {
                drop(file);
                fs::remove(&target)?;
                fs::link_or_copy(known, &target)?;
            }
            None => {
                file.set_read_only()?;
                file.sync()?;
                self.known.insert(digest, target);
            }
        }
        self.files.push(LibraryFile {
            path: path.to_owned(),
            digest,
            size_bytes,
        });
        Ok(())
    }

    /// Adds a copy of a file.
    pub fn copy(&mut self, path: &str, source: &Path) -> Result<(), InstallError> {
        let mut file = File::open(source)?;
        self.add(path, &mut |chunk| Ok(file.read(chunk)?))
    }

    /// Adds a file whose content is known to have the digest, as a second name of it where the file system can.
    pub fn link(&mut self, path: &str, source: &Path, digest: Digest) -> Result<(), InstallError> {
        let target = self.place(path)?;
        fs::link_or_copy(source, &target)?;
        let size_bytes = File::open(&target)?.stat()?.size_bytes;
        self.files.push(LibraryFile {
            path: path.to_owned(),
            digest,
            size_bytes,
        });
        Ok(())
    }

    fn place(&self, path: &str) -> Result<PathBuf, InstallError> {
        let target = self.folder.join(path);
        if let Some(parent) = target.parent() {
            fs::create_folders(parent)?;
        }
        Ok(target)
    }

    /// Takes what was added, in the order of the names.
    pub fn files(&self) -> Vec<LibraryFile> {
        let mut files = self.files.clone();
        files.sort_by(|first, second| first.path.cmp(&second.path));
        files
    }

    /// Makes the pack visible; one of the same name and version is replaced, unless it is the same and in use.
    ///
    /// Errors: [`InstallError::InUse`] where a process has loaded libraries of another one to be replaced.
    pub fn commit(self, pack: &Pack) -> Result<Installed, InstallError> {
        let bytes = pack.to_bytes();
        // What is written is what every later command reads.
        Pack::parse(&bytes, Path::new(PACK_FILE))?;
        fs::replace(&self.folder.join(PACK_FILE), &bytes)?;
        let shelf = &self.lock.folder;
        let target = shelf.join(pack.id());
        if let Err(in_use) = self.lock.check_unused(pack) {
            // The same, whole, needs no other in its place: somebody else was quicker, and uses it already.
            let (packs, _) = installed(shelf);
            let same = packs
                .into_iter()
                .find(|it| it.folder == target && it.pack.to_bytes() == bytes);
            return match same {
                Some(same) if Shelf::verify(&same)?.is_empty() => Ok(same),
                _ => Err(in_use),
            };
        }
        if fs::stat_link(&target)?.is_some() {
            let away = shelf.join(format!(".{}-{}.tmp", pack.id(), std::process::id()));
            fs::remove_folder(&away)?;
            fs::rename(&target, &away)?;
            fs::rename(&self.folder, &target)?;
            fs::remove_folder(&away)?;
        } else {
            fs::rename(&self.folder, &target)?;
        }
        fs::sync_folder(shelf)?;
        let (packs, _) = installed(shelf);
        packs
            .into_iter()
            .find(|it| it.folder == target)
            .ok_or(InstallError::Pack(PackError::Misplaced {
                path: target,
                expected: pack.id(),
            }))
    }
}

impl Drop for Staging<'_> {
    fn drop(&mut self) {
        // After a commit there is nothing left; after a failure, its error is the one to tell.
        let _ = fs::remove_folder(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::faults::{self, Fault};
    use crate::provider::{Platform, row};

    /// Installs a pack of ONNX Runtime whose files are these.
    pub(super) fn install(shelf: &Shelf, content: &[u8]) -> Result<Installed, InstallError> {
        let lock = shelf.lock()?;
        let mut staging = lock.stage()?;
        let name = Platform::current().library("onnxruntime");
        for path in [name.as_str(), "licenses/LICENSE"] {
            let mut rest = content;
            staging.add(path, &mut |chunk| {
                let count = rest.len().min(chunk.len());
                chunk[..count].copy_from_slice(&rest[..count]);
                rest = &rest[count..];
                Ok(count)
            })?;
        }
        let version = "1.32.0".parse().unwrap();
        let pack = row("cpu")
            .unwrap()
            .pack(Platform::current(), version, staging.files())
            .unwrap();
        staging.commit(&pack)
    }

    #[test]
    fn a_pack_is_whole_or_not_there_at_every_fault() {
        for n in 0.. {
            let home = tempfile::tempdir().unwrap();
            let shelf = Shelf::new(home.path().join("providers"));
            let plan = faults::plan(home.path(), n, Fault::NoSpace);
            let done = install(&shelf, b"content");
            let struck = plan.struck();
            drop(plan);
            let (packs, refused) = shelf.list();
            assert!(refused.is_empty(), "{refused:?}");
            match done {
                Ok(pack) => assert_eq!(Shelf::verify(&pack).unwrap(), []),
                Err(error) => {
                    assert!(matches!(error, InstallError::File(_)), "{error}");
                    for pack in packs {
                        assert_eq!(
                            Shelf::verify(&pack).unwrap(),
                            [],
                            "only the last sync may fail after the rename"
                        );
                    }
                }
            }
            if !struck {
                assert!(n > 8, "{n} calls can fail");
                return;
            }
        }
    }

    #[test]
    fn content_of_several_names_is_stored_once() {
        let home = tempfile::tempdir().unwrap();
        let pack = install(&Shelf::new(home.path().to_owned()), b"content").unwrap();
        let stat = |path: &str| fs::stat(&pack.folder.join(path)).unwrap().unwrap();
        let [first, second] = [&pack.pack.libraries[0].path, &pack.pack.libraries[1].path].map(|path| stat(path));
        assert!(first.inode == second.inode || cfg!(not(unix)));
        assert_eq!(first.mode & 0o222, 0, "nobody writes to a pack");
    }

    #[test]
    fn a_second_change_is_refused_while_the_first_goes_on() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path().to_owned());
        let lock = shelf.lock().unwrap();
        assert!(matches!(shelf.lock(), Err(InstallError::Busy { .. })));
        drop(lock);
        shelf.lock().unwrap();
    }

    #[test]
    fn a_changed_file_and_a_missing_one_are_found() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path().to_owned());
        let pack = install(&shelf, b"content").unwrap();
        fs::remove(&pack.folder.join("licenses/LICENSE")).unwrap();
        let library = pack.folder.join(Platform::current().library("onnxruntime"));
        fs::remove(&library).unwrap();
        std::fs::write(&library, b"CONTENT").unwrap();
        let damages = Shelf::verify(&pack).unwrap();
        let found: Vec<_> = damages.iter().map(|damage| damage.found).collect();
        assert_eq!(found.len(), 2);
        assert!(found.contains(&None) && found.contains(&Some(Digest::of(b"CONTENT"))));
    }

    #[test]
    fn packs_are_replaced_removed_and_what_is_left_over_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(home.path().to_owned());
        install(&shelf, b"old").unwrap();
        let pack = install(&shelf, b"new").unwrap();
        assert_eq!(Shelf::verify(&pack).unwrap(), []);
        assert_eq!(shelf.named("cpu").len(), 1);
        assert_eq!(shelf.named("cpu-1.32.0").len(), 1);
        assert!(shelf.named("cpu-1").is_empty());
        std::fs::create_dir(home.path().join(".1-0.tmp")).unwrap();
        let lock = shelf.lock().unwrap();
        assert_eq!(lock.sweep().unwrap(), [".1-0.tmp"]);
        lock.remove(&pack).unwrap();
        assert_eq!(fs::names(home.path()).unwrap(), [".lock"]);
    }

    #[test]
    fn a_pack_in_use_stays_where_the_same_is_installed_again_and_is_not_replaced_by_another() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(folder.path().to_owned());
        let first = install(&shelf, b"first").unwrap();
        // Locks of one process do not meet: another reads the document, as one that loads the libraries does.
        let held = File::open(&first.folder.join(PACK_FILE)).unwrap();
        held.try_lock_shared().unwrap();
        assert_eq!(install(&shelf, b"first").unwrap().folder, first.folder);
        assert!(matches!(install(&shelf, b"other"), Err(InstallError::InUse { .. })));
        drop(held);
        install(&shelf, b"other").unwrap();
    }
}
