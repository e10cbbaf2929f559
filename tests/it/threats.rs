//! Rows of manifests and layers among the threats that need an artifact of their own, from pull to unpack.

use gpux::oci::{Algorithm, Descriptor, Digest, Hasher, Index, Manifest, MediaType, annotation};

use crate::support::{
    Answer, Gpux,
    artifacts::{manifest, serve_artifact},
    registry::{Fault, Kind, Profile, Registry},
};

/// Serves a manifest of layers, each a path as it is written and its bytes.
fn serve_paths(registry: &Registry, paths: &[&str]) -> String {
    let (mut artifact, config) = manifest(&[]);
    registry.put_blob("a", &config);
    for (n, path) in paths.iter().enumerate() {
        let bytes = format!("content {n}").into_bytes();
        registry.put_blob("a", &bytes);
        let mut layer = Descriptor::of(MediaType::MODEL_WEIGHT_RAW, &bytes);
        for key in [annotation::FILE_PATH, annotation::TITLE] {
            layer.annotations.insert(key.to_owned(), (*path).to_owned());
        }
        artifact.layers.push(layer);
    }
    registry.put_manifest("a", "1", MediaType::OCI_MANIFEST.as_str(), &artifact.to_bytes());
    format!("{}/a:1", registry.host())
}

fn refused(answer: &Answer, what: &str) {
    assert_eq!(answer.code, Some(1), "{what}: {answer:?}");
    assert!(answer.stderr.starts_with("error: "), "{what}: {answer:?}");
    assert!(
        !answer.stderr.contains(['\u{1b}', '\0', '\u{202e}']),
        "{what}: {answer:?}"
    );
}

#[test]
fn layers_whose_paths_leave_the_folder_or_meet_are_never_unpacked() {
    let registry = Registry::start(Profile::honest());
    for paths in [
        &["../evil"][..],
        &["a/../../evil"],
        &["/tmp/evil"],
        &["a\0b"],
        &["\u{1b}[31mred"],
        &["a\u{202e}xnno"],
        &["C:\\evil"],
        &[""],
        &["model.onnx", "model.onnx"],
        &["model.onnx", "MODEL.onnx"],
        &["caf\u{e9}", "cafe\u{301}"],
        &["a", "a/b"],
    ] {
        let name = serve_paths(&registry, paths);
        let gpux = Gpux::new();
        gpux.ok(["pull", &name]);
        let folder = gpux.home().join("out");
        let unpacked = gpux.run(["unpack", &name, "-o", folder.to_str().unwrap()]);
        refused(&unpacked, &format!("{paths:?}"));
        refused(&gpux.run(["inspect", &name]), &format!("{paths:?}"));
        let left = std::fs::read_dir(&folder).map_or(0, |names| names.count());
        assert_eq!(left, 0, "{paths:?}");
        assert!(!gpux.home().join("evil").exists() && !std::path::Path::new("/tmp/evil").exists());
        assert_eq!(gpux.run(["store", "verify"]).code, Some(0));
    }
}

#[test]
fn a_digest_decides_over_a_tag_that_is_elsewhere() {
    let registry = Registry::start(Profile::honest());
    let wanted = serve_artifact(&registry, "a", "1", &[("model.onnx", b"first")]);
    let moved = serve_artifact(&registry, "a", "1", &[("model.onnx", b"second")]);
    assert_ne!(wanted, moved);
    let gpux = Gpux::new();
    let name = format!("{}/a:1@{wanted}", registry.host());
    assert_eq!(gpux.json(["--json", "pull", &name])["digest"], wanted.to_string());
    assert!(
        registry
            .seen()
            .iter()
            .all(|seen| !seen.target.ends_with("/manifests/1"))
    );
    // Neither was the tag set here.
    let listed = gpux.ok(["--json", "images"]);
    assert!(!listed.contains("/a:1"), "{listed}");
    let absent = format!("{}/a:1@{}", registry.host(), Digest::of(b"nothing"));
    assert_eq!(gpux.run(["pull", &absent]).code, Some(3));
    for bad in [
        "sha256:../../etc/passwd",
        "md5:d41d8cd98f00b204e9800998ecf8427e",
        "sha256:",
    ] {
        let answer = gpux.run(["pull", &format!("{}/a@{bad}", registry.host())]);
        assert_eq!(answer.code, Some(2), "{answer:?}");
    }
    assert_eq!(gpux.run(["pull", "--", "-x"]).code, Some(2));
    let secret = gpux.run(["pull", "user:hunter2@ghcr.io/x"]);
    assert_eq!(secret.code, Some(2), "{secret:?}");
    assert!(!format!("{secret:?}").contains("hunter2"), "{secret:?}");
}

