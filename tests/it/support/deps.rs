//! What `make test-deps` installs. A test that needs a missing part fails here and says so.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The root of the repository.
pub fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A part under target/ or the panic that tells how to get it.
fn made(path: &str) -> PathBuf {
    let path = repository().join(path);
    assert!(path.exists(), "{} is missing: run `make test-deps`", path.display());
    path
}

/// A file or folder of fixtures/.
pub fn fixture(path: &str) -> PathBuf {
    let path = repository().join("fixtures").join(path);
    assert!(path.exists(), "there is no fixture {}", path.display());
    path
}

/// The virtual environment with onnx and onnxruntime; what `VIRTUAL_ENV` names where it is active.
pub fn python_environment() -> PathBuf {
    made("target/test-venv/stamp").parent().unwrap().to_owned()
}

/// The interpreter of [`python_environment`].
pub fn python() -> PathBuf {
    let folder = if cfg!(windows) {
        "Scripts/python.exe"
    } else {
        "bin/python"
    };
    python_environment().join(folder)
}

/// The ONNX Runtime library of [`python_environment`].
pub fn onnxruntime_library() -> PathBuf {
    let is_library = |name: &str| {
        (name.starts_with("libonnxruntime.so.") || name.starts_with("libonnxruntime.") && name.ends_with(".dylib"))
            || name == "onnxruntime.dll"
    };
    let mut folders = vec![python_environment()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if is_library(&name) {
                return path;
            }
            let leads_there = ["lib", "Lib", "site-packages", "onnxruntime", "capi"].contains(&name.as_str());
            if leads_there || name.starts_with("python3.") && path.is_dir() {
                folders.push(path);
            }
        }
    }
    panic!("the test environment has no ONNX Runtime: run `make test-deps`")
}

/// The folder of wheels that packs are made of.
pub fn wheels() -> PathBuf {
    made("target/test-wheels/stamp").parent().unwrap().to_owned()
}

/// The wheel of a pack for this platform.
pub fn wheel(pack: &str) -> PathBuf {
    let locked = gpux::provider::LOCK
        .wheel(pack, gpux::provider::Platform::current())
        .unwrap();
    wheels().join(&locked.file)
}

/// The model file of `minilm` or `resnet50`.
pub fn real_model(name: &str) -> PathBuf {
    made("target/test-models/stamp");
    made(&format!("target/test-models/{name}/model.onnx"))
}

/// An installed program, such as `docker-registry` or `skopeo`.
pub fn program(name: &str) -> PathBuf {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| panic!("`{name}` is not installed: run `make test-deps`"))
}

/// How often a test repeats what it does: `quick` times, or `full` times under `make soak`.
pub fn repetitions(quick: usize, full: usize) -> usize {
    if env::var_os("GPUX_SOAK").is_some() {
        full
    } else {
        quick
    }
}

/// A context of MiniLM with steps that make texts its inputs, and these that make answers of its output.
pub fn minilm(postprocessing: &str) -> tempfile::TempDir {
    let folder = tempfile::tempdir_in(repository().join("target")).unwrap();
    let model = real_model("minilm");
    for file in ["model.onnx", "tokenizer.json"] {
        std::fs::hard_link(model.with_file_name(file), folder.path().join(file)).unwrap();
    }
    let text = format!(
        "name: minilm\nversion: 1.0.0\nmodel: model.onnx\npreprocessing: {{tokenizer: tokenizer.json, max_length: 256}}\n\
         postprocessing: {postprocessing}\n"
    );
    std::fs::write(folder.path().join("GPUXfile"), text).unwrap();
    folder
}
