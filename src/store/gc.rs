use std::collections::BTreeSet;

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
        if !options.dry_run {
            if !report.entries.is_empty() {
                self.write_index(&lock, &index)?;
            }
            self.delete(&lock, &report, &stale_leases)?;
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
        for folder in self.layout().replaced_in() {
            for name in fs::names(&folder)?.iter().filter(|name| fs::is_temporary(name)) {
                fs::remove(&folder.join(name))?;
            }
        }
        let removed: BTreeSet<Digest> = report.blobs.iter().map(|blob| blob.digest).collect();
        Ok(self.verdicts().compact(|digest| !removed.contains(digest))?)
    }
}
