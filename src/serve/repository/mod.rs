//! The models that are served, by name and version.
//!
//! Whoever found a model keeps it: it answers what it has taken, also where it was replaced, unloaded or put to sleep
//! meanwhile, and ends when the last has let it go. So no request is lost when models come and go.

mod ends;
mod family;
mod load;
mod memory;
mod source;
mod wake;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use super::model::Profile;
use super::{Error, Event, Metrics, Model};

pub use ends::Ends;
use family::{Family, Slot, draw_of};
pub use source::{Look, ModelName, ModelSource, Moved, SourceError, Version};
pub use wake::Wake;

/// Says how long models stay, and which of them are called.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// How long a model that nobody calls stays loaded.
    pub keep_alive: Option<Duration>,
    /// How much memory all models may take together. Units: bytes.
    pub most_bytes: Option<u64>,
    /// What part of the calls without a version a version answers. Units: per cent.
    pub weights: BTreeMap<(ModelName, Version), u8>,
}

/// Is where a model stands between unknown and ready.
#[derive(Clone, Debug)]
pub enum State {
    /// It is being loaded.
    Loading,
    /// It answers.
    Ready(Arc<Model>),
    /// Nobody called it for a while, or others needed its memory: the next request wakes it.
    Asleep(Arc<Profile>),
    /// It is being loaded again, and requests wait for it.
    Waking(Arc<Wake>),
    /// It was unloaded.
    Unloaded,
    /// It could not be loaded.
    Failed(SourceError),
}

impl State {
    /// Tells whether a request will be answered, if after a wait.
    pub fn answers(&self) -> bool {
        matches!(self, State::Ready(_) | State::Asleep(_) | State::Waking(_))
    }

    /// Gives what is known of the model, where it answers.
    pub fn profile(&self) -> Option<&Arc<Profile>> {
        match self {
            State::Ready(model) => Some(model.profile()),
            State::Asleep(profile) => Some(profile),
            State::Waking(wake) => Some(wake.profile()),
            State::Loading | State::Unloaded | State::Failed(_) => None,
        }
    }

    /// Gives its name in the index, and the reason where it does not answer.
    pub fn told(&self) -> (&'static str, String) {
        match self {
            State::Ready(_) => ("READY", String::new()),
            State::Loading | State::Waking(_) => ("LOADING", String::new()),
            State::Asleep(_) => ("ASLEEP", String::new()),
            State::Unloaded => ("UNAVAILABLE", "unloaded".to_owned()),
            State::Failed(error) => ("UNAVAILABLE", error.0.clone()),
        }
    }
}

/// Is what the index of a repository tells of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: ModelName,
    pub version: Version,
    /// `READY`, `LOADING`, `ASLEEP` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready; empty where it is.
    pub reason: String,
}

/// Says which model a request is for.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    pub name: &'a str,
    /// The version; without one the weights choose, or else the last that came answers.
    pub version: Option<&'a str>,
    /// What several requests have in common that are to be answered by one version.
    pub session: Option<&'a str>,
}

impl<'a> Wanted<'a> {
    /// Asks for a version of a model, or for the one that answers calls without one.
    pub fn of(name: &'a str, version: Option<&'a str>) -> Self {
        Wanted {
            name,
            version,
            session: None,
        }
    }
}

/// Is a model that a request found.
#[derive(Clone, Debug)]
pub enum Found {
    /// It answers.
    Ready(Arc<Model>),
    /// It is to be woken first.
    Asleep(Arc<Profile>),
}

impl Found {
    /// Gives what is known of it.
    pub fn profile(&self) -> &Arc<Profile> {
        match self {
            Found::Ready(model) => model.profile(),
            Found::Asleep(profile) => profile,
        }
    }
}

/// Hears what becomes of models.
pub type Tell = Arc<dyn Fn(Event) + Send + Sync>;

/// Holds the models of a server.
pub struct Repository {
    families: RwLock<Families>,
    source: Arc<dyn ModelSource>,
    policy: Policy,
    metrics: Arc<Metrics>,
    tell: Tell,
    ends: Ends,
    /// Held by who counts memory until what it made room for is loaded.
    room: Mutex<()>,
}

#[derive(Debug, Default)]
struct Families {
    by_name: BTreeMap<ModelName, Family>,
    /// Whether the server is about to end, and nothing comes any more.
    is_closed: bool,
}

