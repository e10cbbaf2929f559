//! The verbs that look at a model: init, inspect, bench, and the scripts of completion.

use std::fs;

use insta::assert_debug_snapshot;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::{Gpux, deps};

#[test]
fn init_writes_a_gpuxfile_that_builds_as_it_is() {
    for fixture in ["digits", "mlp", "external"] {
        let folder = TempDir::new().unwrap();
        for entry in fs::read_dir(deps::fixture(fixture)).unwrap() {
            let entry = entry.unwrap();
            let target = folder.path().join(entry.file_name());
            if entry.file_type().unwrap().is_dir() {
                fs::create_dir(&target).unwrap();
                for inner in fs::read_dir(entry.path()).unwrap() {
                    let inner = inner.unwrap();
                    fs::copy(inner.path(), target.join(inner.file_name())).unwrap();
                }
            } else if entry.file_name() != "GPUXfile" {
                fs::copy(entry.path(), target).unwrap();
            }
        }
        let gpux = Gpux::new().in_folder(folder.path());
        let answer = gpux.run(["init"]);
        assert_eq!(answer.code, Some(0), "{fixture}: {answer:?}");
        assert!(answer.stderr.contains("gpux build"), "{answer:?}");
        let built = gpux.run(["build", "."]);
        assert_eq!(built.code, Some(0), "{fixture}: {built:?}");
        assert!(!built.stderr.contains("warning"), "{fixture}: {built:?}");
        let again = gpux.run(["init", "model.onnx"]);
        assert_eq!(again.code, Some(2), "{again:?}");
        assert!(again.stderr.contains("--force"), "{again:?}");
        gpux.ok(["init", "model.onnx", "--force", "--name", "another"]);
        assert!(
            fs::read_to_string(folder.path().join("GPUXfile"))
                .unwrap()
                .contains("name: another")
        );
    }
}

#[test]
fn init_without_a_model_says_what_to_name() {
    let folder = TempDir::new().unwrap();
    let gpux = Gpux::new().in_folder(folder.path());
    assert_eq!(gpux.run(["init"]).code, Some(3));
    for name in ["a.onnx", "b.onnx"] {
        fs::copy(deps::fixture("mlp/model.onnx"), folder.path().join(name)).unwrap();
    }
    assert_eq!(gpux.run(["init"]).code, Some(2));
}

#[test]
fn inspect_shows_what_a_model_is() {
    let gpux = Gpux::new();
    assert_debug_snapshot!(gpux.run(["inspect", "fixtures/digits"]));
}

#[test]
fn inspect_keeps_its_contract() {
    let gpux = Gpux::new();
    let built = gpux.json(["build", "--json", "fixtures/digits"]);
    for operand in ["digits:1.0.0", "fixtures/digits"] {
        let document = gpux.json(["inspect", "--json", operand]);
        let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
        assert_eq!(
            keys,
            [
                "reference",
                "digest",
                "inputs",
                "outputs",
                "opsets",
                "operators",
                "parameters",
                "layers"
            ]
        );
        assert_eq!(document["digest"], built["digest"]);
        assert_eq!(
            document["inputs"],
            json!([{"name": "image", "dtype": "float32", "shape": ["N", 1, 8, 8]}])
        );
        assert_eq!(
            document["outputs"][1],
            json!({"name": "digit", "dtype": "int64", "shape": ["N"]})
        );
        assert_eq!(document["operators"]["Conv"], 3);
        let keys: Vec<&String> = document["layers"][0].as_object().unwrap().keys().collect();
        assert_eq!(keys, ["path", "media_type", "digest", "size_bytes"]);
    }
}

#[test]
fn bench_keeps_its_contract_and_writes_a_page() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    let page = folder.path().join("report.html");
    let arguments = [
        "bench",
        "fixtures/digits",
        "--provider",
        "embedded",
        "--runs",
        "20",
        "--batch",
        "3",
        "--html",
    ];
    let mut arguments: Vec<String> = arguments.map(str::to_owned).to_vec();
    arguments.push(page.to_string_lossy().into_owned());
    let document = gpux.json(&arguments);
    let keys: Vec<&String> = document.as_object().unwrap().keys().collect();
    assert_eq!(
        keys,
        [
            "model",
            "provider",
            "options",
            "tuned",
            "device",
            "batch",
            "shapes",
            "concurrency",
            "values",
            "warmup",
            "runs",
            "load_ms",
            "first_run_ms",
            "latency_ms",
            "throughput_per_s",
            "peak_rss_bytes",
            "peak_anonymous_bytes",
        ]
    );
    let keys: Vec<&String> = document["latency_ms"].as_object().unwrap().keys().collect();
    assert_eq!(keys, ["mean", "std", "min", "p50", "p95", "p99", "max"]);
    assert_eq!((&document["runs"], &document["batch"]), (&json!(20), &json!(3)));
    assert_eq!(document["shapes"], json!({"image": [3, 1, 8, 8]}));
    let number = |value: &Value| value.as_f64().unwrap();
    assert!(number(&document["latency_ms"]["min"]) <= number(&document["latency_ms"]["p50"]));
    assert!(number(&document["throughput_per_s"]) > 0.0 && number(&document["peak_anonymous_bytes"]) > 0.0);
    let html = fs::read_to_string(page).unwrap();
    assert!(
        html.starts_with("<!doctype html>") && html.matches("<svg").count() == 2,
        "{html}"
    );
    assert!(!html.contains("http"), "the page needs nothing else");
}

#[test]
fn bench_takes_given_inputs_and_asks_for_sizes_it_cannot_know() {
    let gpux = Gpux::new();
    let arguments = [
        "bench",
        "fixtures/digits",
        "--provider",
        "embedded",
        "--runs",
        "2",
        "--input",
        "@fixtures/digits/two.npy",
    ];
    assert_eq!(gpux.json(arguments)["shapes"], json!({"image": [1, 1, 8, 8]}));
    let answer = gpux.run([
        "bench",
        "fixtures/digits",
        "--input",
        "@fixtures/digits/two.npy",
        "--dim",
        "N=2",
    ]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
}

#[test]
fn every_shell_gets_a_completion_script() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(Gpux::new().ok(["completion", shell]).contains("gpux"), "{shell}");
    }
    assert_eq!(Gpux::new().run(["completion", "csh"]).code, Some(2));
}

#[test]
fn help_and_version_go_to_stdout() {
    for arguments in [&["--help"][..], &["run", "--help"], &["--version"], &["help", "build"]] {
        let answer = Gpux::new().run(arguments);
        assert_eq!((answer.code, answer.stderr.as_str()), (Some(0), ""), "{answer:?}");
        assert!(!answer.stdout.is_empty());
    }
    let nothing = Gpux::new().run::<&str>([]);
    assert_eq!(nothing.code, Some(2), "{nothing:?}");
}
