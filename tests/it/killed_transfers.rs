//! Pulls and pushes that are killed at random moments, and pulls that meet each other.

use std::{process::Stdio, thread, time::Duration};

use gpux::store::Store;

use crate::support::{
    Gpux,
    artifacts::{noise, serve_artifact, store_artifact, until},
    deps::repetitions,
    distribution::Distribution,
    registry::{Profile, Registry},
};

const LARGE: usize = 24 << 20;
/// What one connection brings a second, so that a kill finds something under way.
const PACE: u64 = 24 << 20;

fn slow() -> Registry {
    Registry::start(Profile {
        bytes_per_second: Some(PACE),
        ..Profile::honest()
    })
}

/// Starts a command and kills it after a while, or when it has ended by itself.
fn kill_after(gpux: &Gpux, arguments: &[&str], wait: Duration) {
    let mut command = gpux.command(arguments);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    thread::sleep(wait);
    let _ = child.kill();
    let _ = child.wait().unwrap();
}

fn verified(gpux: &Gpux) {
    let answer = gpux.run(["store", "verify"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
}

#[test]
fn a_pull_killed_at_half_brings_at_most_the_other_half() {
    let registry = slow();
    let large = noise(1, LARGE);
    serve_artifact(&registry, "a", "1", &[("weights", &large)]);
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    let mut child = gpux
        .command(["pull", &name])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    until(|| registry.blob_bytes_sent() >= LARGE as u64 * 55 / 100);
    child.kill().unwrap();
    child.wait().unwrap();
    registry.forget_requests();
    let again = gpux.json(["--json", "pull", &name]);
    assert!(
        again["moved_bytes"].as_u64().unwrap() <= LARGE as u64 * 55 / 100,
        "{again}"
    );
    assert!(registry.blob_bytes_sent() <= LARGE as u64 * 60 / 100);
    verified(&gpux);
}

#[test]
fn pulls_killed_at_any_moment_go_on_and_move_only_what_is_missing() {
    let registry = slow();
    let (large, small) = (noise(1, LARGE), noise(2, 1 << 20));
    serve_artifact(&registry, "a", "1", &[("weights", &large), ("model.onnx", &small)]);
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    let kills = repetitions(10, 100);
    for n in 0..kills {
        // Each kill finds a pull further on; the last ones find it done, and then it starts anew.
        if n % 10 == 9 {
            gpux.run(["rm", &name]);
        }
        kill_after(&gpux, &["pull", &name], Duration::from_millis(fastrand::u64(0..300)));
        verified(&gpux);
    }
    gpux.ok(["pull", &name]);
    verified(&gpux);
    let again = gpux.json(["--json", "pull", &name]);
    assert_eq!(again["moved_bytes"], 0);
}

#[test]
fn pushes_killed_at_any_moment_go_on_and_move_only_what_is_missing() {
    let registry = slow();
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    let (large, small) = (noise(1, LARGE), noise(2, 1 << 20));
    let size_bytes = (large.len() + small.len()) as u64;
    {
        let store = Store::open(gpux.home()).unwrap();
        store_artifact(&store, &name, &[("weights", &large), ("model.onnx", &small)]);
    }
    // What one kill can cost: the small file, which is not worth a note.
    let (kills, cost) = (repetitions(10, 100) as u64, 2 << 20);
    for _ in 0..kills {
        kill_after(&gpux, &["push", &name], Duration::from_millis(fastrand::u64(0..250)));
        registry.settle();
    }
    let pushed = gpux.json(["--json", "push", &name]);
    assert!(
        registry.upload_bytes_read() <= size_bytes + kills * cost,
        "{} of {size_bytes}",
        registry.upload_bytes_read()
    );
    verified(&gpux);
    assert_eq!(Gpux::new().json(["--json", "pull", &name])["digest"], pushed["digest"]);
}

#[test]
fn pushes_killed_at_any_moment_can_be_repeated() {
    let registry = Distribution::start();
    let gpux = Gpux::new();
    let name = format!("{}/a:1", registry.host());
    {
        let store = Store::open(gpux.home()).unwrap();
        let (large, small) = (noise(1, 32 << 20), noise(2, 1 << 20));
        store_artifact(&store, &name, &[("weights", &large), ("model.onnx", &small)]);
    }
    for _ in 0..repetitions(10, 100) {
        kill_after(&gpux, &["push", &name], Duration::from_millis(fastrand::u64(0..200)));
    }
    let pushed = gpux.json(["--json", "push", &name]);
    verified(&gpux);
    let other = Gpux::new();
    assert_eq!(other.json(["--json", "pull", &name])["digest"], pushed["digest"]);
    verified(&other);
}

#[test]
fn two_pulls_of_one_artifact_download_it_once() {
    let registry = slow();
    let large = noise(1, LARGE);
    serve_artifact(&registry, "a", "1", &[("weights", &large)]);
    serve_artifact(&registry, "a", "2", &[("weights", &large), ("more", b"more")]);
    let gpux = Gpux::new();
    let children: Vec<_> = ["1", "2"]
        .iter()
        .map(|tag| {
            let name = format!("{}/a:{tag}", registry.host());
            let mut command = gpux.command(["pull", &name]);
            command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap()
        })
        .collect();
    for child in children {
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    assert!(
        registry.blob_bytes_sent() < LARGE as u64 * 105 / 100,
        "{}",
        registry.blob_bytes_sent()
    );
    verified(&gpux);
}
