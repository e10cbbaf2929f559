//! A registry in this process that keeps the distribution protocol and misbehaves on script.
//!
//! It listens on loopback, answers each connection on a thread of its own, records every request with its headers, and
//! plays the faults it was given in order: the first unspent fault that matches a request is the one that happens.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard, atomic::AtomicBool, atomic::AtomicU64, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use sha2::{Digest as _, Sha256};

/// How a registry of some kind answers when nothing is broken.
#[derive(Clone, Debug, Default)]
pub struct Profile {
    /// Asks for a bearer token of the right scope, and sends the client to a token endpoint for it.
    pub tokens: bool,
    /// Asks for this user and password, at the token endpoint or as Basic.
    pub account: Option<(String, String)>,
    /// A token is refused after it has been used this often.
    pub token_uses: Option<u64>,
    /// Blobs are answered with a redirect to a second origin, as registries before object stores do.
    pub blob_redirect: bool,
    /// A PATCH with `Content-Range` and more bytes than this is answered with 416.
    pub largest_patch_bytes: Option<u64>,
    /// Only one PUT, no PATCH.
    pub no_patch: bool,
    /// PATCH is answered with 201 where the specification has 202.
    pub patch_created: bool,
    /// Mounts are answered as plain uploads.
    pub no_mount: bool,
    /// The referrers endpoint exists.
    pub referrers: bool,
    /// DELETE is answered with 405.
    pub no_delete: bool,
    /// Blobs are sent no faster than this on one connection.
    pub bytes_per_second: Option<u64>,
}

impl Profile {
    /// Keeps to the specification and asks nobody who they are.
    pub fn honest() -> Self {
        Self {
            referrers: true,
            ..Self::default()
        }
    }

    /// GitHub's registry: scoped tokens, no large PATCH, no referrers, blobs elsewhere.
    pub fn ghcr() -> Self {
        Self {
            tokens: true,
            account: Some(("octo".into(), "cat-secret".into())),
            blob_redirect: true,
            largest_patch_bytes: Some(4 << 20),
            ..Self::default()
        }
    }

    /// Amazon's: Basic alone, PATCH says 201, mounts refused here.
    pub fn ecr() -> Self {
        Self {
            account: Some(("AWS".into(), "ecr-secret".into())),
            patch_created: true,
            no_mount: true,
            referrers: true,
            ..Self::default()
        }
    }

    /// Google's: one PUT alone.
    pub fn google() -> Self {
        Self {
            tokens: true,
            no_patch: true,
            referrers: true,
            ..Self::default()
        }
    }
}

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Token,
    Manifest,
    Blob,
    /// A blob on the second origin.
    Elsewhere,
    UploadStart,
    Upload,
    Tags,
    Referrers,
    Other,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body_bytes: u64,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One misdeed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is cut after this many bytes of the body.
    CutAfter(u64),
    /// The body ends early and Content-Length says so.
    ShortBy(u64),
    /// The body goes on for this many bytes and Content-Length says so.
    LongBy(u64),
    /// One bit of the byte at this offset is wrong.
    FlipAt(u64),
    /// A Range is answered with 200 and the whole blob.
    WholeForRange,
    /// The Content-Range names bytes that were not asked for.
    WrongContentRange,
    /// The total in Content-Range is wrong.
    WrongTotal,
    /// The ETag changes with each answer.
    RestlessEtag,
    /// Nothing more comes after this many bytes, and the connection stays open.
    StallAfter(u64),
    /// One byte a second.
    Trickle,
    /// A status, with headers, and a small body.
    Status(u16, Vec<(String, String)>),
    /// A status with a body.
    Body(u16, Vec<(String, String)>, Vec<u8>),
    /// The connection is closed before any answer.
    Hangup,
    /// A redirect.
    Redirect(String),
    /// An upload answered without Location, or with one elsewhere.
    Location(Option<String>),
    /// The digest header of the answer is wrong.
    WrongDigestHeader,
    /// A HEAD says that the blob is there.
    LyingHead,
    /// A body that never ends.
    Endless,
}

struct Planned {
    kind: Kind,
    method: Option<&'static str>,
    skip: u64,
    times: u64,
    fault: Fault,
}

