//! Requests whose sequences differ in length, joined where a mask leaves out what fills them up.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::server::Server;
use crate::support::{Gpux, deps, graph};

/// A request as it goes out.
type Body = Vec<u8>;

/// Sends each body, many at once, then some of them again alone; `values` are the numbers of an answer.
fn are_answered_as_alone(server: &Server, path: &str, bodies: &[Body], values: impl Fn(&Value) -> Vec<f64> + Sync) {
    let ask = |body: &Body| {
        let answer = server.post(path, body);
        assert_eq!(answer.status, 200, "{answer:?}");
        let document = answer.json();
        (document["outputs"][0]["shape"].clone(), values(&document))
    };
    let next = AtomicUsize::new(0);
    let together: Vec<_> = thread::scope(|scope| {
        let each = || {
            let mut found = Vec::new();
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                let Some(body) = bodies.get(at) else { return found };
                found.push((at, ask(body)));
            }
        };
        let running: Vec<_> = (0..16).map(|_| scope.spawn(each)).collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(together.len(), bodies.len());
    for (at, (shape, found)) in together {
        let (own_shape, alone) = ask(&bodies[at]);
        assert_eq!((&shape, found.len()), (&own_shape, alone.len()), "request {at}");
        for (one, other) in found.iter().zip(&alone) {
            assert!((one - other).abs() <= 1e-5, "request {at}: {one}, alone {other}");
        }
    }
}

/// Counts how many requests and calls there were.
fn counts(server: &Server, model: &str) -> (u64, u64) {
    let statistics = server.get(&format!("/v2/models/{model}/stats")).json();
    let of_model = &statistics["model_stats"][0];
    let requests = &of_model["inference_stats"]["success"]["count"];
    (
        requests.as_u64().unwrap(),
        of_model["execution_count"].as_u64().unwrap(),
    )
}

fn flat(value: &Value, to: &mut Vec<f64>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| flat(item, to)),
        number => to.push(number.as_f64().unwrap()),
    }
}

/// Writes a model with an embedding of each token and their mean, and steps that mask what fills up.
fn masked(folder: &Path, padding: &str) {
    graph::write_masked_mean(folder, 100);
    std::fs::copy(deps::fixture("texts/unigram.json"), folder.join("tokenizer.json")).unwrap();
    let text = format!(
        "name: masked\nversion: 1.0.0\nmodel: model.onnx\npreprocessing: {{tokenizer: tokenizer.json, padding: {padding}}}\n"
    );
    std::fs::write(folder.join("GPUXfile"), text).unwrap();
}

fn ids_and_mask(random: &mut fastrand::Rng) -> Body {
    let (rows, length) = (random.usize(1..4), random.usize(1..60));
    let ids: Vec<i64> = (0..rows * length).map(|_| random.i64(0..100)).collect();
    // Some are filled up already, each row by its own.
    let mut mask = Vec::new();
    for _ in 0..rows {
        let own = random.usize(1..=length);
        mask.extend((0..length).map(|at| i64::from(at < own)));
    }
    let input =
        |name: &str, data: Vec<i64>| json!({"name": name, "shape": [rows, length], "datatype": "INT64", "data": data});
    json!({"inputs": [input("input_ids", ids), input("attention_mask", mask)]})
        .to_string()
        .into_bytes()
}

const JOINING: [&str; 6] = [
    "--provider",
    "cpu",
    "--max-batch-size",
    "16",
    "--max-queue-delay",
    "10ms",
];

#[test]
fn requests_of_different_length_are_joined_and_answered_as_alone() {
    let folder = TempDir::new().unwrap();
    masked(folder.path(), "longest");
    let operand = folder.path().to_str().unwrap();
    let server = Server::start(&Gpux::new().with_onnxruntime(), &[&[operand], &JOINING[..]].concat());
    let mut random = fastrand::Rng::with_seed(7);
    let bodies: Vec<Body> = (0..deps::repetitions(1000, 10_000))
        .map(|_| ids_and_mask(&mut random))
        .collect();
    let values = |document: &Value| {
        let mut all = Vec::new();
        for output in document["outputs"].as_array().unwrap() {
            flat(&output["data"], &mut all);
        }
        all
    };
    are_answered_as_alone(&server, "/v2/models/masked/infer", &bodies, values);
    let (requests, calls) = counts(&server, "masked");
    // Half of the requests were made one by one.
    assert!(calls < requests * 3 / 4, "{calls} calls of {requests} requests");
    server.hear("is ready");
    let told = server.told.lock().unwrap().clone();
    assert!(told.contains("shorter texts filled up"), "{told}");
}

#[test]
fn without_leave_to_fill_up_only_requests_of_one_length_are_joined() {
    let folder = TempDir::new().unwrap();
    masked(folder.path(), "none");
    let operand = folder.path().to_str().unwrap();
    let server = Server::start(&Gpux::new().with_onnxruntime(), &[&[operand], &JOINING[..]].concat());
    server.hear("is ready");
    let told = server.told.lock().unwrap().clone();
    assert!(
        told.contains("up to 16 rows a call") && !told.contains("filled up"),
        "{told}"
    );
}

#[test]
fn a_model_of_texts_is_ready_once_it_has_answered_one() {
    let folder = TempDir::new().unwrap();
    masked(folder.path(), "longest");
    let gpux = Gpux::new().with_onnxruntime();
    let operand = folder.path().to_str().unwrap();
    Server::start(&gpux, &[operand, "--provider", "cpu"]);
    // No token but the first has an embedding now.
    graph::write_masked_mean(folder.path(), 1);
    let server = Server::start_only(&gpux, &[operand, "--provider", "cpu"]);
    server.hear("it does not answer the call that warms it up");
    assert_eq!(server.get("/v2/health/ready").status, 503);
}

#[test]
fn texts_of_different_length_share_calls_of_minilm_and_are_answered_as_alone() {
    let folder = deps::minilm("[mean_pool, l2_normalize]");
    let operand = folder.path().to_str().unwrap();
    let server = Server::start(&Gpux::new().with_onnxruntime(), &[&[operand], &JOINING[..]].concat());
    let words = [
        "a", "man", "is", "eating", "bread", "while", "two", "dogs", "run", "across", "the", "river",
    ];
    let mut random = fastrand::Rng::with_seed(7);
    let mut text = || {
        let length = random.usize(1..40);
        let words: Vec<&str> = (0..length).map(|_| words[random.usize(..words.len())]).collect();
        json!({"input": words.join(" ")}).to_string().into_bytes()
    };
    let bodies: Vec<Body> = (0..200).map(|_| text()).collect();
    let values = |document: &Value| {
        let mut all = Vec::new();
        flat(
            &document["answers"][0]["answer"]["last_hidden_state"]["values"],
            &mut all,
        );
        assert_eq!(all.len(), 384);
        all
    };
    are_answered_as_alone(&server, "/v1/models/minilm/predict", &bodies, values);
    let (requests, calls) = counts(&server, "minilm");
    assert!(calls < requests * 3 / 4, "{calls} calls of {requests} requests");
}
