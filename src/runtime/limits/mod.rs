//! Limits on time and memory, held by a thread that ends the process.
//!
//! No engine is a sandbox: a model of a kilobyte can load for an hour, run without end or ask for all memory, and
//! nothing within the process can be stopped from outside but all of it.

mod allocator;
mod memory;
mod raw;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

pub use allocator::LimitedAllocator;
pub use memory::{MemoryUse, resident_bytes_of};

use super::Error;

/// The exit code of a process that broke a limit, as of `timeout(1)`.
pub const EXIT_CODE: i32 = 124;

/// How often the limits on time are looked at, and memory while a model is loaded.
const INTERVAL: Duration = Duration::from_millis(20);

/// Gives how long memory needs not be looked at: less the sooner it could be used up, since to look holds up a call.
fn pause(room_bytes: u64) -> Duration {
    /// How much memory a process fills at most. Units: bytes a millisecond.
    const BYTES_PER_MS: u64 = 8_000_000;
    Duration::from_millis((room_bytes / BYTES_PER_MS).clamp(5, 100))
}

/// Bounds what a model may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How long loading may take.
    pub load: Option<Duration>,
    /// How long one call may take.
    pub run: Option<Duration>,
    /// How much anonymous memory the process may have; `None` means nine tenths of what its cgroup or the machine has.
    ///
    /// Units: bytes.
    pub memory_bytes: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            load: Some(Duration::from_secs(60)),
            run: None,
            memory_bytes: None,
        }
    }
}

impl Limits {
    /// Gives the lower of two limits each: what comes with a model can lower the user's, never raise them.
    pub fn lowered_by(self, other: Limits) -> Self {
        Limits {
            load: lower(self.load, other.load),
            run: lower(self.run, other.run),
            memory_bytes: lower(self.memory_bytes, other.memory_bytes),
        }
    }
}

fn lower<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// Says what the process does, and so which clock counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing that is bounded in time.
    Idle,
    /// Loads a model.
    Load,
    /// Answers a call.
    Run,
}

/// Says which limit was broken; the text's `it` is the model.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// Loading took too long.
    #[error("it did not load within {}", seconds(limit))]
    LoadTime { limit: Duration },
    /// A call took too long.
    #[error("it did not answer within {}", seconds(limit))]
    RunTime { limit: Duration },
    /// The process took too much memory.
    #[error("it took {} MiB of memory, and the limit is {} MiB", used_bytes.div_ceil(1 << 20), limit_bytes >> 20)]
    Memory { used_bytes: u64, limit_bytes: u64 },
    /// The process asked for too much memory at once.
    #[error("it asked for {} MiB of memory at once, and the limit is {} MiB", asked_bytes.div_ceil(1 << 20), limit_bytes >> 20)]
    Allocation { asked_bytes: u64, limit_bytes: u64 },
}

fn seconds(time: &Duration) -> String {
    format!("{} s", time.as_secs_f64())
}

/// Is the thread that holds a process to its limits, from its start until it is dropped.
#[derive(Debug)]
pub struct Watchdog {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

struct Shared {
    limits: Limits,
    began: Instant,
    /// The phase in the lowest two bits, above them the nanoseconds from `began` to its start: one store starts a phase.
    phase: AtomicU64,
    peak: Mutex<MemoryUse>,
    closed: AtomicBool,
    on_break: Box<dyn Fn(&Broken) + Send + Sync>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared")
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}

impl Watchdog {
    /// Starts the watch.
    ///
    /// When a limit is broken, `on_break` tells the user, and the process ends with [`EXIT_CODE`] at once: no
    /// destructor runs, since other threads are in the middle of their work.
    /// Errors: [`Error::Thread`] where the system gives no thread.
    pub fn start(limits: Limits, on_break: impl Fn(&Broken) + Send + Sync + 'static) -> Result<Self, Error> {
        let shared = Arc::new(Shared {
            limits,
            began: Instant::now(),
            phase: AtomicU64::new(Phase::Idle as u64),
            peak: Mutex::default(),
            closed: AtomicBool::new(false),
            on_break: Box::new(on_break),
        });
        let watched = Arc::clone(&shared);
        let thread = thread::Builder::new()
            .name("watchdog".to_owned())
            .spawn(move || watched.watch())
            .map_err(|source| Error::Thread { source })?;
        Ok(Watchdog {
            shared,
            thread: Some(thread),
        })
    }

    /// Starts a phase; its clock starts anew, in the same phase too.
    pub fn enter(&self, phase: Phase) {
        let nanoseconds = self.shared.began.elapsed().as_nanos() as u64;
        self.shared
            .phase
            .store(nanoseconds << 2 | phase as u64, Ordering::Relaxed);
    }

    /// Gives the most memory that the process had so far.
    pub fn peak(&self) -> MemoryUse {
        self.shared.measure();
        *self.shared.peak.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // A panic of the thread was printed when it happened; there is nobody to hand it to here.
            let _ = thread.join();
        }
        allocator::disarm();
    }
}

