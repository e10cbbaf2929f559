//! How long a client may take: between its requests, for the head of one, and for the body.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Version};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tonic::codegen::Service;

use super::Bounds;
use super::held::hold;

/// Knows what a connection is at.
#[derive(Debug)]
pub(super) struct Pace(Mutex<Phase>);

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// Nothing was ever heard.
    New(Instant),
    /// A request may come.
    Idle(Instant),
    /// A request began to come.
    Head(Instant),
    /// A request is answered.
    Busy,
    /// Requests come beside each other, and HTTP/2 itself asks whether the client is there.
    Http2,
}

/// How HTTP/2 begins.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Pace {
    /// Begins to watch a connection that has sent nothing yet.
    pub fn new() -> Arc<Self> {
        Arc::new(Pace(Mutex::new(Phase::New(Instant::now()))))
    }

    fn change(&self, change: impl FnOnce(Phase) -> Phase) {
        let mut phase = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *phase = change(*phase);
    }

    fn read(&self, bytes: &[u8]) {
        self.change(|phase| match phase {
            Phase::New(_) if bytes.starts_with(PREFACE) => Phase::Http2,
            Phase::New(_) | Phase::Idle(_) => Phase::Head(Instant::now()),
            other => other,
        });
    }

    fn wrote(&self) {
        self.change(|phase| match phase {
            // The end of the answer before is still on its way.
            Phase::Idle(_) => Phase::Idle(Instant::now()),
            other => other,
        });
    }

    /// Waits until the client has taken longer than it may.
    pub async fn broken(&self, bounds: &Bounds) {
        loop {
            let phase = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let end = match phase {
                Phase::New(since) | Phase::Idle(since) => Some(since + bounds.idle_time),
                Phase::Head(since) => Some(since + bounds.head_time),
                Phase::Busy => None,
                Phase::Http2 => return std::future::pending().await,
            };
            let now = Instant::now();
            if end.is_some_and(|end| end <= now) {
                return;
            }
            // A head may begin meanwhile, so that its end would come before this one's.
            let look = now + bounds.head_time;
            sleep_until(end.map_or(look, |end| end.min(look))).await;
        }
    }
}

/// Is a connection that is watched.
pub(super) struct Paced<S> {
    pub stream: S,
    pub pace: Arc<Pace>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before {
            self.pace.read(&buffer.filled()[before..]);
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_ready() {
            self.pace.wrote();
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        if written.is_ready() {
            self.pace.wrote();
        }
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// Is the service of a connection that is watched.
#[derive(Clone)]
pub(super) struct Watched {
    pub router: Router,
    pub pace: Arc<Pace>,
}

impl<B> Service<Request<B>> for Watched
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_alone = request.version() < Version::HTTP_2;
        self.pace.change(|_| if is_alone { Phase::Busy } else { Phase::Http2 });
        let turn = is_alone.then(|| Turn(Arc::clone(&self.pace)));
        let is_stream = STREAMS.contains(&request.uri().path());
        let answer = match is_stream {
            true => self.router.call(request.map(Body::new)),
            false => self
                .router
                .call(request.map(|body| Body::new(PacedBody::new(Body::new(body))))),
        };
        Box::pin(async move {
            let response = answer.await?;
            Ok(match turn {
                Some(turn) => hold(response, turn),
                None => response,
            })
        })
    }
}

/// Is the time in which a request is answered; another may come after it.
struct Turn(Arc<Pace>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.change(|_| Phase::Idle(Instant::now()));
    }
}

/// Whose bodies come for as long as the client likes.
const STREAMS: [&str; 2] = [
    "/inference.GRPCInferenceService/ModelStreamInfer",
    "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
];

/// How long a body may stand still, and how long it may be slow.
const STALL: Duration = Duration::from_secs(30);
/// How much of a body must come, on average, once it has come for as long as it may stand still. Units: bytes a second.
const LEAST_RATE: f64 = 1024.0;

/// Is a body that is given up where it does not come.
struct PacedBody {
    body: Body,
    began: Option<Instant>,
    came_bytes: u64,
    stall: Option<Pin<Box<Sleep>>>,
}

/// Says that a body came too slowly.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum SlowBody {
    #[error("the body stood still for {} s", STALL.as_secs())]
    Still,
    #[error("the body came at less than {LEAST_RATE} bytes a second")]
    Slow,
}

impl SlowBody {
    /// Finds out whether this is why a body broke off.
    pub fn of(error: &axum::Error) -> Option<SlowBody> {
        let mut cause: Option<&dyn std::error::Error> = Some(error);
        while let Some(error) = cause {
            if let Some(slow) = error.downcast_ref::<SlowBody>() {
                return Some(*slow);
            }
            cause = error.source();
        }
        None
    }
}

impl PacedBody {
    fn new(body: Body) -> Self {
        PacedBody {
            body,
            began: None,
            came_bytes: 0,
            stall: None,
        }
    }

    fn is_slow(&self) -> bool {
        let late = self.began.map(|began| began.elapsed().saturating_sub(STALL));
        late.is_some_and(|late| late.as_secs_f64() * LEAST_RATE > self.came_bytes as f64)
    }
}

impl HttpBody for PacedBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(frame) = &polled {
            self.stall = None;
            if let Some(Ok(frame)) = frame {
                self.came_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.is_slow() {
                    return Poll::Ready(Some(Err(axum::Error::new(SlowBody::Slow))));
                }
            }
            return polled;
        }
        // A body that is there needs no clock.
        self.began.get_or_insert_with(Instant::now);
        let stall = self.stall.get_or_insert_with(|| Box::pin(sleep(STALL)));
        match stall.as_mut().poll(context) {
            Poll::Ready(()) => Poll::Ready(Some(Err(axum::Error::new(SlowBody::Still)))),
            Poll::Pending => Poll::Pending,
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
