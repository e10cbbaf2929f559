//! Whole answers measured: what people have goes in, and is prepared on other threads while the model answers.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use super::{Args, Measured, Report, fitting};
use crate::commands::given::{self, Arguments};
use crate::commands::opened::Opened;
use crate::commands::{Code, Context, Failure, OrFail};
use crate::predict::{Job, Outcome, Predictor, Request};

/// Answers the values again and again.
///
/// Shape: a time is that of a call of `--batch` values, from the answers before it to its own.
/// Errors: the model has no steps or generates text; a value has no answer.
pub(super) fn measure(args: &Args, mut opened: Opened, context: &Context) -> Result<Report, Failure> {
    let pipeline = opened.subject.pipeline(context)?.ok_or_else(|| {
        Failure::new(
            Code::Usage,
            format!("`{}` takes tensors, and makes none of a value", args.operand),
        )
        .hint("the GPUXfile has no steps for inputs: leave the values out, or give --input NAME=@x.npy")
    })?;
    let signature = pipeline.signature().clone();
    let arguments = Arguments {
        values: &args.values,
        single: &[],
        map: None,
        pair: false,
    };
    let mut requests: Vec<Request> = Vec::new();
    for one in given::read(arguments, Some(&pipeline), &signature)? {
        let request = (one.job)().or_fail(|| format!("cannot read `{}`", one.label))?;
        requests.push(request);
    }
    let predictor = Predictor::new(pipeline);
    let batch = match predictor.unstackable() {
        Some(reason) if args.batch > 1 => {
            context.term.warn(format_args!("--batch has no effect: {reason}"));
            1
        }
        _ => args.batch as usize,
    };
    let shapes = shapes(&predictor, &requests)?;
    let first_run = timed(|| answer(&predictor, &mut opened, &requests, (batch, 1)).map(drop))?;
    let mut shortest = first_run;
    for _ in 1..args.warmup {
        shortest = shortest.min(timed(|| {
            answer(&predictor, &mut opened, &requests, (batch, 1)).map(drop)
        })?);
    }
    let runs = args.runs.unwrap_or_else(|| fitting(shortest)) as usize;
    let start = Instant::now();
    let times = answer(&predictor, &mut opened, &requests, (batch, runs))?;
    let elapsed = start.elapsed();
    let measured = Measured {
        batch: batch as u32,
        shapes,
        sessions: 1,
        values: requests.len(),
        first_run,
        times,
        elapsed,
    };
    Ok(measured.report(args, &opened, &[args.engine.device()], context))
}

/// Gives the shapes of a call of the first value.
fn shapes(
    predictor: &Predictor,
    requests: &[Request],
) -> Result<std::collections::BTreeMap<String, Vec<usize>>, Failure> {
    let what = || "cannot prepare the first value".to_owned();
    let pipeline = predictor.pipeline();
    let prepared = pipeline.prepare(&requests[0]).or_fail(what)?;
    let tensors = pipeline.join(&[&prepared]).or_fail(what)?;
    let names = pipeline
        .signature()
        .inputs
        .iter()
        .map(|port| port.name.as_str().to_owned());
    Ok(names
        .zip(tensors.iter().map(|tensor| tensor.shape().to_vec()))
        .collect())
}

fn timed(work: impl FnOnce() -> Result<(), Failure>) -> Result<Duration, Failure> {
    let start = Instant::now();
    work()?;
    Ok(start.elapsed())
}

/// Answers that many calls of a stream of the requests in turn; gives the time of each.
fn answer(
    predictor: &Predictor,
    opened: &mut Opened,
    requests: &[Request],
    (batch, calls): (usize, usize),
) -> Result<Vec<Duration>, Failure> {
    let jobs = requests.iter().cycle().take(batch * calls).map(|request| {
        let request = request.clone();
        Box::new(move || Ok(request)) as Job
    });
    let jobs: Box<dyn Iterator<Item = Job> + Send> = Box::new(jobs);
    let mut times = Vec::with_capacity(calls);
    let mut failed = None;
    let mut last = Instant::now();
    let options = opened.stream_options(batch);
    predictor.stream(opened, jobs, options, |at, outcome: Outcome| {
        if let Err(error) = outcome {
            failed = Some(error);
            return ControlFlow::Break(());
        }
        if (at + 1).is_multiple_of(batch) {
            times.push(last.elapsed());
            last = Instant::now();
        }
        ControlFlow::Continue(())
    });
    match failed {
        Some(error) => Err(error).or_fail(|| "a value has no answer".to_owned()),
        None => Ok(times),
    }
}
