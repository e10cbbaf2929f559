//! How models come, stay and go while they are called.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::registry::{Profile, Registry};
use crate::support::server::{Response, Server, signal};
use crate::support::{Gpux, graph};

/// What the first and the second of the models of [`two`] answer to 1.
pub const ANSWERS: [f64; 2] = [4.0, 3.0];

/// Builds two models that answer differently, as `m:a` and `m:b`, and lets `m:live` name the first.
pub fn two(gpux: &Gpux) {
    for (tag, write) in [
        (
            "m:a",
            graph::write_two_weights as fn(&Path, usize) -> std::path::PathBuf,
        ),
        ("m:b", graph::write_two_weights_otherwise),
    ] {
        let folder = TempDir::new().unwrap();
        write(folder.path(), 1);
        build(gpux, folder.path(), tag);
    }
    gpux.ok(["tag", "m:a", "m:live"]);
}

fn build(gpux: &Gpux, folder: &Path, tag: &str) {
    std::fs::write(
        folder.join("GPUXfile"),
        "apiVersion: gpux/v1\nname: m\nversion: 1.0.0\nmodel: model.onnx\n",
    )
    .unwrap();
    gpux.ok(["build", folder.to_str().unwrap(), "-t", tag]);
}

pub fn body() -> Vec<u8> {
    json!({"inputs": [{"name": "x", "shape": [1], "datatype": "FP32", "data": [1.0]}]})
        .to_string()
        .into_bytes()
}

fn ask(server: &Server) -> Response {
    server.post("/v2/models/m/infer", &body())
}

#[track_caller]
pub fn number(answer: &Response) -> f64 {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()["outputs"][0]["data"][0].as_f64().unwrap()
}

#[track_caller]
fn wait_for(server: &Server, what: &str, mut done: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(30);
    while !done() {
        assert!(Instant::now() < until, "{what}: {}", server.told.lock().unwrap());
        thread::sleep(Duration::from_millis(20));
    }
}

fn state(server: &Server) -> String {
    let index: Value = server.post("/v2/repository/index", b"").json();
    index[0]["state"].as_str().unwrap().to_owned()
}

#[test]
fn a_tag_that_moves_is_followed_and_no_request_is_lost() {
    let gpux = Gpux::new();
    two(&gpux);
    let server = Server::start(&gpux, &["m:live", "--watch=100ms"]);
    let stop = AtomicBool::new(false);
    let counts: Vec<BTreeMap<u64, usize>> = thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let mut counts = BTreeMap::new();
                    while !stop.load(Ordering::Relaxed) {
                        *counts.entry(number(&ask(&server)) as u64).or_insert(0) += 1;
                    }
                    counts
                })
            })
            .collect();
        for turn in 1..=20 {
            gpux.ok(["tag", ["m:a", "m:b"][turn % 2], "m:live"]);
            wait_for(&server, "the new model does not answer", || {
                number(&ask(&server)) == ANSWERS[turn % 2]
            });
        }
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    let total: usize = counts.iter().flat_map(BTreeMap::values).sum();
    assert!(total > 1000, "{counts:?}");
    assert!(counts.iter().all(|counts| counts.len() == 2), "{counts:?}");
    // What was replaced has ended.
    wait_for(&server, "old workers stay", || server.workers().len() == 1);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn what_cannot_be_loaded_leaves_the_old_one_and_is_told_once() {
    let gpux = Gpux::new();
    two(&gpux);
    let folder = TempDir::new().unwrap();
    std::fs::copy("fixtures/dtypes/float64.onnx", folder.path().join("model.onnx")).unwrap();
    build(&gpux, folder.path(), "m:bad");
    let server = Server::start(&gpux, &["m:live", "--watch=50ms"]);
    gpux.ok(["tag", "m:bad", "m:live"]);
    let times = || server.told.lock().unwrap().matches("m:live stays as it is").count();
    wait_for(&server, "the failure is not told", || times() > 0);
    thread::sleep(Duration::from_millis(400));
    assert_eq!(times(), 1);
    assert_eq!(number(&ask(&server)), ANSWERS[0]);
    gpux.ok(["tag", "m:b", "m:live"]);
    wait_for(&server, "the new model does not answer", || {
        number(&ask(&server)) == ANSWERS[1]
    });
}

#[test]
fn a_tag_that_moves_at_its_registry_is_pulled_and_a_registry_that_is_gone_is_told_once() {
    let registry = Registry::start(Profile::honest());
    let reference = format!("{}/m:live", registry.host());
    let publisher = Gpux::new();
    two(&publisher);
    let publish = |tag: &str| {
        publisher.ok(["tag", tag, &reference]);
        publisher.ok(["push", &reference]);
    };
    publish("m:a");
    let gpux = Gpux::new();
    let server = Server::start(&gpux, &[&reference, "--watch-registry=100ms"]);
    assert_eq!(number(&ask(&server)), ANSWERS[0]);
    publish("m:b");
    wait_for(&server, "the new model does not answer", || {
        number(&ask(&server)) == ANSWERS[1]
    });
    drop(registry);
    let times = || server.told.lock().unwrap().matches("stays as it is").count();
    wait_for(&server, "the failure is not told", || times() > 0);
    thread::sleep(Duration::from_millis(500));
    assert_eq!(times(), 1, "{}", server.told.lock().unwrap());
    assert_eq!(number(&ask(&server)), ANSWERS[1]);
}

