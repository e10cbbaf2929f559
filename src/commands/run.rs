use std::ops::ControlFlow;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use crate::fs;
use crate::pipeline::{Pipeline, Record, annotate};
use crate::predict::generate::Generator;
use crate::predict::{self, Job, Outcome, Output, Predictor};
use crate::runtime::{Configuration, ProviderKind, Value};
use crate::tensor::{Port, Signature, Tensor};
use crate::term::{Progress, duration};

use super::answer::Answer;
use super::explain::Explanation;
use super::failure::explain;
use super::given::{Arguments, Given};
use super::opened::{EngineArgs, Opened, Purpose};
use super::outputs::OutputFile;
use super::ran::Ran;
use super::records::{One, Records, write_file};
use super::subject::Subject;
use super::trial::Request;
use super::{Code, Context, Failure, OrFail, batch, generate, given, inputs, tuned};

/// Run a model
#[derive(Debug, clap::Args)]
#[command(after_help = "\
With a GPUXfile that says how, a VALUE is a picture's file, a text, a folder or pattern of such files, or `-` for stdin;
several are answered in turn. Without one, it is a tensor: JSON, @FILE (.json, .npy, .npz, .raw) or @- for stdin. Examples:
  gpux run resnet:1 cat.jpg
  gpux run resnet:1 pictures/ --batch-size 8
  gpux run whisper:1 talk.wav
  gpux run yolo:1 street.jpg --annotate found.png
  gpux run minilm:1 'a sentence' 'another' --output embeddings.npy
  gpux run model.onnx '[[1, 2, 3, 4]]'
  gpux run digits:1.0.0 --input image=@seven.npy
  gpux run digits:1.0.0 --batch requests.jsonl --batch-size 32")]
pub struct Args {
    /// What to run: NAME[:TAG], a folder with a GPUXfile, or MODEL.onnx
    #[arg(value_name = "REF|DIR|MODEL.onnx")]
    operand: String,
    /// What to answer: pictures, texts, folders, or tensors of a model of one input
    #[arg(value_name = "VALUE")]
    values: Vec<String>,
    /// An input; a model of one input needs no NAME; may be repeated
    #[arg(long = "input", short, value_name = "[NAME=]VALUE")]
    inputs: Vec<String>,
    /// All inputs: a JSON object {NAME: VALUE, …}, @FILE.json or @FILE.npz
    #[arg(long = "inputs", value_name = "VALUE")]
    map: Option<String>,
    /// Texts belong together by twos, such as a question and where its answer stands
    #[arg(long, requires = "values")]
    pair: bool,
    /// Write an output to a file (.npy, .npz, .json, .raw; .png of a mask) instead of stdout; may be repeated
    #[arg(long = "output", short, value_name = "[NAME=]FILE")]
    outputs: Vec<String>,
    /// Draw what was found on a copy of the picture
    #[arg(long, value_name = "OUT.png", conflicts_with_all = ["raw", "batch"])]
    annotate: Option<PathBuf>,
    /// Give tensors, whatever steps the GPUXfile has for outputs
    #[arg(long)]
    raw: bool,
    /// Answer each line of a file with one line: a JSON object {NAME: VALUE, …}, a picture's path or a text; `-` reads stdin
    #[arg(long, value_name = "FILE", conflicts_with_all = ["values", "inputs", "map", "outputs"])]
    batch: Option<PathBuf>,
    /// How many are run at once, where the model's first dimension is dynamic; without it 1 for lines, 8 for values
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    batch_size: Option<u32>,
    /// Tell which provider has which nodes, and which operators it leaves to the processor
    #[arg(long, conflicts_with = "batch")]
    explain: bool,
    /// Tune for a few seconds first, where the model was not tuned here for such inputs
    #[arg(long)]
    tune: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Runs the model once, once for each value, or once a line.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let purpose = match args.batch.is_some() || args.values.len() > 1 {
        true => Purpose::Many,
        false => Purpose::Once,
    };
    let mut engine = args.engine.clone();
    engine.explain = args.explain;
    if args.tune {
        tune(&args, &mut engine, context)?;
    }
    let (opened, pipeline) = open(&args.operand, (&engine, purpose), context)?;
    if let Some(generator) = opened.subject.generator(context)? {
        return run_generator(&args, opened, &generator, context);
    }
    if let Some(file) = &args.batch {
        let size = args.batch_size.unwrap_or(1) as usize;
        return match pipeline {
            Some(pipeline) => batch::run_steps(opened, with(pipeline, args.raw), file, size, context),
            None => batch::run(opened, file, size, context),
        };
    }
    match pipeline {
        Some(pipeline) => run_steps(&args, opened, pipeline, context),
        None => run_tensors(&args, opened, context),
    }
}

