//! Keeps panics that become errors from being printed as well.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::thread;

/// How rten names the threads of its pools.
const POOL_PREFIX: &str = "rten-";

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs work whose panics this thread catches: they, and those of rten's own threads, print nothing. All others go where
/// they went before.
pub(super) fn inside<T>(work: impl FnOnce() -> T) -> T {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |panic| {
            let of_pool = thread::current()
                .name()
                .is_some_and(|name| name.starts_with(POOL_PREFIX));
            if !of_pool && !INSIDE.get() {
                before(panic);
            }
        }));
    });
    INSIDE.set(true);
    let result = work();
    INSIDE.set(false);
    result
}
