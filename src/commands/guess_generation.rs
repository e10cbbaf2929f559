//! What the files of a Hugging Face model that generates say: which graphs there are, what goes in, how it starts and ends.

use std::fmt::Write;
use std::path::Path;

use serde_json::Value as Json;

use crate::fs;
use crate::gpuxfile;
use crate::onnx;
use crate::tensor::Signature;

use super::guess::read;
use super::{Failure, OrFail};

/// The names that exporters give to graphs, by what they are; the first that is there counts.
const GRAPHS: &[(&str, &[&str])] = &[
    ("encoder", &["encoder_model.onnx", "encoder.onnx"]),
    (
        "decoder",
        &[
            "decoder_model.onnx",
            "decoder.onnx",
            "decoder_model_merged.onnx",
            "model.onnx",
        ],
    ),
    (
        "decoder_with_past",
        &["decoder_with_past_model.onnx", "decoder_with_past.onnx"],
    ),
];

/// Writes a GPUXfile for the model in `folder`; `None` where none there generates.
///
/// Errors: files that cannot be read, graphs that do not hang together.
pub fn draft(folder: &Path, called: Option<&str>) -> Result<Option<String>, Failure> {
    let settings = read(folder, "generation_config.json")?;
    let graphs = graphs(folder);
    let Some((_, decoder)) = graphs.iter().find(|(name, _)| *name == "decoder") else {
        return Ok(None);
    };
    let signature = signature(folder, decoder)?;
    let has_encoder = graphs.iter().any(|(name, _)| *name == "encoder");
    if settings.is_none() || signature.output("logits").is_none() || signature.input("input_ids").is_none() {
        return Ok(None);
    }
    let settings = settings.unwrap_or(Json::Null);
    let folder_name = folder.file_name().map(|name| name.to_string_lossy().into_owned());
    let mut text = head(called.map(str::to_owned).or(folder_name).as_deref());
    match graphs.as_slice() {
        [(_, only)] => _ = writeln!(text, "model: {}", quoted(only)),
        several => {
            text.push_str("models:\n");
            for (name, path) in several {
                _ = writeln!(text, "  {name}: {}", quoted(path));
            }
        }
    }
    text.push_str(&steps(folder, has_encoder)?);
    text.push_str(&generation(&settings, has_encoder));
    check(folder, &text, &graphs)?;
    Ok(Some(text))
}

fn head(called: Option<&str>) -> String {
    let name = called.and_then(gpuxfile::ArtifactName::resembling);
    let name = name.map_or_else(|| "model".to_owned(), |name| name.to_string());
    format!(
        "# Read by `gpux build`. Every key is described in registry-spec/gpuxfile.md.\n\nname: {}\nversion: 0.1.0\n\
         # description: What the model does, in a sentence.\n# licenses: Apache-2.0\n\n",
        quoted(&name)
    )
}

/// Finds the graphs, in the folder or in the one below it that exporters make.
fn graphs(folder: &Path) -> Vec<(&'static str, String)> {
    let find = |names: &[&str]| {
        let places = ["", "onnx/"].into_iter();
        let paths = places.flat_map(|place| names.iter().map(move |name| format!("{place}{name}")));
        paths.into_iter().find(|path| fs::is_file(&folder.join(path)))
    };
    GRAPHS
        .iter()
        .filter_map(|(name, names)| Some((*name, find(names)?)))
        .collect()
}

fn signature(folder: &Path, path: &str) -> Result<Signature, Failure> {
    let path = folder.join(path);
    let what = || format!("cannot use `{}`", path.display());
    let model = onnx::Model::parse(fs::map(&path).or_fail(what)?).or_fail(what)?;
    model.signature().or_fail(what)
}

