//! Models that sleep, woken by the first request and waited for by all.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::{Repository, SourceError, State, lock};
use crate::serve::model::Profile;
use crate::serve::{Error, Model};

/// Is the waking of a model.
#[derive(Debug)]
pub struct Wake {
    profile: Arc<Profile>,
    outcome: watch::Receiver<Outcome>,
    /// Cloned by each request that waits.
    waiting: Arc<()>,
}

/// Is what the waking came to, once that is known.
type Outcome = Option<Result<Arc<Model>, SourceError>>;

/// Is what a request does about a model that slept when it was found.
enum Begun {
    Ready(Arc<Model>),
    Waits(watch::Receiver<Outcome>, Arc<()>),
}

impl Wake {
    /// Gives what is known of the model.
    pub fn profile(&self) -> &Arc<Profile> {
        &self.profile
    }
}

impl Repository {
    /// Waits until a model is loaded again, which the first that waits begins.
    pub(super) async fn wake(
        self: &Arc<Self>,
        profile: &Arc<Profile>,
        timeout: Option<Duration>,
    ) -> Result<Arc<Model>, Error> {
        let (mut outcome, _waiting) = match self.begin_wake(profile)? {
            Begun::Ready(model) => return Ok(model),
            Begun::Waits(outcome, waiting) => (outcome, waiting),
        };
        let timeout = timeout.into_iter().chain(profile.settings().timeout).min();
        let woken = outcome.wait_for(Option::is_some);
        let woken = match timeout {
            Some(timeout) => tokio::time::timeout(timeout, woken)
                .await
                .map_err(|_| Error::TimedOut(timeout))?,
            None => woken.await,
        };
        let not_ready = |why: &str| Error::NotReady {
            name: profile.name().to_owned(),
            why: why.to_owned(),
        };
        match woken.as_deref() {
            Ok(Some(Ok(model))) => Ok(Arc::clone(model)),
            Ok(Some(Err(error))) => Err(not_ready(&error.0)),
            Ok(None) | Err(_) => Err(not_ready("it was not loaded again")),
        }
    }

    fn begin_wake(self: &Arc<Self>, profile: &Arc<Profile>) -> Result<Begun, Error> {
        let (name, version) = (profile.name(), profile.version());
        let gone = |why: &str| Error::NotReady {
            name: name.to_owned(),
            why: why.to_owned(),
        };
        let mut families = self.write();
        if families.is_closed {
            return Err(Error::Closing(name.to_owned()));
        }
        let slot = families.slot_mut(name, version);
        let slot = slot.ok_or_else(|| gone("it was unloaded"))?;
        match &slot.state {
            State::Ready(model) => Ok(Begun::Ready(Arc::clone(model))),
            State::Waking(wake) => {
                let waiting = Arc::strong_count(&wake.waiting) - 1;
                if waiting >= profile.settings().queue_size {
                    let name = name.to_owned();
                    return Err(Error::Full { name, waiting });
                }
                Ok(Begun::Waits(wake.outcome.clone(), Arc::clone(&wake.waiting)))
            }
            State::Asleep(_) => {
                let (sender, outcome) = watch::channel(None);
                let waiting = Arc::default();
                slot.state = State::Waking(Arc::new(Wake {
                    profile: Arc::clone(profile),
                    outcome: outcome.clone(),
                    waiting: Arc::clone(&waiting),
                }));
                drop(families);
                let (repository, profile) = (Arc::clone(self), Arc::clone(profile));
                tokio::task::spawn_blocking(move || repository.load_again(&profile, &sender));
                Ok(Begun::Waits(outcome, waiting))
            }
            State::Loading => Err(gone("it is being loaded")),
            State::Unloaded => Err(gone("it was unloaded")),
            State::Failed(error) => Err(gone(&error.0)),
        }
    }

    fn load_again(&self, profile: &Arc<Profile>, sender: &watch::Sender<Outcome>) {
        let (name, version) = (profile.name(), profile.version());
        let busy = self.busy(name, version);
        let _busy = lock(&busy);
        // Whoever unloaded it, or loaded it anew, was faster.
        match self.state(name, Some(version)) {
            Ok(State::Waking(_)) => {}
            Ok(State::Ready(model)) => {
                sender.send_replace(Some(Ok(model)));
                return;
            }
            _ => {
                sender.send_replace(Some(Err(SourceError("it was unloaded".into()))));
                return;
            }
        }
        let (state, outcome) = match self.bring(name, version) {
            Ok(State::Ready(model)) => (State::Ready(Arc::clone(&model)), Ok(model)),
            Ok(_) => {
                let why = "models that are being called take all of the memory of --models-memory";
                (State::Asleep(Arc::clone(profile)), Err(SourceError(why.into())))
            }
            Err(error) => (State::Asleep(Arc::clone(profile)), Err(error)),
        };
        let goes_on = self.set(name, version, state.clone());
        match (&outcome, goes_on) {
            (_, false) => {
                sender.send_replace(Some(Err(SourceError("the server is about to stop".into()))));
                return;
            }
            (Ok(_), true) => self.told(name, version, &state),
            (Err(error), true) => self.told(name, version, &State::Failed(error.clone())),
        }
        sender.send_replace(Some(outcome));
    }
}
