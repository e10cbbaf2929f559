/// Says which text or document was refused, and why.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A text is not a digest.
    #[error("`{text}` is not a digest: {problem}")]
    Digest {
        /// The text, escaped and cut.
        text: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// A text is not a reference, or not a part of one.
    #[error("`{text}` is not a {part}: {problem}")]
    Reference {
        /// `reference`, `tag`, `name` or `host`.
        part: &'static str,
        /// The text, escaped and cut, without what may be a password.
        text: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// A text is not a media type.
    #[error("`{text}` is not a media type: {problem}")]
    MediaType {
        /// The text, escaped and cut.
        text: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// The path of a file in an artifact is not safe.
    #[error("file path `{text}` is refused: {problem}")]
    FilePath {
        /// The text, escaped and cut.
        text: String,
        /// The rule that it breaks.
        problem: &'static str,
    },
    /// Two files of an artifact would be one file on some systems.
    #[error("file paths `{first}` and `{second}` are one file where case or Unicode form does not count")]
    SamePath {
        /// The path that came first.
        first: String,
        /// The path that collides with it.
        second: String,
    },
    /// A document is larger than any honest one.
    #[error("the {kind} has {size_bytes} bytes; at most {limit_bytes} are read")]
    TooLarge {
        /// What was read: `manifest` or `index`.
        kind: &'static str,
        /// The size of the document.
        size_bytes: u64,
        /// The size that is still read.
        limit_bytes: u64,
    },
    /// A document is not JSON, names a key twice, nests too deep, or lacks what its kind must have.
    #[error("the {kind} cannot be read")]
    Json {
        /// What was read: `manifest` or `index`.
        kind: &'static str,
        /// What is wrong, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// A document has both `layers` and `manifests`, and could be read as two different things.
    #[error("the document has both `layers` (or `config`) and `manifests`: it must be a manifest or an index")]
    Ambiguous,
    /// A document is neither a manifest nor an index.
    #[error("the document is neither an OCI manifest nor an OCI index")]
    NotOci,
    /// The document's own media type is not what was said about it.
    #[error("the document says that it is `{found}`, but it came as `{declared}`")]
    OtherMediaType {
        /// What a header or a descriptor said.
        declared: String,
        /// What the document says.
        found: String,
    },
    /// The document has a `schemaVersion` other than 2.
    #[error("the {kind} has schemaVersion {found}; only 2 is read")]
    SchemaVersion {
        /// What was read: `manifest` or `index`.
        kind: &'static str,
        /// The version that it has.
        found: u64,
    },
    /// The content carried in a descriptor is not what the descriptor names.
    #[error("the `data` of descriptor {digest} is not the content it names")]
    EmbeddedData {
        /// The digest of the descriptor.
        digest: String,
    },
}

/// Makes a text safe to print: control characters escaped, at most 100 characters.
pub(super) fn shown(text: &str) -> String {
    let escaped = text.escape_debug().to_string();
    match escaped.char_indices().nth(100) {
        Some((at, _)) => format!("{}…", &escaped[..at]),
        None => escaped,
    }
}
