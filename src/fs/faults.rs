//! Makes the calls of this module fail on plan, so that tests see what a full or broken disk does.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

/// Names a way in which the system refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The disk is full.
    NoSpace,
    /// The user's share of the disk is full.
    Quota,
    /// The disk does not answer.
    Broken,
    /// The process has too many files open.
    TooManyFiles,
    /// The place is mounted read-only, or is another user's.
    ReadOnly,
    /// Content cannot be read, though files can be found and opened.
    Unreadable,
}

impl Fault {
    /// Gives the faults that strike in the middle of a command.
    pub const SUDDEN: [Fault; 4] = [Fault::NoSpace, Fault::Quota, Fault::Broken, Fault::TooManyFiles];

    fn error(self) -> io::Error {
        match self {
            Fault::NoSpace => io::ErrorKind::StorageFull.into(),
            Fault::Quota => io::ErrorKind::QuotaExceeded.into(),
            Fault::ReadOnly => io::ErrorKind::ReadOnlyFilesystem.into(),
            Fault::Broken | Fault::Unreadable => io::Error::other("input/output error"),
            Fault::TooManyFiles => io::Error::other("too many open files"),
        }
    }

    fn strikes(self, act: &str) -> bool {
        match self {
            Fault::Unreadable => act == "read",
            Fault::ReadOnly => {
                matches!(
                    act,
                    "create" | "write" | "make folder" | "resize" | "rename" | "remove" | "protect"
                )
            }
            Fault::NoSpace | Fault::Quota => {
                matches!(
                    act,
                    "create" | "write" | "make folder" | "sync" | "resize" | "reserve space for" | "rename"
                )
            }
            Fault::Broken => act != "lock",
            Fault::TooManyFiles => matches!(act, "open" | "create" | "read" | "list" | "sync"),
        }
    }
}

/// Holds a plan; the faults end when it is dropped.
#[derive(Debug)]
pub struct Plan(Arc<State>);

#[derive(Debug)]
struct State {
    folder: PathBuf,
    fault: Fault,
    left: Mutex<Option<u64>>,
    lasting: bool,
}

// Plans belong to folders, not to threads: the store writes from threads of its own, and every test has its own folder.
static PLANS: Mutex<Vec<Arc<State>>> = Mutex::new(Vec::new());

/// Lets `n` calls of the kind that `fault` strikes, on paths below `folder`, pass; the next one fails, and it alone.
pub fn plan(folder: &Path, n: u64, fault: Fault) -> Plan {
    add(folder, n, fault, false)
}

/// Lets `n` calls pass, and all later ones fail, until the plan is dropped.
pub fn lasting(folder: &Path, n: u64, fault: Fault) -> Plan {
    add(folder, n, fault, true)
}

fn add(folder: &Path, n: u64, fault: Fault, lasting: bool) -> Plan {
    let state = Arc::new(State {
        folder: folder.to_owned(),
        fault,
        left: Mutex::new(Some(n)),
        lasting,
    });
    plans().push(state.clone());
    Plan(state)
}

fn plans() -> std::sync::MutexGuard<'static, Vec<Arc<State>>> {
    PLANS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Plan {
    /// Tells whether a call has failed on the plan.
    pub fn struck(&self) -> bool {
        self.0.left.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl Drop for Plan {
    fn drop(&mut self) {
        plans().retain(|state| !Arc::ptr_eq(state, &self.0));
    }
}

/// Gives the error with which a call must fail, if one is planned.
pub(super) fn strike(act: &str, path: &Path) -> Option<io::Error> {
    for state in plans().iter() {
        if !path.starts_with(&state.folder) || !state.fault.strikes(act) {
            continue;
        }
        let mut left = state.left.lock().unwrap_or_else(PoisonError::into_inner);
        match *left {
            Some(0) => {
                *left = None;
                return Some(state.fault.error());
            }
            Some(n) => *left = Some(n - 1),
            None if state.lasting => return Some(state.fault.error()),
            None => {}
        }
    }
    None
}