/// Loads the model, and gets the steps of its GPUXfile ready beside it.
fn open(
    operand: &str,
    engine: (&EngineArgs, Purpose),
    context: &Context,
) -> Result<(Opened, Option<Pipeline>), Failure> {
    let subject = Subject::open(operand, context)?;
    let steps = subject.steps(context)?;
    thread::scope(|scope| {
        let ready = steps.map(|steps| scope.spawn(move || steps.ready()));
        let opened = Opened::load(subject, operand, engine, context)?;
        let pipeline = ready.map(|ready| match ready.join() {
            Ok(pipeline) => pipeline,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        Ok((opened, pipeline.transpose()?))
    })
}

/// Runs a model that generates text.
fn run_generator(args: &Args, opened: Opened, generator: &Generator, context: &Context) -> Result<(), Failure> {
    let meaningless = [
        ("--batch", args.batch.is_some()),
        ("--batch-size", args.batch_size.is_some()),
        ("--output", !args.outputs.is_empty()),
        ("--raw", args.raw),
        ("--annotate", args.annotate.is_some()),
        ("--explain", args.explain),
    ];
    if let Some((option, _)) = meaningless.iter().find(|(_, given)| *given) {
        return Err(generate::refuse(option));
    }
    if args.values.is_empty() && args.inputs.is_empty() && args.map.is_none() {
        return Err(nothing_given(generator.pipeline(), &args.operand));
    }
    generate::run(opened, generator, (&args.operand, arguments(args)), context)
}

fn with(pipeline: Pipeline, raw: bool) -> Predictor {
    let predictor = Predictor::new(pipeline);
    if raw { predictor.raw() } else { predictor }
}

/// Runs a model without steps: tensors go in, tensors come out.
fn run_tensors(args: &Args, mut opened: Opened, context: &Context) -> Result<(), Failure> {
    if args.annotate.is_some() {
        return Err(nothing_to_draw());
    }
    let signature = opened.session.signature().clone();
    let files = output_files(args, &signature)?;
    let tensors = match args.values.is_empty() {
        true => inputs::read(&args.inputs, args.map.as_deref(), &signature)?,
        false => {
            let all = given::read(arguments(args), None, &signature)?;
            vec![one_tensor(all, &signature)?]
        }
    };
    let values: Vec<Value> = tensors.into_iter().map(Value::from).collect();
    let start = Instant::now();
    let answers = opened
        .run(&values)
        .or_fail(|| format!("cannot run `{}`", args.operand))?;
    let time = start.elapsed();
    let answers: Vec<Tensor> = answers.into_iter().filter_map(Value::into_host).collect();
    tell_tensors(args, &opened, (&answers, time), &files, context)
}

/// Joins values of a model's only input along its first dimension.
fn one_tensor(all: Vec<Given>, signature: &Signature) -> Result<Tensor, Failure> {
    let what = || format!("cannot join the values of input `{}`", signature.inputs[0].name);
    let mut tensors = Vec::new();
    for given in all {
        let request = (given.job)().or_fail(what)?;
        tensors.extend(request.items.into_iter().filter_map(|(_, item)| match item {
            crate::pipeline::Item::Tensor(tensor) => Some(tensor),
            _ => None,
        }));
    }
    if tensors.len() == 1 {
        return Ok(tensors.remove(0));
    }
    Tensor::join_rows(&tensors.iter().collect::<Vec<_>>()).or_fail(what)
}

fn arguments(args: &Args) -> Arguments<'_> {
    Arguments {
        values: &args.values,
        single: &args.inputs,
        map: args.map.as_deref(),
        pair: args.pair,
    }
}

fn output_files(args: &Args, signature: &Signature) -> Result<Vec<OutputFile>, Failure> {
    let names: Vec<&str> = signature.outputs.iter().map(|port| port.name.as_str()).collect();
    args.outputs
        .iter()
        .map(|argument| OutputFile::read(argument, &names))
        .collect()
}

/// Writes, prints and tells what came out as tensors.
fn tell_tensors(
    args: &Args,
    opened: &Opened,
    (answers, time): (&[Tensor], Duration),
    files: &[OutputFile],
    context: &Context,
) -> Result<(), Failure> {
    let signature = opened.session.signature();
    let outputs: Vec<(&Port, &Tensor)> = signature.outputs.iter().zip(answers).collect();
    for file in files {
        file.write(&outputs)?;
        context.term.tell(format_args!("wrote {}", file.path().display()));
    }
    tell_times(opened, time, context);
    if !files.is_empty() && !context.term.json() {
        return Ok(());
    }
    let digest = digest(opened, context)?;
    let explanation = explanation(args, opened);
    let answer = Answer {
        ran: Ran::new(opened, &args.operand, digest, explanation.as_ref(), time),
        outputs: &outputs,
    };
    if context.term.json_or_piped() {
        context.term.stream(|to| answer.write_json(to))?;
    } else {
        answer.print(&context.term)?;
    }
    explain_to_person(explanation.as_ref(), context)
}

/// Gives which provider has which nodes, where it was asked for.
fn explanation<'a>(args: &Args, opened: &'a Opened) -> Option<Explanation<'a>> {
    let assignment = opened.session.assignment().filter(|_| args.explain)?;
    Some(Explanation {
        provider: opened.provider,
        options: opened.settings.names(),
        tuned: opened.tuned,
        assignment,
    })
}

