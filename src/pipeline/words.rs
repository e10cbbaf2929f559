use std::fmt;

use tokenizers::Tokenizer;

use super::tokenizer::read_tokenizer;
use super::{Error, SideFiles};

/// What stands for bytes that are no text, or not yet.
const UNREADABLE: char = '\u{fffd}';

/// Makes text of tokens.
pub struct Vocabulary(Tokenizer);

impl fmt::Debug for Vocabulary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Vocabulary").finish_non_exhaustive()
    }
}

impl Vocabulary {
    /// Reads the tokenizer at `path` of an artifact.
    pub fn read(path: &str, files: &SideFiles) -> Result<Vocabulary, Error> {
        read_tokenizer(path, files).map(Vocabulary)
    }

    /// Gives the text of tokens, without those that stand for no text.
    pub fn text(&self, tokens: &[u32]) -> Result<String, Error> {
        self.0.decode(tokens, true).map_err(Error::Decode)
    }

    /// Begins a text that comes token by token.
    pub fn words(&self) -> Words<'_> {
        Words {
            vocabulary: self,
            tokens: Vec::new(),
            context: 0,
            said: 0,
        }
    }
}

/// Is a text that comes token by token; its parts joined are the text of all the tokens.
///
/// A token may be a part of a character, and whether a space stands before a word may depend on the word before. So the
/// tokens after `said` are read together with those from `context` on, which are known, and what comes out beyond these is
/// new; where it ends within a character, it waits for the next token.
#[derive(Debug)]
pub struct Words<'v> {
    vocabulary: &'v Vocabulary,
    tokens: Vec<u32>,
    context: usize,
    said: usize,
}

impl Words<'_> {
    /// Takes the next token, and gives the text that is certain now.
    pub fn push(&mut self, token: u32) -> Result<String, Error> {
        self.tokens.push(token);
        let (known, all) = self.read()?;
        match all.len() > known && !all.ends_with(UNREADABLE) {
            true => Ok(self.say(known, &all)),
            false => Ok(String::new()),
        }
    }

    /// Gives what is left, when there are no more tokens.
    pub fn finish(mut self) -> Result<(String, Vec<u32>), Error> {
        let (known, all) = self.read()?;
        let rest = self.say(known, &all);
        Ok((rest, self.tokens))
    }

    /// Reads from the context on; gives how many bytes of it were said, and all of it.
    fn read(&self) -> Result<(usize, String), Error> {
        let known = self.vocabulary.text(&self.tokens[self.context..self.said])?;
        let all = self.vocabulary.text(&self.tokens[self.context..])?;
        Ok((known.len(), all))
    }

    fn say(&mut self, known: usize, all: &str) -> String {
        self.context = self.said;
        self.said = self.tokens.len();
        all.get(known..).unwrap_or_default().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn vocabulary(model: &str) -> Vocabulary {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("fixtures/generate/{model}/tokenizer.json"));
        let files = SideFiles::from([("t.json".to_owned(), std::fs::read(path).unwrap())]);
        Vocabulary::read("t.json", &files).unwrap()
    }

    fn in_parts(vocabulary: &Vocabulary, tokens: &[u32]) -> Vec<String> {
        let mut words = vocabulary.words();
        let mut parts: Vec<String> = tokens.iter().map(|token| words.push(*token).unwrap()).collect();
        let (rest, all) = words.finish().unwrap();
        assert_eq!(all, tokens);
        parts.push(rest);
        parts
    }

    #[test]
    fn a_character_that_takes_several_tokens_comes_out_whole() {
        let vocabulary = vocabulary("gpt2");
        let tokens = vocabulary.0.encode("héllo 数 😀.", false).unwrap().get_ids().to_vec();
        let parts = in_parts(&vocabulary, &tokens);
        assert_eq!(parts.concat(), "héllo 数 😀.");
        assert!(parts.iter().all(|part| !part.contains(UNREADABLE)));
        assert!(
            parts.contains(&"😀".to_owned()) && parts.contains(&"数".to_owned()),
            "{parts:?}"
        );
    }

    proptest! {
        #[test]
        fn the_parts_joined_are_the_text_of_all_tokens(tokens in vec(0..520u32, 0..40)) {
            for model in ["gpt2", "whisper"] {
                let vocabulary = vocabulary(model);
                prop_assert_eq!(in_parts(&vocabulary, &tokens).concat(), vocabulary.text(&tokens).unwrap());
            }
        }
    }
}
