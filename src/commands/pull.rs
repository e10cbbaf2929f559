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
            "requests": report.requests,
            "seconds": report.took.as_secs_f64(),
        }))?;
        return Ok(());
    }
    context.term.data(&digest)?;
    context.term.tell(format_args!(
        "{verb} {reference}: {} moved, {} were there, {}",
        bytes(report.moved_bytes),
        bytes(report.skipped_bytes),
        duration(report.took)
    ));
    Ok(())
}
