use std::collections::BTreeMap;
use std::error::Error;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use crate::gpuxfile::Gpuxfile;
use crate::oci::Reference;
use crate::pipeline::Pipeline;
use crate::predict::Predictor;
use crate::runtime::Session;
#[cfg(unix)]
use crate::serve::worker::Worker;
use crate::serve::{Executor, Loaded, ModelName, ModelSource, Settings, Skill, SourceError, Speaker, Version};

use super::opened::{EngineArgs, Opened, Purpose};
use super::subject::Subject;
use super::{Code, Context, Failure, OrFail};

/// Is what the user wants served: references, folders and files, and what the command line says of them.
pub struct Served {
    context: Context,
    engine: EngineArgs,
    wishes: Wishes,
    operands: BTreeMap<(ModelName, Version), String>,
    order: Vec<(ModelName, Version)>,
    /// Where the GPUXfile of the last operand wants to be served.
    address: (Option<String>, Option<u16>),
    /// Whether models are loaded into this process, and not each into one of its own.
    in_process: bool,
}

/// Is what the command line says of how models are served; it wins over their GPUXfiles.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wishes {
    pub max_batch_size: Option<usize>,
    pub max_queue_delay: Option<std::time::Duration>,
    pub queue_size: Option<usize>,
    pub instances: Option<usize>,
    pub timeout: Option<std::time::Duration>,
    pub in_process: bool,
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
        let mut served = Served {
            context: context.clone(),
            engine: engine.clone(),
            wishes,
            operands: BTreeMap::new(),
            order: Vec::new(),
            address: (None, None),
            in_process: wishes.in_process,
        };
        for operand in operands {
            let (named, operand) = divide(operand);
            let subject = Subject::open(operand, context)?;
            let gpuxfile = subject.gpuxfile.as_ref();
            let name = named.or_else(|| Some(gpuxfile?.name.value.as_str()));
            let name = name.unwrap_or_else(|| stem(operand)).to_owned();
            let version = version_of(operand, &subject);
            let key = (name, version);
            if let Some(other) = served.operands.insert(key.clone(), operand.to_owned()) {
                let (name, version) = key;
                return Err(Failure::new(
                    Code::Usage,
                    format!("`{other}` and `{operand}` are both `{name}` in version `{version}`"),
                )
                .hint(format!("give one of them another name: `OTHER={operand}`")));
            }
            served.order.push(key);
            let own = gpuxfile.map(|gpuxfile| &gpuxfile.serving);
            served.address = own.map_or((None, None), |own| (own.host.clone(), own.port));
        }
        Ok(served)
    }
}

impl Served {
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
}

impl ModelSource for Served {
    fn models(&self) -> Vec<(ModelName, Version)> {
        self.order.clone()
    }

    fn load(&self, name: &str, version: &str) -> Result<Loaded, SourceError> {
        let operand = self.operands.get(&(name.to_owned(), version.to_owned()));
        let operand = operand.ok_or_else(|| SourceError(format!("`{name}:{version}` is not one of those to serve")))?;
        #[cfg(unix)]
        if !self.in_process {
            let at = self.order.iter().position(|(other, of)| other == name && of == version);
            return self.open_apart(operand, at.unwrap_or_default());
        }
        self.open(operand, true).map_err(SourceError::from)
    }
}

impl From<Failure> for SourceError {
    fn from(failure: Failure) -> Self {
        let causes = failure.causes();
        SourceError([&[failure.what().to_owned()], causes.as_slice()].concat().join(": "))
    }
}

impl Served {
    fn open(&self, operand: &str, speaks_to_people: bool) -> Result<Loaded, Failure> {
        let opened = Opened::open(operand, &self.engine, Purpose::Many, &self.context)?;
        let skill = Arc::new(self.skill(&opened.subject, speaks_to_people)?);
        let (settings, instances) = self.settings(opened.subject.gpuxfile.as_ref());
        let provider = opened.provider.name().to_owned();
        let (subject, first, watchdog) = opened.into_parts();
        let digest = subject.digest(&self.context)?.to_string();
        let signature = subject.signature.clone();
        let mut sessions = vec![first];
        while sessions.len() < instances {
            let another = Opened::open(operand, &self.engine, Purpose::Many, &self.context)?;
            sessions.push(another.into_parts().1);
        }
        let executor = |mut sessions: Vec<Box<dyn Session>>| -> Box<dyn Executor> {
            match skill.as_ref() {
                Skill::Generates(_) => Box::new(Speaker::new(Arc::clone(&skill), sessions)),
                Skill::Answers(_) => Box::new(sessions.swap_remove(0)),
            }
        };
        let executors = sessions.into_iter().map(executor).collect();
        Ok(Loaded {
            signature,
            executors,
            provider,
            digest,
            settings,
            skill,
            held: Box::new((subject, watchdog)),
        })
    }

