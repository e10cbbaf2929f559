use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::granit_parser::ErrorKind;
use serde_saphyr::localizer::ExternalMessageSource;
use serde_saphyr::options::{AliasLimits, DuplicateKeyPolicy, NonFiniteFloatPolicy};
use serde_saphyr::{Budget, Location, Options, Spanned};

use super::error::{Error, Limit, Problem, printable};
use super::source::{Located, Source, Span};
use super::{DEPTH_LIMIT, SIZE_LIMIT_BYTES};

/// The most values that a file may hold, lists of labels included.
pub(super) const NODE_LIMIT: usize = 50_000;

/// Is one value of the YAML tree, with its place.
///
/// Text is borrowed from the file wherever it stands there as it is, so that an alias repeats it without a copy.
#[derive(Debug)]
pub(super) struct Node<'t> {
    pub content: Content<'t>,
    pub span: Span,
}

/// Is what YAML 1.2 takes a value for.
#[derive(Debug)]
pub(super) enum Content<'t> {
    Null,
    Bool(bool),
    Int(i128),
    Float(f64),
    Text(Cow<'t, str>),
    List(Vec<Node<'t>>),
    Map(Vec<(Key<'t>, Node<'t>)>),
}

/// Is the key of a mapping, with its place.
pub(super) type Key<'t> = Located<Cow<'t, str>>;

impl Content<'_> {
    /// Names the kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Content::Null => "nothing",
            Content::Bool(_) => "a boolean",
            Content::Int(_) => "a whole number",
            Content::Float(_) => "a number",
            Content::Text(_) => "text",
            Content::List(_) => "a list",
            Content::Map(_) => "a mapping",
        }
    }
}

/// Reads the text as one YAML document.
///
/// Errors: whatever is not YAML, has two documents or a key twice, or is beyond the bounds on depth, count and aliases.
pub(super) fn read<'t>(text: &'t str, source: &Source) -> Result<Node<'t>, Error> {
    let node: Node = serde_saphyr::from_str_with_options(text, options()).map_err(|error| convert(error, source))?;
    // Only aliases can make more text than the file has, and values take copies of it.
    if text_bytes(&node) > 2 * SIZE_LIMIT_BYTES {
        return Err(Error::new(source.whole(), Problem::TooComplex(Limit::Aliases)));
    }
    refuse_duplicates(&node, source)?;
    Ok(node)
}

fn options() -> Options {
    let mut budget = Budget::default();
    budget.flow_nesting_limit = DEPTH_LIMIT;
    budget.max_depth = DEPTH_LIMIT;
    budget.max_nodes = NODE_LIMIT;
    budget.max_events = 2 * NODE_LIMIT;
    budget.max_aliases = 100;
    budget.max_anchors = 100;
    budget.max_recorded_anchor_events = 2_000;
    // What cannot be borrowed from the text is copied by each alias.
    budget.max_recorded_anchor_bytes = 64 << 10;
    budget.max_merge_keys = 20;
    let mut aliases = AliasLimits::default();
    aliases.max_total_replayed_events = 2_000;
    aliases.max_replay_stack_depth = 8;
    let mut options = Options::default();
    options.budget = Some(budget);
    options.alias_limits = aliases;
    // Found here, so that the message can say where the first one stands.
    options.duplicate_keys = DuplicateKeyPolicy::PassThrough;
    options.strict_booleans = true;
    options.underscored_numbers_as_strings = true;
    options.leading_zero_numbers_as_strings = true;
    options.reject_unsupported_tags = true;
    options.non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
    options.with_snippet = false;
    options
}

fn convert(error: serde_saphyr::Error, source: &Source) -> Error {
    use serde_saphyr::Error as Yaml;
    use serde_saphyr::budget::BudgetBreach;
    let place = match error.location().filter(|at| *at != Location::UNKNOWN) {
        Some(at) => source.place(match at.span().byte_offset() {
            Some(_) => span_of(at),
            None => source.span_at(at.line() as usize, at.column() as usize),
        }),
        None => source.whole(),
    };
    let problem = match cause(&error) {
        Yaml::MultipleDocuments { .. } => Problem::SeveralDocuments,
        Yaml::Budget { breach, .. } => match breach {
            BudgetBreach::Depth { .. } => Problem::TooComplex(Limit::Depth),
            BudgetBreach::Documents { .. } => Problem::SeveralDocuments,
            BudgetBreach::Nodes { .. } | BudgetBreach::Events { .. } => Problem::TooComplex(Limit::Nodes),
            BudgetBreach::Aliases { .. }
            | BudgetBreach::Anchors { .. }
            | BudgetBreach::MergeKeys { .. }
            | BudgetBreach::AliasAnchorRatio { .. }
            | BudgetBreach::RecordedAnchorEvents { .. }
            | BudgetBreach::RecordedAnchorBytes { .. } => Problem::TooComplex(Limit::Aliases),
            _ => Problem::Yaml(Box::new(error)),
        },
        Yaml::AliasReplayLimitExceeded { .. }
        | Yaml::AliasReplayStackDepthExceeded { .. }
        | Yaml::AliasReplayCounterOverflow { .. }
        | Yaml::AliasExpansionLimitExceeded { .. } => Problem::TooComplex(Limit::Aliases),
        Yaml::ExternalMessage { source, .. } if scanned_too_deep(source) => Problem::TooComplex(Limit::Depth),
        _ => Problem::Yaml(Box::new(error)),
    };
    Error::new(place, problem)
}

