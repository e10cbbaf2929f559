use serde_json::json;

use crate::oci::Reference;
use crate::store::GcOptions;
use crate::term::bytes;
use crate::transfer;

use super::remote::RemoteArgs;
use super::{Context, Failure, OrFail};

/// Remove artifacts from the local store
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifacts: NAME[:TAG], HOST/NAME[:TAG] or NAME@DIGEST
    #[arg(required = true, value_name = "REF")]
    references: Vec<Reference>,
    /// Keep the blobs that nothing names any more; `gpux prune` removes them
    #[arg(long)]
    keep_blobs: bool,
    /// Remove them from their registries, not from here
    #[arg(long, conflicts_with = "keep_blobs")]
    remote: bool,
    #[command(flatten)]
    registry: RemoteArgs,
}

/// Removes the tags, and the blobs that nothing else names.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if args.remote {
        return remove_remote(&args, context);
    }
    let store = context.store()?;
    let what = |reference: &Reference| format!("cannot remove `{reference}`");
    // A name that is not there stops the removal of the others.
    for reference in &args.references {
        store.resolve(reference).or_fail(|| what(reference))?;
    }
    let mut removed = Vec::new();
    for reference in &args.references {
        removed.extend(store.remove(reference).or_fail(|| what(reference))?);
    }
    let freed = if args.keep_blobs {
        0
    } else {
        store
            .gc(GcOptions::default())
            .or_fail(|| "cannot remove what nothing names any more".into())?
            .freed_bytes
    };
    if context.term.json() {
        let removed: Vec<_> = removed
            .iter()
            .map(|entry| json!({"reference": entry.label(), "digest": entry.descriptor.digest.to_string()}))
            .collect();
        context.term.data(json!({"removed": removed, "freed_bytes": freed}))?;
        return Ok(());
    }
    for entry in &removed {
        context.term.tell(format_args!("removed {}", entry.label()));
    }
    context.term.tell(format_args!("freed {}", bytes(freed)));
    Ok(())
}

/// Deletes at the registries; every tag of the same name and content goes with it.
fn remove_remote(args: &Args, context: &Context) -> Result<(), Failure> {
    let mut removed = Vec::new();
    for reference in &args.references {
        let remote = args.registry.remote(reference, context)?;
        let digest = transfer::delete(reference, &remote).or_fail(|| format!("cannot remove `{reference}`"))?;
        context
            .term
            .tell(format_args!("removed {digest} from {}", reference.name()));
        removed.push(json!({"reference": reference.to_string(), "digest": digest.to_string()}));
    }
    if context.term.json() {
        context.term.data(json!({"removed": removed, "freed_bytes": 0}))?;
    }
    Ok(())
}
