use std::path::Path;
use std::sync::mpsc::sync_channel;

use super::blob::hash_rest;
use super::{Blob, Error, Lease, Store};
use crate::fs::{self, File};
use crate::oci::{Algorithm, Hasher};

/// How much is read, hashed and written at once: it stays in a core's cache from the one to the other.
const CHUNK_BYTES: usize = 256 << 10;

/// How many chunks the writer may be behind: 32 MiB, so that neither side waits for the other on a busy machine.
const CHUNKS_AHEAD: usize = 128;

/// After how much the system is told to begin with the disk.
const SYNC_STEP_BYTES: u64 = 8 << 20;

/// From this size on, hashing and writing run side by side.
const LARGE_BYTES: u64 = 1 << 20;

/// Is content that can be read from its beginning more than once.
pub trait Source: Send {
    /// Fills as much of `buffer` as there still is, and gives how much.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, fs::Error>;

    /// Goes back to the beginning.
    fn rewind(&mut self) -> Result<(), fs::Error>;
}

impl Source for File {
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, fs::Error> {
        self.read(buffer)
    }

    fn rewind(&mut self) -> Result<(), fs::Error> {
        File::rewind(self)
    }
}

/// Hashes content as it would be stored, and stores nothing.
pub fn hash(source: &mut dyn Source) -> Result<Blob, fs::Error> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    hash_rest(source, &mut hasher)?;
    Ok(finish(hasher))
}

impl Store {
    /// Tells whether a blob of the size may be here already, so that hashing content first may spare writing it.
    pub fn may_have(&self, size_bytes: u64) -> bool {
        self.verdicts().knows_size(size_bytes)
    }

    /// Stores content as a blob; what is hashed is what is stored.
    ///
    /// Shape: `size_bytes` is what the source is expected to have; with `hash_first` it is written only where it is new.
    pub fn ingest_source(
        &self,
        lease: &Lease,
        source: &mut dyn Source,
        (size_bytes, hash_first): (u64, bool),
    ) -> Result<Blob, Error> {
        if hash_first {
            let blob = hash(source)?;
            if self.keep(lease, &blob)? {
                return Ok(blob);
            }
            source.rewind()?;
        }
        let mut unfinished = self.begin()?;
        let target = unfinished.file_mut();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        if size_bytes < LARGE_BYTES {
            copy(source, target, &mut hasher)?;
        } else {
            copy_side_by_side(source, target, &mut hasher)?;
        }
        unfinished.commit(self, lease, finish(hasher))
    }

    /// Stores a file as a blob; what is hashed is what is stored. A link is followed; a pipe or a device is refused.
    ///
    /// Errors: [`Error::NotAFile`]; [`Error::Changed`] if somebody wrote to the file meanwhile.
    pub fn ingest_file(&self, lease: &Lease, path: &Path) -> Result<Blob, Error> {
        let mut source = File::open(path)?;
        let before = source.stat()?;
        if !before.is_file {
            return Err(Error::NotAFile { path: path.to_owned() });
        }
        // Building again what is mostly stored is common, and reading is far cheaper than writing.
        if self.verdicts().knows_size(before.size_bytes) {
            let blob = hash(&mut source)?;
            if source.stat()? != before || blob.size_bytes != before.size_bytes {
                return Err(Error::Changed { path: path.to_owned() });
            }
            if self.keep(lease, &blob)? {
                return Ok(blob);
            }
            source.rewind()?;
        }
        let mut unfinished = self.begin()?;
        let target = unfinished.file_mut();
        let mut hasher = Hasher::new(Algorithm::Sha256);
        if target.clone_content(&source)? {
            hash_rest(target, &mut hasher)?;
        } else if before.size_bytes < LARGE_BYTES {
            copy(&mut source, target, &mut hasher)?;
        } else {
            copy_side_by_side(&mut source, target, &mut hasher)?;
        }
        let blob = finish(hasher);
        if source.stat()? != before || blob.size_bytes != before.size_bytes {
            return Err(Error::Changed { path: path.to_owned() });
        }
        unfinished.commit(self, lease, blob)
    }
}

fn finish(hasher: Hasher) -> Blob {
    Blob {
        size_bytes: hasher.size_bytes(),
        digest: hasher.finish(),
    }
}

fn copy(source: &mut dyn Source, target: &mut File, hasher: &mut Hasher) -> Result<(), fs::Error> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let filled = source.fill(&mut chunk)?;
        hasher.update(&chunk[..filled]);
        target.write_all(&chunk[..filled])?;
        if filled < chunk.len() {
            return Ok(());
        }
    }
}

