//! A terminal of a command's own.

use std::{
    collections::BTreeMap,
    io::Write,
    process::{Command, Stdio},
};

use super::deps::{python, repository};

/// What a terminal showed, and how the command ended: negative for a signal.
#[derive(Debug, serde::Deserialize)]
pub struct Shown {
    pub shown: String,
    pub code: i32,
    /// The terminal shows what is typed, as it did before.
    pub echoes: bool,
}

/// Runs a command on a terminal. Each step is a text to wait for and what to type then.
pub fn on_terminal(command: &Command, steps: &[(&str, &str)]) -> Shown {
    let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
    let environment: BTreeMap<String, String> = command
        .get_envs()
        .filter_map(|(name, value)| Some((text(name), text(value?))))
        .chain([("TERM".to_owned(), "xterm".to_owned())])
        .collect();
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(text)
        .collect();
    let folder = command.get_current_dir().unwrap_or(repository());
    let asked = serde_json::json!({"command": words, "environment": environment, "steps": steps, "folder": folder});
    let mut driver = Command::new(python())
        .arg(repository().join("tests/it/support/terminal.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    driver
        .stdin
        .take()
        .unwrap()
        .write_all(asked.to_string().as_bytes())
        .unwrap();
    let output = driver.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}
