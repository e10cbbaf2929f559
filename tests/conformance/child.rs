//! Runs cases in child processes, for an engine may end its process.

use std::error::Error;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use gpux::onnx::Model;
use gpux::runtime;
use gpux::runtime::embedded::{self, Embedded};
use gpux::runtime::{
    Call, Cancel, Engine, LibrarySources, ModelFiles, ProviderKind, ProviderOrder, Selection, Session, SessionOptions,
    Source, Value, select,
};

use crate::cases::{Case, Pack, difference};
use crate::cpu;

/// The argument that makes this binary a child.
pub const ARGUMENT: &str = "--child";

/// How long one case may take before its child is ended.
const PATIENCE: Duration = Duration::from_secs(60);

/// Is how a case ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The outputs are right.
    Right,
    /// Nothing ran, with the reason: no tensor of gpux holds what it takes, or an input is outside what the engine takes.
    Refused(String),
    /// The engine failed while loading or running.
    Failed(String),
    /// An output is wrong.
    Wrong(String),
    /// The process ended, or took too long.
    Died,
}

/// Is what runs the cases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Runner {
    /// The embedded engine, whatever its table says.
    Embedded,
    /// ONNX Runtime, by the way that `gpux run` takes.
    Cpu,
}

impl Runner {
    fn name(self) -> &'static str {
        match self {
            Runner::Embedded => "embedded",
            Runner::Cpu => "cpu",
        }
    }

    fn load(self, source: &Source<'_>) -> Result<Box<dyn Session>, runtime::Error> {
        match self {
            Runner::Embedded => Embedded::unchecked().load(source, &SessionOptions::default()),
            Runner::Cpu => {
                let selection = Selection {
                    order: ProviderOrder::Listed(vec![ProviderKind::Cpu]),
                    session: SessionOptions {
                        threads: Some(1),
                        ..SessionOptions::default()
                    },
                    libraries: LibrarySources {
                        python: vec![python_environment()],
                        ..LibrarySources::default()
                    },
                    ..Selection::default()
                };
                Ok(select(source, &selection)?.session)
            }
        }
    }
}

fn python_environment() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/test-venv");
    assert!(
        path.is_dir(),
        "{} is missing: `make test-deps` makes it",
        path.display()
    );
    path
}

/// Is the child: runs the cases of a pack from the one given on, and prints a line for each.
pub fn run(arguments: &[&str]) {
    let [runner, pack, start, folder] = arguments else {
        panic!("a child takes a runner, a pack, a case and a folder");
    };
    let runner = if *runner == "cpu" {
        Runner::Cpu
    } else {
        Runner::Embedded
    };
    // What a panic says comes back as the reason of the failure.
    std::panic::set_hook(Box::new(|_| ()));
    let graph = Path::new(folder).join("model.onnx");
    let mut cases = Pack::find(pack).read();
    for case in cases.iter_mut().filter(|_| runner == Runner::Cpu) {
        case.atol = cpu::tolerance(&case.name).unwrap_or(case.atol);
    }
    for (at, case) in cases.iter().enumerate().skip(start.parse().unwrap()) {
        let (kind, text) = match answer(runner, case, &graph) {
            Outcome::Right => ("right", String::new()),
            Outcome::Refused(why) => ("refused", why),
            Outcome::Failed(why) => ("failed", why),
            Outcome::Wrong(how) => ("wrong", how),
            Outcome::Died => unreachable!("who died prints nothing"),
        };
        let line = serde_json::json!([at, kind, text]);
        writeln!(std::io::stdout().lock(), "{line}").unwrap();
    }
}

fn answer(runner: Runner, case: &Case, graph: &Path) -> Outcome {
    if let Some(kind) = &case.unheld {
        return Outcome::Refused(format!("no tensor of gpux is a {kind}"));
    }
    std::fs::write(graph, &case.model).unwrap();
    let files = ModelFiles {
        graph: graph.to_owned(),
        external: Default::default(),
    };
    let model = Model::parse(case.model.clone().into()).unwrap();
    let signature = match model.signature() {
        Ok(signature) => signature,
        Err(error) => return Outcome::Refused(chain(&error)),
    };
    let source = Source {
        files: &files,
        model: &model,
        signature: &signature,
    };
    let mut session = match runner.load(&source) {
        Ok(session) => session,
        Err(error) => return Outcome::Failed(chain(&error)),
    };
    let inputs: Vec<Value> = case.inputs.iter().cloned().map(Value::from).collect();
    let call = Call {
        inputs: &inputs,
        keep_on_device: &[],
        deadline: None,
        cancel: &Cancel::default(),
    };
    match session.run(call) {
        Err(runtime::Error::Embedded(error @ embedded::Error::InputRange { .. })) => Outcome::Refused(chain(&error)),
        Err(error) => Outcome::Failed(chain(&error)),
        Ok(outputs) if outputs.len() != case.outputs.len() => Outcome::Wrong(format!("{} outputs", outputs.len())),
        Ok(outputs) => {
            let mut pairs = outputs.iter().zip(&case.outputs);
            let wrong = pairs.find_map(|(found, expected)| difference(found.as_host().unwrap(), expected, case));
            wrong.map_or(Outcome::Right, Outcome::Wrong)
        }
    }
}

/// Writes an error and its causes in one line.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

/// Runs a whole pack in as many children as it takes.
pub fn run_pack(runner: Runner, pack: Pack, count: usize) -> Vec<Outcome> {
    let folder = tempfile::tempdir().unwrap();
    let mut outcomes = Vec::with_capacity(count);
    while outcomes.len() < count {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args([ARGUMENT, runner.name(), pack.name(), &outcomes.len().to_string()])
            .arg(folder.path())
            .env("ORT_DISABLE_TELEMETRY", "1")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (send, receive) = channel();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let reader = thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| send.send(line)));
        while let Ok(line) = receive.recv_timeout(PATIENCE) {
            let (at, kind, text): (usize, String, String) = serde_json::from_str(&line).unwrap();
            assert_eq!(at, outcomes.len(), "a child answers in order");
            outcomes.push(match kind.as_str() {
                "right" => Outcome::Right,
                "refused" => Outcome::Refused(text),
                "failed" => Outcome::Failed(text),
                _ => Outcome::Wrong(text),
            });
        }
        process.kill().ok();
        process.wait().unwrap();
        reader.join().unwrap().ok();
        if outcomes.len() < count {
            outcomes.push(Outcome::Died);
        }
    }
    outcomes
}
