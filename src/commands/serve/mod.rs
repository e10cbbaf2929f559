mod access;
mod gpus;
pub mod models;
pub mod place;
mod seen;
mod token;
pub mod tuning;
pub mod warming;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
#[cfg(unix)]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::commands::opened::EngineArgs;
use crate::commands::serving::{Here, Served, Wishes};
use crate::commands::{Code, Context, Failure, OrFail};
use crate::gpuxfile;
use crate::runtime::usable_threads;
#[cfg(unix)]
use crate::serve::worker;
use crate::serve::{self, Bounds, Event, ModelSource, Origins, ServerOptions, State};
use crate::term::{Status, Term};

use access::AccessArgs;
use seen::SeenArgs;

/// Serve models over HTTP and gRPC, with the Open Inference Protocol v2
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    after_help = "\
Examples:
  gpux serve digits:1.0.0
  gpux serve ghcr.io/me/resnet:1 small=./resnet18 --max-batch-size 16 --max-queue-delay 2ms
  curl localhost:8000/v2/models/digits
  gpux serve token create --tenant acme
SIGTERM and Ctrl-C end it once the requests that came are answered."
)]
pub struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
    /// What to serve: a reference, a folder with a GPUXfile or MODEL.onnx; NAME= gives it another name
    #[arg(value_name = "[NAME=]REF", required = true)]
    models: Vec<String>,
    /// The address to listen on; without it 127.0.0.1
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// The port of HTTP; 0 takes any that is free; without it 8000
    #[arg(long)]
    port: Option<u16>,
    /// The port of gRPC; 0 takes any that is free
    #[arg(long, default_value_t = 8001, value_name = "PORT")]
    grpc_port: u16,
    /// Speak no gRPC
    #[arg(long, conflicts_with = "grpc_port")]
    no_grpc: bool,
    /// The port of the metrics; 0 takes any that is free
    #[arg(long, default_value_t = 8002, value_name = "PORT")]
    metrics_port: u16,
    /// Serve no metrics
    #[arg(long, conflicts_with = "metrics_port")]
    no_metrics: bool,
    /// The most rows of one call: requests that fit together are joined up to it; 1 joins none
    #[arg(long, value_name = "ROWS", value_parser = clap::value_parser!(u32).range(1..))]
    max_batch_size: Option<u32>,
    /// How long a request waits for others to join it, such as 2ms
    #[arg(long, value_name = "TIME", value_parser = time)]
    max_queue_delay: Option<Duration>,
    /// How many requests of a model may wait; more are answered 429
    #[arg(long, value_name = "REQUESTS", value_parser = clap::value_parser!(u32).range(1..))]
    queue_size: Option<u32>,
    /// Sessions beside each other, each on a thread of its own
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1024))]
    instances: Option<u32>,
    /// The longest time from the arrival of a request to its answer, such as 500ms, 30s
    #[arg(long, value_name = "TIME", value_parser = time)]
    request_timeout: Option<Duration>,
    /// The longest body of a request
    #[arg(long, value_name = "SIZE", default_value = "64MiB", value_parser = size)]
    max_body: u64,
    /// A name that the server goes by, beside localhost and IP addresses; may be repeated
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// A site whose pages may call the server, such as https://lab.example; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// How long requests may take to end once the server is told to stop
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = time)]
    drain: Duration,
    /// Load the models into this process, and not each into one of its own: a few microseconds less a call, and a model
    /// that breaks takes the server with it
    #[arg(long)]
    in_process: bool,
    /// Be the worker of this model
    #[arg(long, hide = true, value_name = "REF")]
    worker: Option<String>,
    /// The artifact of the store that the worker loads, whatever its name means by now
    #[arg(long, hide = true, value_name = "JSON", requires = "worker")]
    worker_descriptor: Option<String>,
    #[command(flatten)]
    lifetimes: models::ModelArgs,
    #[command(flatten)]
    access: AccessArgs,
    #[command(flatten)]
    seen: SeenArgs,
    #[command(flatten)]
    engine: EngineArgs,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Token(token::Args),
}

/// Serves until it is told to stop.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Some(Verb::Token(args)) = args.verb {
        return token::run(args, context);
    }
    let wishes = Wishes {
        max_batch_size: args.max_batch_size.map(|rows| rows as usize),
        max_queue_delay: args.max_queue_delay,
        queue_size: args.queue_size.map(|size| size as usize),
        instances: args.instances.map(|count| count as usize),
        timeout: args.request_timeout,
        in_process: args.in_process,
        warm_up: !args.lifetimes.no_warm_up,
        tune: !args.lifetimes.no_tune,
        devices: args.lifetimes.devices.clone(),
    };
    #[cfg(unix)]
    if let Some(operand) = &args.worker {
        return work(&args, operand, &wishes, context);
    }
    let served = Served::find(&args.models, &args.engine, wishes, context)?;
    let (own_host, own_port) = served.address()?;
    let host = args.host.or(own_host).unwrap_or(Ipv4Addr::LOCALHOST.into());
    let access = args.access.for_host(host, context)?;
    args.lifetimes.check_control(&access)?;
    let options = ServerOptions {
        threads: usable_threads(),
        http: SocketAddr::new(host, args.port.or(own_port).unwrap_or(8000)),
        grpc: (!args.no_grpc).then(|| SocketAddr::new(host, args.grpc_port)),
        metrics: (!args.no_metrics).then(|| SocketAddr::new(host, args.metrics_port)),
        bounds: Bounds::default(),
        most_body_bytes: usize::try_from(args.max_body).unwrap_or(usize::MAX),
        origins: Origins {
            hosts: args.allow_host,
            sites: args.allow_origin,
        },
        access,
        drain: args.drain,
        policy: args.lifetimes.policy(&served.models())?,
        is_controlled: args.lifetimes.model_control,
        watch: args.lifetimes.watch,
        watch_registries: args.lifetimes.watch_registry,
        telemetry: args.seen.options(context)?,
    };
    let term = context.term;
    let status = Status::new(&term);
    let tell = Arc::new(move |event: Event| match event {
        Event::Pulse(pulses) => seen::show(&status, &pulses),
        event => {
            if matches!(event, Event::Draining) {
                status.end();
            }
            status.aside(|| report(&term, &event));
        }
    });
    serve::run(&options, Arc::new(served), tell).or_fail(|| "cannot serve".into())
}

