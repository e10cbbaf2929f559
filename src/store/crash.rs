//! Several commands at once, and commands that are killed.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;

use super::tests::{artifact, folder};
use super::{Error, GcOptions, Store};
use crate::oci::{Digest, Reference};

/// Names the home on which a copy of this test binary works until it is killed.
const HOME: &str = "GPUX_TEST_CRASH_HOME";

fn name(n: u8) -> Reference {
    format!("x:{}", n % 3).parse().unwrap()
}

/// Builds, tags, removes and collects, in an order of its own.
fn work(home: &Path, seed: u8, turns: usize) -> Result<(), Error> {
    for turn in 0..turns {
        let store = Store::open(home)?;
        let n = (seed as usize * 7 + turn * 5) as u8;
        match turn % 4 {
            0 | 1 => {
                let lease = store.lease(&[])?;
                let file = home.join(format!("source-{seed}"));
                std::fs::write(&file, vec![n % 8; 300_000]).unwrap();
                store.ingest_file(&lease, &file)?;
                let (manifest, _) = artifact(&store, &lease, &[n % 8; 50_000]);
                store.tag(&name(n), &manifest, Timestamp::UNIX_EPOCH)?;
            }
            2 => match store.remove(&name(n)) {
                Ok(_) | Err(Error::NotFound { .. }) => {}
                Err(error) => return Err(error),
            },
            _ => {
                let all = n.is_multiple_of(5);
                store.gc(GcOptions { all, dry_run: false })?;
            }
        }
    }
    Ok(())
}

/// Uses what is tagged, and expects all of it to stay while it is leased.
fn read(home: &Path, turns: usize) {
    let store = Store::open(home).unwrap();
    for turn in 0..turns {
        let (entry, _lease) = match store.checkout(&name(turn as u8)) {
            Ok(found) => found,
            Err(Error::NotFound { .. }) => continue,
            Err(error) => panic!("{error:?}"),
        };
        for _ in 0..3 {
            let document = store.document(&entry.descriptor).unwrap();
            for named in document.descriptors() {
                store.read(&named.digest, 1 << 20).unwrap();
            }
            std::thread::yield_now();
        }
    }
}

#[test]
fn commands_side_by_side_do_not_disturb_each_other() {
    let folder = folder();
    let home = folder.path().join("home");
    std::thread::scope(|scope| {
        let workers: Vec<_> = (0..3).map(|seed| (seed, home.clone())).collect();
        for (seed, home) in workers {
            std::fs::create_dir_all(&home).unwrap();
            scope.spawn(move || work(&home, seed, 60).unwrap());
        }
        for _ in 0..2 {
            scope.spawn(|| read(&home, 60));
        }
    });
    let store = Store::open(&home).unwrap();
    let report = store.verify(false).unwrap();
    assert!(report.is_sound(), "{report:?}");
    store
        .gc(GcOptions {
            all: true,
            dry_run: false,
        })
        .unwrap();
    assert_eq!((store.blobs().unwrap(), store.list().unwrap()), (vec![], vec![]));
    assert_eq!(crate::fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
    assert_eq!(crate::fs::names(&store.layout().leases()).unwrap(), [""; 0]);
}

/// Starts this test once more, as a process that works until it is killed.
fn start(test: &str, home: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([&format!("store::crash::{test}"), "--exact"])
        .env(HOME, home)
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn home_of_child() -> Option<PathBuf> {
    std::env::var_os(HOME).map(PathBuf::from)
}

#[test]
fn a_command_killed_anywhere_leaves_a_sound_store() {
    if let Some(home) = home_of_child() {
        // The parent kills this process long before.
        work(&home, 1, 1_000_000).unwrap();
        return;
    }
    let folder = folder();
    let home = folder.path().join("home");
    std::fs::create_dir(&home).unwrap();
    for round in 0..10u64 {
        let mut child = start("a_command_killed_anywhere_leaves_a_sound_store", &home);
        // Spread over a command's few milliseconds, after the start of the process.
        std::thread::sleep(Duration::from_micros(25_000 + round * 7_919 % 30_000));
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(&home).unwrap();
        let report = store.verify(false).unwrap();
        assert!(report.is_sound(), "round {round}: {report:?}");
        work(&home, 2, 8).unwrap();
    }
    let store = Store::open(&home).unwrap();
    assert!(
        !store.list().unwrap().is_empty(),
        "the processes that were killed had done something"
    );
    store
        .gc(GcOptions {
            all: true,
            dry_run: false,
        })
        .unwrap();
    assert_eq!(store.blobs().unwrap(), []);
    assert_eq!(crate::fs::names(&store.layout().ingest()).unwrap(), [""; 0]);
}

#[test]
fn a_lease_ends_with_its_process() {
    let layer = Digest::of(b"leased by a process");
    if let Some(home) = home_of_child() {
        let store = Store::open(&home).unwrap();
        let lease = store.lease(&[]).unwrap();
        store.ingest_bytes(&lease, b"leased by a process").unwrap();
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    let folder = folder();
    let home = folder.path().join("home");
    let mut child = start("a_lease_ends_with_its_process", &home);
    let store = Store::open(&home).unwrap();
    for _ in 0..3_000 {
        if store.find(&layer).unwrap().is_some() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(store.gc(GcOptions::default()).unwrap().blobs, [], "its holder lives");
    child.kill().unwrap();
    child.wait().unwrap();
    let report = store.gc(GcOptions::default()).unwrap();
    assert_eq!(report.blobs.iter().map(|blob| blob.digest).collect::<Vec<_>>(), [layer]);
    assert_eq!(crate::fs::names(&store.layout().leases()).unwrap(), [""; 0]);
}
