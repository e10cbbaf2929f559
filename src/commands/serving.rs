use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::env;
use crate::gpuxfile::Gpuxfile;
use crate::oci::{Descriptor, Reference};
use crate::predict::Predictor;
use crate::runtime::Session;
#[cfg(unix)]
use crate::serve::worker::Worker;
use crate::serve::{
    Executor, Loaded, Look, ModelName, ModelSource, Moved, OnCores, Settings, Skill, SourceError, Speaker, Version,
    WarmUp,
};
use crate::tensor::Signature;
use crate::transfer;

use super::opened::{EngineArgs, Opened, Purpose};
use super::remote::RemoteArgs;
use super::serve::place::{Named, Pinned, Place};
use super::serve::{tuning, warming};
use super::subject::Subject;
use super::{Code, Context, Failure, OrFail};

/// Is what the user wants served: references, folders and files, and what the command line says of them.
pub struct Served {
    context: Context,
    engine: EngineArgs,
    wishes: Wishes,
    places: Mutex<BTreeMap<Key, Place>>,
    order: Vec<Key>,
    /// Where the GPUXfile of the last operand wants to be served.
    address: (Option<String>, Option<u16>),
}

type Key = (ModelName, Version);

/// Is what the command line says of how models are served; it wins over their GPUXfiles.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    pub max_batch_size: Option<usize>,
    pub max_queue_delay: Option<std::time::Duration>,
    pub queue_size: Option<usize>,
    pub instances: Option<usize>,
    pub timeout: Option<std::time::Duration>,
    /// Whether models are loaded into this process, and not each into one of its own.
    pub in_process: bool,
    /// Whether models answer a call before they are ready.
    pub warm_up: bool,
    /// Whether a model that was not tuned here is tuned in short before it is loaded.
    pub tune: bool,
    /// The devices that instances are placed on, in turn.
    pub devices: Vec<u32>,
}

impl Served {
    /// Finds the name and the version of each operand: `[NAME=]REF|DIR|MODEL.onnx`.
    ///
    /// Errors: an operand cannot be opened, or two have one name and one version.
    pub fn find(
        operands: &[String],
        engine: &EngineArgs,
        wishes: Wishes,
        context: &Context,
    ) -> Result<Served, Failure> {
        let mut places: BTreeMap<Key, Place> = BTreeMap::new();
        let mut order = Vec::new();
        let mut address = (None, None);
        for operand in operands {
            let named = Named::find(operand, context)?;
            let operand = named.place.operand.clone();
            let key = (named.name, named.version);
            if let Some(other) = places.insert(key.clone(), named.place) {
                let ((name, version), other) = (key, other.operand);
                return Err(Failure::new(
                    Code::Usage,
                    format!("`{other}` and `{operand}` are both `{name}` in version `{version}`"),
                )
                .hint(format!("give one of them another name: `OTHER={operand}`")));
            }
            order.push(key);
            address = (named.serving.host, named.serving.port);
        }
        Ok(Served {
            context: context.clone(),
            engine: engine.clone(),
            wishes,
            places: Mutex::new(places),
            order,
            address,
        })
    }

    /// Gives the address and port that the GPUXfile wants, where one model alone is served.
    ///
    /// Errors: the address is none.
    pub fn address(&self) -> Result<(Option<IpAddr>, Option<u16>), Failure> {
        if self.order.len() > 1 {
            return Ok((None, None));
        }
        let (host, port) = &self.address;
        let host = host.as_deref().map(|host| match host {
            "localhost" => Ok(Ipv4Addr::LOCALHOST.into()),
            address => address
                .parse()
                .or_fail(|| format!("the GPUXfile's serving.host is `{}`", address.escape_debug())),
        });
        Ok((host.transpose()?, *port))
    }

