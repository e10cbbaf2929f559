use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::fs::{self, Stat};
use crate::store::{self, Blob, Lease, Store};

use super::Error;
use super::pieces::{Piece, PiecesReader, size_of};

/// Threads that hash and write at once; more of them wait for the disk.
const MOST_WORKERS: usize = 4;

/// Takes the content of layers: stores it, or only works out its name.
pub trait Keeper: Sync {
    /// Takes content that is put together; with `hash_first` it is written only where it is new.
    fn keep(&self, pieces: &[Piece], hash_first: bool) -> Result<Blob, Error>;

    /// Takes a file as it was when `stat` was taken.
    ///
    /// Errors: [`Error::Changed`].
    fn keep_file(&self, path: &Path, stat: Option<&Stat>) -> Result<Blob, Error>;

    /// Tells whether content of the size may be there already.
    fn may_have(&self, size_bytes: u64) -> bool;
}

/// Stores content.
pub struct Storing<'a> {
    pub store: &'a Store,
    pub lease: &'a Lease,
}

impl Keeper for Storing<'_> {
    fn keep(&self, pieces: &[Piece], hash_first: bool) -> Result<Blob, Error> {
        let mut source = PiecesReader::new(pieces);
        let how = (size_of(pieces), hash_first);
        Ok(self.store.ingest_source(self.lease, &mut source, how)?)
    }

    fn keep_file(&self, path: &Path, stat: Option<&Stat>) -> Result<Blob, Error> {
        let blob = self.store.ingest_file(self.lease, path)?;
        unchanged(path, stat)?;
        Ok(blob)
    }

    fn may_have(&self, size_bytes: u64) -> bool {
        self.store.may_have(size_bytes)
    }
}

/// Works out names and stores nothing.
pub struct Hashing;

impl Keeper for Hashing {
    fn keep(&self, pieces: &[Piece], _: bool) -> Result<Blob, Error> {
        Ok(store::hash(&mut PiecesReader::new(pieces))?)
    }

    fn keep_file(&self, path: &Path, stat: Option<&Stat>) -> Result<Blob, Error> {
        let blob = store::hash(&mut fs::File::open(path)?)?;
        unchanged(path, stat)?;
        Ok(blob)
    }

    fn may_have(&self, _: u64) -> bool {
        false
    }
}

fn unchanged(path: &Path, stat: Option<&Stat>) -> Result<(), Error> {
    if fs::stat(path)?.as_ref() == stat {
        return Ok(());
    }
    Err(Error::Changed(path.to_owned()))
}

/// Does the same with every item, on a few threads, and gives the answers in the order of the items.
///
/// Errors: the first in the order of the items that were begun; no further item is begun after an error.
pub fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    act: impl Fn(&T) -> Result<R, Error> + Sync,
) -> Result<Vec<R>, Error> {
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = workers.min(MOST_WORKERS).min(items.len());
    if workers <= 1 {
        return items.iter().map(act).collect();
    }
    let next = AtomicUsize::new(0);
    let answers: Vec<Mutex<Option<Result<R, Error>>>> = items.iter().map(|_| Mutex::new(None)).collect();
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(at) else { return };
            let answer = act(item);
            if answer.is_err() {
                next.store(items.len(), Ordering::Relaxed);
            }
            *answers[at].lock().unwrap_or_else(PoisonError::into_inner) = Some(answer);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..workers {
            scope.spawn(work);
        }
        work();
    });
    // After an error some items have no answer, and the error ends the collection.
    let answers = answers.into_iter();
    answers
        .filter_map(|answer| answer.into_inner().unwrap_or_else(PoisonError::into_inner))
        .collect()
}
