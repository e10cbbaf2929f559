use std::sync::Arc;

use crate::gpuxfile::{Gpuxfile, Labels};
use crate::pipeline::{Answer, Error, Label, SideFiles};
use crate::tensor::Port;

use super::numbers::Numbers;

/// Holds the names of an output's classes, where the GPUXfile gives them.
#[derive(Clone, Debug)]
pub(super) struct Names {
    output: String,
    names: Option<Arc<[String]>>,
}

impl Names {
    /// Takes the labels that the GPUXfile declares for an output.
    pub fn of(gpuxfile: &Gpuxfile, port: &Port, files: &SideFiles) -> Result<Names, Error> {
        let declared = gpuxfile
            .outputs
            .iter()
            .find(|declared| declared.name.value == port.name);
        let names: Option<Vec<String>> = match declared.and_then(|declared| declared.labels.as_ref()) {
            None => None,
            Some(Labels::List(labels)) => Some(labels.value.clone()),
            Some(Labels::File(path)) => {
                let path = path.value.as_str();
                let bytes = files.get(path).ok_or_else(|| Error::MissingFile(path.to_owned()))?;
                let text = std::str::from_utf8(bytes).map_err(|_| Error::LabelsFile(path.to_owned()))?;
                let text = text.strip_prefix('\u{feff}').unwrap_or(text);
                Some(text.lines().map(|line| line.trim_end().to_owned()).collect())
            }
        };
        Ok(Names {
            output: port.name.as_str().to_owned(),
            names: names.map(Arc::from),
        })
    }

    /// Names a class.
    ///
    /// Errors: there are labels, and fewer than the class asks for.
    pub fn label(&self, index: usize, score: f32) -> Result<Label, Error> {
        let label = match &self.names {
            None => None,
            Some(names) => Some(names.get(index).cloned().ok_or_else(|| Error::NoLabel {
                output: self.output.clone(),
                index,
                labels: names.len(),
            })?),
        };
        Ok(Label { index, label, score })
    }

    /// Takes the classes of the greatest scores; of equal ones the first.
    pub fn best(&self, numbers: &Numbers, count: usize) -> Result<Answer, Error> {
        self.chosen(ranked(&numbers.values).take(count))
    }

    /// Takes the classes whose scores are at least `least`.
    pub fn above(&self, numbers: &Numbers, least: f32) -> Result<Answer, Error> {
        self.chosen(ranked(&numbers.values).take_while(|(_, score)| *score >= least))
    }

    fn chosen(&self, chosen: impl Iterator<Item = (usize, f32)>) -> Result<Answer, Error> {
        let labels = chosen.map(|(index, score)| self.label(index, score));
        Ok(Answer::Labels {
            labels: labels.collect::<Result<_, _>>()?,
        })
    }
}

/// Orders scores from the greatest to the least, those that are no numbers at the end.
fn ranked(values: &[f32]) -> impl Iterator<Item = (usize, f32)> {
    let mut all: Vec<(usize, f32)> = values.iter().copied().enumerate().collect();
    let key = |value: f32| if value.is_nan() { f32::NEG_INFINITY } else { value };
    all.sort_by(|left, right| key(right.1).total_cmp(&key(left.1)));
    all.into_iter()
}
