//! Agreement with Pillow, OpenCV, NumPy and Hugging Face's tokenizers, whose results the fixtures keep.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use gpux::pipeline::{Item, Pipeline, Request, SideFiles};
use gpux::tensor::{DType, Data, Signature, Tensor, npy, npz};
use serde_json::Value;

use super::{picture, pipeline, port};
use crate::support::{Gpux, deps};

/// What a value of a picture is divided by in the normalization `imagenet`, at least.
const DEVIATION: f64 = 0.224;

fn made(pipeline: &Pipeline, item: Item) -> Tensor {
    let prepared = pipeline
        .prepare(&Request::from(item))
        .unwrap_or_else(|error| panic!("{error:?}"));
    pipeline.join(&[&prepared]).unwrap().remove(0)
}

/// How far values lie from those of the reference, in units of 1/255 of the brightness.
struct Distances(Vec<f64>);

impl Distances {
    fn new(found: &Tensor, expected: &Tensor, what: &str) -> Distances {
        assert_eq!(found.shape(), expected.shape(), "{what}");
        Distances(match (found.data(), expected.data()) {
            (Data::U8(found), Data::U8(expected)) => found
                .iter()
                .zip(expected)
                .map(|(a, b)| f64::from(a.abs_diff(*b)))
                .collect(),
            (Data::F32(found), Data::F32(expected)) => found
                .iter()
                .zip(expected)
                .map(|(a, b)| f64::from((a - b).abs()) * DEVIATION * 255.0)
                .collect(),
            other => panic!("{what}: {other:?}"),
        })
    }

    fn most(&self) -> f64 {
        self.0.iter().copied().fold(0.0, f64::max)
    }

    /// Says what is wrong where more than 0.1 % of the values are off by more than 1, or the mean by 0.1.
    ///
    /// OpenCV rounds once where two passes round twice, so that more of what it fills up is off by 1.
    fn fault(&self, what: &str) -> Option<String> {
        /// Values that went through 32-bit fractions are off by 1 where they are by so much.
        const ONE: f64 = 1.01;
        let mean_bound = if what.contains("letterbox") { 0.25 } else { 0.1 };
        let count = self.0.len();
        let far = self.0.iter().filter(|distance| **distance > ONE).count();
        let mean = self.0.iter().sum::<f64>() / count as f64;
        let is_close = far as f64 <= 0.001 * count as f64 && mean < mean_bound;
        (!is_close).then(|| {
            format!(
                "{what}: {far} of {count} values are off by more than 1/255, the mean by {mean:.3}, one by {:.2}",
                self.most()
            )
        })
    }
}

/// Makes what `cases.json` names, beside what the reference made of it.
fn compared() -> Vec<(String, Distances)> {
    let cases: Vec<Value> = serde_json::from_slice(&fs::read(picture("cases.json")).unwrap()).unwrap();
    let bytes = ["golden", "jpegs"].map(|name| (name, fs::read(picture(&format!("{name}.npz"))).unwrap()));
    let mut archives: BTreeMap<&str, npz::Archive> = bytes
        .iter()
        .map(|(name, bytes)| (*name, npz::Archive::open(bytes).unwrap()))
        .collect();
    let mut all = Vec::new();
    for case in &cases {
        let text = |key: &str| case[key].as_str().unwrap();
        let archive = archives.get_mut(text("archive")).unwrap();
        let expected = archive.tensor(text("golden")).unwrap();
        let channels = *expected.shape().last().unwrap() as i64;
        let input = match expected.dtype() {
            DType::U8 => port("x", DType::U8, &[-1, -1, -1, channels]),
            _ => port("x", DType::F32, &[-1, 3, -1, -1]),
        };
        let signature = Signature {
            inputs: vec![input],
            outputs: vec![],
        };
        let steps = pipeline(
            &format!("preprocessing: {}", text("steps")),
            &signature,
            &SideFiles::new(),
        );
        let bytes = fs::read(picture(text("picture"))).unwrap();
        let what = format!("{} {}", text("picture"), text("steps"));
        let distances = Distances::new(&made(&steps, Item::Picture(bytes)), &expected, &what);
        all.push((what, distances));
    }
    all
}

