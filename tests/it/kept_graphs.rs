//! What the optimizer makes of a graph is kept, used again, and never trusted when it is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Gpux, deps, graph};

/// A gpux with a model of two weights in its store.
fn gpux_with_model() -> (Gpux, TempDir) {
    let gpux = Gpux::new().with_onnxruntime();
    let folder = TempDir::new().unwrap();
    let model = graph::write_two_weights(folder.path(), 20_000);
    gpux.ok(["build", &*model.to_string_lossy(), "-t", "two:1"]);
    (gpux, folder)
}

fn input() -> String {
    let values: Vec<String> = (0..20_000).map(|at| format!("{}.5", at % 9)).collect();
    format!("[{}]", values.join(","))
}

/// Runs with reasons told; gives the outputs and what was told of the optimized graph.
#[track_caller]
fn run(gpux: &Gpux, more: &[&str]) -> (Value, Option<String>) {
    let input = input();
    let mut arguments = vec!["run", "-v", "two:1", "--provider", "cpu", "--input", &input];
    arguments.extend(more);
    let answer = gpux.run(&arguments);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let told = answer
        .stderr
        .lines()
        .find_map(|line| line.strip_prefix("optimized graph: "));
    let document: Value = serde_json::from_str(&answer.stdout).unwrap();
    (document["outputs"].clone(), told.map(str::to_owned))
}

fn kept(gpux: &Gpux) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let folder = gpux.home().join("cache/optimized");
    for model in folder.read_dir().into_iter().flatten() {
        let model = model.unwrap().path();
        found.extend(model.read_dir().unwrap().map(|entry| entry.unwrap().path()));
    }
    found.sort();
    found
}

#[test]
fn the_optimized_graph_is_made_once_and_weights_stay_in_their_shards() {
    let (gpux, _folder) = gpux_with_model();
    let (first, told) = run(&gpux, &[]);
    assert_eq!(told.as_deref(), Some("made, and kept for the next load"));
    let [only] = kept(&gpux).try_into().expect("one graph and nothing unfinished");
    let size = fs::metadata(&only).unwrap().len();
    assert!(size < 4096, "{size} bytes, weights not among them");
    for _ in 0..2 {
        let (again, told) = run(&gpux, &[]);
        assert_eq!(told.as_deref(), Some("from the cache"));
        assert_eq!(again, first);
    }
    assert_eq!(kept(&gpux), [only]);
}

#[test]
fn a_damaged_graph_is_thrown_away_and_made_anew() {
    let (gpux, _folder) = gpux_with_model();
    let (expected, _) = run(&gpux, &[]);
    let [path] = kept(&gpux).try_into().unwrap();
    let sound = fs::read(&path).unwrap();
    let flipped = |at: usize| {
        let mut bytes = sound.clone();
        bytes[at] ^= 1;
        bytes
    };
    let middle = sound.len() / 2;
    for damaged in [
        flipped(0),
        flipped(20),
        flipped(middle),
        flipped(sound.len() - 1),
        sound[..middle].to_vec(),
        sound[..40].to_vec(),
        Vec::new(),
        b"something else entirely, and long enough to be a graph".to_vec(),
    ] {
        fs::write(&path, damaged).unwrap();
        let (outputs, told) = run(&gpux, &[]);
        let told = told.unwrap();
        assert!(told.contains("damaged; made anew"), "{told}");
        assert_eq!(outputs, expected);
        assert_eq!(fs::read(&path).unwrap(), sound);
        assert_eq!(run(&gpux, &[]).1.as_deref(), Some("from the cache"));
    }
}

#[test]
fn a_sound_file_that_is_no_graph_is_thrown_away_too() {
    let (gpux, _folder) = gpux_with_model();
    let (expected, _) = run(&gpux, &[]);
    let [path] = kept(&gpux).try_into().unwrap();
    let content = b"no graph";
    let mut bytes = b"gpuxopt1".to_vec();
    bytes.extend(hash(content));
    bytes.extend(content);
    fs::write(&path, bytes).unwrap();
    let (outputs, told) = run(&gpux, &[]);
    assert!(told.unwrap().contains("made anew"));
    assert_eq!(outputs, expected);
}

