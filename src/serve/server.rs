use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::runtime;
use tokio::sync::watch;

use super::access::{self, Access, AccessOptions, Hangup, Reloaded, Tls, TlsError, TokenFileError};
use super::http::{self, Bounds, Listener, Origins};
use super::loops::Loops;
use super::repository::Tell;
use super::telemetry::{Pulse, Pulses, Telemetry, TelemetryOptions};
use super::turns::Turns;
use super::{Look, Metrics, ModelSource, Policy, Profile, Repository, SourceError, State, grpc};

/// Says how a server serves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Threads that speak with clients, a core each at best.
    pub threads: usize,
    /// Where HTTP is spoken.
    pub http: SocketAddr,
    /// Where gRPC is spoken; `None` for nowhere.
    pub grpc: Option<SocketAddr>,
    /// Where metrics are read; `None` for nowhere.
    pub metrics: Option<SocketAddr>,
    /// What connections may take.
    pub bounds: Bounds,
    /// The longest body of a request. Units: bytes.
    pub most_body_bytes: usize,
    /// From where the server may be called.
    pub origins: Origins,
    /// Who may call.
    pub access: AccessOptions,
    /// How long requests may take to end once the server is told to stop.
    pub drain: Duration,
    /// How long models stay, and which of them are called.
    pub policy: Policy,
    /// Whether admins load and unload models by calls.
    pub is_controlled: bool,
    /// How often it is looked whether models have moved on this machine; `None` for never.
    pub watch: Option<Duration>,
    /// How often it is looked whether models have moved at their registries; `None` for never.
    pub watch_registries: Option<Duration>,
    /// Who hears of requests.
    pub telemetry: TelemetryOptions,
}

/// Is what a server tells of itself.
#[derive(Clone, Debug)]
pub enum Event {
    /// It answers at these addresses.
    Listening {
        http: SocketAddr,
        grpc: Option<SocketAddr>,
        metrics: Option<SocketAddr>,
        /// Whether it speaks TLS there.
        is_tls: bool,
    },
    /// Tokens or certificates were read again.
    Reloaded(Reloaded),
    /// A model stands elsewhere than before.
    Model {
        name: String,
        version: String,
        state: State,
    },
    /// Another artifact answers in the place of one.
    Replaced {
        /// What answers now.
        model: Arc<Profile>,
        /// The digest of what answered before.
        from: String,
    },
    /// A model stays as it is, because what should come in its place does not.
    Kept {
        name: String,
        version: String,
        why: SourceError,
    },
    /// How the models do just now.
    Pulse(Vec<Pulse>),
    /// It was told to stop, and finishes what it has taken.
    Draining,
}

/// Says why a server could not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The system gives no threads, timers or signals.
    #[error("cannot start the server")]
    Start(#[source] io::Error),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}")]
    Listen {
        address: SocketAddr,
        #[source]
        source: io::Error,
    },
    /// The tokens cannot be read.
    #[error("the tokens cannot be read")]
    Tokens(#[source] TokenFileError),
    /// The files of TLS are not what they should be.
    #[error("TLS cannot be spoken")]
    Tls(#[source] TlsError),
    /// Requests were cut off.
    #[error("requests did not end within {} s and were cut off", .0.as_secs_f64())]
    CutOff(Duration),
}

/// Serves the models of a source until the process is told to stop, and finishes what was taken.
///
/// Errors: [`ServerError`]; a model that cannot be loaded is told through `tell` and does not keep others from coming.
pub fn run(options: &ServerOptions, source: Arc<dyn ModelSource>, tell: Tell) -> Result<(), ServerError> {
    allow_files();
    // Takes connections and looks after the models; answered they are on `Loops`.
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .worker_threads(1)
        .thread_name("upkeep")
        .build()
        .map_err(ServerError::Start)?;
    let served = runtime.block_on(serve(options, source, tell));
    // A call that cannot be ended must not keep the process.
    runtime.shutdown_background();
    served
}

/// Lets this process have as many files, and so connections, as the system lets it.
fn allow_files() {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, getrlimit, setrlimit};
        let mut limit = getrlimit(Resource::Nofile);
        limit.current = limit.maximum;
        // Where that is refused, fewer connections are held.
        let _ = setrlimit(Resource::Nofile, limit);
    }
}

