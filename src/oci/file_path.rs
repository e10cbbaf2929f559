use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;

use unicode_normalization::UnicodeNormalization;

use super::Error;
use super::error::shown;

/// Names a file in an artifact, below the artifact's root, in a form that is safe on every system.
///
/// Shape: components with `/` between them; none is empty, `.` or `..`, longer than 255 bytes, or has a control
/// character, a backslash or a colon; at most 4,096 bytes in all.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FilePath(String);

impl FilePath {
    /// Gives the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Gives the last component.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Checks that no two of `paths` are one file, or one a folder of the other, where case or Unicode form does not
    /// count.
    ///
    /// Errors: [`Error::SamePath`] with the first pair.
    pub fn check_distinct<'a>(paths: impl IntoIterator<Item = &'a FilePath>) -> Result<(), Error> {
        let same = |first: &FilePath, second: &FilePath| Error::SamePath {
            first: shown(&first.0),
            second: shown(&second.0),
        };
        let mut files: HashMap<String, &FilePath> = HashMap::new();
        let mut folders: HashMap<String, &FilePath> = HashMap::new();
        for path in paths {
            let key = path.folded();
            if let Some(first) = files.get(&key).or_else(|| folders.get(&key)) {
                return Err(same(first, path));
            }
            for (at, _) in key.match_indices('/') {
                if let Some(first) = files.get(&key[..at]) {
                    return Err(same(first, path));
                }
                folders.entry(key[..at].to_owned()).or_insert(path);
            }
            files.insert(key, path);
        }
        Ok(())
    }

    /// Gives the form in which file systems that ignore case and Unicode form compare names.
    fn folded(&self) -> String {
        self.0.nfkc().flat_map(char::to_lowercase).nfkc().collect()
    }
}

impl FromStr for FilePath {
    type Err = Error;

    /// Reads a relative path.
    ///
    /// Errors: [`Error::FilePath`] for a path that leaves the artifact's root or is not safe on some system.
    fn from_str(text: &str) -> Result<Self, Error> {
        let refuse = |problem| Error::FilePath {
            text: shown(text),
            problem,
        };
        if text.is_empty() {
            return Err(refuse("it is empty"));
        }
        if text.len() > 4096 {
            return Err(refuse("it has more than 4,096 bytes"));
        }
        if text.starts_with('/') {
            return Err(refuse("it is absolute"));
        }
        if text.chars().any(|c| {
            c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
        }) {
            return Err(refuse("it has control characters"));
        }
        if text.contains(['\\', ':']) {
            return Err(refuse("it has a backslash or a colon"));
        }
        for component in text.split('/') {
            match component {
                "" => return Err(refuse("it has an empty component")),
                "." | ".." => return Err(refuse("it has `.` or `..` as a component")),
                long if long.len() > 255 => return Err(refuse("a component has more than 255 bytes")),
                _ => {}
            }
        }
        Ok(FilePath(text.to_owned()))
    }
}

impl fmt::Display for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for FilePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_leaves_the_root_or_cheats_a_terminal_is_refused() {
        let long = "x".repeat(256);
        let cases = [
            "",
            "/",
            "/etc/passwd",
            "..",
            "../x",
            "a/../../x",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "a\0b",
            "a\nb",
            "\u{1b}[31mred",
            "a\u{202e}xnno",
            "a\\..\\b",
            "C:\\x",
            "C:x",
            &long,
            &"x/".repeat(3000),
        ];
        for text in cases {
            let error = text.parse::<FilePath>().expect_err(text).to_string();
            assert!(!error.contains(['\n', '\0', '\u{1b}', '\u{202e}']), "{error:?}");
            assert!(error.len() < 300, "{error}");
        }
        for text in ["model.onnx", "a/b/..c", "...", "ünï/日本", " x "] {
            assert_eq!(text.parse::<FilePath>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn paths_that_are_one_file_somewhere_are_refused() {
        let check = |paths: &[&str]| {
            let paths: Vec<FilePath> = paths.iter().map(|path| path.parse().unwrap()).collect();
            FilePath::check_distinct(&paths)
        };
        for pair in [
            ["a", "a"],
            ["Model.onnx", "model.ONNX"],
            ["é", "e\u{301}"],
            ["ſ", "s"],
            ["a", "A/b"],
            ["a/b", "A"],
        ] {
            assert!(check(&pair).is_err(), "{pair:?}");
        }
        assert!(check(&["a/x", "A/y", "b", "ab"]).is_ok());
    }
}
