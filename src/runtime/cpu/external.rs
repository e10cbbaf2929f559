use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::fs;
use crate::runtime::{Error, Source};

/// Is a graph whose external data ONNX Runtime finds, and maps instead of copying.
pub(super) struct Located<'a> {
    /// The folder that the locations in the graph start from; `None` where there is no external data.
    pub folder: Option<String>,
    /// The bytes of the graph.
    pub graph: Cow<'a, [u8]>,
}

/// Finds one folder that all external data lies under, and renames locations in the graph where they differ from there.
///
/// ONNX Runtime maps external files only from disk, by one folder and a relative path, and refuses symbolic links on
/// the way: so paths are resolved first.
pub(super) fn locate<'a>(source: &Source<'a>) -> Result<Located<'a>, Error> {
    let mut resolved = BTreeMap::new();
    for (location, path) in &source.files.external {
        resolved.insert(location.as_str(), fs::canonical(path)?);
    }
    let Some(folder) = common_folder(resolved.values()) else {
        return Ok(Located {
            folder: None,
            graph: Cow::Borrowed(source.model.bytes().as_ref()),
        });
    };
    let mut renamed = BTreeMap::new();
    for (location, path) in &resolved {
        let relative = path.strip_prefix(&folder).unwrap_or(path);
        let relative = text(relative)?.replace(std::path::MAIN_SEPARATOR, "/");
        if relative != *location {
            renamed.insert((*location).to_owned(), relative);
        }
    }
    if let Some((location, _)) = renamed.into_iter().next() {
        return Err(Error::ExternalElsewhere(location));
    }
    let graph = Cow::Borrowed(source.model.bytes().as_ref());
    Ok(Located {
        folder: Some(text(&folder)?.to_owned()),
        graph,
    })
}

/// Gives the deepest folder that every file lies under; `None` where there is no file.
fn common_folder<'a>(mut files: impl Iterator<Item = &'a PathBuf>) -> Option<PathBuf> {
    let mut folder = files.next()?.parent()?.to_owned();
    for file in files {
        while !file.starts_with(&folder) {
            folder.pop();
        }
    }
    Some(folder)
}

/// Gives a path as the text that ONNX Runtime takes.
fn text(path: &Path) -> Result<&str, Error> {
    path.to_str().ok_or_else(|| Error::PathNotUnicode(path.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_common_folder_is_the_deepest_that_holds_every_file() {
        let folder = |paths: &[&str]| common_folder(paths.iter().map(PathBuf::from).collect::<Vec<_>>().iter());
        assert_eq!(folder(&[]), None);
        assert_eq!(folder(&["/a/b/c"]), Some("/a/b".into()));
        assert_eq!(folder(&["/a/b/c", "/a/bc/d"]), Some("/a".into()));
        assert_eq!(folder(&["/a/b", "/c/d/e"]), Some("/".into()));
    }
}
