//! The threads that connections are answered on.
//!
//! A connection stays on the thread that it was given: many small answers cost less so than where threads take tasks
//! from each other. What takes long is done aside, so that it holds up no neighbour.

use std::io;
use std::sync::Arc;
use std::thread;

use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;

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
        (0..count.max(1))
            .map(|_| Loop::start().map(Arc::new))
            .collect::<io::Result<_>>()
            .map(Loops)
    }

    /// Gives the loop with the fewest connections, to be held by another.
    pub fn least_busy(&self) -> Arc<Loop> {
        let of_all = self.0.iter().min_by_key(|one| Arc::strong_count(one));
        Arc::clone(of_all.expect("there is at least one loop"))
    }
}

impl Loop {
    fn start() -> io::Result<Loop> {
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("serve-aside")
            .build()?;
        let handle = runtime.handle().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        thread::Builder::new().name("serve".to_owned()).spawn(move || {
            let _ = runtime.block_on(stopped);
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
