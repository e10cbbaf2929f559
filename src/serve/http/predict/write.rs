//! Answers as JSON documents.

use std::io::{self, Write};
use std::time::Instant;

use serde_json::json;

use super::timing;
use crate::predict::Output;
use crate::serve::Model;
use crate::serve::answering::Answered;
use crate::serve::http::Refusal;
use crate::tensor::{Tensor, json as tensors};

/// Gives the tensors of an answer.
pub(super) fn tensors_of(answered: &Answered) -> impl Iterator<Item = &Tensor> {
    answered.outcomes.iter().flatten().flat_map(|output| match output {
        Output::Tensors(tensors) => tensors.as_slice(),
        Output::Record(_) => &[],
    })
}

/// Writes the document of `predict`.
pub(super) fn answers(model: &Model, labels: &[Option<String>], answered: &Answered, began: Instant) -> Vec<u8> {
    let mut to = Vec::with_capacity(1 << 10);
    let written = write_answers(model, labels, answered, &mut to);
    debug_assert!(written.is_ok(), "a vector takes whatever is written");
    to.pop();
    let tail = json!({"timing_ms": timing(answered.times, began.elapsed()), "rows": answered.times.rows}).to_string();
    // The members of one document go on in the other.
    to.push(b',');
    to.extend(&tail.as_bytes()[1..]);
    to
}

fn write_answers(model: &Model, labels: &[Option<String>], answered: &Answered, to: &mut Vec<u8>) -> io::Result<()> {
    write!(
        to,
        "{{\"model\":{},\"version\":{},\"provider\":{},\"answers\":[",
        json!(model.name()),
        json!(model.version()),
        json!(model.provider())
    )?;
    for (at, outcome) in answered.outcomes.iter().enumerate() {
        write!(to, "{}{{", if at == 0 { "" } else { "," })?;
        if let Some(label) = labels.get(at).and_then(Option::as_ref) {
            write!(to, "\"input\":{},", json!(label))?;
        }
        match outcome {
            Err(why) => write!(to, "\"error\":{}", json!(why))?,
            Ok(output) => {
                write!(to, "\"answer\":")?;
                write_output(model, output, to)?;
            }
        }
        write!(to, "}}")?;
    }
    write!(to, "]}}")
}

/// Writes `{OUTPUT: {"kind": …}, …}`.
fn write_output(model: &Model, output: &Output, to: &mut Vec<u8>) -> io::Result<()> {
    let tensors = match output {
        Output::Record(record) => return Ok(serde_json::to_writer(to, record)?),
        Output::Tensors(tensors) => tensors,
    };
    write!(to, "{{")?;
    for (at, (port, tensor)) in model.signature().outputs.iter().zip(tensors).enumerate() {
        write!(
            to,
            "{}{}:{{\"kind\":\"tensor\",\"dtype\":{},\"shape\":{},\"data\":",
            if at == 0 { "" } else { "," },
            json!(port.name.as_str()),
            json!(tensor.dtype().name()),
            json!(tensor.shape())
        )?;
        tensors::append(tensor, to);
        write!(to, "}}")?;
    }
    write!(to, "}}")
}

/// Writes the document of KServe's first protocol.
///
/// Errors: a thing that has no answer, which the document has no place for.
pub(super) fn predictions(model: &Model, answered: &Answered) -> Result<Vec<u8>, Refusal> {
    let mut to = b"{\"predictions\":[".to_vec();
    for (at, outcome) in answered.outcomes.iter().enumerate() {
        let output = outcome
            .as_ref()
            .map_err(|why| Refusal::bad(format!("instance {at} has no answer: {why}")))?;
        if at > 0 {
            to.push(b',');
        }
        let written = write_prediction(model, output, &mut to);
        debug_assert!(written.is_ok(), "a vector takes whatever is written");
    }
    to.extend(b"]}");
    Ok(to)
}

/// Writes one prediction: the rows of a tensor stand for themselves where it is the only one.
fn write_prediction(model: &Model, output: &Output, to: &mut Vec<u8>) -> io::Result<()> {
    let tensors = match output {
        Output::Tensors(tensors) => tensors,
        Output::Record(_) => return write_output(model, output, to),
    };
    if let [tensor] = tensors.as_slice() {
        write_row(tensor, to);
        return Ok(());
    }
    write!(to, "{{")?;
    for (at, (port, tensor)) in model.signature().outputs.iter().zip(tensors).enumerate() {
        write!(to, "{}{}:", if at == 0 { "" } else { "," }, json!(port.name.as_str()))?;
        write_row(tensor, to);
    }
    write!(to, "}}")
}

/// Writes a tensor, and one of one row without the axis that says so.
fn write_row(tensor: &Tensor, to: &mut Vec<u8>) {
    let mut text = Vec::new();
    tensors::append(tensor, &mut text);
    let is_row = tensor.shape().first() == Some(&1);
    match is_row {
        true => to.extend(&text[1..text.len() - 1]),
        false => to.extend(text),
    }
}
