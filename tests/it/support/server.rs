//! `gpux serve`, on free loopback ports, and a client of HTTP/1.1 that does what it is told.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::Gpux;

/// Is a server that runs until it is dropped.
pub struct Server {
    child: Child,
    pub http: SocketAddr,
    pub grpc: SocketAddr,
    pub metrics: SocketAddr,
    /// What it told, so far.
    pub told: Arc<Mutex<String>>,
}

/// Is what a server answered.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: Vec<u8>,
}

const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// Starts a server and waits until every model is ready.
    pub fn start(gpux: &Gpux, arguments: &[&str]) -> Server {
        let server = Server::start_only(gpux, arguments);
        server.wait_until_ready();
        server
    }

    /// Waits until every model is ready.
    pub fn wait_until_ready(&self) {
        let until = Instant::now() + PATIENCE;
        while self.get("/v2/health/ready").status != 200 {
            assert!(Instant::now() < until, "not ready: {}", self.told.lock().unwrap());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Starts a server that takes its models as they are, and waits until it listens.
    pub fn start_only(gpux: &Gpux, arguments: &[&str]) -> Server {
        // Most tests are about other things than how fast a model could be run.
        Server::start_tuning(gpux, &[&["--no-tune"], arguments].concat())
    }

    /// Starts a server that tunes its models first, and waits until it listens.
    pub fn start_tuning(gpux: &Gpux, arguments: &[&str]) -> Server {
        let all = ["serve", "--port", "0", "--grpc-port", "0", "--metrics-port", "0"]
            .iter()
            .chain(arguments);
        let mut command = gpux.command(all);
        command.stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let mut address = |prefix: &str| {
            let mut seen = String::new();
            for line in lines.by_ref().map_while(Result::ok) {
                if let Some(address) = line.strip_prefix(prefix) {
                    let address = address.trim_start_matches("http://").trim_start_matches("https://");
                    return address.trim_end_matches("/metrics").parse::<SocketAddr>().unwrap();
                }
                seen.push_str(&line);
                seen.push('\n');
            }
            panic!("the server did not start: {seen}");
        };
        let http = address("serving on ");
        let grpc = address("gRPC on ");
        let metrics = address("metrics on ");
        let told = Arc::new(Mutex::new(String::new()));
        let heard = Arc::clone(&told);
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                let mut told = heard.lock().unwrap();
                told.push_str(&line);
                told.push('\n');
            }
        });
        Server {
            child,
            http,
            grpc,
            metrics,
            told,
        }
    }

    /// Waits until the server has told something.
    #[track_caller]
    pub fn hear(&self, words: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.told.lock().unwrap().contains(words) {
            assert!(
                Instant::now() < until,
                "`{words}` is not in: {}",
                self.told.lock().unwrap()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn url(&self) -> String {
        self.http.to_string()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The process ids of its workers.
    pub fn workers(&self) -> Vec<u32> {
        let path = format!("/proc/{0}/task/{0}/children", self.id());
        let mut found: Vec<u32> = Vec::new();
        // Each thread has children of its own.
        for task in std::fs::read_dir(format!("/proc/{}/task", self.id())).unwrap() {
            let children = std::fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default();
            found.extend(children.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
        }
        assert!(
            std::path::Path::new(&path).exists(),
            "the kernel does not tell children"
        );
        found
    }

    pub fn get(&self, path: &str) -> Response {
        self.request("GET", path, &[], b"")
    }

    pub fn post(&self, path: &str, body: &[u8]) -> Response {
        self.request("POST", path, &[], body)
    }

    /// Sends one request on a connection of its own.
    pub fn request(&self, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Response {
        request(self.http, method, path, headers, body)
    }

    /// Asks the server to end and waits until it has.
    pub fn stop(self) -> ExitStatus {
        signal(self.id(), "TERM");
        self.wait()
    }

    /// Waits until the server has ended.
    pub fn wait(mut self) -> ExitStatus {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(Instant::now() < until, "the server does not end");
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Sends a signal to a process that a test started.
pub fn signal(id: u32, name: &str) {
    let id = rustix::process::Pid::from_raw(id as i32).unwrap();
    let signal = match name {
        "TERM" => rustix::process::Signal::TERM,
        "HUP" => rustix::process::Signal::HUP,
        "KILL" => rustix::process::Signal::KILL,
        other => panic!("{other}"),
    };
    let _ = rustix::process::kill_process(id, signal);
}

pub fn request(to: SocketAddr, method: &str, path: &str, headers: &[&str], body: &[u8]) -> Response {
    let mut stream = connect(to);
    let mut head = format!(
        "{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n",
        body.len()
    );
    if !headers
        .iter()
        .any(|header| header.to_ascii_lowercase().starts_with("host:"))
    {
        head.push_str(&format!("Host: {to}\r\n"));
    }
    for header in headers {
        head.push_str(header);
        head.push_str("\r\n");
    }
    head.push_str("\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    // A server may answer before it has read everything.
    let _ = stream.write_all(body);
    read(&mut stream)
}

pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(to).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_write_timeout(Some(PATIENCE)).unwrap();
    stream
}

/// Reads an answer up to the end of the connection; what is no answer has status 0.
pub fn read(stream: &mut TcpStream) -> Response {
    read_from(stream)
}

/// Reads an answer as [`read`] does, from whatever carries it.
pub fn read_from(stream: &mut impl Read) -> Response {
    let mut whole = Vec::new();
    // A reset behind the answer takes nothing of it away.
    let _ = stream.read_to_end(&mut whole);
    let Some(end) = whole.windows(4).position(|window| window == b"\r\n\r\n") else {
        return Response {
            status: 0,
            head: String::from_utf8_lossy(&whole).into_owned(),
            body: Vec::new(),
        };
    };
    let head = String::from_utf8_lossy(&whole[..end]).to_lowercase();
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Response {
        status,
        head,
        body: whole[end + 4..].to_vec(),
    }
}

impl Response {
    #[track_caller]
    pub fn json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {} {text}", self.status))
    }

    /// The message of a refusal.
    #[track_caller]
    pub fn error(&self) -> String {
        self.json()["error"]
            .as_str()
            .unwrap_or_else(|| panic!("{self:?}"))
            .to_owned()
    }
}