/// Tells whether the scanner, which reads ahead of the budget, met its own bound on nesting.
fn scanned_too_deep(source: &ExternalMessageSource) -> bool {
    matches!(source, ExternalMessageSource::Parser(error) if matches!(error.kind(), ErrorKind::RecursionLimitExceeded))
}

/// Finds the error inside those that say by which alias it was reached.
pub(super) fn cause(mut error: &serde_saphyr::Error) -> &serde_saphyr::Error {
    while let serde_saphyr::Error::AliasError { error: inner, .. } = error.without_snippet() {
        error = inner;
    }
    error
}

/// Counts the bytes of all text of the tree, repeated by aliases or not.
fn text_bytes(node: &Node<'_>) -> u64 {
    match &node.content {
        Content::Text(text) => text.len() as u64,
        Content::List(items) => items.iter().map(text_bytes).sum(),
        Content::Map(entries) => entries
            .iter()
            .map(|(key, value)| key.len() as u64 + text_bytes(value))
            .sum(),
        _ => 0,
    }
}

fn refuse_duplicates(node: &Node<'_>, source: &Source) -> Result<(), Error> {
    match &node.content {
        Content::Map(entries) => {
            let mut seen: HashMap<&str, Span> = HashMap::with_capacity(entries.len());
            for (key, value) in entries {
                if let Some(first) = seen.insert(&key.value, key.span) {
                    let problem = Problem::DuplicateKey {
                        key: printable(key),
                        first_line: source.place(first).line(),
                    };
                    return Err(Error::at(source, key.span, problem));
                }
                refuse_duplicates(value, source)?;
            }
            Ok(())
        }
        Content::List(items) => items.iter().try_for_each(|item| refuse_duplicates(item, source)),
        _ => Ok(()),
    }
}

fn span_of(location: Location) -> Span {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0);
    Span::new(start as usize, span.byte_len().unwrap_or(0) as usize)
}

impl<'de> Deserialize<'de> for Node<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = Spanned::<Content>::deserialize(deserializer)?;
        // Of an alias, the place where the value is written is the one to mend.
        Ok(Node {
            content: read.value,
            span: span_of(read.defined),
        })
    }
}

impl<'de> Deserialize<'de> for Content<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

/// Takes the text of a key, whatever it would be as a value.
struct KeyText<'t>(Cow<'t, str>);

impl<'de> Deserialize<'de> for KeyText<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(KeyVisitor)
    }
}

struct KeyVisitor;

impl<'de> Visitor<'de> for KeyVisitor {
    type Value = KeyText<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<KeyText<'de>, E> {
        Ok(KeyText(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<KeyText<'de>, E> {
        Ok(KeyText(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<KeyText<'de>, E> {
        Ok(KeyText(Cow::Owned(value)))
    }
}

struct ContentVisitor;

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    fn visit_unit<E>(self) -> Result<Content<'de>, E> {
        Ok(Content::Null)
    }

    fn visit_none<E>(self) -> Result<Content<'de>, E> {
        Ok(Content::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Content<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content<'de>, E> {
        Ok(Content::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Content<'de>, E> {
        Ok(Content::Int(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Content<'de>, E> {
        Ok(Content::Int(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Content<'de>, E> {
        Ok(Content::Int(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Content<'de>, E> {
        Ok(Content::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Content<'de>, E> {
        Ok(Content::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content<'de>, E> {
        Ok(Content::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Content<'de>, E> {
        Ok(Content::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Content<'de>, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Node<'de>>()? {
            list.push(item);
        }
        Ok(Content::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Content<'de>, A::Error> {
        let mut map = Vec::new();
        while let Some(key) = entries.next_key::<Spanned<KeyText>>()? {
            let span = span_of(key.defined);
            map.push((Located::new(key.value.0, span), entries.next_value::<Node<'de>>()?));
        }
        Ok(Content::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Counts the bytes of text that the tree holds by itself.
    fn owned_bytes(node: &Node<'_>) -> usize {
        let owned = |text: &Cow<'_, str>| match text {
            Cow::Owned(text) => text.len(),
            Cow::Borrowed(_) => 0,
        };
        match &node.content {
            Content::Text(text) => owned(text),
            Content::List(items) => items.iter().map(owned_bytes).sum(),
            Content::Map(entries) => entries.iter().map(|(key, value)| owned(key) + owned_bytes(value)).sum(),
            _ => 0,
        }
    }

    #[test]
    fn aliases_of_long_text_cost_no_copies() {
        let tree = |text: &str| {
            let source = Source::new(text, "GPUXfile");
            serde_saphyr::from_str_with_options(text, options())
                .map(|node| owned_bytes(&node))
                .map_err(|error| convert(error, &source))
        };
        let long = "x".repeat(500_000);
        for quote in ["", "'", "\""] {
            let text = format!("a: &a {quote}{long}{quote}\nb: [{}]\n", "*a,".repeat(99));
            assert_eq!(tree(&text).unwrap(), 0, "{quote:?}");
            // The values would be copies, so that is where it ends.
            assert!(read(&text, &Source::new(&text, "GPUXfile")).is_err());
        }
        let keys = format!("? &a {}\n: 1\nb: {{*a : 1}}\n", "x".repeat(900));
        assert_eq!(tree(&keys).unwrap(), 0);
        let escaped = format!("a: &a \"\\x41{long}\"\nb: [{}]\n", "*a,".repeat(99));
        assert!(tree(&escaped).is_err());
        let short = format!("a: &a \"\\x41{}\"\nb: [{}]\n", "x".repeat(60_000), "*a,".repeat(99));
        assert!(tree(&short).unwrap() < 7 << 20);
    }
}
