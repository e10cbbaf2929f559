use std::path::{Path, PathBuf};

use crate::fs;
use crate::tensor::{Port, Tensor, json, npy, npz, raw};

use super::{Code, Failure, OrFail};

/// Is where `--output` sends tensors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputFile {
    /// The output to write; `None` means all, or the only one.
    name: Option<String>,
    path: PathBuf,
    form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Json,
    Npy,
    Npz,
    Raw,
    /// A picture, of a mask.
    Png,
}

impl OutputFile {
    /// Reads `[NAME=]FILE`; the file's ending says its form.
    ///
    /// Errors: an ending that is no form, a name that the model lacks, several outputs into a file that holds one.
    pub fn read(argument: &str, outputs: &[&str]) -> Result<OutputFile, Failure> {
        let named = outputs
            .iter()
            .find_map(|name| Some((*name, argument.strip_prefix(name)?.strip_prefix('=')?)));
        let (name, path) = match named {
            Some((name, path)) => (Some(name.to_owned()), path),
            None => (None, argument),
        };
        let ending = Path::new(path)
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or_default();
        let form = match ending.to_ascii_lowercase().as_str() {
            "json" => Form::Json,
            "npy" => Form::Npy,
            "npz" => Form::Npz,
            "raw" | "bin" => Form::Raw,
            "png" => Form::Png,
            _ => {
                return Err(Failure::new(
                    Code::Usage,
                    format!("cannot tell from `{path}` how to write the output"),
                )
                .hint("end it in .npy, .npz, .json or .raw"));
            }
        };
        let holds_one = matches!(form, Form::Npy | Form::Raw);
        if holds_one && name.is_none() && outputs.len() != 1 {
            let names: Vec<String> = outputs.iter().map(|name| format!("`{name}`")).collect();
            return Err(Failure::new(
                Code::Usage,
                format!("`{path}` holds one output, and the model gives {}", names.join(", ")),
            )
            .hint("write `--output NAME=FILE` once for each output, or an .npz file for all"));
        }
        Ok(OutputFile {
            name,
            path: PathBuf::from(path),
            form,
        })
    }

    /// Writes the outputs of one run; the file is replaced whole or not at all.
    pub fn write(&self, outputs: &[(&Port, &Tensor)]) -> Result<(), Failure> {
        let chosen: Vec<&(&Port, &Tensor)> = outputs
            .iter()
            .filter(|(port, _)| self.takes(port.name.as_str()))
            .collect();
        let what = || format!("cannot write `{}`", self.path.display());
        let bytes = match (self.form, chosen.as_slice()) {
            (Form::Npz, all) => npz::encode(all.iter().map(|(port, tensor)| (&port.name, *tensor))).or_fail(what)?,
            (Form::Json, [(_, tensor)]) => {
                let mut bytes = Vec::new();
                json::append(tensor, &mut bytes);
                bytes.push(b'\n');
                bytes
            }
            (Form::Json, all) => {
                let map: serde_json::Map<String, serde_json::Value> = all
                    .iter()
                    .map(|(port, tensor)| (port.name.as_str().to_owned(), json::encode(tensor)))
                    .collect();
                format!("{}\n", serde_json::Value::Object(map)).into_bytes()
            }
            (Form::Npy, [(_, tensor)]) => npy::encode(tensor).or_fail(what)?,
            (Form::Raw, [(_, tensor)]) => raw::encode(tensor).or_fail(what)?,
            (Form::Png, _) => {
                let what = format!("{}: a tensor is no picture", what());
                return Err(Failure::new(Code::Usage, what).hint("end it in .npy, .npz, .json or .raw"));
            }
            (Form::Npy | Form::Raw, all) => {
                return Err(Failure::new(
                    Code::Failed,
                    format!("{}: it holds one output, not {}", what(), all.len()),
                ));
            }
        };
        fs::replace(&self.path, &bytes).or_fail(what)
    }

    /// Tells whether an output is to go into the file.
    pub fn takes(&self, output: &str) -> bool {
        self.name.as_deref().is_none_or(|name| name == output)
    }

    /// Tells whether the file is a picture, of a mask.
    pub fn is_picture(&self) -> bool {
        self.form == Form::Png
    }

    /// Gives the file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}
