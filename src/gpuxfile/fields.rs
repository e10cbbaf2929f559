use std::time::Duration;

use super::error::{Error, Problem, printable};
use super::node::{Content, Key, Node};
use super::paths::{ContextPath, PathFault};
use super::quantity;
use super::source::{Located, Source, Span};
use super::value::is_null;

/// The longest key of the author's choice, in characters: any key can then be written on one line in any form.
const KEY_LIMIT: usize = 128;

/// Is one value with the key it stands under, ready to be read as one kind or another.
#[derive(Clone, Debug)]
pub(super) struct Field<'n> {
    /// The key with the keys above it: `runtime.gpu.memory`.
    pub name: String,
    /// Where the key stands.
    pub key_span: Span,
    pub node: &'n Node<'n>,
    pub source: &'n Source,
}

/// Is a mapping whose keys are all known.
#[derive(Debug)]
pub(super) struct Fields<'n> {
    field: Field<'n>,
    entries: &'n [(Key<'n>, Node<'n>)],
}

impl<'n> Field<'n> {
    /// Makes an error of a problem at this place.
    pub fn error(&self, problem: Problem) -> Error {
        // Nothing has no place of its own: the key shows it.
        let span = match is_null(self.node) {
            true => self.key_span,
            false => self.node.span,
        };
        Error::at(self.source, span, problem)
    }

    fn wrong_kind(&self, expected: &'static str) -> Error {
        let found = self.node.content.kind();
        if self.name.is_empty() {
            return self.error(Problem::NotMapping { found });
        }
        self.error(Problem::WrongKind {
            key: self.name.clone(),
            expected,
            found,
        })
    }

    /// Writes a key of this mapping with the keys above it.
    fn below(&self, key: &str) -> String {
        match self.name.is_empty() {
            true => key.to_owned(),
            false => format!("{}.{key}", self.name),
        }
    }

