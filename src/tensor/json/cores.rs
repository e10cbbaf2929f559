//! Work that is divided among the cores.

use std::num::NonZero;
use std::sync::LazyLock;
use std::thread;

use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::{ThreadPool, ThreadPoolBuilder};

/// The most threads: so many read a hundred megabytes as quickly as memory gives them.
const MOST_THREADS: usize = 16;
/// More parts than threads, so that one that comes late finds less to do.
const PARTS_PER_THREAD: usize = 2;

/// None where there is one core alone, or the system gives no threads.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let cores = thread::available_parallelism().map_or(1, NonZero::get);
    let pool = ThreadPoolBuilder::new()
        .num_threads(cores.min(MOST_THREADS))
        .thread_name(|at| format!("json/{at}"));
    (cores > 1).then(|| pool.build().ok())?
});

/// Gives how many parts are worth their threads, of which none is to have less than `few`: one where one thread is to do it all.
pub(super) fn parts_of(count: usize, few: usize) -> usize {
    match count / few {
        0 | 1 => 1,
        most => POOL
            .as_ref()
            .map_or(1, |pool| most.min(pool.current_num_threads() * PARTS_PER_THREAD)),
    }
}

/// Works on several parts at once, and gives what came of each, in their order.
pub(super) fn each<T: Send>(parts: usize, work: impl Fn(usize) -> T + Sync + Send) -> Vec<T> {
    match POOL.as_ref() {
        Some(pool) => pool.install(|| (0..parts).into_par_iter().map(work).collect()),
        None => (0..parts).map(work).collect(),
    }
}
