use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::bundle::{self, Bundle, LARGEST_FILE_BYTES, Plain};
use crate::fs;
use crate::oci::{Algorithm, Digest, Hasher};
use crate::store::Store;

/// Says why a model was not written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The artifact cannot be opened.
    #[error(transparent)]
    Bundle(#[from] bundle::Error),
    /// A file cannot be written.
    #[error(transparent)]
    File(#[from] fs::Error),
    /// The name of the file is not one that an ONNX file can name.
    #[error("`{}` is no name for an ONNX file: it must be Unicode, without a backslash", .0.display())]
    Name(PathBuf),
    /// There is a file already.
    #[error("`{}` is there already", .0.display())]
    Exists(PathBuf),
}

/// Is a file that was written.
#[derive(Debug)]
pub struct Exported {
    pub path: PathBuf,
    pub size_bytes: u64,
    pub digest: Digest,
}

/// Writes the model of an artifact as a plain ONNX file, and what does not fit into one file into `PATH.data` beside it.
///
/// A file appears whole; the one that names the other comes last.
///
/// Errors: [`Error::Exists`] unless `replace` is set; those of the artifact, whose blobs are verified.
pub fn write_onnx(bundle: &Bundle, store: &Store, path: &Path, replace: bool) -> Result<Vec<Exported>, Error> {
    let data_path = data_path(path)?;
    if !replace {
        for path in [path, &data_path] {
            if fs::stat_link(path)?.is_some() {
                return Err(Error::Exists(path.to_owned()));
            }
        }
    }
    let (files, model) = bundle.graph(store)?;
    let data_name = data_path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let Plain { graph, data } = bundle::plain(&files, &model, (data_name, LARGEST_FILE_BYTES))?;
    let mut written = Vec::new();
    if let Some(data) = data {
        written.push(write(&data_path, &data)?);
    }
    written.push(write(path, &graph)?);
    written.reverse();
    Ok(written)
}

/// Gives the file beside `path` that takes the data; its name stands in an ONNX file, which readers on any system open.
fn data_path(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().and_then(|name| name.to_str());
    let name = name.filter(|name| !name.contains(['\\', ':']) && !name.contains(char::is_control));
    let name = name.ok_or_else(|| Error::Name(path.to_owned()))?;
    Ok(path.with_file_name(format!("{name}.data")))
}

fn write(path: &Path, pieces: &[Bytes]) -> Result<Exported, Error> {
    let mut hasher = Hasher::new(Algorithm::Sha256);
    fs::replace_with(path, &mut |file| {
        for piece in pieces {
            hasher.update(piece);
            file.write_all(piece)?;
        }
        Ok(())
    })?;
    Ok(Exported {
        path: path.to_owned(),
        size_bytes: hasher.size_bytes(),
        digest: hasher.finish(),
    })
}
