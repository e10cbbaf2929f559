//! Shards that are missing, short, swapped or looked into at the wrong place.

use serde_json::json;

use super::*;
use crate::support::graph;

/// Builds an artifact of two shards of the same size and gives the gpux, the folder with its blobs, and the shards.
fn two_shards() -> (Gpux, TempDir, Vec<String>) {
    let gpux = Gpux::new().with_onnxruntime();
    let folder = TempDir::new().unwrap();
    let model = graph::write_two_weights(folder.path(), 20_000);
    gpux.ok(["build", text(&model), "-t", "two:1"]);
    let names: Vec<String> = shards(&gpux, "two:1").into_iter().map(|(path, _)| path).collect();
    assert_eq!(names.len(), 2);
    (gpux, folder, names)
}

/// Stores the artifact again with its manifest changed, and gives what `run` answers.
fn run_with(gpux: &Gpux, change: impl FnOnce(&mut Value)) -> Answer {
    let index = fs::read(gpux.home().join("store/index.json")).unwrap();
    let mut index: Value = serde_json::from_slice(&index).unwrap();
    let digest = index["manifests"][0]["digest"].as_str().unwrap().to_owned();
    let manifest = fs::read(blob(gpux, digest.strip_prefix("sha256:").unwrap())).unwrap();
    let mut manifest: Value = serde_json::from_slice(&manifest).unwrap();
    change(&mut manifest);
    let bytes = serde_json::to_vec(&manifest).unwrap();
    let digest = Digest::of(&bytes);
    fs::write(blob(gpux, &digest.hex()), &bytes).unwrap();
    index["manifests"][0]["digest"] = json!(digest.to_string());
    index["manifests"][0]["size"] = json!(bytes.len());
    fs::write(gpux.home().join("store/index.json"), index.to_string()).unwrap();
    gpux.run([
        "run",
        "two:1",
        "--provider",
        "cpu",
        "--input",
        &json_input(vec![0; 20_000]),
    ])
}

fn layer_of<'a>(manifest: &'a mut Value, path: &str) -> &'a mut Value {
    let layers = manifest["layers"].as_array_mut().unwrap();
    layers
        .iter_mut()
        .find(|layer| layer["annotations"]["org.cncf.model.filepath"] == path)
        .unwrap()
}

#[track_caller]
fn refused(answer: &Answer, words: &[&str]) {
    assert!(
        matches!(answer.code, Some(1..=3)) && answer.stdout.is_empty(),
        "{answer:?}"
    );
    for word in words {
        assert!(answer.stderr.contains(word), "`{word}`: {answer:?}");
    }
    assert!(!answer.stderr.contains("panicked"), "{answer:?}");
}

#[test]
fn a_shard_that_the_manifest_does_not_have_is_named() {
    let (gpux, _folder, names) = two_shards();
    let answer = run_with(&gpux, |manifest| {
        let layers = manifest["layers"].as_array_mut().unwrap();
        layers.retain(|layer| layer["annotations"]["org.cncf.model.filepath"] != names[1].as_str());
    });
    refused(&answer, &[&names[1]]);
}

#[test]
fn a_shard_under_the_name_of_another_is_refused() {
    let (gpux, _folder, names) = two_shards();
    let answer = run_with(&gpux, |manifest| {
        for (path, other) in [(&names[0], &names[1]), (&names[1], &names[0])] {
            layer_of(manifest, path)["digest"] = json!(format!("sha256:{other}"));
        }
    });
    refused(&answer, &[&names[0], &names[1], "initializer `"]);
}

#[test]
fn a_shard_that_is_too_short_is_refused_before_an_engine_sees_it() {
    let (gpux, folder, names) = two_shards();
    let short = Digest::of(b"short");
    fs::write(blob(&gpux, &short.hex()), b"short").unwrap();
    // The layer has the name of its content and the graph another's, so this is the graph's own lie.
    let answer = run_with(&gpux, |manifest| {
        let layer = layer_of(manifest, &names[0]);
        (layer["digest"], layer["size"]) = (json!(short.to_string()), json!(5));
    });
    refused(&answer, &[&names[0]]);
    drop(folder);

    let folder = TempDir::new().unwrap();
    let model = graph::write_external_weight(folder.path(), 20_000, (&short.hex(), 0));
    let answer = build_and_run_foreign(&model, &[(&short.hex(), b"short")]);
    refused(&answer, &[&short.hex(), "80000 bytes from 0 on, and the file has 5"]);
}

#[test]
fn a_tensor_that_begins_where_none_does_is_refused() {
    let bytes = vec![0; 80_000 + 2 * 4096];
    let name = Digest::of(&bytes).hex();
    for (offset, is_right) in [(4096, true), (4, false), (4095, false), (8192, true), (12_288, false)] {
        let folder = TempDir::new().unwrap();
        let model = graph::write_external_weight(folder.path(), 20_000, (&name, offset));
        let answer = build_and_run_foreign(&model, &[(&name, &bytes)]);
        if is_right {
            assert_eq!(answer.code, Some(0), "{offset}: {answer:?}");
        } else {
            refused(&answer, &["initializer `w`", &name, &offset.to_string()]);
        }
    }
}

/// Stores a graph and files beside it as another tool would, byte for byte, and runs them.
fn build_and_run_foreign(model: &Path, files: &[(&str, &[u8])]) -> Answer {
    let gpux = Gpux::new().with_onnxruntime();
    let store = gpux::store::Store::open(gpux.home()).unwrap();
    let graph = fs::read(model).unwrap();
    let mut all: Vec<(&str, &[u8])> = vec![("model.onnx", &graph)];
    all.extend(files);
    crate::support::artifacts::store_artifact(&store, "foreign:1", &all);
    gpux.run([
        "run",
        "foreign:1",
        "--provider",
        "cpu",
        "--input",
        &json_input(vec![0; 20_000]),
    ])
}

#[test]
fn a_shard_that_is_damaged_or_deleted_in_the_store_is_named_and_pull_or_repair_brings_it_back() {
    let registry = Distribution::start();
    let (gpux, folder, names) = two_shards();
    let name = format!("{}/two:1", registry.host());
    gpux.ok(["tag", "two:1", &name]);
    gpux.ok(["push", &name]);
    let input = json_input(vec![0; 20_000]);
    let run = |gpux: &Gpux| gpux.run(["run", &name, "--provider", "cpu", "--input", &input]);
    let answer = run(&gpux);
    assert_eq!(answer.code, Some(0), "{answer:?}");

    fs::remove_file(blob(&gpux, &names[0])).unwrap();
    let answer = run(&gpux);
    refused(&answer, &[&names[0], "gpux pull"]);
    gpux.ok(["pull", &name]);
    assert_eq!(run(&gpux).code, Some(0));

    let path = blob(&gpux, &names[1]);
    let mut bytes = fs::read(&path).unwrap();
    bytes[40_000] ^= 1;
    for repair in ["pull", "verify"] {
        fs::remove_file(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        let answer = run(&gpux);
        refused(&answer, &[&names[1], "gpux pull", "gpux store verify --repair"]);
        if repair == "verify" {
            let answer = gpux.run(["store", "verify", "--repair"]);
            assert!(
                answer.stdout.contains(&names[1]) || answer.stderr.contains(&names[1]),
                "{answer:?}"
            );
        }
        gpux.ok(["pull", &name]);
        assert_eq!(run(&gpux).code, Some(0));
    }
    // What was only built is repaired by building it again.
    fs::remove_file(&path).unwrap();
    gpux.ok(["build", text(&folder.path().join("model.onnx")), "-t", "two:1"]);
    assert_eq!(run(&gpux).code, Some(0));
}
