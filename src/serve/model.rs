use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::scheduler::{Answer, Request, Scheduler};
use super::{Error, Executor, ModelMetrics, Skill};
use crate::predict::AnswerKind;
use crate::predict::batch::{Stacking, Unstackable};
use crate::tensor::Signature;

/// Says how a model is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The most rows of one call: requests are joined up to it; 1 joins none.
    pub max_batch_size: usize,
    /// How long a request waits for others to join it.
    pub max_queue_delay: Duration,
    /// The longest that a request may wait and run.
    pub timeout: Option<Duration>,
    /// How many requests may wait.
    pub queue_size: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_batch_size: 1,
            max_queue_delay: Duration::ZERO,
            timeout: None,
            queue_size: 256,
        }
    }
}

/// Is a model as its source loaded it.
pub struct Loaded {
    /// What it takes and gives.
    pub signature: Signature,
    /// One an instance; at least one.
    pub executors: Vec<Box<dyn Executor>>,
    /// The provider that runs it.
    pub provider: String,
    /// The artifact's digest.
    pub digest: String,
    /// How it is served.
    pub settings: Settings,
    /// What it does for people.
    pub skill: Arc<Skill>,
    /// What must live as long as the model: leases, watchdogs, worker processes.
    pub held: Box<dyn Any + Send + Sync>,
}

/// Is a model that answers.
pub struct Model {
    name: String,
    version: String,
    signature: Signature,
    provider: String,
    digest: String,
    settings: Settings,
    unstackable: Option<Unstackable>,
    skill: Arc<Skill>,
    instances: usize,
    metrics: ModelMetrics,
    // Before what it needs: fields are dropped in their order.
    scheduler: Scheduler,
    _held: Box<dyn Any + Send + Sync>,
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Model")
            .field("name", &self.name)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl Model {
    /// Starts the model's instances.
    ///
    /// Errors: the system gives no thread.
    pub fn start(name: &str, version: &str, loaded: Loaded, metrics: ModelMetrics) -> std::io::Result<Model> {
        let Loaded {
            signature,
            executors,
            provider,
            digest,
            settings,
            skill,
            held,
        } = loaded;
        let instances = executors.len();
        let (stacking, unstackable) = match Stacking::of(&signature) {
            Ok(stacking) => (Some(stacking), None),
            Err(reason) => (None, Some(reason)),
        };
        let scheduler = Scheduler::start(name, executors, stacking, settings, metrics.clone())?;
        Ok(Model {
            name: name.to_owned(),
            version: version.to_owned(),
            signature,
            provider,
            digest,
            settings,
            unstackable,
            skill,
            instances,
            metrics,
            scheduler,
            _held: held,
        })
    }

    /// Gives the name that clients use.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Gives the version that clients use.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// Gives what the model takes and gives.
    pub fn signature(&self) -> &Signature {
        &self.signature
    }

    /// Gives the provider that runs it.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// Gives the artifact's digest.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Gives how it is served.
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// Gives what it does for people.
    pub fn skill(&self) -> &Arc<Skill> {
        &self.skill
    }

    /// Gives what people give values for: the signature of the first model where an artifact has several.
    pub fn given(&self) -> &Signature {
        match self.skill.as_ref() {
            Skill::Answers(_) => &self.signature,
            Skill::Generates(generator) => generator.pipeline().signature(),
        }
    }

    /// Tells whether one of its answers is a picture.
    pub fn makes_pictures(&self) -> bool {
        let answers = self.skill.answers();
        answers.iter().any(|(_, kind)| *kind == AnswerKind::Mask)
    }

    /// Refuses, where a request would find the queue full.
    pub fn is_full_for(&self, tenant: &Arc<str>) -> Option<Error> {
        self.scheduler.is_full_for(tenant)
    }

    /// Counts its sessions.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Counts the requests that wait.
    pub fn waiting(&self) -> usize {
        self.scheduler.waiting()
    }

    /// Says why requests are not joined, where they cannot be.
    pub fn unstackable(&self) -> Option<&Unstackable> {
        self.unstackable.as_ref()
    }

    /// Gives its counters.
    pub fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }

    /// Answers a request.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        self.scheduler.call(request).await
    }

    /// Takes no more requests; those that wait are answered.
    pub fn close(&self) {
        self.scheduler.close();
    }

    /// Waits for the requests that wait and run, after [`Model::close`].
    pub fn join(&self) {
        self.scheduler.join();
    }
}
