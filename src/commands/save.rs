use std::path::PathBuf;

use serde_json::json;

use crate::oci::Reference;
use crate::term::bytes;
use crate::transfer::{self, Archived};

use super::{Context, Failure, OrFail};

/// Write artifacts of the local store into one archive
///
/// The archive is an OCI image layout as a tar file: `skopeo copy oci-archive:FILE:NAME docker://HOST/NAME` sends it on.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifacts: NAME[:TAG], HOST/NAME[:TAG] or NAME@DIGEST
    #[arg(required = true, value_name = "REF")]
    references: Vec<Reference>,
    /// The archive; a name that ends in .zst compresses it
    #[arg(long, short, value_name = "FILE.tar[.zst]")]
    output: PathBuf,
}

/// Saves, and tells the digests.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let path = context.env.current_dir.join(&args.output);
    let saved = transfer::save(&store, &args.references, &path)
        .or_fail(|| format!("cannot save to `{}`", args.output.display()))?;
    print(&saved, "saved", context)
}

/// Prints what went into an archive or came out of it.
pub(super) fn print(archived: &Archived, verb: &str, context: &Context) -> Result<(), Failure> {
    let artifacts = archived.artifacts.iter();
    if context.term.json() {
        let artifacts: Vec<_> = artifacts
            .map(|(reference, digest)| json!({"reference": reference.to_string(), "digest": digest.to_string()}))
            .collect();
        let document = json!({"artifacts": artifacts, "size_bytes": archived.size_bytes});
        return Ok(context.term.data(document)?);
    }
    for (reference, digest) in artifacts {
        context.term.data(digest)?;
        context.term.tell(format_args!("{verb} {reference}"));
    }
    context.term.tell(format_args!("{} in all", bytes(archived.size_bytes)));
    Ok(())
}