fn explain_to_person(explanation: Option<&Explanation<'_>>, context: &Context) -> Result<(), Failure> {
    if let Some(explanation) = explanation.filter(|_| !context.term.json_or_piped()) {
        context.term.data("")?;
        explanation.print(&context.term)?;
    }
    Ok(())
}

fn tell_times(opened: &Opened, time: Duration, context: &Context) {
    let (load, run) = (duration(opened.load), duration(time));
    context
        .term
        .tell(format_args!("ran on {}: load {load}, run {run}", opened.engine()));
}

fn digest(opened: &Opened, context: &Context) -> Result<String, Failure> {
    match context.term.json_or_piped() {
        true => Ok(opened.subject.digest(context)?.to_string()),
        false => Ok(String::new()),
    }
}

/// Runs a model with steps: what a person has goes in, answers come out.
fn run_steps(args: &Args, mut opened: Opened, pipeline: Pipeline, context: &Context) -> Result<(), Failure> {
    let signature = opened.session.signature().clone();
    let files = if args.raw || !pipeline.has_answers() {
        output_files(args, &signature)?
    } else {
        let names = pipeline.answer_names();
        args.outputs
            .iter()
            .map(|argument| OutputFile::read(argument, &names))
            .collect::<Result<_, _>>()?
    };
    if args.values.is_empty() && args.inputs.is_empty() && args.map.is_none() {
        return Err(nothing_given(&pipeline, &args.operand));
    }
    let given = given::read(arguments(args), Some(&pipeline), &signature)?;
    let labels: Vec<String> = given.iter().map(|one| one.label.clone()).collect();
    let pictures: Vec<Option<PathBuf>> = given.iter().map(|one| one.file.clone()).collect();
    let predictor = with(pipeline, args.raw);
    if args.annotate.is_some() && (pictures.len() != 1 || pictures[0].is_none()) {
        return Err(nothing_to_draw());
    }
    let start = Instant::now();
    let outcomes = answer_all(&predictor, &mut opened, given, args, context)?;
    let time = start.elapsed();
    if let [Err(_)] = outcomes.as_slice() {
        let outcome = outcomes.into_iter().next().expect("there is one");
        return outcome.map(|_| ()).or_fail(|| format!("cannot answer `{}`", labels[0]));
    }
    if outcomes.iter().all(|outcome| matches!(outcome, Ok(Output::Tensors(_)))) {
        let tensors = stacked(outcomes)?;
        return tell_tensors(args, &opened, (&tensors, time), &files, context);
    }
    let answers: Vec<One> = labels
        .into_iter()
        .zip(&outcomes)
        .map(|(label, outcome)| one(label, outcome))
        .collect();
    let records: Vec<&Record> = answers.iter().filter_map(|one| one.answer.as_ref()).collect();
    for file in &files {
        write_file(file, &records)?;
        context.term.tell(format_args!("wrote {}", file.path().display()));
    }
    if let (Some(path), [record], Some(Some(picture))) = (&args.annotate, records.as_slice(), pictures.first()) {
        draw(picture, record, path)?;
        context.term.tell(format_args!("wrote {}", path.display()));
    }
    tell_times(&opened, time, context);
    if files.is_empty() || context.term.json() {
        let explanation = explanation(args, &opened);
        let records = Records {
            ran: Ran::new(
                &opened,
                &args.operand,
                digest(&opened, context)?,
                explanation.as_ref(),
                time,
            ),
            answers: &answers,
        };
        if context.term.json_or_piped() {
            context.term.stream(|to| records.write_json(to))?;
        } else {
            records.print(&context.term)?;
        }
        explain_to_person(explanation.as_ref(), context)?;
    }
    // The process ends here, and to give back every word of a vocabulary takes longer than many an answer.
    std::mem::forget(predictor);
    failed(&answers)
}

