use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use unicode_width::UnicodeWidthChar;

/// Marks a stretch of the file's text.
///
/// Units: bytes from the start of the text; made by the parser only, and always on character borders.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Span {
    start: usize,
    length: usize,
}

impl Span {
    pub(super) fn new(start: usize, length: usize) -> Self {
        Span { start, length }
    }
}

/// Joins a value to the place it was read from.
///
/// Two are equal where the values are: moving a key within a file does not change what the file says.
#[derive(Clone, Copy, Debug)]
pub struct Located<T> {
    /// What was read.
    pub value: T,
    /// Where it stands.
    pub span: Span,
}

impl<T> Located<T> {
    pub(super) fn new(value: T, span: Span) -> Self {
        Located { value, span }
    }
}

impl<T> Deref for Located<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: PartialEq> PartialEq for Located<T> {
    fn eq(&self, other: &Self) -> bool {
        self.value == other.value
    }
}

impl<T: Eq> Eq for Located<T> {}

/// Holds the text of a GPUXfile and the name under which messages speak of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Source {
    origin: Arc<str>,
    text: Arc<str>,
}

/// The longest part of a line that a message shows, in characters.
const EXCERPT_WIDTH: usize = 100;

impl Source {
    pub(super) fn new(text: &str, origin: &str) -> Self {
        Source {
            origin: origin.into(),
            text: text.into(),
        }
    }

    /// Gives the text under `span`; empty where the span is of another text.
    pub(super) fn slice(&self, span: Span) -> &str {
        self.text
            .get(span.start..span.start.saturating_add(span.length))
            .unwrap_or("")
    }

    /// Finds the line and column of `span` and the line to show.
    pub(super) fn place(&self, span: Span) -> Place {
        let mut start = span.start.min(self.text.len());
        while !self.text.is_char_boundary(start) {
            start -= 1;
        }
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let head = &self.text[line_start..start];
        let tail = self.text[start..].lines().next().unwrap_or("");
        let marked = self.slice(span).lines().next().unwrap_or("");
        Place {
            origin: self.origin.clone(),
            line: before.matches('\n').count() + 1,
            column: head.chars().count() + 1,
            excerpt: Some(Excerpt::cut(head, tail, marked)),
        }
    }

    /// Names the file as a whole.
    pub(super) fn whole(&self) -> Place {
        Place::of_file(&self.origin)
    }

    /// Finds the byte where a line and column start, both counted from 1.
    pub(super) fn span_at(&self, line: usize, column: usize) -> Span {
        let line_start = match line {
            0 | 1 => 0,
            _ => self
                .text
                .match_indices('\n')
                .nth(line - 2)
                .map_or(self.text.len(), |(at, _)| at + 1),
        };
        let rest = &self.text[line_start..];
        let offset = rest
            .char_indices()
            .nth(column.saturating_sub(1))
            .map_or(rest.len(), |(at, _)| at);
        Span::new(line_start + offset, 0)
    }
}

/// Says where in a file something stands, and shows it.
///
/// Prints as `GPUXfile:7:10`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    origin: Arc<str>,
    line: usize,
    column: usize,
    excerpt: Option<Excerpt>,
}

impl Place {
    pub(super) fn of_file(origin: &str) -> Self {
        Place {
            origin: origin.into(),
            line: 1,
            column: 1,
            excerpt: None,
        }
    }

    /// Gives the line, counted from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// Gives the column, counted from 1 in characters.
    pub fn column(&self) -> usize {
        self.column
    }

    /// Gives the line with a caret under the place, ready to print below a message; empty where there is no text.
    pub fn excerpt(&self) -> String {
        let Some(excerpt) = &self.excerpt else {
            return String::new();
        };
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        format!(
            "\n{gutter} |\n{number} | {}\n{gutter} | {}{}",
            excerpt.text,
            " ".repeat(excerpt.indent),
            "^".repeat(excerpt.carets)
        )
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for c in self.origin.chars() {
            match c.is_control() {
                true => write!(f, "{}", c.escape_default())?,
                false => write!(f, "{c}")?,
            }
        }
        write!(f, ":{}:{}", self.line, self.column)
    }
}

/// Is one line made safe to print, and the cells under which carets go.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Excerpt {
    text: String,
    indent: usize,
    carets: usize,
}

impl Excerpt {
    /// Shows the line that `head` and `tail` make, with carets under `marked`, which `tail` starts with.
    fn cut(head: &str, tail: &str, marked: &str) -> Self {
        let mut excerpt = Excerpt {
            text: String::new(),
            indent: 0,
            carets: 0,
        };
        // Lines may be as long as the file: what is not shown is not walked over.
        let mut before: Vec<char> = head.chars().rev().take(EXCERPT_WIDTH * 3 / 4 + 1).collect();
        if before.len() > EXCERPT_WIDTH * 3 / 4 {
            before.truncate(EXCERPT_WIDTH / 2);
            excerpt.text.push('…');
            excerpt.indent = 1;
        }
        for c in before.iter().rev() {
            excerpt.indent += excerpt.push(*c);
        }
        let room = EXCERPT_WIDTH - before.len();
        let marked = marked.chars().take(room).count();
        let mut after = tail.chars();
        for (at, c) in after.by_ref().take(room).enumerate() {
            let width = excerpt.push(c);
            if at < marked {
                excerpt.carets += width;
            }
        }
        if after.next().is_some() {
            excerpt.text.push('…');
        }
        // The place may be the end of the line, where there is no character to stand under.
        excerpt.carets = excerpt.carets.max(1);
        excerpt
    }

    /// Adds a character and gives the cells it takes.
    fn push(&mut self, c: char) -> usize {
        // What moves the cursor or cannot be seen would put the caret in the wrong place, or worse.
        let (c, width) = match (c, c.width()) {
            ('\t', _) => (' ', 1),
            (c, Some(width)) if width > 0 => (c, width),
            _ => ('\u{fffd}', 1),
        };
        self.text.push(c);
        width
    }
}
