use std::sync::Arc;

use crate::oci::Reference;
use crate::transfer;

use super::moving::Moving;
use super::remote::RemoteArgs;
use super::{Context, Failure, OrFail, pull};

/// Send an artifact of the local store to the registry that its name begins with
///
/// `gpux tag NAME HOST/NAME` gives it such a name. What the registry has is not sent.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact: HOST/NAME[:TAG] or HOST/NAME@DIGEST
    reference: Reference,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Pushes, and tells the digest.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let reference = &args.reference;
    let remote = args.remote.remote(reference, context)?;
    let store = context.store()?;
    let moving = Arc::new(Moving::new(&context.term, "pushing"));
    let report = transfer::push(&store, reference, &remote, moving).or_fail(|| format!("cannot push `{reference}`"))?;
    pull::print(reference, &report, "pushed", context)
}
