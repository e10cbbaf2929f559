use serde_json::json;

use crate::store::{Entry, GcOptions};
use crate::term::bytes;

use super::{Context, Failure, OrFail};

/// Remove what no artifact needs: unreferenced blobs and abandoned downloads and builds
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Remove all artifacts that are not in use, too
    #[arg(long, short)]
    all: bool,
    /// Only say what would be removed
    #[arg(long)]
    dry_run: bool,
}

/// Collects garbage.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let options = GcOptions {
        all: args.all,
        dry_run: args.dry_run,
    };
    let swept = store.gc(options).or_fail(|| "cannot prune the store".into())?;
    if context.term.json() {
        let blobs: Vec<String> = swept.blobs.iter().map(|blob| blob.digest.to_string()).collect();
        let references: Vec<String> = swept.entries.iter().map(Entry::label).collect();
        context.term.data(json!({
            "dry_run": args.dry_run,
            "blobs": blobs,
            "references": references,
            "ingests": swept.ingests,
            "freed_bytes": swept.freed_bytes,
        }))?;
        return Ok(());
    }
    let (removed, freed) = if args.dry_run {
        ("would remove", "would free")
    } else {
        ("removed", "freed")
    };
    for entry in &swept.entries {
        context.term.tell(format_args!("{removed} {}", entry.label()));
    }
    let (blobs, ingests) = (swept.blobs.len(), swept.ingests.len());
    context
        .term
        .explain(format_args!("{removed} {blobs} blobs and {ingests} unfinished ingests"));
    context.term.tell(format_args!("{freed} {}", bytes(swept.freed_bytes)));
    Ok(())
}
