//! Models of four kinds, from what people have to the answers that ONNX Runtime and NumPy give in Python.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::{Gpux, deps};

/// Makes the models, with what they should answer; BERT with that many layers.
fn models(layers: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    let made = Command::new(deps::python())
        .arg(deps::repository().join("tests/it/end_to_end/models.py"))
        .arg(folder.path())
        .arg(layers.to_string())
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    folder
}

fn golden(folder: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(folder.join("golden.json")).unwrap()).unwrap()
}

/// Builds the model and asks it; gives the answer of its only output.
fn ask(gpux: &Gpux, folder: &Path, arguments: &[&str]) -> Vec<Value> {
    let name = folder.file_name().unwrap().to_str().unwrap();
    gpux.ok(["build", folder.to_str().unwrap()]);
    let reference = format!("{name}:1.0.0");
    let answer = gpux.json(["run", reference.as_str()].iter().chain(arguments));
    let answers = answer["answers"].as_array().unwrap_or_else(|| panic!("{answer}"));
    answers.iter().map(|one| one["answer"]["y"].clone()).collect()
}

#[track_caller]
fn near(found: &Value, expected: &Value, tolerance: f64) {
    match (found, expected) {
        (Value::Number(found), Value::Number(expected)) => {
            let (found, expected) = (found.as_f64().unwrap(), expected.as_f64().unwrap());
            assert!((found - expected).abs() <= tolerance, "{found} is not {expected}");
        }
        (Value::Array(found), Value::Array(expected)) => {
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(expected) {
                near(found, expected, tolerance);
            }
        }
        (found, expected) => assert_eq!(found, expected),
    }
}

#[test]
fn boxes_masks_and_letters_are_those_of_the_reference_on_both_engines() {
    let models = models(1);
    let gpux = Gpux::new().with_onnxruntime();
    for provider in ["cpu", "embedded"] {
        let of = |name: &str, file: &str| {
            let folder = models.path().join(name);
            let file = folder.join(file);
            let found = ask(&gpux, &folder, &[file.to_str().unwrap(), "--provider", provider]);
            (found[0].clone(), golden(&folder))
        };
        let (found, expected) = of("yolo", "picture.png");
        let (boxes, expected) = (found["boxes"].as_array().unwrap(), expected.as_array().unwrap());
        assert_eq!(boxes.len(), expected.len(), "{found}");
        for (found, expected) in boxes.iter().zip(expected) {
            assert_eq!(
                (&found["label"], &found["index"]),
                (&expected["label"], &expected["index"])
            );
            near(&found["score"], &expected["score"], 1e-5);
            near(&found["box"], &expected["box"], 1e-3);
        }
        let (found, expected) = of("ctc", "sound.wav");
        assert_eq!(found["text"], expected, "{provider}");
    }
}

#[test]
fn a_mask_is_written_as_a_made_the_classes_of_the_reference() {
    let models = models(1);
    let folder = models.path().join("segment");
    let gpux = Gpux::new().with_onnxruntime();
    gpux.ok(["build", folder.to_str().unwrap()]);
    let (picture, mask) = (folder.join("picture.png"), folder.join("mask.png"));
    gpux.ok([
        "run",
        "segment:1.0.0",
        picture.to_str().unwrap(),
        "--output",
        mask.to_str().unwrap(),
    ]);
    let made = image::ImageReader::open(&mask).unwrap().decode().unwrap().into_luma8();
    let expected: Vec<Vec<u8>> = serde_json::from_value(golden(&folder)).unwrap();
    assert_eq!((made.width(), made.height()), (32, 32));
    let rows: Vec<Vec<u8>> = made.as_raw().chunks(32).map(<[u8]>::to_vec).collect();
    assert_eq!(rows, expected);
    let labels = ask(&gpux, &folder, &[picture.to_str().unwrap()]);
    let classes: std::collections::BTreeSet<u8> = expected.concat().into_iter().collect();
    assert_eq!(
        labels[0]["labels"].as_array().unwrap().len(),
        classes.len(),
        "{labels:?}"
    );
}

#[test]
fn bert_of_base_size_tells_texts_and_pairs_apart_as_the_reference_does() {
    let models = models(deps::repetitions(1, 12));
    let folder = models.path().join("bert");
    let gpux = Gpux::new().with_onnxruntime();
    for provider in ["cpu", "embedded"] {
        for case in golden(&folder).as_array().unwrap() {
            let texts: Vec<&str> = case["texts"]
                .as_array()
                .unwrap()
                .iter()
                .filter_map(Value::as_str)
                .collect();
            let mut arguments = texts.clone();
            arguments.extend(["--provider", provider]);
            arguments.extend((texts.len() == 2).then_some("--pair"));
            let found = ask(&gpux, &folder, &arguments);
            let mut labels = found[0]["labels"].as_array().unwrap().clone();
            labels.sort_by_key(|label| label["index"].as_u64());
            let shares: Vec<Value> = labels.iter().map(|label| label["score"].clone()).collect();
            near(&shares.into(), &case["shares"], 1e-5);
        }
    }
}
