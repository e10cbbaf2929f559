//! `gpux serve`: the protocol, its bounds, and what happens when things go wrong.

use std::io::{Read, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::{Server, connect, read, request, signal};
use crate::support::{Gpux, deps, graph};

mod control;
mod models;
mod sequences;

const MLP: &str = "mlp=fixtures/mlp/model.onnx";
const INFER: &str = "/v2/models/mlp/infer";

/// A request of some rows of four numbers.
fn body(rows: &[[f32; 4]]) -> Vec<u8> {
    let data: Vec<f32> = rows.iter().flatten().copied().collect();
    let input = json!({"name": "x", "shape": [rows.len(), 4], "datatype": "FP32", "data": data});
    json!({"inputs": [input]}).to_string().into_bytes()
}

fn numbers(answer: &Value) -> Vec<f32> {
    let data = answer["outputs"][0]["data"].as_array().unwrap().iter();
    data.map(|number| number.as_f64().unwrap() as f32).collect()
}

#[test]
fn the_server_says_what_it_is_and_what_its_models_take() {
    let server = Server::start(&Gpux::new(), &["fixtures/digits", MLP]);
    assert_eq!(server.get("/v2").json()["name"], "gpux");
    let model = server.get("/v2/models/digits").json();
    assert_eq!(model["versions"], json!(["1.0.0"]));
    let input = json!({"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]});
    assert_eq!(model["inputs"], json!([input]));
    assert_eq!(server.get("/v2/models/digits/versions/1.0.0/ready").status, 200);
    for path in ["/v2/health/live", "/v2/health/ready", "/healthz", "/readyz"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let index = server.post("/v2/repository/index", b"{\"ready\": true}").json();
    let names: Vec<&str> = index
        .as_array()
        .unwrap()
        .iter()
        .map(|model| model["name"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["digits", "mlp"]);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn models_may_stand_behind_two_dashes() {
    let server = Server::start(&Gpux::new(), &["--", "fixtures/digits"]);
    assert_eq!(server.get("/v2/models/digits/ready").status, 200);
}

#[test]
fn an_answer_comes_in_json_and_in_binary_with_the_same_numbers() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let answer = server.post(INFER, &body(&[[1.0, 2.0, 3.0, 4.0]]));
    assert_eq!(answer.status, 200, "{answer:?}");
    let wanted = numbers(&answer.json());
    assert_eq!(wanted.len(), 3);
    let header = json!({"id": "7", "inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32",
        "parameters": {"binary_data_size": 16}}], "parameters": {"binary_data_output": true}});
    let header = header.to_string();
    let tail: Vec<u8> = [1f32, 2.0, 3.0, 4.0]
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect();
    let length = format!("Inference-Header-Content-Length: {}", header.len());
    let answer = server.request("POST", INFER, &[&length], &[header.as_bytes(), &tail].concat());
    assert_eq!(answer.status, 200, "{answer:?}");
    let at: usize = answer
        .head
        .lines()
        .find_map(|line| line.strip_prefix("inference-header-content-length: "))
        .unwrap()
        .parse()
        .unwrap();
    let header: Value = serde_json::from_slice(&answer.body[..at]).unwrap();
    assert_eq!(header["id"], "7");
    let found: Vec<f32> = answer.body[at..]
        .chunks_exact(4)
        .map(|bytes| f32::from_le_bytes(bytes.try_into().unwrap()))
        .collect();
    assert_eq!(found, wanted);
}

#[test]
fn what_is_wrong_with_a_request_is_said_with_its_status() {
    let server = Server::start(&Gpux::new(), &[MLP, "--max-body", "100kB"]);
    let status = |method: &str, path: &str, headers: &[&str], body: &[u8]| {
        let answer = server.request(method, path, headers, body);
        (answer.status, answer.error())
    };
    let good = body(&[[0.0; 4]]);
    for (path, wanted) in [
        ("/v2/models/nothing/infer", 404),
        ("/v2/models/mlp/versions/9/infer", 404),
        ("/v2/models/..%2f..%2fetc/infer", 404),
        ("/v2/models/a%0ab%1b[31m/infer", 404),
        ("/v2/repository/models/mlp/load", 404),
        ("/nothing", 404),
    ] {
        let (code, error) = status("POST", path, &[], &good);
        assert_eq!(code, wanted, "{path}: {error}");
        assert!(!error.contains(['\n', '\u{1b}']), "{error:?}");
    }
    assert_eq!(status("GET", INFER, &[], b"").0, 405);
    for wrong in [
        "",
        "{",
        "[1]",
        "{}",
        r#"{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3]}]}"#,
        r#"{"inputs": [{"name": "x", "shape": [-1, 4], "datatype": "FP32", "data": []}]}"#,
        r#"{"inputs": [{"name": "x", "shape": [4611686018427387904, 4], "datatype": "FP32", "data": [1]}]}"#,
        r#"{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, "x"]}]}"#,
        r#"{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "INT64", "data": [1, 2, 3, 4]}]}"#,
        r#"{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}"#,
    ] {
        let (code, error) = status("POST", INFER, &[], wrong.as_bytes());
        assert_eq!(code, 400, "{wrong}: {error}");
    }
    let deep = format!("{{\"a\":{}", "[".repeat(10_000));
    assert_eq!(status("POST", INFER, &[], deep.as_bytes()).0, 400);
    assert_eq!(
        status("POST", INFER, &["Inference-Header-Content-Length: -1"], &good).0,
        400
    );
    assert_eq!(
        status("POST", INFER, &["Inference-Header-Content-Length: 9999"], &good).0,
        400
    );
    assert_eq!(status("POST", INFER, &["Content-Encoding: gzip"], &good).0, 415);
    assert_eq!(status("POST", INFER, &[], &vec![b' '; 200_000]).0, 413);
    assert_eq!(server.post(INFER, &good).status, 200);
}

#[test]
fn a_number_that_is_not_finite_is_the_text_that_stands_for_it_both_ways() {
    let server = Server::start(&Gpux::new(), &["fixtures/dtypes/float32.onnx"]);
    let answer = |data: &str| {
        let input = format!(r#"{{"inputs": [{{"name": "x", "shape": [2], "datatype": "FP32", "data": {data}}}]}}"#);
        server.post("/v2/models/float32/infer", input.as_bytes())
    };
    let data = answer(r#"["NaN", "-Infinity"]"#).json()["outputs"][0]["data"].clone();
    assert_eq!(data.as_array().unwrap()[..2], [json!("NaN"), json!("-Infinity")]);
    assert_eq!(answer("[1e39, 0]").status, 400);
    assert_eq!(answer("[NaN, 0]").status, 400);
}

#[test]
fn only_known_hosts_and_own_pages_may_call() {
    let server = Server::start(&Gpux::new(), &[MLP, "--allow-origin", "https://lab.example"]);
    let code = |headers: &[&str]| server.request("GET", "/v2", headers, b"").status;
    assert_eq!(code(&["Host: localhost"]), 200);
    assert_eq!(code(&["Host: evil.example"]), 403);
    assert_eq!(code(&["Host: a", "Host: b"]), 400);
    assert_eq!(code(&["Origin: https://evil.example"]), 403);
    assert_eq!(code(&["Origin: null"]), 403);
    assert_eq!(code(&["Origin: https://lab.example"]), 200);
    assert_eq!(code(&[&format!("Origin: http://{}", server.http)]), 200);
    let metrics = request(server.metrics, "GET", "/metrics", &["Host: evil.example"], b"");
    assert_eq!(metrics.status, 403);
}

#[test]
fn ambiguous_and_broken_messages_are_refused_and_the_server_goes_on() {
    let server = Server::start(&Gpux::new(), &[MLP, "--max-body", "100kB"]);
    let good = String::from_utf8(body(&[[0.0; 4]])).unwrap();
    let chunked: String = good
        .as_bytes()
        .chunks(6)
        .map(|chunk| format!("{:x}\r\n{}\r\n", chunk.len(), String::from_utf8_lossy(chunk)))
        .collect();
    let head = format!("POST {INFER} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let answer = |rest: &str| {
        let mut stream = connect(server.http);
        stream.write_all(format!("{head}{rest}").as_bytes()).unwrap();
        read(&mut stream).status
    };
    assert_eq!(
        answer(&format!("Transfer-Encoding: chunked\r\n\r\n{chunked}0\r\n\r\n")),
        200
    );
    // Where both say how long the body is, the encoding does, and what follows is no request: the connection ends.
    let keep = head.replace("Connection: close\r\n", "");
    let length = "Content-Length: 4\r\n";
    let encoding = "Transfer-Encoding: chunked\r\n";
    for lengths in [[length, encoding], [encoding, length]] {
        let mut stream = connect(server.http);
        let smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let both = format!("{keep}{}\r\n{chunked}0\r\n\r\n{smuggled}", lengths.concat());
        stream.write_all(both.as_bytes()).unwrap();
        let mut answers = String::new();
        // What was not read may end the connection with a reset.
        let _ = stream.read_to_string(&mut answers);
        assert!(answers.starts_with("HTTP/1.1 200"), "{answers}");
        assert_eq!(answers.matches("HTTP/1.1 ").count(), 1, "{answers}");
    }
    assert_eq!(
        answer(&format!("Content-Length: 4\r\nContent-Length: 5\r\n\r\n{good}")),
        400
    );
    assert_eq!(answer(&format!("Content-Length: -4\r\n\r\n{good}")), 400);
    assert_eq!(answer("Transfer-Encoding: chunked\r\n\r\nzz\r\n"), 400);
    let large = format!("{:x}\r\n{}\r\n", 60_000, " ".repeat(60_000)).repeat(3);
    assert_eq!(
        answer(&format!("Transfer-Encoding: chunked\r\n\r\n{large}0\r\n\r\n")),
        413
    );
    assert_eq!(answer(&format!("X: {}\r\n\r\n", "x".repeat(200_000))), 431);
    assert_eq!(server.post(INFER, good.as_bytes()).status, 200);
}

#[test]
fn a_head_that_does_not_come_is_not_waited_for() {
    let server = Server::start(&Gpux::new(), &[MLP]);
    let mut stream = connect(server.http);
    stream.write_all(b"GET /v2 HTTP/1.1\r\nHost: loc").unwrap();
    let began = Instant::now();
    let answer = read(&mut stream);
    assert!(matches!(answer.status, 0 | 408), "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "took {:?}", began.elapsed());
    assert_eq!(server.get("/v2").status, 200);
}

/// Sends many requests of random rows at once, and compares each answer with that of the same request alone.
fn answers_are_those_of_single_requests(server: &Server, requests: usize, threads: usize) {
    let random = fastrand::Rng::with_seed(7);
    let bodies: Vec<Vec<u8>> = (0..requests)
        .map(|at| {
            let mut random = fastrand::Rng::with_seed(random.get_seed() + at as u64);
            let rows = random.usize(1..6);
            let rows: Vec<[f32; 4]> = (0..rows)
                .map(|_| [0; 4].map(|_: i32| random.f32() * 8.0 - 4.0))
                .collect();
            body(&rows)
        })
        .collect();
    let next = AtomicUsize::new(0);
    let answers: Vec<Vec<(usize, Vec<f32>)>> = thread::scope(|scope| {
        let each = || {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(at) else { return found };
                let answer = server.post(INFER, body);
                assert_eq!(answer.status, 200, "{answer:?}");
                found.push((at, numbers(&answer.json())));
            }
        };
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(each)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    for (at, found) in answers.into_iter().flatten().step_by(5) {
        let alone = numbers(&server.post(INFER, &bodies[at]).json());
        assert_eq!(found.len(), alone.len());
        for (one, other) in found.iter().zip(&alone) {
            assert!((one - other).abs() <= 1e-6, "request {at}: {found:?}, alone {alone:?}");
        }
    }
}

#[test]
fn joined_requests_are_answered_as_single_ones() {
    let gpux = Gpux::new().with_onnxruntime();
    let arguments = [
        "--provider",
        "cpu",
        "--max-batch-size",
        "16",
        "--max-queue-delay",
        "2ms",
    ];
    let server = Server::start(&gpux, &[&[MLP], &arguments[..]].concat());
    answers_are_those_of_single_requests(&server, 1000, 16);
    let statistics = server.get("/v2/models/mlp/stats").json();
    let count = |name: &str| statistics["model_stats"][0][name].as_u64().unwrap();
    assert!(count("execution_count") < count("inference_count") / 2, "{statistics}");
}

#[test]
fn a_worker_that_is_killed_disturbs_no_other_model_and_comes_back() {
    let server = Server::start(&Gpux::new(), &[MLP, "fixtures/digits"]);
    let workers = server.workers();
    assert_eq!(workers.len(), 2, "{workers:?}");
    let stop = AtomicUsize::new(0);
    thread::scope(|scope| {
        let load = scope.spawn(|| {
            let mut answered = 0;
            while stop.load(Ordering::Relaxed) == 0 {
                assert_eq!(server.get("/v2/models/digits/ready").status, 200);
                let image = json!({"inputs": [{"name": "image", "shape": [1, 1, 8, 8], "datatype": "FP32",
                    "data": vec![0.5; 64]}]});
                let answer = server.post("/v2/models/digits/infer", image.to_string().as_bytes());
                assert_eq!(answer.status, 200, "{answer:?}");
                answered += 1;
            }
            answered
        });
        // Models are loaded in the order in which they are named.
        for _ in 0..3 {
            let mlp = *server.workers().iter().filter(|id| **id != workers[1]).min().unwrap();
            signal(mlp, "KILL");
            let until = Instant::now() + Duration::from_secs(30);
            while server.post(INFER, &body(&[[1.0; 4]])).status != 200 {
                assert!(Instant::now() < until, "the worker does not come back");
                thread::sleep(Duration::from_millis(20));
            }
        }
        stop.store(1, Ordering::Relaxed);
        assert!(load.join().unwrap() > 0);
    });
    let children = server.workers();
    assert_eq!(server.stop().code(), Some(0));
    for id in children {
        let id = rustix::process::Pid::from_raw(id as i32).unwrap();
        assert!(rustix::process::test_kill_process(id).is_err(), "{id:?} is left");
    }
}

/// Serves a model whose call takes as long as the number it is given; a million are about a second.
fn slow(arguments: &[&str]) -> (TempDir, Server) {
    let folder = TempDir::new().unwrap();
    let model = graph::write_counted_loop(folder.path());
    let operand = format!("slow={}", model.display());
    let gpux = Gpux::new().with_onnxruntime();
    let server = Server::start(&gpux, &[&[operand.as_str(), "--provider", "cpu"], arguments].concat());
    (folder, server)
}

fn slow_body(trips: u64) -> Vec<u8> {
    json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [trips]}]})
        .to_string()
        .into_bytes()
}

const SLOW: &str = "/v2/models/slow/infer";
const ENDLESS: u64 = 4_000_000_000;

#[test]
fn a_request_over_its_time_is_ended_and_says_so() {
    let (_folder, server) = slow(&["--request-timeout", "400ms"]);
    let began = Instant::now();
    let answer = server.post(SLOW, &slow_body(ENDLESS));
    assert_eq!(answer.status, 504, "{answer:?}");
    assert!(began.elapsed() < Duration::from_secs(10), "took {:?}", began.elapsed());
    assert_eq!(server.post(SLOW, &slow_body(1)).status, 200);
}

#[test]
fn a_full_queue_answers_at_once_when_to_come_again() {
    let (_folder, server) = slow(&["--queue-size", "2", "--request-timeout", "8s"]);
    let answers: Vec<_> = thread::scope(|scope| {
        let ask = || {
            let began = Instant::now();
            (server.post(SLOW, &slow_body(ENDLESS)), began.elapsed())
        };
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(ask)).collect();
        asking.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let refused: Vec<_> = answers.iter().filter(|(answer, _)| answer.status == 429).collect();
    // One runs and two wait.
    assert!(refused.len() >= 5, "{answers:?}");
    for (answer, took) in refused {
        assert!(answer.head.contains("retry-after: 1"), "{answer:?}");
        assert!(*took < Duration::from_secs(5), "took {took:?}");
    }
}

#[test]
fn a_client_that_leaves_gives_its_place_to_the_next() {
    let (_folder, server) = slow(&[]);
    let request = |body: &[u8]| {
        let head = format!(
            "POST {SLOW} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = connect(server.http);
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        stream
    };
    let stream = request(&slow_body(ENDLESS));
    thread::sleep(Duration::from_millis(300));
    drop(stream);
    let began = Instant::now();
    assert_eq!(server.post(SLOW, &slow_body(1)).status, 200);
    assert!(began.elapsed() < Duration::from_secs(5), "took {:?}", began.elapsed());
}

#[test]
fn a_server_that_is_told_to_stop_answers_what_it_has_taken() {
    let (_folder, server) = slow(&["--instances", "1"]);
    thread::scope(|scope| {
        let waiting: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| server.post(SLOW, &slow_body(100_000)).status))
            .collect();
        let until = Instant::now() + Duration::from_secs(20);
        let taken = || {
            let metrics = request(server.metrics, "GET", "/metrics", &[], b"").body;
            let text = String::from_utf8(metrics).unwrap();
            let value = |name: &str| {
                let line = text.lines().find(|line| line.starts_with(name)).unwrap_or("x 0");
                line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64
            };
            value("gpux_queue_requests") + value("gpux_queue_time_seconds_count")
        };
        while taken() < 3 {
            assert!(Instant::now() < until, "the requests do not come");
        }
        signal(server.id(), "TERM");
        let codes: Vec<u16> = waiting.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(codes, [200; 4]);
    });
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn models_that_cannot_be_told_apart_or_protected_are_refused_before_anything_is_served() {
    let gpux = Gpux::new();
    let clash = gpux.run(["serve", "fixtures/digits", "fixtures/digits"]);
    assert_eq!(clash.code, Some(2), "{clash:?}");
    assert!(
        clash.stderr.contains("are both `digits` in version `1.0.0`"),
        "{clash:?}"
    );
    let open = gpux.run(["serve", "--host", "0.0.0.0", "fixtures/digits"]);
    assert_eq!(open.code, Some(2), "{open:?}");
    let missing = gpux.run(["serve", "nothing:1"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let busy = gpux.run(["serve", "--port", &port, "fixtures/digits"]);
    assert_eq!(busy.code, Some(1), "{busy:?}");
    assert!(busy.stderr.contains("cannot listen on"), "{busy:?}");
}

#[test]
fn a_model_that_cannot_be_loaded_does_not_keep_the_others_from_coming() {
    let server = Server::start_only(&Gpux::new(), &["fixtures/dtypes/float64.onnx", MLP]);
    let until = Instant::now() + Duration::from_secs(30);
    while server.get("/v2/models/mlp/ready").status != 200 {
        assert!(Instant::now() < until, "{}", server.told.lock().unwrap());
    }
    assert_eq!(server.get("/v2/models/float64/ready").status, 503);
    let refused = server.get("/v2/models/float64");
    assert_eq!(refused.status, 503);
    assert!(refused.error().contains("no provider can run the model"), "{refused:?}");
    assert_eq!(server.get("/v2/health/ready").status, 503);
}

/// Calls a model of each type with Triton's own client.
fn triton(protocol: &str, address: fn(&Server) -> String, wanted: &str) {
    let types = [
        "bool", "float16", "float32", "float64", "int16", "int32", "int64", "int8", "string", "uint16", "uint32",
        "uint64", "uint8",
    ];
    let models: Vec<String> = types
        .iter()
        .map(|name| format!("fixtures/dtypes/{name}.onnx"))
        .collect();
    let mut arguments: Vec<&str> = models.iter().map(String::as_str).collect();
    arguments.extend(["--provider", "cpu", "--in-process"]);
    let server = Server::start(&Gpux::new().with_onnxruntime(), &arguments);
    let output = std::process::Command::new(deps::python())
        .arg(deps::repository().join("tests/it/serve/triton.py"))
        .args([protocol, &address(&server)])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.told.lock().unwrap());
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), wanted);
}

#[test]
fn triton_s_own_client_takes_every_type_over_http() {
    triton("http", Server::url, "13 types in binary and in JSON");
}

#[test]
fn triton_s_own_client_takes_every_type_over_grpc() {
    let wanted = "13 types in binary, in a stream, with health, reflection and refusals";
    triton("grpc", |server| server.grpc.to_string(), wanted);
}
