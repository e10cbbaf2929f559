//! What `gpux doctor` says of machines: this one, others by their descriptions, and drivers that misbehave.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::contracts;
use crate::support::Gpux;

/// Compiles C to a library.
pub fn compile(text: &str, library: &Path) {
    let source = library.with_extension("c");
    std::fs::write(&source, text).unwrap();
    let arguments = ["-shared", "-fPIC", "-w", "-o"];
    let status = Command::new("cc")
        .args(arguments)
        .arg(library)
        .arg(&source)
        .status()
        .unwrap();
    assert!(status.success(), "{text}");
}

/// What doctor says where the system's loader finds the libraries of `folder`.
fn doctor(folder: &Path) -> Value {
    let gpux = Gpux::new();
    let mut command = gpux.command(["doctor", "--json"]);
    command.env("LD_LIBRARY_PATH", folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    contracts::command("doctor", &document);
    document
}

/// What it says of one provider.
fn provider<'a>(document: &'a Value, name: &str) -> &'a Value {
    let providers = document["providers"].as_array().unwrap();
    providers.iter().find(|it| it["provider"] == name).unwrap()
}

#[test]
fn this_machine_has_a_processor_and_what_it_lacks_is_one_command_away() {
    let folder = TempDir::new().unwrap();
    let document = doctor(folder.path());
    assert!(!document["hardware"]["processor"]["name"].as_str().unwrap().is_empty());
    assert!(document["hardware"]["processor"]["threads"].as_u64().unwrap() > 0);
    assert_eq!(provider(&document, "embedded")["state"], "usable");
    let cpu = provider(&document, "cpu");
    assert_eq!(
        (&cpu["state"], &cpu["command"]),
        (&json!("missing"), &json!("gpux provider install cpu"))
    );
    let text = Gpux::new().ok(["doctor"]);
    for part in [
        "processor",
        "threads",
        "PROVIDER",
        "embedded",
        "gpux provider install cpu",
    ] {
        assert!(text.contains(part), "`{part}` is missing:\n{text}");
    }
}

#[test]
fn an_onnx_runtime_that_is_here_is_tried_once_and_remembered() {
    let gpux = Gpux::new().with_onnxruntime();
    let document = gpux.json(["doctor", "--json"]);
    assert_eq!(provider(&document, "cpu")["state"], "usable", "{document}");
    let records = || std::fs::read_dir(gpux.home().join("cache/providers")).unwrap().count();
    assert_eq!(records(), 1);
    let again = gpux.run(["doctor", "-v"]);
    assert!(!again.stderr.contains("trying cpu"), "{again:?}");
    let again = gpux.run(["doctor", "-v", "--again"]);
    assert!(again.stderr.contains("trying cpu"), "{again:?}");
    assert_eq!(records(), 1);
    let untried = Gpux::new().with_onnxruntime().json(["doctor", "--json", "--no-probe"]);
    assert_eq!(provider(&untried, "cpu")["state"], "untried");
}

/// A driver with one card.
const DRIVER: &str = r#"
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDriverGetVersion(int *version) { *version = 13010; return 0; }
int cuDeviceGetCount(int *count) { *count = 2; return 0; }
int cuDeviceGet(int *device, int at) { *device = at; return 0; }
int cuDeviceGetName(char *name, int length, int device) { strncpy(name, "Acme G1", length); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 24ull << 30; return 0; }
int cuDeviceGetAttribute(int *value, int what, int device) { *value = what == 75 ? 9 : 0; return 0; }
"#;

#[cfg(target_os = "linux")]
#[test]
fn a_drivers_library_is_asked_for_its_cards() {
    let folder = TempDir::new().unwrap();
    compile(DRIVER, &folder.path().join("libcuda.so.1"));
    let management = r#"
#include <string.h>
int nvmlInit_v2(void) { return 0; }
int nvmlSystemGetDriverVersion(char *version, unsigned length) { strncpy(version, "581.42", length); return 0; }
"#;
    compile(management, &folder.path().join("libnvidia-ml.so.1"));
    let document = doctor(folder.path());
    let hardware = &document["hardware"];
    assert_eq!(
        (&hardware["nvidia_driver"], &hardware["cuda_version"]),
        (&json!("581.42"), &json!("13.1"))
    );
    let card = &hardware["gpus"][0];
    assert_eq!(
        (&card["name"], &card["compute_capability"]),
        (&json!("Acme G1"), &json!("9.0"))
    );
    assert_eq!(card["memory_bytes"], 24u64 << 30);
    let cuda = provider(&document, "cuda");
    assert_eq!(cuda["reason"], "for 2 × Acme G1: not installed");
    assert_eq!(cuda["command"], "gpux provider install cuda");
}

