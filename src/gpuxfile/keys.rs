//! Every key of the format, section by section, in canonical order.

pub(super) const ROOT_KEYS: &[&str] = &[
    "apiVersion",
    "name",
    "version",
    "description",
    "licenses",
    "authors",
    "model",
    "models",
    "inputs",
    "outputs",
    "files",
    "runtime",
    "serving",
    "preprocessing",
    "postprocessing",
    "metadata",
];
pub(super) const MODEL_KEYS: &[&str] = &["source"];
pub(super) const PORT_KEYS: &[&str] = &[
    "name",
    "type",
    "shape",
    "description",
    "labels",
    "required",
    "max_length",
];
pub(super) const RUNTIME_KEYS: &[&str] = &["provider", "provider_options", "threads", "timeout", "memory"];
pub(super) const SERVING_KEYS: &[&str] = &[
    "host",
    "port",
    "max_batch_size",
    "batch_size",
    "max_queue_delay",
    "timeout",
    "instances",
    "max_workers",
];
/// What the short mapping form of `preprocessing` may hold.
pub(super) const PREPROCESSING_KEYS: &[&str] = &["tokenizer", "max_length", "padding", "resize", "normalize"];

/// Gives each section with its keys; the top of the file is the section `""`.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", ROOT_KEYS),
    ("model", MODEL_KEYS),
    ("inputs", PORT_KEYS),
    ("runtime", RUNTIME_KEYS),
    ("serving", SERVING_KEYS),
    ("preprocessing", PREPROCESSING_KEYS),
];
