use std::fmt::{self, Write};

/// The longest text that a message repeats in full, in characters.
const SHOWN: usize = 80;

/// The longest message of another program that is repeated in full, in characters.
const MESSAGE_SHOWN: usize = 1000;

/// Is a name out of a file, made fit for one line of a message: control, direction and other invisible characters are
/// escaped, and what is longer than 80 characters is cut, with its length in bytes told.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// Makes the label of a name.
    pub fn new(name: &str) -> Self {
        Label(shown(name, SHOWN))
    }

    /// Makes the label of a message that may have names in it, as engines write them: up to 1,000 characters.
    pub fn of_message(message: &str) -> Self {
        let lines: Vec<&str> = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        Label(shown(&lines.join(" "), MESSAGE_SHOWN))
    }

    /// Joins labels and words of our own into a longer label.
    pub(super) fn phrase(words: fmt::Arguments<'_>) -> Self {
        Label(words.to_string())
    }

    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Escapes what misleads, and cuts what is longer than `most` characters.
fn shown(name: &str, most: usize) -> String {
    let mut text = String::new();
    for (count, c) in name.chars().enumerate() {
        if count == most {
            let _ = write!(text, "… ({} bytes)", name.len());
            break;
        }
        if misleads(c) {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// Tells whether a character breaks the line, steers the terminal, reorders or hides text.
fn misleads(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_name_is_one_short_line() {
        let label = Label::new(&"a\n\x1b[2J".repeat(2 << 20));
        assert!(label.as_str().len() < 600);
        assert!(!label.as_str().contains(char::is_control));
        assert!(label.as_str().ends_with("… (12582912 bytes)"));
    }

    #[test]
    fn a_message_of_many_lines_is_one_line() {
        let label = Label::of_message("it failed:\n   node `a\x1b[2J`\r\n\n");
        assert_eq!(label.as_str(), "it failed: node `a\\u{1b}[2J`");
        assert!(Label::of_message(&"x".repeat(10 << 20)).as_str().len() < 1100);
    }

    #[test]
    fn text_that_reorders_is_escaped() {
        assert_eq!(Label::new("a\u{202e}b").as_str(), "a\\u{202e}b");
        assert_eq!(Label::new("Größe/重み").as_str(), "Größe/重み");
    }
}
