use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use serde_json::json;

use crate::fs;
use crate::predict::batch::{Stacking, plan};
use crate::runtime::Value;
use crate::tensor::{Port, Signature, Tensor, json};
use crate::term::Progress;

use super::answer::write_outputs;
use super::failure::chain;
use super::opened::Opened;
use super::{Code, Context, Failure, OrFail};

/// What a request came to: its outputs, or why there are none.
type Outcome = Result<Vec<Tensor>, String>;

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
    context.term.tell(format_args!(
        "ran {index} lines on {}, {failed} failed",
        opened.provider
    ));
    if failed == 0 {
        return Ok(());
    }
    Err(Failure::new(Code::Failed, format!("{failed} of {index} lines failed"))
        .hint("each has its `error` in the answer"))
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
fn answer(opened: &mut Opened, signature: &Signature, stacking: Option<&Stacking>, lines: &[Vec<u8>]) -> Vec<Outcome> {
    let mut outcomes: Vec<Outcome> = lines.iter().map(|line| decode(line, signature)).collect();
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

fn take(outcome: &mut Outcome) -> Outcome {
    std::mem::replace(outcome, Ok(Vec::new()))
}

/// Reads `{NAME: VALUE, …}`; for a model of one input, a bare value will do.
fn decode(line: &[u8], signature: &Signature) -> Outcome {
    let is_map = line.trim_ascii_start().first() == Some(&b'{');
    match signature.inputs.as_slice() {
        [port] if !is_map => json::decode_text(line, port)
            .map(|tensor| vec![tensor])
            .map_err(|error| explain(&error)),
        ports => json::decode_map(line, ports).map_err(|error| explain(&error)),
    }
}

fn run_one(opened: &mut Opened, inputs: Vec<Tensor>) -> Outcome {
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
    let (inputs, rows) = stacking.stack(requests).ok()?;
    let outputs = run_one(opened, inputs).ok()?;
    stacking.unstack(outputs, &rows).ok()
}

fn write_line(index: u64, outcome: &Outcome, signature: &Signature, to: &mut dyn Write) -> io::Result<()> {
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

/// Writes an error and its causes on one line.
fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes: Vec<String> = chain(Some(error)).map(ToString::to_string).collect();
    causes.join(": ")
}
