use std::path::PathBuf;

use clap::Subcommand;
use serde_json::json;

use crate::bundle::Bundle;
use crate::export;
use crate::oci::Reference;
use crate::term::bytes;

use super::{Code, Context, Failure, OrFail, remote};

/// Make something of an artifact for other tools
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    form: Form,
}

#[derive(Debug, Subcommand)]
enum Form {
    /// Write the model as a plain ONNX file; where it has more than 2 GiB, its weights go into FILE.data beside it
    Onnx {
        /// The artifact: NAME[:TAG], HOST/NAME[:TAG] or NAME@DIGEST
        #[arg(value_name = "REF")]
        reference: Reference,
        /// The file to write
        #[arg(long, short, value_name = "FILE")]
        output: PathBuf,
        /// Replace files that are there already
        #[arg(long)]
        force: bool,
    },
}

/// Writes what is asked for.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.form {
        Form::Onnx {
            reference,
            output,
            force,
        } => onnx(&reference, &output, force, context),
    }
}

fn onnx(reference: &Reference, output: &std::path::Path, force: bool, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let what = || format!("cannot export `{reference}` to `{}`", output.display());
    let (entry, _lease) = remote::checkout(&store, reference, context)?;
    let bundle = Bundle::open(&store, &entry.descriptor).or_fail(what)?;
    let written = match export::write_onnx(&bundle, &store, output, force) {
        Err(error @ export::Error::Exists(_)) => {
            return Err(Failure::new(Code::Usage, format!("{}: {error}", what())).hint("--force replaces it"));
        }
        written => written.or_fail(what)?,
    };
    let is_original = written.len() == 1 && bundle.original_digest() == Some(written[0].digest);
    if context.term.json() {
        let files: Vec<_> = written
            .iter()
            .map(|file| {
                json!({"path": file.path.display().to_string(), "size_bytes": file.size_bytes,
                    "digest": file.digest.to_string()})
            })
            .collect();
        context.term.data(json!({
            "reference": reference.to_string(),
            "digest": entry.descriptor.digest.to_string(),
            "files": files,
            "is_original": is_original,
        }))?;
        return Ok(());
    }
    for file in &written {
        let size = bytes(file.size_bytes);
        context
            .term
            .tell(format_args!("wrote {} ({size})", file.path.display()));
    }
    if is_original {
        context.term.tell("it is the file that was built, byte for byte");
    }
    Ok(())
}
