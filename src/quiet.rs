//! Keeps panics that become errors from being printed as well.

use std::cell::Cell;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Once;
use std::thread;

/// How rten names the threads of its pools.
const POOL_PREFIX: &str = "rten-";

thread_local! {
    static INSIDE: Cell<bool> = const { Cell::new(false) };
}

/// Runs work of foreign code, whose panics print nothing, nor do those of rten's own threads; all others go where they went
/// before.
///
/// Errors: what the panic said; what the work changed is then in an unknown state.
pub fn catch<T>(work: impl FnOnce() -> T) -> Result<T, String> {
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
    let outer = INSIDE.replace(true);
    let result = panic::catch_unwind(AssertUnwindSafe(work));
    INSIDE.set(outer);
    result.map_err(|cause| {
        let text = cause.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| cause.downcast_ref::<String>().cloned());
        text.unwrap_or_else(|| "it gave no reason".to_owned())
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_panic_becomes_what_it_said() {
        assert_eq!(super::catch(|| 1), Ok(1));
        let inner = || super::catch(|| -> u8 { panic!("caught {}", 2) });
        assert_eq!(super::catch(inner), Ok(Err("caught 2".to_owned())));
    }
}
