use std::collections::HashMap;

use jiff::Timestamp;

use super::lock::StoreLock;
use super::{Error, Store};
use crate::fs;
use crate::oci::annotation::{REF_NAME, REFERENCE, TAGGED_AT};
use crate::oci::{Descriptor, Digest, Index, Reference};

/// The largest `index.json` that is read: some hundred thousand entries.
const MAX_INDEX_BYTES: u64 = 128 << 20;

/// Holds one line of `index.json`: an artifact, and the name that it has here.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The name; `None` if another tool gave none, or one that is not a reference.
    pub reference: Option<Reference>,
    /// What the entry names: a manifest or an index.
    pub descriptor: Descriptor,
    /// When the name was last set here; `None` if another tool set it.
    pub tagged_at: Option<Timestamp>,
}

impl Entry {
    pub(super) fn of(descriptor: &Descriptor) -> Entry {
        Entry {
            reference: reference_of(descriptor),
            tagged_at: descriptor.annotation(TAGGED_AT).and_then(|text| text.parse().ok()),
            descriptor: descriptor.clone(),
        }
    }

    /// Tells whether the name stands in `index.json` as gpux writes it, tag included.
    fn has_full_name(&self) -> bool {
        let full = self.reference.as_ref().map(Reference::to_string);
        [REF_NAME, REFERENCE]
            .iter()
            .any(|key| full.is_some() && self.descriptor.annotation(key) == full.as_deref())
    }

    /// Gives the name to print: the reference, or what another tool wrote in its place, or the digest.
    pub fn label(&self) -> String {
        match (&self.reference, self.descriptor.annotation(REF_NAME)) {
            (Some(reference), _) => reference.to_string(),
            (None, Some(name)) if !name.is_empty() => name.escape_debug().to_string(),
            (None, _) => self.descriptor.digest.to_string(),
        }
    }
}

/// Reads the name of an entry. Our own annotation counts only where `ref.name` could not hold the name: another tool
/// that renames an entry changes `ref.name` alone.
fn reference_of(descriptor: &Descriptor) -> Option<Reference> {
    let name = descriptor.annotation(REF_NAME);
    let text = match name {
        Some(name) if name.parse::<Digest>().is_err() => name,
        _ => descriptor.annotation(REFERENCE)?,
    };
    let reference: Reference = text.parse().ok()?;
    match reference.digest() {
        Some(digest) if *digest != descriptor.digest => None,
        _ => Some(reference),
    }
}

/// Gives an entry its name in the annotations.
fn name_entry(mut descriptor: Descriptor, reference: &Reference, at: Timestamp) -> Descriptor {
    descriptor.annotations.remove(REF_NAME);
    descriptor.annotations.remove(REFERENCE);
    let text = reference.to_string();
    if reference.digest().is_some() {
        descriptor.annotations.insert(REFERENCE.into(), text);
    } else if is_legal_for_others(&text) {
        descriptor.annotations.insert(REF_NAME.into(), text);
    } else {
        descriptor
            .annotations
            .insert(REF_NAME.into(), descriptor.digest.to_string());
        descriptor.annotations.insert(REFERENCE.into(), text);
    }
    let at = Timestamp::from_second(at.as_second()).unwrap_or(at);
    descriptor.annotations.insert(TAGGED_AT.into(), at.to_string());
    descriptor
}

/// Tells whether a name is one that `org.opencontainers.image.ref.name` may hold: letters and digits, with one
/// separator at a time between them.
///
/// Source: the grammar of the OCI image specification, as skopeo enforces it.
fn is_legal_for_others(text: &str) -> bool {
    text.split('/').all(|component| {
        let is_word = |c: char| c.is_ascii_alphanumeric();
        component.starts_with(is_word)
            && component.ends_with(is_word)
            && component
                .split(is_word)
                .all(|joint| matches!(joint, "" | "-" | "." | "_" | ":" | "@" | "+" | "--"))
    })
}

