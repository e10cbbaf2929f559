use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::graph::Reach;
use super::lock::StoreLock;
use super::{Blob, Entry, Error, Store};
use crate::fs::{self, File, Locked};
use crate::oci::{Algorithm, Digest};

/// Says what to collect.
#[derive(Clone, Copy, Debug, Default)]
pub struct GcOptions {
    /// Also removes every entry of `index.json` whose artifact is not in use.
    pub all: bool,
    /// Only tells what would be removed.
    pub dry_run: bool,
}

/// Says what was collected, or would be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GcReport {
    /// Entries removed from `index.json`.
    pub entries: Vec<Entry>,
    /// Blobs that nothing names.
    pub blobs: Vec<Blob>,
    /// Files of `ingest/` that nobody is working on.
    pub ingests: Vec<String>,
    /// The bytes of the blobs and the files together.
    pub freed_bytes: u64,
}

/// Gives the size of all files below a folder.
fn folder_bytes(folder: &Path) -> Result<u64, Error> {
    let mut size_bytes = 0;
    for file in fs::files_below(folder)? {
        size_bytes += fs::stat_link(&folder.join(file))?.map_or(0, |found| found.size_bytes);
    }
    Ok(size_bytes)
}

impl Store {
    /// Removes blobs that neither an entry nor a living lease names, and unfinished content that nobody works on.
    ///
    /// Errors: [`Error::Damaged`], [`Error::Document`] or another if a manifest that is there cannot be read: what it
    /// names is unknown then, and nothing is removed.
    pub fn gc(&self, options: GcOptions) -> Result<GcReport, Error> {
        let mut report = GcReport::default();
        if fs::stat(&self.layout().index())?.is_none() && fs::stat(&self.layout().ingest())?.is_none() {
            return Ok(report);
        }
        let lock = self.lock()?;
        let (leased, stale_leases) = self.leases(&lock)?;
        let mut index = self.index()?;
        if options.all {
            let used = self.reach(&lock, &leased, &[])?.digests;
            let is_unused = |digest: &Digest| !used.contains(digest);
            let (unused, kept): (Vec<_>, Vec<_>) = index
                .manifests
                .drain(..)
                .partition(|descriptor| is_unused(&descriptor.digest));
            index.manifests = kept;
            report.entries = unused.iter().map(Entry::of).collect();
        }
        let reach = self.reach(&lock, &leased, &index.manifests)?;
        report.blobs = self.unreached(&reach)?;
        let ingests = self.stale_ingests(&lock)?;
        report.freed_bytes = report.blobs.iter().map(|blob| blob.size_bytes).sum::<u64>()
            + ingests.iter().map(|(_, size_bytes)| size_bytes).sum::<u64>();
        report.ingests = ingests.into_iter().map(|(name, _)| name).collect();
        let gone = report.blobs.iter().map(|blob| blob.digest).collect();
        let caches = self.stale_caches(&gone, options.all)?;
        report.freed_bytes += caches.iter().map(|(_, size_bytes)| size_bytes).sum::<u64>();
        if !options.dry_run {
            if !report.entries.is_empty() {
                self.write_index(&lock, &index)?;
            }
            self.delete(&lock, &report, &stale_leases)?;
            for (folder, _) in caches {
                fs::remove_folder(&folder)?;
            }
        }
        Ok(report)
    }

    /// Marks what leases and entries name. A missing manifest names nothing; one that cannot be read stops gc.
    fn reach(
        &self,
        _: &StoreLock,
        leased: &BTreeSet<Digest>,
        entries: &[crate::oci::Descriptor],
    ) -> Result<Reach, Error> {
        let mut reach = Reach::default();
        self.walk(entries, &mut reach)?;
        for digest in leased {
            if let Some(descriptor) = self.leased_document(digest)? {
                self.walk([&descriptor], &mut reach)?;
            }
            reach.digests.insert(*digest);
        }
        match reach.refused.pop() {
            Some((_, error)) => Err(error),
            None => Ok(reach),
        }
    }

