//! Pushes to registries that take blobs each in their own way, and what is remembered of them.

use std::{process::Stdio, time::Duration};

use gpux::{
    oci::{Digest, Reference},
    registry::Credential,
    store::Store,
    transfer::{Remote, Report, push},
};

use crate::support::{
    Gpux,
    artifacts::{hasty, noise, silent, store_artifact, until},
    distribution::Distribution,
    registry::{Fault, Kind, Profile, Registry, Seen},
};

const LARGE: usize = 20 << 20;

/// A store with one artifact for `a/b:1` of a registry, and a memory beside it.
struct Pusher {
    store: Store,
    remote: Remote,
    name: Reference,
    weights: Vec<u8>,
    folder: tempfile::TempDir,
}

fn pusher(host: &str, size: usize) -> Pusher {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = format!("{host}/a/b:1");
    let weights = noise(1, size);
    store_artifact(&store, &name, &[("weights", &weights), ("model.onnx", b"graph")]);
    let mut remote = hasty();
    remote.options.memory = Some(folder.path().join("cache"));
    Pusher {
        store,
        remote,
        name: name.parse().unwrap(),
        weights,
        folder,
    }
}

impl Pusher {
    fn push(&self) -> Report {
        push(&self.store, &self.name, &self.remote, silent()).unwrap_or_else(|error| panic!("{error:?}"))
    }

    fn arrived(&self, registry: &Registry) {
        let blob = registry.blob("a/b", &Digest::of(&self.weights).to_string());
        assert!(*blob.expect("the blob is there") == self.weights);
        assert!(registry.manifest("a/b", "1").is_some());
    }

    /// What is remembered of the registry, as text; nothing where nothing is.
    fn memory(&self) -> String {
        let file = format!(
            "cache/registry-{}.json",
            self.name.host().unwrap().as_str().replace(':', "_")
        );
        std::fs::read_to_string(self.folder.path().join(file)).unwrap_or_default()
    }
}

fn patches(registry: &Registry) -> Vec<Seen> {
    let seen = registry.seen();
    seen.into_iter().filter(|seen| seen.method == "PATCH").collect()
}

#[test]
fn a_blob_goes_up_in_one_put_where_nothing_is_said_against_it() {
    let registry = Registry::start(Profile::honest());
    let pusher = pusher(&registry.host(), LARGE);
    pusher.push();
    pusher.arrived(&registry);
    assert_eq!(patches(&registry).len(), 0);
    assert_eq!(pusher.memory(), "", "there was nothing to learn");
}

#[test]
fn software_known_for_dropping_long_uploads_is_sent_chunks_in_order() {
    let registry = Registry::start(Profile::zot());
    let pusher = pusher(&registry.host(), 70 << 20);
    pusher.push();
    pusher.arrived(&registry);
    let chunks: Vec<_> = patches(&registry)
        .iter()
        .map(|seen| seen.header("content-range").unwrap().to_owned())
        .collect();
    let large = 70u64 << 20;
    let (one, two) = (32u64 << 20, 64u64 << 20);
    let mut wanted = vec![
        format!("0-{}", one - 1),
        format!("{one}-{}", two - 1),
        format!("{two}-{}", large - 1),
    ];
    wanted.retain(|range| !chunks.contains(range));
    assert!(wanted.is_empty(), "{wanted:?} of {chunks:?}");
    assert!(pusher.memory().contains("zot"));
}

#[test]
fn a_body_too_large_is_cut_down_and_the_size_is_remembered() {
    let registry = Registry::start(Profile {
        largest_body_bytes: Some(5 << 20),
        ..Profile::honest()
    });
    let pusher = pusher(&registry.host(), LARGE);
    pusher.push();
    pusher.arrived(&registry);
    let refused = registry.seen().iter().filter(|seen| seen.body_bytes > 5 << 20).count();
    assert_eq!(refused, 2, "one PUT of all, one PATCH of 16 MiB");
    assert!(pusher.memory().contains("4194304"), "{}", pusher.memory());

    // The next push, of another process, knows.
    registry.forget_requests();
    let more = noise(2, LARGE);
    store_artifact(&pusher.store, &pusher.name.to_string(), &[("weights", &more)]);
    pusher.push();
    assert!(registry.seen().iter().all(|seen| seen.body_bytes <= 4 << 20));
    assert!(registry.blob("a/b", &Digest::of(&more).to_string()).is_some());
}

#[test]
fn a_chunk_that_is_refused_ends_in_one_put() {
    for status in [416, 405] {
        let registry = Registry::start(Profile {
            software: Profile::zot().software,
            ..Profile::honest()
        });
        registry.fault(Kind::Upload, "PATCH", 99, Fault::Status(status, vec![]));
        let pusher = pusher(&registry.host(), LARGE);
        pusher.push();
        pusher.arrived(&registry);
        assert!(patches(&registry).len() <= 6);
        assert!(
            pusher.memory().contains("\"largest_chunk_bytes\": 0"),
            "{}",
            pusher.memory()
        );
    }
}

