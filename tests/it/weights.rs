//! Weights as layers: what a model gives before it is built, after, and after it is exported again.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use gpux::oci::Digest;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Answer, Gpux, deps, distribution::Distribution};

mod hostile;
#[cfg(unix)]
mod large;
mod moved;
mod random;

/// Makes the models of weights/make.py.
fn models() -> TempDir {
    let folder = TempDir::new().unwrap();
    let made = Command::new(deps::python())
        .arg(deps::repository().join("tests/it/weights/make.py"))
        .arg(folder.path())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

/// The layers of an artifact: path and size.
fn layers(gpux: &Gpux, reference: &str) -> Vec<(String, u64)> {
    let inspected = gpux.json(["inspect", "--json", reference]);
    let layers = inspected["layers"].as_array().unwrap().iter();
    layers
        .map(|layer| {
            (
                layer["path"].as_str().unwrap().to_owned(),
                layer["size_bytes"].as_u64().unwrap(),
            )
        })
        .collect()
}

/// The shards of an artifact; the name of each must be the hash of what lies there.
fn shards(gpux: &Gpux, reference: &str) -> Vec<(String, u64)> {
    let mut layers = layers(gpux, reference);
    layers.retain(|(path, _)| path.len() == 64);
    for (path, size_bytes) in &layers {
        let bytes = fs::read(blob(gpux, path)).unwrap();
        assert_eq!(
            (Digest::of(&bytes).hex(), bytes.len() as u64),
            (path.clone(), *size_bytes)
        );
    }
    layers
}

fn blob(gpux: &Gpux, hex: &str) -> PathBuf {
    gpux.home().join("store/blobs/sha256").join(hex)
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// Runs a model and gives its outputs, digit for digit.
#[track_caller]
fn outputs(gpux: &Gpux, operand: &str, (provider, inputs): (&str, &[String])) -> Value {
    let mut arguments = vec!["run", operand, "--provider", provider];
    for input in inputs {
        arguments.extend(["--input", input]);
    }
    gpux.json(&arguments)["outputs"].take()
}

/// Builds, runs, exports and runs again: three times the same outputs; gives the digest of the exported file.
#[track_caller]
fn goes_round(gpux: &Gpux, (model, threshold): (&Path, &str), how: (&str, &[String])) -> Digest {
    let before = outputs(gpux, text(model), how);
    gpux.ok(["build", text(model), "-t", "round:1", "--shard-threshold", threshold]);
    assert_eq!(
        outputs(gpux, "round:1", how),
        before,
        "{} as an artifact",
        model.display()
    );
    let folder = TempDir::new().unwrap();
    let exported = folder.path().join("exported.onnx");
    gpux.ok(["export", "onnx", "round:1", "-o", text(&exported)]);
    assert_eq!(
        outputs(gpux, text(&exported), how),
        before,
        "{} exported",
        model.display()
    );
    Digest::of(&fs::read(exported).unwrap())
}

fn json_input(values: impl IntoIterator<Item = impl ToString>) -> String {
    let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
    format!("[{}]", values.join(","))
}

#[test]
fn weights_of_every_kind_and_place_go_round_bit_for_bit() {
    let gpux = Gpux::new().with_onnxruntime();
    let models = models();
    let row = |length: usize, sign: f64| format!("[{}]", json_input((0..length).map(|at| sign * (at % 7) as f64)));
    let picks = json_input([0, 31]);
    for (name, shard_count, inputs) in [
        ("shared", 1, vec![row(192, 1.0)]),
        ("kinds", 6, vec![picks]),
        ("bodies", 6, vec![row(20_000, 1.0), row(20_000, -1.0)]),
        ("typed", 8, vec![json_input([0, 5, 32_767])]),
    ] {
        let model = models.path().join(format!("{name}.onnx"));
        for input in inputs {
            let exported = goes_round(&gpux, (&model, "64KiB"), ("cpu", &[input]));
            assert_eq!(shards(&gpux, "round:1").len(), shard_count, "{name}");
            // What has raw data alone comes back as the very file.
            let is_original = exported == Digest::of(&fs::read(&model).unwrap());
            assert_eq!(is_original, name != "typed", "{name}");
        }
    }
}

#[test]
fn every_fixture_goes_round_bit_for_bit_on_every_engine_that_runs_it() {
    let gpux = Gpux::new().with_onnxruntime();
    let mut ran = 0;
    for model in fixture_models() {
        let signature = gpux.json(["inspect", "--json", text(&model)]);
        let inputs: Vec<String> = signature["inputs"].as_array().unwrap().iter().map(zeros).collect();
        for provider in ["cpu", "embedded"] {
            let probe = ["run", text(&model), "--provider", provider];
            let given = inputs.iter().flat_map(|input| ["--input", input.as_str()]);
            if gpux.run(probe.into_iter().chain(given)).code != Some(0) {
                assert_eq!(provider, "embedded", "{}", model.display());
                continue;
            }
            goes_round(&gpux, (&model, "1KiB"), (provider, &inputs));
            ran += 1;
        }
    }
    assert!(ran > 20, "only {ran} were run");
}

fn fixture_models() -> Vec<PathBuf> {
    let mut models = Vec::new();
    for folder in ["digits", "dtypes", "external", "graphs", "mlp"] {
        for entry in fs::read_dir(deps::fixture(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|ending| ending == "onnx") {
                models.push(path);
            }
        }
    }
    models
}

/// An input of zeros for a port, as `NAME=JSON`; dimensions that vary are 1.
fn zeros(port: &Value) -> String {
    let dims = port["shape"].as_array().unwrap().iter();
    let sizes: Vec<u64> = dims.map(|dim| dim.as_u64().unwrap_or(1)).collect();
    let zero = match port["dtype"].as_str().unwrap() {
        "string" => "\"\"",
        "bool" => "false",
        _ => "0",
    };
    let value = sizes.iter().rev().fold(zero.to_owned(), |inner, size| {
        format!("[{}]", vec![inner; *size as usize].join(","))
    });
    format!("{}={value}", port["name"].as_str().unwrap())
}

#[test]
fn integers_that_the_embedded_engine_does_not_hold_are_refused_in_shards_too() {
    let gpux = Gpux::new().with_onnxruntime();
    let folder = TempDir::new().unwrap();
    for (value, holds) in [(7, true), (1 << 40, false)] {
        let model = crate::support::graph::write_lookup(folder.path(), 20_000, value);
        gpux.ok(["build", text(&model), "-t", "lookup:1"]);
        assert_eq!(shards(&gpux, "lookup:1").len(), 1);
        for operand in [text(&model), "lookup:1"] {
            let answer = gpux.run(["run", operand, "--provider", "embedded", "--input", "[19999]"]);
            assert_eq!(answer.code == Some(0), holds, "{operand}: {answer:?}");
            let answer = gpux.json(["run", operand, "--provider", "cpu", "--input", "[19999]"]);
            assert_eq!(answer["outputs"]["y"]["data"][0], value);
        }
    }
}

#[test]
fn real_models_go_round_to_the_very_file() {
    for (name, most_shards) in [("minilm", 40), ("resnet50", 60)] {
        let gpux = Gpux::new();
        let model = deps::real_model(name);
        gpux.ok(["build", text(&model), "-t", "m:1"]);
        let shards = shards(&gpux, "m:1");
        assert!(shards.len() > 30 && shards.len() <= most_shards, "{}", shards.len());
        let graph = layers(&gpux, "m:1")[1].clone();
        assert!(graph.0 == "model.onnx" && graph.1 < 1 << 20, "{graph:?}");
        let folder = tempfile::tempdir_in(deps::repository().join("target")).unwrap();
        let exported = folder.path().join("model.onnx");
        let told = gpux.json(["export", "onnx", "m:1", "-o", text(&exported), "--json"]);
        assert_eq!(told["is_original"], true, "{told}");
        assert!(fs::read(&exported).unwrap() == fs::read(&model).unwrap());
    }
}

#[test]
fn a_graph_of_which_nothing_moves_stays_byte_for_byte_and_so_does_any_with_no_shard() {
    let gpux = Gpux::new();
    let digits = deps::fixture("digits/model.onnx");
    gpux.ok(["build", text(&digits), "-t", "small:1"]);
    let models = models();
    let shared = models.path().join("shared.onnx");
    gpux.ok(["build", "--no-shard", text(&shared), "-t", "whole:1"]);
    for (reference, model) in [("small:1", &digits), ("whole:1", &shared)] {
        let inspected = gpux.json(["inspect", "--json", reference]);
        let graph = &inspected["layers"][1];
        assert_eq!(graph["digest"], Digest::of(&fs::read(model).unwrap()).to_string());
        assert!(shards(&gpux, reference).is_empty());
    }
    let answer = gpux.run(["build", "--no-shard", "--shard-threshold", "1MiB", text(&shared)]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    for size in ["0", "1023", "much"] {
        let answer = gpux.run(["build", "--shard-threshold", size, text(&shared)]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
    }
}

#[test]
fn external_data_becomes_shards_or_goes_into_the_graph() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/external", "-t", "external:1"]);
    let paths: Vec<String> = layers(&gpux, "external:1").into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["GPUXfile", "model.onnx"], "all of it is small");
    gpux.ok(["build", "fixtures/external", "-t", "external:2", "--no-shard"]);
    assert!(layers(&gpux, "external:2").len() >= 4);
}

#[test]
fn an_artifact_that_is_unpacked_and_built_again_is_the_same_graph_and_shards() {
    let gpux = Gpux::new();
    let models = models();
    for name in ["shared", "kinds", "bodies", "typed"] {
        let model = models.path().join(format!("{name}.onnx"));
        gpux.ok(["build", text(&model), "-t", "first:1"]);
        let folder = models.path().join(format!("{name} unpacked"));
        gpux.ok(["unpack", "first:1", "-o", text(&folder)]);
        gpux.ok(["build", text(&folder), "-t", "second:1"]);
        let exported = models.path().join(format!("{name} exported.onnx"));
        gpux.ok(["export", "onnx", "first:1", "-o", text(&exported)]);
        gpux.ok(["build", text(&exported), "-t", "third:1"]);
        let weights = |reference: &str| -> BTreeSet<(String, u64)> {
            layers(&gpux, reference)
                .into_iter()
                .filter(|(path, _)| path != "GPUXfile")
                .collect()
        };
        assert_eq!(weights("first:1"), weights("second:1"), "{name}");
        assert_eq!(weights("first:1"), weights("third:1"), "{name}");
    }
}

#[test]
fn export_overwrites_nothing_unless_told_and_says_what_it_wrote() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits", "-t", "d:1"]);
    let folder = TempDir::new().unwrap();
    let target = folder.path().join("out.onnx");
    let told = gpux.json(["export", "onnx", "d:1", "-o", text(&target), "--json"]);
    assert_eq!(told["is_original"], true);
    assert_eq!(told["files"][0]["path"], text(&target));
    assert_eq!(told["files"][0]["size_bytes"], fs::metadata(&target).unwrap().len());
    let answer = gpux.run(["export", "onnx", "d:1", "-o", text(&target)]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
    assert!(answer.stderr.contains("is there already") && answer.stderr.contains("--force"));
    let answer = gpux.run(["export", "onnx", "d:1", "-o", text(&target), "--force"]);
    assert!(answer.stderr.contains("byte for byte"), "{answer:?}");
    assert_eq!(gpux.run(["export", "onnx", "absent:1", "-o", "x.onnx"]).code, Some(3));
    assert_eq!(gpux.run(["export"]).code, Some(2));
}

#[test]
fn a_file_of_a_shard_s_name_and_other_content_stops_the_build() {
    let gpux = Gpux::new();
    let models = models();
    gpux.ok(["build", text(&models.path().join("shared.onnx")), "-t", "s:1"]);
    let name = shards(&gpux, "s:1")[0].0.clone();
    let folder = TempDir::new().unwrap();
    fs::copy(models.path().join("shared.onnx"), folder.path().join("model.onnx")).unwrap();
    fs::write(folder.path().join(&name), "other").unwrap();
    fs::write(
        folder.path().join("GPUXfile"),
        format!("name: s\nmodel: model.onnx\nfiles: ['{name}']\n"),
    )
    .unwrap();
    let answer = gpux.run(["build", text(folder.path())]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(
        answer.stderr.contains(&name) && answer.stderr.contains("hint:"),
        "{answer:?}"
    );
    // The same content is the shard itself.
    fs::copy(blob(&gpux, &name), folder.path().join("copy")).unwrap();
    fs::remove_file(folder.path().join(&name)).unwrap();
    fs::rename(folder.path().join("copy"), folder.path().join(&name)).unwrap();
    gpux.ok(["build", text(folder.path()), "-t", "s:2"]);
    assert_eq!(layers(&gpux, "s:2").len(), 3);
}
