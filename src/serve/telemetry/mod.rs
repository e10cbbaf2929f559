//! What can be seen of each request: its ids, a line of the access log, a trace.
//!
//! [`follow`] stands before everything else that answers. It gives a request its ids; where a log or a collector of traces
//! wants to hear of it, whatever answers may say more through [`note`], and when the last byte has gone, or the client
//! has, a record is handed to threads of their own. A full queue drops records and counts them: nothing here makes a
//! request wait.

mod latency;
mod log;
mod otlp;
mod pulse;
mod record;
mod trace;

use std::fmt;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{MatchedPath, Request};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use jiff::Timestamp;

use super::http::Shared;
use super::scheduler::Times;
use super::{GpuUse, Gpus};

pub use latency::{Latencies, Quantiles};
pub use log::Lines;
pub use otlp::{Collector, CollectorError};
pub use pulse::{Pulse, Pulses};

use log::AccessLog;
use otlp::Exporter;
use record::{Heard, Recording};
use trace::Identity;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// Says who hears of requests.
#[derive(Clone)]
pub struct TelemetryOptions {
    /// Takes the lines of the access log.
    pub log: Option<Lines>,
    /// Takes traces.
    pub collector: Option<Collector>,
    /// How often models are looked at for [`Event::Pulse`](super::Event::Pulse); `None` for never.
    pub pulse: Option<Duration>,
    /// Tells how busy the cards are.
    pub gpus: Option<Gpus>,
    /// Tells the time.
    pub clock: fn() -> Timestamp,
}

impl fmt::Debug for TelemetryOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TelemetryOptions")
            .field("log", &self.log.is_some())
            .field("collector", &self.collector)
            .finish_non_exhaustive()
    }
}

/// Hears of requests and hands on what log and collector want to know.
pub struct Telemetry {
    log: Option<AccessLog>,
    exporter: Option<Exporter>,
    gpus: Option<Gpus>,
    clock: fn() -> Timestamp,
    lost: Arc<Lost>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry")
            .field("log", &self.log)
            .field("exporter", &self.exporter)
            .finish_non_exhaustive()
    }
}

/// Counts what was dropped because a queue was full or its reader failed.
#[derive(Debug, Default)]
pub struct Lost {
    lines: AtomicU64,
    spans: AtomicU64,
}

impl Lost {
    /// Gives how many lines of the log, and how many spans, were lost.
    pub fn counts(&self) -> (u64, u64) {
        (self.lines.load(Ordering::Relaxed), self.spans.load(Ordering::Relaxed))
    }
}

impl Telemetry {
    /// Starts what hands on; to be called within a runtime.
    ///
    /// Errors: the system gives no thread.
    pub fn start(options: &TelemetryOptions) -> io::Result<Telemetry> {
        let lost = Arc::new(Lost::default());
        let log = options.log.clone();
        Ok(Telemetry {
            log: log
                .map(|lines| AccessLog::start(lines, Arc::clone(&lost)))
                .transpose()?,
            exporter: options
                .collector
                .clone()
                .map(|collector| Exporter::start(collector, Arc::clone(&lost))),
            gpus: options.gpus.clone(),
            clock: options.clock,
            lost,
        })
    }

    /// Tells how busy the cards are; of none, where none is known.
    pub fn gpus(&self) -> Vec<GpuUse> {
        self.gpus.as_ref().map_or_else(Vec::new, |gpus| gpus())
    }

    /// Gives the counts of what was lost.
    pub fn lost(&self) -> &Lost {
        &self.lost
    }

    /// Hands on what still waits, as far as that goes within two seconds.
    pub async fn finish(&self) {
        const PATIENCE: Duration = Duration::from_secs(2);
        if let Some(exporter) = &self.exporter {
            exporter.finish(PATIENCE).await;
        }
        if let Some(log) = &self.log {
            log.finish(PATIENCE);
        }
    }

    fn wants(&self, identity: &Identity) -> bool {
        self.log.is_some() || (self.exporter.is_some() && identity.is_sampled)
    }
}

/// Is what answers a request may say of it.
#[derive(Clone, Debug, Default)]
pub struct Noted {
    /// On whose behalf it came.
    pub tenant: Option<Arc<str>>,
    /// The model and its version.
    pub model: Option<(String, String)>,
    /// The calls of the model, each with when it was asked for.
    pub calls: Vec<(Instant, Times)>,
    /// How long it took to make tensors of what came.
    pub preprocess: Option<Duration>,
    /// How long it took to make answers of tensors.
    pub postprocess: Option<Duration>,
}

type Notes = Arc<Mutex<Noted>>;

tokio::task_local! {
    static NOTES: Notes;
}

/// Says something of the request that this task answers, where anybody wants to hear it.
pub fn note(of: impl FnOnce(&mut Noted)) {
    let _ = NOTES.try_with(|notes| of(&mut notes.lock().unwrap_or_else(PoisonError::into_inner)));
}

/// Lets a task that answers in the place of this one say something of its request.
pub fn carried<F: Future>(future: F) -> impl Future<Output = F::Output> {
    let notes = NOTES.try_with(Arc::clone).unwrap_or_default();
    NOTES.scope(notes, future)
}

/// Gives each request its ids, and hands on what is to be seen of it.
pub(super) async fn follow<F>(shared: &Arc<Shared>, request: Request, answer: impl FnOnce(Request) -> F) -> Response
where
    F: Future<Output = Response>,
{
    let telemetry = &shared.telemetry;
    let identity = Identity::of(request.headers());
    let (id, trace) = (identity.request_id.clone(), identity.traceparent());
    let mut response = if telemetry.wants(&identity) {
        let route = request.extensions().get::<MatchedPath>();
        let heard = Heard {
            identity,
            at: (telemetry.clock)(),
            began: Instant::now(),
            method: request.method().clone(),
            version: request.version(),
            path: record::shown_path(request.uri().path()),
            route: route.map(|route| route.as_str().to_owned()),
        };
        let notes = Notes::default();
        let recording = Recording::new(Arc::clone(shared), heard, Arc::clone(&notes));
        // Dropped with this future where the client leaves before the answer.
        let response = NOTES.scope(notes, answer(request)).await;
        recording.follow(response)
    } else {
        answer(request).await
    };
    let headers = response.headers_mut();
    for (name, value) in [(REQUEST_ID, id), (TRACEPARENT, trace)] {
        if let Ok(value) = HeaderValue::try_from(value) {
            headers.insert(name, value);
        }
    }
    response
}
