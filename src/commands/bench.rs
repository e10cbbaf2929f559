use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::fs;
use crate::provider::counted;
use crate::runtime::{ProviderKind, Value};
use crate::tensor::Tensor;
use crate::term::{Align, Table, bar, bytes, duration};

use super::answer::milliseconds;
use super::latency::Latency;
use super::opened::{EngineArgs, Opened, Purpose};
use super::subject::Subject;
use super::synthetic::{self, Sizes};
use super::trial::Request;
use super::{Code, Context, Failure, OrFail, html, inputs, offers, tuned};

mod answering;

/// Measure a model: load, latency, throughput, memory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to measure: NAME[:TAG], a folder with a GPUXfile, or MODEL.onnx
    #[arg(value_name = "REF|DIR|MODEL.onnx")]
    operand: String,
    /// What to answer again and again, as for `gpux run`: pictures, texts or sounds, prepared while the model answers others
    #[arg(value_name = "VALUE", conflicts_with_all = ["inputs", "dims", "concurrency", "devices"])]
    values: Vec<String>,
    /// Size of the first dimension of every input, where it is dynamic
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Size of a dynamic dimension, as NAME=SIZE; may be repeated
    #[arg(long = "dim", value_name = "NAME=SIZE", value_parser = dimension)]
    dims: Vec<(String, usize)>,
    /// An input to measure with, as for `gpux run`; without it inputs are made up
    #[arg(long = "input", short, value_name = "[NAME=]VALUE")]
    inputs: Vec<String>,
    /// Runs to measure; without it as many as fit in three seconds, at least 10 and at most 10000
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=10_000_000))]
    runs: Option<u32>,
    /// Sessions that run at the same time, each on a thread of its own: what one call at a time leaves unused shows
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=64))]
    concurrency: u32,
    /// Devices to measure at the same time, by their numbers: one session on each, or --concurrency on each
    #[arg(long, value_name = "N,…", value_delimiter = ',', conflicts_with = "device")]
    devices: Vec<u32>,
    /// Runs before the measured ones
    #[arg(long, default_value_t = 5)]
    warmup: u32,
    /// Write a page with plots
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Measure what is chosen without tuning, instead of tuning for a few seconds first
    #[arg(long)]
    no_tune: bool,
    #[command(flatten)]
    engine: EngineArgs,
}

/// Is what a benchmark found.
#[derive(Debug)]
pub struct Report {
    pub model: String,
    pub provider: String,
    pub options: Vec<&'static str>,
    pub tuned: bool,
    /// The devices that were measured, each once.
    pub device: String,
    pub batch: u32,
    pub shapes: BTreeMap<String, Vec<usize>>,
    pub warmup: u32,
    pub concurrency: u32,
    /// How many things were answered again and again; 0 where tensors were given.
    pub values: usize,
    pub load: Duration,
    pub first_run: Duration,
    pub times: Vec<Duration>,
    /// From the start of the first measured run to the end of the last.
    pub elapsed: Duration,
    pub latency: Latency,
    pub peak_rss_bytes: u64,
    pub peak_anonymous_bytes: u64,
}

impl Report {
    /// Gives the samples answered a second.
    pub fn throughput_per_s(&self) -> f64 {
        let seconds = self.elapsed.as_secs_f64();
        if seconds == 0.0 {
            0.0
        } else {
            self.times.len() as f64 * f64::from(self.batch) / seconds
        }
    }

    /// Gives the JSON document of the contract.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "model": self.model,
            "provider": self.provider,
            "options": self.options,
            "tuned": self.tuned,
            "device": self.device,
            "batch": self.batch,
            "shapes": self.shapes,
            "concurrency": self.concurrency,
            "values": self.values,
            "warmup": self.warmup,
            "runs": self.times.len(),
            "load_ms": milliseconds(self.load),
            "first_run_ms": milliseconds(self.first_run),
            "latency_ms": self.latency.to_json(),
            "throughput_per_s": (self.throughput_per_s() * 100.0).round() / 100.0,
            "peak_rss_bytes": self.peak_rss_bytes,
            "peak_anonymous_bytes": self.peak_anonymous_bytes,
        })
    }
}

