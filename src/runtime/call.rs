use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Instant;

use super::DeviceValue;
use crate::tensor::Tensor;

/// Is what goes into and comes out of a session.
#[derive(Debug)]
pub enum Value {
    /// A tensor in host memory.
    Host(Tensor),
    /// A tensor on a device, which only the engine that made it reads.
    Device(DeviceValue),
}

impl Value {
    /// Gives the tensor where it lies in host memory.
    pub fn as_host(&self) -> Option<&Tensor> {
        match self {
            Value::Host(tensor) => Some(tensor),
            Value::Device(_) => None,
        }
    }

    /// Takes the tensor where it lies in host memory.
    pub fn into_host(self) -> Option<Tensor> {
        match self {
            Value::Host(tensor) => Some(tensor),
            Value::Device(_) => None,
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Host(tensor)
    }
}

/// Can be told from another thread to end what it does.
pub trait Stop: Send + Sync {
    /// Asks for the end; returns at once.
    fn stop(&self);
}

/// Stops a running call from another thread; clones share one flag.
#[derive(Clone, Default)]
pub struct Cancel(Arc<CancelState>);

#[derive(Default)]
struct CancelState {
    cancelled: AtomicBool,
    watchers: Mutex<Vec<Weak<dyn Stop>>>,
}

impl CancelState {
    /// Locks the watchers; a panic elsewhere leaves the list whole, so poison is of no meaning.
    fn watchers(&self) -> MutexGuard<'_, Vec<Weak<dyn Stop>>> {
        self.watchers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Cancel {
    /// Asks every call that was given this flag, now or later, to stop.
    pub fn cancel(&self) {
        self.0.cancelled.store(true, Ordering::SeqCst);
        for watcher in self.0.watchers().iter() {
            if let Some(watcher) = watcher.upgrade() {
                watcher.stop();
            }
        }
    }

    /// Tells whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::SeqCst)
    }

    /// Passes a stop on to `watcher` for as long as the answer lives; at once where it was asked for before.
    pub fn watch<'a, W: Stop + 'static>(&'a self, watcher: &Arc<W>) -> Watch<'a> {
        let weak = Arc::downgrade(watcher);
        let key = weak.as_ptr() as *const ();
        self.0.watchers().push(weak);
        // After the push: a cancel between the two is then seen by one side or by both, never by none.
        if self.is_cancelled() {
            watcher.stop();
        }
        Watch { cancel: self, key }
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_cancelled()).finish()
    }
}

/// Ends the passing on when dropped.
pub struct Watch<'a> {
    cancel: &'a Cancel,
    key: *const (),
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let mut watchers = self.cancel.0.watchers();
        if let Some(at) = watchers
            .iter()
            .position(|watcher| watcher.as_ptr() as *const () == self.key)
        {
            watchers.swap_remove(at);
        }
    }
}

/// Is one request to a session.
#[derive(Debug)]
pub struct Call<'a> {
    /// One value an input, in the order of the signature's inputs.
    pub inputs: &'a [Value],
    /// For each output, whether it may stay on the device; empty means none does.
    pub keep_on_device: &'a [bool],
    /// When the answer is of no more use.
    pub deadline: Option<Instant>,
    /// Stops the call early.
    pub cancel: &'a Cancel,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Stopped(AtomicBool);

    impl Stop for Stopped {
        fn stop(&self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn a_cancel_reaches_those_who_watch_now_and_those_who_come_later() {
        let cancel = Cancel::default();
        let (gone, here, late) = (Arc::default(), Arc::default(), Arc::default());
        drop(cancel.watch::<Stopped>(&gone));
        let watch = cancel.watch::<Stopped>(&here);
        cancel.clone().cancel();
        let _late = cancel.watch::<Stopped>(&late);
        drop(watch);
        let told = |stopped: &Arc<Stopped>| stopped.0.load(Ordering::SeqCst);
        assert_eq!((told(&gone), told(&here), told(&late)), (false, true, true));
    }
}
