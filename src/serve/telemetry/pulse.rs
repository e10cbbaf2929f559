use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::Quantiles;
use crate::serve::Repository;

/// Says how a model does just now.
#[derive(Clone, Debug, PartialEq)]
pub struct Pulse {
    pub name: String,
    pub version: String,
    pub requests_per_second: f64,
    pub p50: Duration,
    pub p99: Duration,
    /// How many requests wait.
    pub waiting: usize,
}

/// Takes the pulse of each model, again and again.
#[derive(Debug)]
pub struct Pulses {
    looked: Instant,
    counts: HashMap<(String, String), Vec<u64>>,
}

impl Pulses {
    /// Begins to look: the first rates are those from now on.
    pub fn new() -> Self {
        Pulses {
            looked: Instant::now(),
            counts: HashMap::new(),
        }
    }

    /// Says of every model that is ready what it did since the last look.
    pub fn take(&mut self, repository: &Repository) -> Vec<Pulse> {
        let since = self.looked.elapsed().as_secs_f64().max(1e-3);
        self.looked = Instant::now();
        let mut counts = HashMap::new();
        let ready = repository.ready();
        let each = ready.iter().map(|model| {
            let key = (model.name().to_owned(), model.version().to_owned());
            let now = model.metrics().latencies().counts();
            let found = Quantiles::between(self.counts.get(&key).map_or(&[], Vec::as_slice), &now);
            counts.insert(key, now);
            Pulse {
                name: model.name().to_owned(),
                version: model.version().to_owned(),
                requests_per_second: found.count as f64 / since,
                p50: found.p50,
                p99: found.p99,
                waiting: model.waiting(),
            }
        });
        let pulses = each.collect();
        self.counts = counts;
        pulses
    }
}
