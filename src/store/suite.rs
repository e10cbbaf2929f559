//! What any store must do, run for the store on disk and for one in memory, and both compared over random histories.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::rc::Rc;

use jiff::Timestamp;

use super::{Blob, Claim, Entry, Error, GcOptions, GcReport, Lease, Store};
use crate::oci::{
    Algorithm, Descriptor, Digest, Document, Hasher, Index, MAX_DOCUMENT_BYTES, Manifest, MediaType, Reference,
};

/// Holds content and names as a [`Store`] does, wherever it keeps them.
trait ContentStore {
    type Lease;
    fn lease(&self, digests: &[Digest]) -> Result<Self::Lease, Error>;
    fn put(&self, lease: &Self::Lease, bytes: &[u8]) -> Result<Blob, Error>;
    fn put_as(&self, lease: &Self::Lease, bytes: &[u8], expected: &Blob) -> Result<Blob, Error>;
    fn find(&self, digest: &Digest) -> Result<Option<Blob>, Error>;
    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error>;
    fn tag(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Option<Entry>, Error>;
    fn resolve(&self, reference: &Reference) -> Result<Entry, Error>;
    fn list(&self) -> Result<Vec<Entry>, Error>;
    fn remove(&self, reference: &Reference) -> Result<Vec<Entry>, Error>;
    fn gc(&self, options: GcOptions) -> Result<GcReport, Error>;
}

/// Keeps a store on disk in a folder of its own.
struct OnDisk {
    store: Store,
    _folder: tempfile::TempDir,
}

fn on_disk() -> OnDisk {
    let folder = super::tests::folder();
    OnDisk {
        store: Store::open(&folder.path().join("home")).unwrap(),
        _folder: folder,
    }
}

impl ContentStore for OnDisk {
    type Lease = Lease;

    fn lease(&self, digests: &[Digest]) -> Result<Lease, Error> {
        self.store.lease(digests)
    }

    fn put(&self, lease: &Lease, bytes: &[u8]) -> Result<Blob, Error> {
        let mut ingest = self.store.ingest()?;
        for piece in bytes.chunks(3) {
            ingest.write(piece)?;
        }
        ingest.commit(lease)
    }

    fn put_as(&self, lease: &Lease, bytes: &[u8], expected: &Blob) -> Result<Blob, Error> {
        match self.store.claim(lease, expected)? {
            Claim::Present => Ok(*expected),
            Claim::Busy => panic!("nobody else is here"),
            Claim::Ours(part) => {
                part.file().write_all_at(bytes, 0)?;
                part.commit(lease, None)
            }
        }
    }

    fn find(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        self.store.find(digest)
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        self.store.read(digest, MAX_DOCUMENT_BYTES)
    }

    fn tag(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Option<Entry>, Error> {
        self.store.tag(reference, descriptor, Timestamp::UNIX_EPOCH)
    }

    fn resolve(&self, reference: &Reference) -> Result<Entry, Error> {
        self.store.resolve(reference)
    }

    fn list(&self) -> Result<Vec<Entry>, Error> {
        self.store.list()
    }

    fn remove(&self, reference: &Reference) -> Result<Vec<Entry>, Error> {
        self.store.remove(reference)
    }

    fn gc(&self, options: GcOptions) -> Result<GcReport, Error> {
        self.store.gc(options)
    }
}

/// Keeps a store in maps: the shortest text that does what a store must, to compare with.
#[derive(Clone, Default)]
struct InMemory(Rc<RefCell<Maps>>);

#[derive(Default)]
struct Maps {
    blobs: BTreeMap<Digest, Vec<u8>>,
    entries: Vec<Entry>,
    leases: BTreeMap<u64, BTreeSet<Digest>>,
}

struct InMemoryLease(InMemory, u64);

impl Drop for InMemoryLease {
    fn drop(&mut self) {
        self.0.0.borrow_mut().leases.remove(&self.1);
    }
}

fn in_memory() -> InMemory {
    InMemory::default()
}

impl Maps {
    /// Gives what a blob names, itself included; `Err` with the first that is not there.
    fn named_by(&self, digest: &Digest, is_leaf: bool, named: &mut HashSet<Digest>) -> Result<(), Digest> {
        named.insert(*digest);
        let bytes = self.blobs.get(digest).ok_or(*digest)?;
        match Document::parse(bytes, None) {
            Ok(Document::Manifest(manifest)) if !is_leaf => {
                let leaves = manifest.layers.iter().chain([&manifest.config]);
                leaves
                    .map(|leaf| self.named_by(&leaf.digest, true, named))
                    .fold(Ok(()), Result::and)
            }
            Ok(Document::Index(index)) if !is_leaf => {
                let children = index.manifests.iter();
                children
                    .map(|child| self.named_by(&child.digest, false, named))
                    .fold(Ok(()), Result::and)
            }
            _ => Ok(()),
        }
    }
}

impl ContentStore for InMemory {
    type Lease = InMemoryLease;

