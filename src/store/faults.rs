//! A full or broken disk at every call that a command makes: the store stays sound, names are old or new, and the next
//! command works.

use std::path::Path;

use jiff::Timestamp;

use super::{Blob, Claim, Error, GcOptions, Store};
use crate::fs::faults::{self, Fault};
use crate::oci::{Descriptor, Digest, Manifest, MediaType, Reference};

/// Enough that hashing and writing run side by side.
const WEIGHTS_BYTES: usize = (1 << 20) + 1;

fn name() -> Reference {
    "x:1".parse().unwrap()
}

/// Builds an artifact of one large file and tags it, as a command does.
fn build(home: &Path, weights: &Path) -> Result<Descriptor, Error> {
    let store = Store::open(home)?;
    let lease = store.lease(&[])?;
    let layer = store
        .ingest_file(&lease, weights)?
        .descriptor(MediaType::MODEL_WEIGHT_RAW);
    tag(&store, &lease, layer)
}

/// Downloads the same in two parts and tags it.
fn pull(home: &Path, weights: &Path) -> Result<Descriptor, Error> {
    let bytes = std::fs::read(weights).unwrap();
    let store = Store::open(home)?;
    let lease = store.lease(&[])?;
    let blob = Blob {
        digest: Digest::of(&bytes),
        size_bytes: bytes.len() as u64,
    };
    if let Claim::Ours(part) = store.claim(&lease, &blob)? {
        let (first, rest) = bytes.split_at(bytes.len() / 2);
        part.file().write_all_at(rest, first.len() as u64)?;
        part.append_to_journal(b"rest")?;
        part.file().write_all_at(first, 0)?;
        part.replace_journal(b"all")?;
        part.commit(&lease, None)?;
    }
    tag(&store, &lease, blob.descriptor(MediaType::MODEL_WEIGHT_RAW))
}

fn tag(store: &Store, lease: &super::Lease, layer: Descriptor) -> Result<Descriptor, Error> {
    let config = store.ingest_bytes(lease, b"{}")?.descriptor(MediaType::MODEL_CONFIG);
    let manifest = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer]).to_bytes();
    let manifest = store
        .ingest_bytes(lease, &manifest)?
        .descriptor(MediaType::OCI_MANIFEST);
    store.tag(&name(), &manifest, Timestamp::UNIX_EPOCH)?;
    Ok(manifest)
}

/// Runs `command` with a fault at its first call, then at its second, and so on until it passes untouched. After each
/// fault the store must be sound, `x:1` one of `allowed`, and the command must work when it is run again.
fn at_every_call<T>(home: &Path, allowed: &[Option<Digest>], reset: impl Fn(), command: impl Fn() -> Result<T, Error>) {
    for fault in Fault::SUDDEN {
        for lasting in [false, true] {
            if lasting && matches!(fault, Fault::Quota | Fault::TooManyFiles) {
                continue;
            }
            let mut n = 0;
            loop {
                reset();
                let plan = if lasting {
                    faults::lasting(home, n, fault)
                } else {
                    faults::plan(home, n, fault)
                };
                let result = command();
                let struck = plan.struck();
                drop(plan);
                let when = format!("{fault:?}, call {n}, lasting {lasting}: {:?}", result.as_ref().err());
                check(home, allowed, &when);
                if !struck {
                    assert!(result.is_ok() && n > 2, "{when}");
                    break;
                }
                command().map_err(|error| format!("{when}: again: {error:?}")).unwrap();
                check(home, allowed, &when);
                n += 1;
            }
        }
    }
}

fn check(home: &Path, allowed: &[Option<Digest>], when: &str) {
    let store = Store::open(home).unwrap();
    let report = store.verify(false).unwrap();
    assert!(report.is_sound(), "{when}: {report:?}");
    let named = store.resolve(&name()).ok().map(|entry| entry.descriptor.digest);
    assert!(allowed.contains(&named), "{when}: {named:?}");
}

