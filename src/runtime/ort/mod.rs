//! ONNX Runtime, loaded at run time, with any of its execution providers.

mod assignment;
mod bound;
mod cuda;
mod device;
mod external;
mod gate;
mod graphs;
mod plugin;
mod preload;
mod provider;
mod raw;
mod session;
mod shaped;
mod stopper;
mod tensors;
mod weights;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::session::Session as OrtSession;
use ort::session::builder::SessionBuilder;

pub use cuda::Error as CudaError;
pub use device::DeviceValue;
pub use provider::Provider;
pub use weights::KeptGraph;

use super::{
    Error, Foreign, Library, LibrarySources, ProviderKind, Session, SessionOptions, Source, library, usable_threads,
};
use crate::provider::{LoadPlan, hold};
use bound::Bound;
use cuda::Stream;
use plugin::Plugins;
use session::GraphSession;
use shaped::{ShapedSession, Whose};

/// What the process has loaded; it has one ONNX Runtime at most, and starts it once.
static LOADED: Mutex<Option<Arc<Loaded>>> = Mutex::new(None);

#[derive(Debug)]
struct Loaded {
    environment: Environment,
    library: Library,
    plugins: Plugins,
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
        let (library, builder) = library::load(sources)?;
        let environment = builder
            .with_name("gpux")
            .with_telemetry(false)
            .build()
            .map_err(|source| Error::Environment {
                source: Foreign(source),
            })?;
        // Every failure comes back as an error; the library would print it a second time.
        environment.set_log_level(LogLevel::Fatal);
        let opened = Arc::new(Loaded {
            environment,
            library,
            plugins: Plugins::default(),
        });
        *loaded = Some(Arc::clone(&opened));
        Ok(Engine::on_cpu(opened))
    }

    /// Loads what a plan names, and gives the engine for its provider.
    ///
    /// Errors: [`Error::OtherLibrary`] where the process has another ONNX Runtime than the plan's; [`Error::Dependency`]
    /// names the first library that does not load; else as of [`Engine::open`].
    pub fn of(plan: &LoadPlan) -> Result<Self, Error> {
        let sources = LibrarySources {
            explicit: Some(plan.core.clone()),
            ..LibrarySources::default()
        };
        hold(plan)?;
        if loaded_library().is_none() {
            preload::load(&plan.dependencies)?;
        }
        Ok(Engine::open(&sources)?.with_provider(Provider {
            kind: plan.kind,
            plugin: plan.plugin.clone(),
        }))
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
        let mut builder = OrtSession::builder(&self.loaded.environment)?
            .with_intra_threads(threads)?
            // Spinning threads take the processor from everybody else between two calls.
            .with_intra_op_spinning(false)?
            .with_inter_op_spinning(false)?
            .with_prepacking(options.prepack)?;
        for (symbol, &size) in &options.dimensions {
            builder = builder.with_dimension_override(symbol, i64::try_from(size).unwrap_or(i64::MAX))?;
        }
        if !options.settings.no_arena {
            return Ok(builder);
        }
        let processor = ep::CPU::default().with_arena_allocator(false).build();
        Ok(builder.with_execution_providers([processor.error_on_failure()])?)
    }

    /// Adds the provider to a session that is being made; gives the stream that the session's work goes into.
    fn register(
        &self,
        builder: SessionBuilder,
        options: &SessionOptions,
    ) -> Result<(SessionBuilder, Option<Arc<Stream>>), Error> {
        let kind = self.provider.kind;
        let failed = |source| Error::Provider {
            provider: kind,
            source: Foreign(source),
        };
        let mut names = self.provider.options(options)?;
        if let Some(plugin) = &self.provider.plugin {
            let devices = self.loaded.plugins.devices(&self.loaded.environment, kind, plugin)?;
            let builder = plugin::with_device(builder, devices, options.device, &names).map_err(failed)?;
            return Ok((builder, None));
        }
        let stream = match kind {
            ProviderKind::Cuda | ProviderKind::TensorRt => Some(Stream::new(options.device)?),
            _ => None,
        };
        if let Some(stream) = &stream {
            names.insert("has_user_compute_stream".to_owned(), "1".to_owned());
            names.insert("user_compute_stream".to_owned(), stream.address().to_string());
        }
        let builder = match self.provider.built_in(&names, options) {
            Some(provider) => builder
                .with_execution_providers([provider])
                .map_err(|error| failed(error.into()))?,
            None if kind == ProviderKind::Cpu => builder,
            None => {
                return Err(Error::NoDevice {
                    provider: kind,
                    library: self.library().path.clone(),
                });
            }
        };
        Ok((builder, stream))
    }
}

