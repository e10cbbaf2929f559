//! The distribution project's own registry, as Debian packages it, on a free loopback port.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use super::deps::program;

pub struct Distribution {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Distribution {
    pub fn start() -> Self {
        Self::with("")
    }

    /// Starts with more configuration: top-level YAML.
    pub fn with(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The port is free now and somebody else may take it first; then the next one is tried.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let config = format!(
                "version: 0.1\nlog: {{level: error, accesslog: {{disabled: true}}}}\n\
                 storage: {{filesystem: {{rootdirectory: '{root}'}}, delete: {{enabled: true}}}}\n\
                 http:\n  addr: 127.0.0.1:{port}\n{more}",
                root = folder.path().join("data").display()
            );
            let file = folder.path().join("config.yml");
            fs::write(&file, config).unwrap();
            let log = fs::File::create(folder.path().join("log")).unwrap();
            let mut child = Command::new(program("docker-registry"))
                .arg("serve")
                .arg(&file)
                .stdin(Stdio::null())
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .unwrap();
            if listens(port, &mut child) {
                return Self { child, port, folder };
            }
            let _ = child.kill();
            let _ = child.wait();
        }
        panic!(
            "docker-registry does not start: {}",
            fs::read_to_string(folder.path().join("log")).unwrap()
        );
    }

    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    /// Where its blobs lie, to break them.
    pub fn data(&self) -> std::path::PathBuf {
        self.folder.path().join("data")
    }

    /// The file of a blob.
    pub fn blob_file(&self, digest: &str) -> std::path::PathBuf {
        let hex = digest.strip_prefix("sha256:").unwrap();
        let blobs = Path::new("docker/registry/v2/blobs/sha256").join(&hex[..2]).join(hex);
        self.data().join(blobs).join("data")
    }
}

fn listens(port: u16, child: &mut Child) -> bool {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(20) {
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        if TcpStream::connect(("127.0.0.1", port)).is_ok() {
            return true;
        }
        thread::sleep(Duration::from_millis(20));
    }
    false
}

impl Drop for Distribution {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
