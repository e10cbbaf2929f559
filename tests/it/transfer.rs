//! Pull and push against a registry that misbehaves on script.

use std::time::{Duration, Instant};

use gpux::{
    registry::Credential,
    store::Store,
    transfer::{Error, Remote, pull, push},
};

use crate::support::{
    artifacts::{EPOCH, hasty, noise, serve_artifact, silent, store_artifact},
    deps::repetitions,
    registry::{Fault, Kind, Profile, Registry},
};

struct Place {
    store: Store,
    _folder: tempfile::TempDir,
}

fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    Place {
        store: Store::open(folder.path()).unwrap(),
        _folder: folder,
    }
}

fn octocat() -> Remote {
    Remote {
        credential: Some(Credential::Password {
            username: "octo".into(),
            password: "cat-secret".into(),
        }),
        ..hasty()
    }
}

/// More than one range.
const LARGE: usize = 20 << 20;

/// Tries cases side by side: most of their time they wait.
fn each<T: Sync>(cases: &[T], check: impl Fn(&T) + Sync) {
    std::thread::scope(|scope| {
        for case in cases {
            scope.spawn(|| check(case));
        }
    });
}

fn large() -> &'static [u8] {
    static BYTES: std::sync::OnceLock<Vec<u8>> = std::sync::OnceLock::new();
    BYTES.get_or_init(|| noise(1, LARGE))
}

/// Pulls a large and a small file and holds them against what the registry has.
fn pull_and_compare(registry: &Registry, remote: &Remote) -> Result<(), Error> {
    let (large, small) = (large(), &noise(2, 100_000)[..]);
    serve_artifact(registry, "a/b", "1", &[("weights", large), ("model.onnx", small)]);
    let place = place();
    let reference = format!("{}/a/b:1", registry.host()).parse().unwrap();
    let pulled = pull(&place.store, &reference, remote, silent(), EPOCH)?;
    assert_eq!(
        place.store.resolve(&reference).unwrap().descriptor.digest,
        pulled.descriptor.digest
    );
    for bytes in [large, small] {
        let digest = gpux::oci::Digest::of(bytes);
        assert!(std::fs::read(place.store.blob(&digest).unwrap()).unwrap() == *bytes);
    }
    Ok(())
}

#[test]
fn pull_from_every_kind_of_registry_gives_the_same_bytes() {
    pull_and_compare(&Registry::start(Profile::honest()), &hasty()).unwrap();
    pull_and_compare(&Registry::start(Profile::ghcr()), &octocat()).unwrap();
    pull_and_compare(&Registry::start(Profile::google()), &hasty()).unwrap();
    let aws = Remote {
        credential: Some(Credential::Password {
            username: "AWS".into(),
            password: "ecr-secret".into(),
        }),
        ..hasty()
    };
    pull_and_compare(&Registry::start(Profile::ecr()), &aws).unwrap();
}

#[test]
fn credentials_stay_at_the_registry_when_blobs_are_elsewhere() {
    let registry = Registry::start(Profile::ghcr());
    pull_and_compare(&registry, &octocat()).unwrap();
    let seen = registry.seen();
    let elsewhere: Vec<_> = seen.iter().filter(|request| request.kind == Kind::Elsewhere).collect();
    assert!(!elsewhere.is_empty());
    assert!(
        elsewhere
            .iter()
            .all(|request| request.header("authorization").is_none())
    );
    // One redirect shows the way to all ranges of a blob but those that were under way.
    assert!(
        registry.count(Kind::Blob, "GET") <= 6,
        "{}",
        registry.count(Kind::Blob, "GET")
    );
}

