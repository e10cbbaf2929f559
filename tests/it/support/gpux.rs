//! The binary under test, with a home of its own.

use std::ffi::OsStr;
use std::fmt;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;

use super::deps;

/// Is a gpux with an empty home and an environment that holds nothing of the user's.
pub struct Gpux {
    home: TempDir,
    library: Option<PathBuf>,
    drivers: Option<PathBuf>,
    current_dir: PathBuf,
}

/// Is what a command answered: exit code, stdout and stderr together, as snapshots show them.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Gpux {
    /// Makes an empty home; no ONNX Runtime is to be found.
    pub fn new() -> Gpux {
        let home = TempDir::new().unwrap();
        Gpux {
            home,
            library: None,
            drivers: None,
            current_dir: deps::repository().to_owned(),
        }
    }

    /// Lets gpux find the ONNX Runtime of the test environment.
    pub fn with_onnxruntime(mut self) -> Gpux {
        self.library = Some(deps::onnxruntime_library());
        self
    }

    /// Lets the system's loader find the libraries of `folder` first.
    pub fn with_drivers(mut self, folder: &Path) -> Gpux {
        self.drivers = Some(folder.to_owned());
        self
    }

    /// Has its home in `folder`, where there is room for what is large.
    pub fn with_home_beside(mut self, folder: &Path) -> Gpux {
        self.home = TempDir::new_in(folder).unwrap();
        self
    }

    /// Runs commands in `folder` instead of the repository.
    pub fn in_folder(mut self, folder: &Path) -> Gpux {
        self.current_dir = folder.to_owned();
        self
    }

    /// The folder that `GPUX_HOME` names.
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// Gives the command, ready to be started.
    pub fn command<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_gpux"));
        command
            .args(arguments)
            .current_dir(&self.current_dir)
            .env_clear()
            .env("GPUX_HOME", self.home());
        for kept in ["PATH", "SystemRoot", "TMPDIR", "LLVM_PROFILE_FILE"] {
            if let Some(value) = std::env::var_os(kept) {
                command.env(kept, value);
            }
        }
        if let Some(library) = &self.library {
            command.env("ORT_DYLIB_PATH", library);
        }
        if let Some(drivers) = &self.drivers {
            command.env("LD_LIBRARY_PATH", drivers);
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command to its end.
    pub fn run<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> Answer {
        self.answer(self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed, and gives its stdout.
    #[track_caller]
    pub fn ok<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> String {
        let answer = self.run(arguments);
        assert_eq!(answer.code, Some(0), "{answer:?}");
        answer.stdout
    }

    /// Runs a command that must succeed, and gives its stdout as JSON.
    #[track_caller]
    pub fn json<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>) -> serde_json::Value {
        let text = self.ok(arguments);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    /// Runs a command with `input` on stdin.
    pub fn run_with_stdin<A: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = A>, input: &[u8]) -> Answer {
        self.answer_with_stdin(&mut self.command(arguments), input)
    }

    /// Runs a command that was made ready, with `input` on stdin.
    pub fn answer_with_stdin(&self, command: &mut Command, input: &[u8]) -> Answer {
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let writer = std::thread::spawn(move || {
            // The command may end without having read everything.
            let _ = stdin.write_all(&input);
        });
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap();
        self.answer(output)
    }

    /// Runs a command that was made with [`Gpux::command`] to its end.
    pub fn finish(&self, mut command: Command) -> Answer {
        self.answer(command.output().unwrap())
    }

    /// Takes an output, with the home and the repository replaced by names that are the same everywhere.
    pub fn answer(&self, output: Output) -> Answer {
        let clean = |bytes: &[u8]| {
            let text = String::from_utf8(bytes.to_vec()).expect("gpux writes UTF-8");
            text.replace(&*self.home().to_string_lossy(), "$HOME")
                .replace(&*deps::repository().to_string_lossy(), "$REPO")
        };
        Answer {
            code: output.status.code(),
            stdout: clean(&output.stdout),
            stderr: clean(&output.stderr),
        }
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let code = self.code.map_or("by signal".to_owned(), |code| code.to_string());
        write!(f, "exit {code}\n--- stdout\n{}--- stderr\n{}", self.stdout, self.stderr)
    }
}
