use std::collections::BTreeMap;
use std::path::PathBuf;

use crate::gpuxfile::{FileRole, Gpuxfile, Labels, Problem, Span};
use crate::oci::FilePath;

use super::Error;
use super::context::{BuildContext, Fault};
use super::layer::is_document;

/// Finds the file that a key of the GPUXfile names; an error stands at the key.
pub fn locate(
    gpuxfile: &Gpuxfile,
    context: &BuildContext,
    (path, span): (&str, Span),
    role: FileRole,
) -> Result<PathBuf, Error> {
    let path_text = path.to_owned();
    let problem = match context.file(path)? {
        Ok(found) => return Ok(found),
        Err(Fault::Missing) => Problem::FileMissing { role, path: path_text },
        Err(Fault::NotAFile(found)) => Problem::NotAFile {
            role,
            path: path_text,
            found,
        },
        Err(Fault::Leaves) => Problem::LeavesContext { role, path: path_text },
    };
    Err(Box::new(gpuxfile.error_at(span, problem)).into())
}

/// Finds the files that go along with the model: those that `files` and `labels` name, `samples/`, README and LICENSE.
pub fn side_files(gpuxfile: &Gpuxfile, context: &BuildContext) -> Result<BTreeMap<FilePath, PathBuf>, Error> {
    let mut found = BTreeMap::new();
    let mut take = |path: &str, span: Span, role| -> Result<(), Error> {
        found.insert(path.parse()?, locate(gpuxfile, context, (path, span), role)?);
        Ok(())
    };
    let all = context.walk()?;
    for entry in &gpuxfile.files {
        let pattern = &entry.value;
        if !pattern.is_glob() {
            take(pattern.as_str(), entry.span, FileRole::Side)?;
            continue;
        }
        let matching: Vec<&String> = all.iter().filter(|path| pattern.matches(path)).collect();
        if matching.is_empty() {
            let problem = Problem::NoMatch {
                pattern: pattern.as_str().to_owned(),
            };
            return Err(Box::new(gpuxfile.error_at(entry.span, problem)).into());
        }
        for path in matching {
            take(path, entry.span, FileRole::Side)?;
        }
    }
    for port in gpuxfile.inputs.iter().chain(&gpuxfile.outputs) {
        if let Some(Labels::File(path)) = &port.labels {
            take(path.value.as_str(), path.span, FileRole::Labels)?;
        }
    }
    for (path, span) in gpuxfile.step_files() {
        take(path.as_str(), span, FileRole::Tokenizer)?;
    }
    // Taken along without being named, so only where they are plain files of the context.
    for path in all
        .iter()
        .filter(|path| path.starts_with("samples/") || is_document(path))
    {
        if let Ok(source) = context.file(path)? {
            found.entry(path.parse()?).or_insert(source);
        }
    }
    Ok(found)
}
