//! nginx before a registry, with certificates of an authority of the tests' own.

use std::{
    fs,
    net::{TcpListener, TcpStream},
    path::Path,
    process::{Child, Command, Stdio},
};

use super::{artifacts::until, deps::program};

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

/// Makes an authority, `ca`, and certificates of it: `good`, `expired` and for `other` hosts, and for a `client`; and a
/// `stranger` that nobody vouches for. The keys are `server.key`, `client.key` and `stranger.key`.
pub fn certificates(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for (name, file) in [("authority", "ca"), ("stranger", "stranger")] {
        openssl(
            folder,
            &format!(
                "req -x509 {key} -keyout {file}.key -out {file}.pem -days 2 -subj /CN={name} -addext \
                 basicConstraints=critical,CA:TRUE"
            ),
        );
    }
    for name in ["server", "client"] {
        openssl(
            folder,
            &format!("req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"),
        );
    }
    for (name, request, days, host) in [
        ("good", "server", 2, "IP:127.0.0.1"),
        ("expired", "server", -1, "IP:127.0.0.1"),
        ("other", "server", 2, "DNS:example.com"),
        ("client", "client", 2, "DNS:client.example"),
    ] {
        let extensions = format!("subjectAltName={host}\nbasicConstraints=CA:FALSE\n");
        fs::write(folder.join("extensions"), extensions).unwrap();
        openssl(
            folder,
            &format!(
                "x509 -req -in {request}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days {days} -extfile extensions \
                 -out {name}.pem"
            ),
        );
    }
}

pub struct Nginx {
    child: Child,
    port: u16,
}

impl Nginx {
    /// Ends TLS before `backend`, and lets no body of more than a megabyte through.
    pub fn start(folder: &Path, certificate: &str, backend: &str) -> Self {
        Self::with(folder, (certificate, backend), "")
    }

    /// Starts with more directives for the server.
    pub fn with(folder: &Path, (certificate, backend): (&str, &str), more: &str) -> Self {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let root = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {root}/pid; error_log {root}/error.log;\n\
             events {{}}\n\
             http {{ access_log off; client_body_temp_path {root}/body; proxy_temp_path {root}/proxy;\n\
             fastcgi_temp_path {root}/f; uwsgi_temp_path {root}/u; scgi_temp_path {root}/s;\n\
             server {{ listen 127.0.0.1:{port} ssl; client_max_body_size 1m; {more}\n\
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
        let nginx = Self { child, port };
        until(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        nginx
    }

    pub fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
