//! What only the model can tell of a list of steps: whether they make what it takes, and take what it gives.

use std::collections::HashSet;

use crate::gpuxfile::error::{Error, PortKind, Problem, printable};
use crate::gpuxfile::file::Gpuxfile;
use crate::gpuxfile::source::Span;
use crate::tensor::{DType, Dim, Port, Signature, TensorName};

use super::input::{InputStep, Modality};
use super::output::{DetectForm, OutputStep};
use super::picture::{Color, Layout, ResizeTo, Size};
use super::text::{Padding, Tokenize};
use super::{InputPipeline, OutputPipeline};

/// Says which input a pipeline feeds, and with what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feed {
    /// The input, by its place in the signature.
    pub input: usize,
    /// What goes in.
    pub role: FeedRole,
}

/// Says what a pipeline makes for an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedRole {
    /// The picture's values.
    Picture,
    /// The samples of a sound, or what was made of them.
    Sound,
    /// The numbers of the tokens.
    Ids,
    /// Which are tokens and which fill up.
    Mask,
    /// Which text of a pair a token is of.
    Types,
}

impl Gpuxfile {
    /// Checks the steps against the model.
    ///
    /// Errors: an input or output that the model lacks, steps that make another type or shape than it takes or need
    /// another than it gives, an input fed twice.
    pub(in crate::gpuxfile) fn check_steps(&self, signature: &Signature) -> Result<(), Error> {
        self.feeds(&self.given(signature))?;
        if let (Some(_), Some(first)) = (&self.generation, self.postprocessing.first()) {
            return Err(self.error_at(first.span(), Problem::GenerationAnswers));
        }
        for pipeline in &self.postprocessing {
            self.check_output(pipeline, signature)?;
        }
        Ok(())
    }

    /// Gives for each pipeline of `preprocessing` the inputs that it feeds.
    ///
    /// Errors: as those of [`Gpuxfile::check`], of `preprocessing` alone.
    pub fn feeds(&self, signature: &Signature) -> Result<Vec<Vec<Feed>>, Error> {
        let mut fed = HashSet::new();
        let mut all = Vec::with_capacity(self.preprocessing.len());
        for pipeline in &self.preprocessing {
            let feeds = match pipeline.modality() {
                Modality::Picture => self.feed_picture(pipeline, signature)?,
                Modality::Text => self.feed_text(pipeline, signature)?,
                Modality::Sound => self.feed_sound(pipeline, signature)?,
            };
            if let Some(twice) = feeds.iter().find(|feed| !fed.insert(feed.input)) {
                let name = printable(signature.inputs[twice.input].name.as_str());
                return Err(self.error_at(pipeline.span(), Problem::FedTwice { name }));
            }
            all.push(feeds);
        }
        Ok(all)
    }

    /// Finds the output of a pipeline of `postprocessing`, by its place in the signature.
    pub fn output_of(&self, pipeline: &OutputPipeline, signature: &Signature) -> Result<usize, Error> {
        let Some(name) = &pipeline.name else {
            return match signature.outputs.is_empty() {
                true => Err(self.no_port(PortKind::Output, &TensorName::new(""), pipeline.span(), &[])),
                false => Ok(0),
            };
        };
        self.place_of(PortKind::Output, (&name.value, name.span), &signature.outputs)
    }

    fn place_of(&self, kind: PortKind, (name, span): (&TensorName, Span), ports: &[Port]) -> Result<usize, Error> {
        let found = ports.iter().position(|port| port.name == *name);
        found.ok_or_else(|| self.no_port(kind, name, span, ports))
    }

    fn no_port(&self, kind: PortKind, name: &TensorName, span: Span, ports: &[Port]) -> Error {
        let problem = Problem::NoSuchPort {
            kind,
            name: printable(name.as_str()),
            known: ports.iter().map(|port| port.name.as_str().to_owned()).collect(),
        };
        self.error_at(span, problem)
    }