impl std::fmt::Debug for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Repository")
            .field("families", &self.families)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Makes a repository of what a source has, with nothing loaded yet.
    pub fn new(source: Arc<dyn ModelSource>, policy: Policy, metrics: Arc<Metrics>, tell: Tell) -> Self {
        let mut families = Families::default();
        for (name, version) in source.models() {
            families.slot_or_new(&name, &version, &policy);
        }
        Repository {
            families: RwLock::new(families),
            source,
            policy,
            metrics,
            tell,
            ends: Ends::default(),
            room: Mutex::default(),
        }
    }

    /// Gives the counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Gives what loads the models.
    pub fn source(&self) -> &Arc<dyn ModelSource> {
        &self.source
    }

    /// Finds a model that is ready, and wakes one that sleeps; without a version, the one that weights choose, or else the
    /// last that came.
    ///
    /// Errors: it is unknown, in this version too, or not ready; it did not wake within its own time-out.
    pub async fn ready_model(self: &Arc<Self>, name: &str, version: Option<&str>) -> Result<Arc<Model>, Error> {
        self.awake(self.find(Wanted::of(name, version))?, None).await
    }

    /// Wakes what was found asleep, within a time that the model's own bounds.
    ///
    /// Errors: it did not wake, or not in time.
    pub async fn awake(self: &Arc<Self>, found: Found, timeout: Option<Duration>) -> Result<Arc<Model>, Error> {
        match found {
            Found::Ready(model) => Ok(model),
            Found::Asleep(profile) => self.wake(&profile, timeout).await,
        }
    }

    /// Finds a model that answers, if after it was woken.
    ///
    /// Errors: it is unknown, in this version too, or not ready.
    pub fn find(&self, wanted: Wanted<'_>) -> Result<Found, Error> {
        let state = self.state_of(wanted)?;
        let not_ready = |why: &str| Error::NotReady {
            name: wanted.name.to_owned(),
            why: why.to_owned(),
        };
        match state {
            State::Ready(model) => Ok(Found::Ready(model)),
            State::Asleep(profile) => Ok(Found::Asleep(profile)),
            State::Waking(wake) => Ok(Found::Asleep(Arc::clone(wake.profile()))),
            State::Loading => Err(not_ready("it is being loaded")),
            State::Unloaded => Err(not_ready("it was unloaded")),
            State::Failed(error) => Err(not_ready(&error.0)),
        }
    }

    /// Gives what is known of a model that answers, without waking it; without a version, of the last that came.
    ///
    /// Errors: it is unknown, in this version too, or not ready.
    pub fn profile(&self, name: &str, version: Option<&str>) -> Result<Arc<Profile>, Error> {
        self.find(Wanted::of(name, version))
            .map(|found| Arc::clone(found.profile()))
    }

    /// Tells where a model stands.
    ///
    /// Errors: it is unknown, in this version too.
    pub fn state(&self, name: &str, version: Option<&str>) -> Result<State, Error> {
        self.state_of(Wanted::of(name, version))
    }

    fn state_of(&self, wanted: Wanted<'_>) -> Result<State, Error> {
        let Wanted { name, version, session } = wanted;
        let families = self.read();
        let unknown = || Error::UnknownModel(name.to_owned());
        let family = families.by_name.get(name).ok_or_else(unknown)?;
        let draw = || session.map_or_else(|| fastrand::u64(..), draw_of);
        let slot = match version {
            Some(version) => family.slot(version).ok_or_else(|| Error::UnknownVersion {
                name: name.to_owned(),
                version: version.to_owned(),
            })?,
            None => family.choose(draw).ok_or_else(unknown)?,
        };
        Ok(slot.state.clone())
    }

    /// Gives the versions of a model, in the order in which they came.
    pub fn versions(&self, name: &str) -> Vec<Version> {
        let families = self.read();
        let slots = families.by_name.get(name).map(|family| family.slots.as_slice());
        let slots = slots.unwrap_or_default().iter();
        slots.map(|slot| slot.version.clone()).collect()
    }

    /// Lists every model.
    pub fn index(&self) -> Vec<Status> {
        let families = self.read();
        let each = families.by_name.iter().flat_map(|(name, family)| {
            family.slots.iter().map(move |slot| {
                let (state, reason) = slot.state.told();
                Status {
                    name: name.clone(),
                    version: slot.version.clone(),
                    state,
                    reason,
                }
            })
        });
        each.collect()
    }

    /// Gives what is known of every model that answers.
    pub fn profiles(&self) -> Vec<Arc<Profile>> {
        let families = self.read();
        let profiles = families.slots().filter_map(|(_, slot)| slot.state.profile());
        profiles.map(Arc::clone).collect()
    }

    /// Gives the models that are ready.
    pub fn ready(&self) -> Vec<Arc<Model>> {
        let families = self.read();
        let states = families.slots().map(|(_, slot)| &slot.state);
        let ready = states.filter_map(|state| match state {
            State::Ready(model) => Some(Arc::clone(model)),
            _ => None,
        });
        ready.collect()
    }

    /// Tells whether every model answers, but for those that were unloaded.
    pub fn is_ready(&self) -> bool {
        let families = self.read();
        let mut states = families.slots().map(|(_, slot)| &slot.state).peekable();
        states.peek().is_some() && states.all(|state| state.answers() || matches!(state, State::Unloaded))
    }

    /// Takes no more requests for any model, and waits until all that was taken is answered and every model has ended.
    pub fn close(&self) {
        let states: Vec<State> = {
            let mut families = self.write();
            families.is_closed = true;
            let slots = families.by_name.values_mut().flat_map(|family| &mut family.slots);
            slots
                .map(|slot| std::mem::replace(&mut slot.state, State::Unloaded))
                .collect()
        };
        drop(states);
        while !self.ends.wait(Duration::from_secs(60)) {}
    }

    fn read(&self) -> RwLockReadGuard<'_, Families> {
        self.families.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Families> {
        self.families.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets where a model stands, and makes a place for one that is new; tells whether the server still goes on.
    fn set(&self, name: &str, version: &str, state: State) -> bool {
        let instances = match &state {
            State::Ready(model) => Some(model.instances()),
            State::Asleep(_) | State::Unloaded | State::Failed(_) => Some(0),
            State::Loading | State::Waking(_) => None,
        };
        let replaced = {
            let mut families = self.write();
            if families.is_closed {
                return false;
            }
            let slot = families.slot_or_new(name, version, &self.policy);
            std::mem::replace(&mut slot.state, state)
        };
        if let Some(instances) = instances {
            self.metrics.set_instances(name, version, instances);
        }
        // Dropped outside of the lock, for whatever it does then.
        drop(replaced);
        true
    }

    /// Takes away the place of a version that could not be loaded.
    fn forget(&self, name: &str, version: &str) {
        let mut families = self.write();
        if let Some(family) = families.by_name.get_mut(name) {
            let is_it = |slot: &Slot| slot.version == version && matches!(slot.state, State::Failed(_));
            family.slots.retain(|slot| !is_it(slot));
            if family.slots.is_empty() {
                families.by_name.remove(name);
            }
        }
    }

    /// Gives what is held while a version is loaded, woken or ended.
    fn busy(&self, name: &str, version: &str) -> Arc<Mutex<()>> {
        let mut families = self.write();
        Arc::clone(&families.slot_or_new(name, version, &self.policy).busy)
    }

    fn told(&self, name: &str, version: &str, state: &State) {
        (self.tell)(Event::Model {
            name: name.to_owned(),
            version: version.to_owned(),
            state: state.clone(),
        });
    }
}

