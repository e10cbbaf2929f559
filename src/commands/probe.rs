use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::provider::install::Shelf;
use crate::provider::{Installed, LoadPlan, Outcome, Record, Verdicts, child};
use crate::runtime::probe;

use super::{Code, Context, Failure};

/// How long loading a provider and running a small model may take: the first start of a GPU takes seconds, compiling
/// kernels for a new one tens of them.
const DEADLINE: Duration = Duration::from_secs(120);

/// What the child is called with.
pub const VERB: &str = "try-provider";

/// Tries a provider in a child process, and remembers what came of it.
///
/// Shape: everything that goes wrong is a reason to refuse the provider, and none to fail.
pub fn try_and_remember(plan: &LoadPlan, verdicts: Option<&Verdicts>, context: &Context) -> Record {
    context
        .term
        .explain(format_args!("trying {} from {}", plan.kind, plan.pack));
    let record = Record {
        provider: plan.kind,
        pack: plan.pack.clone(),
        gpux: env!("CARGO_PKG_VERSION").to_owned(),
        outcome: outcome(plan, context),
    };
    let written = verdicts.map(|verdicts| verdicts.write(plan, &record));
    if let Some(Err(error)) = written {
        context
            .term
            .explain(format_args!("what came of it is not remembered: {error}"));
    }
    record
}

fn outcome(plan: &LoadPlan, context: &Context) -> Outcome {
    let refused = |reason: String| Outcome::Refused { reason };
    if let Err(reason) = is_as_packed(plan, context) {
        return refused(reason);
    }
    let input = serde_json::to_vec(plan).expect("a plan is text");
    let mut command = match std::env::current_exe() {
        Ok(program) => Command::new(program),
        Err(error) => return refused(format!("gpux cannot start itself: {error}")),
    };
    command.arg(VERB).stdout(Stdio::piped()).stderr(Stdio::piped());
    let ended = match child::run(&mut command, &input, Some(deadline(DEADLINE, context))) {
        Ok(ended) => ended,
        Err(error) => return refused(format!("gpux cannot start itself: {error}")),
    };
    // A provider may crash after it answered, when its libraries are unloaded: that is a crash.
    match serde_json::from_slice::<Result<probe::Report, String>>(&ended.stdout) {
        Ok(Ok(report)) if ended.is_success() => Outcome::Proven {
            report: serde_json::to_value(report).unwrap_or_default(),
        },
        Ok(Err(reason)) => refused(reason),
        _ => {
            let words = Some(ended.last_words()).filter(|words| !words.is_empty());
            let words = words.map(|words| format!(": {words}"));
            refused(format!("it {}{}", ended.describe(), words.unwrap_or_default()))
        }
    }
}

/// Gives the deadline for a child that tries something: what `GPUX_PROBE_TIMEOUT` says, else `usual`.
pub fn deadline(usual: Duration, context: &Context) -> Duration {
    let text = context.env.provider.probe_timeout.as_deref();
    text.and_then(crate::gpuxfile::duration).unwrap_or(usual)
}

/// Hashes the packs that a plan takes libraries from: what is not what was packed is not loaded.
fn is_as_packed(plan: &LoadPlan, context: &Context) -> Result<(), String> {
    let Some(home) = &context.env.home else { return Ok(()) };
    let (packs, _) = Shelf::new(context.env.current_dir.join(home).join("providers")).list();
    let files = || {
        plan.dependencies
            .iter()
            .chain([&plan.core])
            .chain(&plan.plugin)
            .chain(&plan.library)
    };
    let takes_part = |it: &&Installed| files().any(|path| path.starts_with(&it.folder));
    for pack in packs.iter().filter(takes_part) {
        let damages = Shelf::verify(pack).map_err(|error| error.to_string())?;
        if let Some(damage) = damages.first() {
            let found = damage.found.map_or_else(
                || "it is missing".to_owned(),
                |found| format!("it has the digest {found}"),
            );
            return Err(format!(
                "`{}` of the pack {} is not what was packed: {found}, and {} is expected",
                damage.path,
                pack.pack.id(),
                damage.expected
            ));
        }
    }
    Ok(())
}

/// Load a provider and run a small model with it, in a process that may crash
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Is the child's side: reads what to load from stdin, and prints what came of it as JSON.
pub fn answer(_: &Args, context: &Context) -> Result<(), Failure> {
    let mut text = Vec::new();
    std::io::stdin().lock().take(1 << 20).read_to_end(&mut text)?;
    let plan: LoadPlan = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Code::Usage, format!("this is not what to load: {error}")))?;
    let answer = probe::run(&plan).map_err(|error| {
        let failure = Failure::new(Code::Failed, error.to_string());
        let causes = std::iter::successors(std::error::Error::source(&error), |it| it.source());
        let words: Vec<String> = std::iter::once(failure.what().to_owned())
            .chain(causes.map(ToString::to_string))
            .collect();
        words.join(": ")
    });
    context
        .term
        .data(serde_json::to_string(&answer).expect("an answer is text and numbers"))?;
    Ok(())
}
