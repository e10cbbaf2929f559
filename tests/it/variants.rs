//! Indexes of variants: what is one model is run, what is several is not guessed at.

use gpux::oci::{Descriptor, Index, MediaType};

use crate::support::{
    Gpux,
    artifacts::manifest,
    deps::fixture,
    registry::{Profile, Registry},
};

/// Serves an index of artifacts, each of these files, and gives their digests.
fn serve_index(registry: &Registry, variants: &[&[(&str, &[u8])]]) -> Vec<String> {
    let mut children = Vec::new();
    for files in variants {
        let (artifact, config) = manifest(files);
        for bytes in files.iter().map(|(_, bytes)| *bytes).chain([config.as_slice()]) {
            registry.put_blob("a", bytes);
        }
        let bytes = artifact.to_bytes();
        registry.put_manifest("a", "child", MediaType::OCI_MANIFEST.as_str(), &bytes);
        children.push(Descriptor::of(MediaType::OCI_MANIFEST, &bytes));
    }
    let digests = children.iter().map(|child| child.digest.to_string()).collect();
    let index = Index::new(children).to_bytes();
    registry.put_manifest("a", "1", MediaType::OCI_INDEX.as_str(), &index);
    digests
}

#[test]
fn an_index_of_one_model_runs_as_the_model() {
    let registry = Registry::start(Profile::honest());
    let model = std::fs::read(fixture("digits/model.onnx")).unwrap();
    let children = serve_index(&registry, &[&[("model.onnx", &model)]]);
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    let input = format!("@{}", fixture("digits/seven.npy").display());
    let answer = gpux.json(["--json", "run", &name, "--input", &input]);
    assert_eq!(answer["outputs"]["digit"]["data"][0], 7);
    let folder = gpux.home().join("out");
    gpux.ok(["unpack", &name, "-o", folder.to_str().unwrap()]);
    assert!(std::fs::read(folder.join("model.onnx")).unwrap() == model);
    let remote = gpux.json(["--json", "inspect", "--remote", &name]);
    assert_eq!(remote["layers"][0]["digest"], children[0].as_str());
}

#[test]
fn an_index_of_several_names_them_and_each_runs_by_its_digest() {
    let registry = Registry::start(Profile::honest());
    let model = std::fs::read(fixture("digits/model.onnx")).unwrap();
    let variants: [&[(&str, &[u8])]; 2] = [
        &[("model.onnx", &model)],
        &[("model.onnx", &model), ("README.md", b"x")],
    ];
    let children = serve_index(&registry, &variants);
    let (gpux, name) = (Gpux::new(), format!("{}/a:1", registry.host()));
    gpux.ok(["pull", &name]);
    let answer = gpux.run(["inspect", &name]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for child in &children {
        assert!(answer.stderr.contains(child.as_str()), "{answer:?}");
    }
    assert!(
        answer.stderr.contains("hint: ") && answer.stderr.contains("@sha256:"),
        "{answer:?}"
    );
    let one = format!("{}/a@{}", registry.host(), children[1]);
    let input = format!("@{}", fixture("digits/seven.npy").display());
    assert_eq!(
        gpux.json(["--json", "run", &one, "--input", &input])["outputs"]["digit"]["data"][0],
        7
    );

    // It is pushed on as it is.
    let elsewhere = Registry::start(Profile::honest());
    let there = format!("{}/b:1", elsewhere.host());
    gpux.ok(["tag", &name, &there]);
    gpux.ok(["push", &there]);
    assert_eq!(elsewhere.manifest("b", "1"), registry.manifest("a", "1"));
}
