//! What is fastest here, what is required, and what ran where.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::Server;
use crate::support::{Gpux, deps, graph};

const DIGITS: &str = "fixtures/digits";
const SEVEN: &str = "@fixtures/digits/seven.npy";

/// The milliseconds that the fastest right trial of a tuning took.
fn fastest(tuning: &Value) -> f64 {
    let trials = tuning["trials"].as_array().unwrap().iter();
    let times = trials
        .filter(|trial| trial["right"] == json!(true))
        .map(|trial| trial["median_ms"].as_f64().unwrap());
    times.fold(f64::INFINITY, f64::min)
}

#[test]
fn what_tuning_finds_is_used_by_run_and_bench_and_is_no_slower_than_what_was_measured() {
    let gpux = Gpux::new().with_onnxruntime();
    gpux.ok(["build", DIGITS]);
    let tuning = gpux.json(["tune", "--json", "digits:1.0.0", "--time", "100ms"]);
    let chosen = &tuning["chosen"];
    assert!(
        chosen["median_ms"].as_f64().unwrap() <= fastest(&tuning) * 1.05 + 0.001,
        "{tuning}"
    );
    assert_eq!(tuning["reference"], "cpu");
    let tried: Vec<&str> = tuning["trials"]
        .as_array()
        .unwrap()
        .iter()
        .map(|trial| trial["provider"].as_str().unwrap())
        .collect();
    assert!(tried.contains(&"cpu") && tried.contains(&"embedded"), "{tried:?}");
    for trial in tuning["trials"].as_array().unwrap() {
        assert!(
            trial["deviation"].as_f64().unwrap() <= trial["tolerance"].as_f64().unwrap(),
            "{trial}"
        );
    }
    let run = gpux.json(["run", "digits:1.0.0", "--input", SEVEN]);
    assert_eq!((&run["provider"], &run["tuned"]), (&chosen["provider"], &json!(true)));
    assert_eq!(run["outputs"]["digit"]["data"], json!([7]));
    let bench = gpux.run(["bench", "digits:1.0.0", "--runs", "3"]);
    assert!(
        !bench.stderr.contains("tuning"),
        "what is known is not tuned again: {bench:?}"
    );
    // A provider that is named is taken as it is.
    let named = gpux.json(["run", "digits:1.0.0", "--input", SEVEN, "--provider", "cpu"]);
    assert_eq!((&named["provider"], &named["tuned"]), (&json!("cpu"), &json!(false)));
}

#[test]
fn bench_tunes_in_short_where_nothing_is_known_and_run_only_when_told() {
    let gpux = Gpux::new();
    let run = gpux.run(["run", DIGITS, "--input", SEVEN]);
    assert!(!run.stderr.contains("tuning"), "{run:?}");
    let bench = gpux.run(["bench", DIGITS, "--runs", "3", "--no-tune"]);
    assert!(
        !bench.stderr.contains("tuning") && !gpux.home().join("cache/tune").exists(),
        "{bench:?}"
    );
    let bench = gpux.run(["bench", DIGITS, "--runs", "3"]);
    assert!(bench.stderr.contains("tuning"), "{bench:?}");
    let document: Value = serde_json::from_str(&bench.stdout).unwrap();
    assert_eq!(
        (&document["provider"], &document["tuned"]),
        (&json!("embedded"), &json!(true))
    );
    let other = gpux.run(["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]", "--tune"]);
    assert!(other.code == Some(0) && other.stderr.contains("tuning"), "{other:?}");
    let left: Vec<_> = std::fs::read_dir(gpux.home().join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left, ["tune"], "no folder of a trial is left");
}

/// Compiles a library that stands for ONNX Runtime and ends the process that starts it.
fn crashing_library(folder: &Path) -> PathBuf {
    let source = folder.join("crash.rs");
    let text = "#[unsafe(no_mangle)] pub extern \"C\" fn OrtGetApiBase() -> *const u8 { std::process::abort() }";
    std::fs::write(&source, text).unwrap();
    let (prefix, suffix) = (std::env::consts::DLL_PREFIX, std::env::consts::DLL_SUFFIX);
    let library = folder.join(format!("{prefix}onnxruntime{suffix}"));
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let arguments = ["--crate-type", "cdylib", "--edition", "2024", "-o"];
    let status = Command::new(rustc)
        .args(arguments)
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(status.success());
    library
}

