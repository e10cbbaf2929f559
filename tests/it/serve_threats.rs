//! What hostile clients do to `gpux serve`, frame by frame, and what becomes of everybody else meanwhile.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::server::{Server, connect, read, request, signal};
use crate::support::{Gpux, deps};

const MLP: &str = "mlp=fixtures/mlp/model.onnx";
const INFER: &str = "/v2/models/mlp/infer";

fn body() -> Vec<u8> {
    let input = json!({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]});
    json!({"inputs": [input]}).to_string().into_bytes()
}

/// The resident memory of a process. Units: bytes.
fn resident_bytes(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kib: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    kib << 10
}

/// Sends a body as slowly as one likes, until the server has had enough; gives its answer and how long that took.
fn trickle(to: SocketAddr, head: &str, piece: &[u8], pause: Duration) -> (u16, Duration) {
    let mut stream = connect(to);
    let began = Instant::now();
    stream.write_all(head.as_bytes()).unwrap();
    stream.set_read_timeout(Some(pause)).unwrap();
    let mut answer = Vec::new();
    while began.elapsed() < Duration::from_secs(90) {
        let is_open = stream.write_all(piece).is_ok();
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => answer.extend_from_slice(&buffer[..count]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock) && is_open => {}
            Err(_) => break,
        }
    }
    let text = String::from_utf8_lossy(&answer);
    let status = text
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    (status, began.elapsed())
}

#[test]
fn heads_and_bodies_that_come_drop_by_drop_are_given_up_with_memory_flat() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let before = resident_bytes(server.id());
    let post = format!("POST {INFER} HTTP/1.1\r\nHost: localhost\r\n");
    let declared = format!("{post}Content-Length: 1000000\r\n\r\n");
    let chunked = format!("{post}Transfer-Encoding: chunked\r\n\r\n");
    let index = "POST /v2/repository/index HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
    let cases: [(&str, &[u8], &[u16]); 4] = [
        ("GET /v2 HTTP/1.1\r\nHost: localhost\r\n", b"X: y\r\n", &[0]),
        (&declared, b"[1,2,3", &[408]),
        (&chunked, b"6\r\n[1,2,3\r\n", &[408]),
        (index, b"      ", &[400, 408]),
    ];
    thread::scope(|scope| {
        for (head, piece, wanted) in cases {
            let to = server.http;
            for _ in 0..8 {
                scope.spawn(move || {
                    let (status, took) = trickle(to, head, piece, Duration::from_millis(500));
                    assert!(wanted.contains(&status), "{head}: {status}");
                    assert!(took < Duration::from_secs(60), "{head}: took {took:?}");
                });
            }
        }
        // Everybody else is served meanwhile.
        for _ in 0..20 {
            assert_eq!(server.post(INFER, &body()).status, 200);
            thread::sleep(Duration::from_millis(100));
        }
    });
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 64 << 20, "the server grew by {grown} bytes");
}

#[test]
fn a_connection_between_its_requests_is_kept_for_longer_than_a_head_may_take() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let mut kept = connect(server.http);
    let mut silent: Vec<TcpStream> = (0..50).map(|_| connect(server.http)).collect();
    let ask = |stream: &mut TcpStream| {
        stream
            .write_all(b"GET /v2/health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
            .unwrap();
        let mut buffer = [0; 4096];
        let count = stream.read(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..count]).into_owned()
    };
    assert!(ask(&mut kept).starts_with("HTTP/1.1 200"));
    thread::sleep(Duration::from_secs(12));
    for stream in silent.iter_mut().chain([&mut kept]) {
        let answer = ask(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// Speaks HTTP/2 as it likes.
struct Frames(TcpStream);

impl Frames {
    fn open(to: SocketAddr) -> Self {
        let mut stream = connect(to);
        stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
        let mut frames = Frames(stream);
        let sent = frames.send(4, 0, 0, &[]);
        assert!(sent.is_ok());
        frames
    }

    fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
        let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
        frame.extend([kind, flags]);
        frame.extend(stream.to_be_bytes());
        frame.extend(payload);
        frame
    }

    fn send(&mut self, kind: u8, flags: u8, stream: u32, payload: &[u8]) -> std::io::Result<()> {
        self.0.write_all(&Self::frame(kind, flags, stream, payload))
    }

    /// A request's head as HPACK writes it with its static table: POST, http, a path and localhost.
    fn head(path: &str) -> Vec<u8> {
        let mut head = vec![0x83, 0x86, 0x04, path.len() as u8];
        head.extend(path.as_bytes());
        head.extend([0x01, 9]);
        head.extend(b"localhost");
        head
    }

    /// Reads until the server closes, or says nothing for a while; gives the kinds of its frames.
    fn hear(&mut self) -> Vec<u8> {
        self.0.set_read_timeout(Some(Duration::from_secs(2))).unwrap();
        let mut kinds = Vec::new();
        let mut head = [0; 9];
        let until = Instant::now() + Duration::from_secs(20);
        while self.0.read_exact(&mut head).is_ok() && Instant::now() < until {
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; length as usize];
            if self.0.read_exact(&mut payload).is_err() {
                break;
            }
            kinds.push(head[3]);
        }
        kinds
    }
}