    fn lease(&self, digests: &[Digest]) -> Result<InMemoryLease, Error> {
        let mut maps = self.0.borrow_mut();
        let id = maps.leases.keys().last().map_or(0, |id| id + 1);
        maps.leases.insert(id, digests.iter().copied().collect());
        Ok(InMemoryLease(self.clone(), id))
    }

    fn put(&self, lease: &InMemoryLease, bytes: &[u8]) -> Result<Blob, Error> {
        self.put_as(lease, bytes, &blob_of(bytes))
    }

    fn put_as(&self, lease: &InMemoryLease, bytes: &[u8], expected: &Blob) -> Result<Blob, Error> {
        let mut hasher = Hasher::new(expected.digest.algorithm());
        hasher.update(bytes);
        super::ingest::check(expected, bytes.len() as u64, hasher.finish())?;
        let mut maps = self.0.borrow_mut();
        maps.leases.get_mut(&lease.1).unwrap().insert(expected.digest);
        maps.blobs.insert(expected.digest, bytes.to_vec());
        Ok(*expected)
    }

    fn find(&self, digest: &Digest) -> Result<Option<Blob>, Error> {
        Ok(self.0.borrow().blobs.get(digest).map(|bytes| Blob {
            digest: *digest,
            size_bytes: bytes.len() as u64,
        }))
    }

    fn read(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let maps = self.0.borrow();
        maps.blobs
            .get(digest)
            .cloned()
            .ok_or(Error::MissingBlob { digest: *digest })
    }

    fn tag(&self, reference: &Reference, descriptor: &Descriptor) -> Result<Option<Entry>, Error> {
        let mut maps = self.0.borrow_mut();
        let complete = maps.named_by(&descriptor.digest, false, &mut HashSet::new());
        complete.map_err(|digest| Error::MissingBlob { digest })?;
        let previous = maps
            .entries
            .iter()
            .position(|entry| entry.reference.as_ref() == Some(reference));
        let previous = previous.map(|at| maps.entries.remove(at));
        maps.entries.push(Entry {
            reference: Some(reference.clone()),
            descriptor: descriptor.clone(),
            tagged_at: Some(Timestamp::UNIX_EPOCH),
        });
        Ok(previous)
    }

    fn resolve(&self, reference: &Reference) -> Result<Entry, Error> {
        let is_found = |entry: &&Entry| {
            let own = entry.reference.as_ref().unwrap();
            match reference.digest() {
                Some(digest) => own.name() == reference.name() && entry.descriptor.digest == *digest,
                None => own == reference,
            }
        };
        self.0
            .borrow()
            .entries
            .iter()
            .find(is_found)
            .cloned()
            .ok_or_else(|| Error::NotFound {
                reference: Box::new(reference.clone()),
            })
    }

    fn list(&self) -> Result<Vec<Entry>, Error> {
        Ok(self.0.borrow().entries.clone())
    }

    fn remove(&self, reference: &Reference) -> Result<Vec<Entry>, Error> {
        let mut removed = Vec::new();
        while let Ok(entry) = self.resolve(reference) {
            self.0.borrow_mut().entries.retain(|kept| *kept != entry);
            removed.push(entry);
        }
        if removed.is_empty() {
            self.resolve(reference)?;
        }
        Ok(removed)
    }

    fn gc(&self, options: GcOptions) -> Result<GcReport, Error> {
        let mut maps = self.0.borrow_mut();
        let mut named = HashSet::new();
        for digest in maps.leases.values().flatten() {
            let _ = maps.named_by(digest, false, &mut named);
        }
        let mut report = GcReport::default();
        let (unused, kept): (Vec<_>, Vec<_>) = maps
            .entries
            .clone()
            .into_iter()
            .partition(|it| options.all && !named.contains(&it.descriptor.digest));
        for entry in &kept {
            let _ = maps.named_by(&entry.descriptor.digest, false, &mut named);
        }
        report.entries = unused;
        for (digest, bytes) in maps.blobs.iter().filter(|(digest, _)| !named.contains(*digest)) {
            let size_bytes = bytes.len() as u64;
            report.freed_bytes += size_bytes;
            report.blobs.push(Blob {
                digest: *digest,
                size_bytes,
            });
        }
        if !options.dry_run {
            maps.entries = kept;
            maps.blobs.retain(|digest, _| named.contains(digest));
        }
        Ok(report)
    }
}

fn blob_of(bytes: &[u8]) -> Blob {
    Blob {
        digest: Digest::of(bytes),
        size_bytes: bytes.len() as u64,
    }
}

fn reference(text: &str) -> Reference {
    text.parse().unwrap()
}

/// Puts an artifact of one layer.
fn artifact<S: ContentStore>(store: &S, lease: &S::Lease, layer: &[u8]) -> Descriptor {
    let config = store.put(lease, b"{}").unwrap().descriptor(MediaType::MODEL_CONFIG);
    let layer = store.put(lease, layer).unwrap().descriptor(MediaType::MODEL_WEIGHT_RAW);
    let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer]).to_bytes();
    store.put(lease, &manifest).unwrap().descriptor(MediaType::OCI_MANIFEST)
}

