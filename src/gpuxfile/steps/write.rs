use crate::gpuxfile::Value;
use crate::gpuxfile::file::Gpuxfile;
use crate::gpuxfile::source::Located;
use crate::gpuxfile::yaml::Writer;
use crate::tensor::TensorName;

use super::input::InputStep;
use super::output::{BoxOrder, Ctc, Detect};
use super::output::{DetectForm, OutputStep};
use super::picture::{Color, Filter, Layout, Normalize, PadPosition, Picture, Resize, ResizeTo, Size, TensorForm};
use super::sound::{Edge, Mel, MelLog, MelScale};
use super::text::{Padding, Side, Tokenize, Truncation};

/// Writes `preprocessing` and `postprocessing`, every option with its value.
pub(in crate::gpuxfile) fn write_pipelines(w: &mut Writer, file: &Gpuxfile) {
    let inputs = file.preprocessing.iter().map(|pipeline| {
        let steps = pipeline.steps.iter().map(|step| input_step(&step.value)).collect();
        (&pipeline.name, steps)
    });
    write(w, "preprocessing", inputs.collect());
    let outputs = file.postprocessing.iter().map(|pipeline| {
        let steps = pipeline.steps.iter().map(|step| output_step(&step.value)).collect();
        (&pipeline.name, steps)
    });
    write(w, "postprocessing", outputs.collect());
}

fn write(w: &mut Writer, key: &str, pipelines: Vec<(&Option<Located<TensorName>>, Vec<Value>)>) {
    let mut named = Vec::new();
    for (name, steps) in pipelines {
        match name {
            None => return w.value(key, &Value::List(steps)),
            Some(name) => named.push((name.value.as_str().to_owned(), Value::List(steps))),
        }
    }
    if !named.is_empty() {
        w.value(key, &Value::Map(named));
    }
}

/// Gathers options that have a value.
#[derive(Default)]
struct Options(Vec<(String, Value)>);

impl Options {
    fn with(mut self, key: &str, value: Value) -> Self {
        self.0.push((key.to_owned(), value));
        self
    }

