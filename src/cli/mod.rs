//! The command line: its tree, its global flags, and how errors reach the user.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::commands::{
    Code, Context, Failure, bench, build, completion, doctor, export, images, init, inspect, load, login, logout,
    machine, probe, provider, prune, pull, push, rm, run, save, serve, store, tag, tags, test, trial, tune, unpack,
};
use crate::env::Env;
use crate::term::{Term, Voice};

/// Docker for ONNX models: build, move and run them on whatever accelerator the machine has.
#[derive(Debug, Parser)]
#[command(
    name = "gpux",
    version,
    propagate_version = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
#[command(after_help = "Start with `gpux run MODEL.onnx`, or `gpux init MODEL.onnx` and `gpux build -t NAME:1 .`")]
struct Cli {
    /// Print results and errors as JSON
    #[arg(long, global = true, help_heading = "Global options")]
    json: bool,
    /// Tell nothing but results, warnings and errors
    #[arg(
        long,
        short,
        global = true,
        conflicts_with = "verbose",
        help_heading = "Global options"
    )]
    quiet: bool,
    /// Tell reasons as well
    #[arg(long, short, global = true, help_heading = "Global options")]
    verbose: bool,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Args),
    Build(build::Args),
    Run(run::Args),
    Bench(bench::Args),
    Test(test::Args),
    Tune(tune::Args),
    #[command(hide = true)]
    Trial(trial::Args),
    Serve(Box<serve::Args>),
    Inspect(inspect::Args),
    Images(images::Args),
    Tag(tag::Args),
    Rm(rm::Args),
    Prune(prune::Args),
    Unpack(unpack::Args),
    Export(export::Args),
    Push(push::Args),
    Pull(pull::Args),
    Tags(tags::Args),
    Save(save::Args),
    Load(load::Args),
    Login(login::Args),
    Logout(logout::Args),
    Store(store::Args),
    Provider(provider::Args),
    Doctor(doctor::Args),
    Completion(completion::Args),
    #[command(name = probe::VERB, hide = true)]
    TryProvider(probe::Args),
    #[command(hide = true)]
    AskDriver(machine::AskArgs),
    #[command(name = machine::WATCH, hide = true)]
    WatchGpus,
}

/// Parses the command line, runs the verb and gives the exit status.
pub fn main(arguments: impl IntoIterator<Item = OsString>, env: Env) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let cli = match Cli::command()
        .try_get_matches_from(&arguments)
        .and_then(|found| Cli::from_arg_matches(&found))
    {
        Ok(cli) => cli,
        Err(error) => return refuse(&without_password(error), &arguments),
    };
    let term = Term::new(Voice {
        json: cli.json,
        quiet: cli.quiet,
        verbose: cli.verbose,
    });
    let context = Context { env, term };
    match dispatch(cli.verb, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(&failure, &term),
    }
}

fn dispatch(verb: Verb, context: &Context) -> Result<(), Failure> {
    match verb {
        Verb::Init(args) => init::run(args, context),
        Verb::Build(args) => build::run(args, context),
        Verb::Run(args) => run::run(args, context),
        Verb::Bench(args) => bench::run(args, context),
        Verb::Tune(args) => tune::run(args, context),
        Verb::Trial(args) => trial::run(args, context),
        Verb::Serve(args) => serve::run(*args, context),
        Verb::Inspect(args) => inspect::run(args, context),
        Verb::Images(args) => images::run(args, context),
        Verb::Tag(args) => tag::run(args, context),
        Verb::Rm(args) => rm::run(args, context),
        Verb::Prune(args) => prune::run(args, context),
        Verb::Unpack(args) => unpack::run(args, context),
        Verb::Export(args) => export::run(args, context),
        Verb::Push(args) => push::run(args, context),
        Verb::Pull(args) => pull::run(args, context),
        Verb::Tags(args) => tags::run(args, context),
        Verb::Test(args) => test::run(args, context),
        Verb::Save(args) => save::run(args, context),
        Verb::Load(args) => load::run(args, context),
        Verb::Login(args) => login::run(args, context),
        Verb::Logout(args) => logout::run(args, context),
        Verb::Store(args) => store::run(args, context),
        Verb::Provider(args) => provider::run(args, context),
        Verb::Doctor(args) => doctor::run(args, context),
        Verb::TryProvider(args) => probe::answer(&args, context),
        Verb::AskDriver(args) => machine::answer(args, context),
        Verb::WatchGpus => machine::watch(context),
        Verb::Completion(args) => completion::run(args, Cli::command(), context),
    }
}

/// Prints a failure and gives its exit status.
fn report(failure: &Failure, term: &Term) -> ExitCode {
    if failure.is_closed_pipe() {
        return ExitCode::SUCCESS;
    }
    term.failure(&failure.to_json(), failure.what(), &failure.causes(), failure.hints());
    ExitCode::from(failure.code().exit_status())
}

/// Answers `--help`, `--version` and command lines that clap refused.
fn refuse(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if error.use_stderr() && arguments.iter().any(|argument| argument == "--json") {
        let term = Term::new(Voice {
            json: true,
            ..Voice::default()
        });
        let text = error.render().to_string();
        let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ");
        return report(&Failure::new(Code::Usage, what), &term);
    }
    // A reader that went away wants no more of the help text.
    let _ = error.print();
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Code::Usage.exit_status()))
}

/// Takes out of a refusal what stands before the `@` of the value it shows, where that may be a user and a password.
fn without_password(mut error: clap::Error) -> clap::Error {
    let shown = match error.get(ContextKind::InvalidValue) {
        Some(ContextValue::String(text)) => text.rsplit_once('@').filter(|(before, _)| before.contains(':')),
        _ => None,
    };
    if let Some((_, rest)) = shown {
        let safe = ContextValue::String(format!("…@{rest}"));
        error.insert(ContextKind::InvalidValue, safe);
    }
    error
}