fn index<S: ContentStore>(store: &S, lease: &S::Lease, children: Vec<Descriptor>) -> Descriptor {
    store
        .put(lease, &Index::new(children).to_bytes())
        .unwrap()
        .descriptor(MediaType::OCI_INDEX)
}

fn names(store: &impl ContentStore) -> Vec<(String, Digest)> {
    let mut names: Vec<_> = store
        .list()
        .unwrap()
        .iter()
        .map(|entry| (entry.label(), entry.descriptor.digest))
        .collect();
    names.sort();
    names
}

fn content_is_found_by_its_digest(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    for content in [&b""[..], b"abc", &[7; 100_000]] {
        let blob = store.put(&lease, content).unwrap();
        assert_eq!(blob, blob_of(content));
        assert_eq!(store.find(&blob.digest).unwrap(), Some(blob));
        assert_eq!(store.read(&blob.digest).unwrap(), content);
        assert_eq!(store.put(&lease, content).unwrap(), blob, "equal content is one blob");
    }
    let other = Digest::of(b"other");
    assert_eq!(store.find(&other).unwrap(), None);
    assert!(matches!(store.read(&other), Err(Error::MissingBlob { digest }) if digest == other));
}

fn content_other_than_expected_leaves_nothing(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let expected = blob_of(b"abc");
    let refused = store.put_as(&lease, b"abd", &expected);
    assert!(matches!(refused, Err(Error::OtherContent { .. })), "{refused:?}");
    let refused = store.put_as(&lease, b"abcd", &expected);
    assert!(matches!(refused, Err(Error::Size { .. })), "{refused:?}");
    assert_eq!(store.find(&expected.digest).unwrap(), None);
    assert_eq!(store.put_as(&lease, b"abc", &expected).unwrap(), expected);
    assert_eq!(store.read(&expected.digest).unwrap(), b"abc");
}

fn sha512_is_a_digest_like_any_other(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(b"abc");
    let expected = Blob {
        digest: hasher.finish(),
        size_bytes: 3,
    };
    assert!(matches!(
        store.put_as(&lease, b"abd", &expected),
        Err(Error::OtherContent { .. })
    ));
    assert_eq!(store.put_as(&lease, b"abc", &expected).unwrap(), expected);
    assert_eq!(store.read(&expected.digest).unwrap(), b"abc");
    drop(lease);
    assert_eq!(store.gc(GcOptions::default()).unwrap().blobs, [expected]);
}

fn a_tag_moves_and_what_it_named_is_told(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let (one, two) = (artifact(&store, &lease, b"1"), artifact(&store, &lease, b"2"));
    let name = reference("x:v");
    assert!(store.tag(&name, &one).unwrap().is_none());
    assert_eq!(store.resolve(&name).unwrap().descriptor.digest, one.digest);
    assert_eq!(store.tag(&name, &two).unwrap().unwrap().descriptor.digest, one.digest);
    assert_eq!(names(&store), [("x:v".to_owned(), two.digest)]);
    assert_eq!(store.remove(&name).unwrap().len(), 1);
    assert!(matches!(store.resolve(&name), Err(Error::NotFound { .. })));
    assert!(matches!(store.remove(&name), Err(Error::NotFound { .. })));
}

fn names_of_every_form_are_kept(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let one = artifact(&store, &lease, b"1");
    let texts = [
        "x",
        "ghcr.io/a/b:c",
        "[::1]:5000/x:v",
        "a__b:_1",
        "a---b:x..",
        "localhost:5000/x:v",
    ];
    for text in texts {
        store.tag(&reference(text), &one).unwrap();
    }
    let by_digest = reference("ghcr.io/a/b").with_digest(one.digest);
    store.tag(&by_digest, &one).unwrap();
    for text in texts {
        assert_eq!(
            store.resolve(&reference(text)).unwrap().reference,
            Some(reference(text))
        );
    }
    assert_eq!(store.list().unwrap().len(), texts.len() + 1);
    assert_eq!(
        store.remove(&by_digest).unwrap().len(),
        2,
        "both entries of the name have the digest"
    );
}

