use std::time::Duration;

use serde_json::json;

use crate::runtime::tune::{Deviation, Effort, Outcome, Trial, tolerance};
use crate::runtime::{Configuration, ProviderOrder};
use crate::term::{Align, Table, duration};

use super::answer::milliseconds;
use super::bench::dimension;
use super::opened::Shapes;
use super::subject::Subject;
use super::trial::{self, Request};
use super::tuned::{self, Plan, Tuning};
use super::{Code, Context, Failure};

/// Find the provider and the options that run a model fastest here
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Each configuration runs in a process of its own, and its outputs are compared with those of the processor: they may be off
by 0.001 of the largest value of an output, by 0.01 where TF32 or fp16 is used; all but floats must be equal. The fastest is
kept in GPUX_HOME for this model, machine, driver and libraries, and `run`, `bench` and `serve` use it. Examples:
  gpux tune resnet:1
  gpux tune resnet:1 --batch 64 --exact
  gpux tune minilm:1 --dim sequence=128 --provider cuda,cpu")]
pub struct Args {
    /// What to tune: NAME[:TAG], a folder with a GPUXfile, or MODEL.onnx
    #[arg(value_name = "REF|DIR|MODEL.onnx")]
    operand: String,
    /// Size of the first dimension of every input, where it is dynamic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Size of a dynamic dimension, as NAME=SIZE; may be repeated
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    dims: Vec<(String, usize)>,
    /// An input to tune with, as for `gpux run`; without it inputs are made up
    #[arg(long = "input", short, value_name = "[NAME=]VALUE")]
    inputs: Vec<String>,
    /// Providers to try, with commas; without it, all that this machine has
    #[arg(long, short, value_name = "NAME,…")]
    provider: Option<ProviderOrder>,
    /// The number of the device, where a provider has several
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// Try nothing that computes in other number formats than the model's: neither TF32 nor fp16
    #[arg(long)]
    exact: bool,
    /// Try each provider as it is, and with its usual options, and no more
    #[arg(long)]
    short: bool,
    /// How long each configuration runs
    #[arg(long, value_name = "TIME", value_parser = super::opened::time)]
    time: Option<Duration>,
}

/// Tunes and prints what was tried.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.inputs.iter().any(|input| input.ends_with("@-")) {
        return Err(Failure::new(
            Code::Usage,
            "an input for tuning cannot come from stdin: every trial reads it",
        )
        .hint("write it to a file and give @FILE"));
    }
    let subject = Subject::open(&args.operand, context)?;
    let request = Request {
        inputs: args.inputs,
        batch: args.batch,
        dims: args.dims,
        ..Request::of(&args.operand, args.device)
    };
    let shapes = shapes(&request, &subject)?;
    let effort = if args.short { Effort::Short } else { Effort::Full };
    let tuning = tuned::tune(
        &Plan {
            effort,
            exact: args.exact,
            time: args.time.unwrap_or(match effort {
                Effort::Short => Duration::from_millis(300),
                Effort::Full => Duration::from_secs(1),
            }),
            providers: match args.provider {
                Some(ProviderOrder::Listed(kinds)) => kinds,
                Some(ProviderOrder::Auto) | None => Vec::new(),
            },
            request,
            shapes,
            subject: &subject,
        },
        context,
    )?;
    if context.term.json() {
        context.term.data(document(&args.operand, &tuning))?;
        return Ok(());
    }
    print(&tuning, context)
}

/// Gives the shape of each input of a request.
pub fn shapes(request: &Request, subject: &Subject) -> Result<Shapes, Failure> {
    let ports = subject.signature.inputs.iter();
    let tensors = trial::tensors(request, &subject.signature)?;
    Ok(ports
        .map(|port| port.name.as_str().to_owned())
        .zip(tensors.iter().map(|tensor| tensor.shape().to_vec()))
        .collect())
}

fn describe(configuration: &Configuration) -> String {
    let mut words = vec![configuration.provider.to_string()];
    words.extend(configuration.names());
    words.join(", ")
}

fn print(tuning: &Tuning, context: &Context) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("CONFIGURATION", Align::Left),
        ("MEDIAN", Align::Right),
        ("OFF BY", Align::Right),
        ("", Align::Left),
    ]);
    for (at, trial) in tuning.trials.iter().enumerate() {
        let (time, off, mut note) = match &trial.outcome {
            Outcome::Ran { median, deviation } => {
                let off = match deviation {
                    Deviation::Different => "different".to_owned(),
                    Deviation::Relative(share) => format!("{share:.1e}"),
                };
                let right = trial.time().is_some();
                let note = if right { String::new() } else { "too far off".to_owned() };
                (duration(*median), off, note)
            }
            Outcome::Failed(why) => ("-".to_owned(), "-".to_owned(), why.clone()),
        };
        if at == 0 {
            note = "chosen".to_owned();
        }
        table.row([describe(&trial.configuration), time, off, note]);
    }
    context.term.data(table)?;
    let reduced = tuning.finding.configuration.settings.reduced_precision();
    if !reduced.is_empty() {
        context.term.tell(format_args!(
            "it computes in {}; `--exact` chooses without",
            reduced.join(" and ")
        ));
    }
    Ok(())
}

fn document(operand: &str, tuning: &Tuning) -> serde_json::Value {
    let trials: Vec<_> = tuning.trials.iter().map(trial_document).collect();
    json!({
        "model": operand,
        "digest": format!("sha256:{}", tuning.key.model),
        "machine": tuning.key.machine,
        "shapes": tuning.shapes,
        "reference": tuning.reference.name(),
        "exact": tuning.finding.exact,
        "chosen": {
            "provider": tuning.finding.configuration.provider.name(),
            "options": tuning.finding.configuration.names(),
            "configuration": tuning.finding.configuration,
            "median_ms": milliseconds(tuning.finding.median()),
        },
        "trials": trials,
    })
}

fn trial_document(trial: &Trial) -> serde_json::Value {
    let configuration = &trial.configuration;
    let mut document = json!({
        "provider": configuration.provider.name(),
        "options": configuration.names(),
        "tolerance": tolerance(&configuration.settings),
        "right": trial.time().is_some(),
    });
    match &trial.outcome {
        Outcome::Ran { median, deviation } => {
            document["median_ms"] = json!(milliseconds(*median));
            document["deviation"] = match deviation {
                Deviation::Different => json!("different"),
                Deviation::Relative(share) => json!(share),
            };
        }
        Outcome::Failed(why) => document["error"] = json!(why),
    }
    document
}
