//! Who may call `gpux serve`: tokens, tenants, limits, TLS, and where it listens.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::nginx::certificates;
use crate::support::server::{Response, Server, connect, read_from, request, signal};
use crate::support::{Gpux, deps, graph};

const MLP: &str = "mlp=fixtures/mlp/model.onnx";
const DIGITS: &str = "fixtures/digits";
const INFER: &str = "/v2/models/mlp/infer";

fn body() -> Vec<u8> {
    let input = json!({"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0, 0, 0, 0]});
    json!({"inputs": [input]}).to_string().into_bytes()
}

/// Makes a token of a tenant.
fn token(gpux: &Gpux, tenant: &str, more: &[&str]) -> String {
    let arguments = [&["serve", "token", "create", "--tenant", tenant], more].concat();
    gpux.ok(arguments).trim().to_owned()
}

fn bearer(token: &str) -> String {
    format!("Authorization: Bearer {token}")
}

fn ask(server: &Server, token: &str, path: &str) -> Response {
    server.request("GET", path, &[&bearer(token)], b"")
}

fn infer(server: &Server, token: &str) -> Response {
    server.request("POST", INFER, &[&bearer(token)], &body())
}

#[test]
fn a_token_is_shown_once_and_its_hash_alone_is_kept() {
    let gpux = Gpux::new();
    let one = token(
        &gpux,
        "acme",
        &["--models", "resnet*", "mlp", "--rate", "5/s", "--concurrency", "2"],
    );
    let made = gpux.json([
        "serve",
        "token",
        "create",
        "--tenant",
        "b",
        "--admin",
        "--expires",
        "90d",
        "--json",
    ]);
    let file = gpux.home().join("serve/tokens.json");
    let kept = fs::read_to_string(&file).unwrap();
    for secret in [one.as_str(), made["token"].as_str().unwrap()] {
        assert!(secret.starts_with("gpux_") && secret.len() == 57, "{secret}");
        assert!(!kept.contains(&secret[14..]), "{kept}");
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let listed = gpux.json(["serve", "token", "list", "--json"]);
    assert_eq!(listed[0]["id"].as_str(), Some(&one[5..13]));
    assert_eq!(listed[0]["models"], json!(["resnet*", "mlp"]));
    assert_eq!(
        (&listed[0]["rate"], &listed[0]["concurrency"]),
        (&json!(5.0), &json!(2))
    );
    assert_eq!((&listed[1]["admin"], &listed[1]["tenant"]), (&json!(true), &json!("b")));
    assert!(!listed.to_string().contains("sha256"), "{listed}");
    let table = gpux.ok(["serve", "token", "list"]);
    assert!(table.contains("acme") && table.contains("resnet* mlp"), "{table}");
    gpux.ok(["serve", "token", "revoke", &one[5..13]]);
    assert_eq!(
        gpux.json(["serve", "token", "list", "--json"])
            .as_array()
            .unwrap()
            .len(),
        1
    );
    let again = gpux.run(["serve", "token", "revoke", &one[5..13]]);
    assert_eq!(again.code, Some(3), "{again:?}");
}

#[test]
fn what_makes_no_sense_of_a_token_is_refused_and_nothing_is_kept() {
    let gpux = Gpux::new();
    for wrong in [
        &["--tenant", "a b"][..],
        &["--tenant", "a\n"],
        &["--tenant", ""],
        &["--tenant", "a", "--rate", "0"],
        &["--tenant", "a", "--rate", "NaN"],
        &["--tenant", "a", "--concurrency", "0"],
        &["--tenant", "a", "--models", "a[b"],
        &["--tenant", "a", "--expires", "never"],
    ] {
        let answer = gpux.run([&["serve", "token", "create"], wrong].concat());
        assert_eq!(answer.code, Some(2), "{wrong:?}: {answer:?}");
        assert_eq!(answer.stdout, "");
    }
    assert!(!gpux.home().join("serve/tokens.json").exists());
}

#[test]
fn tokens_made_at_once_are_all_kept() {
    let gpux = Gpux::new();
    thread::scope(|scope| {
        for at in 0..8 {
            let gpux = &gpux;
            scope.spawn(move || token(gpux, &format!("t{at}"), &[]));
        }
    });
    assert_eq!(
        gpux.json(["serve", "token", "list", "--json"])
            .as_array()
            .unwrap()
            .len(),
        8
    );
}

#[test]
fn a_file_of_tokens_that_is_broken_or_open_to_others_serves_nobody() {
    let gpux = Gpux::new();
    token(&gpux, "a", &[]);
    let file = gpux.home().join("serve/tokens.json");
    let good = fs::read_to_string(&file).unwrap();
    let refused = |words: &str| {
        let answer = gpux.run(["serve", DIGITS]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
    };
    for (wrong, words) in [
        ("", "is not a file of tokens"),
        ("[]", "is not a file of tokens"),
        (r#"{"version": 2, "tokens": []}"#, "version 2"),
        (
            &good
                .replace("\"rate\"", "\"speed\"")
                .replace("\"admin\": false", "\"admin\": 1"),
            "is not a file of tokens",
        ),
        (
            &good.replace("\"tenant\": \"a\"", "\"tenant\": \"\\u001b[31m\""),
            "makes no sense",
        ),
    ] {
        fs::write(&file, wrong).unwrap();
        refused(words);
    }
    fs::write(&file, &good).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        refused("can be written by others");
    }
    let missing = gpux.run(["serve", DIGITS, "--tokens", "nowhere.json"]);
    assert_eq!(missing.code, Some(3), "{missing:?}");
    assert!(
        missing
            .stderr
            .contains("gpux serve token create --tenant NAME --tokens nowhere.json"),
        "{missing:?}"
    );
}

#[test]
fn without_a_good_token_there_is_health_and_nothing_else() {
    let gpux = Gpux::new();
    let good = token(&gpux, "acme", &[]);
    let over = token(&gpux, "acme", &["--expires", "1ms"]);
    let revoked = token(&gpux, "acme", &[]);
    gpux.ok(["serve", "token", "revoke", &revoked[5..13]]);
    let server = Server::start(&gpux, &[MLP]);
    for path in ["/healthz", "/readyz", "/v2/health/live", "/v2/health/ready"] {
        assert_eq!(server.get(path).status, 200, "{path}");
    }
    let other = format!("{}{}", &good[..14], &revoked[14..]);
    let twice = format!("{}\r\n{}", bearer(&good), bearer(&good));
    let cases = [
        (String::new(), "a token is needed"),
        ("Authorization: Basic YTpi".into(), "a token is needed"),
        (bearer("gpux"), "not one of this server's"),
        (bearer(&other), "not one of this server's"),
        (bearer(&revoked), "not one of this server's"),
        (bearer(&over), "has expired"),
        (twice, "not one of this server's"),
    ];
    for (header, words) in &cases {
        let headers: &[&str] = if header.is_empty() { &[] } else { &[header] };
        for (method, path) in [
            ("GET", "/v2"),
            ("POST", INFER),
            ("GET", "/v2/models/mlp"),
            ("GET", "/nothing"),
            ("GET", "//healthz"),
        ] {
            let answer = server.request(method, path, headers, b"");
            assert_eq!(answer.status, 401, "{path}: {answer:?}");
            assert!(
                answer.head.contains("www-authenticate: bearer realm=\"gpux\""),
                "{answer:?}"
            );
            assert!(answer.error().contains(words), "{header}: {answer:?}");
        }
        assert_eq!(request(server.metrics, "GET", "/metrics", headers, b"").status, 401);
    }
    assert_eq!(infer(&server, &good).status, 200);
    assert_eq!(
        server
            .request("GET", "/v2", &[&format!("authorization: bearer {good}")], b"")
            .status,
        200
    );
    // Nobody's token is anywhere in what the server told.
    let told = server.told.lock().unwrap().clone();
    for secret in [&good, &over, &revoked] {
        assert!(!told.contains(&secret[14..]), "{told}");
    }
}

#[test]
fn a_tenant_neither_calls_nor_sees_the_models_of_another() {
    let gpux = Gpux::new();
    let theirs = token(&gpux, "acme", &["--models", "ml?"]);
    let admin = token(&gpux, "root", &["--admin"]);
    let reader = token(&gpux, "prometheus", &["--metrics"]);
    let server = Server::start(&gpux, &[MLP, DIGITS]);
    assert_eq!(infer(&server, &theirs).status, 200);
    let post = |path: &str, token: &str| server.request("POST", path, &[&bearer(token)], b"{}");
    for (method, rest) in [
        ("POST", "infer"),
        ("GET", "ready"),
        ("GET", "config"),
        ("GET", "stats"),
        ("GET", "versions/1.0.0"),
        ("GET", "versions/1.0.0/ready"),
        ("POST", "versions/1.0.0/infer"),
        // Not even the methods that its paths take.
        ("DELETE", "infer"),
    ] {
        let of = |model: &str| {
            let path = format!("/v2/models/{model}/{rest}");
            server.request(method, &path, &[&bearer(&theirs)], &body())
        };
        let (foreign, unknown) = (of("digits"), of("nothing"));
        assert_eq!((foreign.status, unknown.status), (404, 404), "{rest}");
        assert_eq!(foreign.error().replace("digits", "nothing"), unknown.error());
    }
    // Nor do escapes lead to them.
    assert_eq!(ask(&server, &theirs, "/v2/models/d%69gits").status, 404);
    let names = |answer: &Response, list: &Value| -> Vec<String> {
        let name = |model: &Value| model["name"].as_str().unwrap().to_owned();
        assert_eq!(answer.status, 200, "{answer:?}");
        list.as_array().unwrap().iter().map(name).collect()
    };
    for (token, wanted) in [(&theirs, &["mlp"][..]), (&admin, &["digits", "mlp"])] {
        let index = post("/v2/repository/index", token);
        assert_eq!(names(&index, &index.json()), wanted);
        let all = ask(&server, token, "/v2/models/stats");
        assert_eq!(names(&all, &all.json()["model_stats"]), wanted);
    }
    // Metrics tell of everybody, so that not everybody reads them.
    let metrics = |token: &str| request(server.metrics, "GET", "/metrics", &[&bearer(token)], b"");
    assert_eq!(metrics(&theirs).status, 403);
    for token in [&admin, &reader] {
        let answer = metrics(token);
        assert_eq!(answer.status, 200);
        let text = String::from_utf8(answer.body).unwrap();
        let counted = r#"gpux_requests_total{model="mlp",version="0.1.0",code="200",tenant="acme"} 1"#;
        assert!(text.contains(counted), "{text}");
    }
    assert_eq!(infer(&server, &reader).status, 404);
}

#[test]
fn the_calls_of_people_know_the_same_callers() {
    let gpux = Gpux::new();
    let theirs = token(&gpux, "acme", &["--models", "mlp"]);
    let server = Server::start(&gpux, &[MLP, DIGITS]);
    let post = |path: &str, token: &str, body: &str| {
        let headers = [bearer(token), "Content-Type: application/json".into()];
        server.request("POST", path, &[&headers[0], &headers[1]], body.as_bytes())
    };
    let listed = ask(&server, &theirs, "/v1/models").json();
    let ids: Vec<_> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|model| &model["id"])
        .collect();
    assert_eq!(ids, ["mlp"]);
    assert_eq!(ask(&server, &theirs, "/v1/models/mlp").status, 200);
    assert_eq!(ask(&server, &theirs, "/v1/models/digits").status, 404);
    let row = r#"{"instances": [[0, 0, 0, 0]]}"#;
    assert_eq!(post("/v1/models/mlp:predict", &theirs, row).status, 200);
    for path in ["digits:predict", "digits/predict", "digits/versions/1.0.0/predict"] {
        let of = |path: &str| post(&format!("/v1/models/{path}"), &theirs, row);
        let (foreign, unknown) = (of(path), of(&path.replace("digits", "nothing")));
        assert_eq!((foreign.status, unknown.status), (404, 404), "{path}: {foreign:?}");
        assert_eq!(foreign.error().replace("digits", "nothing"), unknown.error());
    }
    // A model that a body names is looked at as one in a path is.
    for (path, rest) in [("embeddings", r#""input": "x""#), ("completions", r#""prompt": "x""#)] {
        let of = |model: &str| {
            post(
                &format!("/v1/{path}"),
                &theirs,
                &format!(r#"{{"model": "{model}", {rest}}}"#),
            )
        };
        for version in ["", ":1.0.0"] {
            let (foreign, unknown) = (of(&format!("digits{version}")), of(&format!("nothing{version}")));
            assert_eq!((foreign.status, unknown.status), (404, 404), "{path}: {foreign:?}");
            let message = |answer: &Response| answer.json()["error"]["message"].to_string();
            assert_eq!(message(&foreign).replace("digits", "nothing"), message(&unknown));
        }
        assert_eq!(of("mlp").status, 400);
        let stranger = server.post(&format!("/v1/{path}"), b"{}");
        assert_eq!(stranger.status, 401);
        assert_eq!(stranger.json()["error"]["type"], "authentication_error", "{stranger:?}");
    }
}

#[test]
fn a_model_that_is_not_ready_is_not_named_to_strangers() {
    let gpux = Gpux::new();
    let theirs = token(&gpux, "acme", &["--models", "mlp"]);
    let admin = token(&gpux, "root", &["--admin"]);
    let server = Server::start_only(&gpux, &[MLP, "fixtures/dtypes/float64.onnx"]);
    server.hear("float64:0.1.0 cannot be served");
    let ready = |headers: &[&str]| server.request("GET", "/v2/health/ready", headers, b"");
    for headers in [&[][..], &[bearer(&theirs).as_str()]] {
        let answer = ready(headers);
        assert_eq!(answer.status, 503);
        assert!(!answer.error().contains("float64"), "{answer:?}");
    }
    assert!(ready(&[&bearer(&admin)]).error().contains("float64"));
}

#[test]
fn a_token_is_held_to_its_rate_and_to_its_requests_at_once() {
    let gpux = Gpux::new().with_onnxruntime();
    let rare = token(&gpux, "a", &["--rate", "0.001"]);
    let narrow = token(&gpux, "b", &["--concurrency", "1"]);
    let folder = TempDir::new().unwrap();
    let model = graph::write_counted_loop(folder.path());
    let operand = format!("slow={}", model.display());
    let server = Server::start(&gpux, &[MLP, &operand, "--provider", "cpu"]);
    assert_eq!(infer(&server, &rare).status, 200);
    let refused = infer(&server, &rare);
    assert_eq!(refused.status, 429, "{refused:?}");
    let wait = refused
        .head
        .split("retry-after: ")
        .nth(1)
        .unwrap()
        .split("\r\n")
        .next()
        .unwrap();
    assert!((900..=1001).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    assert_eq!(server.request("GET", "/healthz", &[&bearer(&rare)], b"").status, 200);

    let slow =
        json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [4_000_000_000u64]}]}).to_string();
    let head = format!(
        "POST /v2/models/slow/infer HTTP/1.1\r\nHost: localhost\r\n{}\r\nContent-Length: {}\r\n\r\n",
        bearer(&narrow),
        slow.len()
    );
    let until = Instant::now() + Duration::from_secs(20);
    // Where the question comes before the slow request, it is the slow one that is refused.
    let (busy, stream) = loop {
        let mut stream = connect(server.http);
        std::io::Write::write_all(&mut stream, format!("{head}{slow}").as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(100));
        let answer = infer(&server, &narrow);
        if answer.status == 429 {
            break (answer, stream);
        }
        assert!(Instant::now() < until, "{answer:?}");
    };
    assert!(busy.head.contains("retry-after: 1"), "{busy:?}");
    // A client that leaves gives its place back.
    drop(stream);
    while infer(&server, &narrow).status != 200 {
        assert!(Instant::now() < until, "the place is not given back");
        thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn grpc_knows_the_same_callers() {
    let gpux = Gpux::new();
    let theirs = token(&gpux, "acme", &["--models", "mlp"]);
    let limited = token(&gpux, "b", &["--rate", "0.0005"]);
    let server = Server::start(&gpux, &[MLP, DIGITS]);
    let output = Command::new(deps::python())
        .arg(deps::repository().join("tests/it/serve/tenant.py"))
        .args([&server.grpc.to_string(), &theirs, &limited])
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}\n{}", server.told.lock().unwrap());
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).trim(),
        "health, refusals, lists, limits and a stream"
    );
}

#[test]
fn tokens_are_read_again_when_they_change_and_when_the_server_is_told() {
    let gpux = Gpux::new();
    let one = token(&gpux, "a", &[]);
    let server = Server::start(&gpux, &[MLP]);
    let until = Instant::now() + Duration::from_secs(20);
    let other = token(&gpux, "b", &[]);
    while ask(&server, &other, "/v2").status != 200 {
        assert!(Instant::now() < until, "the new token is not taken");
        thread::sleep(Duration::from_millis(20));
    }
    gpux.ok(["serve", "token", "revoke", &one[5..13]]);
    while ask(&server, &one, "/v2").status != 401 {
        assert!(Instant::now() < until, "the revoked token is still taken");
        thread::sleep(Duration::from_millis(20));
    }
    // What is broken leaves things as they were.
    fs::write(gpux.home().join("serve/tokens.json"), "{").unwrap();
    signal(server.id(), "HUP");
    server.hear("the tokens stay as they were");
    assert_eq!(ask(&server, &other, "/v2").status, 200);
    fs::remove_file(gpux.home().join("serve/tokens.json")).unwrap();
    server.hear("there is no `");
    assert_eq!(ask(&server, &other, "/v2").status, 200);
    assert_eq!(ask(&server, &one, "/v2").status, 401);
}

#[test]
fn once_the_last_token_is_revoked_every_call_is_refused_until_no_auth_waives_them() {
    let gpux = Gpux::new();
    let only = token(&gpux, "a", &[]);
    gpux.ok(["serve", "token", "revoke", &only[5..13]]);
    let server = Server::start_only(&gpux, &[MLP]);
    assert_eq!(server.get("/v2").status, 401);
    drop(server);
    let server = Server::start_only(&gpux, &[MLP, "--no-auth"]);
    assert_eq!(server.get("/v2").status, 200);
}

#[test]
fn other_machines_are_let_in_with_tokens_and_tls_or_with_words() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("good.pem"), file("server.key"));
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let refused = |arguments: &[&str], words: &str| {
        let answer = gpux.run([&["serve", DIGITS], arguments].concat());
        assert_eq!(answer.code, Some(2), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
    };
    let open = ["--host", "0.0.0.0"];
    refused(&open, "without a token");
    refused(&open, "hint: make a token with `gpux serve token create --tenant NAME`");
    refused(&["--host", "::"], "without a token");
    refused(&["--host", "::ffff:0.0.0.0"], "without a token");
    refused(&[&open[..], &tls].concat(), "without a token");
    refused(&[&open[..], &["--plaintext"]].concat(), "without a token");
    refused(&[&open[..], &["--no-auth"]].concat(), "without TLS");
    // A token that there is no more is none.
    let only = token(&gpux, "a", &[]);
    refused(&open, "without TLS");
    refused(&open, "`--tls-cert FILE --tls-key FILE`");
    gpux.ok(["serve", "token", "revoke", &only[5..13]]);
    refused(&open, "without a token");
    refused(&["--tls-cert", &certificate], "--tls-key");
    refused(&[&tls[..], &["--plaintext"]].concat(), "cannot be used with");
    // The GPUXfile says it no more freely than a flag does.
    fs::create_dir(folder.path().join("model")).unwrap();
    fs::copy(deps::fixture("mlp/model.onnx"), folder.path().join("model/model.onnx")).unwrap();
    fs::write(
        folder.path().join("model/GPUXfile"),
        "name: mlp\nversion: 1.0.0\nmodel:\n  source: model.onnx\nserving:\n  host: 0.0.0.0\n",
    )
    .unwrap();
    let own = gpux.run(["serve", &file("model")]);
    assert_eq!(own.code, Some(2), "{own:?}");
    assert!(own.stderr.contains("0.0.0.0 can be reached"), "{own:?}");

    let token = token(&gpux, "a", &[]);
    let server = Server::start_only(&gpux, &[MLP, "--host", "0.0.0.0", "--plaintext"]);
    let here = SocketAddr::from(([127, 0, 0, 1], server.http.port()));
    assert_eq!(request(here, "GET", "/v2", &[&bearer(&token)], b"").status, 200);
    assert_eq!(request(here, "GET", "/v2", &[], b"").status, 401);
    drop(server);
    let server = Server::start_only(&gpux, &[MLP, "--host", "0.0.0.0", "--plaintext", "--no-auth"]);
    let here = SocketAddr::from(([127, 0, 0, 1], server.http.port()));
    assert_eq!(request(here, "GET", "/v2", &[], b"").status, 200);
}

