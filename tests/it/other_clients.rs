//! Another judge beside skopeo: the ORAS project's client for Python.

use std::process::Command;

use crate::support::{
    Gpux,
    deps::{fixture, python},
    distribution::Distribution,
};

/// Runs a few lines with an `oras` client that speaks http.
fn oras(folder: &std::path::Path, lines: &str) {
    let script = format!("import oras.client\nclient = oras.client.OrasClient(insecure=True)\n{lines}\n");
    let output = Command::new(python())
        .args(["-c", &script])
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn gpux_runs_what_oras_pushes() {
    let registry = Distribution::start();
    let name = format!("{}/by/oras:1", registry.host());
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(fixture("digits/model.onnx"), folder.path().join("digits.onnx")).unwrap();
    std::fs::write(folder.path().join("README.md"), "digits\n").unwrap();
    oras(
        folder.path(),
        &format!("client.push(target='{name}', files=['digits.onnx', 'README.md'])"),
    );
    let gpux = Gpux::new();
    let input = format!("@{}", fixture("digits/seven.npy").display());
    let answer = gpux.json(["--json", "run", &name, "--input", &input]);
    assert_eq!(answer["outputs"]["digit"]["data"][0], 7);
    let out = folder.path().join("out");
    gpux.ok(["unpack", &name, "-o", out.to_str().unwrap()]);
    for file in ["digits.onnx", "README.md"] {
        assert!(std::fs::read(out.join(file)).unwrap() == std::fs::read(folder.path().join(file)).unwrap());
    }
}

#[test]
fn oras_pulls_what_gpux_pushes() {
    let registry = Distribution::start();
    let name = format!("{}/by/gpux:1", registry.host());
    let gpux = Gpux::new();
    gpux.ok(["build", fixture("digits").to_str().unwrap(), "-t", &name]);
    gpux.ok(["push", &name]);
    let folder = tempfile::tempdir().unwrap();
    oras(folder.path(), &format!("client.pull(target='{name}', outdir='.')"));
    let unpacked = folder.path().join("unpacked");
    gpux.ok(["unpack", &name, "-o", unpacked.to_str().unwrap()]);
    for file in ["GPUXfile", "model.onnx"] {
        let theirs = std::fs::read(folder.path().join(file)).unwrap();
        assert!(theirs == std::fs::read(unpacked.join(file)).unwrap(), "{file}");
    }
}
