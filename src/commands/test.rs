use serde_json::json;

use crate::term::{Align, Table};

use super::opened::{EngineArgs, Opened, Purpose};
use super::samples::{self, Verdict};
use super::{Code, Context, Failure};

/// Run the samples of an artifact and compare the answers
#[derive(Debug, clap::Args)]
#[command(
    after_help = "A sample is samples/NAME.json beside the GPUXfile: what is given and what is expected. Exits with 6 \
                        where an answer is not as expected."
)]
pub struct Args {
    /// What to test: NAME[:TAG] or a folder with a GPUXfile
    #[arg(value_name = "REF|DIR")]
    operand: String,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the samples and reports.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let mut opened = Opened::open(&args.operand, &args.engine, Purpose::Many, context)?;
    let verdicts = samples::run_all(&mut opened, context)?;
    if context.term.json_or_piped() {
        context.term.data(json!({
            "model": args.operand,
            "provider": opened.provider.name(),
            "passed": verdicts.iter().all(|verdict| verdict.passed),
            "samples": verdicts,
        }))?;
    } else {
        print(&verdicts, context)?;
    }
    require(&verdicts, &args.operand, opened.provider.name())
}

/// Prints a line for each sample and one for each difference.
pub fn print(verdicts: &[Verdict], context: &Context) -> Result<(), Failure> {
    let mut table = Table::new(&[
        ("SAMPLE", Align::Left),
        ("RESULT", Align::Left),
        ("LARGEST DIFFERENCE", Align::Right),
    ]);
    for verdict in verdicts {
        let result = if verdict.passed { "passed" } else { "FAILED" };
        table.row([
            verdict.name.clone(),
            result.to_owned(),
            format!("{:.2e}", verdict.largest),
        ]);
    }
    context.term.data(table)?;
    for verdict in verdicts {
        for difference in &verdict.differences {
            context.term.data(format_args!(
                "{}: {} is {}, and {} was expected",
                verdict.name, difference.place, difference.found, difference.expected
            ))?;
        }
    }
    Ok(())
}

/// Fails where a sample did.
pub fn require(verdicts: &[Verdict], operand: &str, provider: &str) -> Result<(), Failure> {
    let failed: Vec<&str> = verdicts
        .iter()
        .filter(|verdict| !verdict.passed)
        .map(|verdict| verdict.name.as_str())
        .collect();
    if failed.is_empty() {
        return Ok(());
    }
    let what = format!(
        "{} of {} samples of `{operand}` fail on {provider}: {}",
        failed.len(),
        verdicts.len(),
        failed.join(", ")
    );
    Err(Failure::new(Code::Requirement, what).hint("the answer has the differences; `--provider` tries another engine"))
}
