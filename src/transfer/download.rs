//! A blob that is being downloaded: its bytes, where they already are, and their hash so far.
//!
//! The store keeps the unfinished file and the journal, and locks them for one process. The journal says which bytes have
//! come; it is written after them, so what it says survives the death of the process. What a power loss tears is found by
//! the hash at the end.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

use crate::oci::{Digest, Hasher};
use crate::store::{self, Blob, Lease, Part};

/// The journal's first word; another version starts over.
const MAGIC: &str = "gpux-part-1";
/// Bytes are hashed from the file in steps of this size where they did not come in order.
const READ_BYTES: usize = 256 << 10;

/// Which bytes are there: sorted, apart, none empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Intervals(Vec<(u64, u64)>);

impl Intervals {
    fn add(&mut self, start: u64, end: u64) {
        if start >= end {
            return;
        }
        let first = self.0.partition_point(|(_, e)| *e < start);
        let last = self.0.partition_point(|(s, _)| *s <= end);
        let (mut low, mut high) = (start, end);
        if first < last {
            low = low.min(self.0[first].0);
            high = high.max(self.0[last - 1].1);
        }
        self.0.splice(first..last, [(low, high)]);
    }

    fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// The end of what lies without a hole from `at` on.
    fn reach(&self, at: u64) -> u64 {
        let held = self.0.iter().find(|(start, end)| *start <= at && at < *end);
        held.map_or(at, |(_, end)| *end)
    }

    fn gaps(&self, size_bytes: u64) -> Vec<(u64, u64)> {
        let mut gaps = Vec::new();
        let mut at = 0;
        for (start, end) in &self.0 {
            if at < *start {
                gaps.push((at, *start));
            }
            at = *end;
        }
        if at < size_bytes {
            gaps.push((at, size_bytes));
        }
        gaps
    }
}

/// An unfinished blob. Several lanes write to it at once.
pub(super) struct Download {
    part: Part,
    held: Mutex<Intervals>,
    /// Has hashed what lies before the first hole, or is about to.
    hasher: Mutex<Hasher>,
}

fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic in another lane ends the pull; what it left is checked by the hash.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Download {
    /// Goes on with a part where its last holder stopped.
    pub fn resume(part: Part) -> Result<Self, store::Error> {
        let text = part.journal()?;
        let header = header(part.blob());
        let (length, held) = read_journal(&text, &header, part.blob().size_bytes);
        if length == 0 {
            part.replace_journal(header.as_bytes())?;
        } else if length < text.len() {
            part.replace_journal(&text[..length])?;
        }
        let hasher = Hasher::new(part.blob().digest.algorithm());
        Ok(Self {
            part,
            held: Mutex::new(held),
            hasher: Mutex::new(hasher),
        })
    }

    /// Forgets all bytes.
    pub fn reset(&self) -> Result<(), store::Error> {
        self.part.replace_journal(header(self.part.blob()).as_bytes())?;
        *hold(&self.held) = Intervals::default();
        *hold(&self.hasher) = Hasher::new(self.part.blob().digest.algorithm());
        Ok(())
    }

    /// How many bytes have come. Units: bytes.
    pub fn held_bytes(&self) -> u64 {
        hold(&self.held).total()
    }

    /// What has not come.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        hold(&self.held).gaps(self.part.blob().size_bytes)
    }

    /// Stores consecutive chunks at an offset, notes them, and hashes what now lies without a hole.
    pub fn write(&self, offset_bytes: u64, chunks: &[Bytes]) -> Result<(), store::Error> {
        let mut end = offset_bytes;
        for chunk in chunks {
            self.part.file().write_all_at(chunk, end)?;
            end += chunk.len() as u64;
        }
        self.part
            .append_to_journal(format!("{offset_bytes} {end}\n").as_bytes())?;
        hold(&self.held).add(offset_bytes, end);
        // Whoever hashes at the moment goes on to what was just noted, or the next writer or the end does.
        let Ok(mut hasher) = self.hasher.try_lock() else {
            return Ok(());
        };
        if hasher.size_bytes() == offset_bytes {
            for chunk in chunks {
                hasher.update(chunk);
            }
        }
        self.hash_on(&mut hasher)
    }

    /// Hashes from the file up to the first hole.
    fn hash_on(&self, hasher: &mut Hasher) -> Result<(), store::Error> {
        let mut buffer = Vec::new();
        loop {
            let at = hasher.size_bytes();
            let reach = hold(&self.held).reach(at);
            if at >= reach {
                return Ok(());
            }
            let length = usize::try_from(reach - at).unwrap_or(READ_BYTES).min(READ_BYTES);
            buffer.resize(length, 0);
            self.part.file().read_exact_at(&mut buffer, at)?;
            hasher.update(&buffer);
        }
    }

    /// Hashes what is left and gives the digest of all; the bytes must have come.
    pub fn digest(&self) -> Result<Digest, store::Error> {
        let mut hasher = hold(&self.hasher);
        self.hash_on(&mut hasher)?;
        Ok(hasher.clone().finish())
    }

    /// Makes the file the blob that it is.
    pub fn commit(self, lease: &Lease, digest: Digest) -> Result<(), store::Error> {
        self.part.commit(lease, Some(digest)).map(|_| ())
    }
}

