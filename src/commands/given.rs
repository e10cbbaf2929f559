use std::path::{Path, PathBuf};

use globset::{GlobBuilder, GlobMatcher};

use crate::fs;
use crate::gpuxfile::Modality;
use crate::pipeline::{Item, Pipeline, Request, Source};
use crate::predict::{self, Job};
use crate::tensor::{Port, Signature, Tensor};

use super::{Code, Failure, OrFail, inputs};

/// Is one thing to answer, with what a person would call it.
pub struct Given {
    /// The file's path, or the text, shortened.
    pub label: String,
    /// Reads it, where it is a file.
    pub job: Job,
    /// The picture's file, for what is drawn on a copy of it.
    pub file: Option<PathBuf>,
}

/// Is what the command line gives.
#[derive(Clone, Copy, Debug)]
pub struct Arguments<'a> {
    /// The positional values.
    pub values: &'a [String],
    /// `--input`, `[NAME=]VALUE` each.
    pub single: &'a [String],
    /// `--inputs`.
    pub map: Option<&'a str>,
    /// `--pair`: texts belong together by twos.
    pub pair: bool,
}

/// Reads what is given into requests, one for each positional value, or one in all.
///
/// Errors: values that do not say what they are for, files that do not exist, a folder without pictures.
pub fn read(
    arguments: Arguments<'_>,
    pipeline: Option<&Pipeline>,
    signature: &Signature,
) -> Result<Vec<Given>, Failure> {
    let sources = pipeline.map(Pipeline::sources).unwrap_or_default();
    let mut common: Vec<(Option<String>, Item)> = Vec::new();
    let mut tensors: Vec<String> = Vec::new();
    for argument in arguments.single {
        match source_of(argument, &sources) {
            Some((source, value)) => common.push((source.name.clone(), one_item(value, source.modality)?)),
            None => tensors.push(argument.clone()),
        }
    }
    for (at, tensor) in inputs::read_some(&tensors, arguments.map, signature)? {
        let name = signature.inputs[at].name.as_str().to_owned();
        common.push((Some(name), Item::Tensor(tensor)));
    }
    if arguments.values.is_empty() {
        let label = arguments.single.first().map_or("", String::as_str);
        return Ok(vec![Given {
            label: inputs::clip(label),
            job: Box::new(move || Ok(Request { items: common })),
            file: None,
        }]);
    }
    let values = match sources.as_slice() {
        [source] => of_source(&arguments, source)?,
        [] => of_tensors(arguments.values, signature)?,
        several => return Err(which(several)),
    };
    let with_common = |given: Given| {
        let common = common.clone();
        Given {
            job: Box::new(move || {
                let mut request = (given.job)()?;
                request.items.extend(common);
                Ok(request)
            }),
            ..given
        }
    };
    Ok(values.into_iter().map(with_common).collect())
}

/// Splits `NAME=VALUE` where NAME is that of steps; a bare value is for the only steps there are.
fn source_of<'a, 's>(argument: &'a str, sources: &'s [Source]) -> Option<(&'s Source, &'a str)> {
    let named = sources.iter().find_map(|source| {
        let name = source.label();
        Some((source, argument.strip_prefix(name.as_str())?.strip_prefix('=')?))
    });
    match (named, sources) {
        (Some(named), _) => Some(named),
        (None, [only]) if !argument.contains('=') && !is_tensor(argument, only) => Some((only, argument)),
        _ => None,
    }
}

/// Tells whether a value is a tensor that goes past the steps: by the ending of its file, or as JSON where no text is wanted.
fn is_tensor(value: &str, source: &Source) -> bool {
    let by_ending = value.starts_with('@') && [".npy", ".npz", ".raw"].iter().any(|ending| value.ends_with(ending));
    by_ending || (source.modality != Modality::Text && value.starts_with('['))
}

fn which(sources: &[Source]) -> Failure {
    let names: Vec<&str> = sources.iter().filter_map(|source| source.name.as_deref()).collect();
    let list: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
    Failure::new(
        Code::Usage,
        format!(
            "a value does not say what it is for: the model takes {}",
            list.join(", ")
        ),
    )
    .hint(format!(
        "write `--input {}=VALUE` for each",
        names.first().unwrap_or(&"NAME")
    ))
}