#[test]
fn a_worker_that_is_started_again_is_the_same_model_though_its_tag_has_moved() {
    let gpux = Gpux::new();
    two(&gpux);
    let server = Server::start(&gpux, &["m:live"]);
    gpux.ok(["tag", "m:b", "m:live"]);
    gpux.ok(["rm", "m:a"]);
    gpux.ok(["prune"]);
    for worker in server.workers() {
        signal(worker, "KILL");
    }
    wait_for(&server, "the worker does not come back", || ask(&server).status == 200);
    assert_eq!(number(&ask(&server)), ANSWERS[0]);
}

#[test]
fn a_model_that_nobody_calls_sleeps_and_the_next_requests_wake_it() {
    let gpux = Gpux::new();
    two(&gpux);
    let server = Server::start(&gpux, &["m:live", "--keep-alive", "300ms"]);
    for _ in 0..2 {
        wait_for(&server, "it does not sleep", || state(&server) == "ASLEEP");
        wait_for(&server, "its worker stays", || server.workers().is_empty());
        for path in ["/v2/health/ready", "/v2/models/m/ready", "/v2/models/m"] {
            assert_eq!(server.get(path).status, 200, "{path}");
        }
        assert_eq!(state(&server), "ASLEEP", "only a request wakes it");
        thread::scope(|scope| {
            let asking: Vec<_> = (0..16).map(|_| scope.spawn(|| number(&ask(&server)))).collect();
            for one in asking {
                assert_eq!(one.join().unwrap(), ANSWERS[0]);
            }
        });
        assert_eq!(server.workers().len(), 1);
    }
}

#[test]
fn workers_share_the_memory_that_they_may_take() {
    let gpux = Gpux::new();
    two(&gpux);
    let alone = Server::start(&gpux, &["m:a"]);
    let status = std::fs::read_to_string(format!("/proc/{}/status", alone.workers()[0])).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    let kilobytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    alone.stop();
    let bound = format!("{}kB", kilobytes * 3 / 2);
    let server = Server::start(&gpux, &["m:a", "m:b", "--models-memory", &bound]);
    assert_eq!(server.workers().len(), 1);
    for turn in 0..4 {
        let path = ["/v2/models/m/versions/a/infer", "/v2/models/m/versions/b/infer"][turn % 2];
        assert_eq!(number(&server.post(path, &body())), ANSWERS[turn % 2]);
        assert_eq!(server.workers().len(), 1);
    }
    drop(server);
    let small = Server::start_only(&gpux, &["m:a", "--models-memory", "1MB"]);
    wait_for(&small, "it is not refused", || state(&small) == "UNAVAILABLE");
    let reason = ask(&small).error();
    assert!(
        reason.contains("all models together may take 1.0 MB by --models-memory"),
        "{reason}"
    );
}

#[test]
fn versions_share_the_calls_by_weight_and_a_session_stays_with_one() {
    let gpux = Gpux::new();
    two(&gpux);
    let server = Server::start(&gpux, &["m:a", "m:b", "--weight", "m:a=80"]);
    let of = |headers: &[&str]| {
        let answer = server.request("POST", "/v2/models/m/infer", headers, &body());
        let version = answer.json()["model_version"].as_str().unwrap().to_owned();
        let wanted = if version == "a" { ANSWERS[0] } else { ANSWERS[1] };
        assert_eq!(number(&answer), wanted);
        version
    };
    let first = (0..400).filter(|_| of(&[]) == "a").count();
    // Six standard deviations.
    assert!((272..=368).contains(&first), "{first}");
    let mut seen = BTreeMap::new();
    for session in 0..60 {
        let header = format!("x-gpux-session: {session}");
        let version = of(&[&header]);
        assert_eq!(version, of(&[&header]));
        *seen.entry(version).or_insert(0) += 1;
    }
    assert_eq!(seen.len(), 2, "{seen:?}");
    let named = server.post("/v2/models/m/versions/b/infer", &body());
    assert_eq!(number(&named), ANSWERS[1]);
    let wrong = gpux.run(["serve", "m:a", "m:b", "--weight", "m:a=80", "--weight", "m:b=30"]);
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    let unknown = gpux.run(["serve", "m:a", "--weight", "m:c=80"]);
    assert!(unknown.stderr.contains("served are m:a"), "{unknown:?}");
}

#[test]
fn a_model_that_fails_its_first_call_is_not_ready_unless_it_need_not_answer_one() {
    let folder = TempDir::new().unwrap();
    // The element at 0 of none.
    graph::write_lookup(folder.path(), 0, 1);
    let model = format!("m={}", folder.path().join("model.onnx").display());
    let gpux = Gpux::new().with_onnxruntime();
    let server = Server::start_only(&gpux, &[&model, "--provider", "cpu"]);
    wait_for(&server, "it is not refused", || state(&server) == "UNAVAILABLE");
    server.hear("it does not answer the call that warms it up");
    assert_eq!(server.get("/v2/health/ready").status, 503);
    let server = Server::start(&gpux, &[&model, "--provider", "cpu", "--no-warm-up"]);
    assert_eq!(state(&server), "READY");
}

#[test]
fn instances_are_placed_on_devices_in_turn() {
    let gpux = Gpux::new();
    two(&gpux);
    let server = Server::start(&gpux, &["m:a", "--devices", "0,0"]);
    let metrics = crate::support::server::request(server.metrics, "GET", "/metrics", &[], b"").body;
    let metrics = String::from_utf8(metrics).unwrap();
    assert!(
        metrics.contains("gpux_instances{model=\"m\",version=\"a\"} 2"),
        "{metrics}"
    );
    assert_eq!(number(&ask(&server)), ANSWERS[0]);
    let both = gpux.run(["serve", "m:a", "--devices", "0,1", "--device", "0"]);
    assert_eq!(both.code, Some(2), "{both:?}");
}
