use std::io::{self, BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde_json::json;

use crate::fs;
use crate::gpuxfile::Modality;
use crate::pipeline::{self, Source};
use crate::predict::batch::{Stacking, plan};
use crate::predict::{self, Item, Job, Outcome, Output, Predictor, Request};
use crate::runtime::Value;
use crate::tensor::{Port, Signature, Tensor, json};
use crate::term::Progress;

use super::answer::write_outputs;
use super::failure::explain;
use super::opened::Opened;
use super::{Code, Context, Failure, OrFail};

/// What a request came to: its outputs, or why there are none.
type LineOutcome = Result<Vec<Tensor>, String>;

/// Answers each line of `file` with one line, in order; a line that fails is answered with its error.
///
/// Up to `size` lines are stacked into one call, where the model's first dimension is dynamic.
///
/// Errors: the file cannot be read, or any line failed, which is told when all are answered.
pub fn run(mut opened: Opened, file: &Path, size: usize, context: &Context) -> Result<(), Failure> {
    let signature = opened.session.signature().clone();
    let stacking = if size > 1 {
        Stacking::of(&signature).map_err(Some)
    } else {
        Err(None)
    };
    if let Err(Some(reason)) = &stacking {
        context.term.warn(format_args!("--batch-size has no effect: {reason}"));
    }
    let stacking = stacking.ok();
    let what = || format!("cannot read `{}`", file.display());
    let source;
    let mut reader: Box<dyn BufRead> = if file == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        source = fs::File::open(file).or_fail(what)?;
        Box::new(BufReader::with_capacity(1 << 16, source.system()))
    };
    let progress = Progress::steps(&context.term, "answered", 0);
    let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let (mut index, mut failed) = (0u64, 0u64);
    loop {
        let lines = read_lines(&mut *reader, size).or_fail(what)?;
        if lines.is_empty() {
            break;
        }
        for outcome in answer(&mut opened, &signature, stacking.as_ref(), &lines) {
            failed += u64::from(outcome.is_err());
            write_line(index, &outcome, &signature, &mut stdout)?;
            index += 1;
            progress.advance(1);
        }
        stdout.flush()?;
    }
    drop(progress);
    told(index, failed, &opened, context)
}

/// Answers each line of `file` with one line, as [`run`] does, through the steps of the GPUXfile.
///
/// A line is a JSON object {NAME: VALUE, …}, where the value of a picture is its path, or a bare path or text. Lines are read and prepared
/// while the model answers others.
pub fn run_steps(
    mut opened: Opened,
    predictor: Predictor,
    file: &Path,
    size: usize,
    context: &Context,
) -> Result<(), Failure> {
    let signature = opened.session.signature().clone();
    if predictor.compares() {
        let what = "`cosine_similarity` compares the values of one call, and --batch answers each line by itself";
        return Err(Failure::new(Code::Usage, what).hint("give the values behind the model's name"));
    }
    if size > 1
        && let Some(reason) = predictor.unstackable()
    {
        context.term.warn(format_args!("--batch-size has no effect: {reason}"));
    }
    let what = || format!("cannot read `{}`", file.display());
    let reader: Box<dyn BufRead + Send> = match file == Path::new("-") {
        true => Box::new(BufReader::new(io::stdin())),
        false => Box::new(BufReader::with_capacity(
            1 << 16,
            fs::File::open(file).or_fail(what)?.into_system(),
        )),
    };
    let sources = predictor.pipeline().sources();
    let jobs = lines(reader).map(|line| {
        let (sources, signature) = (sources.clone(), signature.clone());
        Box::new(move || line_request(&line?, &sources, &signature)) as Job
    });
    let progress = Progress::steps(&context.term, "answered", 0);
    let mut stdout = io::BufWriter::with_capacity(1 << 16, io::stdout().lock());
    let (mut count, mut failed) = (0u64, 0u64);
    let mut broken: Option<io::Error> = None;
    let options = opened.stream_options(size);
    predictor.stream(&mut opened, jobs, options, |at, outcome| {
        count += 1;
        failed += u64::from(outcome.is_err());
        progress.advance(1);
        let written = write_outcome(at as u64, &outcome, &signature, &mut stdout);
        match written.and_then(|()| {
            if count.is_multiple_of(size as u64) {
                stdout.flush()
            } else {
                Ok(())
            }
        }) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => {
                broken = Some(error);
                ControlFlow::Break(())
            }
        }
    });
    drop(progress);
    if let Some(error) = broken {
        return Err(error.into());
    }
    stdout.flush()?;
    told(count, failed, &opened, context)
}

