//! Providers that crash, hang, miss a symbol, give wrong numbers or are not what was packed are refused with the reason,
//! and gpux goes on; those that work are proven, and two that need different cores do not disturb each other.

use std::path::Path;

use gpux::provider::{LibraryFile, Platform, row};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::doctor::compile;
use crate::support::{Gpux, deps};

const MLP: [&str; 4] = ["run", "fixtures/mlp", "--input", "x=[[1,2,3,4]]"];
const CORE: &str = "libonnxruntime.so.1.30.0";

/// Makes a pack of a row out of a folder, and installs it as somebody would who brings packs on a disk.
pub fn install(gpux: &Gpux, folder: &Path, name: &str, version: &str) {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let bytes = std::fs::read(&path).unwrap();
        files.push(LibraryFile {
            path: path.file_name().unwrap().to_str().unwrap().to_owned(),
            digest: gpux::oci::Digest::of(&bytes),
            size_bytes: bytes.len() as u64,
        });
    }
    let pack = row(name)
        .unwrap()
        .pack(Platform::current(), version.parse().unwrap(), files)
        .unwrap();
    std::fs::write(folder.join("pack.json"), pack.to_bytes()).unwrap();
    let mut command = gpux.command(["provider", "install", "--from", folder.to_str().unwrap()]);
    command.env("GPUX_PROBE_TIMEOUT", "3s");
    gpux.finish(command);
    let installed = gpux.home().join("providers").join(pack.id());
    assert!(installed.join("pack.json").exists(), "{} is not installed", pack.id());
}

/// Compiles a core library of this text, and makes a pack of it.
fn fake_core(gpux: &Gpux, text: &str) {
    let folder = TempDir::new().unwrap();
    let library = folder.path().join(CORE);
    compile(text, &library);
    std::fs::remove_file(library.with_extension("c")).unwrap();
    install(gpux, folder.path(), "cpu", "1.30.0");
}

/// What doctor says of a provider.
fn assessed(gpux: &Gpux, provider: &str) -> Value {
    let mut command = gpux.command(["doctor", "--json", "--again"]);
    command.env("GPUX_PROBE_TIMEOUT", "3s");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    let providers = document["providers"].as_array().unwrap();
    providers.iter().find(|it| it["provider"] == provider).unwrap().clone()
}

