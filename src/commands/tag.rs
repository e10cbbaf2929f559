use serde_json::json;

use crate::env;
use crate::oci::Reference;

use super::{Code, Context, Failure, OrFail};

/// Give an artifact another name
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact: NAME[:TAG], HOST/NAME[:TAG] or NAME@DIGEST
    source: Reference,
    /// The new name
    target: Reference,
}

/// Tags the artifact that `source` names as `target`, too.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Args { source, target } = args;
    let store = context.store()?;
    let what = || format!("cannot tag `{source}` as `{target}`");
    if target.digest().is_some() {
        return Err(Failure::new(
            Code::Usage,
            format!("{}: a digest cannot be given as a new name", what()),
        ));
    }
    let (entry, _lease) = store.checkout(&source).or_fail(what)?;
    store.tag(&target, &entry.descriptor, env::now()).or_fail(what)?;
    let size_bytes = store.size_bytes(&entry.descriptor).or_fail(what)?;
    if context.term.json() {
        let digest = entry.descriptor.digest.to_string();
        context
            .term
            .data(json!({"reference": target.to_string(), "digest": digest, "size_bytes": size_bytes}))?;
    } else {
        context
            .term
            .tell(format_args!("tagged {} as {target}", entry.descriptor.digest));
    }
    Ok(())
}
