//! What a registry must not be able to do to us: the rows of manifests and registries among the threats.

use std::time::{Duration, Instant};

use gpux::{
    oci::{Descriptor, Digest, MediaType, Reference},
    registry::Credential,
    store::Store,
    transfer::{Error, Remote, delete, pull, push, referrers, tags},
};

use crate::support::{
    artifacts::{EPOCH, hasty, layer, manifest, noise, serve_artifact, silent, store_artifact},
    registry::{Fault, Kind, Profile, Registry},
};

fn me() -> Remote {
    Remote {
        credential: Some(Credential::Password {
            username: "octo".into(),
            password: "cat-secret".into(),
        }),
        ..hasty()
    }
}

fn reference(registry: &Registry) -> Reference {
    format!("{}/a/b:1", registry.host()).parse().unwrap()
}

/// Pulls `a/b:1` into an empty store, which must stay empty of tags if that fails.
fn pulled(registry: &Registry, remote: &Remote) -> Result<Store, Error> {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let started = Instant::now();
    let result = pull(&store, &reference(registry), remote, silent(), EPOCH);
    assert!(started.elapsed() < Duration::from_secs(30));
    match result {
        Ok(_) => Ok(store),
        Err(error) => {
            assert!(store.list().unwrap().is_empty());
            assert!(!format!("{error:?} {error}").contains("cat-secret"), "{error:?}");
            Err(error)
        }
    }
}

#[track_caller]
fn refused(registry: &Registry, remote: &Remote, words: &str) {
    let error = match pulled(registry, remote) {
        Ok(_) => panic!("the pull succeeded"),
        Err(error) => error,
    };
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(text.contains(words), "{text}");
    assert!(!text.contains(['\n', '\u{1b}', '\0']), "{text:?}");
}

fn serving(profile: Profile) -> Registry {
    let registry = Registry::start(profile);
    serve_artifact(
        &registry,
        "a/b",
        "1",
        &[("model.onnx", b"graph"), ("weights", &noise(1, 50_000))],
    );
    registry
}

#[test]
fn realms_that_lead_astray_get_nothing() {
    for realm in [
        "file:///etc/passwd",
        "ftp://127.0.0.1/",
        "nonsense",
        "http://user:pw@127.0.0.1/token",
    ] {
        let registry = serving(Profile::ghcr());
        registry.set_realm(realm);
        refused(&registry, &me(), "which is refused");
        assert_eq!(registry.count(Kind::Token, "GET"), 0);
    }
    let registry = serving(Profile::ghcr());
    registry.fault(Kind::Token, "GET", 9, Fault::Redirect("http://127.0.0.1:1/".into()));
    refused(&registry, &me(), "it redirects");
}

#[test]
fn challenges_and_tokens_without_measure_are_refused() {
    let long = format!("Bearer realm=\"http://127.0.0.1/{}\"", "a".repeat(100_000));
    let registry = serving(Profile::honest());
    registry.fault(
        Kind::Manifest,
        "GET",
        99,
        Fault::Status(401, vec![("WWW-Authenticate".into(), long)]),
    );
    refused(&registry, &me(), "not understood");

    let registry = serving(Profile::ghcr());
    registry.fault(Kind::Token, "GET", 9, Fault::Endless);
    refused(&registry, &me(), "larger than");
    for body in ["<html>", "{}", "{\"token\":\"a\\u0000b\"}", "[]"] {
        let registry = serving(Profile::ghcr());
        registry.fault(Kind::Token, "GET", 9, Fault::Body(200, vec![], body.into()));
        refused(&registry, &me(), "no token");
    }
}

#[test]
fn a_registry_that_never_has_enough_is_left() {
    let registry = serving(Profile {
        token_uses: Some(0),
        ..Profile::ghcr()
    });
    refused(&registry, &me(), "refuses access");
    assert!(registry.seen().len() <= 8, "{}", registry.seen().len());
}

#[test]
fn a_token_that_runs_out_is_fetched_again_once() {
    let registry = Registry::start(Profile {
        token_uses: Some(3),
        ..Profile::ghcr()
    });
    let files: Vec<Vec<u8>> = (0..12).map(|n| noise(n, 30_000)).collect();
    let names: Vec<String> = (0..12).map(|n| format!("w{n}")).collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .map(String::as_str)
        .zip(files.iter().map(Vec::as_slice))
        .collect();
    serve_artifact(&registry, "a/b", "1", &files);
    pulled(&registry, &me()).unwrap();
    // Fourteen requests need a token; each is good for three, and no two lanes fetch the same one.
    assert!(
        registry.count(Kind::Token, "GET") <= 6,
        "{}",
        registry.count(Kind::Token, "GET")
    );
}

