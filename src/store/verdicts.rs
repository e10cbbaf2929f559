use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::fs::{self, File, Stat};
use crate::oci::{Digest, Hasher};

/// Remembers which blobs were found sound, and as which files, so that a blob is not hashed before every use.
///
/// Shape: the file holds lines `DIGEST DEVICE INODE SIZE MODIFIED CHANGED CHECK`, appended by many processes at once; the
/// last line of a digest counts, and a line whose CHECK is wrong does not. Losing lines, or all of them, costs only time.
#[derive(Debug)]
pub(super) struct Verdicts {
    path: PathBuf,
    loaded: Mutex<Option<Loaded>>,
}

#[derive(Debug, Default)]
struct Loaded {
    sound: HashMap<Digest, Fingerprint>,
    lines: usize,
}

/// What changes when somebody writes to a file.
type Fingerprint = (u64, u64, u64, i128, i128);

fn fingerprint(stat: &Stat) -> Fingerprint {
    (
        stat.device,
        stat.inode,
        stat.size_bytes,
        stat.modified_ns,
        stat.changed_ns,
    )
}

impl Verdicts {
    pub(super) fn new(path: PathBuf) -> Verdicts {
        Verdicts {
            path,
            loaded: Mutex::new(None),
        }
    }

    /// Tells whether the blob was found sound as the very file that `stat` describes.
    pub(super) fn vouches_for(&self, digest: &Digest, stat: &Stat) -> bool {
        self.with(|loaded| loaded.sound.get(digest) == Some(&fingerprint(stat)))
    }

    /// Tells whether any blob of the size was ever found sound.
    pub(super) fn knows_size(&self, size_bytes: u64) -> bool {
        self.with(|loaded| loaded.sound.values().any(|known| known.2 == size_bytes))
    }

    /// Remembers that the blob was hashed and found sound as the file that `stat` describes.
    pub(super) fn record(&self, digest: &Digest, stat: &Stat) {
        let fingerprint = fingerprint(stat);
        self.with(|loaded| {
            loaded.lines += 1;
            loaded.sound.insert(*digest, fingerprint)
        });
        // A store that cannot be written is still read, each time at the price of the hash.
        let _ =
            File::open_to_append(&self.path).and_then(|mut file| file.write_all(line(digest, fingerprint).as_bytes()));
    }

    /// Writes the file anew without lines that say nothing, if most of them do. Lines that others append meanwhile may
    /// be lost.
    pub(super) fn compact(&self, is_present: impl Fn(&Digest) -> bool) -> Result<(), fs::Error> {
        *self.guard() = None;
        let lines: Vec<String> = self.with(|loaded| {
            let lines = loaded.lines;
            loaded.sound.retain(|digest, _| is_present(digest));
            if lines <= 2 * loaded.sound.len() + 16 {
                return Vec::new();
            }
            loaded
                .sound
                .iter()
                .map(|(digest, fingerprint)| line(digest, *fingerprint))
                .collect()
        });
        if lines.is_empty() {
            return Ok(());
        }
        fs::replace(&self.path, lines.concat().as_bytes())
    }

    fn with<T>(&self, act: impl FnOnce(&mut Loaded) -> T) -> T {
        let mut guard = self.guard();
        act(guard.get_or_insert_with(|| {
            let bytes = fs::read(&self.path).unwrap_or_default();
            let mut loaded = Loaded::default();
            for (digest, fingerprint) in String::from_utf8_lossy(&bytes).lines().filter_map(parse) {
                loaded.lines += 1;
                loaded.sound.insert(digest, fingerprint);
            }
            loaded
        }))
    }

    fn guard(&self) -> MutexGuard<'_, Option<Loaded>> {
        self.loaded.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(digest: &Digest, (device, inode, size, modified, changed): Fingerprint) -> String {
    let text = format!("{digest} {device} {inode} {size} {modified} {changed}");
    // The leading line break ends a line that another writer left unfinished.
    format!("\n{text} {}\n", checksum(&text))
}

fn parse(line: &str) -> Option<(Digest, Fingerprint)> {
    let (text, check) = line.rsplit_once(' ')?;
    if check != checksum(text) {
        return None;
    }
    let mut words = text.split(' ');
    let digest = words.next()?.parse().ok()?;
    let mut number = || words.next()?.parse::<i128>().ok();
    let [device, inode, size, modified, changed] = [number()?, number()?, number()?, number()?, number()?];
    let unsigned = |number: i128| u64::try_from(number).ok();
    Some((
        digest,
        (unsigned(device)?, unsigned(inode)?, unsigned(size)?, modified, changed),
    ))
}

/// Tells a line that was written whole from one that was not.
pub(super) fn checksum(text: &str) -> String {
    let mut hasher = Hasher::new(crate::oci::Algorithm::Sha256);
    hasher.update(text.as_bytes());
    hasher.finish().short()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(folder: &std::path::Path) -> Stat {
        fs::stat(folder).unwrap().unwrap()
    }

    #[test]
    fn a_verdict_survives_damage_around_it_and_not_damage_to_it() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("verified");
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        let stat = stat(home.path());
        let verdicts = Verdicts::new(path.clone());
        verdicts.record(&one, &stat);
        File::open_to_append(&path)
            .unwrap()
            .write_all(b"\xff\0sha256:torn 1 2")
            .unwrap();
        verdicts.record(&two, &stat);
        let again = Verdicts::new(path.clone());
        assert!(again.vouches_for(&one, &stat) && again.vouches_for(&two, &stat));
        assert!(again.knows_size(stat.size_bytes) && !again.knows_size(stat.size_bytes + 1));
        let text =
            String::from_utf8_lossy(&fs::read(&path).unwrap()).replace(&one.to_string(), &Digest::of(b"3").to_string());
        fs::replace(&path, text.as_bytes()).unwrap();
        let again = Verdicts::new(path);
        assert!(!again.vouches_for(&one, &stat) && !again.vouches_for(&Digest::of(b"3"), &stat));
        assert!(again.vouches_for(&two, &stat));
    }

    #[test]
    fn compaction_keeps_what_is_present() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("verified");
        let stat = stat(home.path());
        let verdicts = Verdicts::new(path.clone());
        let (kept, gone) = (Digest::of(b"kept"), Digest::of(b"gone"));
        for _ in 0..20 {
            verdicts.record(&kept, &stat);
            verdicts.record(&gone, &stat);
        }
        verdicts.compact(|digest| *digest == kept).unwrap();
        let again = Verdicts::new(path.clone());
        assert!(again.vouches_for(&kept, &stat) && !again.vouches_for(&gone, &stat));
        assert!(fs::read(&path).unwrap().len() < 300);
    }
}
