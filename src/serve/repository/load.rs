//! Loading, replacing, unloading and letting sleep. All of it blocks, and is done on threads of its own.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Look, ModelSource, Repository, SourceError, State, lock};
use crate::runtime::{Cancel, Value};
use crate::serve::{Error, Event, Executor, Fault, GenerateCall, Loaded, Model, WarmUp};

/// Says what becomes of a model that sleeps when it is to be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sleepers {
    /// It wakes as what it is by then.
    Leave,
    /// It is loaded.
    Wake,
}

/// How long the calls before a model is ready may take.
const WARM_UP: Duration = Duration::from_secs(180);

impl Repository {
    /// Loads every model of the source, one after the other; a model that fails does not keep the others from coming.
    pub fn load_all(&self) {
        for (name, version) in self.source.models() {
            // What it came to was told.
            let _ = self.replace(&name, &version);
        }
    }

    /// Loads what a name stands for, once more where it is loaded; without a version, every version.
    ///
    /// Errors: there is no such model, or it cannot be loaded.
    pub fn load(&self, name: &str, version: Option<&str>) -> Result<(), Error> {
        let versions = match version {
            Some(version) => vec![version.to_owned()],
            None => self.versions(name),
        };
        if versions.is_empty() {
            return Err(Error::UnknownModel(name.to_owned()));
        }
        for version in versions {
            self.state(name, Some(&version))?;
            self.renew(name, &version, Sleepers::Wake)
                .map_err(|error| not_loaded(name, error))?;
        }
        Ok(())
    }

    /// Lets a name stand for an artifact and loads it; without a version, under the reference's own.
    ///
    /// Errors: it cannot be found or loaded; what the name stood for before then goes on to answer.
    pub fn load_reference(&self, name: &str, version: Option<&str>, reference: &str) -> Result<(), Error> {
        let not_loaded = |error| not_loaded(name, error);
        let version = self.source.assign(name, version, reference).map_err(not_loaded)?;
        let is_new = self.state(name, Some(&version)).is_err();
        let loaded = self.renew(name, &version, Sleepers::Wake);
        if loaded.is_err() && is_new {
            // What never was there does not keep the server from being ready.
            self.forget(name, &version);
        }
        loaded.map_err(not_loaded)
    }

    /// Loads a model beside the one that answers, if any does, and lets it answer from then on.
    ///
    /// One that sleeps goes on to: it wakes as what it is by then. What cannot be loaded leaves the one that answers where
    /// it is.
    /// Errors: why it could not be loaded, which is also told.
    pub fn replace(&self, name: &str, version: &str) -> Result<(), SourceError> {
        self.renew(name, version, Sleepers::Leave)
    }

    fn renew(&self, name: &str, version: &str, sleepers: Sleepers) -> Result<(), SourceError> {
        let busy = self.busy(name, version);
        let _busy = lock(&busy);
        let before = self.state(name, Some(version)).ok();
        match &before {
            Some(State::Asleep(_)) if sleepers == Sleepers::Leave => return Ok(()),
            Some(State::Ready(_) | State::Asleep(_) | State::Waking(_)) => {}
            _ => {
                self.set(name, version, State::Loading);
            }
        }
        let old = match &before {
            Some(State::Ready(old)) => Some(old.digest().to_owned()),
            _ => None,
        };
        let is_kept = before.as_ref().is_some_and(State::answers);
        drop(before);
        match self.bring(name, version) {
            Ok(state) => {
                self.set(name, version, state.clone());
                match (&state, old) {
                    (State::Ready(model), Some(from)) => (self.tell)(Event::Replaced {
                        model: Arc::clone(model.profile()),
                        from,
                    }),
                    _ => self.told(name, version, &state),
                }
                Ok(())
            }
            Err(error) => {
                if is_kept {
                    (self.tell)(Event::Kept {
                        name: name.to_owned(),
                        version: version.to_owned(),
                        why: error.clone(),
                    });
                } else {
                    let state = State::Failed(error.clone());
                    self.set(name, version, state.clone());
                    self.told(name, version, &state);
                }
                Err(error)
            }
        }
    }

    /// Replaces what has moved, and loads what could not be loaded before and has moved since.
    pub fn follow(&self, look: Look) {
        for moved in self.source.moved(look) {
            let (name, version) = (moved.name, moved.version);
            match (moved.outcome, self.state(&name, Some(&version))) {
                (Err(why), _) => (self.tell)(Event::Kept { name, version, why }),
                // Whoever unloaded it does not want it back.
                (Ok(()), Ok(State::Unloaded)) | (Ok(()), Err(_)) => {}
                (Ok(()), Ok(_)) => {
                    let _ = self.replace(&name, &version);
                }
            }
        }
    }

