use serde_json::json;

use crate::oci::Reference;
use crate::transfer;

use super::remote::RemoteArgs;
use super::{Context, Failure, OrFail};

/// List the tags of a name at its registry
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The name: HOST/NAME
    reference: Reference,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Prints a tag a line.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let reference = &args.reference;
    let remote = args.remote.remote(reference, context)?;
    let tags =
        transfer::tags(reference, &remote).or_fail(|| format!("cannot list the tags of `{}`", reference.name()))?;
    let names: Vec<&str> = tags.iter().map(|tag| tag.as_str()).collect();
    if context.term.json() {
        context.term.data(json!({"name": reference.name(), "tags": names}))?;
        return Ok(());
    }
    for name in names {
        context.term.data(name)?;
    }
    Ok(())
}
