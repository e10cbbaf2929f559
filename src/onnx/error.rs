use super::check::{CALL_DEPTH_MAX, EXPANDED_NODES_MAX, IR_VERSION_MAX, OPSET_MAX};
use super::{DimsFault, Label, Location, LocationFault, SparseFault, WireFault};
use crate::tensor::DType;

/// Says why a file is no ONNX model, or none that an engine may see.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file has no bytes.
    #[error("the file is empty")]
    Empty,
    /// The file is of another format.
    #[error("not an ONNX model but {kind}")]
    Foreign { kind: &'static str },
    /// The bytes end too early.
    #[error("the file ends {missing_bytes} bytes before its last field does: it is cut short, or no ONNX model")]
    Truncated { missing_bytes: u64 },
    /// The bytes break the wire format.
    #[error("not an ONNX model, or a damaged one")]
    Wire(#[source] WireFault),
    /// The messages do not decode.
    #[error("not an ONNX model, or a damaged one")]
    Decode(#[source] prost::DecodeError),
    /// The file has no graph.
    #[error("not an ONNX model: it has no graph")]
    NoGraph,
    /// The file does not say which version of the format it is in.
    #[error("not an ONNX model: it has no IR version")]
    NoIrVersion,

    /// An input or output is no tensor.
    #[error("`{port}` is {kind}, and only tensors can be passed")]
    PortKind { port: Label, kind: &'static str },
    /// An input or output has no type.
    #[error("`{port}` has no type")]
    PortUntyped { port: Label },
    /// An input or output has an element type that ONNX does not define.
    #[error("`{port}` has element type {number}, which ONNX does not define")]
    PortType { port: Label, number: i32 },

    /// A tensor has an element type that ONNX does not define.
    #[error("{tensor} has element type {number}, which ONNX does not define")]
    TensorType { tensor: Label, number: i32 },
    /// A tensor's dimensions are none.
    #[error("{tensor} {fault}")]
    Dims { tensor: Label, fault: DimsFault },
    /// A tensor's bytes overflow.
    #[error("{tensor} has {elements} elements of {dtype}: their size overflows")]
    TensorSize { tensor: Label, elements: u64, dtype: DType },

    /// A location is no path within the model's folder.
    #[error("{tensor} has its data in `{location}`: {fault}")]
    Location {
        tensor: Label,
        location: Label,
        fault: LocationFault,
    },
    /// A tensor is said to lie in another file, and no file is named.
    #[error("{tensor} has its data in another file, and does not say which")]
    NoLocation { tensor: Label },
    /// External data says a thing twice.
    #[error("{tensor} has two entries `{key}` in its external data")]
    ExternalTwice { tensor: Label, key: Label },
    /// An offset or a length is no number from 0 to 2^64 − 1.
    #[error("{tensor} has external data with {key} `{value}`, which is not a number of bytes")]
    ExternalNumber {
        tensor: Label,
        key: &'static str,
        value: Label,
    },
    /// External data brings weights in an engine's own layout, which it would believe.
    #[error("{tensor} has weights prepacked by ONNX Runtime beside its data; save the model without them")]
    Prepacked { tensor: Label },
    /// External data of strings, which have no stored size.
    #[error("{tensor} has strings in another file, which ONNX does not allow")]
    ExternalStrings { tensor: Label },
    /// The length of external data is not what the tensor needs.
    #[error("{tensor} needs {needed_bytes} bytes, and its external data says {length_bytes}")]
    ExternalLength {
        tensor: Label,
        needed_bytes: u64,
        length_bytes: u64,
    },
    /// External data is in a file that did not come with the model.
    #[error("{tensor} has its data in `{location}`, which is not a file of the model")]
    NotInBundle { tensor: Label, location: Location },
    /// External data runs past the end of its file.
    #[error(
        "{tensor} has its data in `{location}`, {length_bytes} bytes from {offset_bytes} on, and the file has \
         {file_bytes}"
    )]
    PastEnd {
        tensor: Label,
        location: Location,
        offset_bytes: u64,
        length_bytes: u64,
        file_bytes: u64,
    },

    /// A tensor's data is in segments, which no engine reads.
    #[error("{tensor} is split into segments, which is not supported")]
    Segment { tensor: Label },
    /// A tensor's data is written in several places.
    #[error("{tensor} has its data in two places")]
    TwoSources { tensor: Label },
    /// A tensor's data is in a field that is not for its type.
    #[error("{tensor} is of {dtype}, and has its data in `{field}`")]
    WrongField {
        tensor: Label,
        dtype: DType,
        field: &'static str,
    },
    /// A tensor's numbers end in the middle of one.
    #[error("{tensor} has data that ends within a number")]
    Packed { tensor: Label },
    /// A tensor has more or less raw data than its type and dimensions need.
    #[error("{tensor} needs {needed_bytes} bytes, and has {found_bytes}")]
    RawLength {
        tensor: Label,
        needed_bytes: u64,
        found_bytes: u64,
    },
    /// A tensor has more or fewer numbers than its type and dimensions need.
    #[error("{tensor} needs {needed} numbers, and has {found}")]
    ElementCount { tensor: Label, needed: u64, found: u64 },
    /// The parts of a sparse tensor do not fit together.
    #[error("{tensor} is no sparse tensor: {fault}")]
    Sparse { tensor: Label, fault: SparseFault },

    /// The file has a field that is not known here, and might name files that are not seen.
    #[error("the file has field {field} in {message}, which ONNX does not have up to IR version {IR_VERSION_MAX}")]
    UnknownField { message: &'static str, field: u32 },
    /// The file says a thing twice, and readers differ in which they believe.
    #[error("the file has field {field} of {message} twice in one message")]
    DoubledField { message: &'static str, field: u32 },
    /// The file is of a version that may have fields not known here.
    #[error("the file is of IR version {found}; versions up to {IR_VERSION_MAX} are read")]
    IrVersion { found: i64 },
    /// The file is for training.
    #[error("the file has training information; export the model for inference")]
    Training,
    /// The main graph gives nothing.
    #[error("the graph has no output")]
    NoOutput,
    /// Two initializers of one graph have one name.
    #[error("there are two initializers `{name}`")]
    InitializerTwice { name: Label },
    /// A value comes from two places.
    #[error("`{name}` is given twice")]
    ValueTwice { name: Label },

    /// An operator set is imported twice.
    #[error("operator set `{domain}` is imported twice")]
    OpsetTwice { domain: Label },
    /// An operator set's version is no version.
    #[error("operator set `{domain}` is imported in version {version}; versions are 1 to {OPSET_MAX}")]
    OpsetVersion { domain: Label, version: i64 },
    /// A node's operator set is not imported.
    #[error("{node} is of operator set `{domain}`, which the model does not import")]
    OpsetMissing { node: Label, domain: Label },
    /// A node's operator is of a domain that is neither known nor defined in the model.
    #[error(
        "{node} is of domain `{domain}`; operators are of ai.onnx, ai.onnx.ml or com.microsoft, or functions that \
         the model defines"
    )]
    Domain { node: Label, domain: Label },
    /// A node is an opaque program for one provider, often in another file.
    #[error("{node} holds a program compiled for one accelerator; export the model without it")]
    Compiled { node: Label },
    /// A node has two attributes of one name.
    #[error("{node} has two attributes `{attribute}`")]
    AttributeTwice { node: Label, attribute: Label },
    /// An attribute has values of several types, or none that its type says.
    #[error("{node} has an attribute `{attribute}` whose value is not of the type it says")]
    AttributeKind { node: Label, attribute: Label },

    /// Two functions have one name.
    #[error("there are two functions `{function}`")]
    FunctionTwice { function: Label },
    /// A function calls itself.
    #[error("function `{function}` calls itself")]
    Recursion { function: Label },
    /// Functions call functions too deeply.
    #[error("function `{function}` calls functions more than {CALL_DEPTH_MAX} deep")]
    CallDepth { function: Label },
    /// The model has too many nodes once its functions are expanded.
    #[error("with its functions expanded the model has {nodes} nodes; at most {EXPANDED_NODES_MAX} are run")]
    Expansion { nodes: u64 },
}
