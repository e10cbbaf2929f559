use std::borrow::Cow;
use std::collections::BTreeMap;

use super::build::{Builder, Sink, Stop};
use super::error::{Error, Found};
use super::parts;
use super::scan::{Expected, Scanner, SyntaxError, Token, utf8};
use crate::tensor::cast::Cast;
use crate::tensor::names::{all, claim};
use crate::tensor::{IndexPath, NameError, Port, Tensor, TensorName, for_dtype};

/// Reads a tensor from JSON text, straight into its elements.
///
/// Shape: as [`decode`](super::decode) says.
/// Errors: as [`decode`](super::decode), and where the text is not JSON or has more after the value.
pub fn decode_text(text: &[u8], port: &Port) -> Result<Tensor, Error> {
    decode_str(utf8(text).map_err(|source| outside(port, source))?, port)
}

/// Reads a tensor as [`decode_text`] does, from text that is known to be UTF-8.
pub fn decode_str(text: &str, port: &Port) -> Result<Tensor, Error> {
    let mut scanner = Scanner::of(text);
    let tensor = read(&mut scanner, port)?;
    scanner.end().map_err(|source| outside(port, source))?;
    Ok(tensor)
}

/// Says that a text is not JSON before or behind its value.
fn outside(port: &Port, source: SyntaxError) -> Error {
    Error::Syntax {
        name: port.name.clone(),
        path: IndexPath::default(),
        source,
    }
}

/// Reads the text of a whole map of inputs, `{"NAME": value, …}`, straight into tensors.
///
/// Shape: one tensor a port, in the order of `ports`, whatever the order of the text.
/// Errors: a name that is unknown, given twice or missing; and for each value as [`decode_text`].
pub fn decode_map(text: &[u8], ports: &[Port]) -> Result<Vec<Tensor>, Error> {
    let mut scanner = Scanner::new(text).map_err(Error::MapSyntax)?;
    match scanner.value().map_err(Error::MapSyntax)? {
        Token::Map => {}
        other => return Err(Error::NotAMap(found(&other))),
    }
    let mut tensors = vec![None; ports.len()];
    each_member(scanner, |scanner, name| {
        let at = claim(ports, &tensors, &name)?;
        tensors[at] = Some(read(scanner, &ports[at])?);
        Ok(())
    })?;
    Ok(all(ports, tensors)?)
}

/// Gives the text of each member of a map, in the order of their names.
///
/// Errors: the text is no map, or one name stands there twice; what a member holds is not looked at.
pub fn members(text: &str) -> Result<BTreeMap<Cow<'_, str>, &str>, Error> {
    let mut scanner = Scanner::of(text);
    scanner.take(b'{', Expected::Map).map_err(Error::MapSyntax)?;
    let mut members = BTreeMap::new();
    each_member(scanner, |scanner, name| {
        let value = scanner.skip().map_err(Error::MapSyntax)?;
        if members.contains_key(&name) {
            return Err(NameError::Duplicate(TensorName::new(name)).into());
        }
        members.insert(name, value);
        Ok(())
    })?;
    Ok(members)
}

/// Goes through the members of a map that has been opened, to the end of the text; `value` reads what comes behind each name.
fn each_member<'t>(
    mut scanner: Scanner<'t>,
    mut value: impl FnMut(&mut Scanner<'t>, Cow<'t, str>) -> Result<(), Error>,
) -> Result<(), Error> {
    if !scanner.has(b'}') {
        loop {
            let name = scanner.name().map_err(Error::MapSyntax)?;
            value(&mut scanner, name)?;
            if !scanner.has(b',') {
                scanner
                    .take(b'}', Expected::CommaOrEndOfMap)
                    .map_err(Error::MapSyntax)?;
                break;
            }
        }
    }
    scanner.end().map_err(Error::MapSyntax)
}

/// Gives the text of each element of a list.
///
/// Errors: the text is no list; what an element is is not looked at.
pub fn elements(text: &str) -> Result<Vec<&str>, SyntaxError> {
    let mut scanner = Scanner::of(text);
    scanner.take(b'[', Expected::List)?;
    let mut elements = Vec::new();
    if !scanner.has(b']') {
        loop {
            elements.push(scanner.skip()?);
            if !scanner.has(b',') {
                scanner.take(b']', Expected::CommaOrEndOfList)?;
                break;
            }
        }
    }
    scanner.end()?;
    Ok(elements)
}

/// Reads one value as [`decode_text`] does, and leaves what comes behind it.
pub(in crate::tensor) fn read(scanner: &mut Scanner, port: &Port) -> Result<Tensor, Error> {
    for_dtype!(port.dtype, T => {
        if let Some(tensor) = parts::read::<T>(scanner, port) {
            return Ok(tensor);
        }
        let mut builder = Builder::<T>::new(port, scanner.most_elements());
        match fill(scanner, &mut builder) {
            Ok(()) => builder.finish(),
            Err(Fault::Text(source)) => {
                Err(Error::Syntax { name: port.name.clone(), path: builder.place(), source })
            }
            Err(Fault::Value(Stop(error))) => Err(*error),
        }
    }, else Err(Error::NotHeld { name: port.name.clone(), dtype: port.dtype }))
}

/// Says why [`fill`] stopped.
pub(super) enum Fault<S> {
    Text(SyntaxError),
    Value(S),
}

impl<S> From<SyntaxError> for Fault<S> {
    fn from(error: SyntaxError) -> Self {
        Fault::Text(error)
    }
}

/// Reads one value with all that is nested in it.
pub(super) fn fill<T: Cast, S: Sink<T>>(scanner: &mut Scanner, builder: &mut S) -> Result<(), Fault<S::Stop>> {
    loop {
        builder.row(|elements| {
            scanner.short_numbers(|number| {
                let element = T::from_short(number);
                let is_taken = element.is_some();
                elements.extend(element);
                is_taken
            });
        });
        if builder.is_cut(scanner) {
            return Ok(());
        }
        let token = scanner.value()?;
        let found = found(&token);
        let element = match token {
            Token::List => {
                builder.open().map_err(Fault::Value)?;
                if !scanner.has(b']') {
                    continue;
                }
                builder.close().map_err(Fault::Value)?;
                if leave(scanner, builder)? {
                    continue;
                }
                return Ok(());
            }
            Token::Null | Token::Map => return Err(Fault::Value(builder.refuse(found))),
            Token::Bool(value) => T::from_bool(value),
            Token::Whole(value) => T::from_integer(value),
            Token::Decimal(decimal) => T::from_decimal(decimal),
            Token::String(text) => T::from_text(&text),
        };
        builder.push(found, element).map_err(Fault::Value)?;
        if !leave(scanner, builder)? {
            return Ok(());
        }
    }
}

/// Goes on after a value: tells whether another follows, having left the lists that end.
#[inline]
fn leave<T, S: Sink<T>>(scanner: &mut Scanner, builder: &mut S) -> Result<bool, Fault<S::Stop>> {
    while builder.goes_on(scanner) {
        if scanner.has(b',') {
            return Ok(true);
        }
        scanner.take(b']', Expected::CommaOrEndOfList)?;
        builder.close().map_err(Fault::Value)?;
    }
    Ok(false)
}

fn found(token: &Token) -> Found {
    match token {
        Token::Null => Found::Null,
        Token::Bool(_) => Found::Bool,
        Token::Whole(_) | Token::Decimal(_) => Found::Number,
        Token::String(_) => Found::String,
        Token::List => Found::List,
        Token::Map => Found::Object,
    }
}