#[test]
fn one_put_that_is_dropped_again_and_again_becomes_chunks() {
    let registry = Registry::start(Profile {
        software: None,
        drops_after_bytes: Some(12 << 20),
        ..Profile::zot()
    });
    let pusher = pusher(&registry.host(), 30 << 20);
    pusher.push();
    pusher.arrived(&registry);
    assert!(patches(&registry).len() > 2);
    assert!(pusher.memory().contains("chunk_bytes"));
}

#[test]
fn what_neither_goes_whole_nor_in_chunks_is_an_error_in_time() {
    let registry = Registry::start(Profile {
        largest_body_bytes: Some(1 << 20),
        no_patch: true,
        ..Profile::honest()
    });
    let pusher = pusher(&registry.host(), 3 << 20);
    let error = push(&pusher.store, &pusher.name, &pusher.remote, silent()).unwrap_err();
    assert!(error.to_string().contains("405"), "{error}");
    assert!(registry.manifest("a/b", "1").is_none());
}

#[test]
fn an_upload_that_breaks_goes_on_where_the_registry_says() {
    let registry = Registry::start(Profile::honest());
    let pusher = pusher(&registry.host(), LARGE);
    // The registry keeps what came before it cut the connection.
    registry.fault_after(Kind::Upload, "PUT", 1, (1, Fault::Status(503, vec![])));
    pusher.push();
    pusher.arrived(&registry);
}

#[test]
fn an_upload_that_creeps_on_by_bytes_is_given_up() {
    let registry = Registry::start(Profile {
        creeps: true,
        ..Profile::honest()
    });
    let pusher = pusher(&registry.host(), 5 << 20);
    let error = push(&pusher.store, &pusher.name, &pusher.remote, silent()).unwrap_err();
    assert!(error.to_string().contains("503"), "{error}");
    let tries = registry.count(Kind::Upload, "PUT") + registry.count(Kind::Upload, "PATCH");
    assert!(tries <= 3 * 5, "three files, and a few tries each: {tries}");
}

#[test]
fn a_registry_that_is_busy_is_left_alone_as_long_as_it_asks() {
    for (kind, method) in [
        (Kind::Blob, "HEAD"),
        (Kind::UploadStart, "POST"),
        (Kind::Upload, "PUT"),
        (Kind::Manifest, "PUT"),
    ] {
        let registry = Registry::start(Profile::honest());
        let pusher = pusher(&registry.host(), 100);
        let headers = vec![("Retry-After".to_owned(), "1".to_owned())];
        // Each of three blobs meets it once, and then no more.
        registry.fault(
            kind,
            method,
            if kind == Kind::Manifest { 1 } else { 3 },
            Fault::Status(429, headers),
        );
        pusher.push();
        pusher.arrived(&registry);
        let seen = registry.seen();
        let times: Vec<_> = seen
            .iter()
            .filter(|seen| seen.kind == kind && seen.method == method)
            .collect();
        let waited = times.last().unwrap().at - times[0].at;
        assert!(waited >= Duration::from_secs(1), "{method}: {waited:?}");
    }
}

#[test]
fn mounts_that_are_refused_do_not_stop_a_push() {
    for profile in [Profile::harbor(), Profile::artifactory()] {
        let registry = Registry::start(Profile {
            account: None,
            ..profile
        });
        let pusher = pusher(&registry.host(), 1 << 20);
        pusher.push();
        let second: Reference = format!("{}/other/c:1", registry.host()).parse().unwrap();
        let descriptor = pusher.store.resolve(&pusher.name).unwrap().descriptor;
        let at = jiff::Timestamp::UNIX_EPOCH;
        pusher.store.tag(&second, &descriptor, at).unwrap();
        push(&pusher.store, &second, &pusher.remote, silent()).unwrap();
        assert!(registry.manifest("other/c", "1").is_some());
    }
}

#[test]
fn a_mount_from_what_may_not_be_read_falls_back_to_an_upload() {
    let registry = Registry::start(Profile {
        mount_status: Some(401),
        ..Profile::ghcr()
    });
    let mut pusher = pusher(&registry.host(), 1 << 20);
    pusher.remote.credential = Some(Credential::Password {
        username: "octo".into(),
        password: "cat-secret".into(),
    });
    pusher.push();
    let second: Reference = format!("{}/other/c:1", registry.host()).parse().unwrap();
    let descriptor = pusher.store.resolve(&pusher.name).unwrap().descriptor;
    let at = jiff::Timestamp::UNIX_EPOCH;
    pusher.store.tag(&second, &descriptor, at).unwrap();
    push(&pusher.store, &second, &pusher.remote, silent()).unwrap();
    assert!(registry.manifest("other/c", "1").is_some());
}