#[derive(Default)]
struct Upload {
    bytes: Vec<u8>,
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
        });
        for (listener, elsewhere) in [(main, false), (cdn, true)] {
            let shared = Arc::clone(&shared);
            thread::spawn(move || accept(&listener, &shared, elsewhere));
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

fn accept(listener: &TcpListener, shared: &Arc<Shared>, elsewhere: bool) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let shared = Arc::clone(shared);
        thread::spawn(move || {
            let _ = stream.set_read_timeout(Some(Duration::from_secs(60)));
            let _ = stream.set_nodelay(true);
            let _ = serve(stream, &shared, elsewhere);
        });
    }
}

struct Request {
    method: String,
    path: String,
    query: BTreeMap<String, String>,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    /// The body ended before its length.
    cut: bool,
}

impl Request {
    fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Arc<Vec<u8>>,
    /// The part of `body` that is sent.
    range: std::ops::Range<usize>,
    /// Counts as blob bytes, and is slowed as the profile says.
    blob: bool,
}

impl Answer {
    fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::default(),
            range: 0..0,
            blob: false,
        }
    }

    fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Arc::new(body.into());
        self.range = 0..self.body.len();
        self
    }

    fn error(status: u16, code: &str) -> Self {
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(format!(r#"{{"errors":[{{"code":"{code}","message":"{code} here"}}]}}"#))
    }
}

fn serve(mut stream: TcpStream, shared: &Shared, elsewhere: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some(request) = read_request(&mut reader, &mut stream)? else {
            return Ok(());
        };
        if shared.stop.load(Ordering::SeqCst) {
            return Ok(());
        }
        let kind = kind_of(&request, elsewhere);
        let fault = note(shared, kind, &request);
        if matches!(fault, Some(Fault::Hangup)) {
            return stream.shutdown(Shutdown::Both);
        }
        let mut answer = match &fault {
            Some(Fault::Status(status, headers)) => with_headers(Answer::error(*status, "SCRIPTED"), headers),
            Some(Fault::Body(status, headers, body)) => with_headers(Answer::new(*status).body(body.clone()), headers),
            Some(Fault::Redirect(to)) => Answer::new(307).with("Location", to),
            Some(Fault::LyingHead) => Answer::new(200).with("Content-Length", "1"),
            _ if elsewhere => cdn(shared, &request),
            _ => route(shared, kind, &request),
        };
        match &fault {
            Some(Fault::Location(to)) => {
                answer.headers.retain(|(name, _)| name != "Location");
                if let Some(to) = to {
                    answer = answer.with("Location", to);
                }
            }
            Some(Fault::WrongDigestHeader) => {
                answer.headers.retain(|(name, _)| name != "Docker-Content-Digest");
                answer = answer.with("Docker-Content-Digest", digest_of(b"something else"));
            }
            Some(Fault::WholeForRange) if answer.status == 206 => {
                answer.status = 200;
                answer.headers.retain(|(name, _)| name != "Content-Range");
                answer.range = 0..answer.body.len();
            }
            Some(Fault::WrongContentRange) => {
                for (name, value) in &mut answer.headers {
                    if name == "Content-Range" {
                        *value = format!("bytes 1-{}/{}", answer.range.len(), answer.body.len());
                    }
                }
            }
            Some(Fault::WrongTotal) => {
                for (name, value) in &mut answer.headers {
                    if name == "Content-Range" {
                        *value = value.replace(&format!("/{}", answer.body.len()), "/7");
                    }
                }
            }
            Some(Fault::RestlessEtag) => {
                let etag = format!("\"{}\"", shared.counter.fetch_add(1, Ordering::Relaxed));
                answer.headers.retain(|(name, _)| name != "ETag");
                answer = answer.with("ETag", etag);
            }
            _ => {}
        }
        if !send(&mut stream, shared, &request, (answer, fault))? {
            return stream.shutdown(Shutdown::Both);
        }
        if request.cut {
            return Ok(());
        }
    }
}

fn with_headers(mut answer: Answer, headers: &[(String, String)]) -> Answer {
    answer.headers.extend(headers.iter().cloned());
    answer
}

