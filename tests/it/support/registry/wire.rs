//! HTTP as it is on the wire, with what can go wrong there.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    sync::{Arc, atomic::Ordering},
    thread,
    time::{Duration, Instant},
};

use super::{Fault, Shared};

pub(super) struct Request {
    pub method: String,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// The body ended before its length.
    pub cut: bool,
    /// The profile had the connection dropped in the middle of the body.
    pub dropped: bool,
}

impl Request {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

pub(super) struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Arc<Vec<u8>>,
    /// The part of `body` that is sent.
    pub range: std::ops::Range<usize>,
    /// Counts as blob bytes, and is slowed as the profile says.
    pub blob: bool,
}

impl Answer {
    pub fn new(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Arc::default(),
            range: 0..0,
            blob: false,
        }
    }

    pub fn with(mut self, name: &str, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    pub fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Arc::new(body.into());
        self.range = 0..self.body.len();
        self
    }

    pub fn error(status: u16, code: &str) -> Self {
        Self::new(status)
            .with("Content-Type", "application/json")
            .body(format!(r#"{{"errors":[{{"code":"{code}","message":"{code} here"}}]}}"#))
    }
}

pub(super) fn read_head(reader: &mut BufReader<TcpStream>) -> std::io::Result<Option<Request>> {
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
    Ok(Some(Request {
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
        dropped: false,
    }))
}

/// Reads the body, as fast as the profile has it.
pub(super) fn read_body(
    reader: &mut BufReader<TcpStream>,
    writer: &mut TcpStream,
    (shared, request): (&Shared, &mut Request),
) -> std::io::Result<()> {
    if request.header("expect").is_some() {
        writer.write_all(b"HTTP/1.1 100 Continue\r\n\r\n")?;
    }
    let length = request
        .header("content-length")
        .and_then(|text| text.parse::<u64>().ok());
    let Some(length) = length else {
        if request.header("transfer-encoding").is_some() {
            request.body = read_chunked(reader)?;
        }
        return Ok(());
    };
    let counts = request.path.contains("/blobs/uploads/");
    let most = shared.profile.drops_after_bytes.filter(|_| counts).unwrap_or(u64::MAX);
    let started = Instant::now();
    let mut chunk = vec![0; 64 << 10];
    while (request.body.len() as u64) < length {
        let left = usize::try_from(length).unwrap() - request.body.len();
        let wanted = left.min(chunk.len());
        let Ok(read @ 1..) = reader.read(&mut chunk[..wanted]) else {
            request.cut = true;
            break;
        };
        request.body.extend_from_slice(&chunk[..read]);
        if counts {
            shared.upload_bytes_read.fetch_add(read as u64, Ordering::Relaxed);
            pace(shared, request.body.len() as u64, started);
        }
        if request.body.len() as u64 > most {
            (request.cut, request.dropped) = (true, true);
            break;
        }
    }
    Ok(())
}

/// Sleeps until so many bytes are due.
fn pace(shared: &Shared, bytes: u64, started: Instant) {
    if let Some(rate) = shared.profile.bytes_per_second {
        let due = Duration::from_secs_f64(bytes as f64 / rate as f64);
        thread::sleep(due.saturating_sub(started.elapsed()));
    }
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

pub(super) fn percent_decode(text: &str) -> String {
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

/// Writes the answer with its fault; false when the connection is to be closed.
pub(super) fn send(
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
    let software = shared
        .profile
        .software
        .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for (name, value) in answer.headers.iter().chain(&software) {
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
            pace(shared, sent, started);
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
