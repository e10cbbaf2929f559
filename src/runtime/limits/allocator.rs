//! An allocator that names the memory limit where a request alone breaks it.
//!
//! A Rust engine that asks for more than the system gives aborts the process without a word that a user could act on,
//! and does so within one call, before the watchdog looks again.
//!
//! Below it lies mimalloc: a server makes and frees a hundred small things a request, for which glibc takes several times as
//! long.
//!
//! Unsafe: `GlobalAlloc` is an unsafe trait; every call is passed on as it came.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::thread;
use std::time::Duration;

use mimalloc::MiMalloc;

use super::{Broken, Shared};

/// The largest request that passes; without a watchdog every one does.
static LIMIT: AtomicUsize = AtomicUsize::new(usize::MAX);

/// The watchdog to tell.
static WATCHDOG: Mutex<Option<Weak<Shared>>> = Mutex::new(None);

/// Is mimalloc under the memory limit of the running [`Watchdog`](super::Watchdog).
pub struct LimitedAllocator;

// SAFETY: every method keeps the contract of mimalloc's allocator, to which it passes its arguments unchanged; what it does
// besides either leaves them alone or ends the process.
unsafe impl GlobalAlloc for LimitedAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        checked(layout.size(), || unsafe { MiMalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as the caller promised.
        checked(layout.size(), || unsafe { MiMalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as the caller promised.
        checked(size, || unsafe { MiMalloc.realloc(at, layout, size) })
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as the caller promised.
        unsafe { MiMalloc.dealloc(at, layout) }
    }
}

/// Allocates, and ends the process where the request is over the limit, or under it and not granted.
fn checked(size: usize, allocate: impl FnOnce() -> *mut u8) -> *mut u8 {
    if size > LIMIT.load(Ordering::Relaxed) {
        refuse(size);
    }
    let at = allocate();
    if at.is_null() {
        refuse(size);
    }
    at
}

/// Tells the watchdog of a request; comes back where none watches.
#[cold]
fn refuse(size: usize) {
    // Telling needs memory too; and of two threads that come here, one tells.
    let limit = LIMIT.swap(usize::MAX, Ordering::SeqCst);
    let watchdog = WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner).clone();
    let Some(shared) = watchdog.and_then(|watchdog| watchdog.upgrade()) else {
        return;
    };
    if limit == usize::MAX {
        // Another thread is ending the process.
        loop {
            thread::sleep(Duration::from_secs(1));
        }
    }
    shared.end(&Broken::Allocation {
        asked_bytes: size as u64,
        limit_bytes: limit as u64,
    })
}

/// Puts requests under a limit.
pub(super) fn arm(limit_bytes: u64, shared: &Arc<Shared>) {
    *WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::downgrade(shared));
    LIMIT.store(usize::try_from(limit_bytes).unwrap_or(usize::MAX - 1), Ordering::SeqCst);
}

/// Lets every request pass again.
pub(super) fn disarm() {
    LIMIT.store(usize::MAX, Ordering::SeqCst);
    *WATCHDOG.lock().unwrap_or_else(PoisonError::into_inner) = None;
}
