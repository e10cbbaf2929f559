use crate::tensor::{DType, Dim, Shape};

use super::name::NameFault;
use super::paths::PathFault;
use super::source::{Place, Source, Span};
use super::{DEPTH_LIMIT, SIZE_LIMIT_BYTES};

/// Says what is wrong with a GPUXfile, where, and shows the line.
///
/// Prints as `GPUXfile:7:10: what`, then the line with a caret under the place.
#[derive(Debug, thiserror::Error)]
#[error("{place}: {problem}{}", .place.excerpt())]
pub struct Error {
    place: Box<Place>,
    problem: Box<Problem>,
}

impl Error {
    pub(super) fn at(source: &Source, span: Span, problem: Problem) -> Self {
        Error::new(source.place(span), problem)
    }

    pub(super) fn new(place: Place, problem: Problem) -> Self {
        Error {
            place: Box::new(place),
            problem: Box::new(problem),
        }
    }

    /// Gives the place: file, line and column, and the line itself.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Gives what is wrong, without the place.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

/// Says what is wrong, for [`Error`].
#[derive(Debug, thiserror::Error)]
pub enum Problem {
    /// The file is longer than a GPUXfile can be.
    #[error("the file has more than {SIZE_LIMIT_BYTES} bytes, the most of a GPUXfile")]
    TooLarge,
    /// The file is not UTF-8.
    #[error("byte {offset} is not UTF-8{}", utf16_advice(*.utf16))]
    NotUtf8 { offset: usize, utf16: bool },
    /// The file is not YAML.
    #[error("not valid YAML: {}", yaml_message(.0))]
    Yaml(Box<serde_saphyr::Error>),
    /// The file nests, repeats or refers to itself beyond all use.
    #[error("more than a GPUXfile may hold: {0}")]
    TooComplex(Limit),
    /// The file has more than one YAML document.
    #[error("a second YAML document starts here, and a GPUXfile is one")]
    SeveralDocuments,
    /// The file has nothing in it.
    #[error("the file is empty; it needs at least `name` and `model`")]
    Empty,
    /// The file is YAML of another kind.
    #[error("a GPUXfile is a mapping of keys such as `name: resnet50`, and this is {found}")]
    NotMapping { found: &'static str },
    /// A key stands twice in one mapping.
    #[error("`{key}` is given twice; the first is on line {first_line}")]
    DuplicateKey { key: String, first_line: usize },
    /// Two keys of one meaning stand beside each other.
    #[error("`{key}` and `{other}` mean the same; keep one")]
    SameMeaning { key: &'static str, other: &'static str },
    /// A key is not one of the format's.
    #[error("unknown key `{key}`{}", nearest_or_all(.key, .known))]
    UnknownKey { key: String, known: Vec<&'static str> },
    /// A key of the author's choice is too long.
    #[error("the key `{key}` has more than 128 characters")]
    LongKey { key: String },
    /// A key that must be there is not.
    #[error("`{key}` is missing{}", missing_advice(.key))]
    MissingKey { key: String },
    /// A value is of another kind than its key asks for.
    #[error("`{key}` is {expected}, and this is {found}")]
    WrongKind {
        key: String,
        expected: &'static str,
        found: &'static str,
    },
    /// Text without quotes that YAML readers take for a boolean, a number or null.
    #[error("`{key}` is text, and many YAML readers take `{text}` for {taken_for}; write \"{text}\" with quotes")]
    NeedsQuotes {
        key: String,
        text: String,
        taken_for: &'static str,
    },
    /// Text that is empty.
    #[error("`{key}` is empty")]
    EmptyText { key: String },
    /// Text with a character that would act on a terminal.
    #[error("`{key}` has the control character {}", .character.escape_default())]
    ControlCharacter { key: String, character: char },
    /// The format's version is not one that this program reads.
    #[error("apiVersion `{0}` is not known; this gpux reads `gpux/v1`")]
    ApiVersion(String),
    /// The name cannot name an artifact.
    #[error("`{name}` cannot name an artifact: {fault}{}", name_offer(.offer))]
    Name {
        name: String,
        fault: NameFault,
        offer: Option<String>,
    },
    /// The version is not a semantic version.
    #[error("`{text}` is not a semantic version ({reason}); an example is `{example}`")]
    Version {
        text: String,
        reason: semver::Error,
        example: String,
    },
    /// The version is longer than a tag can be.
    #[error("a version makes a tag, and a tag has at most 128 characters; this has {length}")]
    VersionLength { length: usize },
    /// A path cannot be of a file beside the GPUXfile.
    #[error("`{path}` is not a path inside the build context: {fault}")]
    Path { path: String, fault: PathFault },
    /// A pattern in `files` does not parse.
    #[error("`{pattern}` is not a pattern: {reason}")]
    Pattern {
        pattern: String,
        reason: globset::ErrorKind,
    },
    /// The model is said to be somewhere else.
    #[error(
        "`{location}` is not a file; gpux builds from an ONNX file, so export or download it first and give its path"
    )]
    RemoteModel { location: String },
    /// The model is said to be of another format.
    #[error("model format `{0}` cannot be built; gpux takes `onnx`")]
    ModelFormat(String),
    /// A number is outside its range.
    #[error("`{key}` is {text}, and must be a whole number from {least} to {most}")]
    Range {
        key: String,
        text: String,
        least: u64,
        most: u64,
    },
    /// A number is NaN or infinite.
    #[error("`{key}` is {text}, which is not a finite number")]
    NotFinite { key: String, text: String },
    /// A time does not parse.
    #[error("`{key}` is a time such as `30s`, `500ms`, `2m`, `1h` or a number of seconds above zero, and not `{text}`")]
    Duration { key: String, text: String },
    /// A size does not parse.
    #[error("`{key}` is a size such as `2GiB`, `512MB`, `2Gi`, `2G` or a number of bytes above zero, and not `{text}`")]
    Memory { key: String, text: String },
    /// A provider is not one that gpux knows.
    #[error("`{name}` is not a provider{}", nearest_or_all(.name, super::PROVIDERS))]
    Provider { name: String },
    /// A type is not one of ONNX's.
    #[error("`{name}` is not a tensor type{}", nearest_or_all(.name, &dtype_names()))]
    TensorType { name: String },
    /// A dimension is none.
    #[error("a dimension is a whole number, -1 or null for any size, or a name such as `N`; `{text}` is none of these")]
    Dimension { text: String },
    /// An input or output is listed twice.
    #[error("{kind} `{name}` is listed twice; the first is on line {first_line}")]
    PortTwice {
        kind: PortKind,
        name: String,
        first_line: usize,
    },
    /// The model has no such input or output.
    #[error("the model has no {kind} `{name}`{}", nearest_or_all_owned(.name, .known, *.kind))]
    NoSuchPort {
        kind: PortKind,
        name: String,
        known: Vec<String>,
    },
    /// The model's type is another.
    #[error("{kind} `{name}` is {expected} in the model, and not {declared}")]
    PortType {
        kind: PortKind,
        name: String,
        expected: DType,
        declared: DType,
    },
    /// The model's shape has another rank.
    #[error("{kind} `{name}` has {} in the model, {expected}; {} here", dims(*.expected_rank), declared_dims(*.declared_rank))]
    PortRank {
        kind: PortKind,
        name: String,
        expected: Shape,
        expected_rank: usize,
        declared_rank: usize,
    },
    /// The model fixes the size of a dimension to another.
    #[error("dimension {axis} of {kind} `{name}` is {expected} in the model, and cannot be {}", described(.declared))]
    PortDim {
        kind: PortKind,
        name: String,
        axis: usize,
        expected: u64,
        declared: Dim,
    },
    /// One symbol of the model is fixed to two sizes.
    #[error("the model's `{symbol}` is {here} here, and {there} on line {line}; it is one size")]
    SymbolTwice {
        symbol: String,
        here: u64,
        there: u64,
        line: usize,
    },
    /// Labels do not number what they label.
    #[error("output `{name}` has {classes} classes in the model, and {labels} labels here")]
    LabelCount { name: String, classes: u64, labels: usize },
    /// A step is not one that gpux knows.
    #[error("`{name}` is not a step{}", nearest_or_all(.name, .known))]
    UnknownStep { name: String, known: Vec<&'static str> },
    /// A step lacks what it is about.
    #[error("`{step}` needs {expected}")]
    StepNeeds { step: String, expected: &'static str },
    /// The models are named twice over.
    #[error("`model` names the only model and `models` several; keep one of the two")]
    ModelAndModels,
    /// A model's name would be a path.
    #[error("a model cannot be named `{0}`: its name becomes that of a file, and has no `/`")]
    ModelName(String),
    /// A list or mapping is too long.
    #[error("`{key}` has more than {limit} entries")]
    TooMany { key: String, limit: usize },
    /// A place that no token has.
    #[error("a forced token stands at a place from 1 to {limit}, which is counted from the first of `start`")]
    ForcedPlace { limit: u64 },
    /// Generation knows three models.
    #[error("`generation` does not know the model `{name}`; it runs `encoder`, `decoder` and `decoder_with_past`")]
    GenerationModel { name: String },
    /// There is nothing that generates.
    #[error("`generation` needs a model named `decoder`")]
    NoDecoder,
    /// A decoder beside an encoder has nothing to start from.
    #[error("`generation` needs `start`: the tokens from which the decoder goes on")]
    NoStart,
    /// An input of a decoder is not known.
    #[error("nothing feeds input `{name}` ({dtype} {shape}) of `{model}`: each but the tokens {needs}")]
    Unfed {
        model: String,
        name: String,
        dtype: DType,
        shape: Shape,
        needs: &'static str,
    },
    /// A decoder gives no scores.
    #[error("`{model}` has no output `logits` of floating-point numbers, [batch, tokens, vocabulary]")]
    NoLogits { model: String },
    /// A past value comes from nowhere.
    #[error("a decoder takes `past_key_values.{name}`, and `{model}` has no output `present.{name}`")]
    NoPresent { model: String, name: String },
    /// Generation makes the answer.
    #[error("`generation` makes the answer, and leaves nothing to `postprocessing`")]
    GenerationAnswers,
    /// A step stands where it cannot.
    #[error("`{step}` cannot follow `{before}`: {why}")]
    StepOrder {
        step: &'static str,
        before: &'static str,
        why: &'static str,
    },
    /// A word is not one of those that a key takes.
    #[error("`{key}` is `{text}`{}", nearest_or_all(.text, .known))]
    Choice {
        key: String,
        text: String,
        known: Vec<&'static str>,
    },
    /// A number that need not be whole is outside its range.
    #[error("`{key}` is {text}, and must be a number from {least} to {most}")]
    Interval {
        key: String,
        text: String,
        least: f64,
        most: f64,
    },
    /// A key has a meaning beside another only.
    #[error("`{key}` has a meaning only with `{with}`")]
    OnlyWith { key: String, with: &'static str },
    /// A deviation divides, and is zero.
    #[error("a deviation of 0 cannot divide")]
    ZeroDeviation,
    /// Means and deviations are not one for each channel, or one for all.
    #[error("there are {means} means and {deviations} deviations; give one of each, or one of each for each channel")]
    MeanAndDeviation { means: usize, deviations: usize },
    /// There are not as many means as channels.
    #[error("there are {means} means, and the picture has {channels} channels here")]
    MeanCount { means: usize, channels: usize },
    /// A template has braces that hold nothing known.
    #[error("`{text}` starts no placeholder; known are {}, and two braces make one", braced(.known))]
    Template {
        text: String,
        known: &'static [&'static str],
    },
    /// Options of text and of pictures stand in one mapping.
    #[error(
        "a tokenizer and options of a picture cannot make one input; write a mapping from each thing given to its steps"
    )]
    TwoModalities,
    /// Steps make what a port of the model is not.
    #[error("{kind} `{name}` is {dtype} {shape} in the model, and `{step}` {needs}")]
    StepPort {
        kind: PortKind,
        name: String,
        dtype: DType,
        shape: Shape,
        step: &'static str,
        needs: String,
    },
    /// The steps do not say which of several inputs they feed.
    #[error("the model has several inputs, and these steps do not say which one they feed; write a mapping from its name, one of {}, to the steps", quoted_names(.known))]
    WhichInput { known: Vec<String> },
    /// An input would be fed twice.
    #[error("input `{name}` is fed by these steps and by others")]
    FedTwice { name: String },
    /// Answers need names of classes that the file does not give.
    #[error("`{step}` needs the `labels` of output `{name}`, and the GPUXfile gives none")]
    NeedsLabels { step: &'static str, name: String },
    /// Steps for the answer need something of the steps for the input.
    #[error("`{step}` needs {what} among the steps of `preprocessing`, and there is none")]
    NeedsInput { step: &'static str, what: &'static str },
    /// A file that the GPUXfile names is not there.
    #[error("{role} `{path}` does not exist")]
    FileMissing { role: FileRole, path: String },
    /// What the GPUXfile names is not a file.
    #[error("{role} `{path}` is {found}, and not a file")]
    NotAFile {
        role: FileRole,
        path: String,
        found: &'static str,
    },
    /// A link leads out of the build context.
    #[error("{role} `{path}` is a link out of the build context")]
    LeavesContext { role: FileRole, path: String },
    /// No file matches a pattern.
    #[error("no file matches `{pattern}`")]
    NoMatch { pattern: String },
}

/// Tells inputs from outputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PortKind {
    /// What a call brings.
    Input,
    /// What a call gives back.
    Output,
}

impl std::fmt::Display for PortKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PortKind::Input => "input",
            PortKind::Output => "output",
        })
    }
}

