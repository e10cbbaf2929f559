//! A forward proxy on loopback that writes down where it was asked to go.

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    /// The one name that only the proxy can resolve: to this machine.
    name: String,
    seen: Mutex<Vec<Asked>>,
    stop: AtomicBool,
}

/// One request: its first line, and who asks.
#[derive(Clone, Debug)]
pub struct Asked {
    pub line: String,
    pub authorization: Option<String>,
}

impl Proxy {
    /// Starts a proxy that knows loopback addresses and `name`, which is this machine too.
    pub fn start(name: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            name: name.to_owned(),
            seen: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if accepting.stop.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                let shared = Arc::clone(&accepting);
                thread::spawn(move || serve(&stream, &shared));
            }
        });
        Self { port, shared }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn address(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What it was asked since the last call.
    pub fn take_seen(&self) -> Vec<Asked> {
        std::mem::take(&mut self.shared.seen.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

fn serve(client: &TcpStream, shared: &Shared) -> Option<()> {
    let mut reader = BufReader::new(client.try_clone().ok()?);
    let mut upstream: Option<TcpStream> = None;
    loop {
        let head = read_head(&mut reader)?;
        let mut words = head[0].split(' ');
        let (method, target) = (words.next()?.to_owned(), words.next()?.to_owned());
        shared.seen.lock().unwrap().push(Asked {
            line: head[0].clone(),
            authorization: header(&head, "proxy-authorization"),
        });
        if method == "CONNECT" {
            let server = connect(&target, shared)?;
            let mut answering = client;
            answering.write_all(b"HTTP/1.1 200 Connected\r\n\r\n").ok()?;
            let (from, to) = (server.try_clone().ok()?, client.try_clone().ok()?);
            thread::spawn(move || pour(from, &to));
            pour(reader, &server);
            return None;
        }
        let rest = target.strip_prefix("http://")?;
        let (authority, path) = rest.split_once('/')?;
        if upstream.is_none() {
            let server = connect(authority, shared)?;
            let (from, to) = (server.try_clone().ok()?, client.try_clone().ok()?);
            thread::spawn(move || pour(from, &to));
            upstream = Some(server);
        }
        let server = upstream.as_mut()?;
        let mut text = format!("{method} /{path} HTTP/1.1\r\n");
        for line in &head[1..] {
            if !line.to_lowercase().starts_with("proxy-") {
                text.push_str(line);
                text.push_str("\r\n");
            }
        }
        server.write_all(format!("{text}\r\n").as_bytes()).ok()?;
        let length = header(&head, "content-length")
            .and_then(|text| text.parse().ok())
            .unwrap_or(0);
        std::io::copy(&mut reader.by_ref().take(length), server).ok()?;
    }
}

fn read_head(reader: &mut BufReader<TcpStream>) -> Option<Vec<String>> {
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        let line = line.trim_end().to_owned();
        if line.is_empty() {
            return (!head.is_empty()).then_some(head);
        }
        head.push(line);
    }
}

fn header(head: &[String], name: &str) -> Option<String> {
    let mut fields = head[1..].iter().filter_map(|line| line.split_once(':'));
    let (_, value) = fields.find(|(field, _)| field.eq_ignore_ascii_case(name))?;
    Some(value.trim().to_owned())
}

fn connect(authority: &str, shared: &Shared) -> Option<TcpStream> {
    let (host, port) = authority.rsplit_once(':').unwrap_or((authority, "80"));
    if host != "127.0.0.1" && host != shared.name {
        return None;
    }
    TcpStream::connect(("127.0.0.1", port.parse().ok()?)).ok()
}

/// Passes bytes on until there are no more.
fn pour(mut from: impl Read, to: &TcpStream) {
    let mut target = to;
    let _ = std::io::copy(&mut from, &mut target);
    let _ = to.shutdown(Shutdown::Write);
}