const GOAWAY: u8 = 7;
const RST_STREAM: u8 = 3;

#[test]
fn streams_that_are_reset_as_fast_as_they_are_opened_end_their_connection_alone() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let before = resident_bytes(server.id());
    for (port, path) in [
        (server.http, INFER),
        (server.grpc, "/inference.GRPCInferenceService/ModelInfer"),
    ] {
        let mut frames = Frames::open(port);
        let head = Frames::head(path);
        let mut burst = Vec::new();
        for at in 0..10_000u32 {
            let stream = 2 * at + 1;
            burst.extend(Frames::frame(1, 4, stream, &head));
            burst.extend(Frames::frame(RST_STREAM, 0, stream, &[0, 0, 0, 8]));
        }
        // It may be closed before everything was written.
        let _ = frames.0.write_all(&burst);
        let heard = frames.hear();
        assert!(heard.contains(&GOAWAY), "{heard:?}");
        assert_eq!(server.post(INFER, &body()).status, 200);
    }
    let grown = resident_bytes(server.id()).saturating_sub(before);
    assert!(grown < 64 << 20, "the server grew by {grown} bytes");
}

#[test]
fn ten_thousand_streams_at_once_are_not_held() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let before = resident_bytes(server.id());
    for (port, path) in [
        (server.http, INFER),
        (server.grpc, "/inference.GRPCInferenceService/ModelInfer"),
    ] {
        let mut frames = Frames::open(port);
        let head = Frames::head(path);
        let mut burst = Vec::new();
        for at in 0..10_000u32 {
            burst.extend(Frames::frame(1, 4, 2 * at + 1, &head));
        }
        let _ = frames.0.write_all(&burst);
        assert_eq!(server.post(INFER, &body()).status, 200);
        let grown = resident_bytes(server.id()).saturating_sub(before);
        assert!(grown < 64 << 20, "the server grew by {grown} bytes");
        let heard = frames.hear();
        assert!(heard.contains(&RST_STREAM) || heard.contains(&GOAWAY), "{heard:?}");
    }
    assert_eq!(server.post(INFER, &body()).status, 200);
}

#[test]
fn protobuf_that_is_broken_or_too_long_is_refused_and_the_server_goes_on() {
    let server = Server::start(&Gpux::new(), &[MLP, "--max-body", "100kB"]);
    let output = Command::new(deps::python())
        .arg(deps::repository().join("tests/it/serve/broken.py"))
        .arg(server.grpc.to_string())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.told.lock().unwrap());
    assert_eq!(server.post(INFER, &body()).status, 200);
}