fn header(blob: &Blob) -> String {
    format!("{MAGIC} {} {}\n", blob.digest, blob.size_bytes)
}

/// Reads what a journal says; a journal of something else, or none, gives length 0. A torn last line is not there.
fn read_journal(text: &[u8], header: &str, size_bytes: u64) -> (usize, Intervals) {
    let Some(mut rest) = text.strip_prefix(header.as_bytes()) else {
        return (0, Intervals::default());
    };
    let mut length = header.len();
    let mut held = Intervals::default();
    while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
        let line = std::str::from_utf8(&rest[..end]).ok();
        let numbers = line.and_then(|line| {
            let (start, end) = line.split_once(' ')?;
            Some((start.parse::<u64>().ok()?, end.parse::<u64>().ok()?))
        });
        match numbers {
            Some((start, end)) if start <= end && end <= size_bytes => held.add(start, end),
            _ => break,
        }
        length += end + 1;
        rest = &rest[end + 1..];
    }
    (length, held)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::store::{Claim, Store};

    fn claim(home: &Path, content: &[u8]) -> (Claim, Lease) {
        let store = Store::open(home).unwrap();
        let blob = Blob {
            digest: Digest::of(content),
            size_bytes: content.len() as u64,
        };
        let lease = store.lease(&[blob.digest]).unwrap();
        (store.claim(&lease, &blob).unwrap(), lease)
    }

    fn download(home: &Path, content: &[u8]) -> (Download, Lease) {
        match claim(home, content) {
            (Claim::Ours(part), lease) => (Download::resume(part).unwrap(), lease),
            (other, _) => panic!("{other:?}"),
        }
    }

    #[test]
    fn parts_in_any_order_give_the_digest_of_the_whole() {
        let home = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
        let (download, lease) = download(home.path(), &content);
        for start in [40_000, 0, 80_000, 20_000, 60_000] {
            let chunk = Bytes::copy_from_slice(&content[start..start + 20_000]);
            download
                .write(start as u64, &[chunk.slice(..7), chunk.slice(7..)])
                .unwrap();
        }
        assert_eq!(download.gaps(), []);
        let digest = download.digest().unwrap();
        download.commit(&lease, digest).unwrap();
        assert!(matches!(claim(home.path(), &content).0, Claim::Present));
    }

    #[test]
    fn what_came_is_known_after_the_process_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let content = vec![7u8; 1000];
        let (first, lease) = download(home.path(), &content);
        assert!(matches!(claim(home.path(), &content).0, Claim::Busy));
        first.write(100, &[Bytes::from(vec![7; 300])]).unwrap();
        first.write(400, &[Bytes::from(vec![7; 100])]).unwrap();
        first.part.append_to_journal(b"600 9").unwrap();
        drop((first, lease));
        let (second, _lease) = download(home.path(), &content);
        assert_eq!(second.gaps(), [(0, 100), (500, 1000)]);
        assert_eq!(second.held_bytes(), 400);
        second.write(0, &[Bytes::from(vec![7; 100])]).unwrap();
        second.write(500, &[Bytes::from(vec![7; 500])]).unwrap();
        assert_eq!(second.digest().unwrap(), Digest::of(&content));
        second.reset().unwrap();
        assert_eq!(second.gaps(), [(0, 1000)]);
    }

    #[test]
    fn a_journal_of_something_else_starts_over() {
        for text in ["", "gpux-part-0 x 1000\n0 1000\n", "\0\0\0", "gpux-part-1"] {
            assert_eq!(
                read_journal(text.as_bytes(), "gpux-part-1 x 1000\n", 1000).0,
                0,
                "{text}"
            );
        }
        let (_, held) = read_journal(b"h\n0 10\n5 2000\n20 30\n", "h\n", 1000);
        assert_eq!(held, Intervals(vec![(0, 10)]));
    }

    #[test]
    fn intervals_merge_what_touches() {
        let mut held = Intervals::default();
        for (start, end) in [(10, 20), (30, 40), (20, 30), (50, 60), (0, 5), (5, 5), (55, 70), (1, 2)] {
            held.add(start, end);
        }
        assert_eq!(held, Intervals(vec![(0, 5), (10, 40), (50, 70)]));
        assert_eq!(held.gaps(80), [(5, 10), (40, 50), (70, 80)]);
        assert_eq!((held.reach(0), held.reach(5), held.reach(12)), (5, 5, 40));
    }
}