impl Store {
    /// Lists the entries in the order in which they were made. Where several have one name, the one that the name
    /// resolves to stands for all.
    ///
    /// Errors: [`Error::Layout`] if `index.json` cannot be understood.
    pub fn list(&self) -> Result<Vec<Entry>, Error> {
        let mut places: HashMap<Reference, usize> = HashMap::new();
        let mut listed: Vec<Entry> = Vec::new();
        for entry in self.index()?.manifests.iter().map(Entry::of) {
            let place = entry.reference.as_ref().and_then(|reference| places.get(reference));
            match place {
                Some(&place) if listed[place].has_full_name() || !entry.has_full_name() => {}
                Some(&place) => listed[place] = entry,
                None => {
                    places.extend(entry.reference.clone().map(|reference| (reference, listed.len())));
                    listed.push(entry);
                }
            }
        }
        Ok(listed)
    }

    /// Finds what a reference names here. A reference with a digest is found under any tag of its name.
    ///
    /// Errors: [`Error::NotFound`].
    pub fn resolve(&self, reference: &Reference) -> Result<Entry, Error> {
        let entries: Vec<Entry> = self.index()?.manifests.iter().map(Entry::of).collect();
        find(&entries, reference).cloned().ok_or_else(|| Error::NotFound {
            reference: Box::new(reference.clone()),
        })
    }

    /// Lets a reference name an artifact that is complete in the store, and gives what it named before.
    ///
    /// A reference with a digest becomes an entry of its own, kept until it is removed; its tag does not count.
    ///
    /// Errors: [`Error::MissingBlob`], [`Error::Damaged`], [`Error::Document`] if the artifact is not complete;
    /// [`Error::OtherDigest`] if the reference has another digest.
    pub fn tag(&self, reference: &Reference, descriptor: &Descriptor, at: Timestamp) -> Result<Option<Entry>, Error> {
        let reference = match reference.digest() {
            Some(digest) if *digest != descriptor.digest => {
                return Err(Error::OtherDigest {
                    reference: Box::new(reference.clone()),
                    digest: descriptor.digest,
                });
            }
            Some(digest) => reference.with_digest(*digest),
            None => reference.clone(),
        };
        let lock = self.lock()?;
        self.check_complete(descriptor)?;
        let mut index = self.index()?;
        let previous: Vec<Entry> = index.manifests.iter().map(Entry::of).collect();
        let previous = find(&previous, &reference).cloned();
        index
            .manifests
            .retain(|entry| reference_of(entry).as_ref() != Some(&reference));
        index.manifests.push(name_entry(descriptor.clone(), &reference, at));
        self.write_index(&lock, &index)?;
        Ok(previous)
    }

    /// Removes a name, and gives the entries removed. A reference with a digest removes every entry of its name that
    /// names the digest. Blobs stay until [`Store::gc`].
    ///
    /// Errors: [`Error::NotFound`].
    pub fn remove(&self, reference: &Reference) -> Result<Vec<Entry>, Error> {
        self.resolve(reference)?;
        let removed = self.remove_where(|entry| matches(entry, reference))?;
        if removed.is_empty() {
            return Err(Error::NotFound {
                reference: Box::new(reference.clone()),
            });
        }
        Ok(removed)
    }

    /// Removes every entry that names a digest, and gives them: the way to remove what has no name.
    ///
    /// Errors: [`Error::NoSuchEntry`].
    pub fn remove_digest(&self, digest: &Digest) -> Result<Vec<Entry>, Error> {
        let names = |entry: &Entry| entry.descriptor.digest == *digest;
        if !self.list()?.iter().any(names) {
            return Err(Error::NoSuchEntry { digest: *digest });
        }
        self.remove_where(names)
    }

    fn remove_where(&self, is_removed: impl Fn(&Entry) -> bool) -> Result<Vec<Entry>, Error> {
        let lock = self.lock()?;
        let mut index = self.index()?;
        let removed: Vec<Entry> = index
            .manifests
            .iter()
            .map(Entry::of)
            .filter(|entry| is_removed(entry))
            .collect();
        if !removed.is_empty() {
            index.manifests.retain(|descriptor| !is_removed(&Entry::of(descriptor)));
            self.write_index(&lock, &index)?;
        }
        Ok(removed)
    }

