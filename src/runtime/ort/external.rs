use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use prost::bytes::Bytes;

use crate::fs;
use crate::runtime::{Error, Source};

/// Is a graph whose external data ONNX Runtime finds, and maps instead of copying.
pub(super) struct Located {
    /// The folder that the locations in the graph start from; `None` where there is no external data.
    pub folder: Option<String>,
    /// The bytes of the graph.
    pub graph: Bytes,
}

/// Finds one folder that all external data lies under, and renames locations in the graph where they differ from there.
///
/// ONNX Runtime maps external files only from disk, by one folder and a relative path, and refuses symbolic links on
/// the way: so paths are resolved first.
pub(super) fn locate(source: &Source<'_>) -> Result<Located, Error> {
    let files = resolve(source)?;
    let Some(folder) = common_folder(files.values()) else {
        return Ok(Located {
            folder: None,
            graph: source.model.bytes().clone(),
        });
    };
    let mut locations = BTreeMap::new();
    for (location, file) in files {
        let relative = file.strip_prefix(&folder).unwrap_or(&file);
        locations.insert(location, text(relative)?.replace(MAIN_SEPARATOR, "/"));
    }
    let graph = if locations.iter().all(|(written, found)| written == found) {
        source.model.bytes().clone()
    } else {
        source.model.rewrite_external(&locations)?
    };
    Ok(Located {
        folder: Some(text(&folder)?.to_owned()),
        graph,
    })
}

/// Gives the file of each location, as the graph writes it.
fn resolve(source: &Source<'_>) -> Result<BTreeMap<String, PathBuf>, Error> {
    let mut files = BTreeMap::new();
    for data in source.model.external()? {
        let location = data.location.as_written();
        if files.contains_key(location) {
            continue;
        }
        let external = &source.files.external;
        let file = external.get(location).or_else(|| external.get(data.location.path()));
        let file = file.ok_or_else(|| Error::ExternalUnknown {
            tensor: data.tensor.clone(),
            location: data.location.clone(),
        })?;
        files.insert(location.to_owned(), fs::canonical(file)?);
    }
    Ok(files)
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
