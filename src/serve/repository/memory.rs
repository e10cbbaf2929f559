//! How much memory models may take together, and who makes room.

use std::sync::Arc;
use std::time::Duration;

use super::{Repository, SourceError, State};
use crate::serve::Model;

/// How long a model may take to end once it was put to sleep.
const PATIENCE: Duration = Duration::from_secs(30);

impl Repository {
    /// Puts others to sleep, those not called for the longest first, until a model that is not loaded yet fits.
    ///
    /// Errors: it alone takes more than all models may, or those that are being called leave it no room.
    pub(super) fn make_room(&self, name: &str, version: &str) -> Result<(), SourceError> {
        let Some(most_bytes) = self.policy.most_bytes else {
            return Ok(());
        };
        let known = self.read().slot(name, version).and_then(|slot| slot.resident_bytes);
        let known = known.or_else(|| self.source.size_bytes(name, version));
        let needed = known.unwrap_or(0);
        if needed > most_bytes {
            return Err(too_large(needed, most_bytes));
        }
        match self.free(needed, most_bytes, None) {
            Ok(()) => Ok(()),
            Err(used) => Err(SourceError(format!(
                "it needs about {}, and models that are being called take {} of the {} of --models-memory",
                size(needed),
                size(used),
                size(most_bytes)
            ))),
        }
    }

    /// Sees whether a model that is loaded fits, and makes room where it does not.
    ///
    /// Gives where it then stands: asleep again where those that are being called leave it no room.
    /// Errors: it alone takes more than all models may.
    pub(super) fn fit(&self, model: Model) -> Result<State, SourceError> {
        let model = Arc::new(model);
        let Some(most_bytes) = self.policy.most_bytes else {
            return Ok(State::Ready(model));
        };
        let taken = model.resident_bytes().unwrap_or(0);
        if let Some(slot) = self.write().slot_mut(model.name(), model.version()) {
            slot.resident_bytes = Some(taken);
        }
        if taken > most_bytes {
            return Err(too_large(taken, most_bytes));
        }
        match self.free(taken, most_bytes, Some(&model)) {
            Ok(()) => Ok(State::Ready(model)),
            Err(_) => Ok(State::Asleep(Arc::clone(model.profile()))),
        }
    }

    /// Puts models to sleep until the rest and `needed` are no more than `most_bytes`.
    ///
    /// Errors: what the rest takes, where no more of it can sleep.
    fn free(&self, needed: u64, most_bytes: u64, newcomer: Option<&Arc<Model>>) -> Result<(), u64> {
        let is_newcomer = |model: &Model| {
            newcomer.is_some_and(|other| (other.name(), other.version()) == (model.name(), model.version()))
        };
        loop {
            self.ends.wait(PATIENCE);
            let mut others = self.ready();
            // The one that a newcomer replaces goes when it comes.
            others.retain(|model| !is_newcomer(model));
            let used: u64 = others.iter().filter_map(|model| model.resident_bytes()).sum();
            if used.saturating_add(needed) <= most_bytes {
                return Ok(());
            }
            others.sort_by_key(|model| std::cmp::Reverse(model.idle()));
            let places: Vec<(String, String)> = others
                .iter()
                .map(|model| (model.name().to_owned(), model.version().to_owned()))
                .collect();
            drop(others);
            let slept = places
                .iter()
                .any(|(name, version)| self.put_to_sleep(name, version, Duration::ZERO));
            if !slept {
                return Err(used);
            }
        }
    }
}

fn too_large(needed: u64, most_bytes: u64) -> SourceError {
    SourceError(format!(
        "it takes {}, and all models together may take {} by --models-memory",
        size(needed),
        size(most_bytes)
    ))
}

/// Writes a size as people read it.
fn size(bytes: u64) -> String {
    match bytes {
        0..10_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        10_000_000..10_000_000_000 => format!("{:.0} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}
