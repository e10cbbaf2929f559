//! The models that are served, by name and version.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::{Error, Loaded, Metrics, Model};

/// Loads what a server serves; the store stands behind it.
pub trait ModelSource: Send + Sync {
    /// Gives the models to serve, by name and version, in the order in which they are loaded.
    fn models(&self) -> Vec<(ModelName, Version)>;

    /// Loads one of them. It is called on a thread of its own, and may take long.
    fn load(&self, name: &str, version: &str) -> Result<Loaded, SourceError>;
}

/// Says in words why a model could not be loaded.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{0}")]
pub struct SourceError(pub String);

/// Names a model.
pub type ModelName = String;
/// Names one of its versions.
pub type Version = String;

/// Is where a model stands between unknown and ready.
#[derive(Clone, Debug)]
pub enum State {
    /// It is being loaded.
    Loading,
    /// It answers.
    Ready(Arc<Model>),
    /// It was unloaded.
    Unloaded,
    /// It could not be loaded.
    Failed(SourceError),
}

/// Is what the index of a repository tells of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub name: ModelName,
    pub version: Version,
    /// `READY`, `LOADING` or `UNAVAILABLE`.
    pub state: &'static str,
    /// Why it is not ready; empty where it is.
    pub reason: String,
}

/// Holds the models of a server.
#[derive(Debug, Default)]
pub struct Repository {
    models: RwLock<BTreeMap<ModelName, BTreeMap<Version, State>>>,
    /// The order in which versions came: the last is what a call without a version gets.
    order: RwLock<Vec<(ModelName, Version)>>,
    metrics: Arc<Metrics>,
}

impl Repository {
    /// Makes an empty repository.
    pub fn new(metrics: Arc<Metrics>) -> Self {
        Repository {
            metrics,
            ..Repository::default()
        }
    }

    /// Gives the counters.
    pub fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Loads every model of a source, one after the other; a model that fails does not keep the others from coming.
    pub fn load_all(&self, source: &dyn ModelSource, tell: &dyn Fn(&str, &str, &State)) {
        let models = source.models();
        for (name, version) in &models {
            self.set(name, version, State::Loading);
        }
        for (name, version) in &models {
            let state = self.load(source, name, version);
            tell(name, version, &state);
        }
    }

    /// Loads one model and tells how it went.
    pub fn load(&self, source: &dyn ModelSource, name: &str, version: &str) -> State {
        self.set(name, version, State::Loading);
        let loaded = source.load(name, version).and_then(|loaded| {
            let metrics = self.metrics.of_model(name, version, loaded.executors.len());
            Model::start(name, version, loaded, metrics)
                .map_err(|error| SourceError(format!("its threads cannot be started: {error}")))
        });
        let state = match loaded {
            Ok(model) => State::Ready(Arc::new(model)),
            Err(error) => State::Failed(error),
        };
        self.set(name, version, state.clone());
        state
    }

    /// Takes a model out and answers what it has taken.
    ///
    /// Errors: there is no such model.
    pub fn unload(&self, name: &str, version: &str) -> Result<(), Error> {
        let model = self.find(name, Some(version))?;
        self.set(name, version, State::Unloaded);
        model.close();
        model.join();
        Ok(())
    }

    /// Finds a model that is ready; without a version, the one that came last.
    ///
    /// Errors: it is unknown, in this version too, or not ready.
    pub fn find(&self, name: &str, version: Option<&str>) -> Result<Arc<Model>, Error> {
        let not_ready = |why: &str| Error::NotReady {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        match self.state(name, version)? {
            State::Ready(model) => Ok(model),
            State::Loading => Err(not_ready("it is being loaded")),
            State::Unloaded => Err(not_ready("it was unloaded")),
            State::Failed(error) => Err(not_ready(&error.0)),
        }
    }

    /// Tells where a model stands.
    ///
    /// Errors: it is unknown, in this version too.
    pub fn state(&self, name: &str, version: Option<&str>) -> Result<State, Error> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let versions = models.get(name).ok_or_else(|| Error::UnknownModel(name.to_owned()))?;
        let latest;
        let version = match version {
            Some(version) => version,
            None => {
                latest = self.latest(name);
                &latest
            }
        };
        versions.get(version).cloned().ok_or_else(|| Error::UnknownVersion {
            name: name.to_owned(),
            version: version.to_owned(),
        })
    }

    /// Gives the versions of a model, in the order in which they came.
    pub fn versions(&self, name: &str) -> Vec<Version> {
        let order = self.order.read().unwrap_or_else(PoisonError::into_inner);
        let of_name = order.iter().filter(|(other, _)| other == name);
        of_name.map(|(_, version)| version.clone()).collect()
    }

    /// Lists every model.
    pub fn index(&self) -> Vec<Status> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let each = models.iter().flat_map(|(name, versions)| {
            versions.iter().map(move |(version, state)| {
                let (state, reason) = match state {
                    State::Ready(_) => ("READY", String::new()),
                    State::Loading => ("LOADING", String::new()),
                    State::Unloaded => ("UNAVAILABLE", "unloaded".to_owned()),
                    State::Failed(error) => ("UNAVAILABLE", error.0.clone()),
                };
                Status {
                    name: name.clone(),
                    version: version.clone(),
                    state,
                    reason,
                }
            })
        });
        each.collect()
    }

    /// Gives the models that are ready.
    pub fn ready(&self) -> Vec<Arc<Model>> {
        let models = self.models.read().unwrap_or_else(PoisonError::into_inner);
        let states = models.values().flat_map(BTreeMap::values);
        let ready = states.filter_map(|state| match state {
            State::Ready(model) => Some(Arc::clone(model)),
            _ => None,
        });
        ready.collect()
    }

    /// Tells whether every model is ready.
    pub fn is_ready(&self) -> bool {
        let index = self.index();
        !index.is_empty()
            && index
                .iter()
                .all(|status| status.state != "LOADING" && !is_failed(status))
    }

    /// Takes no more requests for any model, and waits until all that was taken is answered.
    pub fn close(&self) {
        let ready: Vec<Arc<Model>> = {
            let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
            let states = models.values_mut().flat_map(BTreeMap::values_mut);
            states
                .filter_map(|state| match std::mem::replace(state, State::Unloaded) {
                    State::Ready(model) => Some(model),
                    _ => None,
                })
                .collect()
        };
        for model in &ready {
            model.close();
        }
        for model in &ready {
            model.join();
        }
    }

    fn latest(&self, name: &str) -> Version {
        self.versions(name).pop().unwrap_or_default()
    }

    fn set(&self, name: &str, version: &str, state: State) {
        let replaced = {
            let mut models = self.models.write().unwrap_or_else(PoisonError::into_inner);
            let versions = models.entry(name.to_owned()).or_default();
            versions.insert(version.to_owned(), state)
        };
        if replaced.is_none() {
            let mut order = self.order.write().unwrap_or_else(PoisonError::into_inner);
            order.push((name.to_owned(), version.to_owned()));
        }
        // Dropped outside of the lock: the end of a model waits for its calls.
        drop(replaced);
    }
}

fn is_failed(status: &Status) -> bool {
    status.state == "UNAVAILABLE" && status.reason != "unloaded"
}
