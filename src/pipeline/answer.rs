use serde::Serialize;

/// Is the answer to one request: for each output with steps, in the order of `postprocessing`, its name and answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// The answers.
    pub answers: Vec<(String, Answer)>,
}

impl Serialize for Record {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.answers.iter().map(|(name, answer)| (name, answer)))
    }
}

/// Is what the steps of an output made.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Answer {
    /// Classes, the best first.
    Labels {
        /// The classes.
        labels: Vec<Label>,
    },
    /// Numbers: an embedding, or shares that no step makes classes of.
    Numbers {
        /// The shape of one answer.
        shape: Vec<usize>,
        /// The numbers, in row-major order.
        values: Vec<f32>,
    },
    /// How alike the request is to each of the call, itself included.
    Similarities {
        /// The cosines, in the order of the requests.
        values: Vec<f32>,
    },
    /// What was found in a picture, the best first.
    Boxes {
        /// The picture's width in pixels.
        width: u32,
        /// The picture's height in pixels.
        height: u32,
        /// What was found.
        boxes: Vec<Found>,
    },
    /// The class of each pixel.
    Mask(Mask),
    /// Text.
    Text {
        /// The text.
        text: String,
    },
    /// Text that a decoder made.
    #[serde(rename = "text")]
    Generated {
        /// The text, without tokens that stand for none.
        text: String,
        /// The tokens, that which ended it included.
        tokens: Vec<u32>,
        /// What ended it: `token`, `length`, or `stopped`.
        ended: &'static str,
    },
}

/// Says what an answer will be, before there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    /// [`Answer::Labels`].
    Labels,
    /// [`Answer::Numbers`].
    Numbers,
    /// [`Answer::Similarities`].
    Similarities,
    /// [`Answer::Boxes`].
    Boxes,
    /// [`Answer::Mask`].
    Mask,
    /// [`Answer::Text`].
    Text,
}

impl AnswerKind {
    /// Names it as answers do.
    pub fn name(self) -> &'static str {
        match self {
            AnswerKind::Labels => "labels",
            AnswerKind::Numbers => "numbers",
            AnswerKind::Similarities => "similarities",
            AnswerKind::Boxes => "boxes",
            AnswerKind::Mask => "mask",
            AnswerKind::Text => "text",
        }
    }
}

/// Is one class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Label {
    /// The class by number.
    pub index: usize,
    /// Its name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its score.
    pub score: f32,
}

/// Is one thing found in a picture.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Found {
    /// The class.
    #[serde(flatten)]
    pub label: Label,
    /// Left, top, right and bottom.
    ///
    /// Units: pixels of the picture as it was given, upright.
    #[serde(rename = "box")]
    pub sides: [f32; 4],
}

/// Is the class of each pixel of a picture, as it was given, upright.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Mask {
    /// The picture's width in pixels.
    pub width: u32,
    /// The picture's height in pixels.
    pub height: u32,
    /// The classes that are there, the most frequent first, each with its share of the pixels as its score.
    pub labels: Vec<Label>,
    /// The class of each pixel, row by row.
    #[serde(skip)]
    pub classes: Vec<u8>,
    /// The mask as a picture: a PNG of grey values that are the classes, in base64.
    pub png: String,
}

impl Label {
    /// Gives the name, or the number where there is no name.
    pub fn name(&self) -> String {
        self.label.clone().unwrap_or_else(|| self.index.to_string())
    }
}
