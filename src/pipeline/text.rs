use std::fmt;

use tokenizers::{EncodeInput, InputSequence, Tokenizer, TruncationDirection, TruncationParams, TruncationStrategy};

use crate::gpuxfile::{Feed, FeedRole, Padding, Side, Tokenize, Truncation};
use crate::tensor::{DType, End, Signature, Tensor};

use super::prepared::{Filling, Prepared, Tokens};
use super::tokenizer::read_tokenizer;
use super::{Error, Item, SideFiles};

/// Makes text into numbers of tokens.
pub(super) struct TextSteps {
    tokenizer: Tokenizer,
    tokenize: Tokenize,
    pad_id: u32,
}

impl fmt::Debug for TextSteps {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("TextSteps").field(&self.tokenize).finish()
    }
}

impl TextSteps {
    pub fn new(tokenize: &Tokenize, files: &SideFiles) -> Result<TextSteps, Error> {
        let path = tokenize.tokenizer.as_str();
        let failed = |source| Error::Tokenizer {
            path: path.to_owned(),
            source,
        };
        let mut tokenizer = read_tokenizer(path, files)?;
        let pad_id = pad_id(&tokenizer, tokenize)?;
        // What the file says of both is of the place where it was trained; the steps alone say what is done here.
        tokenizer.with_padding(None);
        let truncation = tokenize.max_length.map(|most| TruncationParams {
            direction: TruncationDirection::Right,
            max_length: usize::try_from(most).unwrap_or(usize::MAX),
            strategy: match tokenize.truncation {
                Truncation::LongestFirst => TruncationStrategy::LongestFirst,
                Truncation::OnlyFirst => TruncationStrategy::OnlyFirst,
                Truncation::OnlySecond => TruncationStrategy::OnlySecond,
            },
            stride: 0,
        });
        tokenizer.with_truncation(truncation).map_err(failed)?;
        Ok(TextSteps {
            tokenizer,
            tokenize: tokenize.clone(),
            pad_id,
        })
    }

    /// Makes a text or a pair into numbers.
    pub fn encode(&self, item: &Item, name: &str) -> Result<Tokens, Error> {
        let sequence = |text: &str| InputSequence::from(text.to_owned());
        let input = match item {
            Item::Text(text) => EncodeInput::Single(sequence(text)),
            Item::Pair(first, second) => EncodeInput::Dual(sequence(first), sequence(second)),
            other => {
                return Err(Error::Kind {
                    name: name.to_owned(),
                    expected: "text",
                    found: other.kind(),
                });
            }
        };
        let encoding = self
            .tokenizer
            .encode_fast(input, self.tokenize.special_tokens)
            .map_err(Error::Encode)?;
        Ok(Tokens {
            ids: encoding.get_ids().to_vec(),
            types: encoding.get_type_ids().to_vec(),
        })
    }

    /// Says how texts of different length are filled up, where a mask leaves out what fills up, and nothing else says how long
    /// they are to be.
    pub fn filling(&self, feeds: &[Feed]) -> Option<Filling> {
        let is_masked = feeds.iter().any(|feed| feed.role == FeedRole::Mask);
        (is_masked && self.tokenize.padding == Padding::Longest).then(|| Filling {
            values: feeds.iter().map(|feed| (feed.input, self.fill(feed.role))).collect(),
            end: match self.tokenize.padding_side {
                Side::Right => End::Back,
                Side::Left => End::Front,
            },
        })
    }

    /// Joins the texts of one call, filled up as the steps say.
    pub fn join(
        &self,
        at: usize,
        prepared: &[&Prepared],
        (feeds, signature): (&[Feed], &Signature),
        tensors: &mut [Option<Tensor>],
    ) -> Result<(), Error> {
        let texts: Vec<&Tokens> = prepared.iter().filter_map(|one| one.texts.get(&at)).collect();
        if texts.is_empty() {
            return Ok(());
        }
        let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let length = match (self.tokenize.padding, self.tokenize.max_length) {
            (Padding::MaxLength, Some(most)) => longest.max(usize::try_from(most).unwrap_or(longest)),
            (Padding::None, _) => {
                if let Some(other) = texts.iter().find(|text| text.ids.len() != longest) {
                    return Err(Error::Lengths {
                        first: longest,
                        other: other.ids.len(),
                    });
                }
                longest
            }
            _ => longest,
        };
        for feed in feeds {
            let mut values: Vec<i64> = Vec::with_capacity(length * texts.len());
            for text in &texts {
                let fill = std::iter::repeat_n(self.fill(feed.role), length - text.ids.len());
                let row: &mut dyn Iterator<Item = i64> = match feed.role {
                    FeedRole::Mask => &mut text.ids.iter().map(|_| 1),
                    FeedRole::Types => &mut text.types.iter().copied().map(i64::from),
                    _ => &mut text.ids.iter().copied().map(i64::from),
                };
                match self.tokenize.padding_side {
                    Side::Right => values.extend(row.chain(fill)),
                    Side::Left => values.extend(fill.chain(row)),
                }
            }
            let shape = [texts.len(), length];
            tensors[feed.input] = Some(match signature.inputs[feed.input].dtype {
                // Vocabularies are far smaller than these numbers go.
                DType::I32 => Tensor::from_vec(shape, values.iter().map(|&value| value as i32).collect::<Vec<_>>())?,
                _ => Tensor::from_vec(shape, values)?,
            });
        }
        Ok(())
    }

    fn fill(&self, role: FeedRole) -> i64 {
        match role {
            FeedRole::Mask | FeedRole::Types => 0,
            _ => self.pad_id.into(),
        }
    }
}

/// Finds the number of the token that fills up: the one that is named, else the tokenizer's own, else a usual one.
fn pad_id(tokenizer: &Tokenizer, tokenize: &Tokenize) -> Result<u32, Error> {
    let missing = |token| Error::PadToken {
        path: tokenize.tokenizer.as_str().to_owned(),
        token,
    };
    if let Some(token) = &tokenize.pad_token {
        return tokenizer.token_to_id(token).ok_or_else(|| missing(Some(token.clone())));
    }
    if let Some(padding) = tokenizer.get_padding() {
        return Ok(padding.pad_id);
    }
    let usual = ["[PAD]", "<pad>"].iter().find_map(|token| tokenizer.token_to_id(token));
    match usual {
        Some(id) => Ok(id),
        None if tokenize.padding == Padding::None => Ok(0),
        None => Err(missing(None)),
    }
}