    /// Gives the value of `key` in this mapping.
    pub fn entry(&self, key: &'n Key<'n>, node: &'n Node<'n>) -> Field<'n> {
        Field {
            name: self.below(&printable(key)),
            key_span: key.span,
            node,
            source: self.source,
        }
    }

    /// Gives an item of this list.
    pub fn item(&self, at: usize, node: &'n Node<'n>) -> Field<'n> {
        Field {
            name: format!("{}[{at}]", self.name),
            key_span: self.key_span,
            node,
            source: self.source,
        }
    }

    /// Gives the text as it stands in the file.
    pub fn raw(&self) -> &'n str {
        self.source.slice(self.node.span)
    }

    /// Reads a mapping whose keys are among `known`.
    pub fn fields(self, known: &[&'static str]) -> Result<Fields<'n>, Error> {
        let Content::Map(entries) = &self.node.content else {
            return Err(self.wrong_kind("a mapping"));
        };
        if let Some((key, _)) = entries.iter().find(|(key, _)| !known.contains(&key.as_ref())) {
            let problem = Problem::UnknownKey {
                key: printable(key),
                known: known.to_vec(),
            };
            return Err(Error::at(self.source, key.span, problem));
        }
        Ok(Fields { field: self, entries })
    }

    /// Reads a mapping with keys of the author's choice.
    pub fn entries(&self) -> Result<Vec<(&'n Key<'n>, Field<'n>)>, Error> {
        let Content::Map(entries) = &self.node.content else {
            return Err(self.wrong_kind("a mapping"));
        };
        entries
            .iter()
            .map(|(key, node)| self.key_text(key).map(|()| (key, self.entry(key, node))))
            .collect()
    }

    /// Checks a key of the author's choice.
    pub fn key_text(&self, key: &Key<'_>) -> Result<(), Error> {
        if key.is_empty() {
            let problem = Problem::EmptyText { key: self.name.clone() };
            return Err(Error::at(self.source, key.span, problem));
        }
        if key.chars().count() > KEY_LIMIT {
            let problem = Problem::LongKey { key: printable(key) };
            return Err(Error::at(self.source, key.span, problem));
        }
        match key.chars().find(|c| c.is_control()) {
            Some(character) => {
                let problem = Problem::ControlCharacter {
                    key: self.name.clone(),
                    character,
                };
                Err(Error::at(self.source, key.span, problem))
            }
            None => Ok(()),
        }
    }

    /// Reads a list.
    pub fn list(&self) -> Result<Vec<Field<'n>>, Error> {
        let Content::List(items) = &self.node.content else {
            return Err(self.wrong_kind("a list"));
        };
        Ok(items.iter().enumerate().map(|(at, item)| self.item(at, item)).collect())
    }

    /// Reads a list, or one item alone.
    pub fn one_or_list(&self) -> Result<Vec<Field<'n>>, Error> {
        match &self.node.content {
            Content::List(_) => self.list(),
            _ => Ok(vec![self.clone()]),
        }
    }

    /// Reads text of one line.
    pub fn text(&self) -> Result<&'n str, Error> {
        let text = self.unquoted_safe()?;
        if text.trim().is_empty() {
            return Err(self.error(Problem::EmptyText { key: self.name.clone() }));
        }
        self.refuse_control(text, &[])?;
        Ok(text)
    }

    /// Reads text of any number of lines, which may be empty.
    pub fn prose(&self) -> Result<&'n str, Error> {
        let text = self.unquoted_safe()?;
        self.refuse_control(text, &['\n', '\t'])?;
        Ok(text)
    }

    /// Reads text of one line, or a number as it is written.
    pub fn text_or_number(&self) -> Result<&'n str, Error> {
        match &self.node.content {
            Content::Int(_) => Ok(self.raw()),
            Content::Float(number) if number.is_finite() => Ok(self.raw()),
            Content::Float(_) => Err(self.not_finite()),
            _ => self.text(),
        }
    }

    /// Reads the name of an input or output, which is whatever the model has; many exporters number them.
    pub fn tensor_name(&self) -> Result<&'n str, Error> {
        let name = match &self.node.content {
            Content::Int(_) => self.raw(),
            _ => self.unquoted_safe()?,
        };
        match name.is_empty() {
            true => Err(self.error(Problem::EmptyText { key: self.name.clone() })),
            false => Ok(name),
        }
    }

    /// Reads text that is text to every reader of YAML.
    fn unquoted_safe(&self) -> Result<&'n str, Error> {
        let taken_for = match &self.node.content {
            Content::Text(text) if text == self.raw() && is_old_boolean(text) => "a boolean",
            Content::Text(text) => return Ok(text),
            Content::Bool(_) => "a boolean",
            Content::Int(_) | Content::Float(_) => "a number",
            _ => return Err(self.wrong_kind("text")),
        };
        Err(self.error(Problem::NeedsQuotes {
            key: self.name.clone(),
            text: printable(self.raw()),
            taken_for,
        }))
    }

    /// Refuses control characters other than those allowed.
    ///
    /// Errors: the first that is found, at its place.
    pub fn refuse_control(&self, text: &str, allowed: &[char]) -> Result<(), Error> {
        match text.chars().find(|c| c.is_control() && !allowed.contains(c)) {
            Some(character) => Err(self.error(Problem::ControlCharacter {
                key: self.name.clone(),
                character,
            })),
            None => Ok(()),
        }
    }

    /// Reads true or false.
    pub fn boolean(&self) -> Result<bool, Error> {
        match &self.node.content {
            Content::Bool(value) => Ok(*value),
            _ => Err(self.wrong_kind("true or false")),
        }
    }

    fn not_finite(&self) -> Error {
        self.error(Problem::NotFinite {
            key: self.name.clone(),
            text: printable(self.raw()),
        })
    }

    /// Reads a finite number.
    pub fn float(&self) -> Result<f64, Error> {
        match &self.node.content {
            Content::Float(value) if value.is_finite() => Ok(*value),
            Content::Float(_) => Err(self.not_finite()),
            _ => Err(self.wrong_kind("a number")),
        }
    }

    /// Reads a whole number from `least` to `most`.
    pub fn integer(&self, least: u64, most: u64) -> Result<u64, Error> {
        let value = match &self.node.content {
            Content::Int(value) => u64::try_from(*value).ok(),
            Content::Float(value) if !value.is_finite() => return Err(self.not_finite()),
            Content::Float(_) => None,
            _ => return Err(self.wrong_kind("a whole number")),
        };
        value.filter(|value| (least..=most).contains(value)).ok_or_else(|| {
            self.error(Problem::Range {
                key: self.name.clone(),
                text: printable(self.raw()),
                least,
                most,
            })
        })
    }

    /// Reads a time.
    pub fn duration(&self) -> Result<Duration, Error> {
        let text = match &self.node.content {
            Content::Text(text) => text.to_string(),
            Content::Int(seconds) => seconds.to_string(),
            // To the nanosecond, which is what a time holds.
            Content::Float(seconds) if seconds.is_finite() => format!("{seconds:.9}"),
            Content::Float(_) => return Err(self.not_finite()),
            _ => return Err(self.wrong_kind("a time such as `30s`")),
        };
        quantity::duration(&text).ok_or_else(|| {
            self.error(Problem::Duration {
                key: self.name.clone(),
                text: printable(self.raw()),
            })
        })
    }

    /// Reads a size in bytes.
    pub fn memory(&self) -> Result<u64, Error> {
        let text = match &self.node.content {
            Content::Text(text) => text.to_string(),
            Content::Int(size_bytes) => size_bytes.to_string(),
            Content::Float(number) if !number.is_finite() => return Err(self.not_finite()),
            Content::Float(_) => self.raw().to_owned() + " bytes",
            _ => return Err(self.wrong_kind("a size such as `2GiB`")),
        };
        quantity::memory(&text).ok_or_else(|| {
            self.error(Problem::Memory {
                key: self.name.clone(),
                text: printable(self.raw()),
            })
        })
    }

    /// Reads the path of a file in the build context.
    pub fn path(&self) -> Result<Located<ContextPath>, Error> {
        // Named before the kind is checked: a file may be called `no`, and a control character has a fault of its own.
        let text = self.unquoted_safe()?;
        ContextPath::parse(text)
            .map(|path| Located::new(path, self.node.span))
            .map_err(|fault| self.path_error(text, fault))
    }

    /// Makes an error of a path that is none.
    pub fn path_error(&self, text: &str, fault: PathFault) -> Error {
        self.error(Problem::Path {
            path: printable(text),
            fault,
        })
    }

    /// Joins a value to this place.
    pub fn located<T>(&self, value: T) -> Located<T> {
        Located::new(value, self.node.span)
    }
}

