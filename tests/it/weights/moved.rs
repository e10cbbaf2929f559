//! Shards on their way: what a changed version moves, and that other tools leave them as they are.

use super::*;

fn skopeo(arguments: &[&str]) {
    let output = Command::new(deps::program("skopeo")).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Changes the last byte of the named initializer's data in a model file.
fn retrained(model: &Path, target: &Path, name: &str) {
    let script = "import sys, onnx, numpy as np\nfrom onnx import numpy_helper as nh\n\
                  m = onnx.load(sys.argv[1])\n\
                  t = next(t for t in m.graph.initializer if t.name == sys.argv[3])\n\
                  a = nh.to_array(t).copy(); a.reshape(-1)[-1] += 1; t.CopyFrom(nh.from_array(a, t.name))\n\
                  onnx.save(m, sys.argv[2])\n";
    let made = Command::new(deps::python())
        .args(["-c", script, text(model), text(target), name])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

#[test]
fn a_version_with_one_changed_tensor_moves_that_tensor_and_tells_what_was_spared() {
    let registry = Distribution::start();
    let gpux = Gpux::new();
    let folder = tempfile::tempdir_in(deps::repository().join("target")).unwrap();
    let model = deps::real_model("resnet50");
    let changed = folder.path().join("model.onnx");
    retrained(&model, &changed, "fc.weight");
    let names = [1, 2].map(|version| format!("{}/resnet:{version}", registry.host()));
    gpux.ok(["build", text(&model), "-t", &names[0]]);
    gpux.ok(["build", text(&changed), "-t", &names[1]]);
    let whole = gpux.json(["push", "--json", &names[0]]);
    let second = gpux.json(["push", "--json", &names[1]]);
    let number = |told: &Value, key: &str| told[key].as_u64().unwrap();
    let size = number(&whole, "size_bytes");
    assert_eq!(number(&whole, "skipped_bytes"), 0, "{whole}");
    assert!(number(&second, "moved_bytes") * 100 <= size * 9, "{second}");
    assert!(number(&second, "skipped_bytes") * 100 >= size * 90, "{second}");

    let other = Gpux::new();
    other.ok(["pull", &names[0]]);
    let pulled = other.json(["pull", "--json", &names[1]]);
    assert!(number(&pulled, "moved_bytes") * 100 <= size * 9, "{pulled}");

    // Another repository of the same registry: nothing is sent again.
    let mounted = format!("{}/elsewhere/resnet:1", registry.host());
    gpux.ok(["tag", &names[0], &mounted]);
    let told = gpux.json(["push", "--json", &mounted]);
    assert_eq!(number(&told, "moved_bytes"), 0, "{told}");
    assert!(number(&told, "mounted_bytes") * 100 >= size * 99, "{told}");
    let answer = gpux.run(["push", &mounted]);
    assert!(
        answer.stderr.contains("0 B moved") && answer.stderr.contains("% spared"),
        "{answer:?}"
    );
}

#[test]
fn shards_pass_through_docker_registry_and_skopeo_unharmed() {
    let registry = Distribution::start();
    let gpux = Gpux::new().with_onnxruntime();
    let models = models();
    let name = format!("{}/bodies:1", registry.host());
    gpux.ok(["build", text(&models.path().join("bodies.onnx")), "-t", &name]);
    gpux.ok(["push", &name]);
    let copied = format!("{}/copied/bodies:2", registry.host());
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--dest-tls-verify=false",
        "--preserve-digests",
        &format!("docker://{name}"),
        &format!("docker://{copied}"),
    ]);
    let layout = models.path().join("layout");
    skopeo(&[
        "copy",
        "--src-tls-verify=false",
        "--preserve-digests",
        &format!("docker://{copied}"),
        &format!("oci:{}:x", layout.display()),
    ]);
    for path in shards(&gpux, &name).iter().map(|(path, _)| path) {
        assert!(fs::read(layout.join("blobs/sha256").join(path)).unwrap() == fs::read(blob(&gpux, path)).unwrap());
    }
    let other = Gpux::new().with_onnxruntime();
    let input = format!("[{}]", json_input(vec![1; 20_000]));
    let how = ("cpu", [input].as_slice().to_vec());
    let here = outputs(&gpux, &name, (how.0, &how.1));
    other.ok(["pull", &copied]);
    assert_eq!(outputs(&other, &copied, (how.0, &how.1)), here);
}
