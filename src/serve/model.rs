use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use super::repository::Ends;
use super::scheduler::{Answer, Request, Scheduler};
use super::telemetry::note;
use super::{Error, Executor, ModelMetrics, Skill};
use crate::predict::AnswerKind;
use crate::predict::batch::{Stacking, Unstackable};
use crate::tensor::{Signature, Tensor};

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
    /// Whether joined requests are filled up to one of a few numbers of rows: a device gets ready for each anew.
    pub even_batches: bool,
}

/// How many numbers of rows a device gets ready for beside that of one.
const SIZES: u32 = 3;

impl Settings {
    /// Gives how many rows a call of `rows` joined ones is filled up to.
    pub fn filled(&self, rows: usize) -> usize {
        let fits = |size: &usize| *size >= rows;
        match self.even_batches {
            true => self.warm_sizes().find(fits).unwrap_or(rows),
            false => rows,
        }
    }

    /// Gives the numbers of rows that calls will have, as far as the model gets ready for each of them: one, and some halves
    /// of the most.
    pub fn warm_sizes(&self) -> impl Iterator<Item = usize> + use<> {
        let most = if self.even_batches {
            self.max_batch_size.max(1)
        } else {
            1
        };
        let halves = (0..SIZES).rev().map(move |times| most >> times);
        std::iter::once(1).chain(halves.filter(|size| *size > 1))
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            max_batch_size: 1,
            max_queue_delay: Duration::ZERO,
            timeout: None,
            queue_size: 256,
            even_batches: false,
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
    /// The calls that every instance must answer before the model is ready.
    pub warm_up: Vec<WarmUp>,
    /// Tells how much memory it takes; `None` where it shares the server's process.
    pub memory: Option<Memory>,
    /// What must live as long as the model: leases, watchdogs, worker processes.
    pub held: Box<dyn Any + Send + Sync>,
}

/// Is a call that an instance answers before its model is ready, with tensors in the signature's order.
#[derive(Clone, Debug)]
pub enum WarmUp {
    /// It asks for the outputs.
    Call(Vec<Tensor>),
    /// It asks for a few tokens.
    Words(Vec<Tensor>),
}

/// Tells how much memory a model takes now; `None` where the system does not say. Units: bytes.
pub type Memory = Box<dyn Fn() -> Option<u64> + Send + Sync>;

/// Is what is known of a model, whether it answers now or sleeps.
pub struct Profile {
    name: String,
    version: String,
    signature: Signature,
    provider: String,
    digest: String,
    settings: Settings,
    instances: usize,
    unstackable: Option<Unstackable>,
    fills_up: bool,
    skill: Arc<Skill>,
    metrics: ModelMetrics,
}

/// Is a model that answers. Dropped, it ends on a thread of its own once what it has taken is answered.
pub struct Model {
    profile: Arc<Profile>,
    parts: Option<Parts>,
    ends: Ends,
    /// When it was last called. Units: milliseconds since [`START`].
    used: AtomicU64,
}

/// Is what runs. Fields are dropped in their order: the scheduler before what it needs.
struct Parts {
    scheduler: Scheduler,
    memory: Option<Memory>,
    _held: Box<dyn Any + Send + Sync>,
}

/// What the last calls of all models are counted from.
static START: LazyLock<Instant> = LazyLock::new(Instant::now);

impl fmt::Debug for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Profile")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("digest", &self.digest)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Model {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Model").field(&self.profile).finish()
    }
}

impl Profile {
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

    /// Gives how many sessions answer where it does not sleep.
    pub fn instances(&self) -> usize {
        self.instances
    }

    /// Says why requests are not joined, where they cannot be.
    pub fn unstackable(&self) -> Option<&Unstackable> {
        self.unstackable.as_ref()
    }

    /// Tells whether requests are joined whose sequences differ in length.
    pub fn fills_up(&self) -> bool {
        self.fills_up
    }

    /// Gives its counters.
    pub fn metrics(&self) -> &ModelMetrics {
        &self.metrics
    }
}

