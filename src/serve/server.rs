use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::runtime;
use tokio::sync::{Semaphore, watch};

use super::access::{self, Access, AccessOptions, Hangup, Reloaded, Tls, TlsError, TokenFileError};
use super::http::{self, Bounds, Listener, Origins};
use super::{Metrics, ModelSource, Repository, State, grpc};

/// Says how a server serves.
#[derive(Clone, Debug)]
pub struct ServerOptions {
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
pub fn run(
    options: &ServerOptions,
    source: Arc<dyn ModelSource>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
) -> Result<(), ServerError> {
    let runtime = runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("serve")
        .build()
        .map_err(ServerError::Start)?;
    let served = runtime.block_on(serve(options, source, tell));
    // A call that cannot be ended must not keep the process.
    runtime.shutdown_background();
    served
}

async fn serve(
    options: &ServerOptions,
    source: Arc<dyn ModelSource>,
    tell: Arc<dyn Fn(Event) + Send + Sync>,
) -> Result<(), ServerError> {
    let mut signals = Signals::new().map_err(ServerError::Start)?;
    let hangup = Hangup::new().map_err(ServerError::Start)?;
    let access = Arc::new(Access::open(&options.access).map_err(ServerError::Tokens)?);
    let tls = options.access.tls.as_ref().map(Tls::open).transpose();
    let tls = tls.map_err(ServerError::Tls)?.map(Arc::new);
    let listener = bind(options.http).await?;
    let grpc_listener = bind_any(options.grpc).await?;
    let metrics_listener = bind_any(options.metrics).await?;
    let repository = Arc::new(Repository::new(Arc::new(Metrics::default())));
    let shared = Arc::new(http::Shared {
        repository: Arc::clone(&repository),
        is_draining: AtomicBool::new(false),
        access: Arc::clone(&access),
        most_body_bytes: options.most_body_bytes,
        origins: options.origins.clone(),
        aside: Arc::new(Semaphore::new(places_aside())),
        started: seconds_since_1970(),
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
        let (repository, tell) = (Arc::clone(&repository), Arc::clone(&tell));
        tokio::task::spawn_blocking(move || load_all(&repository, source.as_ref(), tell.as_ref()))
    };
    signals.wait().await;
    shared.is_draining.store(true, Ordering::Relaxed);
    tell(Event::Draining);
    let _ = stop.send(true);
    let drain = async {
        while servers.join_next().await.is_some() {}
        if loading.is_finished() {
            let closed = tokio::task::spawn_blocking(move || repository.close());
            let _ = closed.await;
        }
    };
    tokio::select! {
        ended = tokio::time::timeout(options.drain, drain) => ended.map_err(|_| ServerError::CutOff(options.drain)),
        // Whoever asks twice does not want to wait.
        () = signals.wait() => Err(ServerError::CutOff(Duration::ZERO)),
    }
}

/// As many things are made into tensors at once as there are processors.
fn places_aside() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn seconds_since_1970() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_secs())
}

fn load_all(repository: &Repository, source: &dyn ModelSource, tell: &(dyn Fn(Event) + Send + Sync)) {
    repository.load_all(source, &|name, version, state| {
        tell(Event::Model {
            name: name.to_owned(),
            version: version.to_owned(),
            state: state.clone(),
        });
    });
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
