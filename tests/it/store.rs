//! The store as other tools see it: skopeo reads what gpux wrote, and gpux lists what skopeo wrote.

use std::path::Path;
use std::process::Command;

use gpux::oci::{Descriptor, Manifest, MediaType, Reference};
use gpux::store::{GcOptions, Store};
use jiff::Timestamp;

use crate::support::deps::program;

/// Runs skopeo, with its scratch files in `folder`, and gives what it printed.
fn skopeo(folder: &Path, arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(program("skopeo"))
        .args(["--insecure-policy", "--tmpdir"])
        .arg(folder)
        .args(arguments)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output.stdout
}

/// Stores an artifact under several names, and gives its manifest.
fn store_artifact(store: &Store, names: &[&str]) -> (Descriptor, Vec<u8>) {
    let lease = store.lease(&[]).unwrap();
    let config = store
        .ingest_bytes(&lease, b"{}")
        .unwrap()
        .descriptor(MediaType::MODEL_CONFIG);
    let layer = store
        .ingest_bytes(&lease, b"weights")
        .unwrap()
        .descriptor(MediaType::MODEL_WEIGHT_RAW);
    let bytes = Manifest::new(MediaType::MODEL_ARTIFACT, config, vec![layer]).to_bytes();
    let manifest = store
        .ingest_bytes(&lease, &bytes)
        .unwrap()
        .descriptor(MediaType::OCI_MANIFEST);
    for name in names {
        store
            .tag(&name.parse().unwrap(), &manifest, Timestamp::UNIX_EPOCH)
            .unwrap();
    }
    (manifest, bytes)
}

#[test]
fn skopeo_reads_every_tag_of_the_store() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("home")).unwrap();
    let names = [
        "digits:1.0.0",
        "ghcr.io/team/digits:latest",
        "localhost:5000/a_b/c--d:V_1.x-y",
    ];
    let (manifest, bytes) = store_artifact(&store, &names);
    store_artifact(&store, &["a__b:_1"]);
    let by_digest = manifest.digest.to_string();
    for (n, name) in names.iter().chain([&by_digest.as_str()]).enumerate() {
        let source = format!("oci:{}:{name}", store.path().display());
        assert_eq!(skopeo(folder.path(), &["inspect", "--raw", &source]), bytes, "{name}");
        let target = folder.path().join(format!("copy{n}"));
        skopeo(folder.path(), &["copy", &source, &format!("dir:{}", target.display())]);
        assert_eq!(std::fs::read(target.join("manifest.json")).unwrap(), bytes);
        let layer = gpux::oci::Digest::of(b"weights").hex();
        assert_eq!(std::fs::read(target.join(layer)).unwrap(), b"weights");
    }
}

#[test]
fn what_skopeo_copies_into_the_store_is_listed_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("home")).unwrap();
    let other = Store::open(&folder.path().join("other")).unwrap();
    store_artifact(&store, &["a__b:1", "mine:1"]);
    let (manifest, _) = store_artifact(&other, &["x:1"]);
    let source = format!("oci:{}:x:1", other.path().display());
    let layout = store.path().display().to_string();
    for name in [":ghcr.io/team/x:2", ":bare", ""] {
        skopeo(folder.path(), &["copy", &source, &format!("oci:{layout}{name}")]);
    }
    let mut labels: Vec<String> = store.list().unwrap().iter().map(|entry| entry.label()).collect();
    labels.sort();
    for label in ["a__b:1", "mine:1", "ghcr.io/team/x:2", "bare:latest"] {
        assert!(labels.contains(&label.to_owned()), "{labels:?}");
    }
    let bare: Reference = "bare".parse().unwrap();
    assert_eq!(store.resolve(&bare).unwrap().descriptor.digest, manifest.digest);
    assert!(store.verify(false).unwrap().is_sound());
    assert_eq!(store.gc(GcOptions::default()).unwrap().blobs, []);

    store
        .tag(&"again:1".parse().unwrap(), &manifest, Timestamp::UNIX_EPOCH)
        .unwrap();
    skopeo(folder.path(), &["inspect", "--raw", &format!("oci:{layout}:bare")]);
    skopeo(folder.path(), &["inspect", "--raw", &format!("oci:{layout}:again:1")]);
}

#[test]
fn a_layout_that_skopeo_made_becomes_a_store() {
    let folder = tempfile::tempdir().unwrap();
    let other = Store::open(&folder.path().join("other")).unwrap();
    let (manifest, _) = store_artifact(&other, &["x:1"]);
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    let source = format!("oci:{}:x:1", other.path().display());
    skopeo(
        folder.path(),
        &["copy", &source, &format!("oci:{}/store:x:1", home.display())],
    );
    let store = Store::open(&home).unwrap();
    let (entry, lease) = store.checkout(&"x:1".parse().unwrap()).unwrap();
    assert!(entry.descriptor.digest == manifest.digest && lease.is_effective());
    store_artifact(&store, &["mine:1"]);
    drop(lease);
    store.gc(GcOptions::default()).unwrap();
    assert_eq!(store.list().unwrap().len(), 2);
    assert!(store.verify(false).unwrap().is_sound());
}