    fn maybe(self, key: &str, value: Option<Value>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    fn step(self, name: &str) -> Value {
        step(name, Value::Map(self.0))
    }
}

fn step(name: &str, value: Value) -> Value {
    Value::Map(vec![(name.to_owned(), value)])
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn int(value: impl Into<i128>) -> Value {
    Value::Int(value.into())
}

/// Finds the word that stands for a value.
fn word<T: PartialEq + Copy>(names: &[(&'static str, T)], value: T) -> Value {
    let found = names.iter().find(|(_, named)| *named == value);
    text(found.map_or("", |(name, _)| name))
}

fn size(size: Size) -> Value {
    let options = Options::default()
        .with("height", int(size.height))
        .with("width", int(size.width));
    Value::Map(options.0)
}

fn input_step(step_value: &InputStep) -> Value {
    let name = step_value.name();
    match step_value {
        InputStep::Picture(Picture { color, background }) => Options::default()
            .with("color", word(Color::NAMES, *color))
            .maybe("background", background.map(int))
            .step(name),
        InputStep::Resize(resize) => resize_options(resize).step(name),
        InputStep::CenterCrop(to) => step(name, size(*to)),
        InputStep::Pad(pad) => Options::default()
            .with("size", size(pad.size))
            .with("fill", int(pad.fill))
            .with("position", word(PadPosition::NAMES, pad.position))
            .step(name),
        InputStep::Convert(color) => step(name, word(Color::NAMES, *color)),
        InputStep::Invert => text(name),
        InputStep::Rescale(factor) => step(name, Value::Float(*factor)),
        InputStep::Normalize(Normalize { mean, std }) => {
            let floats = |values: &[f64]| Value::List(values.iter().copied().map(Value::Float).collect());
            Options::default()
                .with("mean", floats(mean))
                .with("std", floats(std))
                .step(name)
        }
        InputStep::Tensor(TensorForm { layout, dtype }) => Options::default()
            .with("layout", word(Layout::NAMES, *layout))
            .with("type", text(dtype.name()))
            .step(name),
        InputStep::Tokenize(tokenize) => tokenize_options(tokenize).step(name),
        InputStep::Sound(sound) => Options::default()
            .with("rate", int(sound.rate))
            .maybe("seconds", sound.seconds.map(Value::Float))
            .step(name),
        InputStep::Standardize => text(name),
        InputStep::Frames(frames) => Options::default()
            .with("size", int(frames.size))
            .with("hop", int(frames.hop))
            .step(name),
        InputStep::LogMel(mel) => mel_options(Options::default(), mel).step(name),
        InputStep::Mfcc(mel, count) => mel_options(Options::default().with("count", int(*count)), mel).step(name),
    }
}

fn mel_options(options: Options, mel: &Mel) -> Options {
    options
        .with("size", int(mel.size))
        .with("hop", int(mel.hop))
        .with("bands", int(mel.bands))
        .with("low", Value::Float(mel.low))
        .maybe("high", mel.high.map(Value::Float))
        .with("scale", word(MelScale::NAMES, mel.scale))
        .with("even", Value::Bool(mel.even))
        .with("edge", word(Edge::NAMES, mel.edge))
        .with("log", word(MelLog::NAMES, mel.log))
        .maybe("range", mel.range.map(Value::Float))
}

fn resize_options(resize: &Resize) -> Options {
    let (key, to, fill) = match resize.to {
        ResizeTo::Shortest(side) => ("shortest", int(side), None),
        ResizeTo::Exact(to) => ("size", size(to), None),
        ResizeTo::Letterbox { size: to, fill } => ("letterbox", size(to), Some(fill)),
    };
    Options::default()
        .with(key, to)
        .with("filter", word(Filter::NAMES, resize.filter))
        .with("antialias", Value::Bool(resize.antialias))
        .maybe("fill", fill.map(int))
}

fn tokenize_options(tokenize: &Tokenize) -> Options {
    Options::default()
        .with("tokenizer", text(tokenize.tokenizer.as_str()))
        .maybe("max_length", tokenize.max_length.map(int))
        .with("truncation", word(Truncation::NAMES, tokenize.truncation))
        .with("padding", word(Padding::NAMES, tokenize.padding))
        .with("padding_side", word(Side::NAMES, tokenize.padding_side))
        .maybe("pad_token", tokenize.pad_token.as_deref().map(text))
        .with("special_tokens", Value::Bool(tokenize.special_tokens))
        .with("ids", text(tokenize.ids.as_str()))
        .with("mask", text(tokenize.mask.as_str()))
        .with("types", text(tokenize.types.as_str()))
}

fn output_step(step_value: &OutputStep) -> Value {
    let name = step_value.name();
    match step_value {
        OutputStep::TopK(k) => Options::default().with("k", int(*k)).step(name),
        OutputStep::Threshold(at) => Options::default().with("at", Value::Float(*at)).step(name),
        OutputStep::MeanPool { mask } => Options::default().with("mask", text(mask.as_str())).step(name),
        OutputStep::Detect(detect) => detect_options(detect).step(name),
        OutputStep::DecodeTokens(decode) => Options::default()
            .with("tokenizer", text(decode.tokenizer.as_str()))
            .with("skip_special", Value::Bool(decode.skip_special))
            .step(name),
        OutputStep::Ctc(Ctc {
            blank,
            delimiter,
            tokenizer,
        }) => Options::default()
            .with("blank", int(*blank))
            .maybe("delimiter", delimiter.as_deref().map(text))
            .maybe("tokenizer", tokenizer.as_ref().map(|path| text(path.as_str())))
            .step(name),
        OutputStep::Template(template) => step(name, text(template)),
        OutputStep::Softmax
        | OutputStep::Sigmoid
        | OutputStep::Argmax
        | OutputStep::ClsPool
        | OutputStep::L2Normalize
        | OutputStep::CosineSimilarity
        | OutputStep::Mask => text(name),
    }
}

fn detect_options(detect: &Detect) -> Options {
    let options = match &detect.form {
        DetectForm::YoloV5 => Options::default().with("form", text("yolov5")),
        DetectForm::YoloV8 => Options::default().with("form", text("yolov8")),
        DetectForm::Ssd { scores, classes, order } => Options::default()
            .with("form", text("ssd"))
            .with("scores", text(scores.as_str()))
            .with("classes", text(classes.as_str()))
            .with("order", word(BoxOrder::NAMES, *order)),
    };
    options
        .with("score", Value::Float(detect.score))
        .with("iou", Value::Float(detect.iou))
        .with("limit", int(detect.limit))
        .with("per_class", Value::Bool(detect.per_class))
}
