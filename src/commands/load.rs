use std::path::PathBuf;

use crate::env;
use crate::oci::Reference;
use crate::transfer;

use super::{Context, Failure, OrFail, save};

/// Read an archive of `gpux save` or of skopeo's oci-archive into the local store
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The archive: a tar file, plain or compressed with zstd or gzip
    #[arg(value_name = "FILE")]
    input: PathBuf,
    /// Name the artifact of an archive that holds one
    #[arg(long, short, value_name = "REF")]
    tag: Option<Reference>,
}

/// Loads, and tells the digests.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let path = context.env.current_dir.join(&args.input);
    let loaded = transfer::load(&store, &path, args.tag.as_ref(), env::now())
        .or_fail(|| format!("cannot load `{}`", args.input.display()))?;
    save::print(&loaded, "loaded", context)
}
