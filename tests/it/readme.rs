//! What the README promises is so.

use std::fs;

use serde_json::json;

use crate::support::{Gpux, deps};

/// The arguments of the first command of the README.
fn first_command() -> Vec<String> {
    let readme = fs::read_to_string(deps::repository().join("README.md")).unwrap();
    let start = "cargo run --release -- ";
    let line = readme
        .lines()
        .find_map(|line| Some(line.split_once(start)?.1.to_owned()));
    let line = line.expect("README.md has a command that starts with `cargo run --release -- `");
    line.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn first_command_reads_seven_with_nothing_installed() {
    let arguments = first_command();
    assert_eq!(arguments[0], "run");
    let answer = Gpux::new().json(arguments);
    assert_eq!(answer["outputs"]["digit"]["data"], json!([7]), "{answer}");
    assert_eq!(answer["provider"], "embedded", "{answer}");
}