/// What a client of TLS trusts and shows.
fn client(folder: &Path, shown: Option<&str>) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    roots
        .add(CertificateDer::from_pem_file(folder.join("ca.pem")).unwrap())
        .unwrap();
    let builder = rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()));
    let builder = builder
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_root_certificates(roots);
    Arc::new(match shown {
        None => builder.with_no_client_auth(),
        Some(name) => {
            let chain = vec![CertificateDer::from_pem_file(folder.join(format!("{name}.pem"))).unwrap()];
            let key = PrivateKeyDer::from_pem_file(folder.join(format!("{name}.key"))).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    })
}

/// Asks by TLS; what is no answer has status 0.
fn ask_by_tls(to: SocketAddr, config: &Arc<rustls::ClientConfig>, path: &str) -> Response {
    let name = ServerName::from(to.ip());
    let connection = rustls::ClientConnection::new(Arc::clone(config), name).unwrap();
    let mut stream = rustls::StreamOwned::new(connection, connect(to));
    let head = format!("GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n");
    // A handshake that fails shows in the answer.
    let _ = std::io::Write::write_all(&mut stream, head.as_bytes());
    read_from(&mut stream)
}

#[test]
fn certificates_are_shown_asked_for_and_read_again_on_every_port() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("own.pem"), file("server.key"));
    fs::copy(file("good.pem"), &certificate).unwrap();
    let gpux = Gpux::new();
    let server = Server::start_only(&gpux, &[MLP, "--tls-cert", &certificate, "--tls-key", &key]);
    let plain = client(folder.path(), None);
    for (to, path) in [(server.http, "/v2"), (server.metrics, "/metrics")] {
        assert_eq!(ask_by_tls(to, &plain, path).status, 200, "{path}");
        let answer = request(to, "GET", path, &[], b"");
        assert_eq!(answer.status, 400, "{answer:?}");
        assert_eq!(answer.error(), "this port speaks TLS: call it by https");
    }
    // HTTP/2 is agreed upon in the handshake.
    let mut both = rustls::ClientConfig::clone(&plain);
    both.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    for port in [server.http, server.grpc] {
        let name = ServerName::from(port.ip());
        let mut connection = rustls::ClientConnection::new(Arc::new(both.clone()), name).unwrap();
        let mut stream = connect(port);
        while connection.is_handshaking() {
            connection.complete_io(&mut stream).unwrap();
        }
        assert_eq!(connection.alpn_protocol(), Some(&b"h2"[..]));
    }
    // What is broken leaves things as they were; what is good is taken.
    fs::write(&certificate, "nothing").unwrap();
    signal(server.id(), "HUP");
    server.hear("the certificates stay as they were");
    assert_eq!(ask_by_tls(server.http, &plain, "/v2").status, 200);
    fs::copy(file("client.pem"), &certificate).unwrap();
    server.hear("do not go together");
    assert_eq!(ask_by_tls(server.http, &plain, "/v2").status, 200);
    fs::copy(file("other.pem"), &certificate).unwrap();
    signal(server.id(), "HUP");
    server.hear("certificates were read again");
    assert_eq!(ask_by_tls(server.http, &plain, "/v2").status, 0);
    assert_eq!(server.stop().code(), Some(0));
}

