use crate::gpuxfile::error::{Error, Problem, nearest, printable};
use crate::gpuxfile::fields::{Field, Fields};
use crate::gpuxfile::keys::PREPROCESSING_KEYS;
use crate::gpuxfile::node::{Content, Key};
use crate::gpuxfile::paths::ContextPath;
use crate::gpuxfile::read::Reader;
use crate::gpuxfile::source::{Located, Span};
use crate::tensor::TensorName;

use super::input::InputStep;
use super::options::{Given, Raw, size_of};
use super::output::{BoxOrder, Ctc, DecodeTokens, Detect, DetectForm, OutputStep};
use super::picture::{Color, Filter, Layout, Normalize, Pad, PadPosition, Picture, Resize, ResizeTo, Size, TensorForm};
use super::presets::{INPUT_PRESETS, NORMALIZATIONS, OUTPUT_PRESETS, UNIT, input_preset, output_preset};
use super::sound::{Edge, Frames, Mel, MelLog, MelScale, Sound};
use super::text::{Padding, Side, Tokenize, Truncation};
use super::{InputPipeline, OutputPipeline, order};
use crate::gpuxfile::keys::{INPUT_STEPS, OUTPUT_STEPS, step_keys};

type Steps<T> = Vec<Located<T>>;

/// Reads `preprocessing`: one pipeline, or one for each thing that a person gives, by name.
pub(in crate::gpuxfile) fn read_preprocessing<'n>(
    reader: &mut Reader<'n>,
    field: Field<'n>,
) -> Result<Vec<InputPipeline>, Error> {
    let Content::Map(entries) = &field.node.content else {
        return Ok(vec![input_pipeline(reader, None, &field)?]);
    };
    let is_short = |key: &str| PREPROCESSING_KEYS.contains(&key) || (reader.python && key == "custom");
    if entries.is_empty() || entries.iter().any(|(key, _)| is_short(key)) {
        let short = short_form(reader, field)?;
        return Ok(short.into_iter().collect());
    }
    let mut pipelines = Vec::new();
    for (key, entry) in field.entries()? {
        refuse_misspelt(&field, key, &entry)?;
        let name = Located::new(TensorName::new(key.to_string()), key.span);
        pipelines.push(input_pipeline(reader, Some(name), &entry)?);
    }
    Ok(pipelines)
}

/// Refuses a key that is likely a slip of one of the short form, where its value is no list of steps.
fn refuse_misspelt(field: &Field<'_>, key: &Key<'_>, entry: &Field<'_>) -> Result<(), Error> {
    let is_steps = match &entry.node.content {
        Content::List(_) | Content::Map(_) => true,
        Content::Text(text) => INPUT_STEPS.contains(&text.as_ref()) || INPUT_PRESETS.contains(&text.as_ref()),
        _ => false,
    };
    if is_steps || nearest(key, PREPROCESSING_KEYS).is_none() {
        return Ok(());
    }
    let problem = Problem::UnknownKey {
        key: printable(key),
        known: PREPROCESSING_KEYS.to_vec(),
    };
    Err(Error::at(field.source, key.span, problem))
}

/// Reads `postprocessing`: one pipeline, or one for each output, by name.
pub(in crate::gpuxfile) fn read_postprocessing(field: Field<'_>) -> Result<Vec<OutputPipeline>, Error> {
    let Content::Map(entries) = &field.node.content else {
        return Ok(vec![output_pipeline(None, &field)?]);
    };
    // Several steps in one mapping have no order, which is an error that names the list.
    if entries.iter().all(|(key, _)| OUTPUT_STEPS.contains(&key.as_ref())) {
        return Ok(vec![output_pipeline(None, &field)?]);
    }
    let mut pipelines = Vec::new();
    for (key, entry) in field.entries()? {
        let name = Located::new(TensorName::new(key.to_string()), key.span);
        pipelines.push(output_pipeline(Some(name), &entry)?);
    }
    Ok(pipelines)
}

