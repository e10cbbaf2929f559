use crate::gpuxfile::paths::ContextPath;
use crate::tensor::TensorName;

/// Says how text becomes numbers of tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokenize {
    /// The tokenizer's file, a `tokenizer.json`.
    pub tokenizer: ContextPath,
    /// The most tokens, those that the tokenizer adds included; `None` for any number.
    pub max_length: Option<u64>,
    /// Which text of a pair is cut, where both are too long together.
    pub truncation: Truncation,
    /// To what short texts are filled up.
    pub padding: Padding,
    /// The side on which they are.
    pub padding_side: Side,
    /// The token that fills up; `None` for the tokenizer's own.
    pub pad_token: Option<String>,
    /// Whether the tokenizer's own tokens, such as `[CLS]`, are added.
    pub special_tokens: bool,
    /// The input that takes the numbers.
    pub ids: TensorName,
    /// The input that takes 1 for a token and 0 for what fills up; fed where the model has it.
    pub mask: TensorName,
    /// The input that takes which text of a pair a token is of; fed where the model has it.
    pub types: TensorName,
}

/// Says which text of a pair is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truncation {
    /// Token by token, the longer one.
    LongestFirst,
    OnlyFirst,
    OnlySecond,
}

/// Says to what short texts are filled up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The longest of a batch.
    Longest,
    /// `max_length`.
    MaxLength,
    /// Nothing.
    None,
}

/// Names a side of a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Left,
    Right,
}

impl Truncation {
    pub(super) const NAMES: &[(&str, Truncation)] = &[
        ("longest_first", Truncation::LongestFirst),
        ("only_first", Truncation::OnlyFirst),
        ("only_second", Truncation::OnlySecond),
    ];
}

impl Padding {
    pub(super) const NAMES: &[(&str, Padding)] = &[
        ("longest", Padding::Longest),
        ("max_length", Padding::MaxLength),
        ("none", Padding::None),
    ];
}

impl Side {
    pub(super) const NAMES: &[(&str, Side)] = &[("left", Side::Left), ("right", Side::Right)];
}
