//! Checks that modules import each other only along the arrows drawn in `src/lib.rs`.

#![allow(clippy::unwrap_used)]

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

/// Module → modules it may name as `crate::…`. A module left out may name none.
const ARROWS: &[(&str, &[&str])] = &[
    ("cli", &["commands", "env", "term"]),
    (
        "commands",
        &[
            "bundle", "env", "export", "fs", "gpuxfile", "oci", "onnx", "optimize", "pipeline", "predict", "provider",
            "registry", "runtime", "serve", "store", "tensor", "term", "transfer",
        ],
    ),
    (
        "bundle",
        &["fs", "gpuxfile", "oci", "onnx", "pipeline", "store", "tensor"],
    ),
    ("transfer", &["fs", "oci", "registry", "store"]),
    ("serve", &["fs", "predict", "runtime", "tensor"]),
    ("predict", &["gpuxfile", "pipeline", "runtime", "tensor"]),
    ("runtime", &["fs", "onnx", "provider", "quiet", "tensor"]),
    ("optimize", &["onnx", "runtime", "tensor"]),
    ("pipeline", &["gpuxfile", "quiet", "tensor"]),
    ("export", &["bundle", "fs", "oci", "store"]),
    ("provider", &["fs", "oci", "store"]),
    ("store", &["fs", "oci"]),
    ("registry", &["fs", "oci"]),
    ("gpuxfile", &["tensor"]),
    ("onnx", &["tensor"]),
];

/// External crate → the only modules that may name it.
const OWNERS: &[(&str, &[&str])] = &[
    ("ort", &["runtime"]),
    ("rten", &["runtime"]),
    ("reqwest", &["registry"]),
    ("oci_client", &["registry"]),
    ("axum", &["serve"]),
    ("tonic", &["serve"]),
    ("clap", &["cli", "commands"]),
    ("image", &["pipeline"]),
    ("libjpeg_turbo_rs", &["pipeline"]),
    ("tokenizers", &["pipeline"]),
    ("symphonia", &["pipeline"]),
];

/// The only files with unsafe code, one a foreign interface; each says at its top why it cannot do without.
const UNSAFE: &[&str] = &[
    "env.rs",
    "fs/map.rs",
    "provider/hardware/foreign.rs",
    "runtime/embedded/lasting.rs",
    "runtime/limits/allocator.rs",
    "runtime/limits/raw.rs",
    "runtime/ort/assignment.rs",
    "runtime/ort/cuda.rs",
    "runtime/ort/preload.rs",
    "runtime/ort/raw.rs",
    "runtime/ort/weights/mapped.rs",
];

#[test]
fn unsafe_code_lies_in_listed_files_alone() {
    let root = Path::new("src");
    let mut found: Vec<_> = rust_files(root)
        .into_iter()
        .filter(|file| fs::read_to_string(file).unwrap().contains("unsafe_code"))
        .map(|file| file.strip_prefix(root).unwrap().to_string_lossy().replace('\\', "/"))
        .collect();
    found.sort();
    assert_eq!(found, UNSAFE);
}

#[test]
fn modules_import_only_along_the_arrows() {
    let arrows: BTreeMap<_, _> = ARROWS.iter().copied().collect();
    let mut breaches = Vec::new();
    let root = std::env::var("SRC").map(PathBuf::from).unwrap_or_else(|_| "src".into());
    for file in rust_files(&root) {
        let module = top_module(&root, &file);
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        for (n, line) in fs::read_to_string(&file).unwrap().lines().enumerate() {
            let code = line.split("//").next().unwrap();
            let mut breach = |why: String| breaches.push(format!("{}:{}: {why}", file.display(), n + 1));
            if code.contains("crate::{") {
                breach("write one `use crate::…` line per module".into());
            }
            if code.contains("super::super") {
                breach("name modules from `crate::`".into());
            }
            for target in names_after(code, "crate::") {
                let allowed = arrows.get(module.as_str()).copied().unwrap_or(&[]);
                if target != module && !allowed.contains(&target) {
                    breach(format!("`{module}` → `{target}` is not an arrow"));
                }
            }
            for (krate, owners) in OWNERS {
                if names_path_root(code, krate) && !owners.contains(&module.as_str()) {
                    breach(format!("only {owners:?} may name `{krate}`"));
                }
            }
        }
    }
    assert!(breaches.is_empty(), "\n{}\n", breaches.join("\n"));
}

fn rust_files(dir: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

/// `src/store/blob.rs` → `store`; `src/fs.rs` → `fs`.
fn top_module(root: &Path, file: &Path) -> String {
    let first = file.strip_prefix(root).unwrap().components().next().unwrap();
    first.as_os_str().to_str().unwrap().trim_end_matches(".rs").to_owned()
}

fn names_after<'a>(code: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    code.match_indices(prefix).filter_map(move |(at, _)| {
        let rest = &code[at + prefix.len()..];
        let end = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        // A lower-case start is a module; an upper-case one is an item of the crate root.
        rest[..end]
            .starts_with(|c: char| c.is_lowercase())
            .then_some(&rest[..end])
    })
}

fn names_path_root(code: &str, krate: &str) -> bool {
    code.match_indices(&format!("{krate}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}