/// Is a worker: loads one model, and answers for it on stdin.
#[cfg(unix)]
fn work(args: &Args, operand: &str, wishes: &Wishes, context: &Context) -> Result<(), Failure> {
    let is_held = worker::restrict_files(&places(operand, context));
    let descriptor = args.worker_descriptor.as_deref();
    let engine = &args.engine;
    let here = Here {
        operand,
        engine,
        wishes,
        context,
    };
    let load = || here.load_in_worker(descriptor).map_err(serve::SourceError::from);
    worker::serve(is_held, load).or_fail(|| "the server cannot be spoken to".into())
}

/// Says what of the file system a model, its engine and its driver need.
#[cfg(unix)]
fn places(operand: &str, context: &Context) -> worker::Places {
    const SYSTEM: [&str; 12] = [
        "/bin", "/etc", "/lib", "/lib32", "/lib64", "/opt", "/proc", "/run", "/sbin", "/sys", "/usr", "/var/lib",
    ];
    let env = &context.env;
    let mut read: Vec<PathBuf> = SYSTEM.iter().map(PathBuf::from).collect();
    let path = env.current_dir.join(operand);
    read.extend(if path.is_dir() {
        Some(path)
    } else {
        path.parent().map(PathBuf::from)
    });
    read.extend(env.executable_dir.clone());
    read.extend(env.python_environments.iter().cloned());
    let library = env.ort_dylib_path.as_ref().map(|path| env.current_dir.join(path));
    read.extend(library.as_deref().and_then(Path::parent).map(PathBuf::from));
    read.extend(env.library_folders.iter().cloned());
    read.extend(env.home.clone());
    // A driver names its threads in /proc/self, and speaks to the kernel through /dev.
    let mut write = vec![PathBuf::from("/dev"), PathBuf::from("/proc/self")];
    if let Some(home) = &env.home {
        write.extend(["cache", "leases", "store.lock"].map(|name| home.join(name)));
    }
    worker::Places { read, write }
}

fn report(term: &Term, event: &Event) {
    match event {
        Event::Listening {
            http,
            grpc,
            metrics,
            is_tls,
        } => {
            let scheme = if *is_tls { "https" } else { "http" };
            term.tell(format_args!("serving on {scheme}://{http}"));
            if let Some(grpc) = grpc {
                term.tell(format_args!("gRPC on {grpc}"));
            }
            if let Some(metrics) = metrics {
                term.tell(format_args!("metrics on {scheme}://{metrics}/metrics"));
            }
        }
        Event::Model { name, version, state } => match state {
            State::Ready(model) => {
                let joined = match (model.settings().max_batch_size, model.unstackable()) {
                    (1, _) => String::new(),
                    (rows, None) if model.fills_up() => {
                        format!(", up to {rows} rows a call, shorter texts filled up")
                    }
                    (rows, None) => format!(", up to {rows} rows a call"),
                    (_, Some(reason)) => format!(", requests are not joined: {reason}"),
                };
                term.tell(format_args!(
                    "{name}:{version} is ready on {}{joined}",
                    model.provider()
                ));
            }
            State::Failed(error) => term.warn(format_args!("{name}:{version} cannot be served: {error}")),
            State::Asleep(_) => term.tell(format_args!("{name}:{version} sleeps until it is called")),
            State::Unloaded => term.tell(format_args!("{name}:{version} is unloaded")),
            State::Loading | State::Waking(_) => {}
        },
        Event::Reloaded(reloaded) => access::report(term, reloaded),
        Event::Replaced { model, from } => term.tell(format_args!(
            "{}:{} is {} from now on, and was {from}",
            model.name(),
            model.version(),
            model.digest()
        )),
        Event::Kept { name, version, why } => {
            term.warn(format_args!("{name}:{version} stays as it is: {why}"));
        }
        Event::Draining => term.tell("finishing the requests that came"),
        Event::Pulse(_) => {}
    }
}

fn time(text: &str) -> Result<Duration, String> {
    gpuxfile::duration(text).ok_or_else(|| format!("`{text}` is not a time such as 2ms, 30s or 2m"))
}

fn size(text: &str) -> Result<u64, String> {
    gpuxfile::memory(text).ok_or_else(|| format!("`{text}` is not a size such as 512kB or 64MiB"))
}
