//! What the files of a Hugging Face model say of the steps of a GPUXfile.

use std::path::Path;

use serde_json::Value as Json;

use crate::fs;
use crate::gpuxfile::{self, DraftSteps};
use crate::tensor::{Dim, Signature};

use super::{Failure, OrFail};

/// The most labels that are written into the GPUXfile itself.
const FEW_LABELS: usize = 20;
/// The largest file that is read.
const FILE_BYTES: usize = 16 << 20;

/// Is what was found out.
#[derive(Clone, Debug, Default)]
pub struct Guess {
    /// The steps and labels.
    pub steps: DraftSteps,
    /// Files to write, by name beside the GPUXfile.
    pub files: Vec<(String, String)>,
    /// What could not be taken over, a line each.
    pub notes: Vec<String>,
}

impl Guess {
    /// Tells whether there was nothing to find.
    pub fn is_empty(&self) -> bool {
        self.steps == DraftSteps::default()
    }
}

/// Reads what lies in the folder of a model.
///
/// Errors: a file that is there and cannot be read, or is no JSON.
pub fn steps(folder: &Path, signature: &Signature) -> Result<Guess, Failure> {
    Ok(keep_what_fits(read_all(folder, signature)?, signature))
}

fn read_all(folder: &Path, signature: &Signature) -> Result<Guess, Failure> {
    let config = read(folder, "config.json")?;
    let picture = read(folder, "preprocessor_config.json")?;
    let mut guess = Guess::default();
    let has_tokenizer = fs::is_file(&folder.join("tokenizer.json"));
    let tokenized = has_tokenizer && signature.input("input_ids").is_some();
    if tokenized {
        let tokenizer = read(folder, "tokenizer_config.json")?.unwrap_or(Json::Null);
        guess.steps.preprocessing = vec![tokenize(&tokenizer, config.as_ref(), signature)];
    } else if let Some(picture) =
        picture.filter(|picture| picture.get("image_mean").is_some() || picture.get("size").is_some())
    {
        guess.steps.preprocessing = picture_steps(&picture);
    }
    let Some(config) = config else {
        return Ok(guess);
    };
    if tokenized {
        guess.steps.postprocessing = pooling(folder)?;
    }
    let architecture = config["architectures"][0].as_str().unwrap_or_default();
    let has_answer = match architecture {
        name if name.ends_with("ForImageClassification") || name.ends_with("ForSequenceClassification") => {
            guess.steps.postprocessing = match config["problem_type"].as_str() {
                Some("multi_label_classification") => vec!["sigmoid".to_owned(), "threshold: 0.5".to_owned()],
                _ => vec!["softmax".to_owned(), "top_k: 5".to_owned()],
            };
            true
        }
        name if name.ends_with("ForSemanticSegmentation") => {
            guess.steps.postprocessing = vec!["[mask]".to_owned()];
            true
        }
        _ => false,
    };
    if has_answer {
        labels(&config, signature, &mut guess);
    }
    Ok(guess)
}

/// Leaves out steps that do not fit the model, with a note.
fn keep_what_fits(mut guess: Guess, signature: &Signature) -> Guess {
    let fault = |steps: &DraftSteps| {
        let text = gpuxfile::draft_with("m", "m.onnx", signature, steps);
        let checked = gpuxfile::parse(&text, "GPUXfile").and_then(|file| file.check(signature));
        checked.err().map(|error| error.problem().to_string())
    };
    let inputs = DraftSteps {
        preprocessing: guess.steps.preprocessing.clone(),
        ..DraftSteps::default()
    };
    if let Some(why) = fault(&inputs) {
        guess.notes.push(format!("`preprocessing` is left out: {why}"));
        guess.steps.preprocessing.clear();
    }
    if let Some(why) = fault(&guess.steps) {
        guess.notes.push(format!("`postprocessing` is left out: {why}"));
        guess.steps.postprocessing.clear();
        guess.steps.labels = None;
        guess.files.clear();
    }
    guess
}

/// Reads a JSON file of the folder, where it is there.
pub(super) fn read(folder: &Path, name: &str) -> Result<Option<Json>, Failure> {
    let path = folder.join(name);
    if !fs::is_file(&path) {
        return Ok(None);
    }
    let what = || format!("cannot use `{}`", path.display());
    let bytes = fs::read_at_most(&path, FILE_BYTES).or_fail(what)?;
    serde_json::from_slice(&bytes).map(Some).or_fail(what)
}

/// Writes the step of a tokenizer: its length is the least of what the tokenizer and the model allow.
fn tokenize(tokenizer: &Json, config: Option<&Json>, signature: &Signature) -> String {
    let mut options = vec!["tokenizer: tokenizer.json".to_owned()];
    let fixed = signature
        .input("input_ids")
        .and_then(|port| port.shape.dims()?.get(1).cloned());
    // What has no limit is written as a number of 30 digits there.
    let lengths = [
        tokenizer["model_max_length"].as_f64().filter(|length| *length < 1e6),
        config.and_then(|config| config["max_position_embeddings"].as_f64()),
    ];
    let longest = lengths.into_iter().flatten().fold(f64::INFINITY, f64::min);
    match fixed {
        Some(Dim::Fixed(length)) => {
            options.push(format!("max_length: {length}"));
            options.push("padding: max_length".to_owned());
        }
        _ if longest.is_finite() => options.push(format!("max_length: {longest}")),
        _ => {}
    }
    if tokenizer["padding_side"] == "left" {
        options.push("padding_side: left".to_owned());
    }
    if let Some(token) = tokenizer["pad_token"].as_str() {
        options.push(format!("pad_token: {}", Json::from(token)));
    }
    format!("[tokenize: {{{}}}]", options.join(", "))
}

