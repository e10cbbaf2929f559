//! How long to wait before the next try.

use std::time::Duration;

/// Bounds on trying again.
#[derive(Clone, Debug)]
pub struct Retries {
    /// Tries in all, the first included.
    pub attempts: u32,
    /// The mean wait before the second try; it doubles with each.
    pub first_wait: Duration,
    /// No computed wait is longer.
    pub longest_wait: Duration,
    /// No `Retry-After` is honoured beyond this.
    pub longest_retry_after: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts: 6,
            first_wait: Duration::from_millis(250),
            longest_wait: Duration::from_secs(15),
            longest_retry_after: Duration::from_secs(90),
        }
    }
}

impl Retries {
    /// Gives the wait before try `attempt` + 1 (`attempt` counts from 1): what the registry asked for within its cap, else
    /// a doubling wait with jitter, so that clients that failed together do not come back together.
    pub fn wait(&self, attempt: u32, retry_after: Option<Duration>) -> Duration {
        let doubled = self.first_wait.saturating_mul(1 << attempt.saturating_sub(1).min(16));
        let jittered = doubled.min(self.longest_wait).mul_f64(0.5 + fastrand::f64());
        match retry_after {
            Some(asked) => asked.min(self.longest_retry_after).max(jittered.min(self.first_wait)),
            None => jittered,
        }
    }
}

/// Reads `Retry-After`: seconds, or an HTTP date; a date in the past is no wait, and what cannot be read is nothing. Dates
/// need a clock.
pub(super) fn retry_after(value: &str, now: Option<jiff::Timestamp>) -> Option<Duration> {
    let value = value.trim();
    if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(Duration::from_secs(value.parse().unwrap_or(u64::MAX)));
    }
    let date = jiff::fmt::rfc2822::parse(value).ok()?.timestamp();
    Some(Duration::try_from(date.duration_since(now?)).unwrap_or(Duration::ZERO))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = jiff::Timestamp::from_second(784_111_777).ok();
        assert_eq!(retry_after("1", now), Some(Duration::from_secs(1)));
        assert_eq!(
            retry_after("99999999999999999999999", now),
            Some(Duration::from_secs(u64::MAX))
        );
        assert_eq!(
            retry_after("Sun, 06 Nov 1994 08:49:47 GMT", now),
            Some(Duration::from_secs(10))
        );
        assert_eq!(retry_after("Sun, 06 Nov 1994 08:49:27 GMT", now), Some(Duration::ZERO));
        assert_eq!(retry_after("soon", now), None);
        assert_eq!(retry_after("-4", now), None);
    }

    #[test]
    fn retry_after_is_capped_and_waits_grow() {
        let retries = Retries::default();
        assert_eq!(
            retries.wait(1, Some(Duration::from_secs(1_000_000_000))),
            retries.longest_retry_after
        );
        assert!(retries.wait(1, None) <= Duration::from_millis(375));
        assert!(retries.wait(5, None) >= Duration::from_secs(2));
        assert!(retries.wait(60, None) <= retries.longest_wait.mul_f64(1.5));
    }
}