/// Reads one value into one thing.
fn one_item(value: &str, modality: Modality) -> Result<Item, Failure> {
    let file = value.strip_prefix('@');
    match modality {
        Modality::Picture => Ok(Item::Picture(inputs::read_source(file.unwrap_or(value))?)),
        Modality::Sound => Ok(Item::Sound(inputs::read_source(file.unwrap_or(value))?)),
        Modality::Text => match file {
            Some(path) => text_of(inputs::read_source(path)?, path).map(Item::Text),
            None => Ok(Item::Text(value.to_owned())),
        },
    }
}

fn text_of(bytes: Vec<u8>, path: &str) -> Result<String, Failure> {
    String::from_utf8(bytes).or_fail(|| format!("cannot use `{path}` as text"))
}

fn of_source(arguments: &Arguments<'_>, source: &Source) -> Result<Vec<Given>, Failure> {
    let name = &source.name;
    match source.modality {
        Modality::Picture | Modality::Sound => {
            let mut all = Vec::new();
            for value in arguments.values {
                all.extend(encoded(value.strip_prefix('@').unwrap_or(value), source)?);
            }
            Ok(all)
        }
        Modality::Text => {
            let mut texts = Vec::new();
            for value in arguments.values {
                texts.extend(texts_of(value)?);
            }
            if !arguments.pair {
                return Ok(texts
                    .into_iter()
                    .map(|text| ready(name, &text.clone(), Item::Text(text)))
                    .collect());
            }
            let pairs = texts.chunks(2).map(|pair| match pair {
                [first, second] => Ok(ready(
                    name,
                    &format!("{first} | {second}"),
                    Item::Pair(first.clone(), second.clone()),
                )),
                _ => Err(Failure::new(
                    Code::Usage,
                    format!("--pair takes texts by twos, and there are {}", texts.len()),
                )),
            });
            pairs.collect()
        }
    }
}

/// Gives the texts of a value: itself, the lines of stdin for `-`, the content of `@FILE`.
fn texts_of(value: &str) -> Result<Vec<String>, Failure> {
    if value == "-" {
        let text = text_of(inputs::read_source("-")?, "stdin")?;
        return Ok(text.lines().map(str::to_owned).collect());
    }
    match value.strip_prefix('@') {
        Some("-") => Ok(vec![text_of(inputs::read_source("-")?, "stdin")?]),
        Some(path) => files(path, &["txt", "md"])?
            .into_iter()
            .map(|file| {
                let bytes = fs::read(&file).or_fail(|| format!("cannot use `@{path}`"))?;
                text_of(bytes, path)
            })
            .collect(),
        None => Ok(vec![value.to_owned()]),
    }
}

fn ready(name: &Option<String>, label: &str, item: Item) -> Given {
    let name = name.clone();
    Given {
        label: inputs::clip(label),
        job: Box::new(move || {
            Ok(Request {
                items: vec![(name, item)],
            })
        }),
        file: None,
    }
}

/// Gives the pictures or sounds of a value: a file, those of a folder or pattern, or stdin for `-`.
fn encoded(value: &str, source: &Source) -> Result<Vec<Given>, Failure> {
    const PICTURES: &[&str] = &["png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff"];
    const SOUNDS: &[&str] = &["wav", "flac", "mp3", "ogg", "oga", "m4a", "mp4", "aac"];
    let name = &source.name;
    let is_sound = source.modality == Modality::Sound;
    let make = if is_sound { Item::Sound } else { Item::Picture };
    let endings = if is_sound { SOUNDS } else { PICTURES };
    if value == "-" {
        return Ok(vec![ready(name, "-", make(inputs::read_source("-")?))]);
    }
    let read = |path: PathBuf| {
        let (name, file) = (name.clone(), path.clone());
        Given {
            label: path.display().to_string(),
            job: Box::new(move || {
                let bytes = fs::read(&path).map_err(|error| predict::Error::Request(Box::new(error)))?;
                Ok(Request {
                    items: vec![(name, make(bytes))],
                })
            }),
            file: Some(file),
        }
    };
    Ok(files(value, endings)?.into_iter().map(read).collect())
}