    fn places(&self) -> MutexGuard<'_, BTreeMap<Key, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn place(&self, key: &Key) -> Result<Place, SourceError> {
        let place = self.places().get(key).cloned();
        place.ok_or_else(|| SourceError(format!("`{}:{}` is not one of those to serve", key.0, key.1)))
    }

    fn open(&self, place: &Place) -> Result<Loaded, SourceError> {
        let pinned = place.pin(&self.context)?;
        #[cfg(unix)]
        if !self.wishes.in_process {
            return self.open_apart(place, pinned);
        }
        let subject = self.subject(place, pinned)?;
        self.tune(place, &subject);
        Ok(self.here(&place.operand).load(subject, true)?)
    }

    /// Finds out in short how a model is run fastest, where that is not known.
    fn tune(&self, place: &Place, subject: &Subject) {
        if self.wishes.tune {
            let rows = self.wishes.settings(subject.gpuxfile.as_ref()).0.max_batch_size;
            tuning::ensure(&place.operand, subject, &self.engine, rows, &self.context);
        }
    }

    fn here<'a>(&'a self, operand: &'a str) -> Here<'a> {
        Here {
            operand,
            engine: &self.engine,
            wishes: &self.wishes,
            context: &self.context,
        }
    }

    fn subject(&self, place: &Place, pinned: Option<Pinned>) -> Result<Subject, Failure> {
        match pinned {
            Some(pinned) => open_pinned(pinned, &place.operand, &self.context),
            None => Subject::open(&place.operand, &self.context),
        }
    }

    /// Loads a model in a process of its own.
    ///
    /// An artifact is named by its descriptor: a worker that is started again loads the same, also where the tag has moved.
    #[cfg(unix)]
    fn open_apart(&self, place: &Place, pinned: Option<Pinned>) -> Result<Loaded, SourceError> {
        let context = &self.context;
        let executable = context.env.executable.clone();
        let executable = executable.ok_or_else(|| SourceError("gpux does not know where it lies".into()))?;
        let arguments = context.env.arguments.clone();
        let variables = context.env.for_workers.clone();
        let operand = place.operand.clone();
        let what = || format!("cannot open `{}`", place.operand);
        let descriptor = pinned
            .as_ref()
            .map(|pinned| serde_json::json!(pinned.descriptor).to_string());
        let recipe = move || {
            let mut command = std::process::Command::new(&executable);
            // Right behind the verb: behind a `--` of the user's they would be models.
            let verb = arguments.iter().position(|argument| argument == "serve");
            let (before, after) = arguments.split_at(verb.map_or(0, |at| at + 1));
            command.args(before).arg("--worker").arg(&operand);
            command.args(
                descriptor
                    .iter()
                    .flat_map(|descriptor| ["--worker-descriptor", descriptor]),
            );
            command.args(after);
            command
                .env_clear()
                .envs(variables.iter().map(|(name, value)| (name, value)));
            command
        };
        // The worker's own lease ends with it, and the next is to find the same.
        let held = pinned
            .as_ref()
            .map(|pinned| context.store()?.lease(&[pinned.descriptor.digest]).or_fail(what));
        let held = held.transpose()?;
        let subject = self.subject(place, pinned)?;
        self.tune(place, &subject);
        let started = Worker::start(recipe).map_err(|error| {
            let cause = error.source().map(|cause| format!(": {cause}"));
            SourceError(format!("{error}{}", cause.unwrap_or_default()))
        });
        let (worker, description, executors) = started?;
        let held_by = description.held_by.join(" and ");
        if !held_by.is_empty() {
            context.term.explain(format_args!(
                "the worker of {} is held by {held_by}",
                description.digest
            ));
        }
        let skill = Arc::new(skill(&subject, true, context)?);
        let boxed = |executor| Box::new(executor) as Box<dyn Executor>;
        Ok(Loaded {
            warm_up: self
                .wishes
                .warm_up(&description.signature, &description.settings, &skill),
            signature: description.signature,
            executors: executors.into_iter().map(boxed).collect(),
            provider: description.provider,
            digest: description.digest,
            settings: description.settings,
            skill,
            memory: Some(worker.memory()),
            held: Box::new((worker, held)),
        })
    }

    /// Looks whether a reference names something else now; `Some` where it does, or where that cannot be told for a new reason.
    fn look(&self, key: &Key, place: &Place, look: Look) -> Option<Result<(), SourceError>> {
        let reference = place
            .reference
            .as_ref()
            .filter(|reference| reference.digest().is_none())?;
        let asked = match look {
            Look::Registries if reference.is_local() => return None,
            Look::Registries => bring(reference, &self.context),
            Look::Here => Ok(()),
        };
        let found = asked.and_then(|()| {
            let found = self.context.store()?.resolve(reference);
            found.or_fail(|| format!("`{reference}` is no longer in the store"))
        });
        let mut places = self.places();
        let place = places.get_mut(key)?;
        match found {
            Ok(entry) => {
                place.trouble = None;
                let digest = Some(entry.descriptor.digest);
                let is_other = place.seen != digest;
                place.seen = digest;
                is_other.then_some(Ok(()))
            }
            Err(failure) => {
                let error = SourceError::from(failure);
                let is_new = place.trouble.as_ref() != Some(&error.0);
                place.trouble = Some(error.0.clone());
                is_new.then_some(Err(error))
            }
        }
    }
}

