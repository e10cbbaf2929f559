//! Samples of an artifact are run and compared.

use std::fs;
use std::path::Path;

use crate::support::{Gpux, deps};

fn photo() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    copy(&deps::fixture("photo"), folder.path());
    folder
}

fn copy(from: &Path, to: &Path) {
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            fs::create_dir(&target).unwrap();
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_photo_of_a_digit_is_read_and_its_sample_passes_on_both_engines() {
    let gpux = Gpux::new().with_onnxruntime();
    let answer = gpux.json(["run", "fixtures/photo", "fixtures/photo/samples/seven.png"]);
    let labels = &answer["answers"][0]["answer"]["probabilities"]["labels"];
    assert_eq!(labels[0]["label"], "seven", "{answer}");
    assert!(labels[0]["score"].as_f64().unwrap() > 0.9, "{answer}");
    gpux.ok(["build", "--test", "fixtures/photo"]);
    for provider in ["embedded", "cpu"] {
        let report = gpux.json(["test", "photo:1.0.0", "--provider", provider]);
        assert_eq!(report["passed"], true, "{report}");
        assert_eq!(report["provider"], provider);
        assert_eq!(report["samples"][0]["name"], "seven");
    }
}

#[test]
fn a_sample_that_fails_is_told_with_its_difference_and_keeps_a_build_from_being_made() {
    let folder = photo();
    let sample = r#"{"input": "seven.png", "outputs": {"digit": [4]}}"#;
    fs::write(folder.path().join("samples/wrong.json"), sample).unwrap();
    let gpux = Gpux::new().in_folder(folder.path());
    gpux.ok(["build", ".", "-t", "photo:1"]);
    let answer = gpux.run(["test", "photo:1"]);
    assert_eq!(answer.code, Some(6), "{answer:?}");
    let report: serde_json::Value = serde_json::from_str(&answer.stdout).unwrap();
    let wrong = report["samples"]
        .as_array()
        .unwrap()
        .iter()
        .find(|sample| sample["name"] == "wrong")
        .unwrap();
    assert_eq!(wrong["differences"][0]["place"], "outputs.digit[0]");
    assert_eq!(wrong["differences"][0]["expected"], "4");
    assert!(
        answer
            .stderr
            .contains("1 of 2 samples of `photo:1` fail on embedded: wrong"),
        "{answer:?}"
    );

    let answer = gpux.run(["build", "--test", ".", "-t", "photo:2"]);
    assert_eq!(answer.code, Some(6), "{answer:?}");
    assert!(
        answer
            .stderr
            .contains("wrong: outputs.digit[0] is 7, and 4 was expected"),
        "{answer:?}"
    );
    assert_eq!(gpux.run(["inspect", "photo:2"]).code, Some(3));
}

#[test]
fn what_is_no_sample_is_refused_by_name() {
    let folder = photo();
    let gpux = Gpux::new().in_folder(folder.path());
    for (text, said) in [
        ("{", "cannot use the sample `samples/odd.json`"),
        (r#"{"input": "seven.png"}"#, "it expects nothing"),
        (r#"{"input": "seven.png", "output": {}}"#, "unknown field `output`"),
        (
            r#"{"input": "four.png", "outputs": {"digit": [4]}}"#,
            "the artifact has no file `samples/four.png`",
        ),
        (
            r#"{"input": {"sound": [1]}, "outputs": {"digit": [4]}}"#,
            "the model takes nothing of this name",
        ),
    ] {
        fs::write(folder.path().join("samples/odd.json"), text).unwrap();
        let answer = gpux.run(["test", "."]);
        assert!(
            answer.code == Some(1) && answer.stderr.contains(said),
            "{text}: {answer:?}"
        );
    }
    fs::remove_dir_all(folder.path().join("samples")).unwrap();
    let answer = gpux.run(["test", "."]);
    assert_eq!(answer.code, Some(3), "{answer:?}");
    assert!(answer.stderr.contains("`.` has no samples"), "{answer:?}");
}

#[test]
fn samples_of_a_model_that_generates_have_the_text_that_is_expected() {
    let folder = tempfile::tempdir().unwrap();
    copy(&deps::fixture("generate/gpt2"), folder.path());
    let golden: serde_json::Value =
        serde_json::from_slice(&fs::read(folder.path().join("golden.json")).unwrap()).unwrap();
    let (input, text) = (&golden[0]["input"], &golden[0]["text"]);
    fs::create_dir(folder.path().join("samples")).unwrap();
    let sample = |name: &str, expected: serde_json::Value| {
        let mut sample = serde_json::json!({"input": input});
        sample
            .as_object_mut()
            .unwrap()
            .extend(expected.as_object().unwrap().clone());
        fs::write(folder.path().join(format!("samples/{name}.json")), sample.to_string()).unwrap();
    };
    sample(
        "right",
        serde_json::json!({"answer": {"text": {"text": text, "tokens": golden[0]["tokens"]}}}),
    );
    let gpux = Gpux::new().in_folder(folder.path()).with_onnxruntime();
    gpux.ok(["build", "--test", ".", "-t", "gpt2:1"]);
    for provider in ["embedded", "cpu"] {
        assert_eq!(gpux.json(["test", "gpt2:1", "--provider", provider])["passed"], true);
    }
    sample(
        "wrong",
        serde_json::json!({"answer": {"text": {"text": "something else"}}}),
    );
    let failed = gpux.run(["test", "."]);
    assert_eq!(failed.code, Some(6), "{failed:?}");
    let report: serde_json::Value = serde_json::from_str(&failed.stdout).unwrap();
    assert_eq!(report["samples"][1]["differences"][0]["place"], "answer.text.text");
    sample("wrong", serde_json::json!({"outputs": {"logits": [1]}}));
    let refused = gpux.run(["test", "."]);
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(refused.stderr.contains("has no outputs to compare"), "{refused:?}");
}
