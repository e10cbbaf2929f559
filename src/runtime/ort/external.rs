use std::collections::BTreeMap;
use std::path::{MAIN_SEPARATOR, Path, PathBuf};

use prost::bytes::Bytes;

use crate::fs;
use crate::runtime::{Error, Source};

/// Is a graph whose external data ONNX Runtime finds, and maps instead of copying.
pub(super) struct Located {
    /// The folder that the locations in the graph start from; `None` where there is no external data.
    pub folder: Option<String>,
    /// Where the graph is loaded from.
    pub place: Place,
    /// The file of each location, as the model's own graph writes it, links resolved.
    pub files: BTreeMap<String, PathBuf>,
}

/// Is where ONNX Runtime loads a graph from.
pub(super) enum Place {
    /// Its file, where it lies.
    File(PathBuf),
    /// Its bytes.
    Memory(Bytes),
}

impl Located {
    /// Gives the size of the graph, weights within it included.
    pub fn graph_bytes(&self) -> u64 {
        match &self.place {
            Place::File(path) => fs::stat(path).ok().flatten().map_or(0, |found| found.size_bytes),
            Place::Memory(graph) => graph.len() as u64,
        }
    }
}

/// Finds one folder that all external data lies under, and renames locations in the graph where they differ from there.
///
/// ONNX Runtime maps external files only from disk, by one folder and a relative path, and refuses symbolic links on
/// the way: so paths are resolved first. Where the data lies beside the graph's own file under the names that the graph has,
/// as in the store, that file is loaded as it is.
pub(super) fn locate(source: &Source<'_>) -> Result<Located, Error> {
    let files = resolve(source)?;
    let Some(folder) = common_folder(files.values()) else {
        return Ok(Located {
            folder: None,
            place: Place::Memory(source.model.bytes().clone()),
            files,
        });
    };
    let mut locations = BTreeMap::new();
    for (location, file) in &files {
        let relative = file.strip_prefix(&folder).unwrap_or(file);
        locations.insert(location.clone(), text(relative)?.replace(MAIN_SEPARATOR, "/"));
    }
    let place = if locations.iter().any(|(written, found)| written != found) {
        Place::Memory(source.model.rewrite_external(&locations)?)
    } else {
        let path = fs::canonical(&source.files.graph)?;
        match path.parent() == Some(&folder) {
            true => Place::File(path),
            false => Place::Memory(source.model.bytes().clone()),
        }
    };
    Ok(Located {
        folder: Some(text(&folder)?.to_owned()),
        place,
        files,
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
