//! The fixtures are the files that fixtures/README.md says they are.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use sha2::{Digest, Sha256};

use crate::support::deps;

/// Largest file that may be a fixture: they are in every clone.
const LARGEST_BYTES: u64 = 200 * 1024;

/// The endings of the files that are listed: what tests read, and not the recipes.
const ENDINGS: &[&str] = &["onnx", "npy", "npz", "bin", "wav", "flac", "mp3", "ogg", "m4a", "aac"];

/// What is made by hand, with packages that the tests do not install.
const MADE_BY_HAND: &[&str] = &["digits/", "photo/", "pictures/", "sound/"];

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The table's row for every model, tensor and weight file found, by its path.
fn rows_found() -> BTreeMap<String, String> {
    let mut rows = BTreeMap::new();
    let mut folders = vec![folder()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path
                .extension()
                .and_then(|ending| ending.to_str())
                .is_some_and(|ending| ENDINGS.contains(&ending))
            {
                let name = path
                    .strip_prefix(folder())
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .replace('\\', "/");
                let data = fs::read(&path).unwrap();
                let row = format!(
                    "| `{name}` | {} | `{}` |",
                    thousands(data.len()),
                    hex(&Sha256::digest(&data))
                );
                rows.insert(name, row);
            }
        }
    }
    rows
}

fn rows_listed() -> BTreeMap<String, String> {
    let readme = fs::read_to_string(folder().join("README.md")).unwrap();
    let is_digest = |cell: &str| cell.len() == 66 && cell.starts_with('`');
    let mut rows = BTreeMap::new();
    for line in readme.lines() {
        let cells: Vec<_> = line.split('|').map(str::trim).collect();
        if cells.len() == 5 && is_digest(cells[3]) {
            let again = rows.insert(cells[1].trim_matches('`').to_owned(), line.to_owned());
            assert_eq!(again, None, "fixtures/README.md lists one file twice");
        }
    }
    rows
}

fn thousands(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn fixtures_have_the_listed_digests() {
    let (found, listed) = (rows_found(), rows_listed());
    assert!(found.len() > 20, "the fixtures are missing");
    let mut differences = Vec::new();
    for name in found.keys().chain(listed.keys()) {
        if found.get(name) != listed.get(name) {
            differences.push(match found.get(name) {
                Some(row) => format!("fixtures/README.md should say: {row}"),
                None => format!("fixtures/README.md lists `{name}`, which does not exist"),
            });
        }
    }
    differences.dedup();
    assert!(differences.is_empty(), "\n{}\n", differences.join("\n"));
}

#[test]
fn fixtures_are_small() {
    for name in rows_found().keys() {
        let bytes = fs::metadata(folder().join(name)).unwrap().len();
        assert!(bytes <= LARGEST_BYTES, "{name} has {bytes} bytes");
    }
}

#[test]
fn recipes_give_the_same_bytes_again() {
    let out = tempfile::tempdir().unwrap();
    for (recipe, below) in [("make.py", ""), ("generate/models.py", "generate")] {
        let made = Command::new(deps::python())
            .arg(folder().join(recipe))
            .arg(out.path().join(below))
            .output()
            .unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }
    let mut compared = 0;
    let by_hand = |name: &str| MADE_BY_HAND.iter().any(|folder| name.starts_with(folder));
    for name in rows_found().keys().filter(|name| !by_hand(name)) {
        assert!(
            fs::read(folder().join(name)).unwrap() == fs::read(out.path().join(name)).unwrap(),
            "the recipe no longer makes {name} as it is"
        );
        compared += 1;
    }
    assert!(compared > 15, "only {compared} files were compared");
}