fn a_digest_is_found_under_its_name_wherever_the_tag_is(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let (one, two) = (artifact(&store, &lease, b"1"), artifact(&store, &lease, b"2"));
    store.tag(&reference("x:v"), &one).unwrap();
    let asked: Reference = format!("x:elsewhere@{}", one.digest).parse().unwrap();
    assert_eq!(store.resolve(&asked).unwrap().descriptor.digest, one.digest);
    assert!(store.resolve(&reference("y").with_digest(one.digest)).is_err());
    let kept = reference("x").with_digest(one.digest);
    store.tag(&kept, &one).unwrap();
    store.tag(&reference("x:v"), &two).unwrap();
    drop(lease);
    store.gc(GcOptions::default()).unwrap();
    assert_eq!(store.resolve(&kept).unwrap().descriptor.digest, one.digest);
}

fn an_incomplete_artifact_gets_no_tag(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let whole = artifact(&store, &lease, b"1");
    store.tag(&reference("x:v"), &whole).unwrap();
    let gone = Descriptor::of(MediaType::MODEL_WEIGHT_RAW, b"never stored");
    let config = store.put(&lease, b"{}").unwrap().descriptor(MediaType::MODEL_CONFIG);
    let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![gone.clone()]).to_bytes();
    let manifest = store
        .put(&lease, &manifest)
        .unwrap()
        .descriptor(MediaType::OCI_MANIFEST);
    let parent = index(&store, &lease, vec![whole.clone(), manifest.clone()]);
    for incomplete in [manifest, parent] {
        let refused = store.tag(&reference("x:v"), &incomplete);
        assert!(
            matches!(&refused, Err(Error::MissingBlob { digest }) if *digest == gone.digest),
            "{refused:?}"
        );
    }
    assert_eq!(
        store.resolve(&reference("x:v")).unwrap().descriptor.digest,
        whole.digest
    );
}

fn gc_spares_what_tags_and_leases_name(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let child = artifact(&store, &lease, b"child");
    let parent = index(&store, &lease, vec![child.clone()]);
    let used = artifact(&store, &lease, b"used");
    let loose = store.put(&lease, b"loose").unwrap();
    store.tag(&reference("parent"), &parent).unwrap();
    let nothing = GcReport::default();
    assert_eq!(store.gc(GcOptions::default()).unwrap(), nothing, "all of it is leased");
    let user = store.lease(&[used.digest]).unwrap();
    drop(lease);
    let dry = GcOptions {
        dry_run: true,
        ..GcOptions::default()
    };
    let told = store.gc(dry).unwrap();
    assert_eq!((&told.blobs, told.freed_bytes), (&vec![loose], 5));
    assert_eq!(
        store.gc(GcOptions::default()).unwrap(),
        told,
        "a dry run removes nothing and tells the truth"
    );
    assert_eq!(
        store.read(&Digest::of(b"used")).unwrap(),
        b"used",
        "a leased manifest keeps its layers"
    );
    assert_eq!(store.read(&Digest::of(b"child")).unwrap(), b"child");
    drop(user);
    assert_eq!(
        store.gc(GcOptions::default()).unwrap().blobs.len(),
        2,
        "manifest and layer; the config is shared"
    );
    assert_eq!(store.gc(GcOptions::default()).unwrap(), nothing);
}

fn gc_of_all_removes_names_that_are_not_in_use(store: impl ContentStore) {
    let lease = store.lease(&[]).unwrap();
    let (used, unused) = (artifact(&store, &lease, b"used"), artifact(&store, &lease, b"unused"));
    store.tag(&reference("used"), &used).unwrap();
    store.tag(&reference("unused"), &unused).unwrap();
    drop(lease);
    let _user = store.lease(&[used.digest]).unwrap();
    let all = GcOptions {
        all: true,
        dry_run: false,
    };
    let report = store.gc(all).unwrap();
    assert_eq!(
        report.entries.iter().map(Entry::label).collect::<Vec<_>>(),
        ["unused:latest"]
    );
    assert_eq!(names(&store), [("used:latest".to_owned(), used.digest)]);
    assert_eq!(store.find(&Digest::of(b"unused")).unwrap(), None);
    assert_eq!(store.read(&Digest::of(b"used")).unwrap(), b"used");
}

