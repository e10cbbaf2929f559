//! Connections, and which part of the registry answers what.

use std::{
    io::BufReader,
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, atomic::Ordering},
    thread,
    time::Duration,
};

use super::{
    Fault, Kind, Seen, Shared,
    access::{check_access, token},
    content::{blobs, cdn, manifests, referrers, tags},
    digest_of,
    uploads::{upload, upload_start},
    wire::{Answer, Request, read_body, read_head, send},
};

/// Counts a request for as long as it is answered.
struct Busy<'a>(&'a Shared);

impl<'a> Busy<'a> {
    fn new(shared: &'a Shared) -> Self {
        shared.busy.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(super) fn accept(listener: &TcpListener, shared: &Arc<Shared>, elsewhere: bool) {
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

fn serve(mut stream: TcpStream, shared: &Shared, elsewhere: bool) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let Some(mut request) = read_head(&mut reader)? else {
            return Ok(());
        };
        let _busy = Busy::new(shared);
        read_body(&mut reader, &mut stream, (shared, &mut request))?;
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
        if request.dropped {
            return stream.shutdown(Shutdown::Both);
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
        at: std::time::Instant::now(),
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
pub(super) fn split(path: &str, marker: &str) -> Option<(String, String)> {
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
