//! The verbs of the local store: images, tag, rm, prune, unpack, store verify.

use std::fs;
use std::path::PathBuf;

use insta::assert_debug_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gpux, deps};

/// A home with `digits:1.0.0` and `mlp:1`.
fn two_artifacts() -> Gpux {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits"]);
    gpux.ok(["build", "fixtures/mlp", "-t", "mlp:1"]);
    gpux
}

fn references(gpux: &Gpux) -> Vec<String> {
    let list = gpux.json(["images", "--json"]);
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| entry["reference"].as_str().unwrap().to_owned())
        .collect()
}

/// The blob of the graph of `reference`, in the store.
fn graph_blob(gpux: &Gpux, reference: &str) -> PathBuf {
    let inspected = gpux.json(["inspect", "--json", reference]);
    let layers = inspected["layers"].as_array().unwrap();
    let graph = layers.iter().find(|layer| layer["path"] == "model.onnx").unwrap();
    let hex = graph["digest"].as_str().unwrap().strip_prefix("sha256:").unwrap();
    gpux.home().join("store/blobs/sha256").join(hex)
}

#[test]
fn an_empty_store_says_how_to_fill_it() {
    assert_debug_snapshot!(Gpux::new().run(["images"]));
}

#[test]
fn images_lists_names_digests_sizes_and_ages() {
    let gpux = two_artifacts();
    let table = gpux.ok(["images"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>(),
        ["REFERENCE", "DIGEST", "SIZE", "UPDATED"]
    );
    assert!(
        lines[1].starts_with("digits:1.0.0 ") && lines[1].ends_with("just now"),
        "{table}"
    );
    let list = gpux.json(["ls", "--json"]);
    for entry in list.as_array().unwrap() {
        let keys: Vec<&String> = entry.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["reference", "digest", "size_bytes", "created", "updated"]);
        assert!(entry["size_bytes"].as_u64().unwrap() > 500 && entry["created"].is_null());
        assert!(entry["updated"].as_str().unwrap().starts_with("20"));
    }
    assert_eq!(gpux.ok(["images", "mlp"]).lines().count(), 2);
}

#[test]
fn tag_gives_one_artifact_two_names() {
    let gpux = two_artifacts();
    let tagged = gpux.json(["tag", "--json", "digits:1.0.0", "ghcr.io/me/digits:2"]);
    let keys: Vec<&String> = tagged.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["reference", "digest", "size_bytes"]);
    assert_eq!(references(&gpux), ["digits:1.0.0", "ghcr.io/me/digits:2", "mlp:1"]);
    let by_digest = format!("digits@{}", tagged["digest"].as_str().unwrap());
    gpux.ok(["tag", &by_digest, "again"]);
    assert!(references(&gpux).contains(&"again:latest".to_owned()));
    let answer = gpux.run(["tag", "digits:9", "x"]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert_debug_snapshot!(answer);
    assert_eq!(gpux.run(["tag", "digits:1.0.0", &by_digest]).code, Some(2));
    for wrong in ["Digits", "a//b", "-x", "x:", "x@sha256:../../etc/passwd", "host/../x:1"] {
        let answer = gpux.run(["tag", "digits:1.0.0", "--", wrong]);
        assert_eq!(answer.code, Some(2), "{wrong}: {answer:?}");
    }
}

#[test]
fn rm_frees_what_nothing_else_needs() {
    let gpux = two_artifacts();
    gpux.ok(["tag", "digits:1.0.0", "other"]);
    let kept = gpux.json(["rm", "--json", "other"]);
    assert_eq!(kept["freed_bytes"], 0);
    let freed = gpux.json(["rm", "--json", "digits:1.0.0"]);
    assert!(freed["freed_bytes"].as_u64().unwrap() > 60_000, "{freed}");
    assert_eq!(references(&gpux), ["mlp:1"]);
    gpux.ok(["run", "mlp:1", "--provider", "embedded", "--input", "[[1,2,3,4]]"]);
    gpux.ok(["store", "verify"]);
}

