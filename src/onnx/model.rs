use prost::Message;
use prost::bytes::Bytes;

use super::Error;
use super::proto::{GraphProto, ModelProto};
use super::wire::{self, Fault, Scan};

/// Is a parsed ONNX file.
///
/// Weights are views into the bytes that it was parsed from, which it keeps.
#[derive(Clone, Debug)]
pub struct Model {
    pub(super) proto: ModelProto,
    pub(super) bytes: Bytes,
    /// What was odd about the bytes.
    pub(super) scan: Scan,
}

impl Model {
    /// Reads an ONNX file.
    ///
    /// Errors: the bytes are empty, cut short, something else, nested or grown beyond what decoding may take.
    pub fn parse(bytes: Bytes) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        read(&bytes).map_err(|error| match foreign_kind(&bytes) {
            Some(kind) => Error::Foreign { kind },
            None => error,
        })
    }

    /// Gives the file as it was parsed.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// Gives where in the file a part of it lies; `None` for bytes of elsewhere.
    pub fn offset_of(&self, part: &Bytes) -> Option<u64> {
        let (file, part) = (self.bytes.as_ptr_range(), part.as_ptr_range());
        let inside = file.contains(&part.start) && part.end <= file.end;
        inside.then(|| (part.start.addr() - file.start.addr()) as u64)
    }

    /// Gives the messages of the file.
    pub fn proto(&self) -> &ModelProto {
        &self.proto
    }

    /// Gives the main graph.
    pub(super) fn graph(&self) -> &GraphProto {
        self.proto.graph.as_ref().expect("parse refuses a model without one")
    }
}

fn read(bytes: &Bytes) -> Result<Model, Error> {
    let scan = wire::scan(bytes).map_err(|fault| match fault {
        Fault::Truncated { missing_bytes, .. } => Error::Truncated { missing_bytes },
        fault => Error::Wire(fault),
    })?;
    let proto = ModelProto::decode(bytes.clone()).map_err(Error::Decode)?;
    if proto.graph.is_none() {
        return Err(Error::NoGraph);
    }
    if proto.ir_version() < 1 {
        return Err(Error::NoIrVersion);
    }
    Ok(Model {
        proto,
        bytes: bytes.clone(),
        scan,
    })
}

/// Recognizes what people hand over in place of an ONNX file.
fn foreign_kind(bytes: &[u8]) -> Option<&'static str> {
    const STARTS: &[(&[u8], &str)] = &[
        (
            b"version https://git-lfs",
            "a Git LFS pointer: `git lfs pull` fetches the file itself",
        ),
        (
            b"PK\x03\x04",
            "a zip archive, as PyTorch, Keras and Core ML packages are",
        ),
        (b"\x80\x02", "a Python pickle, as old PyTorch files are"),
        (b"\x80\x04", "a Python pickle"),
        (b"\x89HDF\r\n", "an HDF5 file, as Keras writes"),
        (b"GGUF", "a GGUF file"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"\x28\xb5\x2f\xfd", "a zstd archive"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"\x7fELF", "an executable"),
        (b"<!DOCTYPE", "a web page"),
        (b"<html", "a web page"),
    ];
    if bytes.get(4..8) == Some(b"ORTM") {
        return Some("a model in ONNX Runtime's own .ort format");
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Some("a TensorFlow Lite model");
    }
    if let Some((_, kind)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Some(kind);
    }
    // Eight bytes of length and a JSON object.
    if bytes.get(8) == Some(&b'{') && bytes.get(4..8) == Some(&[0; 4]) {
        return Some("a safetensors file: weights without a graph");
    }
    let head = &bytes[..bytes.len().min(512)];
    let text = head
        .iter()
        .all(|byte| (b' '..=b'~').contains(byte) || b"\t\r\n".contains(byte));
    text.then_some("a text file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_onnx_file_is_named() {
        let kind = |bytes: &[u8]| match Model::parse(Bytes::copy_from_slice(bytes)) {
            Err(Error::Foreign { kind }) => kind,
            other => panic!("{other:?}"),
        };
        assert!(kind(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n").contains("Git LFS"));
        assert!(kind(b"PK\x03\x04\x14\0\0\0").contains("zip"));
        assert!(kind(b"{\"model\": 1}\n").contains("text"));
        assert!(kind(b"\x10\0\0\0\0\0\0\0{\"a\":{}").contains("safetensors"));
    }

    #[test]
    fn empty_and_headless_files_are_refused() {
        assert!(matches!(Model::parse(Bytes::new()), Err(Error::Empty)));
        // An ir_version alone, then a graph alone.
        assert!(matches!(Model::parse(Bytes::from_static(&[8, 8])), Err(Error::NoGraph)));
        assert!(matches!(
            Model::parse(Bytes::from_static(&[0x3a, 0])),
            Err(Error::NoIrVersion)
        ));
    }

    #[test]
    fn weights_are_not_copied() {
        let weights = vec![7u8; 1 << 20];
        let proto = ModelProto {
            ir_version: Some(8),
            graph: Some(GraphProto {
                initializer: vec![crate::onnx::proto::TensorProto {
                    raw_data: Some(weights.into()),
                    ..Default::default()
                }],
                ..Default::default()
            }),
            ..Default::default()
        };
        let bytes = Bytes::from(proto.encode_to_vec());
        let model = Model::parse(bytes.clone()).expect("well formed");
        let raw = model.graph().initializer[0].raw_data.clone().expect("raw data");
        assert!(bytes.as_ptr_range().contains(&raw.as_ptr()));
    }
}
