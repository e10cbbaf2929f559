//! What is to be seen of a server: its access log, traces, status and metrics.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

#[cfg(target_os = "linux")]
use crate::doctor::compile;
use crate::support::server::{Response, Server, request, signal};
use crate::support::terminal::on_terminal;
use crate::support::{Gpux, deps};

const MLP: &str = "mlp=fixtures/mlp/model.onnx";
const INFER: &str = "/v2/models/mlp/infer";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const SPAN: &str = "b7ad6b7169203331";

fn body() -> Vec<u8> {
    let input = json!({"name": "x", "shape": [2, 4], "datatype": "FP32", "data": [1, 2, 3, 4, 5, 6, 7, 8]});
    json!({"inputs": [input]}).to_string().into_bytes()
}

fn header<'a>(answer: &'a Response, name: &str) -> Option<&'a str> {
    let mut lines = answer.head.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

fn lines(text: &str) -> Vec<Value> {
    let each = text.lines().map(|line| serde_json::from_str(line).unwrap());
    each.collect()
}

#[test]
fn every_answer_has_the_id_of_its_request_and_its_place_in_the_trace() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let given = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    for (path, host) in [("/v2", "localhost"), ("/nothing", "localhost"), ("/v2", "evil.example")] {
        let host = format!("Host: {host}");
        let answer = server.request("GET", path, &[&host, &given, "X-Request-Id: mine-7"], b"");
        assert_eq!(header(&answer, "x-request-id"), Some("mine-7"), "{answer:?}");
        let trace = header(&answer, "traceparent").unwrap();
        assert!(
            trace.starts_with(&format!("00-{TRACE}-")) && !trace.contains(SPAN),
            "{trace}"
        );
    }
    let odd = server.request("GET", "/v2", &["X-Request-Id: a b", "traceparent: 00-0-0-0"], b"");
    assert_eq!(header(&odd, "x-request-id").unwrap().len(), 32, "{odd:?}");
    assert_eq!(header(&odd, "traceparent").unwrap().len(), 55, "{odd:?}");
    let one = server.get("/v2");
    let other = server.get("/v2");
    assert_ne!(header(&one, "x-request-id"), header(&other, "x-request-id"));
}

#[test]
fn the_access_log_has_a_line_for_each_request_and_no_secret() {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("access.jsonl");
    fs::write(&log, "{\"kept\": true}\n").unwrap();
    let server = Server::start(&Gpux::new(), &[MLP, "--access-log", log.to_str().unwrap()]);
    let answer = server.request("POST", INFER, &["X-Request-Id: one"], &body());
    assert_eq!(answer.status, 200, "{answer:?}");
    let secret = ["Authorization: Bearer s3cret", "X-Request-Id: two", "Cookie: s3cret"];
    server.request("GET", "/v2/models/a%0ab%1b%5b31m?token=s3cret", &secret, b"");
    let script = "import sys, numpy, tritonclient.grpc as triton\n\
        client = triton.InferenceServerClient(sys.argv[1])\n\
        x = triton.InferInput('x', [1, 4], 'FP32')\n\
        x.set_data_from_numpy(numpy.zeros((1, 4), numpy.float32))\n\
        client.infer('mlp', [x], headers={'x-request-id': 'three'})\n";
    let called = Command::new(deps::python())
        .args(["-c", script, &server.grpc.to_string()])
        .output()
        .unwrap();
    assert!(called.status.success(), "{called:?}");
    assert_eq!(server.stop().code(), Some(0));
    let text = fs::read_to_string(&log).unwrap();
    assert!(!text.contains("s3cret") && !text.contains('\u{1b}'), "{text}");
    let lines = lines(&text);
    assert_eq!(lines[0], json!({"kept": true}), "the log is written at its end");
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id).unwrap();
    let one = of("one");
    assert_eq!(
        (&one["method"], &one["path"], &one["status"]),
        (&"POST".into(), &INFER.into(), &200.into())
    );
    assert_eq!(
        (&one["model"], &one["rows"], &one["protocol"]),
        (&"mlp".into(), &2.into(), &"HTTP/1.1".into())
    );
    assert_eq!(one["bytes"], answer.body.len());
    let time = |name: &str| one[name].as_f64().unwrap();
    assert!(time("queue_ms") + time("infer_ms") <= time("duration_ms"), "{one}");
    assert!(one["time"].as_str().unwrap().ends_with('Z') && one["trace_id"].as_str().unwrap().len() == 32);
    assert_eq!(
        (&of("two")["status"], &of("two")["path"]),
        (&404.into(), &"/v2/models/a%0ab%1b%5b31m".into())
    );
    let three = of("three");
    assert_eq!(
        (&three["grpc_status"], &three["model"]),
        (&0.into(), &"mlp".into()),
        "{three}"
    );
    assert_eq!(three["protocol"], "HTTP/2");
}