/// Measures the model and prints the report.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if !args.inputs.is_empty() && !args.dims.is_empty() {
        return Err(Failure::new(
            Code::Usage,
            "--dim has no meaning beside --input, whose shapes are given",
        ));
    }
    let mut engine = args.engine.clone();
    let devices = devices(&args)?;
    engine.set_device(devices[0]);
    prepare(&args, &mut engine, context)?;
    let mut opened = Opened::open(&args.operand, &engine, Purpose::Many, context)?;
    if !args.values.is_empty() {
        return finish(answering::measure(&args, opened, context)?, &args, context);
    }
    if devices.len() > 1 && !opened.provider.has_devices() {
        let what = format!("--devices has no meaning for {}, which has one", opened.provider);
        return Err(Failure::new(Code::Usage, what).hint("--provider cuda measures on graphics processors"));
    }
    let signature = opened.session.signature().clone();
    let tensors = if args.inputs.is_empty() {
        let symbols = args.dims.iter().cloned().collect();
        synthetic::inputs(
            &signature,
            &Sizes {
                batch: args.batch as usize,
                symbols,
            },
        )?
    } else {
        inputs::read(&args.inputs, None, &signature)?
    };
    let batch = if args.inputs.is_empty() {
        args.batch
    } else {
        leading_size(&tensors)
    };
    let names = signature.inputs.iter().map(|port| port.name.as_str().to_owned());
    let shapes = names
        .zip(tensors.iter().map(|tensor| tensor.shape().to_vec()))
        .collect();

    let (first_run, typical) = warm_up(&mut opened, &tensors, args.warmup)?;
    let sessions = args.concurrency * devices.len() as u32;
    let mut others = Vec::new();
    for at in 1..sessions {
        let mut engine = engine.clone();
        engine.set_device(devices[at as usize % devices.len()]);
        others.push(Opened::open(&args.operand, &engine, Purpose::Many, context)?);
    }
    let runs = args.runs.unwrap_or_else(|| fitting(typical)).div_ceil(sessions);
    let (times, elapsed) = measure((&mut opened, &mut others), &tensors, (args.warmup, runs))?;
    let measured = Measured {
        batch,
        shapes,
        sessions,
        values: 0,
        first_run,
        times,
        elapsed,
    };
    finish(measured.report(&args, &opened, &devices, context), &args, context)
}

/// Is what was measured of a loaded model.
struct Measured {
    batch: u32,
    shapes: BTreeMap<String, Vec<usize>>,
    sessions: u32,
    values: usize,
    first_run: Duration,
    times: Vec<Duration>,
    elapsed: Duration,
}

impl Measured {
    fn report(self, args: &Args, opened: &Opened, devices: &[u32], context: &Context) -> Report {
        let memory = opened.watchdog.peak();
        Report {
            model: args.operand.clone(),
            provider: opened.provider.to_string(),
            options: opened.settings.names(),
            tuned: opened.tuned,
            device: device_names(opened.provider, devices, context),
            batch: self.batch,
            shapes: self.shapes,
            concurrency: self.sessions,
            values: self.values,
            warmup: args.warmup,
            load: opened.load,
            first_run: self.first_run,
            latency: Latency::new(self.times.clone()),
            times: self.times,
            elapsed: self.elapsed,
            peak_rss_bytes: memory.resident_bytes,
            peak_anonymous_bytes: memory.anonymous_bytes,
        }
    }
}

/// Writes the page, and prints the report.
fn finish(report: Report, args: &Args, context: &Context) -> Result<(), Failure> {
    if let Some(path) = &args.html {
        fs::replace(path, html::page(&report).as_bytes()).or_fail(|| format!("cannot write `{}`", path.display()))?;
        context.term.tell(format_args!("wrote {}", path.display()));
    }
    if context.term.json_or_piped() {
        context.term.data(report.to_json())?;
    } else {
        print(&report, context)?;
    }
    Ok(())
}

