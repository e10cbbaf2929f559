//! The form of a node: what the capability table is asked about, and what it is made of.

use std::collections::BTreeMap;

use super::infer::Known;
use crate::onnx::Attribute;
use crate::onnx::proto::{AttributeProto, NodeProto};
use crate::tensor::DType;

/// Is what a node looks like to the capability table: its features, each a key and a class of values.
///
/// Keys: `types` is the element types of the inputs, `-` for one left out; `ranks` is there for operators whose
/// correctness depends on ranks; `@NAME` is an attribute, `-` where it is left out.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Form {
    /// The operator, after `DOMAIN:` where the domain is not ONNX's own.
    pub operator: String,
    /// The version of its operator set that the model imports.
    pub opset: i64,
    /// The features but for the outputs' types, which the table knows.
    pub features: BTreeMap<String, String>,
}

/// Operators that take any number of inputs of one type.
const VARIADIC: &[&str] = &["Concat", "Einsum", "Max", "Mean", "Min", "Sum"];
/// Operators that give any number of outputs of one type.
pub const SPREADING: &[&str] = &["Split"];

/// Operators for which some ranks are right and others wrong, with the inputs whose rank decides.
const RANKED: &[(&str, &[usize])] = &[
    ("BatchNormalization", &[0]),
    ("Conv", &[1]),
    ("ConvInteger", &[1]),
    ("ConvTranspose", &[1]),
    ("DequantizeLinear", &[1]),
    ("Einsum", &[0, 1]),
    ("GlobalAveragePool", &[0]),
    ("GlobalMaxPool", &[0]),
    ("GridSample", &[0]),
    ("InstanceNormalization", &[0]),
    ("MatMul", &[0, 1]),
    ("MatMulInteger", &[0, 1]),
    ("NonZero", &[0]),
    ("PRelu", &[0, 1]),
    ("QuantizeLinear", &[1]),
    ("Resize", &[0]),
    ("Upsample", &[0]),
];

/// Ranks from this one on are one class for MatMul and its like: what comes before the last two is a batch.
const BATCHED: usize = 3;

impl Form {
    /// Describes a node.
    ///
    /// `inputs` is what is known of each input, `None` for one left out. Gives `None` where the node holds a graph,
    /// which the table has no words for.
    pub fn of(node: &NodeProto, opset: i64, inputs: &[Option<&Known>]) -> Option<Form> {
        let operator = match node.domain() {
            "" | "ai.onnx" => node.op_type().to_owned(),
            domain => format!("{domain}:{}", node.op_type()),
        };
        let dtypes = inputs.iter().map(|known| known.map(|known| known.dtype));
        let mut features = BTreeMap::from([("types".to_owned(), types(VARIADIC.contains(&operator.as_str()), dtypes))]);
        if let Some((_, positions)) = RANKED.iter().find(|(name, _)| *name == operator) {
            features.insert("ranks".to_owned(), ranks(&operator, positions, inputs));
        }
        for attribute in &node.attribute {
            features.insert(format!("@{}", attribute.name()), class(attribute)?);
        }
        Some(Form {
            operator,
            opset,
            features,
        })
    }

    /// Gives a feature's value; `-` for an attribute that is left out.
    pub fn value(&self, key: &str) -> &str {
        self.features.get(key).map_or("-", String::as_str)
    }
}

/// Writes types as the table does: `float32,-,int64`, and `float32*` for any number of one type.
pub fn types(variadic: bool, dtypes: impl Iterator<Item = Option<DType>>) -> String {
    let mut names: Vec<&str> = dtypes.map(|dtype| dtype.map_or("-", DType::name)).collect();
    while names.last() == Some(&"-") {
        names.pop();
    }
    match names.first() {
        Some(first) if variadic && names.iter().all(|name| name == first) => format!("{first}*"),
        _ => names.join(","),
    }
}

