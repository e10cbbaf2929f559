use std::path::PathBuf;
use std::time::Instant;

use crate::runtime::{Configuration, ProviderKind, Value};
use crate::tensor::{Port, Tensor};
use crate::term::duration;

use super::answer::Answer;
use super::explain::Explanation;
use super::opened::{EngineArgs, Opened, Purpose};
use super::outputs::OutputFile;
use super::subject::Subject;
use super::trial::Request;
use super::{Code, Context, Failure, OrFail, batch, inputs, tuned};

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
    /// Tell which provider has which nodes, and which operators it leaves to the processor
    #[arg(long, conflicts_with = "batch")]
    explain: bool,
    /// Tune for a few seconds first, where the model was not tuned here for such inputs
    #[arg(long)]
    tune: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the model once, or once a line.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(file) = &args.batch {
        let opened = Opened::open(&args.operand, &args.engine, Purpose::Many, context)?;
        return batch::run(opened, file, args.batch_size as usize, context);
    }
    let mut engine = args.engine.clone();
    engine.explain = args.explain;
    if args.tune {
        tune(&args, &mut engine, context)?;
    }
    let mut opened = Opened::open(&args.operand, &engine, Purpose::Once, context)?;
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
        .tell(format_args!("ran on {}: load {load}, run {run}", opened.engine()));
    if !files.is_empty() && !context.term.json() {
        return Ok(());
    }
    let digest = if context.term.json_or_piped() {
        opened.subject.digest(context)?.to_string()
    } else {
        String::new()
    };
    let explanation = opened.session.assignment().filter(|_| args.explain);
    let explanation = explanation.map(|assignment| Explanation {
        provider: opened.provider,
        options: opened.settings.names(),
        tuned: opened.tuned,
        assignment,
    });
    let answer = Answer {
        model: &args.operand,
        digest: &digest,
        provider: opened.provider.name(),
        refused: &opened.refused,
        options: opened.settings.names(),
        tuned: opened.tuned,
        explanation: explanation.as_ref(),
        outputs: &outputs,
        load: opened.load,
        run: time,
    };
    if context.term.json_or_piped() {
        context.term.stream(|to| answer.write_json(to))?;
    } else {
        answer.print(&context.term)?;
        if let Some(explanation) = &explanation {
            context.term.data("")?;
            explanation.print(&context.term)?;
        }
    }
    Ok(())
}

/// Tunes with the inputs of the command.
fn tune(args: &Args, engine: &mut EngineArgs, context: &Context) -> Result<(), Failure> {
    let from_stdin = |input: &String| input.ends_with("@-");
    if args.batch.is_some() || args.inputs.iter().chain(&args.map).any(from_stdin) {
        return Err(
            Failure::new(Code::Usage, "--tune needs inputs that can be read more than once")
                .hint("give them as @FILE, or tune first with `gpux tune`"),
        );
    }
    let subject = Subject::open(&args.operand, context)?;
    let request = Request {
        operand: args.operand.clone(),
        configuration: Configuration::plain(ProviderKind::Cpu),
        device: engine.device(),
        inputs: args.inputs.clone(),
        map: args.map.clone(),
        batch: 1,
        dims: Vec::new(),
        milliseconds: 0,
        outputs: PathBuf::new(),
    };
    engine.shapes = Some(tuned::ensure(request, &subject, engine, context)?);
    Ok(())
}