fn hash(content: &[u8]) -> Vec<u8> {
    let hex = gpux::oci::Digest::of(content).hex();
    let digits: Vec<u8> = hex
        .bytes()
        .map(|digit| (digit as char).to_digit(16).unwrap() as u8)
        .collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

#[test]
fn another_model_version_of_the_library_or_option_has_a_graph_of_its_own() {
    let (gpux, folder) = gpux_with_model();
    run(&gpux, &[]);
    assert_eq!(kept(&gpux).len(), 1);
    // The full optimization is another option, and is kept only where that is asked for.
    gpux.ok(["bench", "two:1", "--provider", "cpu", "--runs", "1"]);
    assert_eq!(kept(&gpux).len(), 1);
    gpux.ok(["bench", "two:1", "--provider", "cpu", "--runs", "1", "--cache-weights"]);
    assert_eq!(kept(&gpux).len(), 2);
    let (_, told) = run(&gpux, &["--cache-weights"]);
    assert_eq!(told.as_deref(), Some("from the cache"));
    // The same weights in another graph.
    let other = graph::write_two_weights_otherwise(folder.path(), 20_000);
    gpux.ok(["build", &*other.to_string_lossy(), "-t", "two:1"]);
    let (_, told) = run(&gpux, &[]);
    assert_eq!(told.as_deref(), Some("made, and kept for the next load"));
    assert_eq!(kept(&gpux).len(), 3);
}

#[test]
fn a_bare_file_and_the_embedded_engine_keep_nothing() {
    let gpux = Gpux::new().with_onnxruntime();
    let digits = deps::fixture("digits/model.onnx");
    let seven = format!("@{}", deps::fixture("digits/seven.npy").display());
    gpux.ok([
        "run",
        &*digits.to_string_lossy(),
        "--provider",
        "cpu",
        "--input",
        &seven,
    ]);
    gpux.ok(["build", &*digits.to_string_lossy(), "-t", "d:1"]);
    gpux.ok(["run", "d:1", "--provider", "embedded", "--input", &seven]);
    assert!(kept(&gpux).is_empty());
    gpux.ok(["run", "d:1", "--provider", "cpu", "--input", &seven]);
    assert_eq!(kept(&gpux).len(), 1);
}

#[test]
fn a_cache_that_cannot_be_written_stops_nothing() {
    let (gpux, _folder) = gpux_with_model();
    fs::create_dir_all(gpux.home().join("cache")).unwrap();
    fs::write(gpux.home().join("cache/optimized"), "in the way").unwrap();
    let (_, told) = run(&gpux, &[]);
    let told = told.unwrap();
    assert!(
        told.starts_with("not kept: ") && told.contains("cache/optimized"),
        "{told}"
    );
}

#[test]
fn prune_removes_the_graphs_of_models_that_are_gone_and_with_all_every_graph() {
    let (gpux, _folder) = gpux_with_model();
    run(&gpux, &[]);
    let [path] = kept(&gpux).try_into().unwrap();
    let unfinished = path.with_file_name(".optimized.1-0.tmp");
    fs::write(&unfinished, "half").unwrap();
    gpux.ok(["prune"]);
    assert_eq!(
        kept(&gpux),
        std::slice::from_ref(&path),
        "what was not finished is gone, and what is in use stays"
    );
    gpux.ok(["tag", "two:1", "three:1"]);
    gpux.ok(["rm", "--keep-blobs", "two:1"]);
    gpux.ok(["prune"]);
    assert_eq!(kept(&gpux).len(), 1);
    gpux.ok(["rm", "--keep-blobs", "three:1"]);
    let dry = gpux.json(["prune", "--dry-run", "--json"]);
    assert_eq!(kept(&gpux).len(), 1);
    let done = gpux.json(["prune", "--json"]);
    assert_eq!(dry["freed_bytes"], done["freed_bytes"]);
    assert!(done["freed_bytes"].as_u64().unwrap() > 160_000, "{done}");
    assert!(kept(&gpux).is_empty());

    let (gpux, folder) = gpux_with_model();
    run(&gpux, &[]);
    gpux.ok(["prune", "-a"]);
    assert!(kept(&gpux).is_empty());
    gpux.ok(["build", &*model_in(folder.path()), "-t", "two:1"]);
    assert_eq!(run(&gpux, &[]).1.as_deref(), Some("made, and kept for the next load"));
}

fn model_in(folder: &Path) -> String {
    folder.join("model.onnx").to_string_lossy().into_owned()
}
