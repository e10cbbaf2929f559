use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::gpuxfile;
use crate::oci::Digest;
use crate::predict::{Model, StreamOptions};
use crate::runtime::{
    self, Call, Cancel, Configuration, GraphCache, Limits, Optimization, Phase, ProviderKind, ProviderOrder, Refused,
    Requirement, Selection, Session, SessionOptions, Settings, Source, Value, Watchdog, select,
};
use crate::tensor::Signature;

use super::subject::{Other, Subject};
use super::{Context, Failure, OrFail, first_run, limit, machine, offers, tuned};

/// Says how a model is run; shared by the verbs that run one.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Engine options")]
pub struct EngineArgs {
    /// Providers to try, best first, with commas: auto, or names such as cuda, openvino, cpu, embedded
    #[arg(long, short, value_name = "NAME,…")]
    provider: Option<ProviderOrder>,
    /// Fail unless the model runs on a GPU, or on this provider
    #[arg(long, value_name = "gpu|NAME")]
    require: Option<Requirement>,
    /// The number of the device, where a provider has several
    #[arg(long, value_name = "N", default_value_t = 0)]
    device: u32,
    /// Compute as the model says: neither TF32 nor fp16, also where tuning found them faster
    #[arg(long)]
    exact: bool,
    /// Threads of one operator; without it, as many as this process may use
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=1024))]
    threads: Option<u32>,
    /// Deadline of one run, such as 500ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = time)]
    timeout: Option<Duration>,
    /// Deadline of loading the model; without it 60s
    #[arg(long, value_name = "TIME", value_parser = time)]
    load_timeout: Option<Duration>,
    /// Most memory to use beside mapped files, such as 512MB, 2GiB; without it 90 % of the machine's
    #[arg(long, value_name = "SIZE", value_parser = size)]
    memory: Option<u64>,
    /// Rearrange weights at load: slower to load, faster in batches; `bench` does it, `run` does not
    #[arg(long, value_name = "yes|no", num_args = 0..=1, default_missing_value = "yes", value_parser = yes_or_no)]
    prepack: Option<bool>,
    /// Keep the graph as it is fully optimized on disk, with the weights that this rearranges, for the next load
    #[arg(long)]
    cache_weights: bool,
    /// What a trial of tuning is made with.
    #[arg(skip)]
    pub configuration: Option<Configuration>,
    /// The shapes that the model will be given, where they are known.
    #[arg(skip)]
    pub shapes: Option<Shapes>,
    /// Whether it is to be told which provider has which node.
    #[arg(skip)]
    pub explain: bool,
}

/// The shape of each input, by its name.
pub type Shapes = BTreeMap<String, Vec<usize>>;

impl EngineArgs {
    /// Gives the arguments of a trial with this configuration.
    pub fn of_trial(configuration: Configuration, device: u32) -> Self {
        EngineArgs {
            provider: Some(ProviderOrder::Listed(vec![configuration.provider])),
            require: None,
            device,
            exact: false,
            threads: None,
            timeout: None,
            load_timeout: None,
            memory: None,
            prepack: None,
            cache_weights: false,
            configuration: Some(configuration),
            shapes: None,
            explain: false,
        }
    }

    /// Tells whether nobody said which provider it must be, so that tuning may choose.
    pub fn leaves_choice(&self) -> bool {
        self.provider.as_ref().is_none_or(|order| *order == ProviderOrder::Auto) && self.configuration.is_none()
    }

    /// Tells whether nothing may be computed in other formats than the model's.
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// Changes the number of the device.
    pub fn set_device(&mut self, device: u32) {
        self.device = device;
    }

    /// Gives the number of the device.
    pub fn device(&self) -> u32 {
        self.device
    }
}

/// Says how often the session will be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Once: the load counts.
    Once,
    /// Many times: the run counts.
    Many,
}

