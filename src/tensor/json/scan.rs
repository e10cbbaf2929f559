//! JSON text, one token at a time.
//!
//! A tree of values, or a visitor called for each, costs more than the tensor; and a number must be rounded once, from
//! its own digits to the type that is wanted. So the text is read here; only strings with escapes are left to serde_json.

use std::borrow::Cow;
use std::fmt;

use memchr::memchr3;

use crate::tensor::decimal::Short;

/// Says where and why a text is not JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("expected {expected} at line {line} column {column}")]
pub struct SyntaxError {
    /// The line, from 1.
    pub line: usize,
    /// The byte within the line, from 1.
    pub column: usize,
    /// What would have been right.
    pub expected: Expected,
}

/// Names what would have been right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    Value,
    List,
    Map,
    DigitOfNumber,
    String,
    Unicode,
    CommaOrEndOfList,
    CommaOrEndOfMap,
    Name,
    Colon,
    End,
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Expected::Value => "a value",
            Expected::List => "`[`",
            Expected::Map => "`{`",
            Expected::DigitOfNumber => "a digit",
            Expected::String => "a string that ends, without raw control characters and unknown escapes",
            Expected::Unicode => "UTF-8",
            Expected::CommaOrEndOfList => "`,` or `]`",
            Expected::CommaOrEndOfMap => "`,` or `}`",
            Expected::Name => "a name in quotes",
            Expected::Colon => "`:`",
            Expected::End => "the end",
        })
    }
}

/// Is the beginning of a value: all of it, but for a list and a map.
pub(in crate::tensor) enum Token<'t> {
    Null,
    Bool(bool),
    /// A number without fraction and exponent that 64 bits hold.
    Whole(i128),
    /// Any other number.
    Decimal(&'t str),
    String(Cow<'t, str>),
    List,
    Map,
}

/// Reads a text from its beginning to its end.
pub(in crate::tensor) struct Scanner<'t> {
    text: &'t str,
    at: usize,
}

impl<'t> Scanner<'t> {
    pub(in crate::tensor) fn new(text: &'t [u8]) -> Result<Self, SyntaxError> {
        utf8(text).map(Scanner::of)
    }

    pub(in crate::tensor) fn of(text: &'t str) -> Self {
        Scanner { text, at: 0 }
    }

    /// Tells whether all of the text was read.
    #[inline]
    pub(in crate::tensor) fn is_at_end(&self) -> bool {
        self.at == self.text.len()
    }

    /// Gives how many bytes are left.
    pub(in crate::tensor) fn left_bytes(&self) -> usize {
        self.text.len() - self.at
    }

    /// Reads the list that comes next as a whole, which `read` may leave to others.
    pub(in crate::tensor) fn whole_list<T>(&mut self, read: impl FnOnce(&'t str) -> Option<T>) -> Option<T> {
        if self.peek() != Some(b'[') {
            return None;
        }
        let start = self.at;
        let rest = self.text[start..].trim_ascii_end();
        // Where the list is all that is left, its end need not be looked for.
        let done = match rest.ends_with(']') {
            true => {
                self.at += rest.len();
                read(rest)
            }
            false => self.skip().ok().and_then(read),
        };
        if done.is_none() {
            self.at = start;
        }
        done
    }

    /// Gives how many elements the rest of the text can have: each takes a character and a comma.
    pub(in crate::tensor) fn most_elements(&self) -> usize {
        self.left_bytes().div_ceil(2)
    }

    /// Gives the place that is read next, for [`Scanner::since`].
    pub(in crate::tensor) fn place(&self) -> usize {
        self.at
    }

    /// Gives the text from a place to here.
    pub(in crate::tensor) fn since(&self, place: usize) -> &'t str {
        &self.text[place..self.at]
    }

    /// Tells whether a list comes next that begins with a list.
    pub(in crate::tensor) fn opens_nested(&self) -> bool {
        let mut bytes = self.text.as_bytes()[self.at..]
            .iter()
            .filter(|byte| !byte.is_ascii_whitespace());
        bytes.next() == Some(&b'[') && bytes.next() == Some(&b'[')
    }

