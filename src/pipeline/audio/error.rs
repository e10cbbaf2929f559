use super::Container;

/// What is read, for messages.
const READ: &str = "WAV, FLAC, MP3, Ogg Vorbis and AAC are";

/// Says why bytes are no sound, or a sound cannot be made into numbers.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum Error {
    /// There are no bytes.
    #[error("the file is empty")]
    EmptyFile,
    /// The bytes are known to be something else.
    #[error("this is {found}, which is not read as a sound; {READ}")]
    WrongType { found: &'static str },
    /// The bytes are of no known form.
    #[error("this is no sound of a known form; {READ}")]
    UnknownType,
    /// The file has no sound in it, or one in a form that is not decoded.
    #[error("the {container} file holds no sound that can be decoded ({reason})")]
    Codec { container: Container, reason: String },
    /// The bytes contradict themselves.
    #[error("the {container} file is damaged {at_seconds:.2} s into the sound ({reason})")]
    Damaged {
        container: Container,
        at_seconds: f64,
        reason: String,
    },
    /// The file ends before the sound does.
    #[error(
        "the {container} file is cut off: it has {found_seconds:.2} s of the {declared_seconds:.2} s that it declares"
    )]
    CutOff {
        container: Container,
        found_seconds: f64,
        declared_seconds: f64,
    },
    /// The file ends before the sound begins.
    #[error("the {container} file ends within its header")]
    NoData { container: Container },
    /// There is a header and nothing to hear.
    #[error("the sound has a length of zero")]
    NoSamples,
    /// The sound is too long to be held.
    #[error("the sound is longer than the limit of {limit_seconds} s")]
    TooLong { limit_seconds: f64 },
    /// The sample rate is one that no recording has.
    #[error("the sound has a sample rate of {rate} Hz; {least} to {most} Hz are read")]
    Rate { rate: u32, least: u32, most: u32 },
    /// The sound changes its rate or its channels on the way.
    #[error("the sound changes from {} Hz and {} channels to {} Hz and {} channels", .from.0, .from.1, .to.0, .to.1)]
    Changes { from: (u32, usize), to: (u32, usize) },
    /// A sample of a floating-point file is NaN or infinite.
    #[error("sample {at} of the sound is not a finite number")]
    NotFinite { at: usize },
}
