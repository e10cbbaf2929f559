use std::time::Duration;

use serde_json::json;

use super::answer::milliseconds;

/// Is the distribution of the times of a benchmark, sorted.
#[derive(Clone, Debug)]
pub struct Latency(Vec<Duration>);

/// Is one bin of a histogram: times from `from` up to `to`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bin {
    pub from: Duration,
    pub to: Duration,
    pub count: usize,
}

impl Latency {
    /// Takes the measured times, in any order.
    pub fn new(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        Latency(times)
    }

    /// Gives the nearest-rank quantile; zero where nothing was measured.
    pub fn quantile(&self, share: f64) -> Duration {
        let rank = (share * self.0.len() as f64).ceil() as usize;
        self.0
            .get(rank.clamp(1, self.0.len().max(1)) - 1)
            .copied()
            .unwrap_or_default()
    }

    /// Gives the shortest time.
    pub fn min(&self) -> Duration {
        self.0.first().copied().unwrap_or_default()
    }

    /// Gives the longest time.
    pub fn max(&self) -> Duration {
        self.0.last().copied().unwrap_or_default()
    }

    /// Gives the arithmetic mean.
    pub fn mean(&self) -> Duration {
        self.total()
            .checked_div(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
            .unwrap_or_default()
    }

    /// Gives the standard deviation of the sample.
    pub fn std(&self) -> Duration {
        if self.0.len() < 2 {
            return Duration::ZERO;
        }
        let mean = self.mean().as_secs_f64();
        let squares: f64 = self.0.iter().map(|time| (time.as_secs_f64() - mean).powi(2)).sum();
        Duration::from_secs_f64((squares / (self.0.len() - 1) as f64).sqrt())
    }

    /// Adds all times up.
    pub fn total(&self) -> Duration {
        self.0.iter().sum()
    }

    /// Sorts the times into `bins` bins of equal width between the shortest and the 99th percentile; what is longer
    /// falls into the last.
    pub fn histogram(&self, bins: usize) -> Vec<Bin> {
        let (low, high) = (
            self.min(),
            self.quantile(0.99).max(self.min() + Duration::from_nanos(1)),
        );
        let width = (high - low).as_secs_f64() / bins as f64;
        let mut counts = vec![0; bins];
        for time in &self.0 {
            let at = ((*time - low).as_secs_f64() / width) as usize;
            counts[at.min(bins - 1)] += 1;
        }
        let edge = |at: usize| low + Duration::from_secs_f64(width * at as f64);
        let bin = |(at, count)| Bin {
            from: edge(at),
            to: if at + 1 == bins { self.max() } else { edge(at + 1) },
            count,
        };
        counts.into_iter().enumerate().map(bin).collect()
    }

    /// Gives the figures of the JSON contract, in milliseconds.
    pub fn to_json(&self) -> serde_json::Value {
        json!({
            "mean": milliseconds(self.mean()),
            "std": milliseconds(self.std()),
            "min": milliseconds(self.min()),
            "p50": milliseconds(self.quantile(0.50)),
            "p95": milliseconds(self.quantile(0.95)),
            "p99": milliseconds(self.quantile(0.99)),
            "max": milliseconds(self.max()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn latency(milliseconds: &[u64]) -> Latency {
        Latency::new(milliseconds.iter().copied().map(Duration::from_millis).collect())
    }

    #[test]
    fn quantiles_are_by_nearest_rank() {
        let hundred: Vec<u64> = (1..=100).rev().collect();
        let latency = latency(&hundred);
        assert_eq!(latency.quantile(0.50), Duration::from_millis(50));
        assert_eq!(latency.quantile(0.99), Duration::from_millis(99));
        assert_eq!(latency.quantile(0.0), Duration::from_millis(1));
        assert_eq!(latency.max(), Duration::from_millis(100));
        assert_eq!(latency.mean(), Duration::from_micros(50_500));
    }

    #[test]
    fn a_histogram_counts_every_time() {
        let latency = latency(&[1, 1, 2, 3, 50]);
        let bins = latency.histogram(4);
        assert_eq!(bins.iter().map(|bin| bin.count).sum::<usize>(), 5);
        assert_eq!(bins[0].from, Duration::from_millis(1));
        assert_eq!(bins[3].to, Duration::from_millis(50));
    }

    #[test]
    fn one_time_is_enough_for_every_figure() {
        let latency = latency(&[7]);
        assert_eq!(latency.std(), Duration::ZERO);
        assert_eq!(latency.quantile(0.95), Duration::from_millis(7));
        assert_eq!(latency.histogram(3).iter().map(|bin| bin.count).sum::<usize>(), 1);
    }
}