fn input_pipeline<'n>(
    reader: &mut Reader<'n>,
    name: Option<Located<TensorName>>,
    field: &Field<'n>,
) -> Result<InputPipeline, Error> {
    if matches!(&field.node.content, Content::Map(entries) if entries.len() != 1 || PREPROCESSING_KEYS.contains(&entries[0].0.as_ref()))
    {
        let short = short_form(reader, field.clone())?;
        let short = short.ok_or_else(|| field.kind_error("one step or more"))?;
        return Ok(InputPipeline { name, ..short });
    }
    let mut steps: Steps<InputStep> = Vec::new();
    for item in field.one_or_list()? {
        let raw = Raw::of(&item)?;
        match input_preset(raw.name.value) {
            Some(preset) => {
                raw.alone()?;
                steps.extend(preset.into_iter().map(|step| Located::new(step, raw.span())));
            }
            None => steps.push(Located::new(input_step(&item, &raw)?, raw.span())),
        }
    }
    if steps.is_empty() {
        return Err(field.kind_error("one step or more"));
    }
    Ok(InputPipeline {
        name,
        steps: order::input_order(field.source, steps)?,
    })
}

fn output_pipeline(name: Option<Located<TensorName>>, field: &Field<'_>) -> Result<OutputPipeline, Error> {
    let mut steps: Steps<OutputStep> = Vec::new();
    for item in field.one_or_list()? {
        let raw = Raw::of(&item)?;
        match output_preset(raw.name.value) {
            Some(preset) => {
                raw.alone()?;
                steps.extend(preset.into_iter().map(|step| Located::new(step, raw.span())));
            }
            None => steps.push(Located::new(output_step(&item, &raw)?, raw.span())),
        }
    }
    if steps.is_empty() {
        return Err(field.kind_error("one step or more"));
    }
    order::output_order(field.source, &steps)?;
    Ok(OutputPipeline { name, steps })
}

fn unknown(item: &Field<'_>, raw: &Raw<'_>, steps: &[&'static str], presets: &[&'static str]) -> Error {
    let problem = Problem::UnknownStep {
        name: printable(raw.name.value),
        known: [steps, presets].concat(),
    };
    Error::at(item.source, raw.span(), problem)
}

fn input_step(item: &Field<'_>, raw: &Raw<'_>) -> Result<InputStep, Error> {
    let keys = step_keys(raw.name.value);
    Ok(match raw.name.value {
        "image" => InputStep::Picture(picture(raw, keys)?),
        "resize" => InputStep::Resize(resize(item, raw, keys)?),
        "center_crop" => InputStep::CenterCrop(size(item, raw, keys)?),
        "pad" => InputStep::Pad(pad(item, raw, keys)?),
        "convert" => match raw.given(&[])? {
            Given::Value(field) => InputStep::Convert(field.choice(Color::NAMES)?),
            _ => return Err(lacks(item, raw, "a colour: rgb, bgr or gray")),
        },
        "invert" => raw.alone().map(|()| InputStep::Invert)?,
        "rescale" => match raw.given(&[])? {
            Given::Value(field) => InputStep::Rescale(field.number_within(-1e6, 1e6)?),
            _ => InputStep::Rescale(UNIT),
        },
        "normalize" => match &raw.value {
            Some(field) => InputStep::Normalize(normalize(field)?),
            None => return Err(lacks(item, raw, "a preset, or a mapping with `mean` and `std`")),
        },
        "tensor" => InputStep::Tensor(tensor(raw, keys)?),
        "tokenize" => InputStep::Tokenize(match raw.given(keys)? {
            Given::Nothing => Tokenize::with(default_tokenizer()),
            Given::Value(field) => Tokenize::with(field.path()?.value),
            Given::Options(fields) => tokenize(&fields)?,
        }),
        "sound" => InputStep::Sound(sound(raw, keys)?),
        "standardize" => raw.alone().map(|()| InputStep::Standardize)?,
        "frames" => InputStep::Frames(match raw.options(keys)? {
            Some(fields) => frames(&fields)?,
            None => return Err(lacks(item, raw, "`size`")),
        }),
        "log_mel" => InputStep::LogMel(match raw.options(keys)? {
            Some(fields) => mel(&fields, Mel::whisper(80))?,
            None => Mel::whisper(80),
        }),
        "mfcc" => {
            let mut count = 13;
            let mut form = cepstral();
            if let Some(fields) = raw.options(keys)? {
                form = mel(&fields, form)?;
                if let Some(field) = fields.get("count") {
                    count = field.integer(1, form.bands.into())? as u32;
                }
            }
            InputStep::Mfcc(form, count)
        }
        _ => return Err(unknown(item, raw, INPUT_STEPS, INPUT_PRESETS)),
    })
}