#[test]
fn a_log_that_cannot_be_opened_is_an_error_before_anything_is_served() {
    let answer = Gpux::new().run(["serve", MLP, "--access-log", "/nowhere/at/all"]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(answer.stderr.contains("cannot keep an access log"), "{answer:?}");
    let answer = Gpux::new().run(["serve", MLP, "--otlp", "https://localhost:4318"]);
    assert_eq!(answer.code, Some(2), "{answer:?}");
}

/// Takes traces; gives its address, and what came.
fn collector() -> (SocketAddr, Arc<Mutex<Vec<Value>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let spans = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&spans);
    // Ends with the test's process.
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let message = take(stream);
            let mut found = heard.lock().unwrap();
            for scope in message["resourceSpans"][0]["scopeSpans"].as_array().unwrap() {
                found.extend(scope["spans"].as_array().unwrap().iter().cloned());
            }
        }
    });
    (address, spans)
}

fn take(mut stream: TcpStream) -> Value {
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let mut whole = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&whole);
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            assert!(head.starts_with("POST /v1/traces HTTP/1.1"), "{head}");
            let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
            if body.len() >= length.unwrap().parse::<usize>().unwrap() {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                    .unwrap();
                return serde_json::from_str(body).unwrap();
            }
        }
        let count = stream.read(&mut piece).unwrap();
        assert!(count > 0, "the message breaks off");
        whole.extend_from_slice(&piece[..count]);
    }
}

#[test]
fn a_collector_gets_the_spans_of_sampled_requests_below_those_of_their_callers() {
    let (address, spans) = collector();
    let server = Server::start(&Gpux::new(), &[MLP, "--otlp", &format!("http://{address}")]);
    let sampled = format!("traceparent: 00-{TRACE}-{SPAN}-01");
    let silent = format!("traceparent: 00-1{}-{SPAN}-00", &TRACE[1..]);
    assert_eq!(server.request("POST", INFER, &[&sampled], &body()).status, 200);
    assert_eq!(server.request("POST", INFER, &[&silent], &body()).status, 200);
    assert_eq!(server.stop().code(), Some(0));
    let spans = spans.lock().unwrap();
    let of = |name: &str| -> Vec<&Value> {
        let named = spans
            .iter()
            .filter(|span| span["traceId"] == TRACE && span["name"] == name);
        named.collect()
    };
    let [request] = of("POST /v2/models/{model}/infer")[..] else {
        panic!("{spans:?}")
    };
    assert_eq!((&request["parentSpanId"], &request["kind"]), (&SPAN.into(), &2.into()));
    for name in ["queue", "infer"] {
        let [below] = of(name)[..] else {
            panic!("{name}: {spans:?}")
        };
        assert_eq!(below["parentSpanId"], request["spanId"]);
    }
    let is_silent = |span: &Value| span["traceId"].as_str().unwrap().starts_with("1af7");
    assert!(!spans.iter().any(is_silent), "{spans:?}");
}