    /// Takes a model out; without a version, every version. What it has taken is answered.
    ///
    /// Errors: there is no such model.
    pub fn unload(&self, name: &str, version: Option<&str>) -> Result<(), Error> {
        let versions = match version {
            Some(version) => vec![version.to_owned()],
            None => self.versions(name),
        };
        if versions.is_empty() {
            return Err(Error::UnknownModel(name.to_owned()));
        }
        for version in versions {
            self.state(name, Some(&version))?;
            let busy = self.busy(name, &version);
            let _busy = lock(&busy);
            self.set(name, &version, State::Unloaded);
            self.told(name, &version, &State::Unloaded);
        }
        Ok(())
    }

    /// Puts every model to sleep that nobody has called for longer than it may stay.
    pub fn let_sleep(&self) {
        let Some(keep_alive) = self.policy.keep_alive else {
            return;
        };
        for model in self.ready() {
            let (profile, idle) = (Arc::clone(model.profile()), model.idle());
            drop(model);
            if idle >= keep_alive {
                self.put_to_sleep(profile.name(), profile.version(), keep_alive);
            }
        }
    }

    /// Puts a model to sleep that has been idle for so long, unless somebody holds it; tells whether it sleeps.
    pub(super) fn put_to_sleep(&self, name: &str, version: &str, idle: Duration) -> bool {
        let busy = self.busy(name, version);
        let Ok(_busy) = busy.try_lock() else { return false };
        let (state, model) = {
            let mut families = self.write();
            let Some(slot) = families.slot_mut(name, version) else {
                return false;
            };
            let State::Ready(model) = &slot.state else { return false };
            // Nobody finds it while the lock is held, so a count of one says that nobody holds it.
            if Arc::strong_count(model) > 1 || model.idle() < idle {
                return false;
            }
            let asleep = State::Asleep(Arc::clone(model.profile()));
            (asleep.clone(), std::mem::replace(&mut slot.state, asleep))
        };
        drop(model);
        self.metrics.set_instances(name, version, 0);
        self.told(name, version, &state);
        true
    }

    /// Loads a model within the memory that models may take, and gives where it then stands: ready, or asleep where others
    /// that are being called leave it no room.
    pub(super) fn bring(&self, name: &str, version: &str) -> Result<State, SourceError> {
        let _room = self.policy.most_bytes.map(|_| lock(&self.room));
        self.make_room(name, version)?;
        let loaded = warmed(self.source.as_ref(), name, version)?;
        let metrics = self.metrics.of_model(name, version);
        let model = Model::start(name, version, loaded, metrics, &self.ends)
            .map_err(|error| SourceError(format!("its threads cannot be started: {error}")))?;
        self.fit(model)
    }
}

fn not_loaded(name: &str, error: SourceError) -> Error {
    Error::NotLoaded {
        name: name.to_owned(),
        why: error.0,
    }
}

/// Loads a model and lets each of its instances answer what it must before it is ready.
fn warmed(source: &dyn ModelSource, name: &str, version: &str) -> Result<Loaded, SourceError> {
    let mut loaded = source.load(name, version)?;
    // A device finds its plan in the first call of a size, and records it in the second.
    let times = if loaded.settings.even_batches { 2 } else { 1 };
    for call in std::mem::take(&mut loaded.warm_up) {
        // Beside each other: what a device compiles keeps one core busy for an instance, and for many seconds.
        let answered: Result<Vec<()>, Fault> = thread::scope(|scope| {
            let started: Vec<_> = loaded
                .executors
                .iter_mut()
                .map(|executor| {
                    let call = call.clone();
                    scope.spawn(move || (0..times).try_for_each(|_| answer(executor.as_mut(), &call)))
                })
                .collect();
            let ended = started.into_iter().map(|warming| warming.join());
            ended.map(|ended| ended.unwrap_or(Err(Fault::Lost))).collect()
        });
        answered.map_err(|fault| SourceError(format!("it does not answer the call that warms it up: {fault}")))?;
    }
    Ok(loaded)
}

fn answer(executor: &mut dyn Executor, call: &WarmUp) -> Result<(), Fault> {
    /// The first is chosen without what the model remembers, the second with it.
    const TOKENS: u64 = 2;
    let deadline = Some(Instant::now() + WARM_UP);
    let cancel = Cancel::default();
    match call {
        WarmUp::Call(inputs) => {
            let inputs: Vec<Value> = inputs.iter().cloned().map(Value::from).collect();
            executor.run(&inputs, deadline, &cancel).map(drop)
        }
        WarmUp::Words(inputs) => {
            let call = GenerateCall {
                inputs: inputs.clone(),
                most_tokens: TOKENS,
                deadline,
                cancel: &cancel,
            };
            executor.generate(call, &mut |_| ControlFlow::Continue(())).map(drop)
        }
    }
}
