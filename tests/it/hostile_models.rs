//! Hostile ONNX files, given to the commands: one clear refusal, nothing in the store, and the next command works.
//!
//! Every way in which a file can be hostile is a test of `onnx::check`; here is one of each kind.

use std::fs;
use std::path::Path;

use gpux::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto,
};
use gpux::onnx::proto::{TensorProto, ValueInfoProto};
use gpux::tensor::DType;
use prost::Message;
use tempfile::TempDir;

use crate::support::{Answer, Gpux, graph};

/// Makes `y = Relu(x)`, one float each, with initializers.
fn relu(initializer: Vec<TensorProto>) -> ModelProto {
    running(vec![graph::node("Relu", &["x"], &["y"])], initializer, "x")
}

fn running(node: Vec<NodeProto>, initializer: Vec<TensorProto>, input: &str) -> ModelProto {
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![OperatorSetIdProto {
            domain: None,
            version: Some(17),
        }],
        graph: Some(GraphProto {
            node,
            initializer,
            input: vec![graph::port(input, DType::F32, &[1])],
            output: vec![graph::port("y", DType::F32, &[1])],
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// Makes a folder with the model and a GPUXfile.
fn folder_of(bytes: &[u8]) -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("model.onnx"), bytes).unwrap();
    fs::write(
        folder.path().join("GPUXfile"),
        "name: hostile\nversion: 1.0.0\nmodel:\n  source: model.onnx\n",
    )
    .unwrap();
    folder
}

/// Sees that an answer is a refusal for this reason, in a few lines that a terminal shows as they are.
fn assert_refused(answer: &Answer, reason: &str) {
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert_eq!(answer.stdout, "", "{answer:?}");
    assert!(answer.stderr.contains(reason), "{reason}: {answer:?}");
    assert!(answer.stderr.starts_with("error: "), "{answer:?}");
    assert!(!answer.stderr.contains("panicked"), "{answer:?}");
    assert!(
        answer.stderr.len() < 3000 && answer.stderr.lines().count() < 8,
        "{answer:?}"
    );
    let shown = |c: char| c == '\n' || !c.is_control();
    assert!(answer.stderr.chars().all(shown), "{answer:?}");
}

/// Gives a model to the commands that read one; each refuses it.
fn refused_in(folder: &Path, reason: &str) {
    let gpux = Gpux::new().in_folder(folder);
    for command in [
        &["run", "./model.onnx", "--input", "x=[1]"][..],
        &["run", ".", "--input", "x=[1]"],
        &["build", "."],
        &["inspect", "./model.onnx"],
    ] {
        assert_refused(&gpux.run(command), reason);
    }
    assert!(!gpux.home().join("store/blobs/sha256").exists() || count(&gpux.home().join("store/blobs/sha256")) == 0);
    gpux.ok(["images"]);
}

fn count(folder: &Path) -> usize {
    fs::read_dir(folder).unwrap().count()
}

fn refused(model: &ModelProto, reason: &str) {
    refused_in(folder_of(&model.encode_to_vec()).path(), reason);
}

fn external(location: &str) -> ModelProto {
    relu(vec![graph::external("w", DType::F32, &[1], location)])
}

#[test]
fn files_that_are_no_model_are_refused() {
    let whole = relu(Vec::new()).encode_to_vec();
    refused_in(folder_of(b"").path(), "the file is empty");
    refused_in(folder_of(&whole[..whole.len() - 3]).path(), "cut short");
    refused_in(
        folder_of(b"version https://git-lfs.github.com/spec/v1\n").path(),
        "Git LFS",
    );
    // The same bytes each time, of no pattern that a format has.
    let noise: Vec<u8> = (0..4096u32)
        .map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    refused_in(folder_of(&noise).path(), "ONNX");
}

#[test]
fn external_data_outside_of_the_bundle_is_refused() {
    for (location, reason) in [
        ("../../../etc/passwd", "leaves its folder"),
        ("/etc/passwd", "an absolute path"),
        ("\\\\host\\share\\w.bin", "a backslash"),
        ("C:w.bin", "a drive letter"),
        ("w.bin\0", "a NUL"),
        ("", "an empty path"),
        ("*/_ORT_MEM_ADDR_/*", "address in memory"),
    ] {
        refused(&external(location), reason);
    }
    refused(&external("w.bin"), "w.bin");
}

#[test]
fn external_data_past_the_end_of_its_file_is_refused() {
    let folder = folder_of(&external("w.bin").encode_to_vec());
    fs::write(folder.path().join("w.bin"), [0; 3]).unwrap();
    refused_in(folder.path(), "the file has 3");
}

#[cfg(unix)]
#[test]
fn external_data_through_a_link_out_of_the_folder_is_refused() {
    let outside = TempDir::new().unwrap();
    fs::write(outside.path().join("secret"), [0; 4]).unwrap();
    let folder = folder_of(&external("w.bin").encode_to_vec());
    std::os::unix::fs::symlink(outside.path().join("secret"), folder.path().join("w.bin")).unwrap();
    refused_in(folder.path(), "`w.bin` is a link out of the build context");
}

#[test]
fn graphs_that_no_honest_tool_writes_are_refused() {
    let run = |domain: &str, operator: &str| NodeProto {
        domain: Some(domain.into()),
        ..graph::node(operator, &["x"], &["y"])
    };
    refused(
        &running(vec![run("evil.ops", "Run")], Vec::new(), "x"),
        "domain `evil.ops`",
    );
    let path = AttributeProto {
        name: Some("ep_cache_context".into()),
        r#type: Some(3),
        s: Some("/etc/passwd".into()),
        ..Default::default()
    };
    let mut compiled = run("com.microsoft", "EPContext");
    compiled.attribute = vec![path];
    refused(
        &running(vec![compiled], Vec::new(), "x"),
        "compiled for one accelerator",
    );
    let mut model = relu(Vec::new());
    model.opset_import[0].version = Some(1 << 40);
    refused(&model, "version 1099511627776");
    let huge = graph::tensor("w", DType::F32, &[1 << 40, 1 << 40], &[]);
    refused(&relu(vec![huge]), "overflows");
    let negative = graph::tensor("w", DType::F32, &[-1], &[]);
    refused(&relu(vec![negative]), "a dimension of -1");
}

#[test]
fn names_of_ten_megabytes_are_one_short_line_in_a_refusal() {
    let name = "n\n\x1b[31m".repeat(10 << 17);
    refused(
        &relu(vec![graph::tensor(&name, DType::F32, &[-1], &[])]),
        "a dimension of -1",
    );
    let mut model = relu(Vec::new());
    let port = ValueInfoProto {
        r#type: None,
        ..graph::port(&name, DType::F32, &[1])
    };
    model.graph.as_mut().unwrap().input = vec![port];
    refused(&model, "has no type");
}

#[test]
fn options_in_a_models_metadata_are_ignored() {
    let mut model = relu(Vec::new());
    model.metadata_props = vec![StringStringEntryProto {
        key: Some("ort_config".into()),
        value: Some(r#"{"session_options": {"intra_op_num_threads": 100000, "bogus": 1}}"#.into()),
    }];
    let folder = folder_of(&model.encode_to_vec());
    let gpux = Gpux::new().with_onnxruntime().in_folder(folder.path());
    for provider in ["embedded", "cpu"] {
        let answer = gpux.json(["run", "./model.onnx", "--input", "x=[2]", "--provider", provider]);
        assert_eq!(answer["outputs"]["y"]["data"], serde_json::json!([2.0]), "{answer}");
    }
}
