//! What is asked, and what goes wrong then.

/// What a request is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Ping,
    Token,
    Manifest,
    Blob,
    /// A blob on the second origin.
    Elsewhere,
    UploadStart,
    Upload,
    Tags,
    Referrers,
    Other,
}

/// One request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    pub kind: Kind,
    pub method: String,
    /// Path and query.
    pub target: String,
    pub headers: Vec<(String, String)>,
    pub body_bytes: u64,
    /// When it was answered.
    pub at: std::time::Instant,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
    }
}

/// One misdeed.
#[derive(Clone, Debug)]
pub enum Fault {
    /// The connection is cut after this many bytes of the body.
    CutAfter(u64),
    /// The body ends early and Content-Length says so.
    ShortBy(u64),
    /// The body goes on for this many bytes and Content-Length says so.
    LongBy(u64),
    /// One bit of the byte at this offset is wrong.
    FlipAt(u64),
    /// A Range is answered with 200 and the whole blob.
    WholeForRange,
    /// The Content-Range names bytes that were not asked for.
    WrongContentRange,
    /// The total in Content-Range is wrong.
    WrongTotal,
    /// The ETag changes with each answer.
    RestlessEtag,
    /// Nothing more comes after this many bytes, and the connection stays open.
    StallAfter(u64),
    /// One byte a second.
    Trickle,
    /// A status, with headers, and a small body.
    Status(u16, Vec<(String, String)>),
    /// A status with a body.
    Body(u16, Vec<(String, String)>, Vec<u8>),
    /// The connection is closed before any answer.
    Hangup,
    /// A redirect.
    Redirect(String),
    /// An upload answered without Location, or with one elsewhere.
    Location(Option<String>),
    /// The digest header of the answer is wrong.
    WrongDigestHeader,
    /// A HEAD says that the blob is there.
    LyingHead,
    /// A body that never ends.
    Endless,
}

pub(super) struct Planned {
    pub kind: Kind,
    pub method: Option<&'static str>,
    pub skip: u64,
    pub times: u64,
    pub fault: Fault,
}