/// Says what a file is to the GPUXfile that names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileRole {
    /// `model.source`.
    Model,
    /// An entry of `files`.
    Side,
    /// `labels` of an input or output.
    Labels,
    /// The tokenizer of a step.
    Tokenizer,
}

impl std::fmt::Display for FileRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            FileRole::Model => "model file",
            FileRole::Side => "file",
            FileRole::Labels => "labels file",
            FileRole::Tokenizer => "tokenizer",
        })
    }
}

/// Names the bound that a file broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Limit {
    /// Nesting.
    #[error("it nests deeper than {DEPTH_LIMIT} levels")]
    Depth,
    /// Count of values.
    #[error("it has more than {} values", super::node::NODE_LIMIT)]
    Nodes,
    /// Aliases and what they expand to.
    #[error("its aliases expand to too much")]
    Aliases,
}

fn utf16_advice(utf16: bool) -> &'static str {
    match utf16 {
        true => "; it looks like UTF-16, so save the file as UTF-8",
        false => "",
    }
}

fn yaml_message(error: &serde_saphyr::Error) -> String {
    let formatter = serde_saphyr::DefaultMessageFormatter;
    serde_saphyr::MessageFormatter::format_message(&formatter, super::node::cause(error))
        .chars()
        .flat_map(|c| match c.is_control() {
            true => c.escape_default().collect::<Vec<_>>(),
            false => vec![c],
        })
        .collect()
}