/// Says that a step needs something beside its name.
fn lacks(item: &Field<'_>, raw: &Raw<'_>, expected: &'static str) -> Error {
    let problem = Problem::StepNeeds {
        step: raw.name.value.to_owned(),
        expected,
    };
    Error::at(item.source, raw.span(), problem)
}

fn picture(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Picture, Error> {
    let mut picture = Picture {
        color: Color::Rgb,
        background: None,
    };
    if let Some(fields) = raw.options(keys)? {
        if let Some(field) = fields.get("color") {
            picture.color = field.choice(Color::NAMES)?;
        }
        picture.background = fields.get("background").map(|field| field.byte()).transpose()?;
    }
    Ok(picture)
}

fn resize(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Resize, Error> {
    const TARGETS: &str = "`shortest`, `size` or `letterbox`";
    let shaped = |to| Resize {
        to,
        filter: Filter::Bilinear,
        antialias: true,
    };
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(lacks(item, raw, TARGETS)),
        Given::Value(field) => return Ok(shaped(ResizeTo::Shortest(field.side()?))),
        Given::Options(fields) => fields,
    };
    let targets = (fields.get("shortest"), fields.get("size"), fields.get("letterbox"));
    let to = match &targets {
        (Some(field), None, None) => ResizeTo::Shortest(field.side()?),
        (None, Some(field), None) => ResizeTo::Exact(field.size()?),
        (None, None, Some(field)) => ResizeTo::Letterbox {
            size: field.size()?,
            fill: 0,
        },
        (None, None, None) => return Err(lacks(item, raw, TARGETS)),
        _ => return Err(lacks(item, raw, "one of `shortest`, `size` and `letterbox`")),
    };
    let mut resize = shaped(to);
    if let Some(field) = fields.get("filter") {
        resize.filter = field.choice(Filter::NAMES)?;
    }
    if let Some(field) = fields.get("antialias") {
        resize.antialias = field.boolean()?;
    }
    if let Some(field) = fields.get("fill") {
        match &mut resize.to {
            ResizeTo::Letterbox { fill, .. } => *fill = field.byte()?,
            _ => {
                return Err(field.error(Problem::OnlyWith {
                    key: field.name.clone(),
                    with: "letterbox",
                }));
            }
        }
    }
    Ok(resize)
}

fn size(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Size, Error> {
    match raw.given(keys)? {
        Given::Nothing => Err(lacks(item, raw, "a size: one side, or `height` and `width`")),
        Given::Value(field) => field.size(),
        Given::Options(fields) => size_of(&fields),
    }
}

fn pad(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Pad, Error> {
    let shaped = |size| Pad {
        size,
        fill: 0,
        position: PadPosition::Center,
    };
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(lacks(item, raw, "a size: one side, or `size`")),
        Given::Value(field) => return Ok(shaped(field.size()?)),
        Given::Options(fields) => fields,
    };
    let mut pad = shaped(fields.need("size")?.size()?);
    if let Some(field) = fields.get("fill") {
        pad.fill = field.byte()?;
    }
    if let Some(field) = fields.get("position") {
        pad.position = field.choice(PadPosition::NAMES)?;
    }
    Ok(pad)
}

fn normalize(field: &Field<'_>) -> Result<Normalize, Error> {
    if !matches!(field.node.content, Content::Map(_)) {
        return Ok(field.choice(NORMALIZATIONS)?.values());
    }
    let fields = field.clone().fields(step_keys("normalize"))?;
    let (mean, std) = (fields.need("mean")?, fields.need("std")?);
    let (means, stds) = (mean.numbers()?, std.numbers()?);
    if stds.contains(&0.0) {
        return Err(std.error(Problem::ZeroDeviation));
    }
    if means.is_empty() || means.len() != stds.len() {
        return Err(std.error(Problem::MeanAndDeviation {
            means: means.len(),
            deviations: stds.len(),
        }));
    }
    Ok(Normalize { mean: means, std: stds })
}

fn tensor(raw: &Raw<'_>, keys: &[&'static str]) -> Result<TensorForm, Error> {
    let mut form = TensorForm {
        layout: Layout::Nchw,
        dtype: crate::tensor::DType::F32,
    };
    match raw.given(keys)? {
        Given::Nothing => {}
        Given::Value(field) => form.layout = field.choice(Layout::NAMES)?,
        Given::Options(fields) => {
            if let Some(field) = fields.get("layout") {
                form.layout = field.choice(Layout::NAMES)?;
            }
            if let Some(field) = fields.get("type") {
                form.dtype = crate::gpuxfile::ports::read_type(&field)?.value;
            }
        }
    }
    Ok(form)
}

fn default_tokenizer() -> ContextPath {
    ContextPath::parse("tokenizer.json").expect("the path is legal")
}

impl Tokenize {
    /// Has a default for all but the file.
    pub(super) fn with(tokenizer: ContextPath) -> Tokenize {
        Tokenize {
            tokenizer,
            max_length: None,
            truncation: Truncation::LongestFirst,
            padding: Padding::Longest,
            padding_side: Side::Right,
            pad_token: None,
            special_tokens: true,
            ids: TensorName::new("input_ids"),
            mask: TensorName::new("attention_mask"),
            types: TensorName::new("token_type_ids"),
        }
    }
}

/// The most tokens that `max_length` allows.
const TOKEN_LIMIT: u64 = 1 << 20;

fn tokenize(fields: &Fields<'_>) -> Result<Tokenize, Error> {
    let path = match fields.get("tokenizer") {
        Some(field) => field.path()?.value,
        None => default_tokenizer(),
    };
    let mut tokenize = Tokenize::with(path);
    tokenize.max_length = fields
        .get("max_length")
        .map(|f| f.integer(1, TOKEN_LIMIT))
        .transpose()?;
    if let Some(field) = fields.get("truncation") {
        tokenize.truncation = field.choice(Truncation::NAMES)?;
    }
    if let Some(field) = fields.get("padding") {
        tokenize.padding = padding(&field, tokenize.max_length)?;
    }
    if let Some(field) = fields.get("padding_side") {
        tokenize.padding_side = field.choice(Side::NAMES)?;
    }
    tokenize.pad_token = fields
        .get("pad_token")
        .map(|f| f.text().map(str::to_owned))
        .transpose()?;
    if let Some(field) = fields.get("special_tokens") {
        tokenize.special_tokens = field.boolean()?;
    }
    for (key, name) in [
        ("ids", &mut tokenize.ids),
        ("mask", &mut tokenize.mask),
        ("types", &mut tokenize.types),
    ] {
        if let Some(field) = fields.get(key) {
            *name = field.port()?;
        }
    }
    Ok(tokenize)
}

/// Reads `padding`: a word, or, as the Python tool has it, whether to fill up at all.
fn padding(field: &Field<'_>, max_length: Option<u64>) -> Result<Padding, Error> {
    let padding = match &field.node.content {
        Content::Bool(true) => Padding::Longest,
        Content::Bool(false) => Padding::None,
        _ => field.choice(Padding::NAMES)?,
    };
    match (padding, max_length) {
        (Padding::MaxLength, None) => Err(field.error(Problem::OnlyWith {
            key: field.name.clone(),
            with: "max_length",
        })),
        _ => Ok(padding),
    }
}

/// The sample rates that recordings have, and the longest sound, in seconds.
const RATES: (u64, u64) = (1_000, 384_000);
const SECONDS_LIMIT: f64 = 7_200.0;
/// The most samples of a frame, and bands of a spectrum.
const FRAME_LIMIT: u64 = 65_536;
const BAND_LIMIT: u64 = 1_024;

fn sound(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Sound, Error> {
    let mut sound = Sound {
        rate: 16_000,
        seconds: None,
    };
    let rate = |field: &Field<'_>| field.integer(RATES.0, RATES.1).map(|rate| rate as u32);
    match raw.given(keys)? {
        Given::Nothing => {}
        Given::Value(field) => sound.rate = rate(&field)?,
        Given::Options(fields) => {
            if let Some(field) = fields.get("rate") {
                sound.rate = rate(&field)?;
            }
            let seconds = fields.get("seconds");
            let seconds = seconds.map(|field| field.number_within(0.01, SECONDS_LIMIT));
            sound.seconds = seconds.transpose()?;
        }
    }
    Ok(sound)
}

fn frames(fields: &Fields<'_>) -> Result<Frames, Error> {
    let size = fields.need("size")?.integer(1, FRAME_LIMIT)? as u32;
    let hop = match fields.get("hop") {
        Some(field) => field.integer(1, FRAME_LIMIT)? as u32,
        None => size,
    };
    Ok(Frames { size, hop })
}

/// Is what `mfcc` has where nothing else is said.
fn cepstral() -> Mel {
    Mel {
        size: 512,
        bands: 40,
        high: None,
        scale: MelScale::Htk,
        even: false,
        edge: Edge::Silence,
        log: MelLog::Decibel,
        range: Some(80.0),
        ..Mel::whisper(40)
    }
}

fn mel(fields: &Fields<'_>, default: Mel) -> Result<Mel, Error> {
    let mut mel = default;
    for (key, least, most, value) in [
        ("size", 2, FRAME_LIMIT, &mut mel.size),
        ("hop", 1, FRAME_LIMIT, &mut mel.hop),
        ("bands", 1, BAND_LIMIT, &mut mel.bands),
    ] {
        if let Some(field) = fields.get(key) {
            *value = field.integer(least, most)? as u32;
        }
    }
    let half = RATES.1 as f64 / 2.0;
    if let Some(field) = fields.get("low") {
        mel.low = field.number_within(0.0, half)?;
    }
    if let Some(field) = fields.get("high") {
        mel.high = Some(field.number_within(1.0, half)?);
    }
    if let Some(field) = fields.get("scale") {
        mel.scale = field.choice(MelScale::NAMES)?;
    }
    if let Some(field) = fields.get("even") {
        mel.even = field.boolean()?;
    }
    if let Some(field) = fields.get("edge") {
        mel.edge = field.choice(Edge::NAMES)?;
    }
    if let Some(field) = fields.get("log") {
        mel.log = field.choice(MelLog::NAMES)?;
        // The default is of the default form.
        if fields.get("range").is_none() && mel.log != MelLog::Whisper {
            mel.range = None;
        }
    }
    if let Some(field) = fields.get("range") {
        mel.range = Some(field.number_within(0.001, 1_000.0)?);
    }
    Ok(mel)
}

fn output_step(item: &Field<'_>, raw: &Raw<'_>) -> Result<OutputStep, Error> {
    let keys = step_keys(raw.name.value);
    let alone = |step: OutputStep| raw.alone().map(|()| step);
    Ok(match raw.name.value {
        "softmax" => alone(OutputStep::Softmax)?,
        "sigmoid" => alone(OutputStep::Sigmoid)?,
        "argmax" => alone(OutputStep::Argmax)?,
        "cls_pool" => alone(OutputStep::ClsPool)?,
        "l2_normalize" => alone(OutputStep::L2Normalize)?,
        "cosine_similarity" => alone(OutputStep::CosineSimilarity)?,
        "mask" => alone(OutputStep::Mask)?,
        "top_k" => OutputStep::TopK(match raw.given(keys)? {
            Given::Nothing => 5,
            Given::Value(field) => field.integer(1, 65_536)?,
            Given::Options(fields) => match fields.get("k") {
                Some(field) => field.integer(1, 65_536)?,
                None => 5,
            },
        }),
        "threshold" => OutputStep::Threshold(match raw.given(keys)? {
            Given::Nothing => 0.5,
            Given::Value(field) => field.number()?,
            Given::Options(fields) => fields.get("at").map(|f| f.number()).transpose()?.unwrap_or(0.5),
        }),
        "mean_pool" => OutputStep::MeanPool {
            mask: match raw.options(keys)?.and_then(|fields| fields.get("mask")) {
                Some(field) => field.port()?,
                None => TensorName::new("attention_mask"),
            },
        },
        "detect" => OutputStep::Detect(detect(item, raw, keys)?),
        "decode_tokens" => OutputStep::DecodeTokens(decode_tokens(raw, keys)?),
        "ctc" => OutputStep::Ctc(ctc(raw, keys)?),
        "template" => match raw.given(&[])? {
            Given::Value(field) => OutputStep::Template(template(&field)?),
            _ => return Err(lacks(item, raw, "a text such as \"{label}: {percent}\"")),
        },
        _ => return Err(unknown(item, raw, OUTPUT_STEPS, OUTPUT_PRESETS)),
    })
}

fn detect(item: &Field<'_>, raw: &Raw<'_>, keys: &[&'static str]) -> Result<Detect, Error> {
    const FORMS: &[(&str, Option<DetectForm>)] = &[
        ("yolov5", Some(DetectForm::YoloV5)),
        ("yolov8", Some(DetectForm::YoloV8)),
        ("ssd", None),
    ];
    let named = |field: &Field<'_>| {
        let names: Vec<(&'static str, usize)> = FORMS.iter().enumerate().map(|(at, (name, _))| (*name, at)).collect();
        field.choice(&names).map(|at| FORMS[at].1.clone())
    };
    let whole = |form| Detect {
        form,
        score: 0.25,
        iou: 0.45,
        limit: 300,
        per_class: true,
    };
    let needs = || lacks(item, raw, "`form`: yolov5, yolov8 or ssd");
    let fields = match raw.given(keys)? {
        Given::Nothing => return Err(needs()),
        Given::Value(field) => {
            let form = named(&field)?;
            return form
                .map(whole)
                .ok_or_else(|| lacks(item, raw, "with the form ssd, also `scores` and `classes`"));
        }
        Given::Options(fields) => fields,
    };
    let form = match named(&fields.get("form").ok_or_else(needs)?)? {
        Some(form) => form,
        None => DetectForm::Ssd {
            scores: fields.need("scores")?.port()?,
            classes: fields.need("classes")?.port()?,
            order: match fields.get("order") {
                Some(field) => field.choice(BoxOrder::NAMES)?,
                None => BoxOrder::Xyxy,
            },
        },
    };
    if let (DetectForm::YoloV5 | DetectForm::YoloV8, Some(field)) = (
        &form,
        ["scores", "classes", "order"].iter().find_map(|key| fields.get(key)),
    ) {
        return Err(field.error(Problem::OnlyWith {
            key: field.name.clone(),
            with: "form: ssd",
        }));
    }
    let mut detect = whole(form);
    for (key, value) in [("score", &mut detect.score), ("iou", &mut detect.iou)] {
        if let Some(field) = fields.get(key) {
            *value = field.number_within(0.0, 1.0)?;
        }
    }
    if let Some(field) = fields.get("limit") {
        detect.limit = field.integer(1, 65_536)?;
    }
    if let Some(field) = fields.get("per_class") {
        detect.per_class = field.boolean()?;
    }
    Ok(detect)
}

fn decode_tokens(raw: &Raw<'_>, keys: &[&'static str]) -> Result<DecodeTokens, Error> {
    let whole = |tokenizer| DecodeTokens {
        tokenizer,
        skip_special: true,
    };
    match raw.given(keys)? {
        Given::Nothing => Ok(whole(default_tokenizer())),
        Given::Value(field) => Ok(whole(field.path()?.value)),
        Given::Options(fields) => {
            let mut decode = whole(default_tokenizer());
            if let Some(field) = fields.get("tokenizer") {
                decode.tokenizer = field.path()?.value;
            }
            if let Some(field) = fields.get("skip_special") {
                decode.skip_special = field.boolean()?;
            }
            Ok(decode)
        }
    }
}

fn ctc(raw: &Raw<'_>, keys: &[&'static str]) -> Result<Ctc, Error> {
    let mut ctc = Ctc {
        blank: 0,
        delimiter: None,
        tokenizer: None,
    };
    if let Some(fields) = raw.options(keys)? {
        if let Some(field) = fields.get("blank") {
            ctc.blank = field.integer(0, 1 << 24)?;
        }
        ctc.delimiter = fields
            .get("delimiter")
            .map(|f| f.text().map(str::to_owned))
            .transpose()?;
        ctc.tokenizer = fields
            .get("tokenizer")
            .map(|f| f.path().map(|path| path.value))
            .transpose()?;
    }
    Ok(ctc)
}

/// What stands in braces in a template.
pub(super) const PLACEHOLDERS: &[&str] = &["label", "index", "score", "percent", "text", "count"];

/// Reads a template: braces hold a placeholder, and two make one.
fn template(field: &Field<'_>) -> Result<String, Error> {
    let text = field.prose()?;
    let mut rest = text.replace("{{", "").replace("}}", "");
    while let Some(start) = rest.find(['{', '}']) {
        let inner = rest[start..].strip_prefix('{').and_then(|tail| tail.split_once('}'));
        match inner {
            Some((name, tail)) if PLACEHOLDERS.contains(&name) => rest = tail.to_owned(),
            _ => {
                return Err(field.error(Problem::Template {
                    text: printable(&rest[start..]),
                    known: PLACEHOLDERS,
                }));
            }
        }
    }
    Ok(text.to_owned())
}

/// Reads the options that stand for steps, as the Python tool has them; `None` where none of them has an effect.
fn short_form<'n>(reader: &mut Reader<'n>, field: Field<'n>) -> Result<Option<InputPipeline>, Error> {
    let known = match reader.python {
        true => [PREPROCESSING_KEYS, &["custom"]].concat(),
        false => PREPROCESSING_KEYS.to_vec(),
    };
    let span = field.key_span;
    let fields = field.fields(&known)?;
    if let Some(field) = fields.get("custom") {
        field.entries()?;
        reader.without_counterpart(&field, "gpux runs no code of the artifact");
    }
    let steps = match (fields.get("tokenizer"), fields.get("resize"), fields.get("normalize")) {
        (Some(field), resize, normalize) => {
            if let Some(other) = resize.or(normalize) {
                if !reader.python {
                    return Err(other.error(Problem::TwoModalities));
                }
                reader.without_counterpart(&other, "the tokenizer makes the inputs");
            }
            vec![Located::new(short_text(reader, &fields, &field)?, field.node.span)]
        }
        (None, None, None) => {
            if let Some(field) = ["max_length", "padding"].iter().find_map(|key| fields.get(key)) {
                if !reader.python {
                    return Err(fields
                        .need("tokenizer")
                        .err()
                        .unwrap_or_else(|| field.error(Problem::TwoModalities)));
                }
                reader.without_counterpart(&field, "it is of a tokenizer, and there is none");
            }
            return Ok(None);
        }
        (None, resize, normalize) => {
            if let Some(field) = ["max_length", "padding"].iter().find_map(|key| fields.get(key)) {
                if !reader.python {
                    return Err(field.error(Problem::TwoModalities));
                }
                reader.without_counterpart(&field, "it is of a tokenizer, and there is none");
            }
            short_picture(resize, normalize, span)?
        }
    };
    Ok(Some(InputPipeline { name: None, steps }))
}