/// Reads and hashes here, and writes on a second thread, while the disk works too. Buffers go round between the two.
fn copy_side_by_side(source: &mut dyn Source, target: &mut File, hasher: &mut Hasher) -> Result<(), fs::Error> {
    let (full, to_write) = sync_channel::<(Vec<u8>, usize)>(CHUNKS_AHEAD);
    let (empty, to_fill) = sync_channel::<Vec<u8>>(CHUNKS_AHEAD);
    std::thread::scope(|scope| {
        let writer = scope.spawn(move || {
            let (mut written_bytes, mut begun_bytes) = (0, 0);
            for (chunk, filled) in to_write {
                target.write_all(&chunk[..filled])?;
                written_bytes += filled as u64;
                if written_bytes - begun_bytes >= SYNC_STEP_BYTES {
                    target.begin_sync(begun_bytes, written_bytes - begun_bytes)?;
                    begun_bytes = written_bytes;
                }
                // The reader may have ended; then nobody wants the buffer.
                let _ = empty.try_send(chunk);
            }
            Ok(())
        });
        let mut read_and_hash = || {
            loop {
                let mut chunk = to_fill.try_recv().unwrap_or_else(|_| vec![0; CHUNK_BYTES]);
                let filled = source.fill(&mut chunk)?;
                hasher.update(&chunk[..filled]);
                let is_last = filled < chunk.len();
                // A writer that has failed takes no more, and says why below.
                if full.send((chunk, filled)).is_err() || is_last {
                    return Ok(());
                }
            }
        };
        let read = read_and_hash();
        drop(full);
        let written = writer.join().expect("the writer does not panic");
        read.and(written)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs::faults::{self, Fault};
    use crate::oci::Digest;
    use crate::store::tests::folder;

    fn store(home: &Path) -> (Store, Lease) {
        let store = Store::open(home).unwrap();
        let lease = store.lease(&[]).unwrap();
        (store, lease)
    }

    #[test]
    fn files_of_every_size_are_stored_as_they_are() {
        let folder = folder();
        let (store, lease) = store(&folder.path().join("home"));
        let path = folder.path().join("file");
        let chunk = CHUNK_BYTES;
        for size in [0, 1, 4096, chunk - 1, chunk, chunk + 1, 3 * chunk, 20 * chunk + 5] {
            let content: Vec<u8> = (0..size).map(|at| (at / 7 + at / chunk) as u8).collect();
            std::fs::write(&path, &content).unwrap();
            let blob = store.ingest_file(&lease, &path).unwrap();
            assert_eq!((blob.size_bytes, blob.digest), (size as u64, Digest::of(&content)));
            assert!(std::fs::read(store.blob(&blob.digest).unwrap()).unwrap() == content);
            assert_eq!(store.ingest_file(&lease, &path).unwrap(), blob);
        }
        assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
    }

    #[test]
    fn a_file_that_is_stored_already_is_read_and_not_written() {
        let folder = folder();
        let home = folder.path().join("home");
        let (store, lease) = store(&home);
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; 2 << 20]).unwrap();
        store.ingest_file(&lease, &path).unwrap();
        let _full = faults::lasting(&home.join("ingest"), 0, Fault::NoSpace);
        store.ingest_file(&lease, &path).unwrap();
        std::fs::write(&path, vec![2; 2 << 20]).unwrap();
        assert!(
            store.ingest_file(&lease, &path).is_err(),
            "other content of that size is written"
        );
    }

    #[test]
    fn a_file_that_changes_meanwhile_is_refused() {
        let folder = folder();
        let (store, lease) = store(&folder.path().join("home"));
        let path = folder.path().join("file");
        std::fs::write(&path, vec![1; 64 << 20]).unwrap();
        let stop = std::sync::atomic::AtomicBool::new(false);
        let refused = std::thread::scope(|scope| {
            let changer = scope.spawn(|| {
                let mut file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    std::io::Write::write_all(&mut file, b"more").unwrap();
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
            });
            let refused = store.ingest_file(&lease, &path);
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            changer.join().unwrap();
            refused
        });
        assert!(matches!(refused, Err(Error::Changed { .. })), "{refused:?}");
        assert_eq!(store.blobs().unwrap(), []);
        assert_eq!(fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_is_no_file_is_refused_without_waiting() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};
        let folder = folder();
        let (store, lease) = store(&folder.path().join("home"));
        let pipe = folder.path().join("pipe");
        mknodat(CWD, &pipe, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        for path in [pipe.as_path(), folder.path(), Path::new("/dev/zero")] {
            let refused = store.ingest_file(&lease, path);
            assert!(matches!(refused, Err(Error::NotAFile { .. })), "{refused:?}");
        }
        assert!(matches!(
            store.ingest_file(&lease, &folder.path().join("no")),
            Err(Error::Fs(_))
        ));
    }
}
