//! How many connections carry data: more only while more pays.

use std::time::{Duration, Instant};

/// Data is counted over at least this long before a number is judged.
const WINDOW: Duration = Duration::from_millis(500);
/// A rise pays when the rate grows by this much.
const PAYS: f64 = 1.15;
/// After a rise that did not pay, the next is tried no sooner.
const REST: Duration = Duration::from_secs(8);

/// Climbs from a few connections to many as long as the rate follows.
#[derive(Debug)]
pub(super) struct Ramp {
    lanes: usize,
    most: usize,
    /// The number and rate before the rise that is being tried.
    before: Option<(usize, f64)>,
    window: (Instant, u64),
    resting_until: Option<Instant>,
}

impl Ramp {
    /// Starts with `lanes` and goes to `most`.
    pub fn new(lanes: usize, most: usize, now: Instant) -> Self {
        Self {
            lanes: lanes.min(most),
            most,
            before: None,
            window: (now, 0),
            resting_until: None,
        }
    }

    /// The number of connections to use now.
    pub fn lanes(&self) -> usize {
        self.lanes
    }

    /// Judges the bytes that have come in all; `busy` says that every connection had work.
    pub fn observe(&mut self, total_bytes: u64, busy: bool, now: Instant) {
        let elapsed = now.duration_since(self.window.0);
        if elapsed < WINDOW {
            return;
        }
        let rate = (total_bytes - self.window.1) as f64 / elapsed.as_secs_f64();
        self.window = (now, total_bytes);
        if !busy {
            self.before = None;
            return;
        }
        if let Some((lanes, before)) = self.before.take()
            && rate < before * PAYS
        {
            self.lanes = lanes;
            self.resting_until = Some(now + REST);
            return;
        }
        if self.lanes < self.most && self.resting_until.is_none_or(|until| now >= until) {
            self.before = Some((self.lanes, rate));
            self.lanes = (self.lanes * 2).min(self.most);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays a link on which `rate(lanes)` bytes come a second.
    fn settle(rate: impl Fn(usize) -> u64) -> usize {
        let start = Instant::now();
        let mut ramp = Ramp::new(3, 16, start);
        let mut total = 0;
        for n in 1..=12 {
            total += rate(ramp.lanes()) / 2;
            ramp.observe(total, true, start + WINDOW * n);
        }
        ramp.lanes()
    }

    #[test]
    fn lanes_grow_while_each_brings_more() {
        assert_eq!(settle(|lanes| 8_000_000 * lanes as u64), 16);
        assert_eq!(settle(|lanes| 8_000_000 * lanes.min(6) as u64), 6);
    }

    #[test]
    fn lanes_stay_few_where_more_do_not_help() {
        assert_eq!(settle(|lanes| 600_000_000 / (10 + lanes as u64)), 3);
        assert_eq!(settle(|_| 1_000_000), 3);
    }
}