#[test]
fn numbers_shapes_and_names_that_lie_are_refused_and_printed_escaped() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let input = |shape: &str, data: &str| {
        format!(r#"{{"inputs": [{{"name": "x", "shape": {shape}, "datatype": "FP32", "data": {data}}}]}}"#)
    };
    let nested = format!("{}1{}", "[".repeat(10_000), "]".repeat(10_000));
    for wrong in [
        input("[18446744073709551615, 4]", "[]"),
        input("[99999999999999999999999999, 4]", "[1, 2, 3, 4]"),
        input("[1e3, 4]", "[1, 2, 3, 4]"),
        input("[1.5, 4]", "[1, 2, 3, 4]"),
        input("[1, 4, 1]", "[1, 2, 3, 4]"),
        input("[0, -4]", "[]"),
        input("[1, 4]", "[1, 2, 3, NaN]"),
        input("[1, 4]", "[1, 2, 3, 1e400]"),
        input("[1, 4]", &nested),
        input("[1, 4]", r#"{"0": 1}"#),
        input("[4294967296, 4294967296]", "[1]"),
        format!(r#"{{"inputs": {nested}}}"#),
        format!(r#"{{"parameters": {{"a": {nested}}}, "inputs": []}}"#),
    ] {
        let answer = server.post(INFER, wrong.as_bytes());
        let start: String = wrong.chars().take(120).collect();
        assert_eq!(answer.status, 400, "{start}: {answer:?}");
        assert!(answer.error().len() < 2000, "{start}: {answer:?}");
    }
    let evil = r#"a\n\u001b[31mb\r"#;
    let named =
        format!(r#"{{"inputs": [{{"name": "{evil}", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}}]}}"#);
    let error = server.post(INFER, named.as_bytes()).error();
    assert!(!error.contains(['\n', '\r', '\u{1b}']), "{error:?}");
    // An id comes back as it was, and stays within its string.
    let given = format!(
        r#"{{"id": "{evil}", "inputs": [{{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}}]}}"#
    );
    let answer = server.post(INFER, given.as_bytes());
    assert_eq!(answer.json()["id"], "a\n\u{1b}[31mb\r");
    assert!(
        !answer.body.contains(&b'\n') && !answer.body.contains(&0x1b),
        "{answer:?}"
    );
    let told = server.told.lock().unwrap().clone();
    assert!(!told.contains('\u{1b}'), "{told:?}");
}

#[test]
fn under_load_every_request_that_was_taken_is_answered_before_the_end() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let is_over = AtomicBool::new(false);
    let answers: Vec<(u16, bool)> = thread::scope(|scope| {
        let each = || {
            let mut found = Vec::new();
            while !is_over.load(Ordering::Relaxed) {
                let Ok(mut stream) = TcpStream::connect(server.http) else {
                    break;
                };
                stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                let body = body();
                let head = format!(
                    "POST {INFER} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                if stream.write_all(&[head.as_bytes(), &body].concat()).is_err() {
                    break;
                }
                let answer = read(&mut stream);
                let is_whole = serde_json::from_slice::<serde_json::Value>(&answer.body).is_ok();
                found.push((answer.status, is_whole || answer.head.is_empty()));
            }
            found
        };
        let asking: Vec<_> = (0..16).map(|_| scope.spawn(each)).collect();
        thread::sleep(Duration::from_millis(700));
        signal(server.id(), "TERM");
        thread::sleep(Duration::from_millis(500));
        is_over.store(true, Ordering::Relaxed);
        asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let answered = answers.iter().filter(|(status, _)| *status == 200).count();
    assert!(answered > 16, "{answers:?}");
    for (status, is_whole) in &answers {
        // A connection that was not taken any more hears nothing at all.
        assert!(*is_whole && matches!(status, 0 | 200), "{answers:?}");
    }
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn ten_times_what_can_be_answered_is_refused_at_once_with_when_to_come_again() {
    let server = Server::start(&Gpux::new(), &[MLP, "--queue-size", "1"]);
    let until = Instant::now() + Duration::from_secs(20);
    let counts = |codes: &[u16], code: u16| codes.iter().filter(|other| **other == code).count();
    loop {
        let codes: Vec<u16> = thread::scope(|scope| {
            let each = || {
                let mut codes = Vec::new();
                for _ in 0..40 {
                    let answer = server.post(INFER, &body());
                    assert_eq!(
                        answer.status == 429,
                        answer.head.contains("retry-after: 1"),
                        "{answer:?}"
                    );
                    codes.push(answer.status);
                }
                codes
            };
            let asking: Vec<_> = (0..20).map(|_| scope.spawn(each)).collect();
            asking.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(counts(&codes, 200) + counts(&codes, 429), codes.len(), "{codes:?}");
        if counts(&codes, 429) > 0 {
            break;
        }
        assert!(Instant::now() < until, "the queue of one is never full");
    }
    let metrics = request(server.metrics, "GET", "/metrics", &[], b"");
    assert!(String::from_utf8_lossy(&metrics.body).contains(r#"code="429""#));
}
