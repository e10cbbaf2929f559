//! ONNX Runtime, loaded at run time, with any of its execution providers.

mod external;
mod provider;
mod raw;
mod session;
mod stopper;
mod tensors;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::logging::LogLevel;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;

pub use provider::Provider;

use super::{Error, Foreign, Library, LibrarySources, Session, SessionOptions, Source, usable_threads};

/// What the process has loaded; it has one ONNX Runtime at most, and starts it once.
static LOADED: Mutex<Option<Arc<Loaded>>> = Mutex::new(None);

#[derive(Debug)]
struct Loaded {
    environment: Environment,
    library: Library,
}

/// Is ONNX Runtime with one of its execution providers.
///
/// Engines of one process share the library and the environment of the first.
#[derive(Clone, Debug)]
pub struct Engine {
    loaded: Arc<Loaded>,
    provider: Provider,
}

impl Engine {
    /// Loads ONNX Runtime, or gives the one that the process has loaded, with the processor as its provider.
    ///
    /// Errors: [`Error::Library`] names every place where a library was looked for; [`Error::OtherLibrary`] where
    /// `sources` insists on one and the process has another; [`Error::Environment`] where it does not start, as after
    /// [`close`].
    pub fn open(sources: &LibrarySources) -> Result<Self, Error> {
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(loaded) = loaded.as_ref() {
            return match &sources.explicit {
                Some(wanted) if !loaded.library.is_at(wanted) => Err(Error::OtherLibrary {
                    loaded: loaded.library.path.clone(),
                    wanted: wanted.clone(),
                }),
                _ => Ok(Engine::on_cpu(Arc::clone(loaded))),
            };
        }
        let (library, builder) = sources.load()?;
        let environment = builder
            .with_name("gpux")
            .with_telemetry(false)
            .build()
            .map_err(|source| Error::Environment {
                source: Foreign(source),
            })?;
        // Every failure comes back as an error; the library would print it a second time.
        environment.set_log_level(LogLevel::Fatal);
        let opened = Arc::new(Loaded { environment, library });
        *loaded = Some(Arc::clone(&opened));
        Ok(Engine::on_cpu(opened))
    }

    fn on_cpu(loaded: Arc<Loaded>) -> Self {
        Engine {
            loaded,
            provider: Provider::CPU,
        }
    }

    /// Gives the engine whose sessions are for `provider`.
    pub fn with_provider(self, provider: Provider) -> Self {
        Engine { provider, ..self }
    }

    /// Gives the library that is in use.
    pub fn library(&self) -> &Library {
        &self.loaded.library
    }

    /// Sets up what does not depend on the model.
    fn builder(&self, options: &SessionOptions) -> Result<SessionBuilder, ort::Error> {
        let threads = options.threads.unwrap_or_else(usable_threads);
        let builder = OrtSession::builder(&self.loaded.environment)?
            .with_intra_threads(threads)?
            // Spinning threads take the processor from everybody else between two calls.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_prepacking(options.prepack)?;
        self.provider.register(builder)
    }
}

impl super::Engine for Engine {
    fn load(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Box<dyn Session>, Error> {
        let external = external::locate(source)?;
        let mut builder = self.builder(options).map_err(|source| Error::Load {
            source: Foreign(source),
        })?;
        if let Some(folder) = &external.folder {
            builder = builder
                .with_config_entry("session.model_external_initializers_file_folder_path", folder)
                .map_err(|error| Error::Load {
                    source: Foreign(error.into()),
                })?;
        }
        let loaded = builder
            .commit_from_memory(&external.graph)
            .map_err(|source| Error::Load {
                source: Foreign(source),
            })?;
        Ok(Box::new(session::GraphSession::new(loaded, source.signature)?))
    }
}

/// Gives the library that the process has loaded; `None` where it has none.
pub fn loaded_library() -> Option<PathBuf> {
    let loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    loaded.as_ref().map(|loaded| loaded.library.path.clone())
}

/// Ends ONNX Runtime where the process has loaded it and no session is left; for the end of main.
///
/// Some providers crash in their destructors when the process ends before their environment.
pub fn close() {
    LOADED.lock().unwrap_or_else(PoisonError::into_inner).take();
}