    /// Reads the next value, or the opening of a list or map.
    pub(in crate::tensor) fn value(&mut self) -> Result<Token<'t>, SyntaxError> {
        match self.peek() {
            Some(b'[') => {
                self.at += 1;
                Ok(Token::List)
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b'"') => Ok(Token::String(self.string()?)),
            Some(b'{') => {
                self.at += 1;
                Ok(Token::Map)
            }
            Some(b't') => self.word(b"true", Token::Bool(true)),
            Some(b'f') => self.word(b"false", Token::Bool(false)),
            Some(b'n') => self.word(b"null", Token::Null),
            _ => Err(self.expected(Expected::Value)),
        }
    }

    /// Passes over a value and gives its text. Whether that is JSON, who reads it finds: of a list only brackets and strings
    /// are looked at, of a map only braces and strings.
    pub(in crate::tensor) fn skip(&mut self) -> Result<&'t str, SyntaxError> {
        let next = self.peek();
        let start = self.at;
        match next {
            Some(b'"') => {
                self.string()?;
            }
            Some(b'[') => self.pass(b'[', b']')?,
            Some(b'{') => self.pass(b'{', b'}')?,
            _ => {
                while !matches!(
                    self.byte(),
                    None | Some(b',' | b']' | b'}' | b' ' | b'\n' | b'\t' | b'\r')
                ) {
                    self.at += 1;
                }
            }
        }
        match &self.text[start..self.at] {
            "" => Err(self.expected(Expected::Value)),
            value => Ok(value),
        }
    }

    /// Passes over a list or a map, from its first byte to behind its last.
    fn pass(&mut self, open: u8, close: u8) -> Result<(), SyntaxError> {
        let mut depth = 0usize;
        while let Some(passed) = memchr3(open, close, b'"', &self.text.as_bytes()[self.at..]) {
            self.at += passed;
            if self.byte() == Some(b'"') {
                self.string()?;
                continue;
            }
            let is_open = self.byte() == Some(open);
            self.at += 1;
            match (is_open, depth) {
                (true, _) => depth += 1,
                (false, 0 | 1) => return Ok(()),
                (false, _) => depth -= 1,
            }
        }
        self.at = self.text.len();
        Ok(())
    }

    /// Reads the name of a member and its colon.
    pub(in crate::tensor) fn name(&mut self) -> Result<Cow<'t, str>, SyntaxError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected(Expected::Name));
        }
        let name = self.string()?;
        self.take(b':', Expected::Colon)?;
        Ok(name)
    }

    /// Takes a byte if it comes next.
    pub(in crate::tensor) fn has(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes a byte that must come next.
    pub(in crate::tensor) fn take(&mut self, byte: u8, expected: Expected) -> Result<(), SyntaxError> {
        if self.has(byte) {
            Ok(())
        } else {
            Err(self.expected(expected))
        }
    }

    /// Checks that nothing but space is left.
    pub(in crate::tensor) fn end(&mut self) -> Result<(), SyntaxError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected(Expected::End)),
        }
    }

    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            match self.byte() {
                Some(b' ' | b'\n' | b'\t' | b'\r') => self.at += 1,
                other => return other,
            }
        }
    }

    /// Gives the next byte, be it space.
    #[inline]
    fn byte(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn word(&mut self, word: &[u8], token: Token<'t>) -> Result<Token<'t>, SyntaxError> {
        if self.text.as_bytes()[self.at..].starts_with(word) {
            self.at += word.len();
            Ok(token)
        } else {
            Err(self.expected(Expected::Value))
        }
    }

    fn number(&mut self) -> Result<Token<'t>, SyntaxError> {
        let start = self.at;
        let is_negative = self.byte() == Some(b'-');
        self.at += usize::from(is_negative);
        match self.byte() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        let mut is_whole = true;
        if self.byte() == Some(b'.') {
            self.at += 1;
            self.digits()?;
            is_whole = false;
        }
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits()?;
            is_whole = false;
        }
        let text = &self.text[start..self.at];
        if is_whole
            && text != "-0"
            && let Ok(whole) = text.parse()
            && (i64::MIN.into()..=u64::MAX.into()).contains(&whole)
        {
            return Ok(Token::Whole(whole));
        }
        Ok(Token::Decimal(text))
    }

    /// Takes at least one digit.
    fn digits(&mut self) -> Result<(), SyntaxError> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.byte() {
            self.at += 1;
        }
        match self.at > start {
            true => Ok(()),
            false => Err(self.expected(Expected::DigitOfNumber)),
        }
    }

    /// Takes numbers with the comma behind each for as long as `take` does; what comes next, [`Scanner::value`] reads.
    #[inline]
    pub(in crate::tensor) fn short_numbers(&mut self, mut take: impl FnMut(Short) -> bool) {
        let text = self.text.as_bytes();
        while let Some((number, end)) = Short::read(text, self.at)
            && text.get(end) == Some(&b',')
            && take(number)
        {
            self.at = end + 1;
        }
    }

    fn string(&mut self) -> Result<Cow<'t, str>, SyntaxError> {
        let start = self.at;
        let mut is_plain = true;
        self.at += 1;
        loop {
            match self.byte() {
                Some(b'"') => break,
                Some(b'\\') => {
                    is_plain = false;
                    self.at += 2;
                }
                Some(0x20..) => self.at += 1,
                Some(_) | None => return Err(self.expected(Expected::String)),
            }
        }
        self.at += 1;
        if is_plain {
            return Ok(Cow::Borrowed(&self.text[start + 1..self.at - 1]));
        }
        let quoted = &self.text.as_bytes()[start..self.at];
        match serde_json::from_slice(quoted) {
            Ok(string) => Ok(Cow::Owned(string)),
            Err(_) => Err(error_at(self.text.as_bytes(), start, Expected::String)),
        }
    }

    fn expected(&self, expected: Expected) -> SyntaxError {
        error_at(self.text.as_bytes(), self.at, expected)
    }
}

/// Reads text that must be UTF-8.
///
/// Errors: the first place that is not.
pub fn utf8(text: &[u8]) -> Result<&str, SyntaxError> {
    std::str::from_utf8(text).map_err(|error| error_at(text, error.valid_up_to(), Expected::Unicode))
}

#[cold]
fn error_at(text: &[u8], at: usize, expected: Expected) -> SyntaxError {
    let before = &text[..at.min(text.len())];
    let line_start = before
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |newline| newline + 1);
    SyntaxError {
        line: 1 + before.iter().filter(|&&byte| byte == b'\n').count(),
        column: 1 + before.len() - line_start,
        expected,
    }
}
