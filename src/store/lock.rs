use std::time::Duration;

use super::Error;
use super::layout::Layout;
use crate::fs::{File, Locked};

/// Holds the store against the changes of others, until it is dropped.
///
/// It is held briefly: for a change of `index.json`, a change of a lease, and gc's mark and delete. Two of them in one
/// thread wait for each other, so what needs the lock takes `&StoreLock`.
#[derive(Debug)]
pub(super) struct StoreLock {
    _file: File,
}

/// Waits for the lock for at most `wait`.
///
/// Errors: [`Error::Busy`] after that.
pub(super) fn take(layout: &Layout, wait: Duration) -> Result<StoreLock, Error> {
    let file = File::open_or_create(&layout.lock())?;
    let mut waited = Duration::ZERO;
    let mut pause = Duration::from_millis(1);
    while file.try_lock()? == Locked::ByOthers {
        if waited >= wait {
            return Err(Error::Busy {
                path: layout.lock(),
                waited,
            });
        }
        std::thread::sleep(pause);
        waited += pause;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
    Ok(StoreLock { _file: file })
}
