//! `gpux build`: what goes in, what comes out, and what is refused.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Gpux, deps};

/// Copies a fixture into a new folder.
fn copy_of(fixture: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    copy_into(&deps::fixture(fixture), folder.path());
    folder
}

fn copy_into(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_into(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), &target).unwrap();
        }
    }
}

fn digest_of(gpux: &Gpux, folder: &Path) -> String {
    let built = gpux.json(["build", "--json", &*folder.to_string_lossy()]);
    built["digest"].as_str().unwrap().to_owned()
}

fn build(folder: &Path) -> crate::support::Answer {
    Gpux::new().run(["build", &*folder.to_string_lossy()])
}

/// Reads a blob of the store by its digest.
fn blob(gpux: &Gpux, digest: &str) -> Vec<u8> {
    fs::read(
        gpux.home()
            .join("store/blobs/sha256")
            .join(digest.strip_prefix("sha256:").unwrap()),
    )
    .unwrap()
}

#[test]
fn build_tells_the_digest_on_stdout_and_the_rest_on_stderr() {
    let gpux = Gpux::new();
    let answer = gpux.run(["build", "fixtures/digits"]);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    assert!(
        answer.stdout.starts_with("sha256:") && answer.stdout.lines().count() == 1,
        "{answer:?}"
    );
    assert!(answer.stderr.starts_with("built digits:1.0.0 ("), "{answer:?}");
}

#[test]
fn the_same_input_gives_the_same_digest_in_another_place_at_another_time_with_other_modes() {
    let (first, second) = (copy_of("digits"), copy_of("digits"));
    for entry in fs::read_dir(second.path()).unwrap() {
        let path = entry.unwrap().path();
        let file = fs::File::options().append(true).open(&path).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1))
            .unwrap();
        #[cfg(unix)]
        fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    }
    let digest = digest_of(&Gpux::new(), first.path());
    assert_eq!(digest, digest_of(&Gpux::new(), second.path()));
    assert_eq!(digest, digest_of(&Gpux::new(), &deps::fixture("digits")));
    let gpux = Gpux::new().in_folder(first.path());
    let mut command = gpux.command(["build", "--json", "-t", "other:2"]);
    command
        .env("USER", "somebody")
        .env("HOME", "/nowhere")
        .env("TZ", "Pacific/Apia")
        .env("LANG", "tr_TR.UTF-8");
    let output = command.output().unwrap();
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(built["digest"], digest.as_str());
}