    pub(super) fn index(&self) -> Result<Index, Error> {
        let path = self.layout().index();
        match fs::read_if_exists(&path)? {
            None => Ok(Index::new(Vec::new())),
            Some(bytes) => Index::parse(&bytes, MAX_INDEX_BYTES).map_err(|source| Error::Layout { path, source }),
        }
    }

    pub(super) fn write_index(&self, _: &StoreLock, index: &Index) -> Result<(), Error> {
        Ok(fs::replace(&self.layout().index(), &index.to_bytes())?)
    }
}

fn matches(entry: &Entry, reference: &Reference) -> bool {
    let Some(own) = &entry.reference else {
        return false;
    };
    match reference.digest() {
        Some(digest) => own.name() == reference.name() && entry.descriptor.digest == *digest,
        None => own == reference,
    }
}

/// Finds the entry of a reference. Another tool may have written `x` beside our `x:latest`: the full name wins.
fn find<'a>(entries: &'a [Entry], reference: &Reference) -> Option<&'a Entry> {
    let mut found = entries.iter().filter(|entry| matches(entry, reference));
    let first = found.clone().next();
    found.find(|entry| entry.has_full_name()).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_legal_for_others_follow_the_grammar() {
        for legal in ["x:1", "ghcr.io/a/b:1.0-rc1", "localhost:5000/a--b:v", "a_b:X@y"] {
            assert!(is_legal_for_others(legal), "{legal}");
        }
        for illegal in [
            "a__b:1",
            "a---b:1",
            "a:_x",
            "a:x.",
            "a:x..y",
            "[::1]:5000/x:1",
            "a:-",
            "",
        ] {
            assert!(!is_legal_for_others(illegal), "{illegal}");
        }
    }

    use crate::store::tests::{folder, store_with};

    /// Makes a store whose `index.json` another tool has written: four entries of one artifact.
    fn written_by_others(home: &std::path::Path) -> Store {
        let store = store_with(home, &["x"]);
        let descriptor = store.resolve(&"x".parse().unwrap()).unwrap().descriptor;
        let (digest, size) = (descriptor.digest, descriptor.size_bytes);
        let entry = |rest: &str| {
            format!(
                r#"{{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"{digest}","size":{size}{rest}}}"#
            )
        };
        let named = |name: &str| {
            entry(&format!(
                r#","annotations":{{"org.opencontainers.image.ref.name":"{name}","other.tool":"kept"}}"#
            ))
        };
        let entries = [
            named("short"),
            entry(r#","platform":{"os":"linux"}"#),
            named("No-Reference!"),
            named("localhost:5000/a:1"),
        ];
        let text = format!(
            r#"{{"schemaVersion":2,"x-tool":true,"manifests":[{}]}}"#,
            entries.join(",")
        );
        std::fs::write(store.layout().index(), text).unwrap();
        store
    }

    #[test]
    fn what_other_tools_wrote_is_read_and_kept() {
        let folder = folder();
        let store = written_by_others(&folder.path().join("home"));
        let digest = store.index().unwrap().manifests[0].digest;
        let labels: Vec<String> = store.list().unwrap().iter().map(Entry::label).collect();
        assert_eq!(
            labels,
            [
                "short:latest",
                &digest.to_string(),
                "No-Reference!",
                "localhost:5000/a:1"
            ]
        );
        assert!(store.list().unwrap().iter().all(|entry| entry.tagged_at.is_none()));

        let found = store.resolve(&"short".parse().unwrap()).unwrap();
        store
            .tag(&"new:1".parse().unwrap(), &found.descriptor, Timestamp::UNIX_EPOCH)
            .unwrap();
        let text = std::fs::read_to_string(store.layout().index()).unwrap();
        for kept in [
            r#""x-tool":true"#,
            r#""platform":{"os":"linux"}"#,
            r#""No-Reference!""#,
            r#""other.tool":"kept""#,
        ] {
            assert!(text.contains(kept), "{text}");
        }
        assert_eq!(store.list().unwrap().len(), 5);
        assert!(store.verify(false).unwrap().is_sound());

        assert_eq!(store.remove(&"short".parse().unwrap()).unwrap().len(), 1);
        assert_eq!(store.remove_digest(&digest).unwrap().len(), 4);
        assert!(matches!(store.remove_digest(&digest), Err(Error::NoSuchEntry { .. })));
    }

    #[test]
    fn a_full_name_wins_over_a_short_one_and_replaces_it() {
        let folder = folder();
        let store = written_by_others(&folder.path().join("home"));
        let short = store.resolve(&"short".parse().unwrap()).unwrap().descriptor;
        let mut index = store.index().unwrap();
        index.manifests.push(name_entry(
            short.clone(),
            &"short:latest".parse().unwrap(),
            Timestamp::UNIX_EPOCH,
        ));
        store.write_index(&store.lock().unwrap(), &index).unwrap();
        let entry = store.resolve(&"short".parse().unwrap()).unwrap();
        assert_eq!(entry.tagged_at, Some(Timestamp::UNIX_EPOCH));
        assert_eq!(
            store
                .list()
                .unwrap()
                .iter()
                .filter(|entry| entry.label() == "short:latest")
                .count(),
            1
        );
        store
            .tag(&"short".parse().unwrap(), &short, Timestamp::UNIX_EPOCH)
            .unwrap();
        assert_eq!(store.index().unwrap().manifests.len(), 4);
    }

    #[test]
    fn a_name_that_others_cannot_hold_goes_into_our_own_annotation() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["a__b:1", "[::1]:5000/x:1", "ok:1"]);
        for descriptor in store.index().unwrap().manifests {
            let (name, own) = (
                descriptor.annotation(REF_NAME).unwrap(),
                descriptor.annotation(REFERENCE),
            );
            match own {
                Some(own) => assert!(name == descriptor.digest.to_string() && !is_legal_for_others(own)),
                None => assert_eq!(name, "ok:1"),
            }
            assert_eq!(descriptor.annotation(TAGGED_AT), Some("1970-01-01T00:00:00Z"));
        }
    }

    #[test]
    fn the_clock_does_not_matter_to_what_is_kept() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        let name: Reference = "x".parse().unwrap();
        let found = store.resolve(&name).unwrap().descriptor;
        for at in [Timestamp::MAX, Timestamp::MIN, Timestamp::UNIX_EPOCH] {
            store.tag(&name, &found, at).unwrap();
            assert!(store.resolve(&name).unwrap().tagged_at.is_some());
            assert_eq!(store.gc(crate::store::GcOptions::default()).unwrap().blobs, []);
        }
    }

    #[test]
    fn a_reference_with_another_digest_names_nothing() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        let found = store.resolve(&"x".parse().unwrap()).unwrap().descriptor;
        let other = "x".parse::<Reference>().unwrap().with_digest(Digest::of(b"other"));
        let refused = store.tag(&other, &found, Timestamp::UNIX_EPOCH);
        assert!(matches!(refused, Err(Error::OtherDigest { .. })));
    }

    #[test]
    fn a_damaged_index_is_told_and_not_overwritten() {
        let folder = folder();
        let store = store_with(&folder.path().join("home"), &["x"]);
        std::fs::write(store.layout().index(), "{\"schemaVersion\":2,").unwrap();
        let error = store.list().unwrap_err();
        assert!(
            matches!(&error, Error::Layout { path, .. } if *path == store.layout().index()),
            "{error}"
        );
        assert!(store.gc(crate::store::GcOptions::default()).is_err());
        assert!(store.find(&Digest::of(b"x")).unwrap().is_some());
    }
}
