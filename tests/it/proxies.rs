//! Proxies, and what is reached without one.

use crate::support::{
    Answer, Gpux,
    artifacts::{noise, serve_artifact},
    nginx::{Nginx, certificates},
    proxy::Proxy,
    registry::{Profile, Registry},
};

/// A name that the proxy alone knows.
const INSIDE: &str = "registry.test";

fn port(host: &str) -> &str {
    host.rsplit_once(':').unwrap().1
}

fn run(gpux: &Gpux, arguments: &[&str], variables: &[(&str, &str)]) -> Answer {
    let mut command = gpux.command(arguments);
    command.envs(variables.iter().copied());
    gpux.answer(command.output().unwrap())
}

fn serving() -> Registry {
    let registry = Registry::start(Profile::honest());
    serve_artifact(&registry, "a", "1", &[("weights", &noise(1, 9 << 20))]);
    registry
}

#[test]
fn a_registry_behind_a_proxy_is_reached_through_it_alone() {
    let (registry, proxy) = (serving(), Proxy::start(INSIDE));
    let name = format!("{INSIDE}:{}/a:1", port(&registry.host()));
    let gpux = Gpux::new();
    let pulled = run(
        &gpux,
        &["pull", "--plain-http", &name],
        &[("http_proxy", &proxy.address())],
    );
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    let seen = proxy.take_seen();
    let wanted = format!("GET http://{INSIDE}:{}/v2/a/manifests/1 ", port(&registry.host()));
    assert!(seen[0].line.starts_with(&wanted), "{seen:?}");
    assert!(seen.len() >= 3, "manifest, config and weights: {seen:?}");
    // Its upper-case twin is what a web server makes of a request's header.
    for variables in [vec![], vec![("HTTP_PROXY", proxy.address())]] {
        let variables: Vec<(&str, &str)> = variables.iter().map(|(k, v)| (*k, v.as_str())).collect();
        let lost = run(&gpux, &["tags", "--plain-http", &name], &variables);
        assert_eq!(lost.code, Some(5), "{lost:?}");
    }
    assert!(proxy.take_seen().is_empty());
}

#[test]
fn no_proxy_names_what_is_reached_without_one() {
    let (registry, proxy) = (serving(), Proxy::start(INSIDE));
    let name = format!("{}/a:1", registry.host());
    let gpux = Gpux::new();
    for (none, through) in [
        ("", true),
        ("example.com", true),
        ("127.0.0.1", false),
        ("other.test,127.0.0.0/8", false),
        ("*", false),
    ] {
        let answer = run(
            &gpux,
            &["tags", &name],
            &[("http_proxy", &proxy.address()), ("NO_PROXY", none)],
        );
        assert_eq!(answer.code, Some(0), "{none}: {answer:?}");
        assert_eq!(!proxy.take_seen().is_empty(), through, "{none}");
    }
    let inside = format!("{INSIDE}:{}/a:1", port(&registry.host()));
    for none in [INSIDE, ".test", "test"] {
        let answer = run(
            &gpux,
            &["tags", "--plain-http", &inside],
            &[("http_proxy", &proxy.address()), ("no_proxy", none)],
        );
        assert_eq!(answer.code, Some(5), "{none}: the name is not to be found from here");
        assert!(proxy.take_seen().is_empty(), "{none}");
    }
}

#[test]
fn https_goes_through_a_tunnel_and_the_proxys_password_is_not_told() {
    let folder = tempfile::tempdir().unwrap();
    certificates(folder.path());
    let (registry, proxy) = (serving(), Proxy::start(INSIDE));
    let nginx = Nginx::start(folder.path(), "good", &registry.host());
    let name = format!("127.0.0.1:{}/a:1", nginx.port());
    let authority = folder.path().join("ca.pem").display().to_string();
    let address = format!("http://user:proxy-secret@{}", proxy.host());
    let gpux = Gpux::new();
    let pulled = run(
        &gpux,
        &["pull", "--ca", &authority, &name],
        &[("HTTPS_PROXY", &address)],
    );
    assert_eq!(pulled.code, Some(0), "{pulled:?}");
    let seen = proxy.take_seen();
    assert!(!seen.is_empty());
    for asked in &seen {
        assert_eq!(asked.line, format!("CONNECT 127.0.0.1:{} HTTP/1.1", nginx.port()));
        assert!(asked.authorization.as_deref().unwrap().starts_with("Basic "));
    }
    drop(proxy);
    for (variable, value) in [
        ("HTTPS_PROXY", address.as_str()),
        ("https_proxy", "http://user:proxy-secret@::bad::"),
    ] {
        let lost = run(&gpux, &["tags", "--ca", &authority, &name], &[(variable, value)]);
        assert_ne!(lost.code, Some(0), "{lost:?}");
        assert!(!format!("{lost:?}").contains("proxy-secret"), "{lost:?}");
    }
}