    fn misfit(&self, (kind, port): (PortKind, &Port), (step, span): (&'static str, Span), needs: String) -> Error {
        let problem = Problem::StepPort {
            kind,
            name: printable(port.name.as_str()),
            dtype: port.dtype,
            shape: port.shape.clone(),
            step,
            needs,
        };
        self.error_at(span, problem)
    }

    /// Finds the one input that a pipeline feeds by its name, or the model's only one.
    pub(super) fn one_input(&self, pipeline: &InputPipeline, signature: &Signature) -> Result<usize, Error> {
        match (&pipeline.name, signature.inputs.len()) {
            (Some(name), _) => self.place_of(PortKind::Input, (&name.value, name.span), &signature.inputs),
            (None, 1) => Ok(0),
            (None, _) => {
                let known = signature
                    .inputs
                    .iter()
                    .map(|port| port.name.as_str().to_owned())
                    .collect();
                Err(self.error_at(pipeline.span(), Problem::WhichInput { known }))
            }
        }
    }

    fn feed_picture(&self, pipeline: &InputPipeline, signature: &Signature) -> Result<Vec<Feed>, Error> {
        let input = self.one_input(pipeline, signature)?;
        let port = &signature.inputs[input];
        let made = MadePicture::of(pipeline);
        let last = pipeline
            .steps
            .last()
            .map_or(("image", Span::default()), |step| (step.value.name(), step.span));
        let misfit = |needs: String| Err(self.misfit((PortKind::Input, port), last, needs));
        match port.dtype {
            DType::F16 | DType::BF16 | DType::F32 | DType::F64 => {}
            DType::U8 if !made.scaled => {}
            DType::U8 => return misfit("makes fractions of the values".to_owned()),
            _ => return misfit("makes float16, bfloat16, float32, float64, or uint8".to_owned()),
        }
        if let Some(dtype) = made.dtype.filter(|dtype| *dtype != port.dtype) {
            return misfit(format!("makes {dtype}"));
        }
        let Some(dims) = port.shape.dims() else {
            return Ok(vec![picture_feed(input)]);
        };
        if !matches!(dims.len(), 3 | 4) {
            return misfit("makes a batch of pictures, which has 4 dimensions, or one picture, which has 3".to_owned());
        }
        let inner = &dims[dims.len() - 3..];
        let channels = made.color.channels();
        let layout = made.layout.unwrap_or_else(|| layout_of(inner, channels));
        let [channel, height, width] = match layout {
            Layout::Nchw => [&inner[0], &inner[1], &inner[2]],
            Layout::Nhwc => [&inner[2], &inner[0], &inner[1]],
        };
        if !admits(channel, channels as u64) {
            return misfit(format!(
                "makes pictures of {channels} channels, in the order {}",
                layout.name()
            ));
        }
        match made.size {
            Some(size) if admits(height, size.height.into()) && admits(width, size.width.into()) => {}
            Some(size) => return misfit(format!("makes pictures of {} × {} pixels", size.height, size.width)),
            None if is_fixed(height) || is_fixed(width) => {
                return misfit("leaves the size to the picture; add `center_crop`, or `resize` with `size`".to_owned());
            }
            None => {}
        }
        Ok(vec![picture_feed(input)])
    }

    fn feed_text(&self, pipeline: &InputPipeline, signature: &Signature) -> Result<Vec<Feed>, Error> {
        let tokenize = pipeline.steps.iter().find_map(|step| match &step.value {
            InputStep::Tokenize(tokenize) => Some((tokenize, step.span)),
            _ => None,
        });
        let Some((tokenize, span)) = tokenize else {
            return Ok(Vec::new());
        };
        let mut feeds = vec![Feed {
            input: self.place_of(PortKind::Input, (&tokenize.ids, span), &signature.inputs)?,
            role: FeedRole::Ids,
        }];
        for (name, role) in [(&tokenize.mask, FeedRole::Mask), (&tokenize.types, FeedRole::Types)] {
            if let Some(input) = signature.inputs.iter().position(|port| port.name == *name) {
                feeds.push(Feed { input, role });
            }
        }
        for feed in &feeds {
            let port = &signature.inputs[feed.input];
            let fault = match port.dtype {
                DType::I64 | DType::I32 => length_fault(port, tokenize),
                _ => Some("makes int64 or int32".to_owned()),
            };
            if let Some(needs) = fault {
                return Err(self.misfit((PortKind::Input, port), ("tokenize", span), needs));
            }
        }
        Ok(feeds)
    }

    fn feed_sound(&self, pipeline: &InputPipeline, signature: &Signature) -> Result<Vec<Feed>, Error> {
        let input = self.one_input(pipeline, signature)?;
        let port = &signature.inputs[input];
        let last = pipeline
            .steps
            .last()
            .map_or(("sound", Span::default()), |step| (step.value.name(), step.span));
        let misfit = |needs: String| Err(self.misfit((PortKind::Input, port), last, needs));
        if !is_float(port.dtype) {
            return misfit("makes float16, bfloat16, float32 or float64".to_owned());
        }
        let made = MadeSound::of(pipeline);
        if let Some(dims) = port.shape.dims() {
            let fits = dims.len() == made.0.len() + 1
                && dims[1..].iter().zip(&made.0).all(|(dim, size)| match size {
                    Some(size) => admits(dim, *size),
                    None => !is_fixed(dim),
                });
            if !fits || !admits(&dims[0], 1) {
                return misfit(format!("makes {made}"));
            }
        }
        Ok(vec![Feed {
            input,
            role: FeedRole::Sound,
        }])
    }

    fn check_output(&self, pipeline: &OutputPipeline, signature: &Signature) -> Result<(), Error> {
        let port = &signature.outputs[self.output_of(pipeline, signature)?];
        let mut rank = port.shape.dims().map(<[Dim]>::len);
        for (at, step) in pipeline.steps.iter().enumerate() {
            let mark = (step.value.name(), step.span);
            let misfit = |needs: &str| Err(self.misfit((PortKind::Output, port), mark, needs.to_owned()));
            let integers = matches!(step.value, OutputStep::DecodeTokens(_));
            if at == 0 && !is_float(port.dtype) && !(integers && matches!(port.dtype, DType::I64 | DType::I32)) {
                return misfit(if integers {
                    "takes numbers of tokens, or scores"
                } else {
                    "takes floating-point numbers"
                });
            }
            let (least, most, needs) = ranks(&step.value);
            if rank.is_some_and(|rank| !(least..=most).contains(&rank)) {
                return misfit(needs);
            }
            rank = rank.map(|rank| match step.value {
                OutputStep::MeanPool { .. } | OutputStep::ClsPool => rank - 1,
                _ => rank,
            });
            self.check_needs(&step.value, step.span, port, signature)?;
        }
        Ok(())
    }

    /// Checks what a step of `postprocessing` needs besides its output.
    fn check_needs(&self, step: &OutputStep, span: Span, port: &Port, signature: &Signature) -> Result<(), Error> {
        let has = |modality| {
            self.preprocessing
                .iter()
                .any(|pipeline| pipeline.modality() == modality)
        };
        let needs_input = |what| {
            let problem = Problem::NeedsInput {
                step: step.name(),
                what,
            };
            Err(self.error_at(span, problem))
        };
        let declared = self.outputs.iter().find(|declared| declared.name.value == port.name);
        match step {
            OutputStep::MeanPool { mask } => {
                self.place_of(PortKind::Input, (mask, span), &signature.inputs)?;
                match has(Modality::Text) {
                    true => Ok(()),
                    false => needs_input("`tokenize`"),
                }
            }
            OutputStep::Detect(_) | OutputStep::Mask if !has(Modality::Picture) => needs_input("`image`"),
            OutputStep::Detect(detect) => match &detect.form {
                DetectForm::Ssd { scores, classes, .. } => {
                    self.place_of(PortKind::Output, (scores, span), &signature.outputs)?;
                    self.place_of(PortKind::Output, (classes, span), &signature.outputs)?;
                    Ok(())
                }
                _ => Ok(()),
            },
            OutputStep::Ctc(ctc) if ctc.tokenizer.is_none() && declared.is_none_or(|port| port.labels.is_none()) => {
                let problem = Problem::NeedsLabels {
                    step: step.name(),
                    name: printable(port.name.as_str()),
                };
                Err(self.error_at(span, problem))
            }
            _ => Ok(()),
        }
    }
}

impl InputPipeline {
    /// Marks the pipeline: its name, else its first step.
    pub(super) fn span(&self) -> Span {
        let first = self.steps.first().map(|step| step.span);
        self.name.as_ref().map(|name| name.span).or(first).unwrap_or_default()
    }
}

impl OutputPipeline {
    fn span(&self) -> Span {
        let first = self.steps.first().map(|step| step.span);
        self.name.as_ref().map(|name| name.span).or(first).unwrap_or_default()
    }
}

fn picture_feed(input: usize) -> Feed {
    Feed {
        input,
        role: FeedRole::Picture,
    }
}

/// Is what the steps of a picture make, as far as no picture is needed to tell.
struct MadePicture {
    color: Color,
    size: Option<Size>,
    scaled: bool,
    layout: Option<Layout>,
    dtype: Option<DType>,
}

impl MadePicture {
    fn of(pipeline: &InputPipeline) -> Self {
        let mut made = MadePicture {
            color: Color::Rgb,
            size: None,
            scaled: false,
            layout: None,
            dtype: None,
        };
        for step in &pipeline.steps {
            match &step.value {
                InputStep::Picture(picture) => made.color = picture.color,
                InputStep::Convert(color) => made.color = *color,
                InputStep::Resize(resize) => {
                    made.size = match resize.to {
                        ResizeTo::Shortest(_) => None,
                        ResizeTo::Exact(size) | ResizeTo::Letterbox { size, .. } => Some(size),
                    };
                }
                InputStep::CenterCrop(size) => made.size = Some(*size),
                InputStep::Pad(pad) => made.size = Some(pad.size),
                InputStep::Rescale(_) | InputStep::Normalize(_) => made.scaled = true,
                InputStep::Tensor(form) => {
                    made.layout = Some(form.layout);
                    made.dtype = Some(form.dtype);
                }
                InputStep::Invert
                | InputStep::Tokenize(_)
                | InputStep::Sound(_)
                | InputStep::Standardize
                | InputStep::Frames(_)
                | InputStep::LogMel(_)
                | InputStep::Mfcc(..) => {}
            }
        }
        made
    }
}

/// Is the shape of what the steps of a sound make, without the batch; `None` for what the sound's length decides.
struct MadeSound(Vec<Option<u64>>);

impl MadeSound {
    fn of(pipeline: &InputPipeline) -> Self {
        let mut samples = None;
        let mut made = vec![None];
        for step in &pipeline.steps {
            match &step.value {
                InputStep::Sound(sound) => {
                    samples = sound.samples();
                    made = vec![samples];
                }
                InputStep::Frames(frames) => {
                    let count = samples.map(|samples| frames.count(samples));
                    made = vec![count, Some(frames.size.into())];
                }
                InputStep::LogMel(mel) => {
                    made = vec![Some(mel.bands.into()), samples.map(|samples| mel.frames(samples))];
                }
                InputStep::Mfcc(mel, count) => {
                    made = vec![Some((*count).into()), samples.map(|samples| mel.frames(samples))];
                }
                _ => {}
            }
        }
        MadeSound(made)
    }
}

impl std::fmt::Display for MadeSound {
    /// Writes `[1, 80, 3000]`, with `?` for what the sound's length decides.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[1")?;
        for size in &self.0 {
            match size {
                Some(size) => write!(f, ", {size}")?,
                None => write!(f, ", ?")?,
            }
        }
        write!(f, "]")?;
        match self.0.contains(&None) {
            true => write!(f, ", where `seconds` fixes what is open"),
            false => Ok(()),
        }
    }
}

