//! ONNX's own node tests, and probes of our own, through both engines.
//!
//! This binary runs itself: an engine may end its process, so cases run in children. `--write-table` makes the capability
//! table anew (`make capability-table`).

#![allow(clippy::unwrap_used)]

mod cases;
mod child;
mod cpu;
mod embedded;
mod harness;
mod table;

fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        [child::ARGUMENT, rest @ ..] => {
            child::run(rest);
            std::process::ExitCode::SUCCESS
        }
        ["--write-table"] => {
            embedded::write_table();
            std::process::ExitCode::SUCCESS
        }
        _ => harness::run(&arguments, TESTS),
    }
}

/// Every test of this binary, with the promise that it keeps.
const TESTS: &[harness::Test] = &[
    (
        "the_capability_table_claims_only_what_is_right_and_is_what_the_cases_give",
        embedded::the_table_is_right_and_what_the_cases_give,
    ),
    (
        "every_node_test_is_right_on_onnx_runtime_but_for_the_listed",
        cpu::every_node_test_is_right_but_for_the_listed,
    ),
];
