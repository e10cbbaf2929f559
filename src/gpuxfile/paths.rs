use std::fmt;

use globset::{GlobBuilder, GlobMatcher};

/// Is the path of a file beside or below the GPUXfile, with `/` between its parts.
///
/// Shape: relative, without `.` and `..`, so that joining it to the folder of the GPUXfile stays inside; a symbolic link
/// can still lead out, which only the caller that follows it can see.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContextPath(String);

/// The longest path, in bytes.
const PATH_LIMIT: usize = 1024;

/// Says why a text is no [`ContextPath`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathFault {
    /// There is nothing.
    #[error("it names no file")]
    Empty,
    /// It starts at the root of a file system.
    #[error("it is absolute")]
    Absolute,
    /// It has a `..`.
    #[error("it has `..`")]
    Parent,
    /// It has a backslash.
    #[error("write `/` between folders, also on Windows")]
    Backslash,
    /// It has a character that no portable path has.
    #[error("it has the character {}", .0.escape_default())]
    Character(char),
    /// It ends like a folder.
    #[error("it names a folder")]
    Folder,
    /// It is too long.
    #[error("it has more than {PATH_LIMIT} bytes")]
    TooLong,
}

impl ContextPath {
    /// Reads a path; `./` in front and doubled slashes are dropped.
    ///
    /// Errors: [`PathFault`] says what leads out or is not portable.
    pub fn parse(text: &str) -> Result<Self, PathFault> {
        if text.len() > PATH_LIMIT {
            return Err(PathFault::TooLong);
        }
        if let Some(control) = text.chars().find(|c| c.is_control()) {
            return Err(PathFault::Character(control));
        }
        if text.contains('\\') {
            return Err(PathFault::Backslash);
        }
        let drive = |b: &[u8]| b.len() >= 2 && b[0].is_ascii_alphabetic() && b[1] == b':';
        if text.starts_with('/') || text.starts_with('~') || drive(text.as_bytes()) {
            return Err(PathFault::Absolute);
        }
        if text.split('/').any(|part| part == "..") {
            return Err(PathFault::Parent);
        }
        let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        match parts.is_empty() {
            true => Err(PathFault::Empty),
            false if text.ends_with('/') || text.ends_with("/.") => Err(PathFault::Folder),
            false => Ok(ContextPath(parts.join("/"))),
        }
    }

    /// Gives the path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContextPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// Is an entry of `files`: the path of one file, or a pattern that names many.
///
/// In a pattern `*` and `?` stay inside a folder, `**` crosses folders, `[ab]` is one of some characters and `{a,b}` one
/// of some texts.
#[derive(Clone, Debug)]
pub struct Pattern {
    path: ContextPath,
    glob: Option<GlobMatcher>,
}

/// Says why a text is no [`Pattern`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternFault {
    /// It is no path.
    #[error(transparent)]
    Path(#[from] PathFault),
    /// It is a path, and no pattern.
    #[error("{0}")]
    Glob(globset::ErrorKind),
}

impl Pattern {
    /// Reads a path or pattern.
    ///
    /// Errors: [`PatternFault`].
    pub fn parse(text: &str) -> Result<Self, PatternFault> {
        let path = ContextPath::parse(text)?;
        let glob = match path.as_str().contains(['*', '?', '[', '{']) {
            true => Some(
                GlobBuilder::new(path.as_str())
                    .literal_separator(true)
                    .backslash_escape(false)
                    .build()
                    .map_err(|error| PatternFault::Glob(error.kind().clone()))?
                    .compile_matcher(),
            ),
            false => None,
        };
        Ok(Pattern { path, glob })
    }

    /// Tells a pattern from the path of one file.
    pub fn is_glob(&self) -> bool {
        self.glob.is_some()
    }

    /// Tells whether the pattern names `path`, which is relative to the GPUXfile with `/` between its parts.
    pub fn matches(&self, path: &str) -> bool {
        match &self.glob {
            Some(glob) => glob.is_match(path),
            None => self.path.as_str() == path,
        }
    }

    /// Gives the path or pattern as text.
    pub fn as_str(&self) -> &str {
        self.path.as_str()
    }

    /// Gives the path; of a pattern, the pattern itself.
    pub fn path(&self) -> &ContextPath {
        &self.path
    }
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.path == other.path
    }
}

impl Eq for Pattern {}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside_the_context() {
        for (text, path) in [
            ("./m.onnx", "m.onnx"),
            ("a//b/./c", "a/b/c"),
            ("...", "..."),
            ("ü.txt", "ü.txt"),
        ] {
            assert_eq!(ContextPath::parse(text).unwrap().as_str(), path);
        }
        for (text, fault) in [
            ("", PathFault::Empty),
            ("./", PathFault::Empty),
            ("a/", PathFault::Folder),
            ("a/.", PathFault::Folder),
            ("../../etc/shadow", PathFault::Parent),
            ("a/../b", PathFault::Parent),
            ("/etc/shadow", PathFault::Absolute),
            ("~/m.onnx", PathFault::Absolute),
            ("C:/m.onnx", PathFault::Absolute),
            ("..\\m.onnx", PathFault::Backslash),
            ("a\0b", PathFault::Character('\0')),
            ("a\x1b[2J", PathFault::Character('\x1b')),
        ] {
            assert_eq!(ContextPath::parse(text), Err(fault), "{text:?}");
        }
        assert_eq!(ContextPath::parse(&"a".repeat(1025)), Err(PathFault::TooLong));
    }

    #[test]
    fn a_star_stays_in_its_folder_and_two_cross_folders() {
        let pattern = Pattern::parse("./data/*.txt").unwrap();
        assert!(pattern.is_glob() && pattern.matches("data/a.txt"));
        assert!(!pattern.matches("data/x/a.txt"));
        assert!(Pattern::parse("**/*.txt").unwrap().matches("data/x/a.txt"));
        assert!(!Pattern::parse("a.txt").unwrap().is_glob());
        assert!(matches!(Pattern::parse("a["), Err(PatternFault::Glob(_))));
        assert!(matches!(
            Pattern::parse("../*"),
            Err(PatternFault::Path(PathFault::Parent))
        ));
    }
}
