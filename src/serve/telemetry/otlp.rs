//! Hands traces to a collector: OTLP over HTTP in JSON, in batches, on a connection each.

use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio::time;
use url::Url;

use super::Lost;
use super::record::Record;
use super::trace::random_id;

/// How many spans may wait for a slow collector.
const WAITING: usize = 4096;
/// The most spans of one message.
const BATCH: usize = 512;
/// How long spans wait for others.
const INTERVAL: Duration = Duration::from_secs(1);
/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The most calls of a request that have spans of their own.
const MOST_CALLS: usize = 16;

/// Is where traces are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Collector {
    authority: String,
    address: (String, u16),
    path: String,
}

/// Says why an address is none of a collector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CollectorError {
    /// It is no address.
    #[error("it is no address such as http://localhost:4318")]
    NoAddress,
    /// It is not spoken to in the clear.
    #[error("traces are sent over http://, to a collector on this machine or in this network")]
    Scheme,
}

impl FromStr for Collector {
    type Err = CollectorError;

    fn from_str(text: &str) -> Result<Self, CollectorError> {
        let url = Url::parse(text).map_err(|_| CollectorError::NoAddress)?;
        if url.scheme() != "http" {
            return Err(CollectorError::Scheme);
        }
        let (host, port) = (url.host().ok_or(CollectorError::NoAddress)?, url.port().unwrap_or(80));
        let name = match host {
            url::Host::Domain(name) => name.to_owned(),
            url::Host::Ipv4(address) => address.to_string(),
            url::Host::Ipv6(address) => address.to_string(),
        };
        Ok(Collector {
            authority: format!("{host}:{port}"),
            address: (name, port),
            path: match url.path() {
                "" | "/" => "/v1/traces".to_owned(),
                path => path.to_owned(),
            },
        })
    }
}

/// Sends spans from a task of its own.
#[derive(Debug)]
pub struct Exporter {
    sender: mpsc::Sender<Value>,
    stop: Arc<Notify>,
    stopped: Arc<Notify>,
    lost: Arc<Lost>,
}

