use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, Method, Version};
use axum::response::Response;
use http_body::{Frame, SizeHint};
use jiff::Timestamp;
use serde::Serialize;

use super::trace::Identity;
use super::{Noted, Notes};
use crate::serve::http::Shared;

/// The longest path that is kept. Units: characters.
const LONGEST_PATH: usize = 512;
/// What stands for the status of a request whose client left before the answer.
const LEFT: u16 = 499;

/// Is what is known of a request before it is answered.
#[derive(Debug)]
pub struct Heard {
    pub identity: Identity,
    pub at: Timestamp,
    pub began: Instant,
    pub method: Method,
    pub version: Version,
    pub path: String,
    pub route: Option<String>,
}

/// Is all that log and collector are told of a request.
#[derive(Debug)]
pub struct Record {
    pub heard: Heard,
    pub noted: Noted,
    pub took: Duration,
    pub status: u16,
    /// The code of gRPC, where that was spoken.
    pub grpc_status: Option<u16>,
    /// The bytes of the answer's body.
    pub bytes: u64,
}

/// Follows a request to its end, and hands its record on when it is dropped.
pub struct Recording {
    shared: Arc<Shared>,
    notes: Notes,
    record: Option<Record>,
}

/// Gives a path as it may be kept: without the query, which may hold secrets, and not without end.
pub fn shown_path(path: &str) -> String {
    path.chars().take(LONGEST_PATH).collect()
}

impl Recording {
    /// Begins the record of a request that was heard.
    pub fn new(shared: Arc<Shared>, heard: Heard, notes: Notes) -> Self {
        Recording {
            shared,
            notes,
            record: Some(Record {
                heard,
                noted: Noted::default(),
                took: Duration::ZERO,
                status: LEFT,
                grpc_status: None,
                bytes: 0,
            }),
        }
    }

    /// Follows the answer: to its last byte where its length is not known, else it is as good as sent.
    pub fn follow(mut self, response: Response) -> Response {
        let length = http_body::Body::size_hint(response.body()).exact();
        if let Some(record) = &mut self.record {
            record.status = response.status().as_u16();
            record.grpc_status = grpc_status(response.headers());
            record.bytes = length.unwrap_or(0);
        }
        match length {
            Some(_) => response,
            None => response.map(|body| Body::new(Counted { body, recording: self })),
        }
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        let Some(mut record) = self.record.take() else { return };
        record.took = record.heard.began.elapsed();
        record.noted = std::mem::take(&mut *self.notes.lock().unwrap_or_else(PoisonError::into_inner));
        let telemetry = &self.shared.telemetry;
        if let Some(log) = &telemetry.log {
            log.write(&record);
        }
        if let Some(exporter) = &telemetry.exporter
            && record.heard.identity.is_sampled
        {
            exporter.export(&record);
        }
    }
}

fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}

/// Is a body whose bytes are counted.
struct Counted {
    body: Body,
    recording: Recording,
}

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some(record)) = (&polled, &mut self.recording.record) {
            if let Some(data) = frame.data_ref() {
                record.bytes += data.len() as u64;
            }
            if let Some(trailers) = frame.trailers_ref() {
                record.grpc_status = grpc_status(trailers);
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Is a record as a line of the access log.
#[derive(Debug, Serialize)]
pub struct Line<'a> {
    time: String,
    request_id: &'a str,
    trace_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    protocol: &'static str,
    method: &'a str,
    path: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<&'a str>,
    status: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    grpc_status: Option<u16>,
    bytes: u64,
    duration_ms: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    preprocess_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queue_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    infer_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    postprocess_ms: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    rows: Option<usize>,
}

impl<'a> From<&'a Record> for Line<'a> {
    fn from(record: &'a Record) -> Self {
        let (heard, noted) = (&record.heard, &record.noted);
        let model = noted.model.as_ref();
        let calls = &noted.calls;
        let sum = |of: fn(&crate::serve::Times) -> Duration| {
            let all = calls.iter().map(|(_, times)| of(times)).sum();
            (!calls.is_empty()).then(|| milliseconds(all))
        };
        Line {
            time: format!("{:.6}", heard.at),
            request_id: &heard.identity.request_id,
            trace_id: &heard.identity.trace_id,
            tenant: noted.tenant.as_deref(),
            protocol: match heard.version {
                Version::HTTP_2 => "HTTP/2",
                Version::HTTP_10 => "HTTP/1.0",
                _ => "HTTP/1.1",
            },
            method: heard.method.as_str(),
            path: &heard.path,
            model: model.map(|(name, _)| name.as_str()),
            version: model.map(|(_, version)| version.as_str()),
            status: record.status,
            grpc_status: record.grpc_status,
            bytes: record.bytes,
            duration_ms: milliseconds(record.took),
            preprocess_ms: noted.preprocess.map(milliseconds),
            queue_ms: sum(|times| times.queue),
            infer_ms: sum(|times| times.infer),
            postprocess_ms: noted.postprocess.map(milliseconds),
            rows: calls.iter().map(|(_, times)| times.rows).max(),
        }
    }
}

/// Gives a duration in milliseconds, rounded to the microsecond.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use crate::serve::Times;

    pub fn record(path: &str) -> Record {
        let began = Instant::now();
        Record {
            heard: Heard {
                identity: Identity::of(&HeaderMap::new()),
                at: Timestamp::from_second(1_700_000_000).unwrap(),
                began,
                method: Method::POST,
                version: Version::HTTP_11,
                path: shown_path(path),
                route: Some("/v2/models/{model}/infer".into()),
            },
            noted: Noted {
                tenant: Some("lab".into()),
                model: Some(("mlp".into(), "1".into())),
                calls: vec![(
                    began,
                    Times {
                        queue: Duration::from_micros(250),
                        infer: Duration::from_millis(2),
                        rows: 8,
                    },
                )],
                ..Noted::default()
            },
            took: Duration::from_millis(3),
            status: 200,
            grpc_status: None,
            bytes: 12,
        }
    }

    #[test]
    fn a_line_is_one_line_whatever_the_path_holds() {
        let record = record("/v2/models/a\n\u{1b}[31m\"\u{2028}/infer");
        let line = serde_json::to_string(&Line::from(&record)).unwrap();
        assert!(!line.contains(['\n', '\u{1b}']), "{line}");
        let read: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(read["time"], "2023-11-14T22:13:20.000000Z");
        assert_eq!(read["queue_ms"], 0.25);
        assert_eq!((&read["rows"], &read["tenant"]), (&8.into(), &"lab".into()));
        assert!(read.get("grpc_status").is_none() && read.get("preprocess_ms").is_none());
        assert_eq!(shown_path(&"x".repeat(9000)).len(), LONGEST_PATH);
    }
}
