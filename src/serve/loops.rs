//! The threads that connections are answered on.
//!
//! A connection stays on the thread that it was given: many small answers cost less so than where threads take tasks
//! from each other. What takes long is done aside, so that it holds up no neighbour.

use std::cell::{Cell, OnceCell};
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Weak};
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
    /// That of all loops.
    connections: Weak<()>,
    /// How many loops there are: one a core.
    loops: usize,
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
        2 * self.connections.strong_count().saturating_sub(1) <= self.loops
    }
}

/// Is a set of event loops, a thread each, and one a core. Dropped, they end.
#[derive(Debug)]
pub(super) struct Loops {
    all: Vec<Arc<Loop>>,
    /// Held by each connection once more.
    connections: Arc<()>,
}

/// Is the place of a connection on a loop, and counts as one while it is held.
#[derive(Debug)]
pub(super) struct Seat {
    on: Arc<Loop>,
    _counted: Arc<()>,
}

/// Is an event loop; its holders are counted, and those are connections.
#[derive(Debug)]
struct Loop {
    handle: Handle,
    /// Ends the thread by being dropped.
    _stop: oneshot::Sender<()>,
}

impl Loops {
    /// Starts so many loops, and at least one.
    ///
    /// Errors: the system gives no threads or timers.
    pub fn start(count: usize) -> io::Result<Loops> {
        let count = count.max(1);
        let connections = Arc::new(());
        let start = |_| Loop::start(Arc::downgrade(&connections), count).map(Arc::new);
        Ok(Loops {
            all: (0..count).map(start).collect::<io::Result<_>>()?,
            connections,
        })
    }

    /// Gives another connection a place on the loop with the fewest.
    pub fn least_busy(&self) -> Seat {
        let of_all = self.all.iter().min_by_key(|one| Arc::strong_count(one));
        Seat {
            on: Arc::clone(of_all.expect("there is at least one loop")),
            _counted: Arc::clone(&self.connections),
        }
    }
}

impl Seat {
    /// Where tasks of its loop are started from.
    pub fn handle(&self) -> &Handle {
        &self.on.handle
    }
}

impl Loop {
    fn start(connections: Weak<()>, loops: usize) -> io::Result<Loop> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("serve-aside")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("serve".to_owned()).spawn(move || {
            let lingering = Rc::new(Lingering {
                until: Cell::new(None),
                changed: Notify::new(),
                connections,
                loops,
            });
            LINGERING.with(|own| _ = own.set(Rc::clone(&lingering)));
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_lingers_only_where_each_connection_and_its_client_have_a_core() {
        let loops = Loops::start(2).unwrap();
        let lingering = |cores| Lingering {
            until: Cell::new(None),
            changed: Notify::new(),
            connections: Arc::downgrade(&loops.connections),
            loops: cores,
        };
        assert!(lingering(1).has_room());
        let one = loops.least_busy();
        assert!(!lingering(1).has_room() && lingering(2).has_room());
        let other = loops.least_busy();
        assert!(!Arc::ptr_eq(&one.on, &other.on) && !lingering(3).has_room() && lingering(4).has_room());
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
