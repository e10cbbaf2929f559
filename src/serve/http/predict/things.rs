//! The things of a JSON document, and bare bodies, as requests.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::Thing;
use crate::predict::{Item, Modality, Request, Source};
use crate::serve::Model;
use crate::serve::error::shown;
use crate::serve::executor::chain;
use crate::serve::http::Refusal;
use crate::tensor::{Dim, Port, Shape, Tensor, json, npy, raw};

/// The most things of one body: each is worked on before the next client's turn.
const MOST_THINGS: usize = 1024;

/// Reads the things of a JSON document.
///
/// Errors: 400, for a document or a value that is none the model takes.
pub(in crate::serve::http) fn of_json(body: &[u8], model: &Model) -> Result<Vec<Thing>, Refusal> {
    let no_document = |why: String| {
        Refusal::bad(format!(
            "the body is not {{\"input\": …}} or {{\"inputs\": […]}}: {why}"
        ))
    };
    let text = json::utf8(body).map_err(|error| no_document(error.to_string()))?;
    let members = json::members(text).map_err(|error| no_document(why(&error)))?;
    // `instances` is KServe's name for `inputs`.
    if let Some(name) = members
        .keys()
        .find(|name| !matches!(&***name, "input" | "inputs" | "instances"))
    {
        return Err(no_document(format!("`{}` is none of these", shown(name))));
    }
    let mut members = members.into_iter();
    let values = match (members.next(), members.next()) {
        (Some((name, value)), None) if name == "input" => vec![value],
        (Some((name, value)), None) => {
            json::elements(value).map_err(|error| no_document(format!("`{name}` is no list: {error}")))?
        }
        _ => {
            return Err(Refusal::bad(
                "the body must have one of `input`, `inputs` and `instances`",
            ));
        }
    };
    if values.is_empty() {
        return Err(Refusal::bad("there is nothing to answer: the list is empty"));
    }
    if values.len() > MOST_THINGS {
        return Err(Refusal::bad(format!(
            "there are {} things in one body; send at most {MOST_THINGS}",
            values.len()
        )));
    }
    values.into_iter().map(|value| of_value(value, model)).collect()
}

/// Reads one value.
fn of_value(text: &str, model: &Model) -> Result<Thing, Refusal> {
    let sources = model.skill().sources();
    if text.starts_with('{') && !is_bytes(text) {
        return of_names(text, &sources, model);
    }
    match sources.as_slice() {
        [source] if !is_numbers(text) => {
            let (label, item) = of_source(text, source)?;
            Ok(Thing {
                label,
                request: Request::from(item),
            })
        }
        [_] | [] => {
            let [port] = model.given().inputs.as_slice() else {
                return Err(Refusal::bad(format!(
                    "a value must say which input it is for: write {{\"NAME\": …}} with {}",
                    names(&sources, model)
                )));
            };
            let tensor = of_tensor(text, port)?;
            Ok(Thing::bare(Request {
                items: vec![(Some(port.name.as_str().to_owned()), Item::Tensor(tensor))],
            }))
        }
        _ => Err(Refusal::bad(format!(
            "a value must say what it is: write {{\"NAME\": …}} with {}",
            names(&sources, model)
        ))),
    }
}

/// Reads `{"NAME": VALUE, …}`.
fn of_names(text: &str, sources: &[Source], model: &Model) -> Result<Thing, Refusal> {
    let pairs = json::members(text)
        .map_err(|error| Refusal::bad(format!("an object must hold values by name: {}", why(&error))))?;
    let mut thing = Thing::bare(Request::default());
    for (name, value) in pairs {
        if let Some(source) = sources.iter().find(|source| source.label() == name) {
            let (label, item) = of_source(value, source)?;
            thing.label = thing.label.or(label);
            thing.request.items.push((source.name.clone(), item));
        } else if let Some(port) = model.given().input(&name) {
            let tensor = of_tensor(value, port)?;
            thing
                .request
                .items
                .push((Some(name.into_owned()), Item::Tensor(tensor)));
        } else {
            return Err(Refusal::bad(format!(
                "there is no input `{}`: the model takes {}",
                shown(&name),
                names(sources, model)
            )));
        }
    }
    Ok(thing)
}

/// Says why a text is no map; it is the body's, and not one of inputs alone.
fn why(error: &json::Error) -> String {
    match error {
        json::Error::MapSyntax(error) => error.to_string(),
        error => chain(error),
    }
}

/// Names what the model takes.
pub(super) fn names(sources: &[Source], model: &Model) -> String {
    let of_people = sources.iter().map(|source| format!("`{}`", source.label()));
    let all: Vec<String> = match sources {
        [] => model
            .given()
            .inputs
            .iter()
            .map(|port| format!("`{}`", port.name))
            .collect(),
        _ => of_people.collect(),
    };
    all.join(", ")
}

/// Tells whether an object is bytes, and not values by name.
fn is_bytes(text: &str) -> bool {
    let inner = text.trim_start_matches(['{', ' ', '\n', '\r', '\t']);
    inner.starts_with("\"b64\"")
}

/// Tells whether a value can only be a tensor.
fn is_numbers(text: &str) -> bool {
    let inner = text.trim_start_matches(['[', ' ', '\n', '\r', '\t']);
    inner.starts_with(|c: char| c == '-' || c.is_ascii_digit())
}