struct Scene {
    _folder: tempfile::TempDir,
    home: std::path::PathBuf,
    old: std::path::PathBuf,
    new: std::path::PathBuf,
    old_digest: Digest,
    new_digest: Digest,
}

fn scene() -> Scene {
    let folder = super::tests::folder();
    let (old, new) = (folder.path().join("old"), folder.path().join("new"));
    std::fs::write(&old, vec![1; WEIGHTS_BYTES]).unwrap();
    std::fs::write(&new, vec![2; WEIGHTS_BYTES]).unwrap();
    let aside = folder.path().join("aside");
    Scene {
        old_digest: build(&aside, &old).unwrap().digest,
        new_digest: build(&aside, &new).unwrap().digest,
        home: folder.path().join("home"),
        _folder: folder,
        old,
        new,
    }
}

impl Scene {
    /// Brings the store back to where `x:1` is the old artifact and nothing else is there.
    fn to_old(&self) {
        let template = self.old.with_file_name("template");
        if !template.exists() {
            build(&template, &self.old).unwrap();
        }
        let _ = std::fs::remove_dir_all(&self.home);
        copy_folder(&template, &self.home);
    }
}

fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_folder(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn the_first_build_of_all_survives_every_fault() {
    let scene = scene();
    let reset = || _ = std::fs::remove_dir_all(&scene.home);
    at_every_call(&scene.home, &[None, Some(scene.new_digest)], reset, || {
        build(&scene.home, &scene.new)
    });
}

#[test]
fn a_build_over_a_tag_survives_every_fault() {
    let scene = scene();
    let allowed = [Some(scene.old_digest), Some(scene.new_digest)];
    at_every_call(
        &scene.home,
        &allowed,
        || scene.to_old(),
        || build(&scene.home, &scene.new),
    );
}

#[test]
fn a_pull_over_a_tag_survives_every_fault() {
    let scene = scene();
    let allowed = [Some(scene.old_digest), Some(scene.new_digest)];
    at_every_call(
        &scene.home,
        &allowed,
        || scene.to_old(),
        || pull(&scene.home, &scene.new),
    );
}

#[test]
fn removal_and_gc_survive_every_fault() {
    let scene = scene();
    let remove_and_collect = || {
        let store = Store::open(&scene.home)?;
        match store.remove(&name()) {
            Ok(_) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(error),
        }
        store.gc(GcOptions::default())
    };
    at_every_call(
        &scene.home,
        &[Some(scene.old_digest), None],
        || scene.to_old(),
        remove_and_collect,
    );
    let store = Store::open(&scene.home).unwrap();
    store.gc(GcOptions::default()).unwrap();
    assert_eq!(store.blobs().unwrap(), [], "nothing is left over");
}

#[test]
fn repair_survives_every_fault() {
    let scene = scene();
    let layer = Digest::of(&vec![1; WEIGHTS_BYTES]);
    let blob = scene.home.join("store/blobs/sha256").join(layer.hex());
    let damage = || {
        scene.to_old();
        let mut bytes = std::fs::read(&blob).unwrap();
        bytes[1000] ^= 4;
        std::fs::remove_file(&blob).unwrap();
        std::fs::write(&blob, bytes).unwrap();
    };
    let repair = || {
        Store::open(&scene.home)?.verify(true)?;
        build(&scene.home, &scene.old)
    };
    damage();
    for n in 0.. {
        damage();
        let plan = faults::plan(&scene.home, n, Fault::Broken);
        let repaired = repair();
        let struck = plan.struck();
        drop(plan);
        if !struck {
            repaired.unwrap();
            check(&scene.home, &[Some(scene.old_digest)], "no fault");
            break;
        }
        repair().unwrap_or_else(|error| panic!("call {n}: {error:?}"));
        check(&scene.home, &[Some(scene.old_digest)], &format!("call {n}"));
    }
}