impl Families {
    fn slots(&self) -> impl Iterator<Item = (&ModelName, &Slot)> {
        let of_name = |(name, family)| {
            let family: &Family = family;
            family.slots.iter().map(move |slot| (name, slot))
        };
        self.by_name.iter().flat_map(of_name)
    }

    fn slot(&self, name: &str, version: &str) -> Option<&Slot> {
        self.by_name.get(name)?.slot(version)
    }

    fn slot_mut(&mut self, name: &str, version: &str) -> Option<&mut Slot> {
        self.by_name.get_mut(name)?.slot_mut(version)
    }

    fn slot_or_new(&mut self, name: &str, version: &str, policy: &Policy) -> &mut Slot {
        let family = self.by_name.entry(name.to_owned()).or_default();
        let at = family.slots.iter().position(|slot| slot.version == version);
        let at = at.unwrap_or_else(|| {
            family.slots.push(Slot {
                version: version.to_owned(),
                state: State::Loading,
                busy: Arc::default(),
                percent: policy.weights.get(&(name.to_owned(), version.to_owned())).copied(),
                resident_bytes: None,
            });
            family.slots.len() - 1
        });
        &mut family.slots[at]
    }
}

/// Locks; a panic elsewhere leaves nothing half done that the lock guards, so poison is of no meaning.
fn lock(mutex: &Mutex<()>) -> MutexGuard<'_, ()> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