impl ModelSource for Served {
    fn models(&self) -> Vec<Key> {
        self.order.clone()
    }

    fn load(&self, name: &str, version: &str) -> Result<Loaded, SourceError> {
        let key = (name.to_owned(), version.to_owned());
        let place = self.place(&key)?;
        let loaded = self.open(&place);
        let mut places = self.places();
        let Some(place) = places.get_mut(&key) else {
            return loaded;
        };
        match (&loaded, place.before.take()) {
            (Ok(loaded), _) => place.seen = loaded.digest.parse().ok(),
            (Err(_), Some(before)) => *place = *before,
            (Err(_), None) => {}
        }
        loaded
    }

    fn size_bytes(&self, name: &str, version: &str) -> Option<u64> {
        self.places().get(&(name.to_owned(), version.to_owned()))?.size_bytes
    }

    fn moved(&self, look: Look) -> Vec<Moved> {
        let places: Vec<(Key, Place)> = self.places().clone().into_iter().collect();
        let moved = places.into_iter().filter_map(|(key, place)| {
            let outcome = self.look(&key, &place, look)?;
            let (name, version) = key;
            Some(Moved { name, version, outcome })
        });
        moved.collect()
    }

    fn assign(&self, name: &str, version: Option<&str>, reference: &str) -> Result<Version, SourceError> {
        // A path would let whoever may load models read any file of the machine.
        let named = Named::find_stored(reference, &self.context)?;
        let version = version.map_or(named.version, str::to_owned);
        let mut places = self.places();
        let key = (name.to_owned(), version.clone());
        let before = places.remove(&key).map(Box::new);
        let place = Place { before, ..named.place };
        places.insert(key, place);
        Ok(version)
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        let causes = failure.causes();
        SourceError([&[failure.what().to_owned()], causes.as_slice()].concat().join(": "))
    }
}

/// Pulls what a reference names at its registry, where the store has something else.
fn bring(reference: &Reference, context: &Context) -> Result<(), Failure> {
    let store = context.store()?;
    let remote = RemoteArgs::default().remote(reference, context)?;
    let digest = transfer::digest(reference, &remote).or_fail(|| format!("cannot ask for `{reference}`"))?;
    let here = store.resolve(reference).ok();
    if here.is_some_and(|entry| entry.descriptor.digest == digest) {
        return Ok(());
    }
    let pulled = transfer::pull(&store, reference, &remote, Arc::new(transfer::Silent), env::now());
    pulled.map(|_| ()).or_fail(|| format!("cannot pull `{reference}`"))
}

fn open_pinned(pinned: Pinned, operand: &str, context: &Context) -> Result<Subject, Failure> {
    Subject::open_stored(&context.store()?, &pinned.descriptor, pinned.lease, operand)
}

/// Gets ready what the model does for people; a worker, which is given tensors, needs it for what it generates only.
fn skill(subject: &Subject, meets_people: bool, context: &Context) -> Result<Skill, Failure> {
    if let Some(generator) = subject.generator(context)? {
        return Ok(Skill::Generates(Arc::new(generator)));
    }
    let steps = match meets_people {
        true => subject.pipeline(context)?,
        false => None,
    };
    let predictor = match steps {
        Some(pipeline) => Predictor::new(pipeline),
        None => Predictor::without_steps(&subject.signature),
    };
    Ok(Skill::Answers(Arc::new(predictor)))
}

/// Says how a model is loaded into this process.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// What the user calls it.
    pub operand: &'a str,
    pub engine: &'a EngineArgs,
    pub wishes: &'a Wishes,
    pub context: &'a Context,
}

