use serde_json::json;

use crate::oci::Reference;
use crate::store::GcOptions;
use crate::term::bytes;

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
}

/// Removes the tags, and the blobs that nothing else names.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
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