/// Finds the files that a value names: one, those directly in a folder that have one of `endings`, or those of a pattern.
fn files(value: &str, endings: &[&str]) -> Result<Vec<PathBuf>, Failure> {
    let what = || format!("cannot look for `{value}`");
    let path = Path::new(value);
    let found = fs::stat(path).or_fail(what)?;
    match found {
        Some(found) if !found.is_folder => return Ok(vec![path.to_owned()]),
        Some(_) => {
            let has_ending = |name: &String| {
                let ending = Path::new(name).extension().and_then(|ending| ending.to_str());
                ending.is_some_and(|ending| endings.contains(&ending.to_ascii_lowercase().as_str()))
            };
            let names = fs::names(path).or_fail(what)?;
            let mut files: Vec<PathBuf> = names
                .iter()
                .filter(|name| has_ending(name))
                .map(|name| path.join(name))
                .collect();
            files.sort();
            if files.is_empty() {
                let what = format!("the folder `{value}` has no file that ends in .{}", endings.join(", ."));
                return Err(Failure::new(Code::NotFound, what));
            }
            return Ok(files);
        }
        None => {}
    }
    let missing = || {
        Failure::new(Code::NotFound, format!("`{value}` does not exist")).hint("paths start from the current folder")
    };
    let Some((folder, pattern)) = pattern(value) else {
        return Err(missing());
    };
    if fs::stat(&folder).or_fail(what)?.is_none() {
        return Err(missing());
    }
    let below = fs::files_below(&folder).or_fail(what)?;
    let mut files: Vec<PathBuf> = below
        .iter()
        .filter(|file| pattern.is_match(file))
        .map(|file| folder.join(file))
        .collect();
    files.sort();
    match files.is_empty() {
        true => Err(Failure::new(Code::NotFound, format!("no file matches `{value}`"))),
        false => Ok(files),
    }
}

/// Splits a pattern into the folder that it starts from and what is below; `None` for what is none.
fn pattern(value: &str) -> Option<(PathBuf, GlobMatcher)> {
    let first = value.find(['*', '?', '[', '{'])?;
    let (folder, rest) = match value[..first].rfind('/') {
        Some(0) => ("/", &value[1..]),
        Some(at) => (&value[..at], &value[at + 1..]),
        None => (".", value),
    };
    let glob = GlobBuilder::new(rest).literal_separator(true).build().ok()?;
    Some((PathBuf::from(folder), glob.compile_matcher()))
}

/// Reads values for a model without steps: each a value of its only input.
fn of_tensors(values: &[String], signature: &Signature) -> Result<Vec<Given>, Failure> {
    let [port] = signature.inputs.as_slice() else {
        let names: Vec<String> = signature.inputs.iter().map(|port| format!("`{}`", port.name)).collect();
        return Err(Failure::new(
            Code::Usage,
            format!(
                "a value does not say which input it is for: the model takes {}",
                names.join(", ")
            ),
        )
        .hint("write `--input NAME=VALUE` for each"));
    };
    let tensors = values.iter().map(|value| {
        let tensor = tensor(value, port)?;
        Ok(ready(&None, value, Item::Tensor(tensor)))
    });
    tensors.collect()
}

/// Reads a value of an input: JSON, `@FILE`, or the path of a file that holds a tensor.
fn tensor(value: &str, port: &Port) -> Result<Tensor, Failure> {
    let ending = Path::new(value)
        .extension()
        .and_then(|ending| ending.to_str())
        .unwrap_or_default();
    let is_file = matches!(ending, "npy" | "npz" | "json" | "raw" | "bin") && !value.starts_with(['[', '{', '"', '@']);
    match is_file || value == "-" {
        true => inputs::read_value(&format!("@{value}"), port),
        false => inputs::read_value(value, port),
    }
}