async fn serve(options: &ServerOptions, source: Arc<dyn ModelSource>, tell: Tell) -> Result<(), ServerError> {
    let mut signals = Signals::new().map_err(ServerError::Start)?;
    let hangup = Hangup::new().map_err(ServerError::Start)?;
    let access = Arc::new(Access::open(&options.access).map_err(ServerError::Tokens)?);
    let tls = options.access.tls.as_ref().map(Tls::open).transpose();
    let tls = tls.map_err(ServerError::Tls)?.map(Arc::new);
    let listener = bind(options.http).await?;
    let grpc_listener = bind_any(options.grpc).await?;
    let metrics_listener = bind_any(options.metrics).await?;
    let metrics = Arc::new(Metrics::default());
    let repository = Repository::new(source, options.policy.clone(), metrics, Arc::clone(&tell));
    let repository = Arc::new(repository);
    let shared = Arc::new(http::Shared {
        repository: Arc::clone(&repository),
        is_controlled: options.is_controlled,
        is_draining: AtomicBool::new(false),
        access: Arc::clone(&access),
        most_body_bytes: options.most_body_bytes,
        origins: options.origins.clone(),
        aside: Turns::new(places_aside()),
        started: http::seconds_since_1970(),
        telemetry: Telemetry::start(&options.telemetry).map_err(ServerError::Start)?,
    });
    let address = |listener: &Listener| listener.address().map_err(ServerError::Start);
    tell(Event::Listening {
        http: address(&listener)?,
        grpc: grpc_listener.as_ref().map(address).transpose()?,
        metrics: metrics_listener.as_ref().map(address).transpose()?,
        is_tls: tls.is_some(),
    });
    let (stop, stopped) = watch::channel(false);
    let terms = http::Terms {
        bounds: options.bounds,
        loops: Arc::new(Loops::start(options.threads).map_err(ServerError::Start)?),
        tls: tls.clone(),
        stop: stopped,
    };
    let mut servers = tokio::task::JoinSet::new();
    servers.spawn(http::serve(listener, http::router(Arc::clone(&shared)), terms.clone()));
    if let Some(listener) = grpc_listener {
        let router = grpc::router(Arc::clone(&shared)).map_err(|error| ServerError::Start(io::Error::other(error)))?;
        servers.spawn(http::serve(listener, router, terms.clone()));
    }
    if let Some(listener) = metrics_listener {
        servers.spawn(http::serve(listener, http::metrics_router(Arc::clone(&shared)), terms));
    }
    {
        let tell = Arc::clone(&tell);
        let told = move |reloaded| tell(Event::Reloaded(reloaded));
        tokio::spawn(access::keep_fresh(access, tls, hangup, told));
    }
    let loading = {
        let repository = Arc::clone(&repository);
        tokio::task::spawn_blocking(move || repository.load_all())
    };
    let mut upkeep = tokio::task::JoinSet::new();
    keep_up(options, &repository, &mut upkeep);
    if let Some(interval) = options.telemetry.pulse {
        let (repository, tell) = (Arc::clone(&repository), Arc::clone(&tell));
        tokio::spawn(async move {
            let mut pulses = Pulses::new();
            loop {
                tokio::time::sleep(interval).await;
                tell(Event::Pulse(pulses.take(&repository)));
            }
        });
    }
    signals.wait().await;
    shared.is_draining.store(true, Ordering::Relaxed);
    tell(Event::Draining);
    let _ = stop.send(true);
    let drain = async {
        while servers.join_next().await.is_some() {}
        upkeep.abort_all();
        if loading.is_finished() {
            let closed = tokio::task::spawn_blocking(move || repository.close());
            let _ = closed.await;
        }
    };
    let ended = tokio::select! {
        ended = tokio::time::timeout(options.drain, drain) => ended.map_err(|_| ServerError::CutOff(options.drain)),
        // Whoever asks twice does not want to wait.
        () = signals.wait() => Err(ServerError::CutOff(Duration::ZERO)),
    };
    shared.telemetry.finish().await;
    ended
}

/// As many things are made into tensors at once as there are processors.
fn places_aside() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Is something that is done for the models every so often.
type Upkeep = (Option<Duration>, fn(&Repository));

/// Starts what looks after the models from time to time.
fn keep_up(options: &ServerOptions, repository: &Arc<Repository>, upkeep: &mut tokio::task::JoinSet<()>) {
    // Often enough that no model stays much longer than it may.
    let nap = options.policy.keep_alive;
    let nap = nap.map(|nap| (nap / 8).clamp(Duration::from_millis(50), Duration::from_secs(10)));
    let works: [Upkeep; 3] = [
        (nap, |repository| repository.let_sleep()),
        (options.watch, |repository| repository.follow(Look::Here)),
        (options.watch_registries, |repository| {
            repository.follow(Look::Registries)
        }),
    ];
    for (interval, work) in works {
        let Some(interval) = interval else { continue };
        let repository = Arc::clone(repository);
        upkeep.spawn(async move {
            loop {
                tokio::time::sleep(interval).await;
                let repository = Arc::clone(&repository);
                // It looks at files, asks registries and loads models.
                let _ = tokio::task::spawn_blocking(move || work(&repository)).await;
            }
        });
    }
}

async fn bind_any(address: Option<SocketAddr>) -> Result<Option<Listener>, ServerError> {
    match address {
        Some(address) => bind(address).await.map(Some),
        None => Ok(None),
    }
}

async fn bind(address: SocketAddr) -> Result<Listener, ServerError> {
    let bound = Listener::bind(address).await;
    bound.map_err(|source| ServerError::Listen { address, source })
}

/// Waits for the signals that end a server.
struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    #[cfg(unix)]
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Signals {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    #[cfg(unix)]
    async fn wait(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }

    #[cfg(not(unix))]
    fn new() -> io::Result<Self> {
        Ok(Signals {})
    }

    #[cfg(not(unix))]
    async fn wait(&mut self) {
        let _ = tokio::signal::ctrl_c().await;
    }
}
