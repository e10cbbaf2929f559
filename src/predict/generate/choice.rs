use std::collections::{BTreeMap, BTreeSet};

use crate::gpuxfile::Generation;
use crate::tensor::{Data, Tensor};

use super::Error;

/// Chooses the next token.
pub(super) struct Choice {
    forced: BTreeMap<u64, u32>,
    suppress: BTreeSet<usize>,
    suppress_first: BTreeSet<usize>,
}

impl Choice {
    /// Takes what a GPUXfile says about tokens.
    pub fn new(generation: &Generation) -> Self {
        let set = |tokens: &[u32]| tokens.iter().map(|&token| token as usize).collect();
        Choice {
            forced: generation.forced.iter().copied().collect(),
            suppress: set(&generation.suppress),
            suppress_first: set(&generation.suppress_first),
        }
    }

    /// Takes the token with the greatest score of those that may be chosen, of equal ones the first; or the one that is
    /// forced at `place`.
    ///
    /// Shape: `scores` is `[1, tokens, vocabulary]`, of which the last row counts.
    pub fn of(&self, scores: &Tensor, place: u64, is_first: bool) -> Result<u32, Error> {
        if let Some(token) = self.forced.get(&place) {
            return Ok(*token);
        }
        let vocabulary = match *scores.shape() {
            [1, tokens, vocabulary] if tokens > 0 && vocabulary > 0 => vocabulary,
            _ => return Err(Error::Scores(scores.shape().to_vec())),
        };
        let may = |token: usize| !(self.suppress.contains(&token) || is_first && self.suppress_first.contains(&token));
        let best = match scores.data() {
            Data::F32(values) => best(last(values, vocabulary).iter().copied(), may),
            Data::F16(values) => best(last(values, vocabulary).iter().map(|value| value.to_f32()), may),
            Data::BF16(values) => best(last(values, vocabulary).iter().map(|value| value.to_f32()), may),
            Data::F64(values) => best(last(values, vocabulary).iter().copied(), may),
            _ => return Err(Error::Scores(scores.shape().to_vec())),
        };
        match best {
            Best::Token(token) => Ok(token as u32),
            Best::NotNumbers => Err(Error::NotNumbers(place)),
            Best::None => Err(Error::AllSuppressed),
        }
    }
}

fn last<T>(values: &[T], vocabulary: usize) -> &[T] {
    &values[values.len() - vocabulary..]
}

enum Best {
    Token(usize),
    NotNumbers,
    None,
}

fn best<T: PartialOrd + Copy>(scores: impl Iterator<Item = T>, may: impl Fn(usize) -> bool) -> Best {
    let mut best: Option<(usize, T)> = None;
    let mut seen = false;
    for (token, score) in scores.enumerate().filter(|(token, _)| may(*token)) {
        seen = true;
        // What is not a number is equal to nothing, itself included.
        if score.partial_cmp(&score).is_some() && best.is_none_or(|(_, least)| score > least) {
            best = Some((token, score));
        }
    }
    match best {
        Some((token, _)) => Best::Token(token),
        None if seen => Best::NotNumbers,
        None => Best::None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gpuxfile;

    fn choice(generation: &str) -> Choice {
        let text = format!("name: m\nmodel: m.onnx\ngeneration: {generation}\n");
        let file = gpuxfile::parse(&text, "GPUXfile").unwrap();
        Choice::new(&file.generation.unwrap())
    }

    fn scores(rows: &[&[f32]]) -> Tensor {
        Tensor::from_vec([1, rows.len(), rows[0].len()], rows.concat()).unwrap()
    }

    #[test]
    fn the_greatest_score_of_the_last_row_wins_and_the_first_of_equal_ones() {
        let choice = choice("{}");
        assert_eq!(
            choice
                .of(&scores(&[&[9.0, 0.0, 0.0], &[1.0, 3.0, 3.0]]), 1, true)
                .unwrap(),
            1
        );
        let half = vec![half::f16::from_f32(1.0), half::f16::from_f32(2.0)];
        assert_eq!(
            choice.of(&Tensor::from_vec([1, 1, 2], half).unwrap(), 1, true).unwrap(),
            1
        );
        assert_eq!(choice.of(&scores(&[&[f32::NAN, -3.0]]), 1, true).unwrap(), 1);
    }

    #[test]
    fn tokens_are_forced_and_suppressed() {
        let choice = choice("{suppress: 1, suppress_first: [2], forced: {3: 0}}");
        let scores = scores(&[&[1.0, 5.0, 4.0, 3.0]]);
        assert_eq!(choice.of(&scores, 1, true).unwrap(), 3);
        assert_eq!(choice.of(&scores, 2, false).unwrap(), 2);
        assert_eq!(choice.of(&scores, 3, false).unwrap(), 0);
    }

    #[test]
    fn scores_that_say_nothing_are_errors() {
        let all = choice("{suppress: [0, 1]}");
        assert!(matches!(
            all.of(&scores(&[&[1.0, 2.0]]), 1, true),
            Err(Error::AllSuppressed)
        ));
        let free = choice("{}");
        assert!(matches!(
            free.of(&scores(&[&[f32::NAN; 2]]), 7, true),
            Err(Error::NotNumbers(7))
        ));
        let flat = Tensor::from_vec([2], vec![0f32; 2]).unwrap();
        assert!(matches!(free.of(&flat, 1, true), Err(Error::Scores(_))));
    }
}