    fn unreached(&self, reach: &Reach) -> Result<Vec<Blob>, Error> {
        let blobs = self.blobs()?;
        Ok(blobs
            .into_iter()
            .filter(|blob| !reach.digests.contains(&blob.digest))
            .collect())
    }

    /// Lists the blobs. Files whose name is no digest are another tool's and are left alone.
    pub(super) fn blobs(&self) -> Result<Vec<Blob>, Error> {
        let mut blobs = Vec::new();
        for algorithm in Algorithm::ALL {
            for name in fs::names(&self.layout().blobs(algorithm))? {
                if let Ok(digest) = format!("{}:{name}", algorithm.name()).parse() {
                    blobs.extend(self.find(&digest)?);
                }
            }
        }
        Ok(blobs)
    }

    /// Lists the files of `ingest/` that no living process has locked, with their sizes.
    fn stale_ingests(&self, _: &StoreLock) -> Result<Vec<(String, u64)>, Error> {
        let folder = self.layout().ingest();
        let names = fs::names(&folder)?;
        let mut stale: Vec<(String, u64)> = Vec::new();
        let mut living = BTreeSet::new();
        for name in names
            .iter()
            .filter(|name| !name.ends_with(".journal") && !fs::is_temporary(name))
        {
            let Some(file) = fs::if_exists(File::open(&folder.join(name)))? else {
                continue;
            };
            match file.try_lock()? {
                Locked::Ours => stale.push((name.clone(), file.stat()?.size_bytes)),
                Locked::ByOthers => _ = living.insert(name.as_str()),
            }
        }
        // A journal, or a replacement of one that was not finished, lives and dies with its file.
        let owner = |name: &str| {
            name.trim_start_matches('.')
                .split(".journal")
                .next()
                .unwrap_or_default()
                .to_owned()
        };
        for name in names
            .iter()
            .filter(|name| name.ends_with(".journal") || fs::is_temporary(name))
        {
            if !living.contains(owner(name).as_str()) {
                stale.push((name.clone(), 0));
            }
        }
        Ok(stale)
    }

    /// Lists what is kept for blobs beside them and goes with them, with its sizes: unpacked layers, finished or not, and
    /// optimized graphs. With `all`, every optimized graph goes: it is made again in a moment.
    fn stale_caches(&self, gone: &BTreeSet<Digest>, all: bool) -> Result<Vec<(PathBuf, u64)>, Error> {
        let mut stale = Vec::new();
        for (folder, all) in [(self.layout().unpacked(), false), (self.layout().optimized(), all)] {
            for name in fs::names(&folder)? {
                let digest = name.split('.').next().unwrap_or_default().replacen('-', ":", 1);
                let is_stale = match digest.parse() {
                    Ok(digest) => all || gone.contains(&digest) || self.find(&digest)?.is_none(),
                    // Not a name of ours.
                    Err(_) => false,
                };
                if is_stale {
                    let path = folder.join(&name);
                    let size_bytes = folder_bytes(&path)?;
                    stale.push((path, size_bytes));
                }
            }
        }
        Ok(stale)
    }

    fn delete(&self, _: &StoreLock, report: &GcReport, stale_leases: &[String]) -> Result<(), Error> {
        for blob in &report.blobs {
            fs::remove(&self.layout().blob(&blob.digest))?;
        }
        for name in &report.ingests {
            fs::remove(&self.layout().ingest().join(name))?;
        }
        for name in stale_leases {
            fs::remove(&self.layout().leases().join(name))?;
        }
        let mut folders = self.layout().replaced_in().to_vec();
        let optimized = self.layout().optimized();
        folders.extend(fs::names(&optimized)?.iter().map(|name| optimized.join(name)));
        for folder in folders {
            for name in fs::names(&folder)?.iter().filter(|name| fs::is_temporary(name)) {
                fs::remove(&folder.join(name))?;
            }
        }
        let removed: BTreeSet<Digest> = report.blobs.iter().map(|blob| blob.digest).collect();
        Ok(self.verdicts().compact(|digest| !removed.contains(digest))?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{Descriptor, Index, MediaType};
    use crate::store::tests::{artifact, folder, store_with};

    #[test]
    fn a_damaged_manifest_stops_gc_and_a_missing_one_does_not() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x", "y"]);
        let manifest = store.resolve(&"x".parse().unwrap()).unwrap().descriptor.digest;
        let path = store.layout().blob(&manifest);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"{}").unwrap();
        assert!(matches!(store.gc(GcOptions::default()), Err(Error::Damaged { digest, .. }) if digest == manifest));
        assert!(store.find(&Digest::of(b"x")).unwrap().is_some());
        std::fs::remove_file(&path).unwrap();
        let report = store.gc(GcOptions::default()).unwrap();
        assert_eq!(
            report.blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>(),
            [Digest::of(b"x")]
        );
        assert!(store.find(&Digest::of(b"y")).unwrap().is_some());
    }