/// Is a model loaded into a session, under watch.
pub struct Opened {
    /// The model, as the user named it.
    pub label: String,
    /// Where it came from.
    pub subject: Subject,
    /// The session that answers.
    pub session: Box<dyn Session>,
    /// The sessions of the other models of the artifact, in the order of [`Subject::others`].
    pub others: Vec<Box<dyn Session>>,
    /// The provider that runs it.
    pub provider: ProviderKind,
    /// Threads of one operator, where they were said.
    threads: Option<usize>,
    /// What the session was made with.
    pub settings: Settings,
    /// Whether tuning chose it.
    pub tuned: bool,
    /// Those that come before it, and why they do not.
    pub refused: Vec<Refused>,
    /// How long the load took.
    pub load: Duration,
    /// Ends the process when a limit is broken.
    pub watchdog: Watchdog,
}

impl Opened {
    /// Opens what `operand` names and loads it with the first provider that can run it.
    pub fn open(operand: &str, args: &EngineArgs, purpose: Purpose, context: &Context) -> Result<Opened, Failure> {
        Opened::load(Subject::open(operand, context)?, operand, (args, purpose), context)
    }

    /// Loads a model that was found already; `operand` is what the user calls it.
    pub fn load(
        subject: Subject,
        operand: &str,
        (args, purpose): (&EngineArgs, Purpose),
        context: &Context,
    ) -> Result<Opened, Failure> {
        let wishes = subject.gpuxfile.as_ref().map(|gpuxfile| &gpuxfile.runtime);
        let order = match (&args.provider, wishes.map(|wishes| wishes.providers.as_slice())) {
            (Some(order), _) => order.clone(),
            (None, Some(names @ [_, ..])) => listed(names)?,
            (None, _) => ProviderOrder::Auto,
        };
        if order == ProviderOrder::Auto {
            first_run::prepare(context)?;
        }
        let threads = args
            .threads
            .map(u64::from)
            .or(wishes.and_then(|wishes| Some(wishes.threads.as_ref()?.value)))
            .and_then(|threads| usize::try_from(threads).ok());
        let asked = Limits {
            load: args.load_timeout.or(Limits::default().load),
            run: args.timeout,
            memory_bytes: args.memory,
        };
        let wished = Limits {
            load: None,
            run: wishes.and_then(|wishes| Some(wishes.timeout.as_ref()?.value)),
            memory_bytes: wishes.and_then(|wishes| Some(wishes.memory_bytes.as_ref()?.value)),
        };
        let limits = asked.lowered_by(wished);
        let what = || format!("cannot load `{operand}`");
        let watchdog = Watchdog::start(limits, limit::reporter(operand, context)).or_fail(what)?;
        let tuned = match &args.configuration {
            Some(configuration) => Some(configuration.clone()),
            None if order == ProviderOrder::Auto => tuned::find(&subject, args, context)?,
            None => None,
        };
        let mut offers = offers::offers(context);
        // What tuning chose has run, and a trial of tuning is in a process of its own.
        if tuned.is_none() {
            offers::prove(&mut offers, &order, args.require, context);
        }
        let tuned = tuned.map(|tuned| match purpose {
            Purpose::Once => tuned.for_one_call(),
            Purpose::Many => tuned,
        });
        let compiles = offers
            .iter()
            .any(|offer| runtime::ort::keeps_what_it_compiles(offer.plan.kind));
        let selection = Selection {
            order,
            require: args.require,
            session: SessionOptions {
                threads,
                prepack: args.prepack.unwrap_or(purpose == Purpose::Many),
                optimization: match purpose {
                    Purpose::Once if !args.cache_weights => Optimization::Extended,
                    _ => Optimization::All,
                },
                cache: cache(&subject, args, purpose),
                device: args.device as usize,
                engines: compiles.then(|| engines(&subject, context)).flatten(),
                explain: args.explain,
                ..SessionOptions::default()
            },
            tuned,
            offers,
            provider_options: wishes.map(provider_options).transpose()?.unwrap_or_default(),
            libraries: machine::sources(context, &machine::look_at_driver(context)),
        };
        let source = Source {
            files: &subject.files,
            model: &subject.model,
            signature: &subject.signature,
        };
        let start = Instant::now();
        watchdog.enter(Phase::Load);
        let selected = select(&source, &selection);
        if let Err(runtime::Error::NoProvider(refusals) | runtime::Error::Requirement { source: refusals, .. }) =
            &selected
        {
            for place in refusals.places() {
                context.term.explain(format_args!("looked for ONNX Runtime: {place}"));
            }
        }
        let selected = selected.or_fail(what)?;
        let others = load_others(&subject, selection, selected.provider)?;
        watchdog.enter(Phase::Idle);
        let load = start.elapsed();
        for refused in &selected.refused {
            context.term.explain(format_args!("not on {refused}"));
        }
        if args.device > 0 && !selected.provider.has_devices() {
            let (device, provider) = (args.device, selected.provider);
            context.term.tell(format_args!(
                "--device {device} has no effect on {provider}, which has one"
            ));
        }
        if let Some(library) = runtime::ort::loaded_library() {
            context
                .term
                .explain(format_args!("ONNX Runtime is `{}`", library.display()));
        }
        if let Some(kept) = selected.session.kept_graph() {
            context.term.explain(format_args!("optimized graph: {kept}"));
        }
        Ok(Opened {
            label: operand.to_owned(),
            session: selected.session,
            others,
            provider: selected.provider,
            threads,
            settings: selected.settings,
            tuned: selected.tuned && args.configuration.is_none(),
            refused: selected.refused,
            subject,
            load,
            watchdog,
        })
    }

