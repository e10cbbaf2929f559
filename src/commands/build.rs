use std::path::PathBuf;

use serde_json::json;

use crate::bundle::{self, Plan, PlanOptions, Weights};
use crate::env;
use crate::gpuxfile;
use crate::oci::{self, Reference};
use crate::term::{bytes, count};

use super::opened::{EngineArgs, Opened, Purpose};
use super::subject::Subject;
use super::{Code, Context, Failure, OrFail, samples, test};

/// Make an artifact from a GPUXfile and an ONNX model
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The tag is NAME:VERSION of the GPUXfile unless -t gives one. The same input gives the same digest, \
                        anywhere; SOURCE_DATE_EPOCH adds a date.\n\nLarge tensors become layers of their own, so that a \
                        registry and a store hold each once, in however many versions it is."
)]
pub struct Args {
    /// The folder with the GPUXfile and the model, or a bare MODEL.onnx
    #[arg(default_value = ".", value_name = "DIR|MODEL.onnx")]
    context: PathBuf,
    /// Names for the artifact; may be repeated
    #[arg(long = "tag", short, value_name = "REF")]
    tags: Vec<Reference>,
    /// The GPUXfile; without it DIR/GPUXfile, else DIR/gpux.yml
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Run the samples first, and build nothing where one fails
    #[arg(long)]
    test: bool,
    /// Tensors of at least this size get a layer of their own; at least 1KiB
    #[arg(long, value_name = "SIZE", default_value = "64KiB", value_parser = threshold)]
    shard_threshold: u64,
    /// Keep the model's files as they are, byte for byte
    #[arg(long, conflicts_with = "shard_threshold")]
    no_shard: bool,
    /// Follow symbolic links that lead out of the folder
    #[arg(long)]
    follow_links: bool,
}

/// Builds, tags and tells the digest.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let named = args
        .tags
        .first()
        .map(Reference::to_string)
        .unwrap_or_else(|| args.context.display().to_string());
    let what = || format!("cannot build `{named}`");
    if let Some(tag) = args.tags.iter().find(|tag| tag.digest().is_some()) {
        return Err(Failure::new(
            Code::Usage,
            format!("cannot tag as `{tag}`: the digest follows from what is built"),
        ));
    }
    let options = PlanOptions {
        gpuxfile: args.file.clone(),
        follow_links: args.follow_links,
        weights: if args.no_shard {
            Weights::AsTheyAre
        } else {
            Weights::Shards {
                threshold_bytes: args.shard_threshold,
            }
        },
    };
    let plan = Plan::read(&args.context, &options).or_fail(what)?;
    for warning in plan.warnings() {
        context.term.warn(warning);
    }
    if args.test {
        test_samples(&args, &options, &named, context)?;
    }
    let tags = if args.tags.is_empty() {
        vec![default_tag(&plan).or_fail(what)?]
    } else {
        args.tags
    };
    let store = context.store()?;
    let lease = store.lease(&[]).or_fail(what)?;
    let built = bundle::build(&store, &lease, &plan, context.source_date()?.as_deref()).or_fail(what)?;
    for tag in &tags {
        store
            .tag(tag, &built.descriptor, env::now())
            .or_fail(|| format!("cannot tag `{tag}`"))?;
    }
    let digest = built.descriptor.digest.to_string();
    if context.term.json() {
        let reference = tags[0].to_string();
        context
            .term
            .data(json!({"reference": reference, "digest": digest, "size_bytes": built.size_bytes}))?;
        return Ok(());
    }
    context.term.explain(format_args!(
        "{} files, {} parameters",
        built.layers,
        count(plan.parameters())
    ));
    for tag in &tags {
        context
            .term
            .tell(format_args!("built {tag} ({})", bytes(built.size_bytes)));
    }
    context.term.data(digest)?;
    Ok(())
}

/// Runs the samples of what is to be built.
///
/// Errors: there are none, or one fails.
fn test_samples(args: &Args, options: &PlanOptions, named: &str, context: &Context) -> Result<(), Failure> {
    let what = || format!("cannot build `{named}`");
    let subject = Subject::of_plan(Plan::read(&args.context, options).or_fail(what)?);
    let engine = EngineArgs::default();
    let mut opened = Opened::load(subject, named, (&engine, Purpose::Many), context)?;
    let verdicts = samples::run_all(&mut opened, context)?;
    for verdict in verdicts.iter().filter(|verdict| !verdict.passed) {
        for one in &verdict.differences {
            context.term.words(format_args!(
                "{}: {} is {}, and {} was expected",
                verdict.name, one.place, one.found, one.expected
            ));
        }
    }
    context
        .term
        .tell(format_args!("{} samples run on {}", verdicts.len(), opened.provider));
    test::require(&verdicts, named, opened.provider.name())
}

/// Reads a size from which on a tensor leaves the graph. Below a kilobyte most are shapes and scalars, which engines want
/// to see in the graph.
fn threshold(text: &str) -> Result<u64, String> {
    const SMALLEST_BYTES: u64 = 1024;
    match gpuxfile::memory(text) {
        Some(bytes) if bytes >= SMALLEST_BYTES => Ok(bytes),
        Some(_) => Err(format!("`{text}` is less than 1KiB")),
        None => Err(format!("`{text}` is not a size such as 64KiB or 1MB")),
    }
}

/// Gives NAME:VERSION of the GPUXfile, or NAME:latest.
fn default_tag(plan: &Plan) -> Result<Reference, oci::Error> {
    let gpuxfile = plan.gpuxfile();
    format!("{}:{}", gpuxfile.name.value.as_str(), gpuxfile.tag()).parse()
}