#[cfg(target_os = "linux")]
#[test]
fn cores_that_crash_hang_or_miss_a_symbol_are_refused_with_their_reason() {
    for (text, expected) in [
        (
            "__attribute__((constructor)) void start(void) { *(volatile int *)0 = 1; }",
            "crashed: signal 11",
        ),
        (
            "void abort(void); __attribute__((constructor)) void start(void) { abort(); }",
            "crashed: signal 6",
        ),
        (
            "void _exit(int); __attribute__((constructor)) void start(void) { _exit(0); }",
            "exit code 0",
        ),
        (
            "int pause(void); __attribute__((constructor)) void start(void) { for (;;) pause(); }",
            "did not answer within 3 s",
        ),
        ("int something_else(void) { return 0; }", "not ONNX Runtime"),
        (
            "void *gone(void); void *OrtGetApiBase(void) { return gone(); }",
            "undefined symbol: gone",
        ),
    ] {
        let gpux = Gpux::new();
        fake_core(&gpux, text);
        let cpu = assessed(&gpux, "cpu");
        assert_eq!(cpu["state"], "refused", "{text}: {cpu}");
        assert!(
            cpu["reason"].as_str().unwrap().contains(expected),
            "`{expected}` is missing: {cpu}"
        );
        assert_eq!(gpux.json(MLP)["provider"], "embedded", "{text}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_trial_that_hangs_ends_at_its_deadline_and_tuning_goes_on() {
    let gpux = Gpux::new();
    fake_core(
        &gpux,
        "int pause(void); __attribute__((constructor)) void start(void) { for (;;) pause(); }",
    );
    let mut command = gpux.command([
        "tune",
        "fixtures/mlp",
        "--provider",
        "cpu,embedded",
        "--short",
        "--json",
    ]);
    command.env("GPUX_PROBE_TIMEOUT", "2s");
    let answer = gpux.finish(command);
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let tuning: Value = serde_json::from_str(&answer.stdout).unwrap();
    assert_eq!(tuning["chosen"]["provider"], "embedded");
    let trials = tuning["trials"].as_array().unwrap();
    let hung = trials.iter().find(|trial| trial["provider"] == "cpu").unwrap();
    assert!(
        hung["error"].as_str().unwrap().contains("did not answer within 2 s"),
        "{hung}"
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_pack_in_use_is_neither_removed_nor_replaced_and_the_process_is_named() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    let sign = folder.path().join("loaded");
    fake_core(
        &gpux,
        &format!(
            "int pause(void); int creat(const char *, int); __attribute__((constructor)) void start(void) {{ \
             creat(\"{}\", 0600); for (;;) pause(); }}",
            sign.display()
        ),
    );
    std::fs::remove_file(&sign).unwrap();
    let mut command = gpux.command(MLP.iter().chain(&["--provider", "cpu"]));
    command
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    let mut user = command.spawn().unwrap();
    let start = std::time::Instant::now();
    while !sign.exists() && start.elapsed() < std::time::Duration::from_secs(30) {
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let kept = gpux.run(["provider", "remove", "cpu"]);
    user.kill().unwrap();
    let id = user.id();
    user.wait().unwrap();
    assert_eq!(kept.code, Some(1), "{kept:?}");
    let named = format!("the pack `cpu-1.30.0` is in use by the process {id}");
    assert!(kept.stderr.contains(&named), "{kept:?}");
    gpux.ok(["provider", "remove", "cpu"]);
}

/// A core that does as the real one, but that the first number of the first output is another.
fn liar(real: &Path) -> String {
    use std::mem::offset_of;
    let run = offset_of!(ort::sys::OrtApi, Run) / size_of::<usize>();
    let data = offset_of!(ort::sys::OrtApi, GetTensorMutableData) / size_of::<usize>();
    let count = size_of::<ort::sys::OrtApi>() / size_of::<usize>();
    format!(
        r#"
#include <dlfcn.h>
#include <string.h>
typedef void *(*Function)();
struct Base {{ const Function *(*api)(unsigned); const char *(*version)(void); }};
static const struct Base *real;
static const Function *real_api;
static Function api[{count}];
static void *run(void *session, void *options, void *names, void *inputs, size_t count, void *outputs_names, size_t size, void **outputs) {{
    void *status = real_api[{run}](session, options, names, inputs, count, outputs_names, size, outputs);
    float *numbers = 0;
    if (!status && !real_api[{data}](outputs[0], &numbers)) numbers[0] += 1;
    return status;
}}
static const Function *get_api(unsigned version) {{
    real_api = real->api(version);
    if (!real_api) return 0;
    memcpy(api, real_api, sizeof api);
    api[{run}] = (Function)run;
    return api;
}}
static const char *get_version(void) {{ return real->version(); }}
static struct Base base = {{ get_api, get_version }};
const struct Base *OrtGetApiBase(void) {{
    void *library = dlopen("{}", RTLD_NOW | RTLD_LOCAL);
    real = ((const struct Base *(*)(void))dlsym(library, "OrtGetApiBase"))();
    return &base;
}}
"#,
        real.display()
    )
}

#[cfg(target_os = "linux")]
#[test]
fn a_core_that_gives_wrong_numbers_is_refused_with_the_number() {
    let gpux = Gpux::new();
    fake_core(&gpux, &liar(&deps::onnxruntime_library()));
    let cpu = assessed(&gpux, "cpu");
    assert_eq!(cpu["state"], "refused", "{cpu}");
    assert!(cpu["reason"].as_str().unwrap().contains("wrong numbers"), "{cpu}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_dependency_that_is_nowhere_is_named_with_the_folders_that_were_searched() {
    let gpux = Gpux::new();
    let folder = TempDir::new().unwrap();
    for name in ["libonnxruntime.so.1.31.1", "libonnxruntime_providers_cuda.so"] {
        std::fs::write(folder.path().join(name), "no library").unwrap();
    }
    install(&gpux, folder.path(), "cuda", "1.31.1");
    let answer = gpux.run(MLP.iter().chain(&["--provider", "cuda"]));
    assert_eq!(answer.code, Some(1), "{answer:?}");
    for part in ["libcudart.so.13", "cuda-1.31.1"] {
        assert!(answer.stderr.contains(part), "`{part}` is missing: {answer:?}");
    }
}

/// Installs the wheels that `make test-deps` brought.
fn with_wheels(packs: &[&str]) -> Gpux {
    let gpux = Gpux::new();
    for pack in packs {
        let wheel = deps::wheel(pack);
        gpux.run(["provider", "install", "--from", wheel.to_str().unwrap()]);
    }
    gpux
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn openvino_and_the_processors_build_are_proven_side_by_side() {
    let gpux = with_wheels(&["openvino", "cpu"]);
    for provider in ["openvino", "cpu"] {
        let found = assessed(&gpux, provider);
        assert_eq!(found["state"], "usable", "{found}");
        let answer = gpux.json(MLP.iter().chain(&["--provider", provider]));
        assert_eq!(answer["provider"], provider);
        let shares = answer["outputs"]["y"]["data"][0].as_array().unwrap().clone();
        let sum: f64 = shares.iter().filter_map(Value::as_f64).sum();
        assert!((sum - 1.0).abs() < 1e-3, "{answer}");
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn a_webgpu_build_without_a_device_is_survived_and_refused() {
    let gpux = with_wheels(&["cpu", "webgpu"]);
    let found = assessed(&gpux, "webgpu");
    let expected = json!(["refused", "usable"]);
    assert!(expected.as_array().unwrap().contains(&found["state"]), "{found}");
    let answer = gpux.run(MLP.iter().chain(&["--provider", "webgpu,cpu", "-v"]));
    assert_eq!(answer.code, Some(0), "{answer:?}");
    let told: Value = serde_json::from_str(&answer.stdout).unwrap();
    if found["state"] == "refused" {
        assert_eq!(told["provider"], "cpu", "{answer:?}");
        assert_eq!(told["refused"][0]["provider"], "webgpu");
        let reason = found["reason"]
            .as_str()
            .unwrap()
            .replace(gpux.home().to_str().unwrap(), "$HOME");
        assert_eq!(told["refused"][0]["reason"], reason);
    } else {
        assert_eq!(told["provider"], "webgpu", "{answer:?}");
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn what_came_of_a_trial_is_remembered_until_the_libraries_change() {
    let gpux = with_wheels(&["cpu"]);
    let tried = |gpux: &Gpux| gpux.run(["doctor", "-v"]).stderr.contains("trying cpu");
    assert!(!tried(&gpux), "the installation tried it");
    let version = &gpux::provider::LOCK.wheel("cpu", Platform::current()).unwrap().version;
    let library = gpux
        .home()
        .join(format!("providers/cpu-{version}/libonnxruntime.so.{version}"));
    let file = std::fs::File::open(&library).unwrap();
    file.set_modified(std::time::SystemTime::now()).unwrap();
    assert!(tried(&gpux), "its time has changed");
    assert!(!tried(&gpux));
}
