use std::io::{self, Write};

use serde::Serialize;

use crate::fs;
use crate::pipeline::{Answer, Record};
use crate::tensor::{DType, Dim, Port, Shape, Tensor, TensorName};
use crate::term::{Align, Table, Term, bar};

use super::outputs::OutputFile;
use super::ran::Ran;
use super::{Code, Failure, OrFail};

/// Is what one `run` with steps found out.
#[derive(Debug)]
pub struct Records<'a> {
    pub ran: Ran<'a>,
    /// The answers in order.
    pub answers: &'a [One],
}

/// Is what one thing given came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct One {
    /// The thing: the path of its file, or the text.
    pub input: String,
    /// The answer by output.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Record>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

impl Records<'_> {
    /// Writes the JSON document of the contract.
    pub fn write_json(&self, to: &mut dyn Write) -> io::Result<()> {
        self.ran
            .write_json(to, "answers", |to| Ok(serde_json::to_writer(to, self.answers)?))
    }

    /// Prints the answers for a person.
    pub fn print(&self, term: &Term) -> io::Result<()> {
        for (at, one) in self.answers.iter().enumerate() {
            if self.answers.len() > 1 {
                term.data(format_args!("{}{}", if at == 0 { "" } else { "\n" }, one.input))?;
            }
            match (&one.answer, &one.error) {
                (Some(record), _) => {
                    for (name, answer) in &record.answers {
                        if record.answers.len() > 1 {
                            term.data(format_args!("{name}:"))?;
                        }
                        print_answer(answer, self.answers, term)?;
                    }
                }
                (None, error) => term.data(format_args!("error: {}", error.as_deref().unwrap_or_default()))?,
            }
        }
        Ok(())
    }
}

fn print_answer(answer: &Answer, all: &[One], term: &Term) -> io::Result<()> {
    const BAR: usize = 30;
    let label = |name: String, score: f32| {
        let is_share = (0.0..=1.0).contains(&score);
        let written = match is_share {
            true => format!("{:.2} %", score * 100.0),
            false => format!("{score:.4}"),
        };
        let drawn = if is_share {
            bar(score.into(), BAR)
        } else {
            String::new()
        };
        [name, written, drawn]
    };
    let mut table = Table::new(&[("", Align::Left), ("", Align::Right), ("", Align::Left)]);
    match answer {
        Answer::Labels { labels } | Answer::Mask(crate::pipeline::Mask { labels, .. }) => {
            for one in labels {
                table.row(label(one.name(), one.score));
            }
            if labels.is_empty() {
                return term.data("no class scores enough");
            }
        }
        Answer::Boxes { boxes, .. } => {
            for found in boxes {
                let [left, top, right, bottom] = found.sides.map(f32::round);
                let [name, score, _] = label(found.label.name(), found.label.score);
                table.row([name, score, format!("({left}, {top}) to ({right}, {bottom})")]);
            }
            if boxes.is_empty() {
                return term.data("nothing found");
            }
        }
        Answer::Similarities { values } => {
            for (value, other) in values.iter().zip(all) {
                table.row([other.input.clone(), format!("{value:.4}"), bar(f64::from(*value), BAR)]);
            }
        }
        Answer::Numbers { shape, values } => {
            const SHOWN: usize = 6;
            let first: Vec<String> = values.iter().take(SHOWN).map(|value| format!("{value:.5}")).collect();
            let more = if values.len() > SHOWN { ", …" } else { "" };
            return term.data(format_args!("float32 {shape:?} [{}{more}]", first.join(", ")));
        }
        Answer::Text { text } | Answer::Generated { text, .. } => return term.data(text),
    }
    term.data(table)
}

/// Writes what an output became into a file: numbers as tensors of a row for each thing given, a mask as a PNG.
///
/// Errors: an answer that the file's form does not hold.
pub fn write_file(file: &OutputFile, records: &[&Record]) -> Result<(), Failure> {
    let what = || format!("cannot write `{}`", file.path().display());
    let outputs = records.first().map_or(0, |record| record.answers.len());
    let mut rows: Vec<(Port, Tensor)> = Vec::new();
    for at in 0..outputs {
        let answers: Vec<&Answer> = records
            .iter()
            .filter_map(|record| record.answers.get(at))
            .map(|(_, answer)| answer)
            .collect();
        let name = &records[0].answers[at].0;
        if !file.takes(name) {
            continue;
        }
        if let ([Answer::Mask(mask)], true) = (answers.as_slice(), file.is_picture()) {
            let bytes = base64::Engine::decode(&base64::engine::general_purpose::STANDARD, &mask.png).or_fail(what)?;
            return fs::replace(file.path(), &bytes).or_fail(what);
        }
        rows.extend(joined(name, &answers));
    }
    if rows.is_empty() || file.is_picture() {
        return Err(Failure::new(
            Code::Failed,
            format!("{}: the answer is not one that such a file holds", what()),
        )
        .hint("embeddings go into .npy, .npz, .json or .raw, one mask into .png; everything else is printed as JSON into a pipe"));
    }
    let rows: Vec<(&Port, &Tensor)> = rows.iter().map(|(port, tensor)| (port, tensor)).collect();
    file.write(&rows)
}

/// Joins the numbers of several answers; `None` where they are none, or of different shapes.
fn joined(name: &str, answers: &[&Answer]) -> Option<(Port, Tensor)> {
    let mut all: Vec<f32> = Vec::new();
    let mut inner: Option<Vec<usize>> = None;
    for answer in answers {
        let (shape, values) = match answer {
            Answer::Numbers { shape, values } => (shape.clone(), values),
            Answer::Similarities { values } => (vec![values.len()], values),
            _ => return None,
        };
        if *inner.get_or_insert_with(|| shape.clone()) != shape {
            return None;
        }
        all.extend(values);
    }
    let shape: Vec<usize> = std::iter::once(answers.len()).chain(inner?).collect();
    let port = Port {
        name: TensorName::new(name),
        dtype: DType::F32,
        shape: Shape::of(shape.iter().map(|size| Dim::Fixed(*size as u64))),
    };
    Some((port, Tensor::from_vec(shape, all).ok()?))
}