impl Engine {
    /// Makes one session.
    fn load_one(&self, source: &Source<'_>, options: &SessionOptions) -> Result<GraphSession, Error> {
        let failed = |source| Error::Load {
            source: Foreign(source),
        };
        let external = external::locate(source)?;
        let _pass = gate::together();
        let builder = self.builder(options).map_err(failed)?;
        let (mut builder, stream) = self.register(builder, options)?;
        let accelerated = self.provider.kind != ProviderKind::Cpu;
        if accelerated || options.explain {
            builder = builder
                .with_config_entry(assignment::OPTION, "1")
                .map_err(|error| failed(error.into()))?;
        }
        let committed = weights::commit(builder, (source, &external), options, self.provider.kind)?;
        let mut session = GraphSession::new(committed, source.signature)?;
        if self.provider.kind == ProviderKind::WebGpu {
            session.take_turns();
        }
        if accelerated || options.explain {
            let assignment = assignment::read(session.inner()).map_err(failed)?;
            // A provider that has nothing to do is not what was asked for.
            if accelerated && assignment.nodes() > 0 && assignment.nodes_of(self.provider.kind) == 0 {
                return Err(Error::NoNode(self.provider.kind));
            }
            session.explain(if options.explain {
                let nodes = source.model.nodes()?;
                assignment.join_neighbours(nodes.iter().map(|node| node.name()))
            } else {
                assignment
            });
        }
        if let Some(stream) = stream {
            let bound = Bound::new(session.inner(), source.signature, stream, options)?;
            session.bind(bound).map_err(failed)?;
        }
        Ok(session)
    }

    /// Makes a session for any shapes whose graph is recorded by sessions for fixed ones.
    ///
    /// Errors: as of a session that records nothing.
    fn load_shaped(&self, source: &Source<'_>, options: &SessionOptions, whose: Whose) -> Result<ShapedSession, Error> {
        let mut plain = options.clone();
        plain.settings.cuda_graph = false;
        let any = self.load_one(source, &plain)?;
        let engine = self.clone();
        let (files, model, signature) = (source.files.clone(), source.model.clone(), source.signature.clone());
        let mut options = options.clone();
        // What is kept on disk is kept for any shapes.
        (options.cache, options.engines) = (None, None);
        let make = move |sizes: &shaped::Sizes| {
            let source = Source {
                files: &files,
                model: &model,
                signature: &signature,
            };
            options.dimensions.clone_from(sizes);
            let session = engine.load_one(&source, &options)?;
            Ok(Box::new(session) as Box<dyn Session>)
        };
        Ok(ShapedSession::new(Box::new(any), Box::new(make), whose))
    }
}

impl super::Engine for Engine {
    fn load(&self, source: &Source<'_>, options: &SessionOptions) -> Result<Box<dyn Session>, Error> {
        // A convolution keeps the plan of the last shape only, and gives back those that recorded graphs run by: a session with
        // a graph must never meet another shape.
        let records = options.settings.cuda_graph && self.provider.kind == ProviderKind::Cuda;
        if records && shaped::can_be_fixed(source.signature) && has_convolutions(source)? {
            return Ok(Box::new(self.load_shaped(source, options, Whose::First)?));
        }
        match self.load_one(source, options) {
            Ok(session) => Ok(Box::new(session)),
            // A graph with nodes that compute shapes on the processor cannot be recorded; for fixed sizes they fold away.
            Err(error) if records => {
                if !shaped::can_be_fixed(source.signature) {
                    return Err(error);
                }
                match self.load_shaped(source, options, Whose::Second) {
                    Ok(session) => Ok(Box::new(session)),
                    Err(_) => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }
}

fn has_convolutions(source: &Source<'_>) -> Result<bool, Error> {
    let nodes = source.model.nodes()?;
    Ok(nodes.iter().any(|node| node.op_type.contains("Conv")))
}

/// Tells whether the provider compiles models and can keep the outcome.
pub fn keeps_what_it_compiles(provider: ProviderKind) -> bool {
    !provider::cached(provider).is_empty()
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