fn missing_advice(key: &str) -> &'static str {
    match key {
        "name" => "; it names the artifact, for example `name: resnet50`",
        "model" => "; it is the path of the ONNX file, for example `model: model.onnx`",
        "model.source" => "; it is the path of the ONNX file",
        _ => "",
    }
}

fn name_offer(offer: &Option<String>) -> String {
    match offer {
        Some(name) => format!("; `{name}` can"),
        None => String::new(),
    }
}

fn dims(rank: usize) -> String {
    match rank {
        0 => "no dimension".to_owned(),
        1 => "1 dimension".to_owned(),
        n => format!("{n} dimensions"),
    }
}

fn declared_dims(rank: usize) -> String {
    match rank {
        0 => "none is declared".to_owned(),
        1 => "1 is declared".to_owned(),
        n => format!("{n} are declared"),
    }
}

fn described(dim: &Dim) -> String {
    match dim {
        Dim::Fixed(size) => size.to_string(),
        Dim::Symbol(_) => format!("of any size (`{dim}`)"),
        Dim::Unknown => "of any size".to_owned(),
    }
}

fn dtype_names() -> Vec<&'static str> {
    DType::all().map(DType::name).collect()
}

fn nearest_or_all_owned(name: &str, known: &[String], kind: PortKind) -> String {
    if known.is_empty() {
        return format!("; it has no {kind}s");
    }
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    nearest_or_all(name, &known)
}

