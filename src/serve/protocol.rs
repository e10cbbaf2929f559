//! What the protocol says of a server and its models, whatever it is spoken over.

use super::Model;

/// What the server can do beyond the protocol, by the names of Triton's extensions.
pub(super) const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_repository", "statistics"];

/// Gives the name of what runs a model.
pub(super) fn platform(model: &Model) -> String {
    format!("onnx_{}", model.provider())
}
