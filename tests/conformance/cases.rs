//! Reads the packs of cases that `make_node_data.py` writes.

use std::path::PathBuf;

use gpux::tensor::{DType, Data, Tensor};
use half::{bf16, f16};
use serde::Deserialize;
use sha2::{Digest, Sha256};

/// Is one case: a model, what it is given and what it must give.
pub struct Case {
    pub name: String,
    pub rtol: f64,
    pub atol: f64,
    /// Why the tensors of gpux cannot hold what the case brings; then it has no tensors.
    pub unheld: Option<String>,
    /// The opsets in which the operator means the same, where the case has one node of a standard domain.
    pub since: Option<i64>,
    pub until: Option<i64>,
    pub model: Vec<u8>,
    pub inputs: Vec<Tensor>,
    pub outputs: Vec<Tensor>,
}

#[derive(Deserialize)]
struct Stamp {
    stamp: String,
}

#[derive(Deserialize)]
struct Header {
    bytes: usize,
    name: String,
    rtol: f64,
    atol: f64,
    unheld: Option<String>,
    since: Option<i64>,
    until: Option<i64>,
    model: usize,
    inputs: Vec<Side>,
    outputs: Vec<Side>,
}

#[derive(Deserialize)]
struct Side {
    dtype: i32,
    shape: Vec<usize>,
    bytes: usize,
    #[serde(default)]
    strings: Vec<String>,
}

/// Names a pack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pack {
    Node,
    Older,
    Probe,
}

impl Pack {
    pub const ALL: [Pack; 3] = [Pack::Node, Pack::Older, Pack::Probe];

    pub fn name(self) -> &'static str {
        match self {
            Pack::Node => "node",
            Pack::Older => "older",
            Pack::Probe => "probe",
        }
    }

    pub fn find(name: &str) -> Pack {
        *Pack::ALL
            .iter()
            .find(|pack| pack.name() == name)
            .expect("a pack's name")
    }

    /// Reads the pack.
    pub fn read(self) -> Vec<Case> {
        let path = folder().join(format!("{}.cases", self.name()));
        let bytes = std::fs::read(&path)
            .unwrap_or_else(|error| panic!("{}: {error}; `make test-deps` writes it", path.display()));
        let (stamp, mut rest): (Stamp, _) = header(&bytes);
        assert_eq!(
            stamp.stamp,
            recipe(),
            "{} is of other scripts; `make test-deps` writes it anew",
            path.display()
        );
        let mut cases = Vec::new();
        while !rest.is_empty() {
            let (header, body): (Header, _) = header(rest);
            let (mut body, tail) = body.split_at(header.bytes);
            let mut blob = |count| {
                let (blob, tail) = body.split_at(count);
                body = tail;
                blob
            };
            cases.push(Case {
                model: blob(header.model).to_vec(),
                inputs: header
                    .inputs
                    .into_iter()
                    .map(|side| tensor(blob(side.bytes), side))
                    .collect(),
                outputs: header
                    .outputs
                    .into_iter()
                    .map(|side| tensor(blob(side.bytes), side))
                    .collect(),
                name: header.name,
                rtol: header.rtol,
                atol: header.atol,
                unheld: header.unheld,
                since: header.since,
                until: header.until,
            });
            rest = tail;
        }
        cases
    }
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target/conformance")
}

/// Reads one header; gives what follows it.
fn header<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> (T, &'a [u8]) {
    let (length, rest) = bytes.split_at(size_of::<u32>());
    let (text, rest) = rest.split_at(u32::from_le_bytes(length.try_into().unwrap()) as usize);
    (serde_json::from_slice(text).unwrap(), rest)
}

/// Gives the SHA-256 of the scripts that make the packs.
fn recipe() -> String {
    let mut hasher = Sha256::new();
    hasher.update(include_bytes!("make_node_data.py"));
    hasher.update(include_bytes!("probes.py"));
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn tensor(bytes: &[u8], side: Side) -> Tensor {
    macro_rules! numbers {
        ($variant:ident, $rust:ty) => {
            Data::$variant(
                bytes
                    .chunks_exact(size_of::<$rust>())
                    .map(|chunk| <$rust>::from_le_bytes(chunk.try_into().unwrap()))
                    .collect(),
            )
        };
    }
    let data = match DType::from_onnx(side.dtype).unwrap() {
        DType::F16 => numbers!(F16, f16),
        DType::BF16 => numbers!(BF16, bf16),
        DType::F32 => numbers!(F32, f32),
        DType::F64 => numbers!(F64, f64),
        DType::I8 => numbers!(I8, i8),
        DType::I16 => numbers!(I16, i16),
        DType::I32 => numbers!(I32, i32),
        DType::I64 => numbers!(I64, i64),
        DType::U8 => numbers!(U8, u8),
        DType::U16 => numbers!(U16, u16),
        DType::U32 => numbers!(U32, u32),
        DType::U64 => numbers!(U64, u64),
        DType::Bool => Data::Bool(bytes.iter().map(|&byte| byte != 0).collect()),
        DType::String => Data::String(side.strings),
        other => panic!("no tensor holds {other}"),
    };
    Tensor::new(side.shape, data).unwrap()
}

/// Says how a tensor differs from the expected one, by the rule of ONNX's own runner.
pub fn difference(found: &Tensor, expected: &Tensor, case: &Case) -> Option<String> {
    if found.dtype() != expected.dtype() || found.shape() != expected.shape() {
        let kind = |tensor: &Tensor| format!("{} {:?}", tensor.dtype(), tensor.shape());
        return Some(format!("{} instead of {}", kind(found), kind(expected)));
    }
    let Some((floats, wanted)) = floats(found).zip(floats(expected)) else {
        let text = |tensor: &Tensor| format!("{:?}", tensor.data()).chars().take(60).collect::<String>();
        return (found.data() != expected.data()).then(|| format!("{} instead of {}", text(found), text(expected)));
    };
    let near =
        |a: f64, b: f64| a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= case.atol + case.rtol * b.abs();
    let far = floats.iter().zip(&wanted).position(|(&a, &b)| !near(a, b))?;
    Some(format!("{} instead of {} at {far}", floats[far], wanted[far]))
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    Some(match tensor.data() {
        Data::F16(elements) => elements.iter().map(|element| element.to_f64()).collect(),
        Data::BF16(elements) => elements.iter().map(|element| element.to_f64()).collect(),
        Data::F32(elements) => elements.iter().map(|&element| f64::from(element)).collect(),
        Data::F64(elements) => elements.clone(),
        _ => return None,
    })
}
