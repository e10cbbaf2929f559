//! TLS with an authority of the tests' own, by nginx before the in-process registry.

use std::fs;

use crate::support::{
    Answer, Gpux,
    artifacts::{noise, serve_artifact, store_artifact},
    nginx::{Nginx, certificates},
    registry::{Fault, Kind, Profile, Registry},
};

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
        let name = format!("127.0.0.1:{}/a:1", nginx.port());
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
    let name = format!("127.0.0.1:{}/a:1", nginx.port());
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

    let large = format!("127.0.0.1:{}/large:1", nginx.port());
    let store = gpux::store::Store::open(gpux.home()).unwrap();
    store_artifact(&store, &large, &[("weights", &noise(1, 3 << 20))]);
    // A megabyte is what nginx lets through unless told otherwise.
    gpux.ok(["push", "--ca", &authority, &large]);
    assert!(registry.manifest("large", "1").is_some());
    let memory = gpux
        .home()
        .join(format!("cache/registry-127.0.0.1_{}.json", nginx.port()));
    assert!(fs::read_to_string(memory).unwrap().contains("1048576"));
}

#[test]
fn a_registry_that_wants_a_client_certificate_is_shown_one() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let registry = Registry::start(Profile::honest());
    serve_artifact(&registry, "a", "1", &[("model.onnx", b"graph")]);
    let more = format!(
        "ssl_client_certificate {}/ca.pem; ssl_verify_client on;",
        folder.path().display()
    );
    let nginx = Nginx::with(folder.path(), ("good", &registry.host()), &more);
    let file = |name: &str| folder.path().join(name).display().to_string();
    let (authority, name) = (file("ca.pem"), format!("127.0.0.1:{}/a:1", nginx.port()));
    let gpux = Gpux::new();
    let with = |verb: &str, name: &str, certificate: &str, key: &str| {
        gpux.run([
            verb,
            "--ca",
            &authority,
            "--cert",
            &file(certificate),
            "--key",
            &file(key),
            name,
        ])
    };
    let shown = with("pull", &name, "client.pem", "client.key");
    assert_eq!(shown.code, Some(0), "{shown:?}");
    gpux.ok(["tag", &name, &format!("127.0.0.1:{}/b:1", nginx.port())]);
    let pushed = with(
        "push",
        &format!("127.0.0.1:{}/b:1", nginx.port()),
        "client.pem",
        "client.key",
    );
    assert_eq!(pushed.code, Some(0), "{pushed:?}");
    assert!(registry.manifest("b", "1").is_some());
    registry.forget_requests();
    refused(&gpux.run(["tags", "--ca", &authority, &name]), "400");
    refused(&with("tags", &name, "stranger.pem", "stranger.key"), "400");
    assert!(registry.seen().is_empty());
    // A key that is not the certificate's, and a key without one, are told before anything is sent.
    let wrong = with("tags", &name, "client.pem", "stranger.key");
    assert_eq!(wrong.code, Some(1), "{wrong:?}");
    assert!(wrong.stderr.contains("client certificate"), "{wrong:?}");
    let half = gpux.run(["tags", "--cert", &file("client.pem"), &name]);
    assert_eq!(half.code, Some(2), "{half:?}");
}
