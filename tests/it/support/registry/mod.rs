//! A registry in this process that keeps the distribution protocol and misbehaves on script.
//!
//! It listens on loopback, answers each connection on a thread of its own, records every request with its headers, and
//! plays the faults it was given in order: the first unspent fault that matches a request is the one that happens.

mod access;
mod content;
mod profile;
mod script;
mod serve;
mod uploads;
mod wire;

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    net::{TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

pub use profile::Profile;
use script::Planned;
pub use script::{Fault, Kind, Seen};

#[derive(Default)]
struct Upload {
    bytes: Vec<u8>,
    /// A request that brought bytes for it broke.
    broken: bool,
}

#[derive(Default)]
struct State {
    blobs: BTreeMap<(String, String), Arc<Vec<u8>>>,
    manifests: BTreeMap<(String, String), (String, Vec<u8>)>,
    tags: BTreeMap<(String, String), String>,
    uploads: BTreeMap<String, Upload>,
    tokens: BTreeMap<String, (String, u64)>,
    seen: Vec<Seen>,
    plan: Vec<Planned>,
    realm: Option<String>,
}

struct Shared {
    profile: Profile,
    port: u16,
    cdn_port: u16,
    state: Mutex<State>,
    counter: AtomicU64,
    stop: AtomicBool,
    blob_bytes_sent: AtomicU64,
    upload_bytes_read: AtomicU64,
    /// Requests that are being answered.
    busy: AtomicU64,
}

/// A running registry; it ends when dropped.
pub struct Registry {
    shared: Arc<Shared>,
}

impl Registry {
    /// Starts on two free loopback ports, one for the registry and one for the origin it redirects blobs to.
    pub fn start(profile: Profile) -> Self {
        let main = TcpListener::bind("127.0.0.1:0").unwrap();
        let cdn = TcpListener::bind("127.0.0.1:0").unwrap();
        let shared = Arc::new(Shared {
            profile,
            port: main.local_addr().unwrap().port(),
            cdn_port: cdn.local_addr().unwrap().port(),
            state: Mutex::default(),
            counter: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            blob_bytes_sent: AtomicU64::new(0),
            upload_bytes_read: AtomicU64::new(0),
            busy: AtomicU64::new(0),
        });
        for (listener, elsewhere) in [(main, false), (cdn, true)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || serve::accept(&listener, &shared, elsewhere));
        }
        Self { shared }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.shared.port)
    }

    /// The second origin, `127.0.0.1:PORT`.
    pub fn elsewhere(&self) -> String {
        format!("127.0.0.1:{}", self.shared.cdn_port)
    }

    /// Makes the next `times` requests of this kind and method go wrong.
    pub fn fault(&self, kind: Kind, method: &'static str, times: u64, fault: Fault) -> &Self {
        self.fault_after(kind, method, 0, (times, fault))
    }

    /// As `fault`, after letting `skip` such requests through.
    pub fn fault_after(&self, kind: Kind, method: &'static str, skip: u64, (times, fault): (u64, Fault)) -> &Self {
        self.state().plan.push(Planned {
            kind,
            method: (!method.is_empty()).then_some(method),
            skip,
            times,
            fault,
        });
        self
    }

    /// Forgets all planned faults.
    pub fn behave(&self) {
        self.state().plan.clear();
    }

    /// Sends clients that need a token to this realm.
    pub fn set_realm(&self, realm: &str) {
        self.state().realm = Some(realm.to_owned());
    }

    /// Stores a blob and answers its digest.
    pub fn put_blob(&self, repository: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        self.state()
            .blobs
            .insert((repository.to_owned(), digest.clone()), Arc::new(bytes.to_vec()));
        digest
    }

    /// Stores bytes as the blob of a digest, whatever their hash is.
    pub fn put_blob_as(&self, repository: &str, digest: &str, bytes: &[u8]) {
        let key = (repository.to_owned(), digest.to_owned());
        self.state().blobs.insert(key, Arc::new(bytes.to_vec()));
    }

    /// Stores a manifest under a tag and answers its digest.
    pub fn put_manifest(&self, repository: &str, tag: &str, media_type: &str, bytes: &[u8]) -> String {
        let digest = digest_of(bytes);
        let mut state = self.state();
        state.manifests.insert(
            (repository.to_owned(), digest.clone()),
            (media_type.to_owned(), bytes.to_vec()),
        );
        state
            .tags
            .insert((repository.to_owned(), tag.to_owned()), digest.clone());
        digest
    }

    pub fn blob(&self, repository: &str, digest: &str) -> Option<Arc<Vec<u8>>> {
        self.state()
            .blobs
            .get(&(repository.to_owned(), digest.to_owned()))
            .cloned()
    }

    pub fn manifest(&self, repository: &str, tag: &str) -> Option<Vec<u8>> {
        let state = self.state();
        let digest = state.tags.get(&(repository.to_owned(), tag.to_owned()))?;
        state
            .manifests
            .get(&(repository.to_owned(), digest.clone()))
            .map(|(_, bytes)| bytes.clone())
    }

    /// Every request so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    pub fn count(&self, kind: Kind, method: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.kind == kind && seen.method == method)
            .count()
    }

    pub fn forget_requests(&self) {
        self.state().seen.clear();
        self.shared.blob_bytes_sent.store(0, Ordering::Relaxed);
        self.shared.upload_bytes_read.store(0, Ordering::Relaxed);
    }

    /// Bytes of uploads read from sockets since the start or `forget_requests`.
    pub fn upload_bytes_read(&self) -> u64 {
        self.shared.upload_bytes_read.load(Ordering::Relaxed)
    }

    /// Waits until no request is being answered, for at most half a minute: what a killed client had sent is taken in then.
    pub fn settle(&self) {
        let started = Instant::now();
        while self.shared.busy.load(Ordering::SeqCst) > 0 {
            assert!(
                started.elapsed() < Duration::from_secs(30),
                "the registry does not settle"
            );
            thread::sleep(Duration::from_millis(2));
        }
    }

    /// Bytes of blobs written to sockets since the start or `forget_requests`.
    pub fn blob_bytes_sent(&self) -> u64 {
        self.shared.blob_bytes_sent.load(Ordering::Relaxed)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.state.lock().unwrap()
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        for port in [self.shared.port, self.shared.cdn_port] {
            let _ = TcpStream::connect(("127.0.0.1", port));
        }
    }
}

pub fn digest_of(bytes: &[u8]) -> String {
    let mut text = String::from("sha256:");
    for byte in Sha256::digest(bytes) {
        write!(text, "{byte:02x}").unwrap();
    }
    text
}