#[test]
fn only_clients_with_a_certificate_of_the_authority_are_let_in() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key, authority) = (file("good.pem"), file("server.key"), file("ca.pem"));
    let arguments = [
        MLP,
        "--tls-cert",
        &certificate,
        "--tls-key",
        &key,
        "--tls-client-ca",
        &authority,
    ];
    let gpux = Gpux::new();
    let server = Server::start_only(&gpux, &arguments);
    for (shown, status) in [(None, 0), (Some("stranger"), 0), (Some("client"), 200)] {
        let config = client(folder.path(), shown);
        assert_eq!(ask_by_tls(server.http, &config, "/v2").status, status, "{shown:?}");
    }
    drop(server);
    for (name, words) in [("server.key", "no certificate"), ("nowhere", "nowhere")] {
        let wrong = file(name);
        let answer = gpux.run(["serve", DIGITS, "--tls-cert", &wrong, "--tls-key", &key]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        assert!(answer.stderr.contains(words), "{answer:?}");
    }
    let swapped = gpux.run(["serve", DIGITS, "--tls-cert", &certificate, "--tls-key", &certificate]);
    assert!(swapped.stderr.contains("no private key"), "{swapped:?}");
}

#[test]
fn a_handshake_that_does_not_come_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    certificates(folder.path());
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (certificate, key) = (file("good.pem"), file("server.key"));
    let server = Server::start_only(&Gpux::new(), &[MLP, "--tls-cert", &certificate, "--tls-key", &key]);
    let began = Instant::now();
    let mut silent = connect(server.http);
    let mut half = connect(server.http);
    std::io::Write::write_all(&mut half, &[0x16, 3, 1]).unwrap();
    for stream in [&mut silent, &mut half] {
        assert_eq!(read_from(stream).status, 0);
    }
    assert!(began.elapsed() < Duration::from_secs(40), "took {:?}", began.elapsed());
    assert_eq!(ask_by_tls(server.http, &client(folder.path(), None), "/v2").status, 200);
}