/// Writes how a sound or a text becomes tensors.
fn steps(folder: &Path, has_encoder: bool) -> Result<String, Failure> {
    let sound = read(folder, "preprocessor_config.json")?;
    let sound = sound.filter(|config| config["feature_extractor_type"] == "WhisperFeatureExtractor");
    let Some(config) = sound else {
        let padding = if has_encoder { "longest" } else { "none" };
        return Ok(format!(
            "\npreprocessing:\n  - tokenize: {{tokenizer: tokenizer.json, padding: {padding}}}\n"
        ));
    };
    let number = |key: &str, default: u64| config[key].as_u64().unwrap_or(default);
    Ok(format!(
        "\npreprocessing:\n  - sound: {{rate: {}, seconds: {}}}\n  - log_mel: {{size: {}, hop: {}, bands: {}}}\n",
        number("sampling_rate", 16_000),
        number("chunk_length", 30),
        number("n_fft", 400),
        number("hop_length", 160),
        number("feature_size", 80),
    ))
}

/// Writes how it starts and ends.
fn generation(settings: &Json, has_encoder: bool) -> String {
    let mut text = "\ngeneration:\n  tokenizer: tokenizer.json\n".to_owned();
    let start = match has_encoder {
        true => start(settings),
        false => Vec::new(),
    };
    let most = settings["max_new_tokens"].as_u64().or_else(|| {
        let all = settings["max_length"].as_u64()?;
        all.checked_sub(start.len() as u64).filter(|most| *most > 0)
    });
    _ = writeln!(text, "  max_tokens: {}", most.unwrap_or(256));
    for (key, tokens) in [
        ("start", start),
        ("end", tokens(&settings["eos_token_id"])),
        ("suppress", tokens(&settings["suppress_tokens"])),
        ("suppress_first", tokens(&settings["begin_suppress_tokens"])),
    ] {
        if !tokens.is_empty() {
            let tokens: Vec<String> = tokens.iter().map(u64::to_string).collect();
            _ = writeln!(text, "  {key}: [{}]", tokens.join(", "));
        }
    }
    if settings["lang_to_id"].is_object() {
        text.push_str(
            "  # The second token of `start` is the language, here English; generation_config.json has the others.\n",
        );
    }
    text
}

/// Gives what the decoder starts from: its first token, and those that are forced after it; of Whisper's languages English.
fn start(settings: &Json) -> Vec<u64> {
    let mut start = tokens(&settings["decoder_start_token_id"]);
    let chosen = [
        &settings["lang_to_id"]["<|en|>"],
        &settings["task_to_id"]["transcribe"],
        &settings["no_timestamps_token_id"],
    ];
    let forced = settings["forced_decoder_ids"].as_array();
    let forced = forced.into_iter().flatten().map(|pair| pair[1].as_u64());
    match settings["lang_to_id"].is_object() {
        true => start.extend(chosen.iter().filter_map(|token| token.as_u64())),
        false => start.extend(forced.map_while(|token| token)),
    }
    start
}

/// Reads one token or a list; numbers below 0 stand for none.
fn tokens(value: &Json) -> Vec<u64> {
    match value {
        Json::Array(items) => items.iter().filter_map(Json::as_u64).collect(),
        one => one.as_u64().into_iter().collect(),
    }
}

fn check(folder: &Path, text: &str, graphs: &[(&str, String)]) -> Result<(), Failure> {
    let what = || format!("cannot write a GPUXfile for `{}`", folder.display());
    let file = gpuxfile::parse(text, "GPUXfile").map_err(Box::new).or_fail(what)?;
    let signatures = graphs.iter().map(|(_, path)| signature(folder, path));
    let signatures: Vec<Signature> = signatures.collect::<Result<_, _>>()?;
    let signatures: Vec<&Signature> = signatures.iter().collect();
    file.check(signatures[file.entry()]).map_err(Box::new).or_fail(what)?;
    file.wiring(&signatures).map_err(Box::new).or_fail(what)?;
    Ok(())
}

fn quoted(text: &str) -> String {
    Json::from(text).to_string()
}