    #[test]
    fn a_manifest_described_with_another_size_or_type_stops_gc() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x"]);
        let index = std::fs::read_to_string(store.layout().index()).unwrap();
        let size = store.resolve(&"x".parse().unwrap()).unwrap().descriptor.size_bytes;
        let lying = [
            index.replace(&format!("\"size\":{size}"), &format!("\"size\":{}", size + 1)),
            index.replacen("image.manifest.v1", "image.index.v1", 1),
        ];
        for lying in lying {
            assert_ne!(lying, index);
            std::fs::write(store.layout().index(), lying).unwrap();
            assert!(store.gc(GcOptions::default()).is_err());
            assert!(store.find(&Digest::of(b"x")).unwrap().is_some());
        }
    }

    #[test]
    fn files_of_other_tools_and_leftovers_are_told_apart() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x"]);
        for name in [
            "store/blobs/sha256/notes.txt",
            "store/oci-put-blob1",
            "ingest/new-1-0",
            "store/.index.json.1-0.tmp",
        ] {
            std::fs::write(home.join(name), "12345").unwrap();
        }
        let report = store.gc(GcOptions::default()).unwrap();
        assert_eq!(
            (&report.ingests[..], report.freed_bytes),
            (&["new-1-0".to_owned()][..], 5)
        );
        assert!(home.join("store/blobs/sha256/notes.txt").exists() && home.join("store/oci-put-blob1").exists());
        assert!(!home.join("store/.index.json.1-0.tmp").exists());
    }

    #[test]
    fn indexes_that_nest_deep_are_refused_and_cost_no_more_than_their_size() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        let lease = store.lease(&[]).unwrap();
        let (mut top, _) = artifact(&store, &lease, b"deep");
        for depth in 0..50 {
            let name = "deep".parse().unwrap();
            let tagged = store.tag(&name, &top, jiff::Timestamp::UNIX_EPOCH);
            assert_eq!(tagged.is_ok(), depth <= 8, "{depth}: {tagged:?}");
            // Each level names the one below many times.
            let index = Index::new(vec![top; 50]).to_bytes();
            top = store
                .ingest_bytes(&lease, &index)
                .unwrap()
                .descriptor(MediaType::OCI_INDEX);
        }
        let error = store
            .tag(&"deep".parse().unwrap(), &top, jiff::Timestamp::UNIX_EPOCH)
            .unwrap_err();
        assert!(matches!(error, Error::TooDeep { .. }), "{error}");
    }

    #[test]
    fn an_index_that_names_itself_ends() {
        let folder = folder();
        let home = folder.path().join("home");
        let store = store_with(&home, &["x"]);
        let digest = Digest::of(b"itself");
        let bytes = Index::new(vec![Descriptor::new(MediaType::OCI_INDEX, digest, 6)]).to_bytes();
        let itself = Descriptor::new(MediaType::OCI_INDEX, digest, bytes.len() as u64);
        std::fs::write(store.layout().blob(&digest), bytes).unwrap();
        let tagged = store.tag(&"self".parse().unwrap(), &itself, jiff::Timestamp::UNIX_EPOCH);
        assert!(matches!(tagged, Err(Error::Damaged { .. })), "{tagged:?}");
    }
}