fn short_text<'n>(reader: &mut Reader<'n>, fields: &Fields<'n>, field: &Field<'n>) -> Result<InputStep, Error> {
    let path = match field.text()? {
        // The Python tool names a tokenizer of a hub, which gpux does not fetch; its file has a fixed name.
        text if reader.python && !text.ends_with(".json") => {
            reader.without_counterpart(field, "gpux reads the tokenizer from `tokenizer.json` beside this file");
            default_tokenizer()
        }
        _ => field.path()?.value,
    };
    let mut tokenize = Tokenize::with(path);
    tokenize.max_length = fields
        .get("max_length")
        .map(|f| f.integer(1, TOKEN_LIMIT))
        .transpose()?;
    if let Some(field) = fields.get("padding") {
        tokenize.padding = padding(&field, tokenize.max_length)?;
    }
    Ok(InputStep::Tokenize(tokenize))
}

/// Makes steps of a size, one side or width and height, and a normalization of values from 0 to 1.
fn short_picture(
    resize: Option<Field<'_>>,
    normalization: Option<Field<'_>>,
    span: Span,
) -> Result<Steps<InputStep>, Error> {
    let picture = InputStep::Picture(Picture {
        color: Color::Rgb,
        background: None,
    });
    let mut steps = vec![Located::new(picture, span)];
    if let Some(field) = resize {
        let sides = field.one_or_list()?;
        let size = match sides.as_slice() {
            [side] => side.size()?,
            [width, height] => Size {
                height: height.side()?,
                width: width.side()?,
            },
            _ => return Err(field.kind_error("one side, or width and height")),
        };
        let to = ResizeTo::Exact(size);
        let step = InputStep::Resize(Resize {
            to,
            filter: Filter::Bilinear,
            antialias: true,
        });
        steps.push(Located::new(step, field.node.span));
    }
    steps.push(Located::new(InputStep::Rescale(UNIT), span));
    if let Some(field) = normalization {
        steps.push(Located::new(InputStep::Normalize(normalize(&field)?), field.node.span));
    }
    Ok(steps)
}
