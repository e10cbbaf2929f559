use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::gpuxfile::Modality;
use crate::pipeline::{Item, Pipeline, Request};
use crate::predict::generate::Generator;
use crate::predict::{self, Output, Predictor};
use crate::tensor::{Port, Signature, json, npy};

use super::failure::explain;
use super::opened::Opened;
use super::subject::Subject;
use super::{Code, Context, Failure, OrFail, generate};

/// Where the samples of an artifact lie.
const FOLDER: &str = "samples/";
/// How far a number may be off, where a sample does not say: this much, and this share of itself.
const TOLERANCE: f64 = 1e-3;
/// The most differences that are told of one sample.
const TOLD: usize = 5;

/// Is a sample as its file has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sample {
    /// What is given, by name; a text or the file of a picture alone where there is one thing.
    input: Json,
    /// The answers expected, by output, as `run` prints them.
    #[serde(default)]
    answer: BTreeMap<String, Json>,
    /// The tensors expected, by output: nested lists, or the name of an .npy file.
    #[serde(default)]
    outputs: BTreeMap<String, Json>,
    /// How far a number may be off: this much, and this share of itself.
    #[serde(default)]
    tolerance: Option<f64>,
}

/// Is what a sample came to.
#[derive(Debug, Serialize)]
pub struct Verdict {
    /// The sample's file, without folder and ending.
    pub name: String,
    /// Whether everything was as expected.
    pub passed: bool,
    /// The largest difference of a number that was found.
    pub largest: f64,
    /// What was not as expected.
    pub differences: Vec<Difference>,
}

/// Is a place where an answer is not as expected.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// The place: `probabilities.labels[0].score`.
    pub place: String,
    /// What the sample says.
    pub expected: String,
    /// What came.
    pub found: String,
}

/// Runs every sample of the artifact.
///
/// Errors: the artifact has none, or one cannot be read. A sample that the model does not answer is a verdict.
pub fn run_all(opened: &mut Opened, context: &Context) -> Result<Vec<Verdict>, Failure> {
    let mut names: Vec<String> = opened.subject.paths();
    names.retain(|path| path.starts_with(FOLDER) && path.ends_with(".json"));
    names.sort();
    if names.is_empty() {
        let what = format!("`{}` has no samples", opened.label);
        return Err(Failure::new(Code::NotFound, what)
            .hint("a sample is a file samples/NAME.json beside the GPUXfile, with `input` and `answer`; docs/pipelines.md shows one"));
    }
    let way = match opened.subject.generator(context)? {
        Some(generator) => Way::Words(Box::new(generator)),
        None => {
            let pipeline = opened.subject.pipeline(context)?;
            let without = || Pipeline::without_steps(&opened.subject.signature);
            Way::Steps(Predictor::new(pipeline.unwrap_or_else(without)))
        }
    };
    names.iter().map(|path| run_one(path, &way, opened, context)).collect()
}

/// Is how the model answers a sample.
enum Way {
    /// Through the steps of its GPUXfile.
    Steps(Predictor),
    /// Word by word.
    Words(Box<Generator>),
}

impl Way {
    fn pipeline(&self) -> &Pipeline {
        match self {
            Way::Steps(predictor) => predictor.pipeline(),
            Way::Words(generator) => generator.pipeline(),
        }
    }

    /// Answers a request, with tensors where `raw` says so.
    fn answer(&self, opened: &mut Opened, request: &Request, raw: bool) -> Result<Output, String> {
        match self {
            Way::Words(generator) => generate::answer(opened, generator, request, false)
                .map(|generated| Output::Record(generate::record(generated)))
                .map_err(|error| explain(&error)),
            Way::Steps(predictor) => {
                let predictor = match raw {
                    true => predictor.clone().raw(),
                    false => predictor.clone(),
                };
                let outcome = predictor.predict(opened, std::slice::from_ref(request), 1).pop();
                outcome
                    .unwrap_or(Err(predict::Error::Compared))
                    .map_err(|error| explain(&error))
            }
        }
    }
}

