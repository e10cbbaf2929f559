//! gpux against a real registry, with skopeo as the judge.

use std::process::Command;

use gpux::{
    store::Store,
    transfer::{Remote, pull, push},
};

use crate::support::{
    artifacts::{EPOCH, hasty, noise, silent, store_artifact},
    deps::program,
    distribution::Distribution,
};

fn skopeo(arguments: &[&str]) -> String {
    let output = Command::new(program("skopeo")).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "skopeo {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn what_is_pushed_comes_back_the_same() {
    let registry = Distribution::start();
    let home = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let (first, second) = (Store::open(home.path()).unwrap(), Store::open(other.path()).unwrap());
    let name = format!("{}/team/model:1", registry.host());
    let large = noise(1, 40 << 20);
    let files: &[(&str, &[u8])] = &[("model.onnx", b"graph"), ("weights", &large), ("empty", b"")];
    let digest = store_artifact(&first, &name, files);
    let reference = name.parse().unwrap();

    let pushed = push(&first, &reference, &Remote::default(), silent()).unwrap();
    assert_eq!(pushed.descriptor.digest, digest);
    assert!(pushed.moved_bytes > 40 << 20);

    let pulled = pull(&second, &reference, &Remote::default(), silent(), EPOCH).unwrap();
    assert_eq!(pulled.descriptor.digest, digest);
    assert_eq!(pulled.moved_bytes, pushed.moved_bytes);
    assert_eq!(second.resolve(&reference).unwrap().descriptor.digest, digest);

    let again = pull(&second, &reference, &Remote::default(), silent(), EPOCH).unwrap();
    assert_eq!((again.moved_bytes, again.requests), (0, 1));
    let repeated = push(&first, &reference, &Remote::default(), silent()).unwrap();
    assert_eq!(repeated.moved_bytes, 0);
    assert_eq!(repeated.requests, 3, "has it, tag it, read it back");
}

#[test]
fn skopeo_reads_what_gpux_pushes_and_gpux_what_skopeo_copies() {
    let registry = Distribution::start();
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let name = format!("{}/a:1", registry.host());
    let large = noise(2, 20 << 20);
    let digest = store_artifact(&store, &name, &[("model.onnx", &large), ("labels.txt", b"a\nb\n")]);
    push(&store, &name.parse().unwrap(), &Remote::default(), silent()).unwrap();

    let raw = skopeo(&["inspect", "--tls-verify=false", "--raw", &format!("docker://{name}")]);
    assert_eq!(gpux::oci::Digest::of(raw.as_bytes()), digest);
    let copy = format!("{}/copied/by/skopeo:2", registry.host());
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--preserve-digests",
        &format!("docker://{name}"),
        &format!("docker://{copy}"),
    ]);
    let other = tempfile::tempdir().unwrap();
    let second = Store::open(other.path()).unwrap();
    let pulled = pull(&second, &copy.parse().unwrap(), &Remote::default(), silent(), EPOCH).unwrap();
    assert_eq!(pulled.descriptor.digest, digest);
}

#[test]
fn a_blob_that_the_registry_corrupted_is_never_stored() {
    let registry = Distribution::start();
    let home = tempfile::tempdir().unwrap();
    let store = Store::open(home.path()).unwrap();
    let name = format!("{}/a:1", registry.host());
    let content = noise(3, 100_000);
    store_artifact(&store, &name, &[("model.onnx", &content)]);
    push(&store, &name.parse().unwrap(), &Remote::default(), silent()).unwrap();

    let digest = gpux::oci::Digest::of(&content);
    let file = registry.blob_file(&digest.to_string());
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[50_000] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let other = tempfile::tempdir().unwrap();
    let second = Store::open(other.path()).unwrap();
    let error = pull(&second, &name.parse().unwrap(), &hasty(), silent(), EPOCH).unwrap_err();
    assert!(error.to_string().contains("damaged twice"), "{error}");
    assert_eq!(second.find(&digest).unwrap(), None);
    assert!(second.list().unwrap().is_empty());
}