/// Finds out where the channels lie, from the three dimensions of a picture: last where only that can be, else first.
pub(super) fn layout_of(inner: &[Dim], channels: usize) -> Layout {
    let is = |dim: &Dim| *dim == Dim::Fixed(channels as u64);
    match !admits(&inner[0], channels as u64) && is(&inner[2]) || (is(&inner[2]) && !is(&inner[0])) {
        true => Layout::Nhwc,
        false => Layout::Nchw,
    }
}

impl Layout {
    /// Gives the layout that a picture of so many channels has in an input of this shape.
    pub fn of_input(port: &Port, channels: usize) -> Layout {
        match port.shape.dims() {
            Some(dims) if dims.len() >= 3 => layout_of(&dims[dims.len() - 3..], channels),
            _ => Layout::Nchw,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Layout::Nchw => "nchw",
            Layout::Nhwc => "nhwc",
        }
    }
}

fn admits(dim: &Dim, size: u64) -> bool {
    !matches!(dim, Dim::Fixed(fixed) if *fixed != size)
}

fn is_fixed(dim: &Dim) -> bool {
    matches!(dim, Dim::Fixed(_))
}

fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F16 | DType::BF16 | DType::F32 | DType::F64)
}

/// Says why an input cannot take what a tokenizer makes.
fn length_fault(port: &Port, tokenize: &Tokenize) -> Option<String> {
    let dims = port.shape.dims()?;
    let [_, length] = dims else {
        return Some("makes a batch of sequences, which has 2 dimensions".to_owned());
    };
    let Dim::Fixed(length) = length else { return None };
    match (tokenize.padding, tokenize.max_length) {
        (Padding::MaxLength, Some(most)) if most == *length => None,
        _ => Some(format!(
            "makes any number of tokens here; write `max_length: {length}` and `padding: max_length`"
        )),
    }
}

/// Gives the least and the most dimensions that a step works on, and how to say so.
fn ranks(step: &OutputStep) -> (usize, usize, &'static str) {
    match step {
        OutputStep::MeanPool { .. } | OutputStep::ClsPool => {
            (3, 3, "takes a vector for each token, [batch, tokens, size]")
        }
        OutputStep::Detect(detect) => match detect.form {
            DetectForm::Ssd { .. } => (2, 3, "takes boxes, [batch, boxes, 4]"),
            _ => (3, 3, "takes rows or columns of boxes, [batch, …, …]"),
        },
        OutputStep::Mask => (3, 4, "takes scores for each pixel, [batch, classes, height, width]"),
        OutputStep::Ctc(_) => (3, 3, "takes scores for each moment, [batch, moments, classes]"),
        OutputStep::DecodeTokens(_) => (1, 3, "takes [batch, tokens] or scores, [batch, tokens, classes]"),
        _ => (1, 64, "takes at least one dimension"),
    }
}
