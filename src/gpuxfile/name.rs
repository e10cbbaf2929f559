use std::fmt;

/// Names an artifact: a repository path of the OCI distribution specification, which is also its local name.
///
/// Source: `<name>` in the OCI distribution specification: components of lower-case letters and digits, joined inside by
/// `.`, `_`, `__` or dashes, and to each other by `/`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArtifactName(String);

/// The longest name; registries bound host, name and slash together to 255.
pub(super) const NAME_LIMIT: usize = 200;

/// Says why a text is no [`ArtifactName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameFault {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// It is too long.
    #[error("it has more than {NAME_LIMIT} characters")]
    TooLong,
    /// It has capital letters.
    #[error("letters are lower-case")]
    UpperCase,
    /// It has a character that no name has.
    #[error("`{}` is not one of a-z, 0-9, `.`, `_`, `-` and `/`", .0.escape_default())]
    Character(char),
    /// A separator stands where a letter or digit must.
    #[error("separators stand single, between letters and digits")]
    Separator,
    /// The first component would be read as the host of a registry.
    #[error("`{0}` before the slash is the host of a registry, which belongs in a tag (`-t`)")]
    Host(String),
}

impl ArtifactName {
    /// Reads a name.
    ///
    /// Errors: [`NameFault`] says what no name has.
    pub fn parse(text: &str) -> Result<Self, NameFault> {
        if text.is_empty() {
            return Err(NameFault::Empty);
        }
        if text.len() > NAME_LIMIT {
            return Err(NameFault::TooLong);
        }
        if text.chars().any(char::is_uppercase) {
            return Err(NameFault::UpperCase);
        }
        let legal = |c: char| matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '-' | '/');
        if let Some(other) = text.chars().find(|c| !legal(*c)) {
            return Err(NameFault::Character(other));
        }
        if !text.split('/').all(is_component) {
            return Err(NameFault::Separator);
        }
        match text.split_once('/') {
            Some((first, _)) if first.contains('.') || first == "localhost" => Err(NameFault::Host(first.to_owned())),
            _ => Ok(ArtifactName(text.to_owned())),
        }
    }

    /// Makes a legal name that resembles `text`; `None` where nothing of it can stay.
    pub fn resembling(text: &str) -> Option<Self> {
        let mut name = String::new();
        let mut gap = None;
        for c in text.chars().flat_map(char::to_lowercase) {
            match c {
                'a'..='z' | '0'..='9' => {
                    let separator = gap.take().filter(|_| !name.is_empty());
                    if name.len() + 2 > NAME_LIMIT {
                        break;
                    }
                    name.extend(separator);
                    name.push(c);
                }
                // The strongest separator of a run of them stays.
                '/' => gap = Some('/'),
                '.' | '_' => gap = Some(gap.filter(|g| *g == '/').unwrap_or(c)),
                _ => gap = Some(gap.unwrap_or('-')),
            }
        }
        let name = match name.split_once('/') {
            Some(("localhost", rest)) => rest.to_owned(),
            Some((first, rest)) if first.contains('.') => format!("{}/{rest}", first.replace('.', "-")),
            _ => name,
        };
        ArtifactName::parse(&name).ok()
    }

    /// Gives the name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ArtifactName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Tells whether separators in `text` are single (dashes may repeat, `_` may double) and inside.
fn is_component(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if !edge(text.chars().next()) || !edge(text.chars().next_back()) {
        return false;
    }
    text.split(|c: char| c.is_ascii_alphanumeric())
        .all(|run| matches!(run, "" | "." | "_" | "__") || run.bytes().all(|b| b == b'-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_distribution_specification() {
        for name in ["a", "resnet-50", "a.b", "a__b", "a---b", "team/resnet/v2", "0"] {
            assert_eq!(ArtifactName::parse(name).unwrap().as_str(), name);
        }
        for (name, fault) in [
            ("", NameFault::Empty),
            ("ResNet", NameFault::UpperCase),
            ("É", NameFault::UpperCase),
            ("a b", NameFault::Character(' ')),
            ("é", NameFault::Character('é')),
            ("a:1", NameFault::Character(':')),
            ("a\n", NameFault::Character('\n')),
            ("-a", NameFault::Separator),
            ("a..b", NameFault::Separator),
            ("a___b", NameFault::Separator),
            ("a-_b", NameFault::Separator),
            ("a//b", NameFault::Separator),
            ("a/", NameFault::Separator),
            ("../x", NameFault::Separator),
            ("ghcr.io/me/x", NameFault::Host("ghcr.io".into())),
            ("localhost/x", NameFault::Host("localhost".into())),
        ] {
            assert_eq!(ArtifactName::parse(name), Err(fault), "{name:?}");
        }
        assert_eq!(ArtifactName::parse(&"a".repeat(201)), Err(NameFault::TooLong));
    }

    #[test]
    fn a_likely_name_is_made_of_an_illegal_one() {
        for (text, name) in [
            ("ResNet 50", "resnet-50"),
            ("My_Model!!", "my_model"),
            ("../../x", "x"),
            ("a._b", "a_b"),
            ("ghcr.io/me/X", "ghcr-io/me/x"),
            ("localhost/x", "x"),
            ("Ünet", "net"),
        ] {
            assert_eq!(ArtifactName::resembling(text).unwrap().as_str(), name);
        }
        assert_eq!(ArtifactName::resembling("模型"), None);
        assert_eq!(ArtifactName::resembling(&"x-".repeat(500)).unwrap().as_str().len(), 199);
    }
}