#[cfg(target_os = "linux")]
#[test]
fn drivers_that_crash_refuse_or_are_no_drivers_are_told_and_survived() {
    for (library, name, text, expected) in [
        (
            "libcuda.so.1",
            "nvidia",
            "int cuInit(unsigned f) { *(volatile int *)0 = 1; return 0; }",
            "has no",
        ),
        (
            "libcuda.so.1",
            "nvidia",
            "__attribute__((constructor)) void start(void) { *(volatile int *)0 = 1; }",
            "segmentation fault",
        ),
        (
            "libcuda.so.1",
            "nvidia",
            &DRIVER.replace("{ return 0; }", "{ return 100; }"),
            "cuInit answered 100",
        ),
        (
            "libvulkan.so.1",
            "vulkan",
            "__attribute__((constructor)) void start(void) { abort(); }",
            "abort",
        ),
        (
            "libze_loader.so.1",
            "level-zero",
            "int zeInit(unsigned f) { return 0; }",
            "has no zeDriverGet",
        ),
    ] {
        let folder = TempDir::new().unwrap();
        compile(text, &folder.path().join(library));
        let document = doctor(folder.path());
        let told = document["hardware"]["unanswered"].as_array().unwrap();
        let told = told
            .iter()
            .filter_map(Value::as_str)
            .find(|it| it.starts_with(name))
            .unwrap_or_default();
        assert!(told.contains(expected), "`{expected}` is missing: {told}");
        assert_eq!(provider(&document, "embedded")["state"], "usable");
    }
}

/// What doctor says of a machine that is described.
fn of(description: &Value) -> Value {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("machine.json");
    std::fs::write(&file, description.to_string()).unwrap();
    Gpux::new().json(["doctor", "--json", "--of", file.to_str().unwrap()])
}

#[test]
fn every_kind_of_machine_is_told_what_to_install() {
    let gpu = |vendor: &str, name: &str| json!([{"vendor": vendor, "name": name}]);
    for (machine, kind, command) in [
        (
            json!({"platform": "linux-x86_64", "nvidia_driver": "580.65.06", "gpus": gpu("nvidia", "H200")}),
            "cuda",
            "cuda",
        ),
        (
            json!({"platform": "linux-x86_64", "nvidia_driver": "535.1", "gpus": gpu("nvidia", "A100")}),
            "cuda",
            "cuda12",
        ),
        (
            json!({"platform": "linux-x86_64", "nvidia_driver": "580.1", "gpus": gpu("nvidia", "H200")}),
            "tensorrt",
            "tensorrt",
        ),
        (
            json!({"platform": "windows-x86_64", "nvidia_driver": "581.1", "gpus": gpu("nvidia", "RTX 5090")}),
            "tensorrt-rtx",
            "tensorrt-rtx",
        ),
        (
            json!({"platform": "linux-x86_64", "gpus": gpu("amd", "MI300X")}),
            "migraphx",
            "migraphx",
        ),
        (
            json!({"platform": "macos-aarch64", "gpus": gpu("apple", "M4 GPU")}),
            "coreml",
            "coreml",
        ),
        (
            json!({"platform": "windows-x86_64", "gpus": gpu("amd", "RX 7900")}),
            "directml",
            "directml",
        ),
        (
            json!({"platform": "linux-x86_64", "gpus": gpu("intel", "Arc")}),
            "openvino",
            "openvino",
        ),
        (
            json!({"platform": "windows-aarch64", "npus": [{"vendor": "qualcomm", "name": "Hexagon"}]}),
            "qnn",
            "qnn",
        ),
        (
            json!({"platform": "linux-aarch64", "vulkan": [{"name": "Mali", "is_software": false, "version": "1.3.0"}]}),
            "webgpu",
            "webgpu",
        ),
        (json!({"platform": "linux-aarch64"}), "cpu", "cpu"),
    ] {
        let document = of(&machine);
        let found = provider(&document, kind);
        assert_eq!(found["state"], "missing", "{found} on {machine}");
        assert_eq!(
            found["command"],
            format!("gpux provider install {command}"),
            "{machine}"
        );
    }
}

#[test]
fn what_doctor_prints_of_one_machine_is_read_on_another() {
    let gpux = Gpux::new();
    let document = gpux.json(["doctor", "--json"]);
    let read = of(&document);
    assert_eq!(read["hardware"], document["hardware"]);
    let bad = TempDir::new().unwrap();
    let file = bad.path().join("machine.json");
    std::fs::write(&file, r#"{"hardware": {"platform": "amiga"}}"#).unwrap();
    let answer = gpux.run(["doctor", "--of", file.to_str().unwrap()]);
    assert_eq!(answer.code, Some(1), "{answer:?}");
    assert!(answer.stderr.contains("not a platform"), "{answer:?}");
}
