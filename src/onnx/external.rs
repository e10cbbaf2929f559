use std::fmt;

use super::proto::TensorProto;
use super::tensor_data::{count_elements, stored_bytes};
use super::visit::{Item, Place, walk};
use super::{Error, Label, Model};
use crate::tensor::DType;

/// Is where a tensor's data lies outside of the graph's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExternalData {
    /// The tensor, and where the graph names it, in words.
    pub tensor: Label,
    /// The tensor's own name; empty for many that are no initializers.
    pub name: String,
    /// Whether it is an initializer of the main graph.
    pub is_main_initializer: bool,
    /// The file, relative to the graph's.
    pub location: Location,
    /// Where in the file the data begins. Units: bytes.
    pub offset_bytes: u64,
    /// How much there is: what the dimensions and the type need. Units: bytes.
    pub length_bytes: u64,
    /// The SHA-1 that the file claims for the data, unchecked.
    pub checksum: Option<Label>,
    /// The element type.
    pub dtype: DType,
}

/// Names a file by its path relative to the graph's folder, which it does not leave.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Location {
    written: String,
    path: String,
}

/// Says why a text is no location.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum LocationFault {
    #[error("an empty path")]
    Empty,
    #[error("a path with a NUL")]
    Nul,
    #[error("a path that is not UTF-8")]
    NotText,
    #[error("a path that leaves its folder through `..`")]
    Parent,
    #[error("an absolute path")]
    Absolute,
    #[error("a path with a backslash")]
    Backslash,
    #[error("a path with a drive letter")]
    Drive,
    #[error("a folder, not a file")]
    Folder,
    /// ONNX Runtime takes such a "path" as a mark that the offset is an address in memory.
    #[error("a mark for an address in memory, which no file may have")]
    Memory,
}

impl Location {
    /// Reads a location.
    ///
    /// Errors: [`LocationFault`] for whatever names, on any platform, another place than a file at or below the folder.
    pub fn parse(written: &str) -> Result<Self, LocationFault> {
        if written.is_empty() {
            return Err(LocationFault::Empty);
        }
        if written.contains('\0') {
            return Err(LocationFault::Nul);
        }
        if written.starts_with("*/") {
            return Err(LocationFault::Memory);
        }
        if written.contains('\\') {
            return Err(LocationFault::Backslash);
        }
        if written.starts_with('/') {
            return Err(LocationFault::Absolute);
        }
        let bytes = written.as_bytes();
        if bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':' {
            return Err(LocationFault::Drive);
        }
        if written.split('/').any(|part| part == "..") {
            return Err(LocationFault::Parent);
        }
        if written.ends_with('/') || written.ends_with("/.") || written == "." {
            return Err(LocationFault::Folder);
        }
        let parts: Vec<&str> = written.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
        Ok(Location {
            path: parts.join("/"),
            written: written.to_owned(),
        })
    }

    /// Gives the location exactly as the graph has it.
    pub fn as_written(&self) -> &str {
        &self.written
    }

    /// Gives the path in its shortest form: no `.`, no empty part.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Label::new(&self.path).fmt(f)
    }
}

impl Model {
    /// Lists the external data wherever it is named: initializers, attributes, sparse tensors, subgraphs, functions.
    ///
    /// Errors: data whose place cannot be told or whose length is not what its tensor needs.
    pub fn external(&self) -> Result<Vec<ExternalData>, Error> {
        let mut found = Vec::new();
        let mut in_main = false;
        walk(&self.proto, &mut |item| {
            match item {
                Item::Graph { main, .. } => in_main = main,
                Item::Node(_) => in_main = false,
                Item::Tensor { tensor, place } if is_external(tensor) => {
                    let mut external = read_external(tensor, place)?;
                    external.is_main_initializer = in_main && place.is_initializer();
                    found.push(external);
                }
                _ => {}
            }
            Ok(())
        })?;
        Ok(found)
    }
}

/// Tells whether any engine could look for the tensor's data in another file.
pub fn is_external(tensor: &TensorProto) -> bool {
    const EXTERNAL: i32 = 1;
    tensor.data_location() == EXTERNAL || !tensor.external_data.is_empty()
}