fn run_one(path: &str, way: &Way, opened: &mut Opened, context: &Context) -> Result<Verdict, Failure> {
    let what = || format!("cannot use the sample `{path}`");
    let bytes = opened.subject.read(path, context)?;
    let sample: Sample = serde_json::from_slice(&bytes).or_fail(what)?;
    if sample.answer.is_empty() && sample.outputs.is_empty() {
        return Err(Failure::new(Code::Failed, format!("{}: it expects nothing", what()))
            .hint("give what is expected in `answer` or `outputs`"));
    }
    if matches!(way, Way::Words(_)) && !sample.outputs.is_empty() {
        let why = format!("{}: the model generates text, and has no outputs to compare", what());
        return Err(Failure::new(Code::Failed, why).hint("write `\"answer\": {\"text\": {\"text\": …}}`"));
    }
    let request = request(&sample.input, way.pipeline(), &opened.subject, context)?;
    let mut expected: BTreeMap<&str, Json> = BTreeMap::new();
    for (name, value) in &sample.outputs {
        let value = match value {
            Json::String(file) if file.ends_with(".npy") => {
                let bytes = opened.subject.read(&format!("{FOLDER}{file}"), context)?;
                json::encode(&npy::decode(&bytes).or_fail(what)?)
            }
            value => value.clone(),
        };
        expected.insert(name, value);
    }
    let mut found: BTreeMap<String, Json> = BTreeMap::new();
    let mut comparison = Comparison {
        tolerance: sample.tolerance.unwrap_or(TOLERANCE),
        largest: 0.0,
        differences: Vec::new(),
    };
    for (wanted, raw) in [(!sample.answer.is_empty(), false), (!sample.outputs.is_empty(), true)] {
        if !wanted {
            continue;
        }
        match way.answer(opened, &request, raw) {
            Ok(Output::Record(record)) => {
                for (name, answer) in record.answers {
                    found.insert(format!("answer.{name}"), serde_json::to_value(answer).or_fail(what)?);
                }
            }
            Ok(Output::Tensors(tensors)) => {
                for (port, tensor) in opened.subject.signature.outputs.iter().zip(&tensors) {
                    found.insert(format!("outputs.{}", port.name), json::encode(tensor));
                }
            }
            Err(error) => comparison.differ("", "an answer", &error),
        }
    }
    let wanted = sample
        .answer
        .iter()
        .map(|(name, value)| (format!("answer.{name}"), value));
    let wanted = wanted.chain(expected.iter().map(|(name, value)| (format!("outputs.{name}"), value)));
    for (place, value) in wanted {
        match found.get(&place) {
            Some(found) => comparison.compare(&place, value, found),
            None if comparison.differences.is_empty() => comparison.differ(&place, "an answer", "nothing"),
            None => {}
        }
    }
    Ok(Verdict {
        name: path[FOLDER.len()..].trim_end_matches(".json").to_owned(),
        passed: comparison.differences.is_empty(),
        largest: comparison.largest,
        differences: comparison.differences,
    })
}

/// Makes a request of what a sample gives.
fn request(input: &Json, pipeline: &Pipeline, subject: &Subject, context: &Context) -> Result<Request, Failure> {
    let sources = pipeline.sources();
    let signature = pipeline.signature();
    let mut request = Request::default();
    let alone = match (input, sources.as_slice(), signature.inputs.as_slice()) {
        (Json::Object(_), _, _) => None,
        (_, [source], _) => Some(source.label()),
        (_, [], [port]) => Some(port.name.as_str().to_owned()),
        _ => None,
    };
    let named: Vec<(String, &Json)> = match (input, alone) {
        (value, Some(name)) => vec![(name, value)],
        (Json::Object(map), None) => map.iter().map(|(name, value)| (name.clone(), value)).collect(),
        _ => {
            return Err(
                Failure::new(Code::Failed, "the sample does not say what its `input` is for")
                    .hint("write a mapping from each name to its value"),
            );
        }
    };
    for (name, value) in named {
        let source = sources.iter().find(|source| source.label() == name);
        request.items.push(match (source.map(|source| source.modality), value) {
            (Some(Modality::Text), Json::String(text)) => {
                (source.and_then(|s| s.name.clone()), Item::Text(text.clone()))
            }
            (Some(Modality::Text), Json::Array(_)) => {
                let (first, second) = serde_json::from_value(value.clone())
                    .or_fail(|| format!("the sample's `{name}` is no pair of texts"))?;
                (source.and_then(|s| s.name.clone()), Item::Pair(first, second))
            }
            (Some(modality), Json::String(file)) => {
                let bytes = subject.read(&format!("{FOLDER}{file}"), context)?;
                let item = match modality {
                    Modality::Sound => Item::Sound(bytes),
                    _ => Item::Picture(bytes),
                };
                (source.and_then(|s| s.name.clone()), item)
            }
            (_, value) => (Some(name.clone()), tensor(&name, value, signature, subject, context)?),
        });
    }
    Ok(request)
}

