use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::fs;
use crate::provider::child;
use crate::runtime::tune::{self, Deviation, Effort, Finding, Findings, Key, Outcome, Trial, deviation};
use crate::runtime::{Configuration, ProviderKind};
use crate::tensor::{Port, Tensor, npz};
use crate::term::duration;

use super::opened::{EngineArgs, Shapes};
use super::subject::Subject;
use super::trial::{Answer, Request};
use super::{Code, Context, Failure, OrFail, offers, probe};

/// How long one trial may take before it counts as hung.
const DEADLINE: Duration = Duration::from_secs(150);

/// Is everything that tuning a model came to.
pub struct Tuning {
    pub key: Key,
    pub shapes: Shapes,
    /// The provider that the outputs were compared with.
    pub reference: ProviderKind,
    /// Every trial, the best first.
    pub trials: Vec<Trial>,
    /// What is fastest, as it is kept.
    pub finding: Finding,
}

/// Says what is tried, and with which inputs.
pub struct Plan<'a> {
    pub effort: Effort,
    pub exact: bool,
    /// How long each configuration runs.
    pub time: Duration,
    /// The providers to try; empty means all that this machine has.
    pub providers: Vec<ProviderKind>,
    /// What every trial is asked, but for its configuration.
    pub request: Request,
    pub shapes: Shapes,
    pub subject: &'a Subject,
}

/// Gives what tuning found for the model on this machine, where it was tuned.
pub fn find(subject: &Subject, args: &EngineArgs, context: &Context) -> Result<Option<Configuration>, Failure> {
    let Some(findings) = findings(context).filter(|findings| !findings.is_empty()) else {
        return Ok(None);
    };
    let found = findings.read(&key(subject, args.device(), context)?);
    Ok(tune::pick(&found, args.shapes.as_ref(), args.exact()).map(|finding| finding.configuration.clone()))
}

/// Tells whether the model was tuned on this machine for inputs of these shapes.
fn is_tuned(subject: &Subject, shapes: &Shapes, engine: &EngineArgs, context: &Context) -> Result<bool, Failure> {
    let Some(findings) = findings(context).filter(|findings| !findings.is_empty()) else {
        return Ok(false);
    };
    let found = findings.read(&key(subject, engine.device(), context)?);
    Ok(tune::pick(&found, Some(shapes), engine.exact()).is_some_and(|finding| finding.shapes == *shapes))
}

/// Gives the shapes of a request's inputs, after a short tuning where nothing is known of them on this machine.
pub fn ensure(request: Request, subject: &Subject, engine: &EngineArgs, context: &Context) -> Result<Shapes, Failure> {
    let shapes = super::tune::shapes(&request, subject)?;
    // Where nothing can be kept, every command would tune again.
    if context.home().is_err() || is_tuned(subject, &shapes, engine, context)? {
        return Ok(shapes);
    }
    context
        .term
        .tell("tuning for a few seconds; `gpux tune` does it thoroughly");
    let plan = Plan {
        effort: Effort::Short,
        exact: engine.exact(),
        time: Duration::from_millis(200),
        providers: Vec::new(),
        request,
        shapes: shapes.clone(),
        subject,
    };
    tune(&plan, context)?;
    Ok(shapes)
}

/// Tries what the plan says, each configuration in a process of its own, and keeps the fastest.
///
/// Errors: nothing ran the model rightly; the finding cannot be kept.
pub fn tune(plan: &Plan<'_>, context: &Context) -> Result<Tuning, Failure> {
    let key = key(plan.subject, plan.request.device, context)?;
    let folder = scratch(context)?;
    let outputs = plan.subject.signature.outputs.as_slice();
    let mut reference: Option<(ProviderKind, Vec<Tensor>)> = None;
    let trials = tune::search(&providers(plan, context), plan.effort, plan.exact, |configuration| {
        let mut request = plan.request.clone();
        request.configuration = configuration.clone();
        request.milliseconds = plan.time.as_millis() as u64;
        request.outputs = folder.path().join("outputs.npz");
        let outcome = match run_trial(&request, outputs, context) {
            Ok((median, tensors)) => {
                let (_, expected) = reference.get_or_insert_with(|| (configuration.provider, tensors.clone()));
                let deviation = deviation(&tensors, expected);
                Outcome::Ran { median, deviation }
            }
            Err(why) => Outcome::Failed(why),
        };
        tell(configuration, &outcome, context);
        outcome
    });
    let best = trials.first().and_then(|trial| Some((trial, trial.time()?)));
    let (Some((best, median)), Some((reference, _))) = (best, reference) else {
        let mut failure = Failure::new(Code::Failed, format!("nothing here runs `{}`", plan.request.operand));
        for trial in &trials {
            if let Outcome::Failed(why) = &trial.outcome {
                failure = failure.hint(format!("{}: {why}", trial.configuration.provider));
            }
        }
        return Err(failure);
    };
    let finding = Finding {
        machine: key.machine.clone(),
        shapes: plan.shapes.clone(),
        exact: plan.exact,
        configuration: best.configuration.clone(),
        median_us: median.as_secs_f64() * 1e6,
    };
    if let Some(findings) = findings(context) {
        findings
            .write(&key, finding.clone())
            .or_fail(|| "cannot keep what tuning found".into())?;
    }
    Ok(Tuning {
        key,
        shapes: plan.shapes.clone(),
        reference,
        trials,
        finding,
    })
}

