use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::{LoadPlan, PACK_FILE};
use crate::fs::{self, File, Locked};

/// How far above a library its pack's folder may lie.
const DEPTH: usize = 8;

/// Where Linux lists the locks on files.
const LOCKS: &str = "/proc/locks";

/// The packs that this process has loaded from; libraries stay until it ends, and so do their packs.
static HELD: Mutex<BTreeMap<PathBuf, File>> = Mutex::new(BTreeMap::new());

/// Keeps the packs of a plan from being removed, until this process ends.
///
/// Errors: a pack's document is there and cannot be read.
pub fn hold(plan: &LoadPlan) -> Result<(), fs::Error> {
    let own = [Some(&plan.core), plan.plugin.as_ref(), plan.library.as_ref()];
    let files = plan.dependencies.iter().chain(own.into_iter().flatten());
    files.map(PathBuf::as_path).try_for_each(hold_pack_of)
}

/// Keeps the pack of a library from being removed, until this process ends; nothing is to be done for one of no pack.
fn hold_pack_of(library: &Path) -> Result<(), fs::Error> {
    let is_pack = |folder: &&Path| fs::is_file(&folder.join(PACK_FILE));
    let Some(folder) = library.ancestors().skip(1).take(DEPTH).find(is_pack) else {
        return Ok(());
    };
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    if held.contains_key(folder) {
        return Ok(());
    }
    let Some(file) = fs::if_exists(File::open(&folder.join(PACK_FILE)))? else {
        return Ok(());
    };
    // A file system without locks has nobody who looks for them either.
    if matches!(file.try_lock_shared(), Ok(Locked::Ours)) {
        held.insert(folder.to_owned(), file);
    }
    Ok(())
}

/// Says who has loaded from a pack; `None` where nobody has.
///
/// Shape: the numbers of the processes, as far as the system tells them.
/// Errors: the pack's document is there and cannot be read.
pub(super) fn holders(folder: &Path) -> Result<Option<Vec<u32>>, fs::Error> {
    let Some(file) = fs::if_exists(File::open(&folder.join(PACK_FILE)))? else {
        return Ok(None);
    };
    match file.try_lock() {
        Ok(Locked::ByOthers) => {}
        // A file system without locks has none to look for.
        Ok(Locked::Ours) | Err(_) => return Ok(None),
    }
    let inode = file.stat()?.inode;
    let list = fs::read(Path::new(LOCKS)).unwrap_or_default();
    Ok(Some(processes(&String::from_utf8_lossy(&list), inode)))
}

/// Reads the processes that have locked the file of this number out of Linux's list.
///
/// Source: proc_locks(5).
fn processes(list: &str, inode: u64) -> Vec<u32> {
    let process = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let ["FLOCK", _, _, process, place, ..] = words.get(1..)? else {
            return None;
        };
        let is_it = place.rsplit(':').next()? == inode.to_string();
        process.parse().ok().filter(|_| is_it)
    };
    let mut found: Vec<u32> = list.lines().filter_map(process).collect();
    found.sort_unstable();
    found.dedup();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processes_that_hold_a_file_are_read_from_linux_list() {
        let list = "1: POSIX  ADVISORY  WRITE 10 08:01:77 0 EOF\n\
                    2: FLOCK  ADVISORY  READ 12 08:01:77 0 EOF\n\
                    3: FLOCK  ADVISORY  READ 11 08:01:77 0 EOF\n\
                    3: -> FLOCK  ADVISORY  WRITE 13 08:01:77 0 EOF\n\
                    4: FLOCK  ADVISORY  READ 14 08:01:177 0 EOF\nnonsense\n";
        assert_eq!(processes(list, 77), [11, 12]);
        assert_eq!(processes("", 77), [0; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_pack_whose_library_is_loaded_names_the_process_and_a_library_of_no_pack_is_nobodys() {
        let home = tempfile::tempdir().unwrap();
        let pack = home.path().join("cpu-1.0");
        std::fs::create_dir_all(pack.join("lib")).unwrap();
        std::fs::write(pack.join(PACK_FILE), "{}").unwrap();
        assert_eq!(holders(&pack).unwrap(), None);
        hold_pack_of(&pack.join("lib/libonnxruntime.so")).unwrap();
        hold_pack_of(&pack.join("lib/another.so")).unwrap();
        hold_pack_of(&home.path().join("libalone.so")).unwrap();
        assert_eq!(holders(&pack).unwrap(), Some(vec![std::process::id()]));
        HELD.lock().unwrap().remove(&pack);
        assert_eq!(holders(&pack).unwrap(), None);
    }
}
