//! TLS with an authority of the tests' own, by nginx before the in-process registry.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crate::support::{
    Answer, Gpux,
    artifacts::{noise, serve_artifact, store_artifact},
    deps::program,
    registry::{Fault, Kind, Profile, Registry},
};

fn openssl(folder: &Path, command: &str) {
    let output = Command::new(program("openssl"))
        .args(command.split(' '))
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "{command}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Makes an authority, and certificates of it that are good, expired and for another host.
fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(
        folder,
        &format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=authority -addext basicConstraints=critical,CA:TRUE"
        ),
    );
    openssl(
        folder,
        &format!("req {key} -keyout server.key -out server.csr -subj /CN=server"),
    );
    for (name, days, host) in [
        ("good", 2, "IP:127.0.0.1"),
        ("expired", -1, "IP:127.0.0.1"),
        ("other", 2, "DNS:example.com"),
    ] {
        fs::write(
            folder.join("extensions"),
            format!("subjectAltName={host}\nbasicConstraints=CA:FALSE\n"),
        )
        .unwrap();
        openssl(
            folder,
            &format!(
                "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile extensions -out {name}.pem"
            ),
        );
    }
}

struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// Ends TLS before `backend`, and lets no body of more than a megabyte through.
    fn start(folder: &Path, certificate: &str, backend: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen 127.0.0.1:{port} ssl; client_max_body_size 1m;\n\
             ssl_certificate {root}/{certificate}.pem; ssl_certificate_key {root}/server.key;\n\
             location / {{ proxy_pass http://{backend}; proxy_http_version 1.1; proxy_redirect off;\n\
             proxy_set_header Host $http_host; }} }} }}\n"
        );
        let file = folder.join(format!("{certificate}.conf"));
        fs::write(&file, config).unwrap();
        let child = Command::new(program("nginx"))
            .arg("-p")
            .arg(folder)
            .arg("-c")
            .arg(&file)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(started.elapsed() < Duration::from_secs(20), "nginx does not start");
            thread::sleep(Duration::from_millis(20));
        }
        Self { child, port }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn refused(answer: &Answer, words: &str) {
    assert_eq!(answer.code, Some(5), "{answer:?}");
    assert!(answer.stderr.contains(words), "{answer:?}");
}

#[test]
fn certificates_are_held_against_authority_host_and_date() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let registry = Registry::start(Profile::honest());
    serve_artifact(&registry, "a", "1", &[("model.onnx", b"graph")]);
    let gpux = Gpux::new();
    let authority = folder.path().join("ca.pem").display().to_string();
    let key = folder.path().join("server.key").display().to_string();
    let cases = [("good", ""), ("expired", "xpired"), ("other", "not valid for name")];
    for (certificate, words) in cases {
        let nginx = Nginx::start(folder.path(), certificate, &registry.host());
        let name = format!("127.0.0.1:{}/a:1", nginx.port);
        let trusting = gpux.run(["tags", "--ca", &authority, &name]);
        if words.is_empty() {
            assert_eq!(
                (trusting.code, trusting.stdout.as_str()),
                (Some(0), "1\n"),
                "{trusting:?}"
            );
            let unknown = Gpux::new().run([
                "tags",
                "--cert",
                &authority,
                "--key",
                &folder.path().join("ca.key").display().to_string(),
                &name,
            ]);
            refused(&unknown, "UnknownIssuer");
            let empty = gpux.run(["tags", "--ca", &key, &name]);
            assert!(empty.stderr.contains("no certificate"), "{empty:?}");
        } else {
            refused(&trusting, words);
        }
        assert_eq!(
            gpux.run(["tags", "--tls-skip-verify", &name]).code,
            Some(0),
            "{certificate}"
        );
    }
}

#[test]
fn a_proxy_that_leads_from_https_to_http_is_refused_and_one_that_bounds_bodies_is_sent_chunks() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let registry = Registry::start(Profile::honest());
    serve_artifact(&registry, "a", "1", &[("model.onnx", b"graph")]);
    let nginx = Nginx::start(folder.path(), "good", &registry.host());
    let authority = folder.path().join("ca.pem").display().to_string();
    let gpux = Gpux::new();
    let name = format!("127.0.0.1:{}/a:1", nginx.port);
    registry.fault(
        Kind::Blob,
        "GET",
        9,
        Fault::Redirect(format!("http://{}/a/x", registry.elsewhere())),
    );
    refused(
        &gpux.run(["pull", "--ca", &authority, &name]),
        "from https to something weaker",
    );
    assert_eq!(registry.count(Kind::Elsewhere, "GET"), 0);
    registry.behave();
    gpux.ok(["pull", "--ca", &authority, &name]);

    let large = format!("127.0.0.1:{}/large:1", nginx.port);
    let store = gpux::store::Store::open(gpux.home()).unwrap();
    store_artifact(&store, &large, &[("weights", &noise(1, 3 << 20))]);
    // A megabyte is what nginx lets through unless told otherwise.
    gpux.ok(["push", "--ca", &authority, &large]);
    assert!(registry.manifest("large", "1").is_some());
    let memory = gpux
        .home()
        .join(format!("cache/registry-127.0.0.1_{}.json", nginx.port));
    assert!(fs::read_to_string(memory).unwrap().contains("1048576"));
}
