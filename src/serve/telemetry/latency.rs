use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Steps of the histogram between a time and its double.
const STEPS: usize = 8;
/// From a microsecond to some two minutes.
const BUCKETS: usize = 27 * STEPS;

/// Counts times in buckets that grow by 9 % each, without a lock.
#[derive(Debug)]
pub struct Latencies([AtomicU64; BUCKETS]);

/// Is what happened between two looks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Quantiles {
    pub count: u64,
    pub p50: Duration,
    pub p99: Duration,
}

impl Default for Latencies {
    fn default() -> Self {
        Latencies(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl Latencies {
    /// Counts a time.
    pub fn observe(&self, time: Duration) {
        let micros = (time.as_secs_f64() * 1e6).max(1.0);
        let at = (micros.log2() * STEPS as f64) as usize;
        self.0[at.min(BUCKETS - 1)].fetch_add(1, Ordering::Relaxed);
    }

    /// Gives the counts so far.
    pub fn counts(&self) -> Vec<u64> {
        self.0.iter().map(|count| count.load(Ordering::Relaxed)).collect()
    }
}

impl Quantiles {
    /// Compares the counts of two looks; times are the upper ends of their buckets.
    pub fn between(before: &[u64], now: &[u64]) -> Quantiles {
        let each: Vec<u64> = now
            .iter()
            .enumerate()
            .map(|(at, count)| count.saturating_sub(before.get(at).copied().unwrap_or(0)))
            .collect();
        let count: u64 = each.iter().sum();
        let quantile = |share: f64| {
            let rank = (share * count as f64).ceil() as u64;
            let mut seen = 0;
            let at = each.iter().position(|count| {
                seen += count;
                seen >= rank.max(1)
            });
            let upper = |at: usize| Duration::from_secs_f64(2f64.powf((at + 1) as f64 / STEPS as f64) / 1e6);
            at.map_or(Duration::ZERO, upper)
        };
        Quantiles {
            count,
            p50: quantile(0.5),
            p99: quantile(0.99),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_what_came_in_between_to_a_tenth() {
        let latencies = Latencies::default();
        latencies.observe(Duration::from_secs(9));
        let before = latencies.counts();
        for millis in 1..=100 {
            latencies.observe(Duration::from_millis(millis));
        }
        let found = Quantiles::between(&before, &latencies.counts());
        assert_eq!(found.count, 100);
        for (found, wanted) in [(found.p50, 0.050), (found.p99, 0.099)] {
            let ratio = found.as_secs_f64() / wanted;
            assert!((1.0..1.1).contains(&ratio), "{found:?} for {wanted} s");
        }
        assert_eq!(Quantiles::between(&before, &before), Quantiles::default());
        latencies.observe(Duration::ZERO);
        latencies.observe(Duration::from_secs(100_000));
    }
}