fn told(count: u64, failed: u64, opened: &Opened, context: &Context) -> Result<(), Failure> {
    context.term.tell(format_args!(
        "ran {count} lines on {}, {failed} failed",
        opened.provider
    ));
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("{failed} of {count} lines failed"))
        .hint("each has its `error` in the answer"))
}

/// Gives the lines that are not blank; one that cannot be read is the last.
fn lines(mut reader: Box<dyn BufRead + Send>) -> impl Iterator<Item = Result<Vec<u8>, predict::Error>> + Send {
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            let mut line = Vec::new();
            match reader.read_until(b'\n', &mut line) {
                Ok(0) => ended = true,
                Ok(_) if line.trim_ascii().is_empty() => {}
                Ok(_) => return Some(Ok(line)),
                Err(error) => {
                    ended = true;
                    return Some(Err(predict::Error::Request(Box::new(error))));
                }
            }
        }
        None
    })
}

/// Reads a line: a JSON object by name, a JSON text, or the text as it is.
fn line_request(line: &[u8], sources: &[Source], signature: &Signature) -> Result<Request, predict::Error> {
    let refused = |error: Box<dyn std::error::Error + Send + Sync>| predict::Error::Request(error);
    let text = std::str::from_utf8(line).map_err(|error| refused(error.into()))?;
    let text = text.trim_end_matches(['\n', '\r']);
    let item = |source: &Source, text: String| match source.modality {
        Modality::Picture | Modality::Sound => match fs::read(Path::new(&text)) {
            Ok(bytes) if source.modality == Modality::Sound => Ok(Item::Sound(bytes)),
            Ok(bytes) => Ok(Item::Picture(bytes)),
            Err(error) => Err(refused(error.into())),
        },
        Modality::Text => Ok(Item::Text(text)),
    };
    let start = text.trim_start();
    if let ([source], false) = (sources, start.starts_with('{')) {
        let text = match start.starts_with('"') {
            true => serde_json::from_str(text).map_err(|error| refused(error.into()))?,
            false => text.to_owned(),
        };
        return Ok(Request {
            items: vec![(source.name.clone(), item(source, text)?)],
        });
    }
    let map: serde_json::Map<String, serde_json::Value> =
        serde_json::from_str(text).map_err(|error| refused(error.into()))?;
    let mut request = Request::default();
    for (name, value) in map {
        let named = sources.iter().find(|source| source.label() == name);
        request.items.push(match (named, value) {
            (Some(source), serde_json::Value::String(text)) => (source.name.clone(), item(source, text)?),
            (Some(source), serde_json::Value::Array(pair)) if source.modality == Modality::Text => {
                let (first, second) = serde_json::from_value(pair.into()).map_err(|error| refused(error.into()))?;
                (source.name.clone(), Item::Pair(first, second))
            }
            (_, value) => {
                let port = signature.input(&name).ok_or_else(|| pipeline::Error::Unknown {
                    name: name.clone(),
                    known: sources.iter().map(Source::label).collect(),
                })?;
                let tensor = json::decode(&value, port).map_err(|error| refused(error.into()))?;
                (Some(name), Item::Tensor(tensor))
            }
        });
    }
    Ok(request)
}

fn write_outcome(at: u64, outcome: &Outcome, signature: &Signature, to: &mut dyn Write) -> io::Result<()> {
    match outcome {
        Ok(Output::Record(record)) => writeln!(to, "{}", json!({"index": at, "answer": record})),
        Ok(Output::Tensors(tensors)) => {
            let outputs: Vec<(&Port, &Tensor)> = signature.outputs.iter().zip(tensors).collect();
            write!(to, "{{\"index\":{at},\"outputs\":")?;
            write_outputs(&outputs, to)?;
            writeln!(to, "}}")
        }
        Err(error) => writeln!(to, "{}", json!({"index": at, "error": explain(error)})),
    }
}

