//! Connections: taken, bounded, and let go.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio_rustls::server::TlsStream;

use super::Refusal;
use super::pace::{Pace, Paced, SlowBody, Watched};
use crate::serve::access::Tls;
use crate::serve::loops::Loops;

/// The largest frame of HTTP/2: tensors come in few. Units: bytes.
const FRAME_BYTES: u32 = 256 << 10;

/// Is a port that is listened on.
pub struct Listener(TcpListener);

/// Bounds what a connection may take.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// How many connections are held at once.
    pub connections: usize,
    /// How long the handshake of TLS may take.
    pub handshake_time: Duration,
    /// How long a connection may be silent before and between its requests.
    pub idle_time: Duration,
    /// How long the head of a request may take.
    pub head_time: Duration,
    /// How many bytes the head of a request may have.
    pub head_bytes: usize,
    /// How many requests of one HTTP/2 connection are answered at once.
    pub streams: u32,
}

impl Default for Bounds {
    fn default() -> Self {
        Bounds {
            connections: 16_384,
            handshake_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(75),
            head_time: Duration::from_secs(10),
            head_bytes: 64 << 10,
            streams: 128,
        }
    }
}

impl Listener {
    /// Listens on an address; port 0 takes any that is free.
    pub async fn bind(address: SocketAddr) -> io::Result<Self> {
        TcpListener::bind(address).await.map(Listener)
    }

    /// Gives the address with its port.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Is what holds for every connection.
#[derive(Clone, Debug)]
pub(in crate::serve) struct Terms {
    pub bounds: Bounds,
    /// `None` where no TLS is spoken.
    pub tls: Option<Arc<Tls>>,
    /// The threads that connections are answered on.
    pub loops: Arc<Loops>,
    /// Is set once the server is to stop.
    pub stop: watch::Receiver<bool>,
}

/// Answers connections until the server is to stop, then finishes the requests that came.
pub(in crate::serve) async fn serve(listener: Listener, router: Router, terms: Terms) {
    let mut stop = terms.stop.clone();
    let places = Arc::new(Semaphore::new(terms.bounds.connections));
    let mut connections = JoinSet::new();
    loop {
        // A place first: connections that would find none wait in the system's own queue.
        let place = tokio::select! {
            place = Arc::clone(&places).acquire_owned() => place,
            () = stopped(&mut stop) => break,
        };
        let Ok(place) = place else { break };
        let accepted = tokio::select! {
            accepted = listener.0.accept() => accepted,
            () = stopped(&mut stop) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                // What it is registered with is the loop of this task: the connection's own takes it anew.
                let Ok(stream) = stream.into_std() else { continue };
                let (router, terms, on) = (router.clone(), terms.clone(), terms.loops.least_busy());
                let handle = on.handle().clone();
                let answered = async move {
                    let _on = on;
                    if let Ok(stream) = TcpStream::from_std(stream) {
                        connection(stream, router, terms, place).await;
                    }
                };
                connections.spawn_on(answered, &handle);
            }
            // Too many open files, most likely: others will close some.
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    while connections.join_next().await.is_some() {}
}

async fn connection(stream: TcpStream, router: Router, mut terms: Terms, _place: OwnedSemaphorePermit) {
    // Answers are written whole, so nothing is gained by holding back a small one.
    let _ = stream.set_nodelay(true);
    let Some(tls) = terms.tls.take() else {
        return exchange(stream, router, terms).await;
    };
    let mut stop = terms.stop.clone();
    let handshake = tokio::time::timeout(terms.bounds.handshake_time, shake_hands(stream, &tls));
    tokio::select! {
        // Why a handshake failed, the client is told by TLS itself.
        shaken = handshake => if let Ok(Some(stream)) = shaken { exchange(stream, router, terms).await },
        () = stopped(&mut stop) => {}
    }
}

/// Begins TLS; to a client that begins without, says so.
async fn shake_hands(mut stream: TcpStream, tls: &Tls) -> Option<TlsStream<TcpStream>> {
    const HANDSHAKE: u8 = 0x16;
    const PLAIN: &[u8] = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: 52\r\n\
        Connection: close\r\n\r\n{\"error\": \"this port speaks TLS: call it by https\"}\n";
    let mut first = [0];
    if stream.peek(&mut first).await.ok()? == 1 && first[0] != HANDSHAKE {
        stream.write_all(PLAIN).await.ok()?;
        stream.shutdown().await.ok()?;
        return None;
    }
    tls.acceptor().accept(stream).await.ok()
}

/// Answers the requests of a connection.
async fn exchange(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, router: Router, terms: Terms) {
    let Terms { bounds, mut stop, .. } = terms;
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        // Its own clock runs between requests too, and knows no body: see `pace`.
        .header_read_timeout(None)
        .max_buf_size(bounds.head_bytes.max(8 << 10))
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(bounds.streams)
        .max_frame_size(FRAME_BYTES)
        .max_header_list_size(u32::try_from(bounds.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    let pace = Pace::new();
    let service = TowerToHyperService::new(Watched {
        router,
        pace: Arc::clone(&pace),
    });
    let stream = Paced {
        stream,
        pace: Arc::clone(&pace),
    };
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // What a client did wrong on the wire is its own to know.
        _ = connection.as_mut() => return,
        () = pace.broken(&bounds) => return,
        () = stopped(&mut stop) => connection.as_mut().graceful_shutdown(),
    }
    tokio::select! {
        _ = connection => {}
        () = pace.broken(&bounds) => {}
    }
}

/// Waits until the server is to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // A sender that is gone will never say so, and the server ends with it.
    let _ = stop.wait_for(|is_stopping| *is_stopping).await;
}

/// Reads a body of at most `most_bytes`.
///
/// Errors: 413 for a longer one, declared or found; 408 for one that stands still; 400 for one that breaks off.
pub(super) async fn collect(body: Body, most_bytes: usize) -> Result<Bytes, Refusal> {
    use http_body::Body as _;
    let too_long = || {
        Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the body is longer than {most_bytes} bytes, the limit of --max-body"),
        )
    };
    let declared = body.size_hint().lower();
    if declared > most_bytes as u64 {
        return Err(too_long());
    }
    let mut body = std::pin::pin!(body);
    let mut whole: Vec<u8> = Vec::new();
    let mut first: Option<Bytes> = None;
    loop {
        let frame = std::future::poll_fn(|context| body.as_mut().poll_frame(context));
        let Some(frame) = frame.await else { break };
        let frame = frame.map_err(|error| match SlowBody::of(&error) {
            Some(slow) => Refusal::new(StatusCode::REQUEST_TIMEOUT, slow.to_string()),
            None => Refusal::bad(format!("the body broke off: {error}")),
        })?;
        let Ok(data) = frame.into_data() else { continue };
        let length = first.as_ref().map_or(whole.len(), Bytes::len);
        if length + data.len() > most_bytes {
            return Err(too_long());
        }
        match first.take() {
            // Most bodies come in one piece, which needs no copy.
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(piece) => {
                let declared = usize::try_from(declared).unwrap_or(0).min(most_bytes);
                whole.reserve(declared.max(piece.len() + data.len()));
                whole.extend_from_slice(&piece);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.into()))
}
