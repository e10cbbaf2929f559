use std::path::{Path, PathBuf};

use crate::bundle;
use crate::fs;
use crate::oci::Reference;
use crate::store::Store;

use super::{Code, Failure, OrFail};

/// Is what a verb was pointed at: `REF`, `DIR` or `MODEL.onnx`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// An artifact, by reference.
    Artifact(Reference),
    /// A directory with a GPUXfile.
    Directory(PathBuf),
    /// A bare ONNX file.
    Model(PathBuf),
}

impl Operand {
    /// Decides what `text` means.
    ///
    /// It is a path where it starts with `.` or `/`, ends in `.onnx`, or is a directory with a GPUXfile.
    ///
    /// Errors: it is neither a path that exists nor a reference, or it is both.
    pub fn read(text: &str, store: Option<&Store>) -> Result<Operand, Failure> {
        let path = Path::new(text);
        let says_path = text.starts_with('.') || path.is_absolute();
        if says_path || text.ends_with(".onnx") {
            return match stat(path)? {
                Some(found) if found.is_folder => Ok(Operand::Directory(path.to_owned())),
                Some(_) => Ok(Operand::Model(path.to_owned())),
                None => Err(Failure::new(Code::NotFound, format!("`{text}` does not exist"))
                    .hint("paths start from the current folder")),
            };
        }
        let reference = text.parse::<Reference>();
        if stat(path)?.is_some_and(|found| found.is_folder) {
            let tagged = match (&reference, store) {
                (Ok(reference), Some(store)) => store.resolve(reference).is_ok(),
                _ => false,
            };
            let gpuxfile = bundle::find_gpuxfile(path).or_fail(|| format!("cannot look into `{text}`"))?;
            match (gpuxfile.is_some(), tagged) {
                (true, false) => return Ok(Operand::Directory(path.to_owned())),
                (false, true) => {}
                (false, false) => {
                    let what = format!("`{text}` is a folder without a GPUXfile, and no artifact has this name");
                    return Err(Failure::new(Code::NotFound, what)
                        .hint("`gpux init MODEL.onnx` writes a GPUXfile from the model's own signature"));
                }
                (true, true) => {
                    let what = format!("`{text}` is both a folder here and an artifact in the store");
                    return Err(Failure::new(Code::Usage, what).hint(format!(
                        "write `./{text}` for the folder, or `{text}:latest` for the artifact"
                    )));
                }
            }
        }
        reference
            .map(Operand::Artifact)
            .or_fail(|| format!("cannot read `{text}` as a reference"))
    }
}

fn stat(path: &Path) -> Result<Option<fs::Stat>, Failure> {
    fs::stat(path).or_fail(|| format!("cannot look at `{}`", path.display()))
}
