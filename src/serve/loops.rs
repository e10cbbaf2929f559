//! The threads that connections are answered on.
//!
//! A connection stays on the thread that it was given: many small answers cost less so than where threads take tasks
//! from each other. What takes long is done aside, so that it holds up no neighbour.

use std::cell::{Cell, OnceCell};
use std::io;
use std::num::NonZero;
use std::rc::Rc;
use std::sync::{Arc, OnceLock, Weak};
use std::thread;
use std::time::{Duration, Instant};

use tokio::runtime::{Builder, Handle};
use tokio::sync::{Notify, oneshot};

/// How long a loop looks for the next request before it sleeps, where [`linger`] told it to: about as long as a client on the same
/// machine takes to ask again, and less than waking up costs twice.
const LINGER: Duration = Duration::from_micros(50);

thread_local! {
    /// That of the loop whose thread this is.
    static LINGERING: OnceCell<Rc<Lingering>> = const { OnceCell::new() };
}

/// Says that the loop of this thread has answered something by itself, so quickly that to fall asleep and be woken for the next request
/// would take as long.
pub(super) fn linger() {
    LINGERING.with(|lingering| {
        if let Some(lingering) = lingering.get() {
            lingering.until.set(Some(Instant::now() + LINGER));
            lingering.changed.notify_one();
        }
    });
}

/// Keeps a loop awake for a while.
struct Lingering {
    until: Cell<Option<Instant>>,
    changed: Notify,
    /// All loops of the server.
    loops: Arc<OnceLock<Vec<Weak<Loop>>>>,
    cores: usize,
}

impl Lingering {
    async fn run(&self) {
        loop {
            self.changed.notified().await;
            while self.has_room() && self.until.get().is_some_and(|until| Instant::now() < until) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Tells whether there is a core for each connection and its client: else someone else needs this one.
    fn has_room(&self) -> bool {
        let loops = self.loops.get().map(Vec::as_slice).unwrap_or_default();
        let held = |one: &Weak<Loop>| one.strong_count().saturating_sub(1);
        2 * loops.iter().map(held).sum::<usize>() <= self.cores
    }
}

/// Is a set of event loops, a thread each. Dropped, they end.
#[derive(Debug)]
pub(super) struct Loops(Vec<Arc<Loop>>);

/// Is an event loop; its holders are counted, and those are connections.
#[derive(Debug)]
pub(super) struct Loop {
    handle: Handle,
    /// Ends the thread by being dropped.
    _stop: oneshot::Sender<()>,
}

impl Loops {
    /// Starts so many loops, and at least one.
    ///
    /// Errors: the system gives no threads or timers.
    pub fn start(count: usize) -> io::Result<Loops> {
        let all = Arc::new(OnceLock::new());
        let loops: Vec<Arc<Loop>> = (0..count.max(1))
            .map(|_| Loop::start(&all).map(Arc::new))
            .collect::<io::Result<_>>()?;
        all.get_or_init(|| loops.iter().map(Arc::downgrade).collect());
        Ok(Loops(loops))
    }

    /// Gives the loop with the fewest connections, to be held by another.
    pub fn least_busy(&self) -> Arc<Loop> {
        let of_all = self.0.iter().min_by_key(|one| Arc::strong_count(one));
        Arc::clone(of_all.expect("there is at least one loop"))
    }
}

impl Loop {
    fn start(all: &Arc<OnceLock<Vec<Weak<Loop>>>>) -> io::Result<Loop> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("serve-aside")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let loops = Arc::clone(all);
        thread::Builder::new().name("serve".to_owned()).spawn(move || {
            let lingering = Rc::new(Lingering {
                until: Cell::new(None),
                changed: Notify::new(),
                loops,
                cores: thread::available_parallelism().map_or(1, NonZero::get),
            });
            LINGERING.with(|own| own.get_or_init(|| Rc::clone(&lingering)).clone());
            runtime.block_on(async {
                tokio::select! {
                    _ = stopped => {}
                    () = lingering.run() => {}
                }
            });
            // A call that cannot be ended must not keep the thread.
            runtime.shutdown_background();
        })?;
        Ok(Loop { handle, _stop: stop })
    }

    /// Where tasks of this loop are started from.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_lingers_only_where_each_connection_and_its_client_have_a_core() {
        let loops = Loops::start(2).unwrap();
        let all = Arc::new(OnceLock::new());
        all.get_or_init(|| loops.0.iter().map(Arc::downgrade).collect());
        let lingering = |cores| Lingering {
            until: Cell::new(None),
            changed: Notify::new(),
            loops: Arc::clone(&all),
            cores,
        };
        assert!(lingering(1).has_room());
        let one = loops.least_busy();
        assert!(!lingering(1).has_room() && lingering(2).has_room());
        let other = loops.least_busy();
        assert!(!Arc::ptr_eq(&one, &other) && !lingering(3).has_room() && lingering(4).has_room());
    }

    #[test]
    fn a_loop_that_lingers_works_on_and_ends() {
        let loops = Loops::start(1).unwrap();
        let held = loops.least_busy();
        let (answer, answers) = std::sync::mpsc::channel();
        for number in 0..100 {
            let answer = answer.clone();
            held.handle().spawn(async move {
                linger();
                tokio::task::yield_now().await;
                answer.send(number).unwrap();
            });
            assert_eq!(answers.recv_timeout(Duration::from_secs(20)), Ok(number));
        }
        let task = held.handle().spawn(std::future::pending::<()>());
        drop((held, loops));
        let ended = Instant::now() + Duration::from_secs(20);
        while !task.is_finished() && Instant::now() < ended {
            linger();
            thread::sleep(Duration::from_millis(1));
        }
        assert!(task.is_finished(), "its tasks end with it");
    }
}
