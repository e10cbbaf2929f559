use crate::gpuxfile::paths::ContextPath;
use crate::tensor::TensorName;

/// Is one step on the way from an output of the model to an answer.
#[derive(Clone, Debug, PartialEq)]
pub enum OutputStep {
    /// Makes scores into shares of 1, along the last dimension.
    Softmax,
    /// Makes each score a share of 1 by itself.
    Sigmoid,
    /// Takes the class of the greatest score.
    Argmax,
    /// Takes the classes of the greatest scores.
    TopK(u64),
    /// Takes the classes whose scores are at least this.
    Threshold(f64),
    /// Takes the mean over the tokens that the mask, an input of the model, has.
    MeanPool { mask: TensorName },
    /// Takes the first token.
    ClsPool,
    /// Divides by the Euclidean length.
    L2Normalize,
    /// Compares each value of a call with each.
    CosineSimilarity,
    /// Finds things in a picture.
    Detect(Detect),
    /// Tells for each pixel of a picture its class.
    Mask,
    /// Makes numbers of tokens into text.
    DecodeTokens(DecodeTokens),
    /// Makes a sequence of class scores into text, without repetitions and blanks.
    Ctc(Ctc),
    /// Writes the answer as text.
    Template(String),
}

/// Says how things are found.
#[derive(Clone, Debug, PartialEq)]
pub struct Detect {
    pub form: DetectForm,
    /// The least score.
    pub score: f64,
    /// Of two boxes of a class whose intersection is more than this share of their union, the better one stays.
    pub iou: f64,
    /// The most boxes.
    pub limit: u64,
    /// Whether boxes of different classes do not stand in each other's way.
    pub per_class: bool,
}

/// Says how a model writes what it found.
#[derive(Clone, Debug, PartialEq)]
pub enum DetectForm {
    /// Rows of center x, center y, width, height, objectness and a score a class, in pixels of the input.
    YoloV5,
    /// Columns of center x, center y, width, height and a score a class, in pixels of the input.
    YoloV8,
    /// Boxes, classes and scores in outputs of their own, in shares of the input's sides.
    Ssd {
        scores: TensorName,
        classes: TensorName,
        order: BoxOrder,
    },
}

/// Says in which order the sides of a box stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoxOrder {
    /// Left, top, right, bottom.
    Xyxy,
    /// Top, left, bottom, right.
    Yxyx,
}

/// Says how numbers of tokens become text.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodeTokens {
    /// The tokenizer's file, a `tokenizer.json`.
    pub tokenizer: ContextPath,
    /// Whether the tokenizer's own tokens, such as `[CLS]`, are left out.
    pub skip_special: bool,
}

/// Says how a sequence of class scores becomes text.
#[derive(Clone, Debug, PartialEq)]
pub struct Ctc {
    /// The class that stands for nothing.
    pub blank: u64,
    /// The label that stands for a space.
    pub delimiter: Option<String>,
    /// The tokenizer that names the classes; `None` for the output's labels.
    pub tokenizer: Option<ContextPath>,
}

impl BoxOrder {
    pub(super) const NAMES: &[(&str, BoxOrder)] = &[("xyxy", BoxOrder::Xyxy), ("yxyx", BoxOrder::Yxyx)];
}

impl OutputStep {
    /// Gives the name in a GPUXfile.
    pub fn name(&self) -> &'static str {
        match self {
            OutputStep::Softmax => "softmax",
            OutputStep::Sigmoid => "sigmoid",
            OutputStep::Argmax => "argmax",
            OutputStep::TopK(_) => "top_k",
            OutputStep::Threshold(_) => "threshold",
            OutputStep::MeanPool { .. } => "mean_pool",
            OutputStep::ClsPool => "cls_pool",
            OutputStep::L2Normalize => "l2_normalize",
            OutputStep::CosineSimilarity => "cosine_similarity",
            OutputStep::Detect(_) => "detect",
            OutputStep::Mask => "mask",
            OutputStep::DecodeTokens(_) => "decode_tokens",
            OutputStep::Ctc(_) => "ctc",
            OutputStep::Template(_) => "template",
        }
    }

    /// Gives the side file that the step reads.
    pub fn file(&self) -> Option<&ContextPath> {
        match self {
            OutputStep::DecodeTokens(decode) => Some(&decode.tokenizer),
            OutputStep::Ctc(ctc) => ctc.tokenizer.as_ref(),
            _ => None,
        }
    }
}