/// Reads the pooling of a sentence transformer, which lies in folders of its own.
fn pooling(folder: &Path) -> Result<Vec<String>, Failure> {
    let Some(pooling) = read(folder, "1_Pooling/config.json")? else {
        return Ok(Vec::new());
    };
    let mut steps = Vec::new();
    if pooling["pooling_mode_cls_token"] == true {
        steps.push("cls_pool".to_owned());
    } else if pooling["pooling_mode_mean_tokens"] == true {
        steps.push("mean_pool".to_owned());
    }
    let modules = read(folder, "modules.json")?.unwrap_or(Json::Null);
    let normalizes = modules.as_array().is_some_and(|modules| {
        let kind = |module: &Json| module["type"].as_str().unwrap_or_default().ends_with("Normalize");
        modules.iter().any(kind)
    });
    if normalizes && !steps.is_empty() {
        steps.push("l2_normalize".to_owned());
    }
    if let [only] = steps.as_slice() {
        return Ok(vec![format!("[{only}]")]);
    }
    Ok(steps)
}

/// Writes the steps of an image processor.
fn picture_steps(processor: &Json) -> Vec<String> {
    let mut steps = Vec::new();
    let does = |key: &str| processor[key].as_bool().unwrap_or(true);
    let crop = does("do_center_crop").then(|| sides(&processor["crop_size"])).flatten();
    if does("do_resize") {
        let filter = match processor["resample"].as_u64() {
            Some(0) => "nearest",
            Some(1) => "lanczos",
            Some(3) => "bicubic",
            _ => "bilinear",
        };
        steps.extend(resize(processor, filter));
    }
    if let Some((height, width)) = crop {
        steps.push(format!("center_crop: {{height: {height}, width: {width}}}"));
    }
    if does("do_rescale") {
        match processor["rescale_factor"].as_f64() {
            Some(factor) if (factor - 1.0 / 255.0).abs() > 1e-12 => steps.push(format!("rescale: {factor:?}")),
            _ => steps.push("rescale".to_owned()),
        }
    }
    if does("do_normalize")
        && let (Some(mean), Some(std)) = (processor["image_mean"].as_array(), processor["image_std"].as_array())
    {
        steps.push(format!(
            "normalize: {{mean: {}, std: {}}}",
            Json::from(mean.clone()),
            Json::from(std.clone())
        ));
    }
    match steps.len() {
        1 => vec![format!("[{}]", steps[0])],
        _ => steps,
    }
}

fn resize(processor: &Json, filter: &str) -> Vec<String> {
    let size = &processor["size"];
    let shortest = size["shortest_edge"].as_u64();
    // Some crop a share out of a larger picture, and only where that is small.
    if let (Some(side), Some(share)) = (shortest, processor["crop_pct"].as_f64())
        && side < 384
        && share > 0.0
    {
        let larger = (side as f64 / share) as u64;
        return vec![
            format!("resize: {{shortest: {larger}, filter: {filter}}}"),
            format!("center_crop: {side}"),
        ];
    }
    match (shortest, sides(size)) {
        (Some(side), _) => vec![format!("resize: {{shortest: {side}, filter: {filter}}}")],
        (None, Some((height, width))) => vec![format!(
            "resize: {{size: {{height: {height}, width: {width}}}, filter: {filter}}}"
        )],
        _ => Vec::new(),
    }
}

/// Reads one side or both.
fn sides(size: &Json) -> Option<(u64, u64)> {
    match size.as_u64() {
        Some(side) => Some((side, side)),
        None => Some((size["height"].as_u64()?, size["width"].as_u64()?)),
    }
}

/// Takes the names of classes over, in the order of their numbers.
fn labels(config: &Json, signature: &Signature, guess: &mut Guess) {
    let (Some(names), Some(output)) = (config["id2label"].as_object(), signature.outputs.first()) else {
        return;
    };
    let labels: Option<Vec<&str>> = (0..names.len())
        .map(|class| names.get(&class.to_string())?.as_str())
        .collect();
    let Some(labels) = labels.filter(|labels| !labels.is_empty()) else {
        guess
            .notes
            .push("config.json numbers its labels with gaps; they are left out".to_owned());
        return;
    };
    let one_line = |label: &&str| label.replace(['\r', '\n'], " ");
    let written = if labels.len() <= FEW_LABELS {
        let quoted: Vec<String> = labels
            .iter()
            .map(|label| Json::from(one_line(label)).to_string())
            .collect();
        format!("[{}]", quoted.join(", "))
    } else {
        let lines: String = labels.iter().map(|label| one_line(label) + "\n").collect();
        guess.files.push(("labels.txt".to_owned(), lines));
        "labels.txt".to_owned()
    };
    guess.steps.labels = Some((output.name.as_str().to_owned(), written));
}
