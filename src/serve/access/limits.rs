//! How often a token may be used, and how many of its requests are answered at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Counts the use of one token.
#[derive(Debug)]
pub(super) struct Usage {
    bucket: Option<Mutex<Bucket>>,
    places: Option<(Arc<Semaphore>, u32)>,
}

/// Says that a token is used more than it may be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Excess {
    /// It is used too often; it may be used again after this time.
    Often(Duration),
    /// This many of its requests are being answered.
    AtOnce(u32),
}

impl Usage {
    /// Starts counting: at most `rate` requests a second, at most `concurrency` at once.
    pub fn new(rate: Option<f64>, concurrency: Option<u32>) -> Self {
        Usage {
            bucket: rate.map(|rate| Mutex::new(Bucket::new(rate, Instant::now()))),
            places: concurrency.map(|most| (Arc::new(Semaphore::new(most as usize)), most)),
        }
    }

    /// Tells whether it counts for these limits.
    pub fn is_for(&self, rate: Option<f64>, concurrency: Option<u32>) -> bool {
        let own = self.bucket.as_ref().map(|bucket| lock(bucket).rate);
        own == rate && self.places.as_ref().map(|(_, most)| *most) == concurrency
    }

    /// Takes a place for a request, to be held until it is answered; `None` where there is no bound.
    ///
    /// Errors: [`Excess`].
    pub fn enter(&self) -> Result<Option<OwnedSemaphorePermit>, Excess> {
        let place = match &self.places {
            Some((places, most)) => {
                let place = Arc::clone(places).try_acquire_owned();
                Some(place.map_err(|_| Excess::AtOnce(*most))?)
            }
            None => None,
        };
        // A request that finds no place does not count as one.
        self.count()?;
        Ok(place)
    }

    /// Counts a request that has its place already, such as one of a stream.
    ///
    /// Errors: [`Excess::Often`].
    pub fn count(&self) -> Result<(), Excess> {
        match &self.bucket {
            Some(bucket) => lock(bucket).take(Instant::now()).map_err(Excess::Often),
            None => Ok(()),
        }
    }
}

fn lock(bucket: &Mutex<Bucket>) -> std::sync::MutexGuard<'_, Bucket> {
    bucket.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Holds up to a second's worth of requests, and at least one; fills as time goes by. Pure: it is told the time.
#[derive(Debug)]
struct Bucket {
    rate: f64,
    content: f64,
    at: Instant,
}

impl Bucket {
    fn new(rate: f64, now: Instant) -> Self {
        Bucket {
            rate,
            content: rate.max(1.0),
            at: now,
        }
    }

    /// Takes one request out; else says how long until there is one.
    fn take(&mut self, now: Instant) -> Result<(), Duration> {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.content = (self.content + passed * self.rate).min(self.rate.max(1.0));
        self.at = now;
        if self.content >= 1.0 {
            self.content -= 1.0;
            return Ok(());
        }
        Err(Duration::try_from_secs_f64((1.0 - self.content) / self.rate).unwrap_or(Duration::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_lets_a_second_s_worth_through_and_then_the_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(4.0, start);
        let at = |ms: u64| start + Duration::from_millis(ms);
        assert_eq!((0..9).filter(|_| bucket.take(at(0)).is_ok()).count(), 4);
        assert_eq!(bucket.take(at(0)), Err(Duration::from_millis(250)));
        assert_eq!((0..9).filter(|_| bucket.take(at(500)).is_ok()).count(), 2);
        assert_eq!((0..9).filter(|_| bucket.take(at(60_000)).is_ok()).count(), 4);
    }

    #[test]
    fn a_rate_below_one_lets_one_through_at_a_time() {
        let start = Instant::now();
        let mut bucket = Bucket::new(0.1, start);
        assert!(bucket.take(start).is_ok());
        assert_eq!(bucket.take(start), Err(Duration::from_secs(10)));
        assert!(bucket.take(start + Duration::from_secs(10)).is_ok());
    }

    #[test]
    fn a_place_is_free_again_once_it_is_let_go() {
        let usage = Usage::new(None, Some(1));
        let place = usage.enter().unwrap();
        assert_eq!(usage.enter().unwrap_err(), Excess::AtOnce(1));
        drop(place);
        assert!(usage.enter().is_ok());
        assert!(Usage::new(None, None).enter().unwrap().is_none());
    }
}