/// Learns the shapes of the inputs, and tunes in short where the choice is gpux's and nothing is known of these shapes.
fn prepare(args: &Args, engine: &mut EngineArgs, context: &Context) -> Result<(), Failure> {
    let subject = Subject::open(&args.operand, context)?;
    let listed = subject
        .gpuxfile
        .as_ref()
        .is_some_and(|gpuxfile| !gpuxfile.runtime.providers.is_empty());
    if args.no_tune
        || !args.values.is_empty()
        || listed
        || !engine.leaves_choice()
        || args.inputs.iter().any(|input| input.ends_with("@-"))
    {
        return Ok(());
    }
    let request = Request {
        inputs: args.inputs.clone(),
        batch: args.batch,
        dims: args.dims.clone(),
        ..Request::of(&args.operand, engine.device())
    };
    engine.shapes = Some(tuned::ensure(request, &subject, engine, context)?);
    Ok(())
}

fn values(tensors: &[Tensor]) -> Vec<Value> {
    tensors.iter().cloned().map(Value::from).collect()
}

/// Runs a session that many times, once at least; gives the time of the first run and the shortest of all.
fn warm_up(opened: &mut Opened, tensors: &[Tensor], runs: u32) -> Result<(Duration, Duration), Failure> {
    let values = values(tensors);
    let first = time_one(opened, &values)?;
    let mut shortest = first;
    for _ in 1..runs {
        shortest = shortest.min(time_one(opened, &values)?);
    }
    Ok((first, shortest))
}

