use std::io::Read;
use std::path::Path;

use crate::fs;
use crate::tensor::{DType, Port, Signature, Tensor, json, npy, npz, raw};

use super::{Code, Failure, OrFail};

/// Reads the values that the command line gives, in the order of the model's inputs.
///
/// `single` are the `--input` values, `[NAME=]VALUE` each; `map` is that of `--inputs`.
///
/// Errors: a name that the model lacks, an input without a value or with two, a value that does not fit.
pub fn read(single: &[String], map: Option<&str>, signature: &Signature) -> Result<Vec<Tensor>, Failure> {
    let mut tensors: Vec<Option<Tensor>> = signature.inputs.iter().map(|_| None).collect();
    for (at, tensor) in read_some(single, map, signature)? {
        if tensors[at].replace(tensor).is_some() {
            let name = &signature.inputs[at].name;
            return Err(Failure::new(Code::Usage, format!("input `{name}` is given twice")));
        }
    }
    let missing: Vec<&Port> = signature
        .inputs
        .iter()
        .zip(&tensors)
        .filter(|(_, tensor)| tensor.is_none())
        .map(|(port, _)| port)
        .collect();
    if missing.is_empty() {
        Ok(tensors.into_iter().flatten().collect())
    } else {
        Err(lacks(&missing))
    }
}

/// Reads the values that the command line gives, each with the place of its input, complete or not.
pub fn read_some(single: &[String], map: Option<&str>, signature: &Signature) -> Result<Vec<(usize, Tensor)>, Failure> {
    let mut found: Vec<(usize, Tensor)> = Vec::new();
    if let Some(map) = map {
        found.extend(read_map(map, signature)?);
    }
    for argument in single {
        found.extend(read_argument(argument, signature)?);
    }
    Ok(found)
}

fn lacks(missing: &[&Port]) -> Failure {
    let list: Vec<String> = missing.iter().map(|port| describe(port)).collect();
    let plural = if missing.len() == 1 { "input" } else { "inputs" };
    Failure::new(Code::Usage, format!("the model needs the {plural} {}", list.join(", "))).hint(format!(
        "give each as `--input {}=VALUE`, where VALUE is JSON or @FILE (.json, .npy, .npz, .raw, `@-` for stdin)",
        missing[0].name
    ))
}

fn describe(port: &Port) -> String {
    format!("`{}` ({} {})", port.name, port.dtype, port.shape)
}

/// Reads `[NAME=]VALUE`; an `.npz` file without a name gives every input that it holds.
fn read_argument(argument: &str, signature: &Signature) -> Result<Vec<(usize, Tensor)>, Failure> {
    let named = signature
        .inputs
        .iter()
        .enumerate()
        .filter_map(|(at, port)| Some((at, argument.strip_prefix(port.name.as_str())?.strip_prefix('=')?)))
        .max_by_key(|(at, _)| signature.inputs[*at].name.as_str().len());
    if let Some((at, value)) = named {
        return Ok(vec![(at, read_value(value, &signature.inputs[at])?)]);
    }
    if let Some(name) = unknown_name(argument, signature) {
        return Err(no_such_input(name, signature));
    }
    if argument.starts_with('@') && argument.ends_with(".npz") && signature.inputs.len() != 1 {
        return read_map(argument, signature);
    }
    match signature.inputs.as_slice() {
        [port] => Ok(vec![(0, read_value(argument, port)?)]),
        [] => Err(Failure::new(Code::Usage, "the model takes no input")),
        several => {
            let list: Vec<String> = several.iter().map(describe).collect();
            Err(Failure::new(
                Code::Usage,
                format!("`--input {}` does not say which input it is for", clip(argument)),
            )
            .hint(format!(
                "write `--input NAME=VALUE`; the model takes {}",
                list.join(", ")
            )))
        }
    }
}

/// Gives the name in `NAME=VALUE` where the text before the `=` can be a name only.
fn unknown_name<'a>(argument: &'a str, signature: &Signature) -> Option<&'a str> {
    let (name, _) = argument.split_once('=')?;
    let is_text = signature.inputs.len() == 1 && signature.inputs[0].dtype == DType::String;
    let is_word = !name.is_empty() && !name.starts_with(['"', '[', '{', '@']) && !name.contains(char::is_whitespace);
    (is_word && !is_text).then_some(name)
}

fn no_such_input(name: &str, signature: &Signature) -> Failure {
    let list: Vec<String> = signature.inputs.iter().map(describe).collect();
    let nearest = signature
        .inputs
        .iter()
        .map(|port| (strsim::jaro_winkler(name, port.name.as_str()), port))
        .filter(|(likeness, _)| *likeness > 0.7)
        .max_by(|left, right| left.0.total_cmp(&right.0));
    let failure = Failure::new(
        Code::Usage,
        format!("the model has no input `{name}`; it takes {}", list.join(", ")),
    );
    match nearest {
        Some((_, port)) => failure.hint(format!("did you mean `{}`?", port.name)),
        None => failure,
    }
}

