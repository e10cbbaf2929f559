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
    "generation",
    "metadata",
];
pub(super) const GENERATION_KEYS: &[&str] = &[
    "tokenizer",
    "max_tokens",
    "start",
    "end",
    "forced",
    "suppress",
    "suppress_first",
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

/// The steps of `preprocessing`.
pub(super) const INPUT_STEPS: &[&str] = &[
    "image",
    "resize",
    "center_crop",
    "pad",
    "convert",
    "invert",
    "rescale",
    "normalize",
    "tensor",
    "tokenize",
    "sound",
    "standardize",
    "frames",
    "log_mel",
    "mfcc",
];
/// The steps of `postprocessing`.
pub(super) const OUTPUT_STEPS: &[&str] = &[
    "softmax",
    "sigmoid",
    "argmax",
    "top_k",
    "threshold",
    "mean_pool",
    "cls_pool",
    "l2_normalize",
    "cosine_similarity",
    "detect",
    "mask",
    "decode_tokens",
    "ctc",
    "template",
];

/// Gives each step that has options with their keys.
pub const STEP_KEYS: &[(&str, &[&str])] = &[
    ("image", &["color", "background"]),
    (
        "resize",
        &["shortest", "size", "letterbox", "filter", "antialias", "fill"],
    ),
    ("center_crop", &["height", "width"]),
    ("pad", &["size", "fill", "position"]),
    ("normalize", &["mean", "std"]),
    ("tensor", &["layout", "type"]),
    (
        "tokenize",
        &[
            "tokenizer",
            "max_length",
            "truncation",
            "padding",
            "padding_side",
            "pad_token",
            "special_tokens",
            "ids",
            "mask",
            "types",
        ],
    ),
    ("sound", &["rate", "seconds"]),
    ("frames", &["size", "hop"]),
    (
        "log_mel",
        &[
            "size", "hop", "bands", "low", "high", "scale", "even", "edge", "log", "range",
        ],
    ),
    (
        "mfcc",
        &[
            "count", "size", "hop", "bands", "low", "high", "scale", "even", "edge", "log", "range",
        ],
    ),
    ("top_k", &["k"]),
    ("threshold", &["at"]),
    ("mean_pool", &["mask"]),
    (
        "detect",
        &[
            "form",
            "scores",
            "classes",
            "order",
            "score",
            "iou",
            "limit",
            "per_class",
        ],
    ),
    ("decode_tokens", &["tokenizer", "skip_special"]),
    ("ctc", &["blank", "delimiter", "tokenizer"]),
];

/// Gives the keys that a step's options may have.
pub(super) fn step_keys(step: &str) -> &'static [&'static str] {
    let found = STEP_KEYS.iter().find(|(name, _)| *name == step);
    found.map_or(&[], |(_, keys)| keys)
}

/// Gives each section with its keys; the top of the file is the section `""`.
pub const KEYS: &[(&str, &[&str])] = &[
    ("", ROOT_KEYS),
    ("model", MODEL_KEYS),
    ("inputs", PORT_KEYS),
    ("runtime", RUNTIME_KEYS),
    ("serving", SERVING_KEYS),
    ("preprocessing", PREPROCESSING_KEYS),
    ("generation", GENERATION_KEYS),
];
