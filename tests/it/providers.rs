//! Which engine runs a model, where ONNX Runtime is found, and what is told of it.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;
use tempfile::TempDir;

use crate::support::{Gpux, deps, graph};
use crate::trials;

const MLP: [&str; 4] = ["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]"];

/// Compiles a library that stands for ONNX Runtime under its usual name, with this Rust text in it.
fn compile(folder: &Path, text: &str) -> PathBuf {
    let source = folder.join("library.rs");
    std::fs::write(&source, text).unwrap();
    let name = format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let library = folder.join(name);
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let status = Command::new(rustc)
        .args(["--crate-type", "cdylib", "--edition", "2024", "-o"])
        .args([&library, &source])
        .status()
        .unwrap();
    assert!(status.success());
    library
}

/// A library that says it is ONNX Runtime 1.22.0, and has nothing behind it.
const OLD: &str = r#"
#[repr(C)]
pub struct Base {
    api: extern "C" fn(u32) -> *const u8,
    version: extern "C" fn() -> *const u8,
}
extern "C" fn api(_: u32) -> *const u8 {
    std::ptr::null()
}
extern "C" fn version() -> *const u8 {
    c"1.22.0".as_ptr().cast()
}
static BASE: Base = Base { api, version };
#[unsafe(no_mangle)]
pub extern "C" fn OrtGetApiBase() -> *const Base {
    &BASE
}
"#;

#[test]
fn auto_takes_the_embedded_engine_and_does_not_look_for_a_library() {
    let gpux = Gpux::new();
    let mut command = gpux.command(MLP);
    let output = command.env("ORT_DYLIB_PATH", "/nowhere").output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["provider"], "embedded");
    assert_eq!(answer["refused"], json!([]));
}

#[test]
fn auto_falls_to_onnx_runtime_and_tells_why_the_embedded_engine_did_not_run() {
    let model = "fixtures/dtypes/float64.onnx";
    let arguments = ["run", model, "--input", "x=[1]", "-v"];
    let answer = Gpux::new().with_onnxruntime().run(arguments);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let told: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(told["provider"], "cpu");
    assert_eq!(told["refused"][0]["provider"], "embedded");
    let reason = told["refused"][0]["reason"].as_str().unwrap();
    assert!(reason.contains("float64"), "{reason}");
    assert!(answer.stderr.contains(reason), "{answer:?}");
}

#[test]
fn where_no_engine_can_the_operator_or_type_the_node_and_the_way_to_onnx_runtime_are_named() {
    let folder = TempDir::new().unwrap();
    let endless = graph::write_endless_loop(folder.path());
    for (model, parts) in [
        ("fixtures/dtypes/float64.onnx", ["edges", "float64"]),
        (endless.to_str().unwrap(), ["operator Loop", "`loop`"]),
    ] {
        let answer = Gpux::new().run(["run", model, "--input", "x=[1]"]);
        assert_eq!(answer.code, Some(1), "{answer:?}");
        for part in parts
            .into_iter()
            .chain(["no ONNX Runtime library was found", "pip install onnxruntime"])
        {
            assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
        }
    }
}

#[test]
fn a_provider_that_is_named_and_fails_is_an_error_and_never_another_one() {
    let gpux = Gpux::new();
    for (provider, reason) in [
        ("cpu", "no ONNX Runtime library was found"),
        ("cuda", "no ONNX Runtime with cuda was found"),
    ] {
        let answer = gpux.run(MLP.iter().chain(&["--provider", provider]));
        assert_eq!((answer.code, answer.stdout.as_str()), (Some(1), ""), "{answer:?}");
        assert!(answer.stderr.contains(&format!("{provider}: {reason}")), "{answer:?}");
    }
    let second = gpux.json(MLP.iter().chain(&["--provider", "cuda,embedded"]));
    assert_eq!(second["provider"], "embedded");
    assert_eq!(second["refused"][0]["provider"], "cuda");
}

