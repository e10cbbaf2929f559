use crate::tensor::cast::At;
use crate::tensor::{FitError, IndexPath, TensorError, TensorName};

/// Says why bytes are not the `.npy` file that was wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bytes do not begin as an `.npy` file does.
    #[error("this is not an .npy file: it does not begin with \\x93NUMPY")]
    Magic,
    /// The format has a version that nobody has defined yet.
    #[error("the .npy format {major}.{minor} is not known; 1.0, 2.0 and 3.0 are")]
    Version { major: u8, minor: u8 },
    /// The bytes end within the header.
    #[error("the .npy header ends after {found_bytes} bytes of {expected_bytes}")]
    HeaderTruncated { expected_bytes: u64, found_bytes: u64 },
    /// The header is far longer than any array needs.
    #[error("the .npy header has {found_bytes} bytes; more than {limit_bytes} are refused")]
    HeaderLength { found_bytes: u64, limit_bytes: u64 },
    /// The header is not the Python dictionary that the format asks for.
    #[error("the .npy header is malformed at byte {at}: expected {expected}")]
    HeaderSyntax { at: usize, expected: &'static str },
    /// The header has a key twice, or one that the format does not have.
    #[error("the .npy header has {key:?} where `descr`, `fortran_order` and `shape` stand once each")]
    HeaderKey { key: String },
    /// The header lacks a key.
    #[error("the .npy header has no `{0}`")]
    HeaderMissing(&'static str),
    /// The array holds Python objects.
    #[error("the array holds Python objects, which only unpickling reads, and that runs code from the file")]
    Objects,
    /// The array holds records.
    #[error("the array holds records of several fields, and a tensor has elements of one type")]
    Structured,
    /// The element type is not one that tensors hold.
    #[error("the array has elements of type {0:?}, which tensors do not hold")]
    Descr(String),
    /// The array holds 2-byte items without a type.
    #[error("the array has untyped items of 2 bytes, which are read as bfloat16 only where that is declared")]
    Untyped,
    /// The shape makes no tensor.
    #[error("the array makes no tensor")]
    Shape(#[source] TensorError),
    /// There are more or fewer bytes of data than the shape needs.
    #[error("the array needs {expected_bytes} bytes, and {found_bytes} follow the header")]
    Length { expected_bytes: u64, found_bytes: u64 },
    /// The size of the array does not fit in memory.
    #[error("the array of shape {shape:?} with {item_bytes} bytes an element does not fit in memory")]
    Overflow { shape: Vec<usize>, item_bytes: usize },
    /// A bool is neither 0 nor 1.
    #[error("the bool{} is the byte {byte}, neither 0 nor 1", At(path))]
    Bool { path: IndexPath, byte: u8 },
    /// A string is not Unicode.
    #[error("the string{} is not valid Unicode", At(path))]
    Text { path: IndexPath },
    /// The array is not what the port takes.
    #[error(transparent)]
    Fit(#[from] FitError),
    /// The array is not in a type that the port can take at all.
    #[error("cannot read the array for `{name}`")]
    For {
        name: TensorName,
        #[source]
        source: Box<Error>,
    },
}

/// Says why a tensor cannot be an `.npy` file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A string ends with NUL, which NumPy drops.
    #[error("the string{} ends with NUL, which an .npy file cannot keep", At(path))]
    TrailingNul { path: IndexPath },
    /// Padding all strings to the longest makes too large a file.
    #[error("an .npy file pads every string to the longest, {characters} characters, and {count} of them are too many")]
    Padding { characters: usize, count: usize },
}