macro_rules! run_for_every_store {
    ($($promise:ident)*) => {
        mod on_disk_store {
            $(#[test] fn $promise() { super::$promise(super::on_disk()); })*
        }
        mod in_memory_store {
            $(#[test] fn $promise() { super::$promise(super::in_memory()); })*
        }
    };
}

run_for_every_store! {
    content_is_found_by_its_digest
    content_other_than_expected_leaves_nothing
    sha512_is_a_digest_like_any_other
    a_tag_moves_and_what_it_named_is_told
    names_of_every_form_are_kept
    a_digest_is_found_under_its_name_wherever_the_tag_is
    an_incomplete_artifact_gets_no_tag
    gc_spares_what_tags_and_leases_name
    gc_of_all_removes_names_that_are_not_in_use
}

mod histories {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Act {
        Build { content: u8, name: u8 },
        Tag { name: u8, other: u8 },
        Pin { name: u8 },
        Remove { name: u8 },
        Use { name: u8 },
        Release,
        Loose { content: u8 },
        Gc { all: bool },
    }

    fn act() -> impl Strategy<Value = Act> {
        let name = 0..4u8;
        prop_oneof![
            4 => (0..6u8, name.clone()).prop_map(|(content, name)| Act::Build { content, name }),
            2 => (name.clone(), name.clone()).prop_map(|(name, other)| Act::Tag { name, other }),
            1 => name.clone().prop_map(|name| Act::Pin { name }),
            2 => name.clone().prop_map(|name| Act::Remove { name }),
            1 => name.prop_map(|name| Act::Use { name }),
            1 => Just(Act::Release),
            1 => (0..6u8).prop_map(|content| Act::Loose { content }),
            2 => any::<bool>().prop_map(|all| Act::Gc { all }),
        ]
    }

    fn name(n: u8) -> Reference {
        reference(["x:1", "x:2", "a__b:1", "ghcr.io/a/b:c"][usize::from(n)])
    }

    /// Does one thing and tells what came of it, errors in words.
    fn play<S: ContentStore>(store: &S, act: &Act, users: &mut Vec<S::Lease>) -> String {
        match act {
            Act::Build { content, name: n } => {
                let lease = store.lease(&[]).unwrap();
                let made = artifact(store, &lease, &[*content]);
                format!(
                    "{:?}",
                    store
                        .tag(&name(*n), &made)
                        .map(|previous| previous.map(|it| it.descriptor.digest))
                )
            }
            Act::Tag { name: n, other } => match store.resolve(&name(*n)) {
                Err(error) => error.to_string(),
                Ok(entry) => format!("{:?}", store.tag(&name(*other), &plain(&entry)).is_ok()),
            },
            Act::Pin { name: n } => match store.resolve(&name(*n)) {
                Err(error) => error.to_string(),
                Ok(entry) => {
                    let pinned = name(*n).with_digest(entry.descriptor.digest);
                    format!("{:?}", store.tag(&pinned, &plain(&entry)).is_ok())
                }
            },
            Act::Remove { name: n } => match store.remove(&name(*n)) {
                Err(error) => error.to_string(),
                Ok(removed) => format!("{:?}", removed.iter().map(Entry::label).collect::<Vec<_>>()),
            },
            Act::Use { name: n } => {
                let entry = store.resolve(&name(*n));
                users.extend(entry.map(|entry| store.lease(&[entry.descriptor.digest]).unwrap()));
                String::new()
            }
            Act::Release => {
                users.clear();
                String::new()
            }
            Act::Loose { content } => {
                let lease = store.lease(&[]).unwrap();
                format!("{:?}", store.put(&lease, &[*content]).unwrap())
            }
            Act::Gc { all } => {
                let (all, dry_run) = (*all, false);
                let mut report = store.gc(GcOptions { all, dry_run }).unwrap();
                report.blobs.sort();
                format!("{:?}", (report.blobs, report.freed_bytes))
            }
        }
    }

    fn plain(entry: &Entry) -> Descriptor {
        let named = &entry.descriptor;
        Descriptor::new(named.media_type.clone(), named.digest, named.size_bytes)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_store_on_disk_does_what_the_one_in_memory_does(acts in vec(act(), 1..24)) {
            let (disk, memory) = (on_disk(), in_memory());
            let (mut disk_users, mut memory_users) = (Vec::new(), Vec::new());
            for act in &acts {
                let on_disk = play(&disk, act, &mut disk_users);
                let in_memory = play(&memory, act, &mut memory_users);
                prop_assert_eq!(on_disk, in_memory, "{:?}", act);
                prop_assert_eq!(names(&disk), names(&memory), "{:?}", act);
            }
            prop_assert!(disk.store.verify(false).unwrap().is_sound());
        }
    }
}
