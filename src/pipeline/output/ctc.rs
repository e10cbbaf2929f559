use std::fmt;

use tokenizers::Tokenizer;

use crate::gpuxfile;
use crate::pipeline::tokenizer::read_tokenizer;
use crate::pipeline::{Answer, Error, SideFiles};

use super::labels::Names;
use super::numbers::Numbers;
use super::tokens::greatest;

/// Makes a sequence of class scores into text.
pub(super) struct Ctc {
    blank: usize,
    delimiter: Option<String>,
    names: ClassNames,
}

enum ClassNames {
    Labels(Names),
    Tokenizer(Box<Tokenizer>),
}

impl fmt::Debug for Ctc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ctc")
            .field("blank", &self.blank)
            .finish_non_exhaustive()
    }
}

impl Ctc {
    pub fn new(ctc: &gpuxfile::Ctc, labels: Names, files: &SideFiles) -> Result<Self, Error> {
        Ok(Ctc {
            blank: usize::try_from(ctc.blank).unwrap_or(usize::MAX),
            delimiter: ctc.delimiter.clone(),
            names: match &ctc.tokenizer {
                Some(path) => ClassNames::Tokenizer(Box::new(read_tokenizer(path.as_str(), files)?)),
                None => ClassNames::Labels(labels),
            },
        })
    }

    /// Takes the greatest class of each moment, once where it repeats, and leaves out blanks.
    pub fn read(&self, numbers: &Numbers) -> Result<Answer, Error> {
        let [_, classes] = *numbers.shape.as_slice() else {
            return Err(numbers.misshapen("ctc", "scores for each moment"));
        };
        let mut kept: Vec<usize> = greatest(&numbers.values, classes).collect();
        kept.dedup();
        kept.retain(|class| *class != self.blank);
        let text = match &self.names {
            ClassNames::Tokenizer(tokenizer) => {
                let ids: Vec<u32> = kept.iter().map(|&class| class as u32).collect();
                tokenizer.decode(&ids, true).map_err(Error::Decode)?
            }
            ClassNames::Labels(names) => {
                let labels = kept.iter().map(|&class| Ok(names.label(class, 0.0)?.name()));
                labels.collect::<Result<String, Error>>()?
            }
        };
        let text = match &self.delimiter {
            Some(delimiter) => text.replace(delimiter.as_str(), " "),
            None => text,
        };
        Ok(Answer::Text {
            text: text.trim().to_owned(),
        })
    }
}