impl Exporter {
    /// Sends what it is given to `collector`, from a task of its own; what does not get there is counted in `lost`.
    pub fn start(collector: Collector, lost: Arc<Lost>) -> Self {
        let (sender, receiver) = mpsc::channel(WAITING);
        let (stop, stopped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (told, tells, counted) = (Arc::clone(&stop), Arc::clone(&stopped), Arc::clone(&lost));
        tokio::spawn(async move {
            send_all(&collector, receiver, &told, &counted).await;
            tells.notify_one();
        });
        Exporter {
            sender,
            stop,
            stopped,
            lost,
        }
    }

    /// Queues the spans of a request, or drops and counts them where too many wait.
    pub fn export(&self, record: &Record) {
        for span in spans(record) {
            if self.sender.try_send(span).is_err() {
                self.lost.spans.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Waits until what waits is sent, or `patience` is over.
    pub async fn finish(&self, patience: Duration) {
        self.stop.notify_one();
        let _ = time::timeout(patience, self.stopped.notified()).await;
    }
}

async fn send_all(collector: &Collector, mut receiver: mpsc::Receiver<Value>, stop: &Notify, lost: &Lost) {
    let mut batch = Vec::with_capacity(BATCH);
    let mut is_stopping = false;
    loop {
        while batch.len() < BATCH {
            let left = BATCH - batch.len();
            let came = tokio::select! {
                count = receiver.recv_many(&mut batch, left) => count > 0,
                () = time::sleep(INTERVAL), if !batch.is_empty() => false,
                () = stop.notified(), if !is_stopping => {
                    is_stopping = true;
                    // What waits is still taken, and then the end comes.
                    receiver.close();
                    true
                }
            };
            if !came {
                break;
            }
        }
        if batch.is_empty() {
            return;
        }
        let count = batch.len() as u64;
        let message = message(std::mem::take(&mut batch)).to_string();
        let sent = time::timeout(PATIENCE, post(collector, &message)).await;
        if !matches!(sent, Ok(Ok(true))) {
            lost.spans.fetch_add(count, Ordering::Relaxed);
        }
    }
}

/// Sends one message; tells whether the collector took it.
async fn post(collector: &Collector, body: &str) -> std::io::Result<bool> {
    let (host, port) = &collector.address;
    let mut stream = TcpStream::connect((host.as_str(), *port)).await?;
    let head = format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        collector.path,
        collector.authority,
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    // No more than the status matters: `HTTP/1.1 200`.
    let mut status = [0; 12];
    stream.read_exact(&mut status).await?;
    Ok(status.starts_with(b"HTTP/1.") && status[9] == b'2')
}

fn message(spans: Vec<Value>) -> Value {
    let resource = [
        text("service.name", "gpux"),
        text("service.version", env!("CARGO_PKG_VERSION")),
    ];
    json!({"resourceSpans": [{
        "resource": {"attributes": resource},
        "scopeSpans": [{"scope": {"name": "gpux.serve", "version": env!("CARGO_PKG_VERSION")}, "spans": spans}],
    }]})
}

fn text(key: &str, value: &str) -> Value {
    json!({"key": key, "value": {"stringValue": value}})
}

fn number(key: &str, value: u64) -> Value {
    // As of protobuf's JSON, 64 bits are text.
    json!({"key": key, "value": {"intValue": value.to_string()}})
}

/// Gives what the server did for a request as one span, and what the model did as spans below it.
fn spans(record: &Record) -> Vec<Value> {
    let (heard, noted) = (&record.heard, &record.noted);
    let identity = &heard.identity;
    let time = |after: Duration| nanoseconds(heard.at, after);
    let route = heard.route.as_deref().unwrap_or(&heard.path);
    let mut attributes = vec![
        text("http.request.method", heard.method.as_str()),
        text("url.path", &heard.path),
        number("http.response.status_code", record.status.into()),
        number("http.response.body.size", record.bytes),
        text("gpux.request_id", &identity.request_id),
    ];
    attributes.extend(heard.route.as_deref().map(|route| text("http.route", route)));
    attributes.extend(
        record
            .grpc_status
            .map(|code| number("rpc.grpc.status_code", code.into())),
    );
    attributes.extend(noted.tenant.as_deref().map(|tenant| text("gpux.tenant", tenant)));
    if let Some((model, version)) = &noted.model {
        attributes.extend([text("gpux.model", model), text("gpux.version", version)]);
    }
    let mut server = json!({
        "traceId": identity.trace_id,
        "spanId": identity.span_id,
        "name": format!("{} {route}", heard.method),
        "kind": 2,
        "startTimeUnixNano": time(Duration::ZERO),
        "endTimeUnixNano": time(record.took),
        "attributes": attributes,
    });
    if let Some(parent) = &identity.parent_id {
        server["parentSpanId"] = parent.as_str().into();
    }
    if let Some(state) = &identity.state {
        server["traceState"] = state.as_str().into();
    }
    if record.status >= 500 || record.grpc_status.is_some_and(|code| matches!(code, 2 | 4 | 12..=15)) {
        server["status"] = json!({"code": 2});
    }
    let below = |name: &str, start: Duration, took: Duration, attributes: Vec<Value>| {
        json!({
            "traceId": identity.trace_id,
            "spanId": random_id::<8>(),
            "parentSpanId": identity.span_id,
            "name": name,
            "kind": 1,
            "startTimeUnixNano": time(start),
            "endTimeUnixNano": time(start + took),
            "attributes": attributes,
        })
    };
    let calls = noted.calls.iter().take(MOST_CALLS).flat_map(|(asked, times)| {
        let start = asked.saturating_duration_since(heard.began);
        let rows = number("gpux.batch_rows", times.rows as u64);
        [
            below("queue", start, times.queue, Vec::new()),
            below("infer", start + times.queue, times.infer, vec![rows]),
        ]
    });
    let calls: Vec<Value> = calls.collect();
    [vec![server], calls].concat()
}

fn nanoseconds(from: Timestamp, after: Duration) -> String {
    (from.as_nanosecond() + after.as_nanos() as i128).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::telemetry::record::tests::record;

    #[test]
    fn a_collector_is_an_address_in_the_clear_with_the_usual_path() {
        let of = |text: &str| text.parse::<Collector>();
        let found = of("http://localhost:4318").unwrap();
        assert_eq!((found.address.1, found.path.as_str()), (4318, "/v1/traces"));
        assert_eq!(of("http://[::1]:1/x").unwrap().address.0, "::1");
        assert_eq!(of("http://[::1]:1/x").unwrap().path, "/x");
        assert_eq!(of("https://localhost:4318"), Err(CollectorError::Scheme));
        assert_eq!(of("localhost"), Err(CollectorError::NoAddress));
    }

    #[test]
    fn a_request_is_a_span_and_its_call_two_below_it_within_its_time() {
        let record = record("/v2/models/mlp/infer");
        let spans = spans(&record);
        let [server, queue, infer] = spans.as_slice() else {
            panic!("{spans:?}")
        };
        assert_eq!(server["name"], "POST /v2/models/{model}/infer");
        assert_eq!(queue["parentSpanId"], server["spanId"]);
        let at = |span: &Value, name: &str| span[name].as_str().unwrap().parse::<u128>().unwrap();
        assert_eq!(at(queue, "endTimeUnixNano"), at(infer, "startTimeUnixNano"));
        assert_eq!(
            at(infer, "endTimeUnixNano") - at(server, "startTimeUnixNano"),
            2_250_000
        );
        assert!(at(server, "endTimeUnixNano") >= at(infer, "endTimeUnixNano"));
        assert!(server.get("status").is_none() && server.get("parentSpanId").is_none());
    }
}
