use crate::tensor::Tensor;

/// Is one thing that a person gives.
#[derive(Clone, Debug, PartialEq)]
pub enum Item {
    /// The bytes of a picture's file.
    Picture(Vec<u8>),
    /// The bytes of a sound's file.
    Sound(Vec<u8>),
    /// Text.
    Text(String),
    /// Two texts that belong together, such as a question and where its answer stands.
    Pair(String, String),
    /// A tensor, which goes into the model's input as it is.
    Tensor(Tensor),
}

impl Item {
    /// Names the kind, for messages.
    pub fn kind(&self) -> &'static str {
        match self {
            Item::Picture(_) => "a picture",
            Item::Sound(_) => "a sound",
            Item::Text(_) => "text",
            Item::Pair(..) => "a pair of texts",
            Item::Tensor(_) => "a tensor",
        }
    }
}

/// Is what one answer is wanted for: each thing with the name of its steps in `preprocessing`, or of the model's input.
///
/// A name may be left out where there is one thing to give.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Request {
    /// The things.
    pub items: Vec<(Option<String>, Item)>,
}

impl From<Item> for Request {
    fn from(item: Item) -> Self {
        Request {
            items: vec![(None, item)],
        }
    }
}
