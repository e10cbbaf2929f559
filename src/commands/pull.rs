use serde_json::json;

use crate::oci::Reference;
use crate::term::{bytes, duration};
use crate::transfer::Report;

use super::remote::{self, RemoteArgs};
use super::{Context, Failure};

/// Bring an artifact from a registry into the local store
///
/// What an interrupted pull brought is not brought again.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact: HOST/NAME[:TAG] or HOST/NAME@DIGEST
    reference: Reference,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Pulls, and tells the digest.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let report = remote::pull(&store, &args.reference, &args.remote, context)?;
    print(&args.reference, &report, "pulled", context)
}

/// Prints what a transfer did.
pub(super) fn print(reference: &Reference, report: &Report, verb: &str, context: &Context) -> Result<(), Failure> {
    let digest = report.descriptor.digest.to_string();
    if context.term.json() {
        context.term.data(json!({
            "reference": reference.to_string(),
            "digest": digest,
            "size_bytes": report.size_bytes,
            "moved_bytes": report.moved_bytes,
            "skipped_bytes": report.skipped_bytes,
            "mounted_bytes": report.mounted_bytes,
            "requests": report.requests,
            "seconds": report.took.as_secs_f64(),
        }))?;
        return Ok(());
    }
    context.term.data(&digest)?;
    context.term.tell(format_args!(
        "{verb} {reference}: {} moved{}, {}",
        bytes(report.moved_bytes),
        spared(report),
        duration(report.took)
    ));
    Ok(())
}

/// Says what need not move, and what part of the whole that is.
fn spared(report: &Report) -> String {
    if report.skipped_bytes == 0 {
        return String::new();
    }
    let percent = report.skipped_bytes.saturating_mul(100) / report.size_bytes.max(1);
    let mounted = match report.mounted_bytes {
        0 => String::new(),
        mounted => format!(", {} of them mounted from another repository", bytes(mounted)),
    };
    format!(
        ", {} were there{mounted}: {percent} % spared",
        bytes(report.skipped_bytes)
    )
}
