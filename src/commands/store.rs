use clap::Subcommand;
use serde_json::json;

use crate::oci::Digest;
use crate::store::VerifyReport;
use crate::term::bytes;

use super::{Code, Context, Failure, OrFail};

/// Check and repair the local store
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    /// Hash every blob again and follow every reference
    Verify {
        /// Remove blobs that are damaged, so that a pull or build brings them again
        #[arg(long)]
        repair: bool,
    },
}

/// Runs the act.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.act {
        Act::Verify { repair } => verify(repair, context),
    }
}

/// Is one thing that is wrong in the store.
struct Finding<'a> {
    digest: &'a Digest,
    problem: String,
    needed_by: &'a [String],
}

fn verify(repair: bool, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let report = store.verify(repair).or_fail(|| "cannot verify the store".into())?;
    let findings = findings(&report);
    if context.term.json() {
        let problems: Vec<_> = findings
            .iter()
            .map(|found| json!({"digest": found.digest.to_string(), "problem": found.problem, "needed_by": found.needed_by}))
            .collect();
        context.term.data(json!({
            "blobs": report.blobs,
            "size_bytes": report.size_bytes,
            "problems": problems,
            "repaired": repair,
        }))?;
    } else {
        for found in &findings {
            let names: Vec<String> = found.needed_by.iter().map(|name| format!("`{name}`")).collect();
            let needed = if names.is_empty() {
                "no artifact".into()
            } else {
                names.join(", ")
            };
            context
                .term
                .data(format_args!("{}: {}; needed by {needed}", found.digest, found.problem))?;
        }
        context.term.tell(format_args!(
            "{} blobs, {}: {} bad",
            report.blobs,
            bytes(report.size_bytes),
            findings.len()
        ));
    }
    let left = findings.len()
        - if repair {
            report.damaged.iter().filter(|damaged| damaged.removed).count()
        } else {
            0
        };
    let needed = findings.iter().any(|found| !found.needed_by.is_empty());
    if left == 0 && !needed {
        return Ok(());
    }
    let failure = Failure::new(Code::Requirement, "the store is not sound");
    Err(if repair {
        failure.hint("build or pull the artifacts named above again")
    } else {
        failure.hint(
            "`gpux store verify --repair` removes damaged blobs; then build or pull the artifacts named above again",
        )
    })
}

fn findings(report: &VerifyReport) -> Vec<Finding<'_>> {
    let damaged = report.damaged.iter().map(|damaged| Finding {
        digest: &damaged.digest,
        problem: format!("damaged{}", if damaged.removed { ", removed" } else { "" }),
        needed_by: &damaged.needed_by,
    });
    let missing = report.missing.iter().map(|missing| Finding {
        digest: &missing.digest,
        problem: "missing".to_owned(),
        needed_by: &missing.needed_by,
    });
    let unreadable = report.unreadable.iter().map(|unreadable| Finding {
        digest: &unreadable.digest,
        problem: format!("unreadable: {}", unreadable.error),
        needed_by: &unreadable.needed_by,
    });
    damaged.chain(missing).chain(unreadable).collect()
}
