//! The threads that sessions share.

use std::sync::{Arc, Mutex, PoisonError};

use rten::ThreadPool;

use crate::runtime::usable_threads;

/// Gives a pool of `count` threads, `None` for as many as this process may use; sessions of one count share one pool.
pub(super) fn pool(count: Option<usize>) -> Arc<ThreadPool> {
    static POOLS: Mutex<Vec<(usize, Arc<ThreadPool>)>> = Mutex::new(Vec::new());
    // rten's own guess takes every core of the machine.
    let count = count.unwrap_or_else(usable_threads).max(1);
    // A panic elsewhere leaves the list whole.
    let mut pools = POOLS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, pool)) = pools.iter().find(|(of, _)| *of == count) {
        return Arc::clone(pool);
    }
    let pool = Arc::new(ThreadPool::with_num_threads(count));
    pools.push((count, Arc::clone(&pool)));
    pool
}