#[test]
fn pictures_become_what_pillow_and_numpy_make_of_them() {
    let compared = compared();
    assert!(compared.len() > 70);
    let faults: Vec<String> = compared
        .iter()
        .filter_map(|(what, distances)| distances.fault(what))
        .collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn a_jpeg_of_any_chroma_has_the_very_pixels_that_pillow_gives_it() {
    let decoded = |what: &str| what.contains(".jpg") && what.ends_with("[image]");
    let compared: Vec<_> = compared().into_iter().filter(|(what, _)| decoded(what)).collect();
    for form in [
        "444",
        "422",
        "420",
        "440",
        "411",
        "progressive",
        "restarts",
        "passes",
        "1x1",
        "turned",
        "gray",
    ] {
        assert!(compared.iter().any(|(what, _)| what.contains(form)), "{form}");
    }
    let differ: Vec<_> = compared
        .iter()
        .filter(|(_, distances)| distances.most() > 0.0)
        .map(|(what, distances)| format!("{what}: by {}", distances.most()))
        .collect();
    assert!(differ.is_empty(), "{}", differ.join("\n"));
}

fn numbers(value: &Value) -> Vec<i64> {
    let rows = value.as_array().unwrap().iter();
    rows.flat_map(|row| row.as_array().unwrap().iter().map(|number| number.as_i64().unwrap()))
        .collect()
}

#[test]
fn texts_become_the_tokens_of_hugging_faces_tokenizers() {
    let cases = fs::read(deps::fixture("texts/tokens.json")).unwrap();
    let cases: Vec<Value> = serde_json::from_slice(&cases).unwrap();
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let signature = Signature {
        inputs: names.map(|name| port(name, DType::I64, &[-1, -1])).to_vec(),
        outputs: vec![],
    };
    for case in &cases {
        let tokenizer = case["tokenizer"].as_str().unwrap();
        let path = match tokenizer {
            "minilm" => deps::real_model("minilm").with_file_name("tokenizer.json"),
            name => deps::fixture(&format!("texts/{name}.json")),
        };
        let files = SideFiles::from([("t.json".to_owned(), fs::read(path).unwrap())]);
        let length = match case["max_length"].as_u64() {
            Some(length) => format!(", max_length: {length}"),
            None => String::new(),
        };
        let steps = pipeline(
            &format!("preprocessing: [tokenize: {{tokenizer: t.json{length}}}]"),
            &signature,
            &files,
        );
        let item = |text: &Value| match text {
            Value::String(text) => Item::Text(text.clone()),
            pair => Item::Pair(pair[0].as_str().unwrap().into(), pair[1].as_str().unwrap().into()),
        };
        let texts = case["texts"].as_array().unwrap();
        let prepared: Vec<_> = texts
            .iter()
            .map(|text| steps.prepare(&Request::from(item(text))).unwrap())
            .collect();
        let inputs = steps.join(&prepared.iter().collect::<Vec<_>>()).unwrap();
        for (name, tensor) in names.iter().zip(&inputs) {
            let found = tensor.elements::<i64>().unwrap();
            assert_eq!(found, numbers(&case[*name]), "{tokenizer} {length} {name}");
            assert_eq!(tensor.shape()[0], texts.len());
        }
    }
}

#[test]
fn two_sentences_of_one_meaning_are_alike_as_published() {
    let folder = deps::minilm("[mean_pool, cosine_similarity]");
    let gpux = Gpux::new().in_folder(folder.path());
    gpux.ok(["build", ".", "-t", "minilm:1"]);
    let answer = gpux.json([
        "run",
        "minilm:1",
        "A man is eating food.",
        "A man is eating a piece of bread.",
    ]);
    let values = &answer["answers"][0]["answer"]["last_hidden_state"]["values"];
    let cosine = values[1].as_f64().unwrap();
    assert!((cosine - 0.755).abs() <= 0.001, "{cosine}");
    assert!((values[0].as_f64().unwrap() - 1.0).abs() < 1e-5);
}

#[test]
fn cosines_of_ten_pairs_agree_with_python() {
    let pairs = deps::repository().join("tests/it/pipelines/pairs.json");
    let script = deps::repository().join("tests/it/pipelines/cosines.py");
    let python = Command::new(deps::python())
        .arg(script)
        .arg(deps::real_model("minilm"))
        .arg(&pairs)
        .output()
        .unwrap();
    assert!(python.status.success(), "{}", String::from_utf8_lossy(&python.stderr));
    let expected: Vec<f64> = serde_json::from_slice(&python.stdout).unwrap();
    let pairs: Vec<Value> = serde_json::from_slice(&fs::read(pairs).unwrap()).unwrap();
    assert_eq!((expected.len(), pairs.len()), (10, 10));
    let folder = deps::minilm("[mean_pool, l2_normalize]");
    let gpux = Gpux::new().in_folder(folder.path());
    let texts: Vec<&str> = pairs
        .iter()
        .flat_map(|pair| pair["texts"].as_array().unwrap())
        .map(|text| text.as_str().unwrap())
        .collect();
    let mut arguments = vec!["run", ".", "--output", "embeddings.npy"];
    arguments.extend(&texts);
    gpux.ok(&arguments);
    let embeddings = npy::decode(&fs::read(folder.path().join("embeddings.npy")).unwrap()).unwrap();
    assert_eq!(embeddings.shape(), [20, 384]);
    let values = embeddings.elements::<f32>().unwrap();
    for (at, expected) in expected.iter().enumerate() {
        let row = |row: usize| &values[row * 384..(row + 1) * 384];
        let cosine: f64 = row(2 * at)
            .iter()
            .zip(row(2 * at + 1))
            .map(|(a, b)| f64::from(a * b))
            .sum();
        assert!(
            (cosine - expected).abs() < 1e-4,
            "{}: {cosine} and {expected}",
            pairs[at]
        );
    }
}

#[test]
fn resnet50_answers_a_picture_as_python_does() {
    let folder = tempfile::tempdir_in(deps::repository().join("target")).unwrap();
    fs::hard_link(deps::real_model("resnet50"), folder.path().join("model.onnx")).unwrap();
    fs::copy(picture("photo.jpg"), folder.path().join("photo.jpg")).unwrap();
    let text = "name: resnet\nmodel: model.onnx\npreprocessing: imagenet\npostprocessing: classify\n";
    fs::write(folder.path().join("GPUXfile"), text).unwrap();
    let gpux = Gpux::new().in_folder(folder.path());
    gpux.ok(["run", ".", "photo.jpg", "--raw", "--output", "scores.npy"]);
    let found = npy::decode(&fs::read(folder.path().join("scores.npy")).unwrap()).unwrap();
    let expected = npy::decode(&fs::read(picture("resnet50.npy")).unwrap()).unwrap();
    let (found, expected) = (found.elements::<f32>().unwrap(), expected.elements::<f32>().unwrap());
    let spread = expected
        .iter()
        .copied()
        .fold(0.0f32, |most, value| most.max(value.abs()));
    let most = found
        .iter()
        .zip(expected)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, f32::max);
    assert!(
        most <= 0.0001 * spread,
        "off by {most}, where the greatest score is {spread}"
    );
    let best = |values: &[f32]| {
        (0..values.len())
            .max_by(|a, b| values[*a].total_cmp(&values[*b]))
            .unwrap()
    };
    let answer = gpux.json(["run", ".", "photo.jpg"]);
    let (_, labels) = answer["answers"][0]["answer"]
        .as_object()
        .unwrap()
        .iter()
        .next()
        .unwrap();
    assert_eq!(labels["labels"][0]["index"], best(expected), "{answer}");
    assert_eq!(labels["labels"].as_array().unwrap().len(), 5);
}