fn ranks(operator: &str, positions: &[usize], inputs: &[Option<&Known>]) -> String {
    let batched = operator.starts_with("MatMul");
    let rank = |position: &usize| match inputs.get(*position).copied().flatten().map(|known| known.rank) {
        None => "-".to_owned(),
        Some(None) => "?".to_owned(),
        Some(Some(rank)) if batched && rank >= BATCHED => "n".to_owned(),
        Some(Some(rank)) => rank.to_string(),
    };
    positions.iter().map(rank).collect::<Vec<_>>().join(",")
}

/// The attributes that name an axis: any from the front is one class, any from the back another.
const AXES: &[&str] = &[
    "axis",
    "axes",
    "batch_axis",
    "time_axis",
    "start",
    "end",
    "perm",
    "batch_dims",
    "k",
];
/// The attributes with a value for each spatial axis.
const SPATIAL: &[&str] = &[
    "dilations",
    "kernel_shape",
    "output_padding",
    "output_shape",
    "pads",
    "strides",
];
/// The attributes that number an element type.
const DTYPES: &[&str] = &["dtype", "output_dtype", "to"];

/// Gives the class of an attribute's value; `None` for graphs and what else has no class.
fn class(attribute: &AttributeProto) -> Option<String> {
    let name = attribute.name();
    Some(match Attribute::read(attribute).ok()? {
        Attribute::Int(value) if DTYPES.contains(&name) => {
            let dtype = i32::try_from(value).ok().and_then(DType::from_onnx);
            dtype.map_or_else(|| value.to_string(), |dtype| dtype.name().to_owned())
        }
        Attribute::Int(value) if AXES.contains(&name) => sign(value).to_owned(),
        Attribute::Int(value @ -1..=1) => value.to_string(),
        Attribute::Int(value) => if value < 0 { "negative" } else { "many" }.to_owned(),
        Attribute::Float(value) => match value {
            0.0 => "0",
            1.0 => "1",
            value if value.is_finite() => "finite",
            _ => "infinite",
        }
        .to_owned(),
        Attribute::String(text) => quote(text),
        Attribute::Tensor(tensor) => DType::from_onnx(tensor.data_type())
            .map_or("undefined", DType::name)
            .to_owned(),
        Attribute::Ints(values) if SPATIAL.contains(&name) => format!("{}d:{}", values.len(), spatial(name, values)),
        Attribute::Ints(values) if AXES.contains(&name) => axes(values).to_owned(),
        Attribute::Ints(values) => spatial(name, values).to_owned(),
        Attribute::Floats([]) => "none".to_owned(),
        Attribute::Floats(_) => "floats".to_owned(),
        Attribute::Strings(texts) => texts.iter().map(|text| quote(text)).collect::<Vec<_>>().join(","),
        Attribute::Graph(_) | Attribute::Other | Attribute::Reference(_) => return None,
    })
}

/// Old softmax flattens, so that only the last axis means there what it means now.
fn sign(value: i64) -> &'static str {
    match value {
        -1 => "last",
        value if value < 0 => "negative",
        _ => "natural",
    }
}

/// Gives a text without what the table's own syntax uses.
fn quote(text: &[u8]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.,->".contains(c);
    let text: String = String::from_utf8_lossy(text)
        .chars()
        .filter(|c| *c != ' ')
        .map(|c| if plain(c) { c } else { '?' })
        .collect();
    if text.is_empty() { "empty".to_owned() } else { text }
}

fn spatial(name: &str, values: &[i64]) -> &'static str {
    if name == "kernel_shape" {
        return "any";
    }
    let (front, back) = values.split_at(values.len() / 2);
    match values {
        [] => "none",
        _ if values.iter().any(|&value| value < 0) => "negative",
        _ if values.iter().all(|&value| value == 0) => "zeros",
        _ if values.iter().all(|&value| value == 1) && name != "pads" => "ones",
        _ if name == "pads" && front == back => "even",
        _ if name == "pads" => "uneven",
        _ if values.iter().all(|&value| value == values[0]) => "equal",
        _ => "mixed",
    }
}

fn axes(values: &[i64]) -> &'static str {
    match values {
        [] => "none",
        _ if values.iter().all(|&value| value < 0) => "negative",
        _ if values.iter().all(|&value| value >= 0) => "natural",
        _ => "mixed",
    }
}