/// Reads VALUE: JSON, `@FILE` or `@-`. For a string input, text that is not JSON stands for itself.
pub fn read_value(value: &str, port: &Port) -> Result<Tensor, Failure> {
    let what = || format!("cannot use `{}` as input `{}`", clip(value), port.name);
    let Some(source) = value.strip_prefix('@') else {
        let is_word = port.dtype == DType::String && !value.trim_start().starts_with(['"', '[']);
        if is_word {
            let quoted = serde_json::Value::from(value);
            return json::decode(&quoted, port).or_fail(what);
        }
        return json::decode_str(value, port).or_fail(what);
    };
    let bytes = read_source(source)?;
    match form(source, &bytes) {
        Form::Json => json::decode_text(&bytes, port).or_fail(what),
        Form::Npy => npy::decode_for(&bytes, port).or_fail(what),
        Form::Npz => take_entry(&bytes, port).or_fail(what),
        Form::Raw => raw::decode(&bytes, port).or_fail(what),
        Form::Unknown => Err(unknown_form(source)),
    }
}

/// Reads the value of `--inputs`: a JSON object or an `.npz`, from the command line, a file or stdin.
fn read_map(value: &str, signature: &Signature) -> Result<Vec<(usize, Tensor)>, Failure> {
    let what = || format!("cannot use `{}` as inputs", clip(value));
    let Some(source) = value.strip_prefix('@') else {
        return json::decode_map(value.as_bytes(), &signature.inputs)
            .map(numbered)
            .or_fail(what);
    };
    let bytes = read_source(source)?;
    match form(source, &bytes) {
        Form::Json => json::decode_map(&bytes, &signature.inputs).map(numbered).or_fail(what),
        Form::Npz => npz::decode_map(&bytes, &signature.inputs).map(numbered).or_fail(what),
        Form::Npy | Form::Raw | Form::Unknown => Err(Failure::new(
            Code::Usage,
            format!("`{source}` does not hold inputs by name"),
        )
        .hint("--inputs takes a JSON object {NAME: VALUE, …} or an .npz file")),
    }
}

fn numbered(tensors: Vec<Tensor>) -> Vec<(usize, Tensor)> {
    tensors.into_iter().enumerate().collect()
}

/// Takes the array that has the input's name, or the only one.
fn take_entry(bytes: &[u8], port: &Port) -> Result<Tensor, npz::Error> {
    let mut archive = npz::Archive::open(bytes)?;
    let mut names = archive.names();
    let name = match (names.next(), names.next()) {
        (Some(only), None) => only.to_owned(),
        _ => port.name.as_str().to_owned(),
    };
    drop(names);
    archive.tensor_for(&name, port)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Npy,
    Npz,
    Raw,
    Unknown,
}

/// Decides the form of a file by its ending, and of stdin by its first bytes.
fn form(source: &str, bytes: &[u8]) -> Form {
    if source == "-" {
        return match bytes {
            [0x93, b'N', b'U', b'M', b'P', b'Y', ..] => Form::Npy,
            [b'P', b'K', 3, 4, ..] => Form::Npz,
            _ => Form::Json,
        };
    }
    let ending = Path::new(source)
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    match ending.to_ascii_lowercase().as_str() {
        "json" => Form::Json,
        "npy" => Form::Npy,
        "npz" => Form::Npz,
        "raw" | "bin" => Form::Raw,
        _ => Form::Unknown,
    }
}

fn unknown_form(source: &str) -> Failure {
    Failure::new(Code::Usage, format!("`{source}` has no ending that says what is in it"))
        .hint("tensors are read from .json, .npy, .npz and .raw files")
}

/// Reads a file, or stdin where `source` is `-`.
pub fn read_source(source: &str) -> Result<Vec<u8>, Failure> {
    if source == "-" {
        let mut bytes = Vec::new();
        std::io::stdin()
            .lock()
            .read_to_end(&mut bytes)
            .or_fail(|| "cannot read stdin".into())?;
        return Ok(bytes);
    }
    fs::read(Path::new(source)).or_fail(|| format!("cannot use `@{source}`"))
}

/// Shortens a value for a message.
pub fn clip(value: &str) -> String {
    const LONGEST: usize = 60;
    if value.chars().count() <= LONGEST {
        return value.escape_debug().to_string();
    }
    let start: String = value.chars().take(LONGEST).collect();
    format!("{}…", start.escape_debug())
}