    /// Gets ready what the model does for people; a worker, which is given tensors, needs it for what it generates only.
    fn skill(&self, subject: &Subject, meets_people: bool) -> Result<Skill, Failure> {
        if let Some(generator) = subject.generator(&self.context)? {
            return Ok(Skill::Generates(Box::new(generator)));
        }
        let steps = match meets_people {
            true => subject.pipeline(&self.context)?,
            false => None,
        };
        let pipeline = steps.unwrap_or_else(|| Pipeline::without_steps(&subject.signature));
        Ok(Skill::Answers(Box::new(Predictor::new(pipeline))))
    }

    /// Loads the only model, in this process.
    pub fn load_here(&self) -> Result<Loaded, SourceError> {
        let operand = self.operands.values().next().map_or("", String::as_str);
        self.open(operand, false).map_err(SourceError::from)
    }

    /// Loads a model in a process of its own.
    #[cfg(unix)]
    fn open_apart(&self, operand: &str, at: usize) -> Result<Loaded, SourceError> {
        let context = &self.context;
        let executable = context.env.executable.clone();
        let executable = executable.ok_or_else(|| SourceError("gpux does not know where it lies".into()))?;
        let arguments = context.env.arguments.clone();
        let variables = context.env.for_workers.clone();
        let recipe = move || {
            let mut command = std::process::Command::new(&executable);
            command.args(&arguments).arg("--worker").arg(at.to_string());
            command
                .env_clear()
                .envs(variables.iter().map(|(name, value)| (name, value)));
            command
        };
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
        let subject = Subject::open(operand, context)?;
        let skill = Arc::new(self.skill(&subject, true)?);
        let boxed = |executor| Box::new(executor) as Box<dyn Executor>;
        Ok(Loaded {
            signature: description.signature,
            executors: executors.into_iter().map(boxed).collect(),
            provider: description.provider,
            digest: description.digest,
            settings: description.settings,
            skill,
            held: Box::new(worker),
        })
    }

    /// Joins what the command line says with what the GPUXfile says.
    fn settings(&self, gpuxfile: Option<&Gpuxfile>) -> (Settings, usize) {
        let own = gpuxfile.map(|gpuxfile| gpuxfile.serving.clone()).unwrap_or_default();
        let count = |number: Option<u64>| number.and_then(|number| usize::try_from(number).ok());
        let usual = Settings::default();
        let wishes = &self.wishes;
        let settings = Settings {
            max_batch_size: wishes
                .max_batch_size
                .or(count(own.max_batch_size))
                .unwrap_or(usual.max_batch_size),
            max_queue_delay: wishes
                .max_queue_delay
                .or(own.max_queue_delay)
                .unwrap_or(usual.max_queue_delay),
            timeout: wishes.timeout.or(own.timeout).or(usual.timeout),
            queue_size: wishes.queue_size.unwrap_or(usual.queue_size),
        };
        (settings, wishes.instances.or(count(own.instances)).unwrap_or(1).max(1))
    }
}

/// Divides `NAME=REF`; what stands before the sign is a name only where it could be one.
pub fn divide(operand: &str) -> (Option<&str>, &str) {
    match operand.split_once('=') {
        Some((name, rest)) if !name.is_empty() && !name.contains(['/', '.', ':', '@']) => (Some(name), rest),
        _ => (None, operand),
    }
}

/// Gives a file's name without its ending.
fn stem(operand: &str) -> &str {
    let path = std::path::Path::new(operand);
    path.file_stem().and_then(|stem| stem.to_str()).unwrap_or(operand)
}

/// Gives the tag; for what is not an artifact, the GPUXfile's version.
fn version_of(operand: &str, subject: &Subject) -> String {
    if subject.is_artifact()
        && let Ok(reference) = operand.parse::<Reference>()
    {
        if let Some(digest) = reference.digest() {
            return digest.to_string();
        }
        if let Some(tag) = reference.tag() {
            return tag.as_str().to_owned();
        }
    }
    let version = subject.gpuxfile.as_ref().and_then(|gpuxfile| gpuxfile.version.as_ref());
    version.map_or_else(|| "latest".to_owned(), |version| version.value.to_string())
}
