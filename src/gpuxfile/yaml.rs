//! Writes YAML that readers of YAML 1.1 and 1.2 take for the same: block mappings, quotes wherever a text could be taken for another
//! kind of value, one line a value.

use std::fmt::Write;

use super::value::Value;

/// Gathers lines at the depth of the current mapping.
#[derive(Default)]
pub(super) struct Writer {
    pub text: String,
    depth: usize,
}

impl Writer {
    /// Writes one line at the current depth.
    pub fn line(&mut self, line: &str) {
        for _ in 0..self.depth {
            self.text.push_str("  ");
        }
        self.text.push_str(line);
        self.text.push('\n');
    }

    /// Writes `key: value`, where `value` is YAML already.
    pub fn entry(&mut self, key: &str, value: &str) {
        self.line(&format!("{}: {value}", scalar(key)));
    }

    /// Writes `key:` and what stands below it.
    pub fn below(&mut self, key: &str, write: impl FnOnce(&mut Self)) {
        self.line(&format!("{}:", scalar(key)));
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// Writes an item of a list whose first line is `first` and whose other lines follow below.
    pub fn item(&mut self, first: &str, write: impl FnOnce(&mut Self)) {
        self.line(&format!("- {first}"));
        self.depth += 1;
        write(self);
        self.depth -= 1;
    }

    /// Writes a list of texts, one a line; nothing where there are none.
    pub fn texts(&mut self, key: &str, texts: &[String]) {
        if !texts.is_empty() {
            self.below(key, |w| {
                for text in texts {
                    w.line(&format!("- {}", scalar(text)));
                }
            });
        }
    }

    /// Writes free data: mappings as blocks, lists with one item a line.
    pub fn value(&mut self, key: &str, value: &Value) {
        match value {
            Value::Map(entries) if !entries.is_empty() => self.below(key, |w| {
                for (key, value) in entries {
                    w.value(key, value);
                }
            }),
            Value::List(items) if !items.is_empty() => self.below(key, |w| {
                for item in items {
                    w.line(&format!("- {}", flow(item)));
                }
            }),
            other => self.entry(key, &flow(other)),
        }
    }
}

/// Writes free data on one line.
fn flow(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) => float(*value),
        Value::Text(text) => scalar(text),
        Value::List(items) => format!("[{}]", joined(items.iter().map(flow).collect())),
        Value::Map(entries) => {
            let entry = |(key, value): &(String, Value)| format!("{}: {}", scalar(key), flow(value));
            format!("{{{}}}", joined(entries.iter().map(entry).collect()))
        }
    }
}

/// Writes a number so that readers of YAML 1.1, too, take it for one: with a point, and a sign in the exponent.
fn float(value: f64) -> String {
    let text = format!("{value:?}");
    let Some((digits, exponent)) = text.split_once('e') else {
        return text;
    };
    let point = if digits.contains('.') { "" } else { ".0" };
    let sign = if exponent.starts_with('-') { "" } else { "+" };
    format!("{digits}{point}e{sign}{exponent}")
}

/// Words that readers of YAML take for something else than text. `y` and `n`, which YAML 1.1 lists as well, are text to
/// those in use, and `N` is what most dimensions are called.
const RESERVED: &[&str] = &["yes", "no", "on", "off", "true", "false", "null", "nan", "inf"];

/// Writes text: bare where no reader can take it for anything else, else in double quotes.
pub(super) fn scalar(text: &str) -> String {
    let bare = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '/' | '+' | '-'))
        && text.len() <= 128
        && !RESERVED.iter().any(|word| text.eq_ignore_ascii_case(word));
    match bare {
        true => text.to_owned(),
        false => quoted(text),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\x{:02x}", u32::from(c));
            }
            '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}' => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