impl std::ops::Deref for Model {
    type Target = Profile;

    fn deref(&self) -> &Profile {
        &self.profile
    }
}

impl Model {
    /// Starts the model's instances; `ends` is told when it has ended.
    ///
    /// Errors: the system gives no thread.
    pub fn start(
        name: &str,
        version: &str,
        loaded: Loaded,
        metrics: ModelMetrics,
        ends: &Ends,
    ) -> std::io::Result<Model> {
        let Loaded {
            signature,
            executors,
            provider,
            digest,
            settings,
            skill,
            warm_up: _,
            memory,
            held,
        } = loaded;
        let (stacking, unstackable) = match stacking(&skill, &signature) {
            Ok(stacking) => (Some(stacking), None),
            Err(reason) => (None, Some(reason)),
        };
        let fills_up = stacking.as_ref().is_some_and(Stacking::fills_up);
        let instances = executors.len();
        let scheduler = Scheduler::start(name, executors, stacking, settings, metrics.clone())?;
        let model = Model {
            profile: Arc::new(Profile {
                name: name.to_owned(),
                version: version.to_owned(),
                signature,
                provider,
                digest,
                settings,
                instances,
                unstackable,
                fills_up,
                skill,
                metrics,
            }),
            parts: Some(Parts {
                scheduler,
                memory,
                _held: held,
            }),
            ends: ends.clone(),
            used: AtomicU64::new(0),
        };
        model.touch();
        Ok(model)
    }

    /// Gives what stays known of it when it sleeps.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }

    /// Answers a request.
    pub async fn call(&self, request: Request) -> Result<Answer, Error> {
        let Some(parts) = &self.parts else {
            return Err(Error::Closing(self.name.clone()));
        };
        self.touch();
        let asked = Instant::now();
        let answer = parts.scheduler.call(request).await;
        self.touch();
        note(|noted| {
            noted
                .model
                .get_or_insert_with(|| (self.name.clone(), self.version.clone()));
            noted
                .calls
                .extend(answer.as_ref().ok().map(|answer| (asked, answer.times)));
        });
        answer
    }

    /// Refuses, where a request would find the queue full.
    pub fn is_full_for(&self, tenant: &Arc<str>) -> Option<Error> {
        self.parts.as_ref()?.scheduler.is_full_for(tenant)
    }

    /// Gives how many requests wait.
    pub fn waiting(&self) -> usize {
        self.parts.as_ref().map_or(0, |parts| parts.scheduler.waiting())
    }

    /// Tells how much memory it takes now; `None` where that cannot be told. Units: bytes.
    pub fn resident_bytes(&self) -> Option<u64> {
        self.parts.as_ref()?.memory.as_ref()?()
    }

    /// Tells for how long nobody has called it.
    pub fn idle(&self) -> Duration {
        let used = Duration::from_millis(self.used.load(Ordering::Relaxed));
        START.elapsed().saturating_sub(used)
    }

    fn touch(&self) {
        let now = u64::try_from(START.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.used.fetch_max(now, Ordering::Relaxed);
    }
}

/// Tells how requests are joined: steps that take texts know what fills up the shorter ones.
fn stacking(skill: &Skill, signature: &Signature) -> Result<Stacking, Unstackable> {
    match skill {
        Skill::Answers(predictor) if predictor.pipeline().signature() == signature => {
            predictor.stacking().cloned().map_err(Clone::clone)
        }
        _ => Stacking::of(signature),
    }
}

impl Drop for Model {
    fn drop(&mut self) {
        let Some(parts) = self.parts.take() else { return };
        let ending = self.ends.begin();
        let end = move || {
            drop(parts);
            drop(ending);
        };
        // Threads and a worker are waited for, which no thread that serves clients may do. Where the system gives no
        // thread, the closure is dropped here, and the model with it.
        let _ = thread::Builder::new().name("end".to_owned()).spawn(end);
    }
}
