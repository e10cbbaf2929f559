//! What the protocol says of a server and its models, whatever it is spoken over.

use super::Profile;

/// What the server can do beyond the protocol, by the names of Triton's extensions.
pub(super) const EXTENSIONS: [&str; 3] = ["binary_tensor_data", "model_repository", "statistics"];

/// Names the header, and the metadata of gRPC, by which requests that are to be answered by one version say so.
pub(super) const SESSION: &str = "x-gpux-session";

/// Gives the name of what runs a model.
pub(super) fn platform(model: &Profile) -> String {
    format!("onnx_{}", model.provider())
}
