use super::datatype::datatype;
use crate::tensor::json::{self, SyntaxError};
use crate::tensor::{DType, NameError, Shape, TensorError, TensorName};

/// Says why a request is none, or why an answer cannot be written as it is wanted.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The document is not JSON.
    #[error("the request is not JSON")]
    Syntax(#[source] SyntaxError),
    /// A member has another form than the protocol's.
    #[error("`{member}` must be {expected}")]
    Form {
        member: &'static str,
        expected: &'static str,
    },
    /// A member is missing.
    #[error("an entry of `{list}` has no `{member}`")]
    Missing { list: &'static str, member: &'static str },
    /// A list has more entries than any model has inputs.
    #[error("`{list}` has more than {most} entries")]
    TooMany { list: &'static str, most: usize },
    /// Values are nested deeper than any request needs.
    #[error("the request is nested more than {0} deep")]
    Depth(usize),
    /// The protocol has no such type.
    #[error("`{}` is not a datatype of the protocol", .0.escape_debug())]
    Datatype(String),
    /// An input is of another type than the model's.
    #[error("input `{name}` takes {}, and was given {}", datatype(*expected), datatype(*found))]
    InputType {
        name: TensorName,
        expected: DType,
        found: DType,
    },
    /// An input is of another shape than the model's.
    #[error("input `{name}` takes the shape {expected}, and was given {found:?}")]
    InputShape {
        name: TensorName,
        expected: Shape,
        found: Vec<usize>,
    },
    /// The names are not those of the model's inputs.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The model has no such output.
    #[error("there is no output `{}`", TensorName::new(.0.clone()))]
    Output(String),
    /// Elements do not have the type or the form that was said.
    #[error(transparent)]
    Data(#[from] json::Error),
    /// The type has no elements in JSON.
    #[error("`{name}` is {}, which the protocol has in binary form only: give `binary_data_size` or ask for `binary_data`", datatype(*dtype))]
    BinaryOnly { name: TensorName, dtype: DType },
    /// An input has both forms of data or neither.
    #[error("input `{name}` must have either `data` or the parameter `binary_data_size`")]
    OneForm { name: TensorName },
    /// The binary part is shorter or longer than the inputs say.
    #[error("the binary part has {found_bytes} bytes, and the inputs say {said_bytes}")]
    BinaryLength { said_bytes: u64, found_bytes: u64 },
    /// Raw contents do not come for each input.
    #[error("there are {raw} raw contents for {inputs} inputs: either each has them or none")]
    RawCount { inputs: usize, raw: usize },
    /// The header is said to be longer than the body.
    #[error("Inference-Header-Content-Length is {said_bytes}, and the body has {found_bytes} bytes")]
    HeaderLength { said_bytes: usize, found_bytes: usize },
    /// The bytes of an input are not as many as its shape needs.
    #[error("`{name}` of shape {shape:?} takes {needed_bytes} bytes, and has {found_bytes}")]
    InputLength {
        name: TensorName,
        shape: Vec<usize>,
        needed_bytes: u64,
        found_bytes: u64,
    },
    /// Strings are cut short, too few or too many.
    #[error("the strings of `{name}` are not {count}, each behind its length in four bytes")]
    Strings { name: TensorName, count: usize },
    /// A string is not UTF-8.
    #[error("string {at} of `{name}` is not UTF-8")]
    NotText { name: TensorName, at: usize },
    /// A bool is neither 0 nor 1.
    #[error("element {at} of `{name}` is the byte {byte}, and a bool is 0 or 1")]
    Bool { name: TensorName, at: usize, byte: u8 },
    /// The shape makes no tensor.
    #[error("`{name}` makes no tensor")]
    Tensor {
        name: TensorName,
        #[source]
        source: TensorError,
    },
}
