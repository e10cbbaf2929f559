//! What registries have shown of themselves, kept from one command to the next.
//!
//! Shape: `registry-HOST.json` in the cache, a JSON object with `version` and `host`. It is a cache: one that is missing,
//! damaged, of another version or host, or older than a month is as good as none, and one that cannot be written is not.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::profile::{Profile, Upload};
use crate::fs;

/// Another version of the file is not read.
const VERSION: u32 = 1;
/// A file is not read beyond this.
const LIMIT_BYTES: usize = 16 << 10;
/// What was seen so long ago may be true no longer. Units: seconds.
const LIFETIME_SECONDS: i64 = 30 * 24 * 3600;
/// A chunk smaller than this would be all waiting.
pub(super) const SMALLEST_CHUNK_BYTES: u64 = 256 << 10;

/// Something that an answer showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lesson {
    /// Whose software it is.
    Software(&'static str),
    /// It mounts blobs, or refuses to.
    Mounts(bool),
    /// It honours ranges, or sends the whole for one.
    Ranges(bool),
    /// It has the referrers endpoint, or not.
    Referrers(bool),
    /// What it says of an interrupted upload is not so.
    DoesNotResume,
    /// A body of more bytes than this is too large for it.
    LargestBody(u64),
    /// It takes no PATCH, or none with a Content-Range.
    NoChunks,
    /// One PUT was cut off again and again where chunks of this size arrive.
    Chunks(u64),
}

/// All that answers showed of one registry.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Learned {
    software: Option<String>,
    mounts: Option<bool>,
    ranges: Option<bool>,
    referrers: Option<bool>,
    resumes: Option<bool>,
    largest_body_bytes: Option<u64>,
    largest_chunk_bytes: Option<u64>,
    chunk_bytes: Option<u64>,
}

impl Learned {
    /// Takes a lesson; false when it was known.
    fn take(&mut self, lesson: Lesson) -> bool {
        let before = self.clone();
        match lesson {
            Lesson::Software(name) => self.software = Some(name.to_owned()),
            Lesson::Mounts(so) => self.mounts = Some(so),
            Lesson::Ranges(so) => self.ranges = Some(so),
            Lesson::Referrers(so) => self.referrers = Some(so),
            Lesson::DoesNotResume => self.resumes = Some(false),
            Lesson::LargestBody(bytes) => {
                let known = self.largest_body_bytes.unwrap_or(u64::MAX);
                self.largest_body_bytes = Some(bytes.min(known));
            }
            Lesson::NoChunks => self.largest_chunk_bytes = Some(0),
            Lesson::Chunks(bytes) => self.chunk_bytes = Some(bytes),
        }
        *self != before
    }

    /// Corrects what the table says.
    fn correct(&self, table: Profile) -> Profile {
        let mut profile = match self.software.as_deref().and_then(Profile::named) {
            Some(named) if !table.is_known() => named,
            _ => table,
        };
        profile.mounts = self.mounts.unwrap_or(profile.mounts);
        profile.ranges = self.ranges.unwrap_or(profile.ranges);
        profile.referrers = self.referrers.unwrap_or(profile.referrers);
        profile.resumes = self.resumes.unwrap_or(profile.resumes);
        profile.largest_body_bytes = self.largest_body_bytes.or(profile.largest_body_bytes);
        profile.largest_chunk_bytes = self.largest_chunk_bytes.or(profile.largest_chunk_bytes);
        profile.upload = self.chunk_bytes.map_or(profile.upload, Upload::Chunks);
        profile
    }

    /// Limits below which nothing would move are damage, or a registry's joke.
    fn is_sane(&self) -> bool {
        let sizes = [self.largest_body_bytes, self.chunk_bytes];
        sizes.into_iter().flatten().all(|bytes| bytes >= SMALLEST_CHUNK_BYTES)
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    version: u32,
    host: String,
    /// When the first of the lessons was taken. Units: seconds since 1970.
    since: i64,
    learned: Learned,
}

/// The profile of one registry as it is known now.
#[derive(Debug)]
pub(super) struct Memory {
    file: Option<PathBuf>,
    host: String,
    table: Profile,
    learned: Learned,
    since: i64,
    changed: bool,
}

impl Memory {
    /// Recalls a registry. `folder` is where memories are kept; `now` is in seconds since 1970.
    pub fn recall(folder: Option<&Path>, host: &str, (table, now): (Profile, Option<i64>)) -> Self {
        let file = folder.map(|folder| folder.join(file_name(host)));
        let kept = file.as_deref().and_then(|file| read(file, host, now));
        Self {
            file,
            host: host.to_owned(),
            table,
            since: kept.as_ref().map_or(now.unwrap_or_default(), |kept| kept.since),
            learned: kept.map(|kept| kept.learned).unwrap_or_default(),
            changed: false,
        }
    }

