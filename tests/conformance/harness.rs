//! As much of a test harness as cargo and nextest ask for: list, filter, run.

use std::panic::catch_unwind;
use std::process::ExitCode;

/// Is a test: its name and what it does, which panics where the promise is broken.
pub type Test = (&'static str, fn());

/// Runs the tests that the arguments ask for.
pub fn run(arguments: &[&str], tests: &[Test]) -> ExitCode {
    let has = |flag: &str| arguments.contains(&flag);
    let filters: Vec<&str> = filters(arguments);
    let is_named = |name: &str, filter: &str| {
        if has("--exact") {
            name == filter
        } else {
            name.contains(filter)
        }
    };
    let wanted = |name: &str| filters.is_empty() || filters.iter().any(|filter| is_named(name, filter));
    // No test here is ignored, so a list of the ignored is empty.
    let chosen: Vec<&Test> = tests
        .iter()
        .filter(|(name, _)| wanted(name) && !has("--ignored"))
        .collect();
    if has("--list") {
        for (name, _) in chosen {
            println!("{name}: test");
        }
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in &chosen {
        let outcome = catch_unwind(test);
        println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
        failed += usize::from(outcome.is_err());
    }
    println!("\ntest result: {} passed; {failed} failed", chosen.len() - failed);
    if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Gives the arguments that are no flags, nor the value of one.
fn filters<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    const VALUED: [&str; 4] = ["--format", "--test-threads", "--color", "--skip"];
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if VALUED.contains(argument) {
            rest.next();
        } else if !argument.starts_with('-') {
            filters.push(*argument);
        }
    }
    filters
}