#[test]
fn a_trial_that_crashes_is_a_line_of_the_table_and_something_else_is_chosen() {
    let folder = TempDir::new().unwrap();
    let gpux = Gpux::new();
    let mut command = gpux.command(["tune", "--json", "--short", DIGITS]);
    let output = command
        .env("ORT_DYLIB_PATH", crashing_library(folder.path()))
        .output()
        .unwrap();
    let tuning: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(tuning["chosen"]["provider"], "embedded");
    let trials = tuning["trials"].as_array().unwrap();
    let cpu = trials.iter().find(|trial| trial["provider"] == "cpu").unwrap();
    let error = cpu["error"].as_str().unwrap();
    assert!(error.contains("its process crashed: signal 6 (abort)"), "{error}");
}

#[test]
fn where_nothing_runs_the_model_every_reason_is_told() {
    let folder = TempDir::new().unwrap();
    let model = graph::write_one_node(folder.path(), graph::node("NoSuchOperator", &["x"], &["y"]));
    let answer = Gpux::new().with_onnxruntime().run(["tune", model.to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in ["nothing here runs", "hint: cpu: ", "hint: embedded: ", "NoSuchOperator"] {
        assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
    }
}

#[test]
fn a_requirement_that_is_not_met_ends_with_6_and_every_reason() {
    let gpux = Gpux::new().with_onnxruntime();
    let run = ["run", DIGITS, "--input", SEVEN];
    for (arguments, code) in [
        (vec!["--require", "cpu", "--provider", "embedded,cpu"], 0),
        (vec!["--require", "embedded"], 0),
        (vec!["--require", "gpu"], 6),
        (vec!["--require", "cuda"], 6),
        (vec!["--require", "gpu", "--provider", "cpu"], 6),
        (vec!["--require", "cuba"], 2),
    ] {
        let answer = gpux.run(run.iter().chain(&arguments));
        assert_eq!(answer.code, Some(code), "{arguments:?}: {answer:?}");
        if code == 6 {
            assert!(
                answer.stderr.contains("is required, and no provider gives it"),
                "{answer:?}"
            );
        }
    }
    let answer = gpux.json(run.iter().chain(&["--require", "cpu", "--provider", "embedded,cpu"]));
    let refused = json!([{"provider": "embedded", "reason": "cpu is required"}]);
    assert_eq!((&answer["provider"], &answer["refused"]), (&json!("cpu"), &refused));
}

#[test]
fn explain_counts_the_nodes_of_each_provider_by_operator() {
    let gpux = Gpux::new().with_onnxruntime();
    for provider in ["cpu", "embedded"] {
        let answer = gpux.json(["run", DIGITS, "--input", SEVEN, "--provider", provider, "--explain"]);
        let explain = &answer["explain"];
        let share = &explain["providers"][0];
        assert_eq!(
            (&share["provider"], &share["partitions"]),
            (&json!(provider), &json!(1)),
            "{explain}"
        );
        assert_eq!(
            (&share["operators"]["Conv"], &explain["fell_to_cpu"]),
            (&json!(3), &json!({}))
        );
        assert_eq!(share["nodes"], explain["nodes"]);
    }
    let answer = gpux.json(["run", DIGITS, "--input", SEVEN]);
    assert!(answer.get("explain").is_none(), "it is told where it is asked for");
}

#[test]
fn options_that_a_model_may_not_set_are_refused() {
    let folder = TempDir::new().unwrap();
    std::fs::copy(deps::fixture("mlp/model.onnx"), folder.path().join("model.onnx")).unwrap();
    let text =
        "name: x\nmodel: model.onnx\nruntime:\n  provider: cpu\n  provider_options:\n    cpu:\n      library: /tmp/x\n";
    std::fs::write(folder.path().join("GPUXfile"), text).unwrap();
    let run = ["run", folder.path().to_str().unwrap(), "--input", "x=[[1,2,3,4]]"];
    let answer = Gpux::new().with_onnxruntime().run(run);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(
        answer
            .stderr
            .contains("cpu has no option `library` that gpux passes on"),
        "{answer:?}"
    );
}

#[test]
fn serve_tunes_a_model_in_short_before_it_is_ready_and_the_next_server_knows() {
    let gpux = Gpux::new().with_onnxruntime();
    let told = |server: &Server| {
        server.hear("is ready");
        server.told.lock().unwrap().clone()
    };
    let first = Server::start_tuning(&gpux, &["fixtures/digits", "--max-batch-size", "4"]);
    first.wait_until_ready();
    assert!(told(&first).contains("tuning for a few seconds"), "{}", told(&first));
    assert_eq!(first.stop().code(), Some(0));
    let second = Server::start_tuning(&gpux, &["fixtures/digits", "--max-batch-size", "4"]);
    second.wait_until_ready();
    assert!(!told(&second).contains("tuning"), "{}", told(&second));
}
