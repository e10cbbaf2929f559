use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::provider::{self, Asked, Hardware, Library, Platform, Sources, Surroundings, child};
use crate::runtime::LibrarySources;

use super::{Code, Context, Failure};

/// How long a driver's library may take to answer; the first start of a driver takes seconds.
const DEADLINE: Duration = Duration::from_secs(20);

/// The files that only machines with something else than a processor have.
const SIGNS: [&str; 7] = [
    "proc/driver/nvidia/version",
    "dev/nvidiactl",
    "dev/kfd",
    "dev/dri",
    "dev/dxg",
    "dev/accel",
    "dev/fastrpc-cdsp",
];

/// Looks for signs of an accelerator: a few questions to the file system, and nothing that costs.
pub fn may_have_accelerator(context: &Context) -> bool {
    let root = &context.env.provider.system_root;
    !cfg!(target_os = "linux")
        || SIGNS
            .iter()
            .any(|sign| crate::fs::stat(&root.join(sign)).is_ok_and(|it| it.is_some()))
}

/// Looks at the hardware by the files of the system.
pub fn look(context: &Context) -> Hardware {
    Hardware::detect(&context.env.provider.system_root, Platform::current())
}

/// Looks for no more than what decides which libraries suit: the version of NVIDIA's driver.
pub fn look_at_driver(context: &Context) -> Hardware {
    Hardware {
        nvidia_driver: provider::nvidia_driver(&context.env.provider.system_root),
        ..Hardware::default()
    }
}

/// Looks at the hardware, and asks the libraries of drivers, each in a child process of its own.
pub fn ask(context: &Context) -> Hardware {
    let mut hardware = look(context);
    let answers: Vec<_> = std::thread::scope(|scope| {
        let asking = Library::ALL.map(|library| scope.spawn(move || (library, ask_in_child(library))));
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    for (library, answer) in answers {
        match answer {
            Ok(asked) => hardware.add(asked),
            Err(why) => {
                context.term.explain(format_args!("{}: {why}", library.name()));
                hardware.unanswered.push(format!("{}: {why}", library.name()));
            }
        }
    }
    hardware
}

fn ask_in_child(library: Library) -> Result<Asked, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut command = Command::new(program);
    command
        .args(["ask-driver", library.name()])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let ended = child::run(&mut command, b"", Some(DEADLINE)).map_err(|error| error.to_string())?;
    match serde_json::from_slice::<Result<Asked, String>>(&ended.stdout) {
        Ok(answer) => answer,
        Err(_) => Err(format!("the library of the driver {}", ended.describe())),
    }
}

/// Ask the library of a driver, in a process that may crash
#[derive(Debug, clap::Args)]
pub struct AskArgs {
    /// The library's name
    #[arg(value_parser = library)]
    library: Library,
}

fn library(text: &str) -> Result<Library, String> {
    let found = Library::ALL.into_iter().find(|library| library.name() == text);
    found.ok_or_else(|| format!("`{text}` is no library of a driver"))
}

/// Is the child's side: prints the answer as JSON.
pub fn answer(args: AskArgs, context: &Context) -> Result<(), Failure> {
    let answer = provider::ask(args.library);
    context
        .term
        .data(serde_json::to_string(&answer).expect("an answer is text and numbers"))?;
    Ok(())
}

/// The verb of the child that watches the cards.
pub const WATCH: &str = "watch-gpus";

/// Is the side of a child that a server keeps: prints a line of JSON every two seconds, until nobody reads.
pub fn watch(context: &Context) -> Result<(), Failure> {
    const INTERVAL: Duration = Duration::from_secs(2);
    let told = provider::watch_gpus(INTERVAL, |cards| {
        let line = serde_json::to_string(cards).expect("what is known of cards is text and numbers");
        context.term.data(line).is_ok()
    });
    told.map_err(|why| Failure::new(Code::Failed, why))
}

/// Says where ONNX Runtime, packs, and what they need may lie.
pub fn sources(context: &Context, hardware: &Hardware) -> Sources {
    let absolute = |path: &PathBuf| context.env.current_dir.join(path);
    let env = &context.env.provider;
    let python: Vec<PathBuf> = context.env.python_environments.iter().map(absolute).collect();
    let surroundings = Surroundings {
        root: env.system_root.clone(),
        library_path: env.library_path.iter().map(absolute).collect(),
        cuda_home: env.cuda_home.as_ref().map(absolute),
        rocm_path: env.rocm_path.as_ref().map(absolute),
        python: python.clone(),
    };
    Sources {
        explicit: context.env.ort_dylib_path.as_ref().map(absolute),
        packs: context.env.home.as_ref().map(|home| absolute(home).join("providers")),
        executable: context.env.executable_dir.clone(),
        python,
        system: LibrarySources::system_folders(),
        surroundings,
        nvidia_driver: hardware.nvidia_driver.clone(),
    }
}
