use super::Error;
use crate::tensor::{DType, Dim, Port};

/// Each type that tensors hold, with the protocol's name for it.
const TABLE: [(DType, &str); 14] = [
    (DType::Bool, "BOOL"),
    (DType::U8, "UINT8"),
    (DType::U16, "UINT16"),
    (DType::U32, "UINT32"),
    (DType::U64, "UINT64"),
    (DType::I8, "INT8"),
    (DType::I16, "INT16"),
    (DType::I32, "INT32"),
    (DType::I64, "INT64"),
    (DType::F16, "FP16"),
    (DType::BF16, "BF16"),
    (DType::F32, "FP32"),
    (DType::F64, "FP64"),
    (DType::String, "BYTES"),
];

/// Gives the protocol's name of a type; one that the protocol does not know goes by its NumPy name in capitals.
pub fn datatype(dtype: DType) -> String {
    match TABLE.iter().find(|row| row.0 == dtype) {
        Some(row) => row.1.to_owned(),
        None => dtype.name().to_ascii_uppercase(),
    }
}

/// Finds a type by the protocol's name.
///
/// Errors: [`Error::Datatype`] for a name that is not the protocol's.
pub fn from_datatype(name: &str) -> Result<DType, Error> {
    match TABLE.iter().find(|row| row.1 == name) {
        Some(row) => Ok(row.0),
        None => Err(Error::Datatype(name.to_owned())),
    }
}

/// Gives a declared shape as the protocol has it: -1 is any size. A rank that is open is one dimension of any size.
pub fn shape(port: &Port) -> Vec<i64> {
    let dims = port.shape.dims().unwrap_or(&[Dim::Unknown]);
    let size = |dim: &Dim| match dim {
        Dim::Fixed(size) => i64::try_from(*size).unwrap_or(i64::MAX),
        Dim::Symbol(_) | Dim::Unknown => -1,
    };
    dims.iter().map(size).collect()
}