/// Answers all that is given: one by itself, several in a stream, those that are compared in one go.
fn answer_all(
    predictor: &Predictor,
    opened: &mut Opened,
    given: Vec<Given>,
    args: &Args,
    context: &Context,
) -> Result<Vec<Outcome>, Failure> {
    let batch = args.batch_size.unwrap_or(8) as usize;
    if args.batch_size.is_some_and(|size| size > 1)
        && let Some(reason) = predictor.unstackable()
    {
        context.term.warn(format_args!("--batch-size has no effect: {reason}"));
    }
    if given.len() == 1 || predictor.compares() {
        let requests = given.into_iter().map(|one| {
            let label = one.label;
            (one.job)().or_fail(|| format!("cannot read `{label}`"))
        });
        let requests: Vec<predict::Request> = requests.collect::<Result<_, _>>()?;
        return Ok(predictor.predict(opened, &requests, batch));
    }
    let progress = Progress::steps(&context.term, "answered", given.len() as u64);
    let mut outcomes = Vec::with_capacity(given.len());
    let jobs: Vec<Job> = given.into_iter().map(|one| one.job).collect();
    let options = opened.stream_options(batch);
    predictor.stream(opened, jobs.into_iter(), options, |_, outcome| {
        outcomes.push(outcome);
        progress.advance(1);
        ControlFlow::Continue(())
    });
    Ok(outcomes)
}

/// Takes an outcome for the answer.
pub fn one(label: String, outcome: &Outcome) -> One {
    let (answer, error) = match outcome {
        Ok(Output::Record(record)) => (Some(record.clone()), None),
        Ok(Output::Tensors(_)) => (None, None),
        Err(error) => (None, Some(explain(error))),
    };
    One {
        input: label,
        answer,
        error,
    }
}

/// Joins the tensors of several requests, output by output.
fn stacked(outcomes: Vec<Outcome>) -> Result<Vec<Tensor>, Failure> {
    let all: Vec<Vec<Tensor>> = outcomes
        .into_iter()
        .filter_map(|outcome| match outcome {
            Ok(Output::Tensors(tensors)) => Some(tensors),
            _ => None,
        })
        .collect();
    if let [_] = all.as_slice() {
        return Ok(all.into_iter().flatten().collect());
    }
    (0..all.first().map_or(0, Vec::len))
        .map(|at| {
            let parts: Vec<&Tensor> = all.iter().map(|tensors| &tensors[at]).collect();
            Tensor::join_rows(&parts).or_fail(|| "cannot join the outputs of all values".into())
        })
        .collect::<Result<_, _>>()
        .map_err(|failure: Failure| failure.hint("--batch FILE gives the outputs of each line by themselves"))
}

fn draw(picture: &std::path::Path, record: &Record, path: &std::path::Path) -> Result<(), Failure> {
    let what = || format!("cannot draw `{}`", path.display());
    let drawable: Vec<&crate::pipeline::Answer> = record.answers.iter().map(|(_, answer)| answer).collect();
    let is_drawable = |answer: &&crate::pipeline::Answer| {
        matches!(
            answer,
            crate::pipeline::Answer::Boxes { .. } | crate::pipeline::Answer::Mask(_)
        )
    };
    if !drawable.iter().any(is_drawable) {
        return Err(nothing_to_draw());
    }
    let bytes = annotate(&fs::read(picture).or_fail(what)?, &drawable).or_fail(what)?;
    fs::replace(path, &bytes).or_fail(what)
}

fn nothing_to_draw() -> Failure {
    Failure::new(
        Code::Usage,
        "--annotate draws boxes and masks on a copy of one picture's file, and there are none here",
    )
    .hint("the GPUXfile needs `detect` or `mask` in `postprocessing`")
}

fn nothing_given(pipeline: &Pipeline, operand: &str) -> Failure {
    let what: Vec<String> = pipeline
        .sources()
        .iter()
        .map(|source| match source.modality {
            crate::gpuxfile::Modality::Picture => "a picture's file".to_owned(),
            crate::gpuxfile::Modality::Text => "a text".to_owned(),
            crate::gpuxfile::Modality::Sound => "a sound's file".to_owned(),
        })
        .collect();
    let what = if what.is_empty() {
        "a tensor".to_owned()
    } else {
        what.join(" and ")
    };
    Failure::new(
        Code::Usage,
        format!("there is nothing to answer: `{operand}` takes {what}"),
    )
    .hint(format!("write it behind the name: gpux run {operand} VALUE"))
}

fn failed(answers: &[One]) -> Result<(), Failure> {
    let failed = answers.iter().filter(|one| one.error.is_some()).count();
    match failed {
        0 => Ok(()),
        _ => Err(
            Failure::new(Code::Failed, format!("{failed} of {} have no answer", answers.len()))
                .hint("each has its `error` in the answer"),
        ),
    }
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
    if !args.values.is_empty() {
        return Err(Failure::new(Code::Usage, "--tune takes tensors, given with --input")
            .hint("tune first with `gpux tune`, which makes inputs up"));
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