#[test]
fn a_collector_that_is_not_there_loses_spans_and_keeps_nobody_waiting() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(&Gpux::new(), &[MLP, "--otlp", &format!("http://{free}")]);
    assert_eq!(server.post(INFER, &body()).status, 200);
    let until = Instant::now() + Duration::from_secs(30);
    let lost = || {
        let text = String::from_utf8(request(server.metrics, "GET", "/metrics", &[], b"").body).unwrap();
        let line = text
            .lines()
            .find(|line| line.starts_with("gpux_telemetry_lost{kind=\"span\"}"));
        line.unwrap().rsplit(' ').next().unwrap().parse::<u64>().unwrap()
    };
    while lost() == 0 {
        assert!(Instant::now() < until, "no span is lost");
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn metrics_tell_how_long_requests_took_and_what_memory_each_process_has() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    assert_eq!(server.post(INFER, &body()).status, 200);
    let text = String::from_utf8(request(server.metrics, "GET", "/metrics", &[], b"").body).unwrap();
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(name));
        line.unwrap_or_else(|| panic!("{name}: {text}"))
            .rsplit(' ')
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let mlp = "model=\"mlp\",version=\"0.1.0\"";
    assert_eq!(value(&format!("gpux_request_time_seconds_count{{{mlp}}}")), 1.0);
    assert!(value(&format!("gpux_resident_memory_bytes{{process=\"worker\",{mlp}}}")) > 1e6);
    assert!(value("gpux_resident_memory_bytes{process=\"server\"") > 1e6);
    assert!(text.ends_with("# EOF\n"));
}

/// A driver with a card that is half busy and one that does not tell.
#[cfg(target_os = "linux")]
const MANAGEMENT: &str = r#"
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) { *count = 2; return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned at, void **card) { *card = (void *)(unsigned long)(at + 1); return 0; }
int nvmlDeviceGetName(void *card, char *name, unsigned length) { strncpy(name, "Acme \"G1\"", length); return 0; }
int nvmlDeviceGetUtilizationRates(void *card, unsigned *load) { load[0] = 50; load[1] = 7; return card == (void *)1 ? 0 : 3; }
int nvmlDeviceGetMemoryInfo(void *card, unsigned long long *memory) { memory[0] = 24; memory[1] = 20; memory[2] = 4; return 0; }
"#;

#[cfg(target_os = "linux")]
#[test]
fn metrics_tell_how_busy_the_cards_of_a_driver_are() {
    let folder = TempDir::new().unwrap();
    compile(MANAGEMENT, &folder.path().join("libnvidia-ml.so.1"));
    let gpux = Gpux::new().with_drivers(folder.path());
    let server = Server::start(&gpux, &[MLP]);
    let until = Instant::now() + Duration::from_secs(30);
    let text = loop {
        let text = String::from_utf8(request(server.metrics, "GET", "/metrics", &[], b"").body).unwrap();
        if text.contains("gpux_gpu_memory_bytes{") {
            break text;
        }
        assert!(Instant::now() < until, "{text}");
        thread::sleep(Duration::from_millis(50));
    };
    for line in [
        r#"gpux_gpu_busy_ratios{gpu="0",name="Acme \"G1\""} 0.5"#,
        r#"gpux_gpu_memory_used_bytes{gpu="1",name="Acme \"G1\""} 4"#,
        r#"gpux_gpu_memory_bytes{gpu="0",name="Acme \"G1\""} 24"#,
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains(r#"gpux_gpu_busy_ratios{gpu="1""#), "{text}");
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn who_watches_sees_how_the_models_do_and_a_pipe_does_not() {
    let gpux = Gpux::new();
    let ports = ["--port", "0", "--grpc-port", "0", "--metrics-port", "0"];
    let command = gpux.command([&["serve", MLP], &ports[..]].concat());
    let shown = on_terminal(&command, &[("WAITING", "\u{3}")]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(
        shown.shown.contains("mlp:0.1.0") && shown.shown.contains("REQUESTS/S"),
        "{shown:?}"
    );
    let server = Server::start(&gpux, &[MLP]);
    thread::sleep(Duration::from_millis(1200));
    let told = Arc::clone(&server.told);
    signal(server.id(), "TERM");
    assert_eq!(server.wait().code(), Some(0));
    assert!(!told.lock().unwrap().contains("REQUESTS/S"));
}
