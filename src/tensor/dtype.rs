use std::fmt;
use std::str::FromStr;

/// Names the element type of a tensor.
///
/// Every type that ONNX defines has a name here, so that a signature can always be printed; [`Data`](super::Data)
/// holds those that the engines take (see [`DType::is_held`]).
///
/// Source: `TensorProto.DataType` in onnx.proto; the names are NumPy's (ml_dtypes' where NumPy has none).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum DType {
    F16,
    BF16,
    F32,
    F64,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
    Bool,
    String,
    Complex64,
    Complex128,
    F8E4M3FN,
    F8E4M3FNUZ,
    F8E5M2,
    F8E5M2FNUZ,
    F8E8M0,
    F4E2M1,
    I4,
    U4,
    I2,
    U2,
}

/// Each type with its number in onnx.proto, its NumPy name and its size in bits.
const TABLE: &[(DType, i32, &str, usize)] = &[
    (DType::F32, 1, "float32", 32),
    (DType::U8, 2, "uint8", 8),
    (DType::I8, 3, "int8", 8),
    (DType::U16, 4, "uint16", 16),
    (DType::I16, 5, "int16", 16),
    (DType::I32, 6, "int32", 32),
    (DType::I64, 7, "int64", 64),
    (DType::String, 8, "string", 0),
    (DType::Bool, 9, "bool", 8),
    (DType::F16, 10, "float16", 16),
    (DType::F64, 11, "float64", 64),
    (DType::U32, 12, "uint32", 32),
    (DType::U64, 13, "uint64", 64),
    (DType::Complex64, 14, "complex64", 64),
    (DType::Complex128, 15, "complex128", 128),
    (DType::BF16, 16, "bfloat16", 16),
    (DType::F8E4M3FN, 17, "float8_e4m3fn", 8),
    (DType::F8E4M3FNUZ, 18, "float8_e4m3fnuz", 8),
    (DType::F8E5M2, 19, "float8_e5m2", 8),
    (DType::F8E5M2FNUZ, 20, "float8_e5m2fnuz", 8),
    (DType::U4, 21, "uint4", 4),
    (DType::I4, 22, "int4", 4),
    (DType::F4E2M1, 23, "float4_e2m1fn", 4),
    (DType::F8E8M0, 24, "float8_e8m0fnu", 8),
    (DType::U2, 25, "uint2", 2),
    (DType::I2, 26, "int2", 2),
];

impl DType {
    /// Gives every type, in the order of onnx.proto.
    pub fn all() -> impl Iterator<Item = DType> {
        TABLE.iter().map(|row| row.0)
    }

    /// Gives the NumPy name, for example `float32`.
    pub fn name(self) -> &'static str {
        self.row().2
    }

    /// Gives the size of one element in bits; 0 for strings, whose elements have no fixed size.
    pub fn bits(self) -> usize {
        self.row().3
    }

    /// Gives the number that onnx.proto uses for the type.
    pub fn onnx(self) -> i32 {
        self.row().1
    }

    /// Finds the type by its number in onnx.proto; `None` for 0 (undefined) and for numbers ONNX does not define.
    pub fn from_onnx(number: i32) -> Option<DType> {
        TABLE.iter().find(|row| row.1 == number).map(|row| row.0)
    }

    /// Tells whether a [`Tensor`](super::Tensor) can hold elements of the type.
    pub fn is_held(self) -> bool {
        use DType::*;
        matches!(
            self,
            F16 | BF16 | F32 | F64 | I8 | I16 | I32 | I64 | U8 | U16 | U32 | U64 | Bool | String
        )
    }

    fn row(self) -> &'static (DType, i32, &'static str, usize) {
        TABLE
            .iter()
            .find(|row| row.0 == self)
            .expect("the table has every type")
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Says that a text names no element type.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("`{0}` is not a tensor type")]
pub struct UnknownDType(pub String);

impl FromStr for DType {
    type Err = UnknownDType;

    /// Reads a NumPy name, ONNX's own name (`FLOAT`, `tensor(float)`) or a short form such as `f32`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let lower = text.trim().to_ascii_lowercase();
        let inner = lower
            .strip_prefix("tensor(")
            .and_then(|rest| rest.strip_suffix(')'))
            .unwrap_or(&lower);
        if let Some(row) = TABLE.iter().find(|row| row.2 == inner) {
            return Ok(row.0);
        }
        Ok(match inner {
            "float" | "f32" | "fp32" => DType::F32,
            "double" | "f64" | "fp64" => DType::F64,
            "half" | "f16" | "fp16" => DType::F16,
            "bf16" => DType::BF16,
            "i8" => DType::I8,
            "i16" => DType::I16,
            "i32" | "int" => DType::I32,
            "i64" | "long" => DType::I64,
            "u8" => DType::U8,
            "u16" => DType::U16,
            "u32" => DType::U32,
            "u64" => DType::U64,
            "boolean" => DType::Bool,
            "str" | "object" => DType::String,
            _ => return Err(UnknownDType(text.to_owned())),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_found_again_by_name_and_by_number() {
        for dtype in DType::all() {
            assert_eq!(dtype.name().parse(), Ok(dtype));
            assert_eq!(DType::from_onnx(dtype.onnx()), Some(dtype));
        }
        assert_eq!(DType::from_onnx(0), None);
    }

    #[test]
    fn other_spellings_are_read() {
        assert_eq!("tensor(float)".parse(), Ok(DType::F32));
        assert_eq!("FLOAT16".parse(), Ok(DType::F16));
        assert!("floaty".parse::<DType>().is_err());
    }
}