fn sha512(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(Algorithm::Sha512);
    hasher.update(bytes);
    hasher.finish()
}

#[test]
fn sha512_is_verified_like_sha256() {
    let registry = Registry::start(Profile::honest());
    let (weights, config) = (b"weights".to_vec(), b"{}".to_vec());
    let layer = Descriptor::new(MediaType::MODEL_WEIGHT_RAW, sha512(&weights), weights.len() as u64)
        .with_annotation(annotation::FILE_PATH, "weights");
    let config_descriptor = Descriptor::of(MediaType::MODEL_CONFIG, &config);
    let artifact = Manifest::new(MediaType::MODEL_ARTIFACT, config_descriptor, vec![layer]);
    registry.put_blob("a", &config);
    registry.put_blob_as("a", &sha512(&weights).to_string(), &weights);
    let bytes = artifact.to_bytes();
    registry.put_manifest("a", "1", MediaType::OCI_MANIFEST.as_str(), &bytes);
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    gpux.ok(["pull", &name]);
    assert_eq!(gpux.run(["store", "verify"]).code, Some(0));
    registry.put_blob_as("a", &sha512(&weights).to_string(), b"weighty");
    let damaged = Gpux::new().run(["pull", &name]);
    assert_eq!(damaged.code, Some(5), "{damaged:?}");
    assert!(damaged.stderr.contains("damaged twice"), "{damaged:?}");
    // The manifest itself by such a digest.
    registry.fault(
        Kind::Manifest,
        "GET",
        1,
        Fault::Body(
            200,
            vec![("Content-Type".into(), MediaType::OCI_MANIFEST.to_string())],
            bytes.clone(),
        ),
    );
    registry.put_blob_as("a", &sha512(&weights).to_string(), &weights);
    let by_digest = format!("{}/a@{}", registry.host(), sha512(&bytes));
    let pulled = Gpux::new().json(["--json", "pull", &by_digest]);
    assert_eq!(pulled["digest"], sha512(&bytes).to_string());
}

#[test]
fn an_index_that_names_itself_or_nests_is_refused() {
    let registry = Registry::start(Profile::honest());
    let gpux = Gpux::new();
    let name = format!("{}/a:1", registry.host());
    // No index holds its own hash, but a registry may send it for whatever hash it names.
    let within = Digest::of(b"within");
    for media_type in [MediaType::OCI_INDEX, MediaType::OCI_MANIFEST] {
        let itself = Index::new(vec![Descriptor::new(media_type, within, 300)]).to_bytes();
        registry.put_manifest("a", "1", MediaType::OCI_INDEX.as_str(), &itself);
        let headers = vec![("Content-Type".to_owned(), MediaType::OCI_INDEX.to_string())];
        registry.fault(Kind::Manifest, "GET", 9, Fault::Body(200, headers, itself));
        let answer = gpux.run(["pull", &name]);
        assert!(matches!(answer.code, Some(1 | 5)), "{answer:?}");
        assert!(registry.count(Kind::Manifest, "GET") <= 2);
        registry.behave();
        registry.forget_requests();
    }
    let mut inner = Index::new(vec![]).to_bytes();
    for _ in 0..50 {
        registry.put_manifest("a", "inner", MediaType::OCI_INDEX.as_str(), &inner);
        inner = Index::new(vec![Descriptor::of(MediaType::OCI_INDEX, &inner)]).to_bytes();
    }
    registry.put_manifest("a", "1", MediaType::OCI_INDEX.as_str(), &inner);
    let answer = gpux.run(["pull", &name]);
    assert!(answer.stderr.contains("holds another index"), "{answer:?}");
    assert_eq!(registry.count(Kind::Manifest, "GET"), 1);
    assert_eq!(gpux.ok(["--json", "images"]).trim(), "[]");
}
