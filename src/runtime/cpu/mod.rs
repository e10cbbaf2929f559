//! ONNX Runtime, loaded at run time, on the processor.

mod external;
mod raw;
mod session;
mod stopper;
mod tensors;

use std::num::NonZero;
use std::thread;

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;

use super::{Error, Library, LibrarySources, Session, SessionOptions, Source};

/// Is ONNX Runtime with its processor provider.
///
/// A process has one: it is made once, and every session is dropped before it.
#[derive(Debug)]
pub struct Engine {
    environment: Environment,
    library: Library,
}

impl Engine {
    /// Loads ONNX Runtime.
    ///
    /// Errors: [`Error::Library`] names every place where a library was looked for; [`Error::Environment`] where the
    /// library does not start, as when this process already closed one.
    pub fn open(sources: &LibrarySources) -> Result<Self, Error> {
        let (library, builder) = sources.load()?;
        let environment = builder
            .with_name("gpux")
            .with_telemetry(false)
            .build()
            .map_err(|source| Error::Environment { source })?;
        // Every failure comes back as an error; the library would print it a second time.
        environment.set_log_level(LogLevel::Fatal);
        Ok(Engine { environment, library })
    }

    /// Gives the library that is in use.
    pub fn library(&self) -> &Library {
        &self.library
    }

    /// Sets up what does not depend on the model.
    fn builder(&self, options: &SessionOptions) -> Result<SessionBuilder, ort::Error> {
        let threads = options.threads.unwrap_or_else(usable_threads);
        Ok(OrtSession::builder(&self.environment)?
            .with_intra_threads(threads)?
            // Spinning threads take the processor from everybody else between two calls.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_prepacking(options.prepack)?)
    }
}

impl super::Engine for Engine {
    fn load(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Box<dyn Session>, Error> {
        let external = external::locate(source)?;
        let mut builder = self.builder(options).map_err(|source| Error::Load { source })?;
        if let Some(folder) = &external.folder {
            builder = builder
                .with_config_entry("session.model_external_initializers_file_folder_path", folder)
                .map_err(|error| Error::Load { source: error.into() })?;
        }
        let loaded = builder
            .commit_from_memory(&external.graph)
            .map_err(|source| Error::Load { source })?;
        Ok(Box::new(session::CpuSession::new(loaded, source.signature)?))
    }
}

/// Counts the processors that this process may use: its affinity and its cgroup's quota bound them.
fn usable_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}