/// Writes placeholders as they stand in a template.
fn braced(names: &[&str]) -> String {
    let braced: Vec<String> = names.iter().map(|name| format!("{{{name}}}")).collect();
    braced.join(", ")
}

fn quoted_names(names: &[String]) -> String {
    let quoted: Vec<String> = names
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    quoted.join(", ")
}

/// The most names that a message lists.
const LISTED: usize = 30;

fn nearest_or_all(text: &str, known: &[&str]) -> String {
    if let Some(nearest) = nearest(text, known) {
        return format!("; did you mean `{}`?", printable(nearest));
    }
    let listed: Vec<String> = known
        .iter()
        .take(LISTED)
        .map(|name| format!("`{}`", printable(name)))
        .collect();
    let more = match known.len() > LISTED {
        true => format!(" and {} more", known.len() - LISTED),
        false => String::new(),
    };
    format!("; known here: {}{more}", listed.join(", "))
}

/// Finds the known name that `text` is a likely slip of.
pub(super) fn nearest<'a>(text: &str, known: &[&'a str]) -> Option<&'a str> {
    let lower = text.to_lowercase();
    // The distance of two texts costs the product of their lengths, and these may come from anyone.
    if lower.len() > 256 {
        return None;
    }
    let distance = |name: &str| strsim::damerau_levenshtein(&lower, &name.to_lowercase());
    known
        .iter()
        .filter(|name| name.len() <= 256)
        .map(|name| (distance(name), *name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(lower.chars().count()) / 3).max(1))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Writes text on one line and not too long.
pub(super) fn printable(text: &str) -> String {
    let mut line = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == 80 {
            line.push('…');
            break;
        }
        match c.is_control() {
            true => line.extend(c.escape_default()),
            false => line.push(c),
        }
    }
    line
}