pub(super) fn read_external(tensor: &TensorProto, place: Place<'_>) -> Result<ExternalData, Error> {
    let mut location = None;
    let mut offset_bytes = None;
    let mut said_bytes = None;
    let mut checksum = None;
    for entry in &tensor.external_data {
        let key = entry.key();
        let repeated = match key {
            "location" => location.replace(read_location(entry.value(), place)?).is_some(),
            "offset" => offset_bytes
                .replace(read_number("offset", entry.value(), place)?)
                .is_some(),
            "length" => said_bytes
                .replace(read_number("length", entry.value(), place)?)
                .is_some(),
            "checksum" => checksum.replace(Label::new(&text(entry.value()))).is_some(),
            _ if key.starts_with("prepacked_") => return Err(Error::Prepacked { tensor: place.label() }),
            _ => false,
        };
        if repeated {
            return Err(Error::ExternalTwice {
                tensor: place.label(),
                key: Label::new(key),
            });
        }
    }
    let location = location.ok_or_else(|| Error::NoLocation { tensor: place.label() })?;
    let (dtype, needed_bytes) = raw_size(tensor, place)?;
    if let Some(length_bytes) = said_bytes
        && length_bytes != needed_bytes
    {
        return Err(Error::ExternalLength {
            tensor: place.label(),
            needed_bytes,
            length_bytes,
        });
    }
    Ok(ExternalData {
        tensor: place.label(),
        name: tensor.name().to_owned(),
        is_main_initializer: false,
        location,
        offset_bytes: offset_bytes.unwrap_or(0),
        length_bytes: needed_bytes,
        checksum,
        dtype,
    })
}

fn read_location(value: &[u8], place: Place<'_>) -> Result<Location, Error> {
    let parsed = match std::str::from_utf8(value) {
        Ok(written) => Location::parse(written),
        Err(_) => Err(LocationFault::NotText),
    };
    parsed.map_err(|fault| Error::Location {
        tensor: place.label(),
        location: Label::new(&text(value)),
        fault,
    })
}

/// Reads a decimal number of digits alone: what engines make of signs, spaces and exponents differs.
fn read_number(key: &'static str, value: &[u8], place: Place<'_>) -> Result<u64, Error> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    let number = digits.then(|| text(value).parse().ok()).flatten();
    number.ok_or_else(|| Error::ExternalNumber {
        tensor: place.label(),
        key,
        value: Label::new(&text(value)),
    })
}

fn text(value: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(value)
}

/// Gives the type of a tensor and how many elements its dimensions make.
pub(super) fn typed_elements(tensor: &TensorProto, place: Place<'_>) -> Result<(DType, u64), Error> {
    let number = tensor.data_type();
    let dtype = DType::from_onnx(number).ok_or_else(|| Error::TensorType {
        tensor: place.label(),
        number,
    })?;
    let elements = count_elements(&tensor.dims).map_err(|fault| Error::Dims {
        tensor: place.label(),
        fault,
    })?;
    Ok((dtype, elements))
}

/// Gives the type of a tensor and the bytes that its elements take when stored raw.
pub(super) fn raw_size(tensor: &TensorProto, place: Place<'_>) -> Result<(DType, u64), Error> {
    let (dtype, elements) = typed_elements(tensor, place)?;
    if dtype == DType::String {
        return Err(Error::ExternalStrings { tensor: place.label() });
    }
    let bytes = stored_bytes(dtype, elements).ok_or_else(|| Error::TensorSize {
        tensor: place.label(),
        elements,
        dtype,
    })?;
    Ok((dtype, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_never_leaves_its_folder() {
        for (written, fault) in [
            ("", LocationFault::Empty),
            ("..", LocationFault::Parent),
            ("../w.bin", LocationFault::Parent),
            ("a/../../w.bin", LocationFault::Parent),
            ("/etc/passwd", LocationFault::Absolute),
            ("//host/share/w", LocationFault::Absolute),
            ("\\\\host\\share\\w", LocationFault::Backslash),
            ("a\\..\\w.bin", LocationFault::Backslash),
            ("C:\\w.bin", LocationFault::Backslash),
            ("C:w.bin", LocationFault::Drive),
            ("c:/w.bin", LocationFault::Drive),
            ("w.bin\0.txt", LocationFault::Nul),
            (".", LocationFault::Folder),
            ("a/", LocationFault::Folder),
            ("a/.", LocationFault::Folder),
            ("*/_ORT_MEM_ADDR_/*", LocationFault::Memory),
        ] {
            assert_eq!(Location::parse(written), Err(fault), "{written:?}");
        }
    }

    #[test]
    fn a_location_has_one_shortest_path() {
        let path = |written| Location::parse(written).map(|location| location.path().to_owned());
        assert_eq!(path("./a//b/./w.bin"), Ok("a/b/w.bin".to_owned()));
        assert_eq!(path("..w"), Ok("..w".to_owned()));
    }
}
