use std::fmt;

use tokenizers::Tokenizer;

use crate::gpuxfile::DecodeTokens;
use crate::pipeline::tokenizer::read_tokenizer;
use crate::pipeline::{Answer, Error, SideFiles};

use super::numbers::Numbers;

/// Makes numbers of tokens into text.
pub(super) struct TokenReader {
    tokenizer: Tokenizer,
    skip_special: bool,
}

impl fmt::Debug for TokenReader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenReader").finish_non_exhaustive()
    }
}

impl TokenReader {
    pub fn new(decode: &DecodeTokens, files: &SideFiles) -> Result<Self, Error> {
        Ok(TokenReader {
            tokenizer: read_tokenizer(decode.tokenizer.as_str(), files)?,
            skip_special: decode.skip_special,
        })
    }

    /// Reads numbers, or of scores for each token the greatest.
    pub fn read(&self, numbers: &Numbers) -> Result<Answer, Error> {
        let ids: Vec<u32> = match *numbers.shape.as_slice() {
            // Numbers below 0 fill up, and `as` makes them 0.
            [] | [_] => numbers
                .values
                .iter()
                .filter(|id| **id >= 0.0)
                .map(|&id| id as u32)
                .collect(),
            [_, classes] => greatest(&numbers.values, classes).map(|class| class as u32).collect(),
            _ => return Err(numbers.misshapen("decode_tokens", "numbers of tokens, or scores for each")),
        };
        let text = self.tokenizer.decode(&ids, self.skip_special).map_err(Error::Decode)?;
        Ok(Answer::Text { text })
    }
}

/// Gives for each moment the class of the greatest score; of equal ones the first.
pub(super) fn greatest(values: &[f32], classes: usize) -> impl Iterator<Item = usize> {
    values.chunks(classes.max(1)).map(|scores| {
        let mut best = 0;
        for (class, score) in scores.iter().enumerate() {
            if *score > scores[best] {
                best = class;
            }
        }
        best
    })
}
