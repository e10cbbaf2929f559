//! Who may use CUDA while a graph is recorded: nobody but the recording thread.
//!
//! ONNX Runtime records in the mode in which any call of the process that might disturb a recording breaks it: memory that
//! another session takes or gives back, a stream that ends. So all that gpux asks of a device goes through one gate.

use std::collections::HashMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, ThreadId};

/// The gate of this process.
static GATE: Gate = Gate::new();

/// Lets this thread use devices together with others; waits while another thread records.
///
/// A thread that is inside already goes in again.
pub(super) fn together() -> Pass {
    GATE.together()
}

/// Lets this thread record: waits until everybody else is out, and keeps everybody else out.
///
/// The thread must not be inside together with others.
pub(super) fn alone() -> Pass {
    GATE.alone()
}

/// Is the right to be inside, until it is dropped.
pub(super) struct Pass {
    gate: &'static Gate,
    thread: ThreadId,
}

struct Gate {
    // `HashMap::new` is no constant; nothing is inside before the first comes.
    state: Mutex<Option<State>>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// How often each thread is inside together with others.
    inside: HashMap<ThreadId, usize>,
    /// The thread that is inside alone, and how often.
    alone: Option<(ThreadId, usize)>,
    /// How many wait to be alone: those who come new let them go first.
    waiting: usize,
}

impl Gate {
    const fn new() -> Self {
        Gate {
            state: Mutex::new(None),
            changed: Condvar::new(),
        }
    }

    fn together(&'static self) -> Pass {
        let thread = thread::current().id();
        let mut guard = self.lock();
        loop {
            let state = guard.get_or_insert_default();
            match &mut state.alone {
                Some((holder, depth)) if *holder == thread => {
                    *depth += 1;
                    break;
                }
                None if state.waiting == 0 || state.inside.contains_key(&thread) => {
                    *state.inside.entry(thread).or_default() += 1;
                    break;
                }
                _ => guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner),
            }
        }
        Pass { gate: self, thread }
    }

    fn alone(&'static self) -> Pass {
        let thread = thread::current().id();
        let mut guard = self.lock();
        let state = guard.get_or_insert_default();
        if let Some((_, depth)) = state.alone.as_mut().filter(|(holder, _)| *holder == thread) {
            *depth += 1;
            return Pass { gate: self, thread };
        }
        state.waiting += 1;
        loop {
            let state = guard.get_or_insert_default();
            if state.alone.is_none() && state.inside.is_empty() {
                state.waiting -= 1;
                state.alone = Some((thread, 1));
                return Pass { gate: self, thread };
            }
            guard = self.changed.wait(guard).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn leave(&self, thread: ThreadId) {
        let mut guard = self.lock();
        let state = guard.get_or_insert_default();
        if let Some((_, depth)) = state.alone.as_mut().filter(|(holder, _)| *holder == thread) {
            *depth -= 1;
            if *depth == 0 {
                state.alone = None;
            }
        } else if let Some(depth) = state.inside.get_mut(&thread) {
            *depth -= 1;
            if *depth == 0 {
                state.inside.remove(&thread);
            }
        }
        drop(guard);
        self.changed.notify_all();
    }

    /// Locks the state, which is whole between any two of its changes.
    fn lock(&self) -> MutexGuard<'_, Option<State>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.gate.leave(self.thread);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;

    /// Long enough for a thread that can go on to have done so.
    const MOMENT: Duration = Duration::from_millis(50);

    fn gate() -> &'static Gate {
        Box::leak(Box::new(Gate::new()))
    }

    #[test]
    fn whoever_records_is_alone_and_the_others_share() {
        let gate = gate();
        let (recording, sharing) = (AtomicUsize::new(0), AtomicUsize::new(0));
        thread::scope(|scope| {
            for n in 0..8 {
                let (recording, sharing) = (&recording, &sharing);
                scope.spawn(move || {
                    for round in 0..200 {
                        if (n + round) % 4 == 0 {
                            let _pass = gate.alone();
                            assert_eq!(recording.fetch_add(1, Ordering::SeqCst), 0);
                            assert_eq!(sharing.load(Ordering::SeqCst), 0);
                            let _again = gate.together();
                            recording.fetch_sub(1, Ordering::SeqCst);
                        } else {
                            let _pass = gate.together();
                            sharing.fetch_add(1, Ordering::SeqCst);
                            assert_eq!(recording.load(Ordering::SeqCst), 0);
                            sharing.fetch_sub(1, Ordering::SeqCst);
                        }
                    }
                });
            }
        });
    }

    #[test]
    fn a_thread_inside_goes_in_again_while_another_waits_to_record() {
        let gate = gate();
        let (done, ended) = mpsc::channel();
        let outer = gate.together();
        let waits = thread::spawn(move || {
            let _pass = gate.alone();
            done.send(()).unwrap();
        });
        assert!(ended.recv_timeout(MOMENT).is_err(), "it records beside others");
        drop(gate.together());
        drop(outer);
        ended.recv_timeout(MOMENT * 100).unwrap();
        waits.join().unwrap();
    }

    #[test]
    fn a_pass_is_given_back_on_another_thread_too() {
        let gate = gate();
        let pass = gate.together();
        thread::spawn(move || drop(pass)).join().unwrap();
        drop(gate.alone());
    }
}
