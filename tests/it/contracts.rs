//! What the commands print is what registry-spec says.

use serde_json::Value;

use crate::support::Gpux;

/// Checks a document against a definition of a schema in registry-spec/.
#[track_caller]
fn keeps(schema: &str, definition: &str, document: &Value) {
    let mut schema: Value = serde_json::from_str(schema).unwrap();
    schema["$ref"] = format!("#/$defs/{definition}").into();
    let schema = jsonschema::draft202012::new(&schema).unwrap();
    let errors: Vec<String> = schema.iter_errors(document).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{definition}: {errors:?} in {document}");
}

/// Checks what a command printed.
#[track_caller]
pub fn command(definition: &str, document: &Value) {
    keeps(
        include_str!("../../registry-spec/commands.schema.json"),
        definition,
        document,
    );
}

#[test]
fn every_command_keeps_its_contract() {
    let gpux = Gpux::new();
    let seven = "@fixtures/digits/seven.npy";
    command("tagged", &gpux.json(["build", "--json", "fixtures/digits"]));
    command("tagged", &gpux.json(["tag", "--json", "digits:1.0.0", "x"]));
    command("images", &gpux.json(["images", "--json"]));
    command("inspect", &gpux.json(["inspect", "--json", "x"]));
    command("run", &gpux.json(["run", "x", "--input", seven]));
    command("bench", &gpux.json(["bench", "x", "--runs", "3"]));
    command("tune", &gpux.json(["tune", "--json", "--short", "x"]));
    let explained = gpux.json(["run", "x", "--input", seven, "--explain"]);
    command("run", &explained);
    command("explain", &explained["explain"]);
    let batch = gpux.run_with_stdin(["run", "x", "--batch", "-"], b"{\"image\": 1}\n");
    command("batch", &serde_json::from_str(&batch.stdout).unwrap());
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().to_string_lossy();
    command("unpacked", &gpux.json(["unpack", "--json", "x", "-o", &target]));
    command(
        "init",
        &gpux.json(["init", "--json", "--force", &format!("{target}/model.onnx")]),
    );
    command("verified", &gpux.json(["store", "verify", "--json"]));
    command("removed", &gpux.json(["rm", "--json", "x"]));
    command("pruned", &gpux.json(["prune", "--json", "--all"]));
    let error = gpux.run(["rm", "--json", "x"]);
    command("error", &serde_json::from_str(&error.stderr).unwrap());
}

#[test]
fn the_artifact_keeps_its_contract() {
    let gpux = Gpux::new();
    for fixture in ["fixtures/digits", "fixtures/external", "fixtures/mlp"] {
        let built = gpux.json(["build", "--json", fixture]);
        let blob = |digest: &Value| -> Value {
            let hex = digest.as_str().unwrap().strip_prefix("sha256:").unwrap();
            serde_json::from_slice(&std::fs::read(gpux.home().join("store/blobs/sha256").join(hex)).unwrap()).unwrap()
        };
        let schema = include_str!("../../registry-spec/manifest.schema.json");
        let manifest = blob(&built["digest"]);
        keeps(schema, "manifest", &manifest);
        keeps(schema, "config", &blob(&manifest["config"]["digest"]));
    }
}
