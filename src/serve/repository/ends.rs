use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Counts the models that are about to end, so that who needs their memory can wait for it.
#[derive(Clone, Debug, Default)]
pub struct Ends(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: Mutex<usize>,
    changed: Condvar,
}

/// Is a model that is about to end; dropped when it has.
#[derive(Debug)]
pub struct Ending(Ends);

impl Ends {
    /// Counts a model.
    pub fn begin(&self) -> Ending {
        *self.0.count.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Ending(self.clone())
    }

    /// Waits until none is left; tells whether that was so in time.
    pub fn wait(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        let mut count = self.0.count.lock().unwrap_or_else(PoisonError::into_inner);
        while *count > 0 {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            let waited = self.0.changed.wait_timeout(count, left);
            count = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        let shared = &self.0.0;
        *shared.count.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        shared.changed.notify_all();
    }
}