    /// The profile, corrected.
    pub fn profile(&self) -> Profile {
        self.learned.correct(self.table)
    }

    /// Takes a lesson.
    pub fn learn(&mut self, lesson: Lesson) {
        self.changed |= self.learned.take(lesson);
    }

    /// Writes what is new.
    pub fn keep(&mut self) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let Some(file) = &self.file else { return };
        let kept = Kept {
            version: VERSION,
            host: self.host.clone(),
            since: self.since,
            learned: self.learned.clone(),
        };
        let (Ok(mut text), Some(folder)) = (serde_json::to_vec_pretty(&kept), file.parent()) else {
            return;
        };
        text.push(b'\n');
        // Where it cannot be written the registry will show the same again.
        let _ = fs::create_folders(folder).and_then(|()| fs::replace(file, &text));
    }
}

fn read(file: &Path, host: &str, now: Option<i64>) -> Option<Kept> {
    let bytes = fs::read_at_most(file, LIMIT_BYTES).ok()?;
    let kept: Kept = serde_json::from_slice(&bytes).ok()?;
    // A clock that was put back makes an age negative.
    let is_fresh = now.is_none_or(|now| (0..LIFETIME_SECONDS).contains(&now.saturating_sub(kept.since)));
    (kept.version == VERSION && kept.host == host && kept.learned.is_sane() && is_fresh).then_some(kept)
}

/// A port and the brackets of an address are no parts of a file name everywhere.
fn file_name(host: &str) -> String {
    format!("registry-{}.json", host.replace([':', '[', ']'], "_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recall(folder: &Path, host: &str, now: i64) -> Memory {
        Memory::recall(Some(folder), host, (Profile::of(host), Some(now)))
    }

    #[test]
    fn lessons_correct_the_table_and_are_kept_for_a_month() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("cache");
        let mut memory = recall(&home, "r.example:5000", 100);
        for lesson in [
            Lesson::Software("Artifactory"),
            Lesson::Ranges(true),
            Lesson::LargestBody(64 << 20),
            Lesson::LargestBody(1 << 20),
            Lesson::LargestBody(4 << 20),
        ] {
            memory.learn(lesson);
        }
        let now = memory.profile();
        assert_eq!((now.name, now.mounts, now.ranges), ("Artifactory", false, true));
        assert_eq!(now.upload_of(2 << 20), Upload::Chunks(1 << 20));
        memory.keep();
        assert_eq!(recall(&home, "r.example:5000", 200).profile(), now);
        assert_eq!(
            recall(&home, "r.example:5000", 100 + LIFETIME_SECONDS).profile().name,
            "registry"
        );
        assert_eq!(recall(&home, "r.example:5000", 99).profile().name, "registry");
        assert_eq!(recall(&home, "r.example:5001", 200).profile().name, "registry");
    }

    #[test]
    fn a_damaged_memory_is_none_and_is_written_anew() {
        let folder = tempfile::tempdir().unwrap();
        let mut memory = recall(folder.path(), "r.example", 100);
        memory.learn(Lesson::NoChunks);
        memory.keep();
        let file = folder.path().join("registry-r.example.json");
        let good = String::from_utf8(fs::read(&file).unwrap()).unwrap();
        for bad in [
            String::new(),
            "\0\u{1}".to_owned(),
            good[..good.len() / 2].to_owned(),
            good.replace("\"version\": 1", "\"version\": 2"),
            good.replace("r.example", "other.example"),
            good.replace("\"largest_body_bytes\": null", "\"largest_body_bytes\": 1"),
            good.replace("\"largest_chunk_bytes\": 0", "\"largest_chunk_bytes\": -1"),
            " ".repeat(LIMIT_BYTES * 2),
        ] {
            assert_ne!(bad, good);
            fs::replace(&file, bad.as_bytes()).unwrap();
            let mut memory = recall(folder.path(), "r.example", 100);
            assert_eq!(memory.profile().chunk_of(7), Some(7), "{bad}");
            memory.learn(Lesson::NoChunks);
            memory.keep();
            assert_eq!(recall(folder.path(), "r.example", 100).profile().chunk_of(7), None);
        }
    }

    #[test]
    fn nothing_is_written_where_nothing_was_learned() {
        let folder = tempfile::tempdir().unwrap();
        let home = folder.path().join("cache");
        let mut memory = recall(&home, "r.example", 100);
        memory.keep();
        assert!(!home.exists());
        // What the host's name says already is no news to be taken over by an answer.
        let mut memory = recall(&home, "ghcr.io", 100);
        memory.learn(Lesson::Software("zot"));
        assert_eq!(memory.profile().name, "GitHub");
    }
}