impl Here<'_> {
    /// Loads, in a worker, what the server told it to: an artifact of the store by its descriptor, or files by their place.
    pub fn load_in_worker(self, descriptor: Option<&str>) -> Result<Loaded, Failure> {
        let Here { operand, context, .. } = self;
        let subject = match descriptor {
            Some(descriptor) => {
                let descriptor: Descriptor =
                    serde_json::from_str(descriptor).or_fail(|| "the server names no artifact".to_owned())?;
                let lease = context.store()?.lease(&[descriptor.digest]);
                let lease = lease.or_fail(|| format!("cannot open `{operand}`"))?;
                open_pinned(Pinned { descriptor, lease }, operand, context)?
            }
            None => Subject::open(operand, context)?,
        };
        self.load(subject, false)
    }

    /// Loads a model, an instance after the other.
    fn load(self, subject: Subject, meets_people: bool) -> Result<Loaded, Failure> {
        let Here {
            operand,
            wishes,
            context,
            ..
        } = self;
        let skill = Arc::new(skill(&subject, meets_people, context)?);
        let (mut settings, instances) = wishes.settings(subject.gpuxfile.as_ref());
        let mut others = Vec::new();
        for _ in 1..instances {
            others.push(subject.again(operand, context)?);
        }
        let rows = settings.max_batch_size;
        let opened = self.open(subject, 0, rows)?;
        // A device gets ready for each size anew.
        settings.even_batches = opened.provider.has_devices();
        let provider = opened.provider.name().to_owned();
        let mut is_on_cores = !opened.provider.is_accelerator();
        let (subject, first, watchdog) = opened.into_parts();
        let mut sessions = vec![first];
        for (at, subject) in others.into_iter().enumerate() {
            let opened = self.open(subject, at + 1, rows)?;
            is_on_cores &= !opened.provider.is_accelerator();
            sessions.push(opened.into_parts().1);
        }
        let executor = |mut sessions: Vec<Box<dyn Session>>| -> Box<dyn Executor> {
            match skill.as_ref() {
                Skill::Generates(generator) => Box::new(Speaker::new(Arc::clone(generator), sessions)),
                Skill::Answers(_) if is_on_cores => Box::new(OnCores(sessions.swap_remove(0))),
                Skill::Answers(_) => Box::new(sessions.swap_remove(0)),
            }
        };
        let executors = sessions.into_iter().map(executor).collect();
        Ok(Loaded {
            warm_up: wishes.warm_up(&subject.signature, &settings, &skill),
            signature: subject.signature.clone(),
            executors,
            provider,
            digest: subject.digest(context)?.to_string(),
            settings,
            skill,
            memory: None,
            held: Box::new((subject, watchdog)),
        })
    }

    /// Loads the model of one instance, on the device whose turn it is, for calls of so many rows.
    fn open(self, subject: Subject, instance: usize, rows: usize) -> Result<Opened, Failure> {
        let mut engine = self.engine.clone();
        engine.shapes = tuning::shapes(&subject, rows);
        let devices = &self.wishes.devices;
        if let Some(device) = devices.get(instance % devices.len().max(1)) {
            engine.set_device(*device);
        }
        Opened::load(subject, self.operand, (&engine, Purpose::Many), self.context)
    }
}

impl Wishes {
    /// Joins what the command line says with what the GPUXfile says.
    fn settings(&self, gpuxfile: Option<&Gpuxfile>) -> (Settings, usize) {
        let own = gpuxfile.map(|gpuxfile| gpuxfile.serving.clone()).unwrap_or_default();
        let count = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        let usual = Settings::default();
        let settings = Settings {
            max_batch_size: self
                .max_batch_size
                .or(count(own.max_batch_size))
                .unwrap_or(usual.max_batch_size),
            max_queue_delay: self
                .max_queue_delay
                .or(own.max_queue_delay)
                .unwrap_or(usual.max_queue_delay),
            timeout: self.timeout.or(own.timeout).or(usual.timeout),
            queue_size: self.queue_size.unwrap_or(usual.queue_size),
            even_batches: usual.even_batches,
        };
        let instances = self.instances.or(count(own.instances)).unwrap_or(self.devices.len());
        (settings, instances.max(1))
    }

    fn warm_up(&self, signature: &Signature, settings: &Settings, skill: &Skill) -> Vec<WarmUp> {
        match self.warm_up {
            true => warming::calls(signature, settings, skill),
            false => Vec::new(),
        }
    }
}
