//! kill -9 at random moments: the store stays sound, tags are old or new, and the command can be repeated.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::{Gpux, deps};

/// Draws moments that differ from run to run; a failure names the moment it came from.
struct Moments {
    longest: Duration,
    state: u64,
}

impl Moments {
    /// Moments up to a little over what one whole command takes.
    fn within(longest: Duration) -> Moments {
        let clock = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .unwrap();
        Moments {
            longest: longest.mul_f64(1.2),
            state: clock.as_nanos() as u64 | 1,
        }
    }

    fn next(&mut self) -> Duration {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        self.longest.mul_f64((self.state >> 11) as f64 / (1u64 << 53) as f64)
    }
}

/// Runs a command and kills it after `moment`; tells whether it had ended by then.
fn killed(gpux: &Gpux, arguments: &[&str], moment: Duration) -> bool {
    let mut child = gpux
        .command(arguments)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    std::thread::sleep(moment);
    let had_ended = child.try_wait().unwrap().is_some();
    child.kill().unwrap();
    child.wait().unwrap();
    had_ended
}

/// The references of a store with the digests that they name.
type Tags = BTreeMap<String, String>;

fn tags(gpux: &Gpux) -> Tags {
    let list = gpux.json(["images", "--json"]);
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    list.as_array()
        .unwrap()
        .iter()
        .map(|entry| (text(&entry["reference"]), text(&entry["digest"])))
        .collect()
}

fn time(run: impl FnOnce()) -> Duration {
    let start = Instant::now();
    run();
    start.elapsed()
}

/// Kills `command` again and again. Before each time `prepare` brings the store to a known state; `is_legal` then looks at
/// the tags after the kill, given those before it; `repeat` must succeed.
fn survives(
    gpux: &Gpux,
    (command, repeat): (&[&str], &[&str]),
    prepare: &dyn Fn(),
    is_legal: &dyn Fn(&Tags, &Tags) -> bool,
) {
    prepare();
    let mut moments = Moments::within(time(|| drop(gpux.ok(command))));
    let mut cut_short = 0;
    let count = deps::repetitions(10, 100);
    for _ in 0..count {
        prepare();
        let before = tags(gpux);
        let moment = moments.next();
        cut_short += usize::from(!killed(gpux, command, moment));
        let verified = gpux.run(["store", "verify"]);
        assert_eq!(
            verified.code,
            Some(0),
            "{command:?} killed after {moment:?}: {verified:?}"
        );
        let after = tags(gpux);
        assert!(
            is_legal(&before, &after),
            "{command:?} killed after {moment:?}: {before:?} became {after:?}"
        );
        let again = gpux.run(repeat);
        assert_eq!(
            again.code,
            Some(0),
            "{repeat:?} after {command:?} was killed after {moment:?}: {again:?}"
        );
    }
    assert!(
        cut_short > 0,
        "no kill came before the end of the command in {count} tries"
    );
    gpux.ok(["prune"]);
    let left = gpux.json(["prune", "--json", "--dry-run"]);
    assert_eq!(left["freed_bytes"], 0, "prune leaves nothing behind");
}

#[test]
fn build_killed_at_any_moment_leaves_a_sound_store() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits", "-t", "x:1"]);
    let old = tags(&gpux)["x:1"].clone();
    let build = ["build", "fixtures/mlp", "-t", "x:1"];
    survives(
        &gpux,
        (&build, &build),
        &|| {
            gpux.ok(["build", "fixtures/digits", "-t", "x:1"]);
            gpux.ok(["prune"]);
        },
        &|_, after| after.len() == 1 && !after["x:1"].is_empty(),
    );
    assert_ne!(tags(&gpux)["x:1"], old);
}

#[test]
fn tag_killed_at_any_moment_leaves_the_old_tag_or_the_new() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits", "-t", "digits:1"]);
    gpux.ok(["build", "fixtures/mlp", "-t", "mlp:1"]);
    let known = tags(&gpux);
    let tag = ["tag", "mlp:1", "x:1"];
    survives(
        &gpux,
        (&tag, &tag),
        &|| drop(gpux.ok(["tag", "digits:1", "x:1"])),
        &|_, after| after.len() == 3 && (after["x:1"] == known["digits:1"] || after["x:1"] == known["mlp:1"]),
    );
}

#[test]
fn rm_killed_at_any_moment_keeps_what_others_need() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits", "-t", "keep:1"]);
    survives(
        &gpux,
        (&["rm", "x:1"], &["images"]),
        &|| drop(gpux.ok(["build", "fixtures/mlp", "-t", "x:1"])),
        &|before, after| {
            after.get("keep:1") == before.get("keep:1") && after.keys().all(|name| before.contains_key(name))
        },
    );
    gpux.ok([
        "run",
        "keep:1",
        "--provider",
        "embedded",
        "--input",
        "@fixtures/digits/seven.npy",
    ]);
}

#[test]
fn prune_killed_at_any_moment_removes_no_tag() {
    let gpux = Gpux::new();
    gpux.ok(["build", "fixtures/digits", "-t", "keep:1"]);
    survives(
        &gpux,
        (&["prune"], &["prune"]),
        &|| {
            gpux.ok(["build", "fixtures/mlp", "-t", "x:1"]);
            gpux.ok(["rm", "--keep-blobs", "x:1"]);
            std::fs::write(ingest(gpux.home()), b"left over").unwrap();
        },
        &|before, after| before == after,
    );
}

/// A file of the kind that an interrupted build leaves.
fn ingest(home: &Path) -> std::path::PathBuf {
    home.join("ingest").join("left-over")
}