#[test]
fn pull_survives_each_passing_fault() {
    let faults = [
        Fault::CutAfter(0),
        Fault::CutAfter(3 << 20),
        Fault::ShortBy(1),
        Fault::LongBy(1),
        Fault::FlipAt(100),
        Fault::WholeForRange,
        Fault::WrongContentRange,
        Fault::WrongTotal,
        Fault::StallAfter(2 << 20),
        Fault::Trickle,
        Fault::Hangup,
        Fault::Status(500, vec![]),
        Fault::Status(503, vec![("Retry-After".into(), "0".into())]),
        Fault::Status(
            429,
            vec![("Retry-After".into(), "Sun, 06 Nov 1994 08:49:37 GMT".into())],
        ),
        Fault::Status(416, vec![]),
        Fault::RestlessEtag,
    ];
    each(&faults, |fault| {
        let registry = Registry::start(Profile::honest());
        registry.fault(Kind::Blob, "GET", 1, fault.clone());
        let started = Instant::now();
        pull_and_compare(&registry, &hasty()).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(started.elapsed() < Duration::from_secs(40), "{fault:?}");
    });
}

#[test]
fn pull_gives_up_on_faults_that_stay() {
    let faults = [
        Fault::CutAfter(0),
        Fault::FlipAt(100),
        Fault::ShortBy(1),
        Fault::LongBy(1),
        Fault::StallAfter(0),
        Fault::Hangup,
        Fault::Trickle,
        Fault::Status(500, vec![]),
        Fault::Status(401, vec![]),
        Fault::Status(404, vec![]),
        Fault::Status(429, vec![("Retry-After".into(), "1000000000".into())]),
        Fault::Redirect("/v2/a/b/blobs/again".into()),
        Fault::Redirect("file:///etc/passwd".into()),
    ];
    each(&faults, |fault| {
        let registry = Registry::start(Profile::honest());
        registry.fault(Kind::Blob, "GET", u64::MAX, fault.clone());
        let started = Instant::now();
        let error = pull_and_compare(&registry, &hasty()).expect_err(&format!("{fault:?}"));
        assert!(started.elapsed() < Duration::from_secs(40), "{fault:?}: {error}");
    });
}

#[test]
fn pull_takes_the_whole_where_ranges_are_never_honoured() {
    for fault in [Fault::WholeForRange, Fault::WrongContentRange, Fault::RestlessEtag] {
        let registry = Registry::start(Profile::honest());
        registry.fault(Kind::Blob, "GET", u64::MAX, fault.clone());
        pull_and_compare(&registry, &hasty()).unwrap_or_else(|error| panic!("{fault:?}: {error}"));
    }
}

#[test]
fn push_to_every_kind_of_registry_arrives() {
    let cases = [
        (Profile::honest(), hasty()),
        (Profile::ghcr(), octocat()),
        (Profile::google(), hasty()),
    ];
    for (profile, remote) in cases {
        let registry = Registry::start(profile);
        let place = place();
        let name = format!("{}/a/b:1", registry.host());
        let large = noise(1, 8 << 20);
        store_artifact(&place.store, &name, &[("weights", &large), ("model.onnx", b"graph")]);
        push(&place.store, &name.parse().unwrap(), &remote, silent()).unwrap();
        assert!(registry.manifest("a/b", "1").is_some());
        let blob = registry
            .blob("a/b", &gpux::oci::Digest::of(&large).to_string())
            .unwrap();
        assert!(*blob == large);
    }
}

#[test]
fn push_survives_each_passing_fault() {
    let faults = [
        (Kind::Upload, "PUT", Fault::Hangup),
        (Kind::Upload, "PUT", Fault::Status(500, vec![])),
        (Kind::Upload, "PUT", Fault::Status(404, vec![])),
        (Kind::UploadStart, "POST", Fault::Status(503, vec![])),
        (Kind::UploadStart, "POST", Fault::Hangup),
        (Kind::Blob, "HEAD", Fault::Status(500, vec![])),
        (Kind::Blob, "HEAD", Fault::LyingHead),
        (Kind::Manifest, "PUT", Fault::Status(500, vec![])),
        (Kind::Manifest, "PUT", Fault::Hangup),
        (Kind::Manifest, "HEAD", Fault::LyingHead),
        (
            Kind::Upload,
            "PUT",
            Fault::Status(429, vec![("Retry-After".into(), "1".into())]),
        ),
    ];
    for (kind, method, fault) in faults {
        let registry = Registry::start(Profile::honest());
        registry.fault(kind, method, 1, fault.clone());
        let place = place();
        let name = format!("{}/a/b:1", registry.host());
        store_artifact(
            &place.store,
            &name,
            &[("weights", &noise(1, 1 << 20)), ("model.onnx", b"graph")],
        );
        push(&place.store, &name.parse().unwrap(), &hasty(), silent())
            .unwrap_or_else(|error| panic!("{fault:?}: {error}"));
        assert!(registry.manifest("a/b", "1").is_some());
    }
}