/// Lists what is tried: the references first, ONNX Runtime on the processor before the embedded engine.
fn providers(plan: &Plan<'_>, context: &Context) -> Vec<ProviderKind> {
    if !plan.providers.is_empty() {
        return plan.providers.clone();
    }
    let mut kinds = vec![ProviderKind::Cpu, ProviderKind::Embedded];
    for offer in offers::offers(context) {
        let refused = matches!(offer.verdict, crate::runtime::Verdict::Refused(_));
        if !refused && !kinds.contains(&offer.plan.kind) {
            kinds.push(offer.plan.kind);
        }
    }
    kinds
}

fn tell(configuration: &Configuration, outcome: &Outcome, context: &Context) {
    let mut words = vec![configuration.provider.to_string()];
    words.extend(configuration.names());
    let what = words.join(", ");
    match outcome {
        Outcome::Ran { median, deviation } => {
            let trial = Trial {
                configuration: configuration.clone(),
                outcome: outcome.clone(),
            };
            let note = if trial.time().is_some() {
                ""
            } else {
                ": its outputs are too far off"
            };
            context.term.tell(format_args!("{what}: {}{note}", duration(*median)));
            if let Deviation::Relative(share) = deviation {
                context
                    .term
                    .explain(format_args!("off by {share:.1e} of the largest output"));
            }
        }
        Outcome::Failed(why) => context.term.tell(format_args!("{what}: {why}")),
    }
}

fn findings(context: &Context) -> Option<Findings> {
    let home = context.home().ok()?;
    Some(Findings::new(
        context.env.current_dir.join(home).join("cache").join("tune"),
    ))
}

/// Says what findings hold for; devices of one machine may differ, so each has its own.
fn key(subject: &Subject, device: u32, context: &Context) -> Result<Key, Failure> {
    let digest = subject.digest(context)?.to_string();
    let machine = offers::machine(context);
    Ok(Key {
        model: digest.trim_start_matches("sha256:").to_owned(),
        machine: match device {
            0 => machine,
            device => format!("{machine}; device {device}"),
        },
    })
}

/// Is a folder that is removed when it is no longer needed.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left is found by nobody, and small.
        let _ = fs::remove_folder(&self.0);
    }
}

fn scratch(context: &Context) -> Result<Scratch, Failure> {
    let folder = context.env.current_dir.join(context.home()?).join("cache");
    let path = folder.join(format!("trial-{}", std::process::id()));
    fs::create_folders(&path).or_fail(|| "cannot make a folder for the trials".into())?;
    Ok(Scratch(path))
}

/// Runs one trial in a process of its own; gives its median time and its outputs, or why there are none.
fn run_trial(request: &Request, ports: &[Port], context: &Context) -> Result<(Duration, Vec<Tensor>), String> {
    let executable = context
        .env
        .executable
        .as_ref()
        .ok_or("gpux does not know where its own executable is")?;
    let input = serde_json::to_vec(request).map_err(|error| error.to_string())?;
    let mut command = Command::new(executable);
    command
        .args(["trial", "--json"])
        .current_dir(&context.env.current_dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null());
    let ended = child::run(&mut command, &input, Some(probe::deadline(DEADLINE, context)))
        .map_err(|error| format!("cannot be started: {error}"))?;
    match serde_json::from_slice::<Answer>(&ended.stdout) {
        Ok(Answer { error: Some(why), .. }) => {
            // The provider stands before it already.
            let provider = format!("{}: ", request.configuration.provider);
            Err(why.strip_prefix(&provider).unwrap_or(&why).to_owned())
        }
        Ok(answer) if ended.is_success() => {
            let bytes = fs::read(&request.outputs).map_err(|error| error.to_string())?;
            let tensors = npz::decode_map(&bytes, ports).map_err(|error| error.to_string())?;
            Ok((Duration::from_secs_f64(answer.median_us.max(0.0) / 1e6), tensors))
        }
        _ => Err(format!("its process {}", ended.describe())),
    }
}
