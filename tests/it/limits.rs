//! Models that would never end, never load or take all memory are ended, with a message that says at which limit.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::support::{Answer, Gpux, graph};

/// Runs a model that `write` makes, with a billion as its input, and checks that the limit ends it at all and in time.
fn stopped(write: fn(&Path) -> PathBuf, arguments: &[&str]) -> Answer {
    let folder = TempDir::new().unwrap();
    let model = write(folder.path());
    let gpux = Gpux::new().with_onnxruntime();
    let began = Instant::now();
    let mut command = vec!["run", model.to_str().unwrap(), "--input", "x=[1000000000]"];
    command.extend(arguments);
    let answer = gpux.run(command);
    assert!(began.elapsed() < Duration::from_secs(45), "took {:?}", began.elapsed());
    assert_eq!(answer.code, Some(124), "{answer:?}");
    assert_eq!(answer.stdout, "", "{answer:?}");
    answer
}

#[test]
fn an_endless_loop_is_ended_at_the_deadline_of_its_run() {
    let answer = stopped(graph::write_endless_loop, &["--timeout", "500ms"]);
    assert!(answer.stderr.contains("it did not answer within 0.5 s"), "{answer:?}");
    assert!(answer.stderr.contains("--timeout"), "{answer:?}");
}

#[test]
fn gigabytes_of_one_constant_are_ended_at_the_memory_cap_on_onnx_runtime() {
    let answer = stopped(graph::write_fill, &["--provider", "cpu", "--memory", "300MiB"]);
    assert!(answer.stderr.contains("it took "), "{answer:?}");
    assert!(answer.stderr.contains("the limit is 300 MiB"), "{answer:?}");
    assert!(answer.stderr.contains("--memory"), "{answer:?}");
}

#[test]
fn gigabytes_of_one_constant_are_ended_at_the_memory_cap_on_the_embedded_engine() {
    let answer = stopped(graph::write_fill, &["--provider", "embedded", "--memory", "300MiB"]);
    assert!(
        answer.stderr.contains("it asked for 3815 MiB of memory at once"),
        "{answer:?}"
    );
    assert!(answer.stderr.contains("the limit is 300 MiB"), "{answer:?}");
}

#[test]
fn a_function_bomb_that_is_small_enough_to_be_tried_is_ended_at_the_load_limit() {
    let bomb = |folder: &Path| graph::write_function_bomb(folder, 5);
    let answer = stopped(bomb, &["--load-timeout", "300ms"]);
    assert!(answer.stderr.contains("it did not load within 0.3 s"), "{answer:?}");
    assert!(answer.stderr.contains("--load-timeout"), "{answer:?}");
}

#[test]
fn a_function_bomb_that_no_engine_survives_is_refused_before_one_sees_it() {
    let folder = TempDir::new().unwrap();
    let model = graph::write_function_bomb(folder.path(), 12);
    let answer = Gpux::new().run(["run", model.to_str().unwrap(), "--input", "x=[1]"]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("1111111111111 nodes"), "{answer:?}");
}

#[test]
fn a_broken_limit_is_json_where_json_is_asked_for() {
    let answer = stopped(graph::write_endless_loop, &["--timeout", "200ms", "--json"]);
    let told: serde_json::Value = serde_json::from_str(&answer.stderr).unwrap();
    let message = told["error"]["message"].as_str().unwrap();
    assert!(message.contains("did not answer within 0.2 s"), "{answer:?}");
}
