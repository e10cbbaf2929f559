use std::fmt;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error as _, MapAccess, Visitor};
use tokenizers::models::bpe::BPE;
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;
use tokenizers::{
    AddedToken, DecoderWrapper, ModelWrapper, NormalizerWrapper, PaddingParams, PostProcessorWrapper,
    PreTokenizerWrapper, Tokenizer, TokenizerBuilder, TruncationParams,
};

use super::{Error, SideFiles};

/// Reads the tokenizer at `path` of an artifact.
///
/// Errors: [`Error::MissingFile`]; [`Error::Tokenizer`] where it is none.
pub(super) fn read_tokenizer(path: &str, files: &SideFiles) -> Result<Tokenizer, Error> {
    let bytes = files.get(path).ok_or_else(|| Error::MissingFile(path.to_owned()))?;
    // Older forms, and whatever is wrong, are the library's to tell.
    in_one_pass(bytes)
        .map_or_else(|| Tokenizer::from_bytes(bytes), Ok)
        .map_err(|source| Error::Tokenizer {
            path: path.to_owned(),
            source,
        })
}

/// Reads a tokenizer whose model says first what it is.
///
/// The library reads any model into a document, copies it into a second one, and only then into the model: for a vocabulary
/// of 30,000 words that takes longer than a small model takes to answer.
fn in_one_pass(bytes: &[u8]) -> Option<Tokenizer> {
    let file: File = serde_json::from_slice(bytes).ok()?;
    if file.version != "1.0" {
        return None;
    }
    let builder = TokenizerBuilder::new()
        .with_model(file.model.0)
        .with_truncation(file.truncation)
        .with_padding(file.padding)
        .with_normalizer(file.normalizer)
        .with_pre_tokenizer(file.pre_tokenizer)
        .with_post_processor(file.post_processor)
        .with_decoder(file.decoder);
    let mut tokenizer = Tokenizer::from(builder.build().ok()?);
    tokenizer.add_tokens(file.added_tokens).ok()?;
    Some(tokenizer)
}

/// Is `tokenizer.json`, as the library writes it.
#[derive(Deserialize)]
struct File {
    version: String,
    truncation: Option<TruncationParams>,
    padding: Option<PaddingParams>,
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    normalizer: Option<NormalizerWrapper>,
    pre_tokenizer: Option<PreTokenizerWrapper>,
    post_processor: Option<PostProcessorWrapper>,
    decoder: Option<DecoderWrapper>,
    model: Model,
}

/// Is a model, read as what its first key says that it is.
struct Model(ModelWrapper);

impl<'de> Deserialize<'de> for Model {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ModelVisitor)
    }
}

struct ModelVisitor;

impl<'de> Visitor<'de> for ModelVisitor {
    type Value = Model;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a model that says first what it is")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Model, A::Error> {
        if map.next_key::<String>()?.as_deref() != Some("type") {
            return Err(A::Error::missing_field("type"));
        }
        let kind: String = map.next_value()?;
        let rest = MapAccessDeserializer::new(map);
        Ok(Model(match kind.as_str() {
            "WordPiece" => WordPiece::deserialize(rest)?.into(),
            "BPE" => BPE::deserialize(rest)?.into(),
            "Unigram" => Unigram::deserialize(rest)?.into(),
            "WordLevel" => WordLevel::deserialize(rest)?.into(),
            other => {
                return Err(A::Error::unknown_variant(
                    other,
                    &["WordPiece", "BPE", "Unigram", "WordLevel"],
                ));
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tokenizers of the fixtures.
    fn files() -> [Vec<u8>; 3] {
        ["gpt2", "t5", "whisper"].map(|name| {
            let path = format!("{}/fixtures/generate/{name}/tokenizer.json", env!("CARGO_MANIFEST_DIR"));
            std::fs::read(path).unwrap()
        })
    }

    #[test]
    fn one_pass_reads_what_the_library_reads() {
        let words = br###"{"version": "1.0", "truncation": null, "padding": null, "added_tokens": [
            {"id": 0, "content": "[UNK]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false,
             "special": true},
            {"id": 3, "content": "new", "single_word": false, "lstrip": true, "rstrip": false, "normalized": true,
             "special": false}],
            "normalizer": {"type": "Lowercase"}, "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null,
            "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
            "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                      "max_input_chars_per_word": 100, "vocab": {"[UNK]": 0, "a": 1, "##b": 2}}}"###
            .to_vec();
        for bytes in files().into_iter().chain([words]) {
            let ours = in_one_pass(&bytes).expect("it is of the usual form");
            let theirs = Tokenizer::from_bytes(&bytes).unwrap();
            assert_eq!(ours.to_string(false).unwrap(), theirs.to_string(false).unwrap());
            let text = "Ab new text, ab and 3.5 Äpfel\u{1f600}";
            let [ours, theirs] = [ours, theirs].map(|it| it.encode(text, true).unwrap().get_ids().to_vec());
            assert_eq!(ours, theirs);
        }
    }

    #[test]
    fn other_forms_are_left_to_the_library() {
        let of = |model: &str| format!(r#"{{"version": "1.0", "added_tokens": [], "model": {model}}}"#);
        let legacy = of(r#"{"vocab": {"a": 0}, "unk_token": "a"}"#);
        let late = of(r#"{"unk_token": "a", "type": "WordLevel", "vocab": {"a": 0}}"#);
        for text in [&legacy, &late] {
            assert!(in_one_pass(text.as_bytes()).is_none());
            let files = SideFiles::from([("t.json".to_owned(), text.as_bytes().to_vec())]);
            assert_eq!(read_tokenizer("t.json", &files).unwrap().token_to_id("a"), Some(0));
        }
        for wrong in ["", "{}", "[", &of(r#"{"type": "Magic"}"#), &of(r#"{"type": "BPE"}"#)] {
            let files = SideFiles::from([("t.json".to_owned(), wrong.as_bytes().to_vec())]);
            assert!(
                matches!(read_tokenizer("t.json", &files), Err(Error::Tokenizer { .. })),
                "{wrong}"
            );
        }
    }
}
