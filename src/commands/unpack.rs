use std::path::PathBuf;

use serde_json::json;

use crate::bundle::Bundle;
use crate::fs;
use crate::oci::Reference;

use super::{Code, Context, Failure, OrFail};

/// Write the files of an artifact into a folder
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The artifact: NAME[:TAG], HOST/NAME[:TAG] or NAME@DIGEST
    #[arg(value_name = "REF")]
    reference: Reference,
    /// The folder; it is made where it is missing and must be empty
    #[arg(long, short, value_name = "DIR")]
    output: PathBuf,
}

/// Writes every layer to its path.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Args { reference, output } = args;
    let store = context.store()?;
    let what = || format!("cannot unpack `{reference}` into `{}`", output.display());
    let (entry, _lease) = store.checkout(&reference).or_fail(what)?;
    if !fs::names(&output).or_fail(what)?.is_empty() {
        return Err(Failure::new(Code::Usage, format!("{}: it holds files already", what()))
            .hint("name a new or empty folder: gpux overwrites nothing"));
    }
    let bundle = Bundle::open(&store, &entry.descriptor).or_fail(what)?;
    bundle.unpack(&store, &output).or_fail(what)?;
    let files: Vec<&str> = bundle.paths().collect();
    if context.term.json() {
        context.term.data(json!({
            "reference": reference.to_string(),
            "digest": entry.descriptor.digest.to_string(),
            "files": files,
        }))?;
    } else {
        for file in &files {
            context.term.explain(output.join(file).display());
        }
        context
            .term
            .tell(format_args!("unpacked {} files into {}", files.len(), output.display()));
    }
    Ok(())
}