#[test]
fn manifests_that_are_not_what_they_say_are_refused() {
    let oci = MediaType::OCI_MANIFEST.to_string();
    let (good, _) = manifest(&[("model.onnx", b"graph")]);
    let good = String::from_utf8(good.to_bytes()).unwrap();
    let replaced = |from: &str, to: &str| {
        assert!(good.contains(from));
        good.replacen(from, to, 1)
    };
    let cases = [
        (replaced("\"layers\":", "\"manifests\":[],\"layers\":"), oci.clone()),
        (replaced("\"layers\":", "\"layers\":[],\"layers\":"), oci.clone()),
        (replaced("\"size\":5", "\"size\":-5"), oci.clone()),
        (replaced("\"size\":5", "\"size\":5.0"), oci.clone()),
        (replaced("\"size\":5", "\"size\":9223372036854775808"), oci.clone()),
        (replaced("\"size\":5", "\"data\":\"AAAA\",\"size\":5"), oci.clone()),
        (replaced("\"config\":", "\"config2\":"), oci.clone()),
        (good.clone(), MediaType::OCI_INDEX.to_string()),
        ("[".repeat(10_000), oci.clone()),
        ("<html>".to_owned(), oci.clone()),
    ];
    for (body, media_type) in cases {
        let registry = serving(Profile::honest());
        registry.put_manifest("a/b", "1", &media_type, body.as_bytes());
        assert!(pulled(&registry, &hasty()).is_err(), "{}", &body[..body.len().min(300)]);
        assert_eq!(registry.count(Kind::Blob, "GET"), 0);
    }
    let registry = serving(Profile::honest());
    registry.put_manifest("a/b", "1", &oci, &vec![b' '; 5 << 20]);
    refused(&registry, &hasty(), "larger than");
    registry.fault(Kind::Manifest, "GET", 9, Fault::Endless);
    refused(&registry, &hasty(), "larger than");
}

#[test]
fn a_digest_decides_whatever_the_registry_answers() {
    let registry = serving(Profile::honest());
    let wanted = Digest::of(b"something else");
    let name = format!("{}/a/b@{wanted}", registry.host());
    let body = registry.manifest("a/b", "1").unwrap();
    let headers = vec![
        ("Content-Type".to_owned(), MediaType::OCI_MANIFEST.to_string()),
        ("Docker-Content-Digest".to_owned(), wanted.to_string()),
    ];
    registry.fault(Kind::Manifest, "GET", 9, Fault::Body(200, headers, body));
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let error = pull(&store, &name.parse().unwrap(), &hasty(), silent(), EPOCH).unwrap_err();
    assert!(error.to_string().contains("not what its digest says"), "{error}");
}

#[test]
fn one_digest_named_often_is_fetched_once_and_urls_never() {
    let registry = Registry::start(Profile::honest());
    let content = noise(1, 100_000);
    let (mut artifact, config) = manifest(&[("model.onnx", &content)]);
    let mut urls = layer("model.onnx", &content);
    urls.urls = vec![format!("http://{}/a/b/x", registry.elsewhere())];
    artifact.layers = (0..3000)
        .map(|n| {
            let mut layer = layer(&format!("w{n}"), &content);
            layer.annotations.retain(|key, _| key.ends_with("title"));
            layer
        })
        .chain([urls])
        .collect();
    registry.put_blob("a/b", &content);
    registry.put_blob("a/b", &config);
    registry.put_manifest("a/b", "1", MediaType::OCI_MANIFEST.as_str(), &artifact.to_bytes());
    pulled(&registry, &hasty()).unwrap();
    assert_eq!(registry.count(Kind::Blob, "GET"), 2);
    assert_eq!(registry.count(Kind::Elsewhere, "GET"), 0);
}

#[test]
fn indexes_do_not_nest() {
    let registry = serving(Profile::honest());
    let inner = gpux::oci::Index::new(vec![]).to_bytes();
    registry.put_manifest("a/b", "inner", MediaType::OCI_INDEX.as_str(), &inner);
    let outer = gpux::oci::Index::new(vec![Descriptor::of(MediaType::OCI_INDEX, &inner)]).to_bytes();
    registry.put_manifest("a/b", "1", MediaType::OCI_INDEX.as_str(), &outer);
    refused(&registry, &hasty(), "holds another index");
}

#[test]
fn an_upload_elsewhere_takes_no_credentials_along() {
    let registry = Registry::start(Profile {
        blob_redirect: false,
        ..Profile::ghcr()
    });
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = reference(&registry);
    store_artifact(&store, &name.to_string(), &[("model.onnx", b"graph")]);
    let elsewhere = format!("http://{}/upload?signature=x", registry.elsewhere());
    registry.fault(Kind::UploadStart, "POST", 99, Fault::Location(Some(elsewhere)));
    assert!(push(&store, &name, &me(), silent()).is_err());
    let seen = registry.seen();
    let strayed: Vec<_> = seen.iter().filter(|request| request.kind == Kind::Elsewhere).collect();
    assert!(!strayed.is_empty());
    assert!(strayed.iter().all(|request| request.header("authorization").is_none()));
    assert!(registry.manifest("a/b", "1").is_none());
}