impl<'n> Fields<'n> {
    /// Gives the value of a key; `None` where the key is not there or has nothing.
    pub fn get(&self, key: &str) -> Option<Field<'n>> {
        self.entries
            .iter()
            .find(|(found, node)| found.as_ref() == key && !is_null(node))
            .map(|(found, node)| self.field.entry(found, node))
    }

    /// Gives the value of a key that has two names.
    ///
    /// Errors: both are there.
    pub fn either(&self, key: &'static str, other: &'static str) -> Result<Option<Field<'n>>, Error> {
        match (self.get(key), self.get(other)) {
            (Some(_), Some(second)) => {
                let problem = Problem::SameMeaning { key, other };
                Err(Error::at(second.source, second.key_span, problem))
            }
            (first, second) => Ok(first.or(second)),
        }
    }

    /// Gives the value of a key that must be there.
    pub fn need(&self, key: &'static str) -> Result<Field<'n>, Error> {
        self.get(key).ok_or_else(|| {
            let stated = self.entries.iter().find(|(found, _)| found.as_ref() == key);
            let span = stated.map_or(self.field.node.span, |(found, _)| found.span);
            let key = self.field.below(key);
            Error::at(self.field.source, span, Problem::MissingKey { key })
        })
    }
}

/// Tells whether YAML 1.1, which many readers still follow, takes the text for a boolean.
fn is_old_boolean(text: &str) -> bool {
    ["yes", "no", "on", "off", "true", "false"]
        .iter()
        .any(|word| text.eq_ignore_ascii_case(word))
}
