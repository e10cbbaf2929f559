//! Real models give the same answers on both engines as ONNX Runtime gives in Python.

use std::{fs, path::Path, process::Command};

use gpux::tensor::{Tensor, npy};

use crate::support::{Gpux, deps};

/// Largest difference of one element. The largest elements are about 6.
const TOLERANCE: f32 = 1e-4;

struct Case {
    folder: tempfile::TempDir,
    inputs: &'static [&'static str],
}

impl Case {
    /// Lays out a context with the model, its inputs and the expected output.
    fn new(model: &str, inputs: &'static [&'static str], sentences: Option<&Path>) -> Self {
        let folder = tempfile::tempdir_in(deps::repository().join("target")).unwrap();
        let context = folder.path().join("context");
        fs::create_dir(&context).unwrap();
        let source = deps::real_model(model);
        // The same disk, so there is nothing to copy.
        fs::hard_link(&source, context.join(format!("{model}.onnx"))).unwrap();
        let reference = Command::new(deps::python())
            .arg(deps::repository().join("tests/it/real_models/reference.py"))
            .arg(&source)
            .arg(folder.path())
            .args(sentences)
            .output()
            .unwrap();
        let words = String::from_utf8_lossy(&reference.stderr);
        assert!(reference.status.success(), "{words}");
        Case { folder, inputs }
    }

    fn tensor(&self, file: &str) -> Tensor {
        npy::decode(&fs::read(self.folder.path().join(file)).unwrap()).unwrap()
    }

    /// Goes the whole way: a GPUXfile from the model, an artifact from both, an answer from each engine.
    fn agrees_on_both_engines(&self, model: &str) {
        let gpux = Gpux::new().with_onnxruntime().in_folder(self.folder.path());
        gpux.ok(["init", &format!("context/{model}.onnx")]);
        gpux.ok(["build", "context", "-t", &format!("{model}:1")]);
        let expected = self.tensor("expected.npy");
        for provider in ["embedded", "cpu"] {
            let output = format!("{provider}.npy");
            let reference = format!("{model}:1");
            let inputs: Vec<String> = self.inputs.iter().map(|name| format!("{name}=@{name}.npy")).collect();
            let mut arguments = vec!["run", &reference, "--provider", provider, "--output", &output];
            for input in &inputs {
                arguments.extend(["--input", input]);
            }
            gpux.ok(&arguments);
            let answer = self.tensor(&output);
            assert_eq!(answer.shape(), expected.shape(), "{model} on {provider}");
            let difference = largest_difference(&answer, &expected);
            assert!(difference <= TOLERANCE, "{model} on {provider} differs by {difference}");
        }
    }
}

/// Gives infinity where one side is not a number: that is no agreement.
fn largest_difference(left: &Tensor, right: &Tensor) -> f32 {
    let (left, right) = (left.elements::<f32>().unwrap(), right.elements::<f32>().unwrap());
    let distance = |(a, b): (&f32, &f32)| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    left.iter().zip(right).map(distance).fold(0.0, f32::max)
}

#[test]
fn minilm_agrees_with_python_on_ten_sentences() {
    let sentences = deps::repository().join("tests/it/real_models/sentences.json");
    let case = Case::new(
        "minilm",
        &["input_ids", "attention_mask", "token_type_ids"],
        Some(&sentences),
    );
    assert_eq!(case.tensor("expected.npy").shape(), [10, 30, 384]);
    case.agrees_on_both_engines("minilm");
}

#[test]
fn resnet50_agrees_with_python() {
    let case = Case::new("resnet50", &["x"], None);
    assert_eq!(case.tensor("expected.npy").shape(), [1, 1000]);
    case.agrees_on_both_engines("resnet50");
}