/// A schedule of faults that ends.
fn some_faults(random: &mut fastrand::Rng) -> Vec<(Kind, Fault)> {
    let faults = [
        Fault::CutAfter(random.u64(0..LARGE as u64)),
        Fault::ShortBy(random.u64(1..1000)),
        Fault::LongBy(random.u64(1..1000)),
        Fault::FlipAt(random.u64(0..100_000)),
        Fault::WholeForRange,
        Fault::WrongContentRange,
        Fault::WrongTotal,
        Fault::RestlessEtag,
        Fault::StallAfter(random.u64(0..LARGE as u64)),
        Fault::Hangup,
        Fault::Status(random.choice([416, 429, 500, 502, 503, 504]).unwrap(), vec![]),
    ];
    (0..random.usize(1..6))
        .map(|_| {
            let kind = if random.u8(0..8) == 0 {
                Kind::Manifest
            } else {
                Kind::Blob
            };
            (kind, random.choice(&faults).unwrap().clone())
        })
        .collect()
}

#[test]
fn any_schedule_of_faults_that_ends_gives_the_same_bytes() {
    let seeds: Vec<u64> = (0..repetitions(12, 200) as u64).map(|_| fastrand::u64(..)).collect();
    for seeds in seeds.chunks(6) {
        each(seeds, |seed| {
            let mut random = fastrand::Rng::with_seed(*seed);
            let registry = Registry::start(Profile::honest());
            let (large, small) = (large(), noise(2, 100_000));
            serve_artifact(&registry, "a/b", "1", &[("weights", large), ("model.onnx", &small)]);
            let faults = some_faults(&mut random);
            for (kind, fault) in &faults {
                registry.fault_after(*kind, "GET", random.u64(0..3), (1, fault.clone()));
            }
            let place = place();
            let reference = format!("{}/a/b:1", registry.host()).parse().unwrap();
            let mut tries = 0;
            // A pull may give up; what it leaves must never stand in the way of the next one.
            while let Err(error) = pull(&place.store, &reference, &hasty(), silent(), EPOCH) {
                assert!(place.store.list().unwrap().is_empty());
                tries += 1;
                assert!(tries <= faults.len(), "seed {seed}, {faults:?}: {error}");
            }
            for bytes in [large, &small] {
                let path = place.store.blob(&gpux::oci::Digest::of(bytes)).unwrap();
                assert!(std::fs::read(path).unwrap() == bytes, "seed {seed}, {faults:?}");
            }
        });
    }
}

#[test]
fn a_shared_blob_is_mounted_and_a_second_tag_moves_only_a_manifest() {
    let registry = Registry::start(Profile::honest());
    let place = place();
    let weights = noise(1, 1 << 20);
    let first = format!("{}/first:1", registry.host());
    let second = format!("{}/second:1", registry.host());
    store_artifact(&place.store, &first, &[("weights", &weights), ("model.onnx", b"one")]);
    store_artifact(&place.store, &second, &[("weights", &weights), ("model.onnx", b"two")]);
    push(&place.store, &first.parse().unwrap(), &hasty(), silent()).unwrap();
    let pushed = push(&place.store, &second.parse().unwrap(), &hasty(), silent()).unwrap();
    assert!(pushed.moved_bytes < 1000, "{}", pushed.moved_bytes);

    let tagged: gpux::oci::Reference = format!("{}/first:2", registry.host()).parse().unwrap();
    let entry = place.store.resolve(&first.parse().unwrap()).unwrap();
    place.store.tag(&tagged, &entry.descriptor, EPOCH).unwrap();
    registry.forget_requests();
    let again = push(&place.store, &tagged, &hasty(), silent()).unwrap();
    assert_eq!((again.moved_bytes, again.requests), (0, 3));
    assert_eq!(registry.count(Kind::Manifest, "PUT"), 1);
}
