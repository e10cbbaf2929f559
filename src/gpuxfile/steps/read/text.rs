use crate::gpuxfile::error::{Error, Problem};
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::node::Content;
use crate::gpuxfile::paths::ContextPath;
use crate::gpuxfile::steps::text::{Padding, Side, Tokenize, Truncation};
use crate::tensor::TensorName;

pub(super) fn default_tokenizer() -> ContextPath {
    ContextPath::parse("tokenizer.json").expect("the path is legal")
}

impl Tokenize {
    /// Has a default for all but the file.
    pub(in crate::gpuxfile) fn with(tokenizer: ContextPath) -> Tokenize {
        Tokenize {
            tokenizer,
            max_length: None,
            truncation: Truncation::LongestFirst,
            padding: Padding::Longest,
            padding_side: Side::Right,
            pad_token: None,
            special_tokens: true,
            ids: TensorName::new("input_ids"),
            mask: TensorName::new("attention_mask"),
            types: TensorName::new("token_type_ids"),
        }
    }
}

/// The most tokens that `max_length` allows.
pub(super) const TOKEN_LIMIT: u64 = 1 << 20;

pub(super) fn tokenize(fields: &Fields<'_>) -> Result<Tokenize, Error> {
    let path = match fields.get("tokenizer") {
        Some(field) => field.path()?.value,
        None => default_tokenizer(),
    };
    let mut tokenize = Tokenize::with(path);
    tokenize.max_length = fields
        .get("max_length")
        .map(|f| f.integer(1, TOKEN_LIMIT))
        .transpose()?;
    if let Some(field) = fields.get("truncation") {
        tokenize.truncation = field.choice(Truncation::NAMES)?;
    }
    if let Some(field) = fields.get("padding") {
        tokenize.padding = padding(&field, tokenize.max_length)?;
    }
    if let Some(field) = fields.get("padding_side") {
        tokenize.padding_side = field.choice(Side::NAMES)?;
    }
    tokenize.pad_token = fields
        .get("pad_token")
        .map(|f| f.text().map(str::to_owned))
        .transpose()?;
    if let Some(field) = fields.get("special_tokens") {
        tokenize.special_tokens = field.boolean()?;
    }
    for (key, name) in [
        ("ids", &mut tokenize.ids),
        ("mask", &mut tokenize.mask),
        ("types", &mut tokenize.types),
    ] {
        if let Some(field) = fields.get(key) {
            *name = field.port()?;
        }
    }
    Ok(tokenize)
}

/// Reads `padding`: a word, or, as the Python tool has it, whether to fill up at all.
pub(super) fn padding(field: &Field<'_>, max_length: Option<u64>) -> Result<Padding, Error> {
    let padding = match &field.node.content {
        Content::Bool(true) => Padding::Longest,
        Content::Bool(false) => Padding::None,
        _ => field.choice(Padding::NAMES)?,
    };
    match (padding, max_length) {
        (Padding::MaxLength, None) => Err(field.error(Problem::OnlyWith {
            key: field.name.clone(),
            with: "max_length",
        })),
        _ => Ok(padding),
    }
}