    /// Names the provider and all that is not as it is by itself: what rounds is always told.
    pub fn engine(&self) -> String {
        let mut words = self.settings.names();
        if self.tuned {
            words.push("tuned");
        }
        match words.as_slice() {
            [] => self.provider.to_string(),
            words => format!("{} ({})", self.provider, words.join(", ")),
        }
    }

    /// Says how a stream of requests is prepared for this model, `batch` to a call: on the cores that it leaves free, or,
    /// where it uses all of them, between its calls.
    pub fn stream_options(&self, batch: usize) -> StreamOptions {
        let cores = runtime::usable_threads();
        let free = match self.provider.is_accelerator() {
            true => cores,
            false => cores.saturating_sub(self.threads.unwrap_or(cores)),
        };
        let on_cores = free == 0;
        let (threads, ahead) = match on_cores {
            true => (cores, (2 * batch).max(16)),
            false => (free.min(8), 2 * batch),
        };
        StreamOptions {
            batch,
            threads,
            ahead: ahead + threads,
            on_cores,
        }
    }

    /// Gives all models of the artifact, in the order of the GPUXfile, under the clock.
    pub fn parts(&mut self) -> Vec<Part<'_>> {
        let entry = self.subject.gpuxfile.as_ref().map_or(0, gpuxfile::Gpuxfile::entry);
        let watchdog = &self.watchdog;
        let part = |session| Part { session, watchdog };
        let mut parts: Vec<Part<'_>> = self.others.iter_mut().map(part).collect();
        parts.insert(entry.min(parts.len()), part(&mut self.session));
        parts
    }

    /// Gives where the model came from, its sessions in the order of the GPUXfile's models, and their watchdog.
    pub fn into_parts(self) -> (Subject, Vec<Box<dyn Session>>, Watchdog) {
        let entry = self.subject.gpuxfile.as_ref().map_or(0, gpuxfile::Gpuxfile::entry);
        let mut sessions = self.others;
        sessions.insert(entry.min(sessions.len()), self.session);
        (self.subject, sessions, self.watchdog)
    }

    /// Answers one call, under the clock.
    pub fn run(&mut self, values: &[Value]) -> Result<Vec<Value>, runtime::Error> {
        self.call(values, &[])
    }
}

impl Model for Opened {
    fn signature(&self) -> &Signature {
        self.session.signature()
    }

    fn call(&mut self, inputs: &[Value], keep_on_device: &[bool]) -> Result<Vec<Value>, runtime::Error> {
        let watchdog = &self.watchdog;
        let session = &mut self.session;
        Part { session, watchdog }.call(inputs, keep_on_device)
    }
}