#[cfg(unix)]
#[test]
fn two_users_get_the_same_digest() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;

    let folder = copy_of("digits");
    let digest = digest_of(&Gpux::new(), folder.path());
    let is_root = Command::new("id").arg("-u").output().unwrap().stdout == b"0\n";
    let gpux = Gpux::new().in_folder(folder.path());
    let mut command = gpux.command(["build", "--json", "."]);
    if is_root {
        // Somebody who may read the folder and write only a home of their own.
        const NOBODY: u32 = 65534;
        std::os::unix::fs::chown(gpux.home(), Some(NOBODY), Some(NOBODY)).unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = folder.path().join("gpux");
        fs::copy(env!("CARGO_BIN_EXE_gpux"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let mut other = Command::new(binary);
        other
            .args(["build", "--json", "."])
            .current_dir(folder.path())
            .env_clear()
            .env("GPUX_HOME", gpux.home());
        command = other;
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let built: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    assert_eq!(built["digest"], digest.as_str());
}

#[test]
fn the_date_of_the_artifact_is_source_date_epoch_or_absent() {
    let gpux = Gpux::new();
    let plain = digest_of(&gpux, &deps::fixture("digits"));
    assert!(!String::from_utf8(blob(&gpux, &plain)).unwrap().contains("created"));
    let output = gpux
        .command(["build", "--json", "fixtures/digits"])
        .env("SOURCE_DATE_EPOCH", "86400")
        .output()
        .unwrap();
    let built: Value = serde_json::from_slice(&output.stdout).unwrap();
    let manifest = String::from_utf8(blob(&gpux, built["digest"].as_str().unwrap())).unwrap();
    assert!(
        manifest.contains(r#""org.opencontainers.image.created":"1970-01-02T00:00:00Z""#),
        "{manifest}"
    );
    let wrong = gpux
        .command(["build", "fixtures/digits"])
        .env("SOURCE_DATE_EPOCH", "soon")
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
}

#[test]
fn the_artifact_is_modelpack_with_raw_layers() {
    let gpux = Gpux::new();
    let folder = copy_of("digits");
    for (path, content) in [
        ("README.md", "read"),
        ("license.txt", "free"),
        ("samples/a.json", "1"),
        ("side.txt", "s"),
    ] {
        let path = folder.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    let gpuxfile = folder.path().join("GPUXfile");
    let text = fs::read_to_string(&gpuxfile).unwrap();
    fs::write(&gpuxfile, format!("{text}files: [side.*]\n")).unwrap();
    let digest = digest_of(&gpux, folder.path());
    let manifest: Value = serde_json::from_slice(&blob(&gpux, &digest)).unwrap();
    assert_eq!(manifest["artifactType"], "application/vnd.cncf.model.manifest.v1+json");
    let layers: Vec<(&str, &str)> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| {
            let path = layer["annotations"]["org.cncf.model.filepath"].as_str().unwrap();
            assert_eq!(layer["annotations"]["org.opencontainers.image.title"], path);
            let metadata = layer["annotations"]["org.cncf.model.file.metadata+json"]
                .as_str()
                .unwrap();
            let metadata: Value = serde_json::from_str(metadata).unwrap();
            assert_eq!(
                (&metadata["mode"], &metadata["uid"]),
                (&Value::from(420), &Value::from(0))
            );
            let kind = layer["mediaType"]
                .as_str()
                .unwrap()
                .strip_prefix("application/vnd.cncf.model.")
                .unwrap();
            (path, kind)
        })
        .collect();
    assert_eq!(
        layers,
        [
            ("GPUXfile", "weight.config.v1.raw"),
            ("model.onnx", "weight.v1.raw"),
            ("side.txt", "weight.config.v1.raw"),
            ("README.md", "doc.v1.raw"),
            ("license.txt", "doc.v1.raw"),
            ("samples/a.json", "dataset.v1.raw"),
        ]
    );
    let config: Value = serde_json::from_slice(&blob(&gpux, manifest["config"]["digest"].as_str().unwrap())).unwrap();
    assert_eq!(config["config"]["format"], "onnx");
    assert_eq!(config["descriptor"]["name"], "digits");
    let digests: Vec<&Value> = manifest["layers"]
        .as_array()
        .unwrap()
        .iter()
        .map(|layer| &layer["digest"])
        .collect();
    assert_eq!(
        config["modelfs"]["diffIds"]
            .as_array()
            .unwrap()
            .iter()
            .collect::<Vec<_>>(),
        digests
    );
}

#[test]
fn a_gpux_yml_of_the_python_tool_builds() {
    let folder = copy_of("digits");
    fs::remove_file(folder.path().join("GPUXfile")).unwrap();
    let text = "name: digits\nmodel:\n  source: ./model.onnx\n  format: onnx\ninputs:\n  image:\n    type: float32\n\
                runtime:\n  gpu:\n    memory: 2GB\n  timeout: 30\n  batch_size: 4\nserving:\n  port: 9000\n";
    fs::write(folder.path().join("gpux.yml"), text).unwrap();
    let answer = build(folder.path());
    assert_eq!(answer.code, Some(0), "{answer:?}");
    for key in ["runtime.gpu.memory", "runtime.batch_size"] {
        assert_eq!(
            answer.stderr.matches(&format!("`{key}")).count(),
            1,
            "{key}: {answer:?}"
        );
    }
}

#[test]
fn a_bare_model_builds() {
    let gpux = Gpux::new();
    let built = gpux.json(["build", "--json", "fixtures/mlp/model.onnx", "-t", "mlp:1"]);
    assert_eq!(built["reference"], "mlp:1");
}

#[test]
fn external_data_goes_along() {
    let gpux = Gpux::new();
    gpux.ok(["build", "--no-shard", "fixtures/external", "-t", "external:1"]);
    let inspected = gpux.json(["inspect", "--json", "external:1"]);
    let weights = inspected["layers"].as_array().unwrap().iter();
    let weights: Vec<&str> = weights
        .filter(|layer| layer["media_type"] == "application/vnd.cncf.model.weight.v1.raw")
        .map(|layer| layer["path"].as_str().unwrap())
        .collect();
    assert!(weights.len() >= 3 && weights[0] == "model.onnx", "{weights:?}");
}

/// Writes a GPUXfile beside the digits model.
fn with_gpuxfile(text: &str) -> TempDir {
    let folder = copy_of("digits");
    fs::write(folder.path().join("GPUXfile"), text).unwrap();
    folder
}

#[track_caller]
fn refused(folder: &Path, words: &[&str]) {
    let gpux = Gpux::new();
    let answer = gpux.run(["build", &*folder.to_string_lossy()]);
    assert!(matches!(answer.code, Some(1..=3)), "{answer:?}");
    assert!(answer.stdout.is_empty(), "{answer:?}");
    for word in words {
        assert!(answer.stderr.contains(word), "`{word}`: {answer:?}");
    }
    assert!(!answer.stderr.contains("panicked"), "{answer:?}");
    assert_eq!(gpux.ok(["images"]).lines().count(), 1, "the store is unchanged");
}

#[test]
fn a_model_that_is_not_there_is_an_error_at_its_line() {
    let folder = with_gpuxfile("name: x\nversion: 1.0.0\nmodel:\n  source: resnet.onnx\n");
    refused(
        folder.path(),
        &[
            "GPUXfile:4:11",
            "model file `resnet.onnx` does not exist",
            "hint: paths are relative",
            "^",
        ],
    );
}

#[test]
fn a_gpuxfile_of_gigabytes_is_refused_unread() {
    let folder = with_gpuxfile("name: x\nmodel: model.onnx\n");
    let file = fs::File::options()
        .write(true)
        .open(folder.path().join("GPUXfile"))
        .unwrap();
    file.set_len(100 << 30).unwrap();
    refused(folder.path(), &["GPUXfile:1:1", "more than 1048576 bytes"]);
}

#[test]
fn paths_out_of_the_context_are_refused() {
    for path in ["../../etc/shadow", "/etc/shadow", "a/../../b.onnx"] {
        refused(
            with_gpuxfile(&format!("name: x\nmodel: {path}\n")).path(),
            &["GPUXfile:2:8", path],
        );
        refused(
            with_gpuxfile(&format!("name: x\nmodel: model.onnx\nfiles: [{path}]\n")).path(),
            &["GPUXfile:3:", path],
        );
    }
}

#[cfg(unix)]
#[test]
fn links_are_followed_within_the_context_and_out_of_it_only_when_told() {
    use std::os::unix::fs::symlink;

    let outside = copy_of("mlp");
    let folder = with_gpuxfile("name: x\nmodel: link.onnx\n");
    symlink("model.onnx", folder.path().join("link.onnx")).unwrap();
    let gpux = Gpux::new();
    digest_of(&gpux, folder.path());

    fs::remove_file(folder.path().join("link.onnx")).unwrap();
    symlink(outside.path().join("model.onnx"), folder.path().join("link.onnx")).unwrap();
    refused(
        folder.path(),
        &["GPUXfile:2:8", "link out of the build context", "--follow-links"],
    );
    gpux.ok(["build", "--follow-links", &*folder.path().to_string_lossy()]);

    let folder = with_gpuxfile("name: x\nmodel: sub/model.onnx\n");
    symlink(outside.path(), folder.path().join("sub")).unwrap();
    refused(folder.path(), &["link out of the build context"]);
}

#[cfg(unix)]
#[test]
fn a_pipe_in_the_context_neither_hangs_nor_is_taken() {
    let folder = with_gpuxfile("name: x\nmodel: model.onnx\n");
    let pipe = folder.path().join("side.pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    digest_of(&Gpux::new(), folder.path());
    fs::write(
        folder.path().join("GPUXfile"),
        "name: x\nmodel: model.onnx\nfiles: ['*.pipe']\n",
    )
    .unwrap();
    refused(folder.path(), &["GPUXfile:3:9", "side.pipe", "pipe"]);
    fs::write(folder.path().join("GPUXfile"), "name: x\nmodel: side.pipe\n").unwrap();
    refused(folder.path(), &["GPUXfile:2:8", "pipe"]);
}

#[test]
fn a_pattern_that_matches_nothing_is_an_error() {
    refused(
        with_gpuxfile("name: x\nmodel: model.onnx\nfiles: ['*.nothing']\n").path(),
        &["GPUXfile:3:9", "*.nothing"],
    );
}

#[test]
fn declarations_are_checked_against_the_model() {
    let wrong_name = "name: x\nmodel: model.onnx\ninputs:\n  imag: float32\n";
    refused(
        with_gpuxfile(wrong_name).path(),
        &["GPUXfile:4:3", "no input `imag`", "image"],
    );
    let wrong_type = "name: x\nmodel: model.onnx\ninputs:\n  image: int64\n";
    refused(with_gpuxfile(wrong_type).path(), &["GPUXfile:4:10", "float32", "int64"]);
    let wrong_shape = "name: x\nmodel: model.onnx\ninputs:\n  image: {type: float32, shape: [N, 3, 8, 8]}\n";
    refused(with_gpuxfile(wrong_shape).path(), &["GPUXfile:4:", "cannot be 3"]);
}

#[test]
fn a_folder_without_a_gpuxfile_says_what_to_do() {
    let folder = TempDir::new().unwrap();
    refused(folder.path(), &["has no GPUXfile", "gpux init"]);
    refused(&PathBuf::from("/nonexistent/folder"), &["/nonexistent/folder"]);
}

#[test]
fn a_file_that_is_no_model_is_refused() {
    let folder = with_gpuxfile("name: x\nmodel: model.onnx\n");
    for content in [&b""[..], b"PK\x03\x04zip", b"<html>", &[0xff; 4096]] {
        fs::write(folder.path().join("model.onnx"), content).unwrap();
        refused(folder.path(), &["model.onnx"]);
    }
}

#[test]
fn missing_external_data_is_named() {
    let folder = copy_of("external");
    let gpuxfile = folder.path().join("GPUXfile");
    if !gpuxfile.exists() {
        fs::write(&gpuxfile, "name: external\nmodel: model.onnx\n").unwrap();
    }
    let mut removed = None;
    for entry in fs::read_dir(folder.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() && path.extension().is_some_and(|ending| ending != "onnx") && path != gpuxfile {
            removed = Some(path.file_name().unwrap().to_string_lossy().into_owned());
            fs::remove_file(path).unwrap();
            break;
        }
    }
    refused(
        folder.path(),
        &[
            "external data",
            &removed.expect("the fixture has a data file beside the model"),
        ],
    );
}