/// Records the request and takes the fault planned for it.
fn note(shared: &Shared, kind: Kind, request: &Request) -> Option<Fault> {
    let mut state = shared.state.lock().unwrap();
    let query: Vec<String> = request.query.iter().map(|(k, v)| format!("{k}={v}")).collect();
    state.seen.push(Seen {
        kind,
        method: request.method.clone(),
        target: if query.is_empty() {
            request.path.clone()
        } else {
            format!("{}?{}", request.path, query.join("&"))
        },
        headers: request.headers.clone(),
        body_bytes: request.body.len() as u64,
    });
    let planned = state.plan.iter_mut().find(|planned| {
        planned.times > 0 && planned.kind == kind && planned.method.is_none_or(|method| method == request.method)
    })?;
    if planned.skip > 0 {
        planned.skip -= 1;
        return None;
    }
    planned.times -= 1;
    Some(planned.fault.clone())
}

fn read_request(reader: &mut BufReader<TcpStream>, writer: &mut TcpStream) -> std::io::Result<Option<Request>> {
    let mut line = String::new();
    if reader.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else {
        return Ok(None);
    };
    let (method, target) = (method.to_owned(), target.to_owned());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':') {
            headers.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    let (path, query) = target.split_once('?').unwrap_or((&target, ""));
    let mut request = Request {
        method,
        path: path.to_owned(),
        query: query
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .map(|(name, value)| (name.to_owned(), percent_decode(value)))
            .collect(),
        headers,
        body: Vec::new(),
        cut: false,
    };
    if request.header("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    if let Some(length) = request
        .header("content-length")
        .and_then(|text| text.parse::<u64>().ok())
    {
        let mut body = Vec::new();
        let ended = reader.by_ref().take(length).read_to_end(&mut body);
        request.cut = ended.is_err() || (body.len() as u64) < length;
        request.body = body;
    } else if request.header("transfer-encoding").is_some() {
        request.body = read_chunked(reader)?;
    }
    Ok(Some(request))
}

fn read_chunked(reader: &mut BufReader<TcpStream>) -> std::io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let length = u64::from_str_radix(line.trim(), 16).unwrap_or(0);
        reader.by_ref().take(length).read_to_end(&mut body)?;
        reader.read_line(&mut line)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn percent_decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let hex = bytes.get(at + 1..at + 3).and_then(|hex| std::str::from_utf8(hex).ok());
        match (bytes[at], hex.and_then(|hex| u8::from_str_radix(hex, 16).ok())) {
            (b'%', Some(byte)) => {
                out.push(byte);
                at += 3;
            }
            (b'+', _) => {
                out.push(b' ');
                at += 1;
            }
            (byte, _) => {
                out.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn kind_of(request: &Request, elsewhere: bool) -> Kind {
    let path = request.path.as_str();
    match path {
        _ if elsewhere => Kind::Elsewhere,
        "/v2/" => Kind::Ping,
        "/token" => Kind::Token,
        _ if path.contains("/blobs/uploads/") && request.method == "POST" => Kind::UploadStart,
        _ if path.contains("/blobs/uploads/") => Kind::Upload,
        _ if path.contains("/blobs/") => Kind::Blob,
        _ if path.contains("/manifests/") => Kind::Manifest,
        _ if path.ends_with("/tags/list") => Kind::Tags,
        _ if path.contains("/referrers/") => Kind::Referrers,
        _ => Kind::Other,
    }
}

/// Repository and last component: `/v2/a/b/manifests/x` gives `a/b` and `x`.
fn split(path: &str, marker: &str) -> Option<(String, String)> {
    let rest = path.strip_prefix("/v2/")?;
    let (repository, last) = rest.split_once(marker)?;
    Some((repository.to_owned(), last.to_owned()))
}

fn route(shared: &Shared, kind: Kind, request: &Request) -> Answer {
    if kind == Kind::Token {
        return token(shared, request);
    }
    if let Some(refusal) = check_access(shared, kind, request) {
        return refusal;
    }
    match kind {
        Kind::Ping => Answer::new(200).body("{}"),
        Kind::Manifest => manifests(shared, request),
        Kind::Blob => blobs(shared, request),
        Kind::UploadStart => upload_start(shared, request),
        Kind::Upload => upload(shared, request),
        Kind::Tags => tags(shared, request),
        Kind::Referrers => referrers(shared, request),
        _ => Answer::error(404, "NOT_FOUND"),
    }
}

fn basic(request: &Request) -> Option<(String, String)> {
    use base64::Engine as _;
    let text = request.header("authorization")?.strip_prefix("Basic ")?;
    let bytes = base64::engine::general_purpose::STANDARD.decode(text).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn check_access(shared: &Shared, kind: Kind, request: &Request) -> Option<Answer> {
    if !shared.profile.tokens {
        let account = shared.profile.account.clone()?;
        return (basic(request) != Some(account))
            .then(|| Answer::error(401, "UNAUTHORIZED").with("WWW-Authenticate", "Basic realm=\"here\""));
    }
    let marker = ["/manifests/", "/blobs/", "/tags/", "/referrers/"]
        .into_iter()
        .find(|marker| request.path.contains(marker));
    let scope = match marker.and_then(|marker| split(&request.path, marker)) {
        Some((repository, _)) if matches!(request.method.as_str(), "GET" | "HEAD") && kind != Kind::Upload => {
            format!("repository:{repository}:pull")
        }
        Some((repository, _)) if request.method == "DELETE" => format!("repository:{repository}:delete"),
        Some((repository, _)) => format!("repository:{repository}:pull,push"),
        None => String::new(),
    };
    let mut state = shared.state.lock().unwrap();
    let held = request
        .header("authorization")
        .and_then(|header| header.strip_prefix("Bearer "))
        .map(str::to_owned);
    let uses = shared.profile.token_uses.unwrap_or(u64::MAX);
    if let Some((granted, used)) = held.and_then(|token| state.tokens.get_mut(&token)) {
        let covered = scope.is_empty()
            || *granted == scope
            || (scope.ends_with(":pull") && granted.starts_with(scope.trim_end_matches("pull")));
        if covered && *used < uses {
            *used += 1;
            return None;
        }
    }
    let realm = state
        .realm
        .clone()
        .unwrap_or_else(|| format!("http://127.0.0.1:{}/token", shared.port));
    Some(Answer::error(401, "UNAUTHORIZED").with(
        "WWW-Authenticate",
        format!("Bearer realm=\"{realm}\",service=\"test.registry\",scope=\"{scope}\""),
    ))
}

fn token(shared: &Shared, request: &Request) -> Answer {
    if let Some(account) = &shared.profile.account {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        let refresh = form.contains("grant_type=refresh_token") && form.contains(&account.1);
        if basic(request).as_ref() != Some(account) && !refresh {
            return Answer::error(401, "UNAUTHORIZED");
        }
    }
    let token = format!("token-{}", shared.counter.fetch_add(1, Ordering::Relaxed));
    let scope = request.query.get("scope").cloned().or_else(|| {
        let form = String::from_utf8_lossy(&request.body).into_owned();
        form.split('&')
            .filter_map(|pair| pair.split_once('='))
            .find(|(name, _)| *name == "scope")
            .map(|(_, value)| percent_decode(value))
    });
    shared
        .state
        .lock()
        .unwrap()
        .tokens
        .insert(token.clone(), (scope.unwrap_or_default(), 0));
    Answer::new(200)
        .with("Content-Type", "application/json")
        .body(format!(r#"{{"token":"{token}","expires_in":300}}"#))
}

fn manifests(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, reference)) = split(&request.path, "/manifests/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let digest = if reference.contains(':') {
        Some(reference.clone())
    } else {
        state.tags.get(&(repository.clone(), reference.clone())).cloned()
    };
    match request.method.as_str() {
        "GET" | "HEAD" => {
            let found = digest.and_then(|digest| {
                let (media_type, bytes) = state.manifests.get(&(repository, digest.clone()))?;
                Some((digest, media_type.clone(), bytes.clone()))
            });
            match found {
                Some((digest, media_type, bytes)) => Answer::new(200)
                    .with("Content-Type", media_type)
                    .with("Docker-Content-Digest", digest)
                    .body(bytes),
                None => Answer::error(404, "MANIFEST_UNKNOWN"),
            }
        }
        "PUT" => {
            let named = named_digests(&request.body);
            let missing = named.iter().any(|digest| {
                let key = (repository.clone(), digest.clone());
                !state.blobs.contains_key(&key) && !state.manifests.contains_key(&key)
            });
            if missing {
                return Answer::error(404, "MANIFEST_BLOB_UNKNOWN");
            }
            let digest = digest_of(&request.body);
            let media_type = request.header("content-type").unwrap_or_default().to_owned();
            state
                .manifests
                .insert((repository.clone(), digest.clone()), (media_type, request.body.clone()));
            if !reference.contains(':') {
                state.tags.insert((repository.clone(), reference), digest.clone());
            }
            Answer::new(201)
                .with("Docker-Content-Digest", &digest)
                .with("Location", format!("/v2/{repository}/manifests/{digest}"))
        }
        "DELETE" if !shared.profile.no_delete => match digest {
            Some(digest) => {
                state.manifests.remove(&(repository.clone(), digest.clone()));
                state
                    .tags
                    .retain(|(name, _), tagged| *name != repository || *tagged != digest);
                Answer::new(202)
            }
            None => Answer::error(404, "MANIFEST_UNKNOWN"),
        },
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

/// The digests of config, layers and manifests, found by the text alone: a fake needs no more.
fn named_digests(body: &[u8]) -> Vec<String> {
    let Ok(serde_json::Value::Object(manifest)) = serde_json::from_slice(body) else {
        return Vec::new();
    };
    let lists = ["layers", "manifests"]
        .into_iter()
        .filter_map(|key| manifest.get(key)?.as_array());
    let mut digests: Vec<String> = lists
        .flatten()
        .chain(manifest.get("config"))
        .filter_map(|descriptor| Some(descriptor.get("digest")?.as_str()?.to_owned()))
        .collect();
    digests.dedup();
    digests
}

fn blobs(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = split(&request.path, "/blobs/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let bytes = shared
        .state
        .lock()
        .unwrap()
        .blobs
        .get(&(repository.clone(), digest.clone()))
        .cloned();
    let Some(bytes) = bytes else {
        return Answer::error(404, "BLOB_UNKNOWN");
    };
    if shared.profile.blob_redirect && request.method == "GET" {
        let to = format!(
            "http://127.0.0.1:{}/{repository}/{digest}?signature=secret",
            shared.cdn_port
        );
        return Answer::new(307).with("Location", to);
    }
    blob_answer(request, bytes).with("Docker-Content-Digest", digest)
}

fn cdn(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = request.path[1..].rsplit_once('/') else {
        return Answer::error(404, "NOT_FOUND");
    };
    // Object stores refuse a request that is signed twice.
    if request.header("authorization").is_some() {
        return Answer::error(400, "TWO_AUTHORIZATIONS");
    }
    let key = (repository.to_owned(), digest.to_owned());
    let bytes = shared.state.lock().unwrap().blobs.get(&key).cloned();
    match bytes {
        Some(bytes) => blob_answer(request, bytes),
        None => Answer::error(404, "NOT_FOUND"),
    }
}

fn blob_answer(request: &Request, bytes: Arc<Vec<u8>>) -> Answer {
    let total = bytes.len();
    let range = request.header("range").and_then(|text| {
        let (start, end) = text.strip_prefix("bytes=")?.split_once('-')?;
        let start: usize = start.parse().ok()?;
        let end = end.parse::<usize>().map_or(total, |end| (end + 1).min(total));
        Some(start..end)
    });
    let mut answer = match range {
        Some(range) if range.start >= total => return Answer::error(416, "RANGE_INVALID"),
        Some(range) => {
            let text = format!("bytes {}-{}/{total}", range.start, range.end - 1);
            let mut answer = Answer::new(206).with("Content-Range", text);
            answer.range = range;
            answer
        }
        None => {
            let mut answer = Answer::new(200);
            answer.range = 0..total;
            answer
        }
    };
    let etag = format!("\"{total}\"");
    answer.body = bytes;
    answer.blob = true;
    answer
        .with("Accept-Ranges", "bytes")
        .with("ETag", etag)
        .with("Content-Type", "application/octet-stream")
}

fn upload_start(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, _)) = split(&request.path, "/blobs/uploads/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let asked = request.query.get("mount").zip(request.query.get("from"));
    let found = asked.and_then(|(digest, from)| {
        let bytes = state.blobs.get(&(from.clone(), digest.clone()))?;
        Some((digest.clone(), Arc::clone(bytes)))
    });
    if let Some((digest, bytes)) = found.filter(|_| !shared.profile.no_mount) {
        state.blobs.insert((repository.clone(), digest.clone()), bytes);
        return Answer::new(201).with("Location", format!("/v2/{repository}/blobs/{digest}"));
    }
    let id = format!("u{}", shared.counter.fetch_add(1, Ordering::Relaxed));
    state.uploads.insert(id.clone(), Upload::default());
    Answer::new(202)
        .with("Location", format!("/v2/{repository}/blobs/uploads/{id}?_state=opaque"))
        .with("Range", "0-0")
}

fn upload(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, id)) = split(&request.path, "/blobs/uploads/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let mut state = shared.state.lock().unwrap();
    let State { uploads, blobs, .. } = &mut *state;
    let Some(upload) = uploads.get_mut(&id) else {
        return Answer::error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let location = format!("/v2/{repository}/blobs/uploads/{id}?_state=opaque");
    let status = |status: u16, held: usize| {
        Answer::new(status)
            .with("Location", &location)
            .with("Range", format!("0-{}", held.saturating_sub(1)))
    };
    match request.method.as_str() {
        "GET" => status(204, upload.bytes.len()),
        "PATCH" if shared.profile.no_patch => Answer::error(405, "UNSUPPORTED"),
        "PATCH" => {
            let start = request
                .header("content-range")
                .and_then(|text| text.split('-').next()?.parse::<usize>().ok());
            let large = shared
                .profile
                .largest_patch_bytes
                .is_some_and(|most| request.body.len() as u64 > most);
            if start.is_some_and(|start| start != upload.bytes.len() || large) {
                return status(416, upload.bytes.len());
            }
            upload.bytes.extend_from_slice(&request.body);
            status(if shared.profile.patch_created { 201 } else { 202 }, upload.bytes.len())
        }
        "PUT" => {
            upload.bytes.extend_from_slice(&request.body);
            if request.cut {
                return Answer::error(400, "CUT");
            }
            let digest = digest_of(&upload.bytes);
            if request.query.get("digest") != Some(&digest) {
                return Answer::error(400, "DIGEST_INVALID");
            }
            blobs.insert(
                (repository.clone(), digest.clone()),
                Arc::new(std::mem::take(&mut upload.bytes)),
            );
            uploads.remove(&id);
            Answer::new(201)
                .with("Docker-Content-Digest", &digest)
                .with("Location", format!("/v2/{repository}/blobs/{digest}"))
        }
        "DELETE" => {
            uploads.remove(&id);
            Answer::new(204)
        }
        _ => Answer::error(405, "UNSUPPORTED"),
    }
}

fn tags(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, _)) = split(&request.path, "/tags/list") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    let state = shared.state.lock().unwrap();
    let most: usize = request.query.get("n").and_then(|n| n.parse().ok()).unwrap_or(100);
    let last = request.query.get("last").cloned().unwrap_or_default();
    let names: Vec<&str> = state
        .tags
        .keys()
        .filter(|(name, tag)| *name == repository && *tag > last)
        .map(|(_, tag)| tag.as_str())
        .collect();
    if names.is_empty() && last.is_empty() {
        return Answer::error(404, "NAME_UNKNOWN");
    }
    let page = &names[..names.len().min(most)];
    let answer = Answer::new(200)
        .with("Content-Type", "application/json")
        .body(serde_json::json!({"name": repository, "tags": page}).to_string());
    match page.last() {
        Some(tag) if page.len() < names.len() => answer.with(
            "Link",
            format!("</v2/{repository}/tags/list?n={most}&last={tag}>; rel=\"next\""),
        ),
        _ => answer,
    }
}

fn referrers(shared: &Shared, request: &Request) -> Answer {
    let Some((repository, digest)) = split(&request.path, "/referrers/") else {
        return Answer::error(404, "NAME_UNKNOWN");
    };
    if !shared.profile.referrers {
        return Answer::error(404, "NOT_FOUND");
    }
    let state = shared.state.lock().unwrap();
    let found: Vec<serde_json::Value> = state
        .manifests
        .iter()
        .filter(|((name, _), _)| *name == repository)
        .filter_map(|((_, own), (media_type, bytes))| {
            let manifest: serde_json::Value = serde_json::from_slice(bytes).ok()?;
            (manifest.get("subject")?.get("digest")?.as_str()? == digest).then(|| {
                serde_json::json!({"mediaType": media_type, "digest": own, "size": bytes.len(),
                    "artifactType": manifest.get("artifactType")})
            })
        })
        .collect();
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": found});
    Answer::new(200)
        .with("Content-Type", "application/vnd.oci.image.index.v1+json")
        .body(index.to_string())
}

/// Writes the answer with its fault; false when the connection is to be closed.
fn send(
    stream: &mut TcpStream,
    shared: &Shared,
    request: &Request,
    (answer, fault): (Answer, Option<Fault>),
) -> std::io::Result<bool> {
    let mut body = std::borrow::Cow::Borrowed(&answer.body[answer.range.clone()]);
    match fault {
        Some(Fault::ShortBy(by)) => {
            let keep = body.len().saturating_sub(by as usize);
            body.to_mut().truncate(keep);
        }
        Some(Fault::LongBy(by)) => body.to_mut().extend(std::iter::repeat_n(7, by as usize)),
        Some(Fault::FlipAt(at)) if (at as usize) < body.len() => body.to_mut()[at as usize] ^= 1,
        _ => {}
    }
    let mut head = format!("HTTP/1.1 {} Answer\r\n", answer.status);
    for (name, value) in &answer.headers {
        write!(head, "{name}: {value}\r\n").unwrap();
    }
    if matches!(fault, Some(Fault::Endless)) {
        head.push_str("Transfer-Encoding: chunked\r\n");
    } else if !answer.headers.iter().any(|(name, _)| name == "Content-Length") && answer.status != 204 {
        write!(head, "Content-Length: {}\r\n", body.len()).unwrap();
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes())?;
    if request.method == "HEAD" {
        return Ok(true);
    }
    if matches!(fault, Some(Fault::Endless)) {
        while !shared.stop.load(Ordering::SeqCst) {
            stream.write_all(b"1000\r\n")?;
            stream.write_all(&[b' '; 0x1000])?;
            stream.write_all(b"\r\n")?;
        }
        return Ok(false);
    }
    let limit = match fault {
        Some(Fault::CutAfter(after) | Fault::StallAfter(after)) => body.len().min(after as usize),
        Some(Fault::Trickle) => 0,
        _ => body.len(),
    };
    send_paced(stream, shared, &body[..limit], answer.blob)?;
    match fault {
        Some(Fault::CutAfter(_)) => Ok(false),
        Some(Fault::StallAfter(_)) => {
            hold_open(stream, shared);
            Ok(false)
        }
        Some(Fault::Trickle) => {
            for byte in body.iter() {
                stream.write_all(&[*byte])?;
                thread::sleep(Duration::from_secs(1));
                if shared.stop.load(Ordering::SeqCst) {
                    break;
                }
            }
            Ok(false)
        }
        _ => Ok(true),
    }
}

fn send_paced(stream: &mut TcpStream, shared: &Shared, body: &[u8], blob: bool) -> std::io::Result<()> {
    let started = Instant::now();
    let mut sent = 0u64;
    for chunk in body.chunks(64 << 10) {
        stream.write_all(chunk)?;
        sent += chunk.len() as u64;
        if blob {
            shared.blob_bytes_sent.fetch_add(chunk.len() as u64, Ordering::Relaxed);
            if let Some(rate) = shared.profile.bytes_per_second {
                let due = Duration::from_secs_f64(sent as f64 / rate as f64);
                thread::sleep(due.saturating_sub(started.elapsed()));
            }
        }
    }
    Ok(())
}

/// Waits until the client gives up, for at most a minute.
fn hold_open(stream: &mut TcpStream, shared: &Shared) {
    let _ = stream.set_read_timeout(Some(Duration::from_millis(200)));
    for _ in 0..300 {
        let mut byte = [0];
        match stream.read(&mut byte) {
            Ok(0) => return,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == std::io::ErrorKind::TimedOut => {}
            _ => return,
        }
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
    }
}
