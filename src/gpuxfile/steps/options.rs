use crate::gpuxfile::error::{Error, Problem, printable};
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::node::Content;
use crate::gpuxfile::source::{Located, Span};
use crate::gpuxfile::value::is_null;
use crate::tensor::TensorName;

use super::picture::Size;

/// The longest side of a picture that a step makes, in pixels.
pub(super) const SIDE_LIMIT: u64 = 16_384;

/// Is a step as it stands in the file: its name, and what stands beside it.
pub(super) struct Raw<'n> {
    pub name: Located<&'n str>,
    /// The value beside the name; `None` where there is none.
    pub value: Option<Field<'n>>,
}

/// Is what stands beside a step's name: nothing, one value, or options by name.
pub(super) enum Given<'n> {
    Nothing,
    Value(Field<'n>),
    Options(Fields<'n>),
}

impl<'n> Raw<'n> {
    /// Takes a step apart: a name, or a mapping of one name to a value or options.
    pub fn of(field: &Field<'n>) -> Result<Raw<'n>, Error> {
        let Content::Map(entries) = &field.node.content else {
            let name = field.located(field.text()?);
            return Ok(Raw { name, value: None });
        };
        let [(key, node)] = entries.as_slice() else {
            return Err(field.error(Problem::WrongKind {
                key: field.name.clone(),
                expected: "one step: a name, or a mapping of one name to its options",
                found: "a mapping of another size",
            }));
        };
        Ok(Raw {
            name: Located::new(key.value.as_ref(), key.span),
            value: (!is_null(node)).then(|| field.entry(key, node)),
        })
    }

    /// Marks the step's name.
    pub fn span(&self) -> Span {
        self.name.span
    }

    /// Gives what stands beside the name, a mapping being of options among `known`.
    pub fn given(&self, known: &[&'static str]) -> Result<Given<'n>, Error> {
        match &self.value {
            None => Ok(Given::Nothing),
            Some(field) if matches!(field.node.content, Content::Map(_)) => {
                Ok(Given::Options(field.clone().fields(known)?))
            }
            Some(field) => Ok(Given::Value(field.clone())),
        }
    }

    /// Gives options alone.
    ///
    /// Errors: a value stands beside the name.
    pub fn options(&self, known: &[&'static str]) -> Result<Option<Fields<'n>>, Error> {
        match self.given(known)? {
            Given::Nothing => Ok(None),
            Given::Options(fields) => Ok(Some(fields)),
            Given::Value(field) => Err(field.kind_error("a mapping of options")),
        }
    }

    /// Refuses anything beside the name.
    pub fn alone(&self) -> Result<(), Error> {
        self.options(&[]).map(|_| ())
    }
}

impl<'n> Field<'n> {
    pub fn kind_error(&self, expected: &'static str) -> Error {
        self.error(Problem::WrongKind {
            key: self.name.clone(),
            expected,
            found: self.node.content.kind(),
        })
    }

    /// Reads one of some words.
    pub fn choice<T: Copy>(&self, names: &[(&'static str, T)]) -> Result<T, Error> {
        let text = match &self.node.content {
            Content::Text(text) => text,
            _ => self.text()?,
        };
        let found = names.iter().find(|(name, _)| *name == text);
        found.map(|(_, value)| *value).ok_or_else(|| {
            self.error(Problem::Choice {
                key: self.name.clone(),
                text: printable(text),
                known: names.iter().map(|(name, _)| *name).collect(),
            })
        })
    }

    /// Reads a finite number, whole or not, or a fraction such as `1/255`.
    pub fn number(&self) -> Result<f64, Error> {
        match &self.node.content {
            // Within the whole numbers that a float holds; no option asks for more.
            Content::Int(value) => Ok(*value as f64),
            Content::Text(text) => fraction(text).ok_or_else(|| self.kind_error("a number or a fraction")),
            _ => self.float(),
        }
    }

    /// Reads a number from `least` to `most`.
    pub fn number_within(&self, least: f64, most: f64) -> Result<f64, Error> {
        let value = self.number()?;
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(self.error(Problem::Interval {
                key: self.name.clone(),
                text: printable(self.raw()),
                least,
                most,
            })),
        }
    }

    /// Reads one number, or a list of one for each channel.
    pub fn numbers(&self) -> Result<Vec<f64>, Error> {
        self.one_or_list()?.iter().map(Field::number).collect()
    }

    /// Reads a length in pixels.
    pub fn side(&self) -> Result<u32, Error> {
        self.integer(1, SIDE_LIMIT).map(|side| side as u32)
    }

    /// Reads a brightness.
    pub fn byte(&self) -> Result<u8, Error> {
        self.integer(0, 255).map(|value| value as u8)
    }

    /// Reads one side of a square, or a height and a width.
    pub fn size(&self) -> Result<Size, Error> {
        if !matches!(self.node.content, Content::Map(_)) {
            let side = self.side()?;
            return Ok(Size {
                height: side,
                width: side,
            });
        }
        size_of(&self.clone().fields(SIZE_KEYS)?)
    }

    /// Reads the name of an input or output.
    pub fn port(&self) -> Result<TensorName, Error> {
        self.tensor_name().map(TensorName::new)
    }
}

/// The keys of a height and a width.
pub(super) const SIZE_KEYS: &[&str] = &["height", "width"];

/// Reads a height and a width.
pub(super) fn size_of(fields: &Fields<'_>) -> Result<Size, Error> {
    Ok(Size {
        height: fields.need("height")?.side()?,
        width: fields.need("width")?.side()?,
    })
}

/// Reads `1/255`.
fn fraction(text: &str) -> Option<f64> {
    let (above, below) = text.split_once('/')?;
    let digits = |part: &str| {
        let part = part.trim();
        let plain = part.len() <= 9 && part.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| part.parse::<u32>().ok())?
    };
    let (above, below) = (digits(above)?, digits(below)?);
    (below > 0).then(|| f64::from(above) / f64::from(below))
}
