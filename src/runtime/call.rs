use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::tensor::Tensor;

/// Is what goes into and comes out of a session.
#[derive(Debug)]
pub enum Value {
    /// A tensor in host memory.
    Host(Tensor),
}

impl Value {
    /// Gives the tensor where it lies in host memory.
    pub fn as_host(&self) -> Option<&Tensor> {
        match self {
            Value::Host(tensor) => Some(tensor),
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Value::Host(tensor)
    }
}

/// Stops a running call from another thread; clones share one flag.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the call to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Tells whether a stop was asked for.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
