//! Loads the libraries that ONNX Runtime's providers need, by absolute path, before ONNX Runtime looks for them by name.

#![allow(unsafe_code)] // Loading a library runs its code.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use libloading::Library;

use crate::runtime::Error;

/// What was loaded so far; libraries stay until the process ends, since nobody knows who uses them.
static LOADED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// Loads libraries in their order, each once.
///
/// Errors: [`Error::Dependency`] names the first that does not load, and why.
pub(super) fn load(libraries: &[PathBuf]) -> Result<(), Error> {
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    for library in libraries {
        if !loaded.contains(library) {
            open(library)?;
            loaded.insert(library.clone());
        }
    }
    Ok(())
}

fn open(library: &Path) -> Result<(), Error> {
    // SAFETY: the user installed the library to be run, and its digest was checked when it came; what it does when it is
    // loaded is no other than what ONNX Runtime would have it do.
    match unsafe { Library::new(library) } {
        Ok(library) => {
            std::mem::forget(library);
            Ok(())
        }
        Err(source) => Err(Error::Dependency {
            library: library.to_owned(),
            source,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_library_that_does_not_load_is_named_with_the_reason() {
        let folder = tempfile::tempdir().unwrap();
        let broken = folder.path().join("libbroken.so");
        std::fs::write(&broken, "no library").unwrap();
        let error = load(&[broken.clone(), folder.path().join("libgone.so")]).unwrap_err();
        let Error::Dependency { library, source } = error else {
            panic!("{error}");
        };
        assert_eq!(library, broken);
        assert!(!source.to_string().is_empty());
    }
}