/// Is one of the models of an artifact, loaded and under watch.
pub struct Part<'o> {
    session: &'o mut Box<dyn Session>,
    watchdog: &'o Watchdog,
}

impl Model for Part<'_> {
    fn signature(&self) -> &Signature {
        self.session.signature()
    }

    fn call(&mut self, inputs: &[Value], keep_on_device: &[bool]) -> Result<Vec<Value>, runtime::Error> {
        let cancel = Cancel::default();
        let call = Call {
            inputs,
            keep_on_device,
            deadline: None,
            cancel: &cancel,
        };
        self.watchdog.enter(Phase::Run);
        let answer = self.session.run(call);
        self.watchdog.enter(Phase::Idle);
        answer
    }
}

/// Gives the folder for what providers compile from the model, on this machine and with its libraries; `None` for files
/// outside of the store, whose digest would have to be made first.
fn engines(subject: &Subject, context: &Context) -> Option<PathBuf> {
    let model = subject.stored_digest()?;
    let home = context.env.current_dir.join(context.home().ok()?);
    let machine = Digest::of(offers::machine(context).as_bytes());
    let name = format!("{}-{}", model.hex(), &machine.hex()[..16]);
    Some(home.join("cache").join("engines").join(name))
}

/// Loads the other models of an artifact with the provider that has the first: what one keeps on a device another reads.
fn load_others(
    subject: &Subject,
    mut selection: Selection,
    provider: ProviderKind,
) -> Result<Vec<Box<dyn Session>>, Failure> {
    selection.order = ProviderOrder::Listed(vec![provider]);
    // What is kept of the first is kept by its name.
    selection.session.cache = None;
    selection.session.engines = None;
    let load = |other: &Other| {
        let source = Source {
            files: &other.files,
            model: &other.model,
            signature: &other.signature,
        };
        let selected = select(&source, &selection).or_fail(|| format!("cannot load the model `{}`", other.name))?;
        Ok(selected.session)
    };
    subject.others.iter().map(load).collect()
}

/// Says where the optimized graph is kept: that of a one-shot run, whose weights stay where they are, always; the full one
/// only where its weights are meant to be written.
fn cache(subject: &Subject, args: &EngineArgs, purpose: Purpose) -> Option<GraphCache> {
    let keeps = purpose == Purpose::Once || args.cache_weights;
    subject.cache.as_ref().filter(|_| keeps).map(|folder| GraphCache {
        folder: folder.clone(),
        with_weights: args.cache_weights,
    })
}

/// Gives the options that a GPUXfile has for each provider.
fn provider_options(wishes: &gpuxfile::Runtime) -> Result<BTreeMap<ProviderKind, BTreeMap<String, String>>, Failure> {
    let mut all = BTreeMap::new();
    for wish in &wishes.provider_options {
        let name = &wish.provider.value;
        let kind: ProviderKind = name
            .parse()
            .or_fail(|| format!("cannot use the GPUXfile's options for `{name}`"))?;
        let options = wish.options.iter().map(|(name, value)| (name.clone(), value.clone()));
        all.insert(kind, options.collect());
    }
    Ok(all)
}

fn listed(names: &[gpuxfile::Located<String>]) -> Result<ProviderOrder, Failure> {
    let names: Vec<&str> = names.iter().map(|name| name.value.as_str()).collect();
    let text = names.join(",");
    text.parse()
        .or_fail(|| format!("cannot use the GPUXfile's provider order `{text}`"))
}

/// Reads a time such as 500ms.
pub fn time(text: &str) -> Result<Duration, String> {
    gpuxfile::duration(text).ok_or_else(|| format!("`{text}` is not a time such as 500ms, 30s or 2m"))
}

fn size(text: &str) -> Result<u64, String> {
    gpuxfile::memory(text).ok_or_else(|| format!("`{text}` is not a size such as 512MB or 2GiB"))
}

fn yes_or_no(text: &str) -> Result<bool, String> {
    match text {
        "yes" => Ok(true),
        "no" => Ok(false),
        other => Err(format!("`{other}` is neither yes nor no")),
    }
}