/// Starts a push and kills it when the registry has read so much.
fn killed_push(gpux: &Gpux, name: &str, (registry, bytes): (&Registry, u64)) {
    let mut command = gpux.command(["push", name]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until(|| registry.upload_bytes_read() >= bytes);
    child.kill().unwrap();
    child.wait().unwrap();
    registry.settle();
}

/// Pushes twice, killing the first at half; gives what the second said, and what was remembered.
fn half_pushed(profile: Profile) -> (Registry, serde_json::Value, String) {
    let registry = Registry::start(Profile {
        bytes_per_second: Some(40 << 20),
        ..profile
    });
    let (gpux, name) = (Gpux::new(), format!("{}/a/b:1", registry.host()));
    let weights = noise(1, LARGE);
    store_artifact(&Store::open(gpux.home()).unwrap(), &name, &[("weights", &weights)]);
    killed_push(&gpux, &name, (&registry, LARGE as u64 / 2));
    registry.forget_requests();
    let again = gpux.json(["--json", "push", &name]);
    assert!(*registry.blob("a/b", &Digest::of(&weights).to_string()).unwrap() == weights);
    let left = std::fs::read_dir(gpux.home().join("ingest")).unwrap().count();
    assert_eq!(left, 0, "an upload that has ended leaves no notes");
    let file = format!("cache/registry-{}.json", registry.host().replace(':', "_"));
    let memory = std::fs::read_to_string(gpux.home().join(file)).unwrap_or_default();
    (registry, again, memory)
}

#[test]
fn a_push_killed_at_half_sends_at_most_the_other_half() {
    for (what, profile) in [
        ("one PUT", Profile::honest()),
        (
            "chunks",
            Profile {
                drops_after_bytes: None,
                ..Profile::zot()
            },
        ),
    ] {
        let (registry, again, _) = half_pushed(profile);
        let most = LARGE as u64 * 55 / 100;
        assert!(again["moved_bytes"].as_u64().unwrap() <= most, "{what}: {again}");
        assert!(
            again["skipped_bytes"].as_u64().unwrap() >= LARGE as u64 * 45 / 100,
            "{what}: {again}"
        );
        assert!(
            registry.upload_bytes_read() <= most,
            "{what}: {}",
            registry.upload_bytes_read()
        );
    }
}

#[test]
fn a_push_killed_at_half_starts_over_where_the_registry_forgets() {
    let (_, again, memory) = half_pushed(Profile {
        forgets_broken: true,
        ..Profile::honest()
    });
    assert!(again["moved_bytes"].as_u64().unwrap() >= LARGE as u64);
    assert_eq!(memory, "", "it said so, which is honest");
}

#[test]
fn a_registry_that_overstates_what_it_has_is_sent_all_of_it_and_not_believed_again() {
    let (_, again, memory) = half_pushed(Profile {
        overstates: true,
        ..Profile::honest()
    });
    assert!(again["moved_bytes"].as_u64().unwrap() >= LARGE as u64);
    assert!(memory.contains("\"resumes\": false"), "{memory}");
}

#[test]
fn a_note_that_is_damaged_or_leads_elsewhere_is_not_followed() {
    let registry = Registry::start(Profile::ghcr());
    let elsewhere = registry.elsewhere();
    for note in [
        String::from_utf8_lossy(&noise(3, 300)).into_owned(),
        format!("gpux-upload-1 http://{elsewhere}/x"),
        "gpux-upload-1 file:///etc/passwd".to_owned(),
        "gpux-upload-9 x".to_owned(),
    ] {
        let honest = Registry::start(Profile::honest());
        let pusher = pusher(&honest.host(), 5 << 20);
        let subject = format!("{}@{}", pusher.name.name(), Digest::of(&pusher.weights));
        let mut notes = pusher.store.notes(&subject).unwrap().unwrap();
        notes.add(&note.replace('\n', " ")).unwrap();
        drop(notes);
        pusher.push();
        pusher.arrived(&honest);
    }
    let strayed = registry.seen();
    assert!(
        strayed.iter().all(|seen| seen.header("authorization").is_none()),
        "{strayed:?}"
    );
}

#[test]
fn a_real_registry_is_pushed_to_again_after_a_kill() {
    let registry = Distribution::start();
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    let weights = noise(1, 64 << 20);
    store_artifact(&Store::open(gpux.home()).unwrap(), &name, &[("weights", &weights)]);
    let mut command = gpux.command(["push", &name]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let uploads = registry.data().join("docker/registry/v2/repositories/a/_uploads");
    until(|| {
        std::fs::read_dir(&uploads).is_ok_and(|mut names| names.next().is_some()) || child.try_wait().unwrap().is_some()
    });
    let _ = child.kill();
    child.wait().unwrap();
    let pushed = gpux.json(["--json", "push", &name]);
    assert_eq!(Gpux::new().json(["--json", "pull", &name])["digest"], pushed["digest"]);
}
