use super::verdicts::checksum;
use super::{Error, Store};
use crate::fs::{self, File, Locked};
use crate::oci::Digest;

/// Notes that have grown beyond this start anew: only the last one counts.
const LIMIT_BYTES: u64 = 256 << 10;

/// Holds what the next process must know to go on with an upload.
///
/// Shape: `ingest/upload-HEX`, named by the SHA-256 of what is uploaded where, locked by its holder and readable by its owner
/// alone: who knows the address of an upload may add to it. The last line whose check is right counts.
#[derive(Debug)]
pub struct Notes {
    store: Store,
    file: File,
    end_bytes: u64,
    last: Option<String>,
}

impl Store {
    /// Opens the notes about one upload; `None` where another process is at work on the same one.
    ///
    /// Errors: those of the system.
    pub fn notes(&self, subject: &str) -> Result<Option<Notes>, Error> {
        let name = format!("upload-{}", Digest::of(subject.as_bytes()).hex());
        let path = self.layout().ingest().join(name);
        // Under the lock, so that gc does not see the file between its making and its locking.
        let file = {
            let _lock = self.lock()?;
            let file = File::open_or_create_private(&path)?;
            match file.try_lock()? {
                Locked::Ours => file,
                Locked::ByOthers => return Ok(None),
            }
        };
        let mut end_bytes = file.stat()?.size_bytes;
        if end_bytes > 2 * LIMIT_BYTES {
            file.set_len(0)?;
            end_bytes = 0;
        }
        // At most twice the limit.
        let mut bytes = vec![0; end_bytes as usize];
        file.read_exact_at(&mut bytes, 0)?;
        Ok(Some(Notes {
            store: self.clone(),
            file,
            end_bytes,
            last: String::from_utf8_lossy(&bytes).lines().rev().find_map(read_line),
        }))
    }
}

impl Notes {
    /// Gives what was noted last.
    pub fn last(&self) -> Option<&str> {
        self.last.as_deref()
    }

    /// Notes one line, which has no line break.
    pub fn add(&mut self, text: &str) -> Result<(), Error> {
        if self.end_bytes > LIMIT_BYTES {
            self.file.set_len(0)?;
            self.end_bytes = 0;
        }
        // The leading line break ends a line that was left unfinished.
        let line = format!("\n{text} {}\n", checksum(text));
        self.file.write_all_at(line.as_bytes(), self.end_bytes)?;
        self.end_bytes += line.len() as u64;
        self.last = Some(text.to_owned());
        Ok(())
    }

    /// Removes the notes: the upload has ended.
    pub fn discard(self) -> Result<(), Error> {
        let _lock = self.store.lock()?;
        Ok(fs::remove(self.file.path())?)
    }
}

fn read_line(line: &str) -> Option<String> {
    let (text, check) = line.rsplit_once(' ')?;
    (check == checksum(text)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::GcOptions;
    use crate::store::tests::folder;

    #[test]
    fn the_last_whole_note_is_found_again_by_one_process_at_a_time() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let mut notes = store.notes("a").unwrap().unwrap();
        assert_eq!(notes.last(), None);
        notes.add("1 http://x/one").unwrap();
        notes.add("1 http://x/two").unwrap();
        assert!(store.notes("a").unwrap().is_none());
        assert_eq!(store.notes("b").unwrap().unwrap().last(), None);
        let end = notes.end_bytes;
        notes.file.write_all_at(b"\n1 http://x/torn 0123", end).unwrap();
        let path = notes.file.path().to_owned();
        #[cfg(unix)]
        assert_eq!(fs::stat(&path).unwrap().unwrap().mode & 0o077, 0);
        drop(notes);
        let mut notes = store.notes("a").unwrap().unwrap();
        assert_eq!(notes.last(), Some("1 http://x/two"));
        notes.add("1 http://x/three").unwrap();
        let spared = store.gc(GcOptions::default()).unwrap().ingests;
        assert!(spared.iter().all(|name| !path.ends_with(name)), "{spared:?}");
        drop(notes);
        assert_eq!(store.notes("a").unwrap().unwrap().last(), Some("1 http://x/three"));
        store.notes("a").unwrap().unwrap().discard().unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn notes_stay_small_and_are_collected() {
        let folder = folder();
        let store = Store::open(&folder.path().join("home")).unwrap();
        let mut notes = store.notes("a").unwrap().unwrap();
        let long = "x".repeat(10_000);
        for n in 0..200 {
            notes.add(&format!("{n} {long}")).unwrap();
        }
        let path = notes.file.path().to_owned();
        assert!(fs::stat(&path).unwrap().unwrap().size_bytes < 2 * LIMIT_BYTES);
        drop(notes);
        assert!(store.notes("a").unwrap().unwrap().last().unwrap().starts_with("199 "));
        fs::replace(&path, &vec![0xff; 3 * LIMIT_BYTES as usize]).unwrap();
        assert_eq!(store.notes("a").unwrap().unwrap().last(), None);
        assert_eq!(store.gc(GcOptions::default()).unwrap().ingests.len(), 1);
        assert!(!path.exists());
    }
}