impl Shared {
    fn watch(self: Arc<Self>) {
        let memory_bytes = self.limits.memory_bytes.or_else(memory::default_limit);
        if let Some(limit_bytes) = memory_bytes {
            allocator::arm(limit_bytes, &self);
        }
        let mut next_look = Instant::now();
        while !self.closed.load(Ordering::Acquire) {
            let mut rest = next_look.saturating_duration_since(Instant::now());
            if self.limits.run.is_some() {
                rest = rest.min(INTERVAL);
            }
            thread::park_timeout(self.time_left().map_or(rest, |(left, _)| left.min(rest)));
            if let Some((Duration::ZERO, broken)) = self.time_left() {
                self.end(&broken);
            }
            if Instant::now() < next_look {
                continue;
            }
            let used_bytes = self.measure();
            let room_bytes = memory_bytes.unwrap_or(u64::MAX).saturating_sub(used_bytes);
            next_look = Instant::now() + pause(room_bytes);
            if is_in(self.phase.load(Ordering::Relaxed), Phase::Load) {
                next_look = next_look.min(Instant::now() + INTERVAL);
            }
            if let Some(limit_bytes) = memory_bytes
                && used_bytes > limit_bytes
            {
                self.end(&Broken::Memory {
                    used_bytes,
                    limit_bytes,
                });
            }
        }
    }

    /// Gives how long the phase may still take, and what is broken when that is zero; `None` where it is not bounded.
    fn time_left(&self) -> Option<(Duration, Broken)> {
        let state = self.phase.load(Ordering::Relaxed);
        let (limit, broken) = if is_in(state, Phase::Load) {
            let limit = self.limits.load?;
            (limit, Broken::LoadTime { limit })
        } else if is_in(state, Phase::Run) {
            let limit = self.limits.run?;
            (limit, Broken::RunTime { limit })
        } else {
            return None;
        };
        let elapsed = self.began.elapsed().saturating_sub(Duration::from_nanos(state >> 2));
        Some((limit.saturating_sub(elapsed), broken))
    }

    /// Reads the memory in use, keeps the peak and gives what is anonymous; 0 where the system does not tell.
    fn measure(&self) -> u64 {
        let Some(now) = memory::current() else { return 0 };
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        peak.anonymous_bytes = peak.anonymous_bytes.max(now.anonymous_bytes);
        peak.resident_bytes = peak.resident_bytes.max(now.resident_bytes);
        now.anonymous_bytes
    }

    /// Tells what was broken and ends the process.
    fn end(&self, broken: &Broken) -> ! {
        allocator::disarm();
        let exit = ExitOnDrop;
        (self.on_break)(broken);
        drop(exit);
        unreachable!("the process has ended")
    }
}

/// Tells whether a state, as [`Shared`] keeps it, is of a phase.
fn is_in(state: u64, phase: Phase) -> bool {
    state & 3 == phase as u64
}

/// Ends the process even where telling the user panics, as it does when nobody reads standard error any more.
struct ExitOnDrop;

impl Drop for ExitOnDrop {
    fn drop(&mut self) {
        raw::exit_at_once(EXIT_CODE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_lowers_limits_and_never_raises_them() {
        let second = Duration::from_secs(1);
        let user = Limits {
            load: Some(second),
            run: Some(second),
            memory_bytes: None,
        };
        let model = Limits {
            load: Some(second * 5),
            run: Some(second / 2),
            memory_bytes: Some(7),
        };
        let both = Limits {
            load: Some(second),
            run: Some(second / 2),
            memory_bytes: Some(7),
        };
        assert_eq!(user.lowered_by(model), both);
        assert_eq!(model.lowered_by(user), both);
    }

    #[test]
    fn a_broken_limit_is_named_with_its_value() {
        let limit = Duration::from_millis(1500);
        assert_eq!(Broken::RunTime { limit }.to_string(), "it did not answer within 1.5 s");
        let broken = Broken::Memory {
            used_bytes: (3 << 20) + 1,
            limit_bytes: 3 << 20,
        };
        assert_eq!(broken.to_string(), "it took 4 MiB of memory, and the limit is 3 MiB");
    }

    #[test]
    fn a_watchdog_lets_what_keeps_the_limits_pass_and_records_the_peak() {
        let limits = Limits {
            load: Some(Duration::from_secs(3600)),
            run: Some(Duration::from_millis(200)),
            memory_bytes: Some(u64::MAX),
        };
        let watchdog = Watchdog::start(limits, |broken| panic!("{broken}")).unwrap();
        watchdog.enter(Phase::Load);
        let held = vec![1u8; 64 << 20];
        let loaded = watchdog.peak();
        drop(held);
        for _ in 0..3 {
            watchdog.enter(Phase::Run);
            thread::sleep(Duration::from_millis(100));
        }
        let peak = watchdog.peak();
        assert!(loaded.anonymous_bytes > 64 << 20, "{loaded:?}");
        assert!(peak.anonymous_bytes >= loaded.anonymous_bytes && peak.resident_bytes >= peak.anonymous_bytes);
    }
}