#[test]
fn answers_to_a_push_that_are_not_true_are_errors() {
    let cases = [
        (Kind::UploadStart, "POST", Fault::Location(None)),
        (Kind::Upload, "PUT", Fault::WrongDigestHeader),
        (Kind::Manifest, "PUT", Fault::WrongDigestHeader),
        (Kind::UploadStart, "POST", Fault::Status(401, vec![])),
        (Kind::UploadStart, "POST", Fault::Status(413, vec![])),
        (Kind::Upload, "PUT", Fault::Redirect("http://127.0.0.1:1/".into())),
    ];
    for (kind, method, fault) in cases {
        let registry = Registry::start(Profile::honest());
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let name = reference(&registry);
        store_artifact(&store, &name.to_string(), &[("model.onnx", b"graph")]);
        registry.fault(kind, method, 99, fault.clone());
        assert!(push(&store, &name, &hasty(), silent()).is_err(), "{fault:?}");
    }
}

#[test]
fn a_tag_that_was_overtaken_is_told() {
    let registry = serving(Profile::honest());
    let other = registry.manifest("a/b", "1").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path()).unwrap();
    let name = reference(&registry);
    store_artifact(&store, &name.to_string(), &[("model.onnx", b"another graph")]);
    let headers = vec![("Content-Type".to_owned(), MediaType::OCI_MANIFEST.to_string())];
    registry.fault(Kind::Manifest, "GET", 9, Fault::Body(200, headers, other));
    let error = push(&store, &name, &hasty(), silent()).unwrap_err();
    assert!(error.to_string().contains("somebody else pushed"), "{error}");
}

#[test]
fn lists_end_and_stay_at_their_host() {
    let registry = serving(Profile::honest());
    for n in 0..5 {
        let body = registry.manifest("a/b", "1").unwrap();
        registry.put_manifest("a/b", &format!("t{n}"), MediaType::OCI_MANIFEST.as_str(), &body);
    }
    let name = reference(&registry);
    assert_eq!(tags(&name, &hasty()).unwrap().len(), 6);
    for (link, words) in [
        ("</v2/a/b/tags/list?n=1000>; rel=\"next\"", "without end"),
        ("<http://127.0.0.1:1/v2/a/b/tags/list>; rel=\"next\"", "another origin"),
    ] {
        let body = br#"{"tags":["1","\u001b[31m",":"]}"#.to_vec();
        registry.fault(
            Kind::Tags,
            "GET",
            9,
            Fault::Body(200, vec![("Link".into(), link.into())], body),
        );
        let error = tags(&name, &hasty()).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        registry.behave();
    }
}

#[test]
fn referrers_are_found_with_and_without_their_endpoint() {
    for (profile, fault) in [
        (Profile::honest(), None),
        (Profile::google(), None),
        (Profile::ghcr(), None),
        (
            Profile::honest(),
            Some(Fault::Body(
                200,
                vec![("Content-Type".into(), "text/html".into())],
                b"<html>".to_vec(),
            )),
        ),
    ] {
        let registry = serving(profile);
        let name = reference(&registry);
        let subject = registry.manifest("a/b", "1").unwrap();
        let (mut signature, config) = manifest(&[("signature", b"x")]);
        signature.subject = Some(Descriptor::of(MediaType::OCI_MANIFEST, &subject));
        registry.put_blob("a/b", &config);
        let bytes = signature.to_bytes();
        registry.put_manifest("a/b", "signature", MediaType::OCI_MANIFEST.as_str(), &bytes);
        let fallback = gpux::oci::Index::new(vec![Descriptor::of(MediaType::OCI_MANIFEST, &bytes)]).to_bytes();
        let tag = Digest::of(&subject).to_string().replace(':', "-");
        registry.put_manifest("a/b", &tag, MediaType::OCI_INDEX.as_str(), &fallback);
        if let Some(fault) = fault {
            registry.fault(Kind::Referrers, "GET", 9, fault);
        }
        let found = referrers(&name, &me()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].digest, Digest::of(&bytes));
    }
}

#[test]
fn a_registry_that_does_not_delete_says_so() {
    let registry = serving(Profile {
        no_delete: true,
        ..Profile::honest()
    });
    let error = delete(&reference(&registry), &hasty()).unwrap_err();
    assert!(error.to_string().contains("405"), "{error}");
}