#[derive(Deserialize)]
#[serde(untagged, deny_unknown_fields)]
enum Given {
    Text(String),
    Pair([String; 2]),
    Bytes { b64: String },
}

/// Reads what a person gives, with what it is called.
fn of_source(text: &str, source: &Source) -> Result<(Option<String>, Item), Refusal> {
    let wanted = || {
        let form = match source.modality {
            Modality::Text => "a string, or two in a list that belong together",
            Modality::Picture => "a picture's file in base64, a data: URL, or {\"b64\": …}",
            Modality::Sound => "a sound's file in base64, a data: URL, or {\"b64\": …}",
        };
        Refusal::bad(format!("`{}` must be {form}", source.label()))
    };
    let given: Given = serde_json::from_str(text).map_err(|_| wanted())?;
    let bytes = |text: &str| {
        let text = match text.strip_prefix("data:") {
            Some(rest) => rest.split_once(";base64,").map(|(_, data)| data).ok_or_else(wanted)?,
            None => text,
        };
        let decoded = STANDARD.decode(text).or_else(|_| STANDARD_NO_PAD.decode(text));
        decoded.map_err(|error| Refusal::bad(format!("`{}` is not base64: {error}", source.label())))
    };
    match (source.modality, given) {
        (Modality::Text, Given::Text(text)) => Ok((Some(shortened(&text)), Item::Text(text))),
        (Modality::Text, Given::Pair([first, second])) => {
            let label = format!("{} | {}", shortened(&first), shortened(&second));
            Ok((Some(label), Item::Pair(first, second)))
        }
        (Modality::Picture, Given::Text(text) | Given::Bytes { b64: text }) => Ok((None, Item::Picture(bytes(&text)?))),
        (Modality::Sound, Given::Text(text) | Given::Bytes { b64: text }) => Ok((None, Item::Sound(bytes(&text)?))),
        _ => Err(wanted()),
    }
}

/// Reads a tensor; one without the batch axis is one row.
fn of_tensor(text: &str, port: &Port) -> Result<Tensor, Refusal> {
    let read = |port: &Port| json::decode_str(text, port).map_err(|error| Refusal::bad(chain(&error)));
    let depth = text.bytes().filter(|byte| !byte.is_ascii_whitespace());
    let depth = depth.take_while(|byte| *byte == b'[').count();
    match port.shape.dims() {
        Some([first, rest @ ..]) if depth == rest.len() && !matches!(first, Dim::Fixed(size) if *size != 1) => {
            let row = Port {
                shape: Shape::of(rest.to_vec()),
                ..port.clone()
            };
            let (shape, data) = read(&row)?.into_parts();
            let shape = std::iter::once(1).chain(shape).collect::<Vec<usize>>();
            Tensor::new(shape, data).map_err(|error| Refusal::bad(chain(&error)))
        }
        _ => read(port),
    }
}

/// Makes a thing of a bare body.
pub(super) fn of_bytes(bytes: &[u8], kind: Kind, source: Option<&Source>, model: &Model) -> Result<Item, Refusal> {
    let modality = source.map(|source| source.modality);
    match (modality, kind) {
        (Some(Modality::Picture), Kind::Picture | Kind::Any) => Ok(Item::Picture(bytes.to_vec())),
        (Some(Modality::Sound), Kind::Sound | Kind::Any) => Ok(Item::Sound(bytes.to_vec())),
        (Some(Modality::Text), Kind::Text | Kind::Any) => match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Item::Text(text.to_owned())),
            Err(_) => Err(Refusal::bad("the text is not UTF-8")),
        },
        (None, Kind::Any) => {
            let [port] = model.given().inputs.as_slice() else {
                return Err(Refusal::bad(format!(
                    "the model takes {}: send JSON or multipart/form-data, which have names",
                    names(&[], model)
                )));
            };
            of_file(bytes, port).map(Item::Tensor)
        }
        (modality, _) => {
            let takes = match modality {
                Some(Modality::Picture) => "a picture (image/*)",
                Some(Modality::Sound) => "a sound (audio/*)",
                Some(Modality::Text) => "text (text/plain)",
                None => "tensors (application/json, or a .npy file as application/octet-stream)",
            };
            Err(Refusal::new(
                axum::http::StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("the model takes {takes}"),
            ))
        }
    }
}

/// Reads a tensor of a file's bytes: NumPy's form, or the bare elements.
pub(super) fn of_file(bytes: &[u8], port: &Port) -> Result<Tensor, Refusal> {
    let read = match bytes.starts_with(b"\x93NUMPY") {
        true => npy::decode_for(bytes, port).map_err(|error| chain(&error)),
        false => raw::decode(bytes, port).map_err(|error| chain(&error)),
    };
    read.map_err(Refusal::bad)
}

/// Reads a tensor of a form's field: a file's bytes, or JSON.
pub(super) fn of_field(bytes: &[u8], port: &Port) -> Result<Tensor, Refusal> {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.starts_with('\u{93}') => of_tensor(text, port),
        _ => of_file(bytes, port),
    }
}

/// Is what a Content-Type says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Picture,
    Sound,
    Text,
    /// Bytes that only the model knows the meaning of.
    Any,
}

/// Shortens a text to what an answer calls it.
pub(super) fn shortened(text: &str) -> String {
    const LONGEST: usize = 60;
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}
