//! JSON text, one token at a time.
//!
//! A tree of values, or a visitor called for each, costs more than the tensor; and a number must be rounded once, from
//! its own digits to the type that is wanted. So the text is read here; only strings with escapes are left to serde_json.

use std::borrow::Cow;
use std::fmt;

use crate::tensor::cast::Decimal;

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
    Decimal(Decimal<'t>),
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
        match std::str::from_utf8(text) {
            Ok(text) => Ok(Scanner { text, at: 0 }),
            Err(error) => Err(error_at(text, error.valid_up_to(), Expected::Unicode)),
        }
    }

    /// Gives how many elements the rest of the text can have: each takes a character and a comma.
    pub(in crate::tensor) fn most_elements(&self) -> usize {
        (self.text.len() - self.at).div_ceil(2)
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

    /// Passes over a value and gives its text. Whether that is JSON, who reads it finds.
    pub(in crate::tensor) fn skip(&mut self) -> Result<&'t str, SyntaxError> {
        self.peek();
        let start = self.at;
        let mut depth = 0usize;
        while let Some(byte) = self.byte() {
            match byte {
                b'"' => {
                    self.string()?;
                    continue;
                }
                b',' | b']' | b'}' if depth == 0 => break,
                b'[' | b'{' => depth += 1,
                b']' | b'}' => depth -= 1,
                _ if depth > 0 => {
                    self.at += self.within();
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
        match self.text[start..self.at].trim_ascii_end() {
            "" => Err(self.expected(Expected::Value)),
            value => Ok(value),
        }
    }

    /// Gives how many bytes come next, at least one, of which all but the first open, close and quote nothing.
    #[inline]
    fn within(&self) -> usize {
        const STRIDE: usize = 32;
        let mut passed = 1;
        // A whole stride at once, so that the compiler compares its bytes side by side.
        while let Some(stride) = self.text.as_bytes()[self.at + passed..].first_chunk::<STRIDE>() {
            let ends = |byte: &u8| (*byte == b'"') | (byte | 0x20 == b'{') | (byte | 0x20 == b'}');
            if stride.iter().fold(false, |any, byte| any | ends(byte)) {
                break;
            }
            passed += STRIDE;
        }
        passed
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
        // 19 digits always fit; what is longer is told apart below.
        let mut whole = 0u64;
        let digits = match self.byte() {
            Some(b'0') => {
                self.at += 1;
                1
            }
            _ => self.digits(|digit| whole = whole.wrapping_mul(10).wrapping_add(digit.into()))?,
        };
        let mut is_whole = true;
        let mut behind_point = 0;
        if self.byte() == Some(b'.') {
            self.at += 1;
            behind_point = self.digits(|digit| whole = whole.wrapping_mul(10).wrapping_add(digit.into()))?;
            is_whole = false;
        }
        let mut is_short = digits + behind_point < 20;
        if let Some(b'e' | b'E') = self.byte() {
            self.at += 1;
            self.at += usize::from(matches!(self.byte(), Some(b'+' | b'-')));
            self.digits(|_| {})?;
            is_whole = false;
            is_short = false;
        }
        let text = &self.text[start..self.at];
        let decimal = Decimal {
            text,
            short: is_short.then_some((whole, behind_point)),
        };
        if !is_whole || (is_negative && whole == 0 && digits == 1) {
            return Ok(Token::Decimal(decimal));
        }
        let whole = if digits < 20 {
            Some(i128::from(whole))
        } else {
            text.trim_start_matches('-').parse().ok()
        };
        Ok(match whole.map(|whole| if is_negative { -whole } else { whole }) {
            Some(whole) if (i64::MIN.into()..=u64::MAX.into()).contains(&whole) => Token::Whole(whole),
            _ => Token::Decimal(decimal),
        })
    }

    /// Takes at least one digit and counts them.
    #[inline]
    fn digits(&mut self, mut each: impl FnMut(u8)) -> Result<usize, SyntaxError> {
        let start = self.at;
        while let Some(byte @ b'0'..=b'9') = self.byte() {
            each(byte - b'0');
            self.at += 1;
        }
        match self.at - start {
            0 => Err(self.expected(Expected::DigitOfNumber)),
            count => Ok(count),
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