#[test]
fn an_older_onnx_runtime_is_refused_with_its_file_and_its_version() {
    let folder = TempDir::new().unwrap();
    let library = compile(folder.path(), OLD);
    let mut command = Gpux::new().command(MLP.iter().chain(&["--provider", "cpu"]));
    let output = command.env("ORT_DYLIB_PATH", &library).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    let library = library.canonicalize().unwrap();
    for part in [library.to_str().unwrap(), "1.22.0", "1.24"] {
        assert!(told.contains(part), "`{part}` is missing: {told}");
    }
}

#[test]
fn a_library_that_is_too_old_or_not_onnx_runtime_makes_way_for_the_next() {
    let (old, other) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let gpux = Gpux::new();
    compile(old.path(), OLD);
    std::fs::remove_file(old.path().join("library.rs")).unwrap();
    trials::install(&gpux, old.path(), "cpu", "1.22.0");
    let capi = other.path().join("lib/python3.11/site-packages/onnxruntime/capi");
    std::fs::create_dir_all(&capi).unwrap();
    compile(&capi, "pub fn nothing() {}");

    let mut command = gpux.command(MLP.iter().chain(&["--provider", "cpu"]));
    command
        .env("VIRTUAL_ENV", other.path())
        .env("CONDA_PREFIX", deps::python_environment());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(answer["provider"], "cpu");

    command.env_remove("CONDA_PREFIX").arg("-v");
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{told}");
    for part in [
        "cpu-1.22.0",
        "is ONNX Runtime 1.22.0",
        "is a library that is not ONNX Runtime",
    ] {
        assert!(told.contains(part), "`{part}` is missing: {told}");
    }
}

#[test]
fn onnx_runtime_sends_nothing_and_takes_no_options_from_the_model_or_its_log_from_the_user() {
    let folder = TempDir::new().unwrap();
    let home = TempDir::new().unwrap();
    let model = folder.path().join("model.onnx");
    // `metadata_props` (field 14) with options that ONNX Runtime cannot read: it fails where it tries to.
    let mut bytes = std::fs::read(deps::fixture("mlp/model.onnx")).unwrap();
    bytes.extend(b"\x72\x18\x0a\x0aort_config\x12\x0a{broken{{{");
    std::fs::write(&model, bytes).unwrap();
    let arguments = [
        "run",
        model.to_str().unwrap(),
        "--input",
        "x=[[1,2,3,4]]",
        "--provider",
        "cpu",
    ];
    let mut command = Gpux::new().with_onnxruntime().command(arguments);
    command
        .env("ORT_LOAD_CONFIG_FROM_MODEL", "1")
        .env("ORT_LOG", "verbose")
        .env("HOME", home.path());
    let output = command.output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{told}");
    assert!(!told.contains("onnxruntime"), "{told}");
    let written: Vec<_> = std::fs::read_dir(home.path()).unwrap().collect();
    assert!(written.is_empty(), "{written:?}");
}

#[test]
fn names_in_an_engines_error_come_out_on_one_escaped_line() {
    let folder = TempDir::new().unwrap();
    let mut node = graph::node("NoSuchOperator", &["x"], &["y"]);
    node.name = Some(format!("a\n\x1b[31mred{}", "z".repeat(1 << 20)));
    let model = graph::write_one_node(folder.path(), node);
    let arguments = ["run", model.to_str().unwrap(), "--input", "x=[1]", "--provider", "cpu"];
    let answer = Gpux::new().with_onnxruntime().run(arguments);
    assert_eq!(answer.code, Some(1), "{}", answer.stderr.len());
    assert!(answer.stderr.contains("a \\u{1b}[31mred"), "{answer:?}");
    assert!(answer.stderr.len() < 2_000, "{} bytes", answer.stderr.len());
    assert!(!answer.stderr.contains('\x1b'), "{answer:?}");
}
