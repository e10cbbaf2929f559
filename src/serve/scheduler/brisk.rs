//! Which calls are so short that to hand them to another thread costs more than they do.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The longest call that counts as brisk.
const BRISK: Duration = Duration::from_micros(200);
/// The most bytes of inputs of a brisk call: what they hold, a call may take its time over.
const MOST_BYTES: u64 = 16 << 10;

/// After a call that was not brisk, so many that are have to come before the next is expected to be.
const STREAK: u64 = 4;

/// Remembers up to what size of inputs the calls of a model were brisk when they were made last.
#[derive(Debug, Default)]
pub(super) struct Brisk {
    /// One more than the size. Units: bytes.
    below: AtomicU64,
    /// How many brisk calls came since the last that was not.
    streak: AtomicU64,
}

impl Brisk {
    /// Tells whether a call of inputs of so many bytes is expected to be brisk; the first is not.
    pub fn is_expected(&self, bytes: u64) -> bool {
        bytes < self.below.load(Ordering::Relaxed)
    }

    /// Takes note of a call.
    pub fn note(&self, bytes: u64, took: Duration) {
        // Two notes at once may undo each other, and the next one is right again.
        let below = self.below.load(Ordering::Relaxed);
        if took > BRISK {
            self.streak.store(0, Ordering::Relaxed);
            self.below.store(below.min(bytes), Ordering::Relaxed);
        } else if bytes >= below && bytes <= MOST_BYTES {
            let streak = self.streak.fetch_add(1, Ordering::Relaxed) + 1;
            if streak >= STREAK {
                self.below.store(bytes + 1, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_brisk_where_none_as_large_took_long() {
        let (short, long) = (Duration::from_micros(20), Duration::from_millis(2));
        let brisk = Brisk::default();
        assert!(!brisk.is_expected(0), "nothing is known");
        let note_all = |bytes| (0..STREAK).for_each(|_| brisk.note(bytes, short));
        note_all(100);
        assert!(brisk.is_expected(100) && brisk.is_expected(4) && !brisk.is_expected(101));
        brisk.note(5000, long);
        assert!(brisk.is_expected(100), "a larger one says nothing of it");
        brisk.note(50, long);
        assert!(!brisk.is_expected(100) && !brisk.is_expected(50) && brisk.is_expected(49));
        brisk.note(100, short);
        assert!(!brisk.is_expected(100), "one may be brisk by chance");
        note_all(100);
        assert!(brisk.is_expected(100));
        note_all(MOST_BYTES + 1);
        assert!(!brisk.is_expected(MOST_BYTES + 1), "much is never brisk");
    }
}