#[test]
fn a_tenant_that_floods_does_not_keep_another_from_being_answered() {
    let gpux = Gpux::new().with_onnxruntime();
    let (flood, quiet) = (token(&gpux, "flood", &[]), token(&gpux, "quiet", &[]));
    let folder = TempDir::new().unwrap();
    let model = graph::write_counted_loop(folder.path());
    let operand = format!("slow={}", model.display());
    let server = Server::start(&gpux, &[&operand, "--provider", "cpu", "--queue-size", "8"]);
    let ask = |token: &str, trips: u64| {
        let body = json!({"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [trips]}]});
        let headers = [bearer(token)];
        server.request(
            "POST",
            "/v2/models/slow/infer",
            &[&headers[0]],
            body.to_string().as_bytes(),
        )
    };
    let done = std::sync::atomic::AtomicBool::new(false);
    let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
    let codes: Vec<u16> = thread::scope(|scope| {
        let each = || {
            let mut codes = Vec::new();
            while !is_done() {
                codes.push(ask(&flood, 20_000).status);
            }
            codes
        };
        let flooding: Vec<_> = (0..16).map(|_| scope.spawn(each)).collect();
        thread::sleep(Duration::from_millis(300));
        // One after the other, each finds the queue of eight full of the other's, and is answered all the same.
        let answered: Vec<u16> = (0..20).map(|_| ask(&quiet, 20_000).status).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        assert_eq!(answered, [200; 20]);
        flooding.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    let refused = codes.iter().filter(|code| **code == 429).count();
    let answered = codes.iter().filter(|code| **code == 200).count();
    assert_eq!(refused + answered, codes.len(), "{codes:?}");
    assert!(refused > 0, "the queue was never full");
    // While the quiet one was answered twenty times, the other had about one turn each.
    assert!(answered <= 20 + 60, "{answered} of the flood were answered");
}
