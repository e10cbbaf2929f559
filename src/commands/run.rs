use std::path::PathBuf;
use std::time::Instant;

use crate::runtime::Value;
use crate::tensor::{Port, Tensor};
use crate::term::duration;

use super::answer::Answer;
use super::opened::{EngineArgs, Opened, Purpose};
use super::outputs::OutputFile;
use super::{Context, Failure, OrFail, batch, inputs};

/// Run a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
VALUE is JSON, @FILE (.json, .npy, .npz, .raw) or @- for stdin. Examples:
  gpux run model.onnx --input '[[1, 2, 3, 4]]'
  gpux run digits:1.0.0 --input image=@seven.npy
  gpux run minilm:1 --inputs @tokens.json --output embedding.npy
  gpux run digits:1.0.0 --batch requests.jsonl --batch-size 32")]
pub struct Args {
    /// What to run: NAME[:TAG], a folder with a GPUXfile, or MODEL.onnx
    #[arg(value_name = "REF|DIR|MODEL.onnx")]
    operand: String,
    /// An input; a model of one input needs no NAME; may be repeated
    #[arg(long = "input", short, value_name = "[NAME=]VALUE")]
    inputs: Vec<String>,
    /// All inputs: a JSON object {NAME: VALUE, …}, @FILE.json or @FILE.npz
    #[arg(long = "inputs", value_name = "VALUE")]
    map: Option<String>,
    /// Write an output to a file (.npy, .npz, .json, .raw) instead of stdout; may be repeated
    #[arg(long = "output", short, value_name = "[NAME=]FILE")]
    outputs: Vec<String>,
    /// Answer each line of a file of JSON objects {NAME: VALUE, …} with one line; `-` reads stdin
    #[arg(long, value_name = "FILE.jsonl", conflicts_with_all = ["inputs", "map", "outputs"])]
    batch: Option<PathBuf>,
    /// How many lines are run at once, where the model's first dimension is dynamic
    #[arg(long, default_value_t = 1, requires = "batch", value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: u32,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the model once, or once a line.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(file) = &args.batch {
        let opened = Opened::open(&args.operand, &args.engine, Purpose::Many, context)?;
        return batch::run(opened, file, args.batch_size as usize, context);
    }
    let mut opened = Opened::open(&args.operand, &args.engine, Purpose::Once, context)?;
    let signature = opened.session.signature().clone();
    let files: Vec<OutputFile> = args
        .outputs
        .iter()
        .map(|argument| OutputFile::read(argument, &signature))
        .collect::<Result<_, _>>()?;
    let tensors = inputs::read(&args.inputs, args.map.as_deref(), &signature)?;
    let values: Vec<Value> = tensors.into_iter().map(Value::from).collect();

    let start = Instant::now();
    let answers = opened
        .run(&values)
        .or_fail(|| format!("cannot run `{}`", args.operand))?;
    let time = start.elapsed();
    let outputs: Vec<(&Port, &Tensor)> = signature
        .outputs
        .iter()
        .zip(answers.iter().filter_map(Value::as_host))
        .collect();

    for file in &files {
        file.write(&outputs)?;
        context.term.tell(format_args!("wrote {}", file.path().display()));
    }
    let (load, run) = (duration(opened.load), duration(time));
    context
        .term
        .tell(format_args!("ran on {}: load {load}, run {run}", opened.provider));
    if !files.is_empty() && !context.term.json() {
        return Ok(());
    }
    let digest = if context.term.json_or_piped() {
        opened.subject.digest(context)?.to_string()
    } else {
        String::new()
    };
    let answer = Answer {
        model: &args.operand,
        digest: &digest,
        provider: opened.provider.name(),
        refused: &opened.refused,
        outputs: &outputs,
        load: opened.load,
        run: time,
    };
    if context.term.json_or_piped() {
        context.term.stream(|to| answer.write_json(to))?;
    } else {
        answer.print(&context.term)?;
    }
    Ok(())
}
