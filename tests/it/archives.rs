//! Save and load, with skopeo on the other side.

use std::process::Command;

use gpux::store::Store;

use crate::contracts;
use crate::support::{
    Gpux,
    artifacts::{noise, store_artifact},
    deps::program,
    distribution::Distribution,
};

fn with_artifact(name: &str) -> (Gpux, String) {
    let gpux = Gpux::new();
    let store = Store::open(gpux.home()).unwrap();
    let large = noise(1, 3 << 20);
    let digest = store_artifact(&store, name, &[("weights", &large), ("model.onnx", b"graph")]);
    (gpux, digest.to_string())
}

fn skopeo(arguments: &[&str]) {
    let output = Command::new(program("skopeo")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn what_is_saved_loads_the_same_plain_and_compressed() {
    let (here, digest) = with_artifact("example.com/team/model:1");
    let folder = tempfile::tempdir().unwrap();
    for file in ["model.tar", "model.tar.zst"] {
        let path = folder.path().join(file).display().to_string();
        let saved = here.json(["--json", "save", "example.com/team/model:1", "-o", &path]);
        contracts::command("archived", &saved);
        let there = Gpux::new();
        assert_eq!(there.ok(["load", &path]).trim(), digest);
        assert_eq!(there.run(["store", "verify"]).code, Some(0));
        let again = folder.path().join("again.tar").display().to_string();
        there.ok(["save", "example.com/team/model:1", "-o", &again]);
        if file == "model.tar" {
            assert!(
                std::fs::read(&path).unwrap() == std::fs::read(&again).unwrap(),
                "equal in, equal out"
            );
        }
    }
}

#[test]
fn skopeo_takes_what_is_saved_to_a_registry_and_makes_what_is_loaded() {
    let registry = Distribution::start();
    let name = "example.com/model:1";
    let (here, digest) = with_artifact(name);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.tar").display().to_string();
    here.ok(["save", name, "-o", &path]);
    let remote = format!("{}/copied:1", registry.host());
    skopeo(&[
        "copy",
        "--dest-tls-verify=false",
        &format!("oci-archive:{path}:{name}"),
        &format!("docker://{remote}"),
    ]);
    assert_eq!(Gpux::new().json(["--json", "pull", &remote])["digest"], digest.as_str());

    let theirs = folder.path().join("theirs.tar").display().to_string();
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        &format!("docker://{remote}"),
        &format!("oci-archive:{theirs}"),
    ]);
    let there = Gpux::new();
    let unnamed = there.run(["load", &theirs]);
    assert_eq!(unnamed.code, Some(1), "{unnamed:?}");
    assert!(unnamed.stderr.contains("-t NAME"), "{unnamed:?}");
    assert_eq!(there.ok(["load", &theirs, "-t", "model:2"]).trim(), digest);
    assert_eq!(there.run(["store", "verify"]).code, Some(0));
}

#[test]
fn archives_that_are_none_are_refused() {
    let gpux = Gpux::new();
    let folder = tempfile::tempdir().unwrap();
    let (here, _) = with_artifact("x:1");
    let good = folder.path().join("good.tar");
    here.ok(["save", "x:1", "-o", &good.display().to_string()]);
    let bytes = std::fs::read(&good).unwrap();
    let mut flipped = bytes.clone();
    let end = flipped.len() - 100_000;
    flipped[end] ^= 1;
    let bomb = zstd::encode_all(&vec![0u8; 64 << 20][..], 1).unwrap();
    let cases: [(&str, &[u8]); 5] = [
        ("empty", b""),
        ("noise", &noise(7, 10_000)),
        ("cut", &bytes[..bytes.len() / 2]),
        ("flipped", &flipped),
        ("zeros.zst", &bomb),
    ];
    for (name, bytes) in cases {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let answer = gpux.run(["load", &path.display().to_string()]);
        assert_eq!(answer.code, Some(1), "{name}: {answer:?}");
        assert_eq!(gpux.ok(["--json", "images"]).trim(), "[]", "{name}");
    }
    let missing = gpux.run(["load", "/no/such/file.tar"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
}