/// Runs each session that many times, all at the same time; gives the time of every run, and how long all took.
///
/// The first session is warm; each of the others warms up on the thread that it is measured on, since a recorded graph
/// belongs to its thread.
fn measure(
    (first, others): (&mut Opened, &mut [Opened]),
    tensors: &[Tensor],
    (warmup, runs): (u32, u32),
) -> Result<(Vec<Duration>, Duration), Failure> {
    let barrier = Barrier::new(1 + others.len());
    let measure_one =
        |opened: &mut Opened, warmup: Option<u32>| -> Result<(Vec<Duration>, Instant, Instant), Failure> {
            let values = values(tensors);
            let warm = warmup.map_or(Ok(()), |runs| warm_up(opened, tensors, runs).map(drop));
            // One that failed must come here too, or the others wait for it without end.
            barrier.wait();
            warm?;
            let start = Instant::now();
            let times = (0..runs).map(|_| time_one(opened, &values)).collect::<Result<_, _>>()?;
            Ok((times, start, Instant::now()))
        };
    let measured: Vec<_> = std::thread::scope(|scope| {
        let measure_one = &measure_one;
        let threads: Vec<_> = others
            .iter_mut()
            .map(|opened| scope.spawn(move || measure_one(opened, Some(warmup))))
            .collect();
        let own = measure_one(first, None);
        let others = threads.into_iter().map(|thread| match thread.join() {
            Ok(measured) => measured,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        std::iter::once(own).chain(others).collect()
    });
    let (mut times, mut first, mut last) = (Vec::new(), None, None);
    for one in measured {
        let (mut its, start, end) = one?;
        times.append(&mut its);
        first = first.min(Some(start)).or(Some(start));
        last = last.max(Some(end));
    }
    let elapsed = last.zip(first).map_or(Duration::ZERO, |(last, first)| last - first);
    Ok((times, elapsed))
}

/// Gives the devices that are measured, each once.
fn devices(args: &Args) -> Result<Vec<u32>, Failure> {
    let mut devices = args.devices.clone();
    devices.sort_unstable();
    devices.dedup();
    if devices.len() != args.devices.len() {
        return Err(Failure::new(Code::Usage, "--devices names a device twice")
            .hint("--concurrency 2 makes two sessions on each device"));
    }
    Ok(match devices.is_empty() {
        true => vec![args.engine.device()],
        false => devices,
    })
}

/// Names devices, those of one name once with their number.
fn device_names(provider: ProviderKind, devices: &[u32], context: &Context) -> String {
    let devices = devices.iter();
    let names: Vec<String> = devices
        .map(|&device| offers::device(provider, device, context))
        .collect();
    counted(&names).unwrap_or_default()
}

fn time_one(opened: &mut Opened, values: &[Value]) -> Result<Duration, Failure> {
    let start = Instant::now();
    let outputs = opened
        .run(values)
        .or_fail(|| format!("cannot run `{}`", opened.label))?;
    let time = start.elapsed();
    drop(outputs);
    Ok(time)
}

/// Gives the number of runs that fit in three seconds.
fn fitting(one: Duration) -> u32 {
    const BUDGET: Duration = Duration::from_secs(3);
    let runs = BUDGET.as_secs_f64() / one.as_secs_f64().max(1e-9);
    runs.clamp(10.0, 10_000.0) as u32
}

fn leading_size(tensors: &[Tensor]) -> u32 {
    let size = tensors
        .first()
        .and_then(|tensor| tensor.shape().first())
        .copied()
        .unwrap_or(1);
    u32::try_from(size.max(1)).unwrap_or(u32::MAX)
}

/// Reads `NAME=SIZE`.
pub fn dimension(text: &str) -> Result<(String, usize), String> {
    let wrong = || format!("`{text}` is not NAME=SIZE");
    let (name, size) = text.split_once('=').ok_or_else(wrong)?;
    Ok((name.to_owned(), size.parse().map_err(|_| wrong())?))
}

fn print(report: &Report, context: &Context) -> Result<(), Failure> {
    let latency = &report.latency;
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right)]);
    let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
    line("model", report.model.clone());
    line("provider", format!("{} ({})", report.provider, report.device));
    let mut options: Vec<&str> = report.options.clone();
    options.extend(report.tuned.then_some("tuned"));
    if !options.is_empty() {
        line("options", options.join(", "));
    }
    for (name, shape) in &report.shapes {
        line(&format!("input {name}"), format!("{shape:?}"));
    }
    line("load", duration(report.load));
    line("first run", duration(report.first_run));
    line(
        "runs",
        format!("{} after {} to warm up", report.times.len(), report.warmup),
    );
    if report.values > 0 {
        line("values", format!("{}, prepared on other threads", report.values));
    }
    if report.concurrency > 1 {
        line("sessions", format!("{} at the same time", report.concurrency));
    }
    line(
        "mean",
        format!("{} ± {}", duration(latency.mean()), duration(latency.std())),
    );
    for (name, time) in [
        ("min", latency.min()),
        ("p50", latency.quantile(0.50)),
        ("p95", latency.quantile(0.95)),
        ("p99", latency.quantile(0.99)),
        ("max", latency.max()),
    ] {
        line(name, duration(time));
    }
    line("throughput", format!("{:.1}/s", report.throughput_per_s()));
    line(
        "peak memory",
        format!(
            "{}, {} anonymous",
            bytes(report.peak_rss_bytes),
            bytes(report.peak_anonymous_bytes)
        ),
    );
    context.term.data(table)?;

    let bins = latency.histogram(12);
    let most = bins.iter().map(|bin| bin.count).max().unwrap_or(1).max(1);
    let mut plot = Table::new(&[
        ("LATENCY FROM", Align::Right),
        ("RUNS", Align::Right),
        ("", Align::Left),
    ]);
    for bin in bins {
        plot.row([
            duration(bin.from),
            bin.count.to_string(),
            bar(bin.count as f64 / most as f64, 40),
        ]);
    }
    context.term.data(format_args!("\n{plot}"))?;
    Ok(())
}