/// Reads up to `count` lines that are not blank.
fn read_lines(reader: &mut dyn BufRead, count: usize) -> io::Result<Vec<Vec<u8>>> {
    let mut lines = Vec::new();
    while lines.len() < count {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        if !line.trim_ascii().is_empty() {
            lines.push(line);
        }
    }
    Ok(lines)
}

/// Answers some lines, stacked where they can be.
fn answer(
    opened: &mut Opened,
    signature: &Signature,
    stacking: Option<&Stacking>,
    lines: &[Vec<u8>],
) -> Vec<LineOutcome> {
    let mut outcomes: Vec<LineOutcome> = lines.iter().map(|line| decode(line, signature)).collect();
    let decoded: Vec<usize> = (0..outcomes.len()).filter(|&at| outcomes[at].is_ok()).collect();
    let Some(stacking) = stacking else {
        for at in decoded {
            outcomes[at] = take(&mut outcomes[at]).and_then(|inputs| run_one(opened, inputs));
        }
        return outcomes;
    };
    let requests: Vec<Vec<Tensor>> = decoded.iter().filter_map(|&at| take(&mut outcomes[at]).ok()).collect();
    let candidates: Vec<_> = requests.iter().map(|request| stacking.candidate(request)).collect();
    for stack in plan(&candidates, lines.len()) {
        let members: Vec<&[Tensor]> = stack.iter().map(|&at| requests[at].as_slice()).collect();
        match run_stack(opened, stacking, &members) {
            Some(answers) => {
                for (&at, answer) in stack.iter().zip(answers) {
                    outcomes[decoded[at]] = Ok(answer);
                }
            }
            // One bad request must not fail its neighbours.
            None => {
                for &at in &stack {
                    outcomes[decoded[at]] = run_one(opened, requests[at].clone());
                }
            }
        }
    }
    outcomes
}

fn take(outcome: &mut LineOutcome) -> LineOutcome {
    std::mem::replace(outcome, Ok(Vec::new()))
}

/// Reads `{NAME: VALUE, …}`; for a model of one input, a bare value will do.
fn decode(line: &[u8], signature: &Signature) -> LineOutcome {
    let is_map = line.trim_ascii_start().first() == Some(&b'{');
    match signature.inputs.as_slice() {
        [port] if !is_map => json::decode_text(line, port)
            .map(|tensor| vec![tensor])
            .map_err(|error| explain(&error)),
        ports => json::decode_map(line, ports).map_err(|error| explain(&error)),
    }
}

fn run_one(opened: &mut Opened, inputs: Vec<Tensor>) -> LineOutcome {
    let values: Vec<Value> = inputs.into_iter().map(Value::from).collect();
    match opened.run(&values) {
        Ok(outputs) => Ok(outputs.into_iter().filter_map(Value::into_host).collect()),
        Err(error) => Err(explain(&error)),
    }
}

/// Runs several requests as one; `None` where they have to be run one by one.
fn run_stack(opened: &mut Opened, stacking: &Stacking, requests: &[&[Tensor]]) -> Option<Vec<Vec<Tensor>>> {
    if requests.len() < 2 {
        return None;
    }
    let stack = stacking.stack(requests).ok()?;
    let outputs = run_one(opened, stack.inputs).ok()?;
    stacking.unstack(outputs, &stack.shares).ok()
}

fn write_line(index: u64, outcome: &LineOutcome, signature: &Signature, to: &mut dyn Write) -> io::Result<()> {
    match outcome {
        Ok(tensors) => {
            let outputs: Vec<(&Port, &Tensor)> = signature.outputs.iter().zip(tensors).collect();
            write!(to, "{{\"index\":{index},\"outputs\":")?;
            write_outputs(&outputs, to)?;
            writeln!(to, "}}")
        }
        Err(error) => writeln!(to, "{}", json!({"index": index, "error": error})),
    }
}