fn tensor(
    name: &str,
    value: &Json,
    signature: &Signature,
    subject: &Subject,
    context: &Context,
) -> Result<Item, Failure> {
    let what = || format!("cannot use the sample's `{name}`");
    let port: &Port = signature.input(name).ok_or_else(|| {
        Failure::new(
            Code::Failed,
            format!("the sample gives `{name}`, and the model takes nothing of this name"),
        )
    })?;
    let tensor = match value {
        Json::String(file) if file.ends_with(".npy") => {
            npy::decode_for(&subject.read(&format!("{FOLDER}{file}"), context)?, port).or_fail(what)?
        }
        value => json::decode(value, port).or_fail(what)?,
    };
    Ok(Item::Tensor(tensor))
}

/// Gathers differences between what is expected and what came.
struct Comparison {
    tolerance: f64,
    largest: f64,
    differences: Vec<Difference>,
}

impl Comparison {
    fn differ(&mut self, place: &str, expected: &str, found: &str) {
        if self.differences.len() < TOLD {
            let short = |text: &str| text.chars().take(200).collect();
            self.differences.push(Difference {
                place: place.to_owned(),
                expected: short(expected),
                found: short(found),
            });
        }
    }

    /// Compares two documents; what is expected may leave keys out.
    fn compare(&mut self, place: &str, expected: &Json, found: &Json) {
        match (expected, found) {
            (Json::Number(_), Json::Number(_)) => {
                let (wanted, got) = (
                    expected.as_f64().unwrap_or(f64::NAN),
                    found.as_f64().unwrap_or(f64::NAN),
                );
                let distance = (wanted - got).abs();
                self.largest = self.largest.max(distance);
                if distance > self.tolerance + self.tolerance * wanted.abs() || distance.is_nan() {
                    self.differ(place, &expected.to_string(), &found.to_string());
                }
            }
            (Json::Array(wanted), Json::Array(got)) if wanted.len() == got.len() => {
                for (at, (wanted, got)) in wanted.iter().zip(got).enumerate() {
                    self.compare(&format!("{place}[{at}]"), wanted, got);
                }
            }
            (Json::Array(wanted), Json::Array(got)) => {
                self.differ(
                    place,
                    &format!("{} items", wanted.len()),
                    &format!("{} items", got.len()),
                );
            }
            (Json::Object(wanted), Json::Object(got)) => {
                for (key, wanted) in wanted {
                    match got.get(key) {
                        Some(got) => self.compare(&format!("{place}.{key}"), wanted, got),
                        None => self.differ(&format!("{place}.{key}"), &wanted.to_string(), "nothing"),
                    }
                }
            }
            (wanted, got) if wanted == got => {}
            (wanted, got) => self.differ(place, &wanted.to_string(), &got.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(expected: Json, found: Json) -> Vec<String> {
        let mut comparison = Comparison {
            tolerance: 0.01,
            largest: 0.0,
            differences: Vec::new(),
        };
        comparison.compare("a", &expected, &found);
        comparison.differences.into_iter().map(|one| one.place).collect()
    }

    #[test]
    fn numbers_may_be_off_by_the_tolerance_and_words_may_not() {
        assert!(differences(json!([1.0, 100]), json!([1.005, 100.9])).is_empty());
        assert_eq!(differences(json!([1.0, 100]), json!([1.1, 99])), ["a[0]"]);
        assert_eq!(
            differences(json!({"label": "cat"}), json!({"label": "dog"})),
            ["a.label"]
        );
        assert!(differences(json!({"label": "cat"}), json!({"label": "cat", "score": 1})).is_empty());
        assert_eq!(differences(json!({"b": 1}), json!({})), ["a.b"]);
        assert_eq!(differences(json!([1]), json!([1, 2])), ["a"]);
        assert_eq!(differences(json!("NaN"), json!(1)), ["a"]);
    }
}