#[test]
fn rm_of_a_name_that_is_not_there_removes_nothing() {
    let gpux = two_artifacts();
    let answer = gpux.run(["rm", "mlp:1", "nothing"]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert_eq!(references(&gpux).len(), 2);
}

#[test]
fn prune_removes_what_is_unreferenced_and_with_all_what_is_unused() {
    let gpux = two_artifacts();
    gpux.ok(["rm", "--keep-blobs", "mlp:1"]);
    let would = gpux.json(["prune", "--json", "--dry-run"]);
    assert!(
        would["freed_bytes"].as_u64().unwrap() > 0 && would["dry_run"] == true,
        "{would}"
    );
    let did = gpux.json(["prune", "--json"]);
    assert_eq!(
        (&did["freed_bytes"], &did["blobs"]),
        (&would["freed_bytes"], &would["blobs"])
    );
    assert_eq!(references(&gpux), ["digits:1.0.0"]);
    let all = gpux.json(["prune", "--json", "--all"]);
    assert_eq!(all["references"], json!(["digits:1.0.0"]));
    assert!(references(&gpux).is_empty());
}

#[test]
fn unpack_writes_the_files_and_overwrites_nothing() {
    let gpux = two_artifacts();
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("new/folder");
    gpux.ok(["unpack", "digits:1.0.0", "-o", &*target.to_string_lossy()]);
    let original = fs::read(deps::fixture("digits/model.onnx")).unwrap();
    assert_eq!(fs::read(target.join("model.onnx")).unwrap(), original);
    assert!(target.join("README.md").exists());
    let again = gpux.run(["unpack", "digits:1.0.0", "-o", &*target.to_string_lossy()]);
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains("new or empty"), "{again:?}");

    let built = gpux.json(["build", "--json", "-t", "again", &*target.to_string_lossy()]);
    let digest = gpux.json(["tag", "--json", "digits:1.0.0", "x"])["digest"].clone();
    assert_eq!(built["digest"], digest, "what was unpacked builds to the same artifact");

    let external = folder.path().join("external");
    gpux.ok(["build", "fixtures/external", "-t", "external"]);
    gpux.ok(["unpack", "external", "-o", &*external.to_string_lossy()]);
    gpux.ok(["inspect", &*external.join("model.onnx").to_string_lossy()]);
}

#[test]
fn verify_names_a_damaged_blob_and_repair_lets_it_be_built_again() {
    let gpux = two_artifacts();
    let blob = graph_blob(&gpux, "digits:1.0.0");
    let mut bytes = fs::read(&blob).unwrap();
    bytes[1000] ^= 1;
    let mut writable = fs::metadata(&blob).unwrap().permissions();
    #[allow(clippy::permissions_set_readonly_false)]
    writable.set_readonly(false);
    fs::set_permissions(&blob, writable).unwrap();
    fs::write(&blob, bytes).unwrap();

    let run = gpux.run(["run", "digits:1.0.0", "--input", "@fixtures/digits/seven.npy"]);
    assert_eq!(run.code, Some(1), "a damaged blob is never run: {run:?}");
    assert!(
        run.stderr.contains("damaged") && run.stderr.contains("gpux store verify --repair"),
        "{run:?}"
    );

    let found = gpux.run(["store", "verify", "--json"]);
    assert_eq!(found.code, Some(6), "{found:?}");
    let found: Value = serde_json::from_str(&found.stdout).unwrap();
    assert_eq!(found["problems"][0]["needed_by"], json!(["digits:1.0.0"]));

    let repaired = gpux.run(["store", "verify", "--repair"]);
    assert_eq!(repaired.code, Some(6), "{repaired:?}");
    assert!(repaired.stdout.contains("needed by `digits:1.0.0`"), "{repaired:?}");
    let run = gpux.run(["run", "digits:1.0.0", "--input", "@fixtures/digits/seven.npy"]);
    assert_eq!(run.code, Some(1), "{run:?}");
    assert!(gpux.ok(["images"]).contains("digits:1.0.0"));
    gpux.ok(["build", "fixtures/digits"]);
    gpux.ok(["store", "verify"]);
    gpux.ok([
        "run",
        "digits:1.0.0",
        "--provider",
        "embedded",
        "--input",
        "@fixtures/digits/seven.npy",
    ]);
}

#[test]
fn a_store_without_a_home_says_how_to_name_one() {
    let gpux = Gpux::new();
    let output = gpux.command(["images"]).env_remove("GPUX_HOME").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("set GPUX_HOME"));
}

#[test]
fn a_model_runs_without_a_home() {
    let gpux = Gpux::new();
    let output = gpux
        .command(["run", "fixtures/digits", "--input", "@fixtures/digits/seven.npy"])
        .env_remove("GPUX_HOME")
        .output()
        .unwrap();
    assert_eq!(
        output.status.code(),
        Some(0),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
