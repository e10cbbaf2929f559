//! Element types: what each operator makes of those it is given.

use std::collections::HashSet;

use super::{Attribute, Node, Value};
use crate::tensor::DType;

/// Tells the element type of a node's output; `None` where it is unknown, and for what is no tensor.
///
/// Source: the operators' definitions, Operators.md of ONNX and ContribOperators.md of ONNX Runtime.
pub fn infer(node: &Node<'_>, at: usize) -> Option<DType> {
    if node.calls_function {
        return None;
    }
    match node.domain {
        "ai.onnx" => standard(node, at),
        "com.microsoft" => microsoft(node, at),
        _ => None,
    }
}

fn standard(node: &Node<'_>, at: usize) -> Option<DType> {
    let input = |at: usize| node.inputs.get(at).and_then(|value| value.dtype);
    let attribute = |name: &str| node.int(name).and_then(named);
    match (node.op_type, at) {
        ("And" | "Or" | "Xor" | "Not" | "Equal" | "Greater" | "Less" | "GreaterOrEqual" | "LessOrEqual", 0)
        | ("IsNaN" | "IsInf" | "RegexFullMatch" | "OptionalHasElement" | "SequenceEmpty", 0) => Some(DType::Bool),
        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression" | "SequenceLength", 0)
        | ("TopK" | "MaxPool" | "StringSplit", 1)
        | ("Unique", 1..) => Some(DType::I64),
        ("Cast", 0) => attribute("to"),
        ("CastLike", 0) | ("Where", 0) | ("RMSNormalization", 0) => input(1),
        ("OneHot", 0) => input(2),
        ("ConstantOfShape", 0) => match node.attribute("value") {
            Some(Attribute::Tensor(tensor)) => DType::from_onnx(tensor.data_type()),
            Some(_) => None,
            None => Some(DType::F32),
        },
        ("EyeLike" | "RandomNormalLike" | "RandomUniformLike" | "Bernoulli", 0) => or_left_out(node, "dtype", input(0)),
        ("RandomNormal" | "RandomUniform", 0) => or_left_out(node, "dtype", Some(DType::F32)),
        ("Multinomial", 0) => or_left_out(node, "dtype", Some(DType::I32)),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix", 0) => {
            or_left_out(node, "output_datatype", Some(DType::F32))
        }
        ("QuantizeLinear", 0) => match node.inputs.get(2) {
            Some(zero) if !zero.name.is_empty() => zero.dtype,
            _ => or_left_out(node, "output_dtype", Some(DType::U8)),
        },
        ("DequantizeLinear", 0) => or_left_out(node, "output_dtype", input(1)),
        ("DynamicQuantizeLinear", 0 | 2) | ("ImageDecoder", 0) => Some(DType::U8),
        ("DynamicQuantizeLinear", 1) | ("TfIdfVectorizer", 0) => Some(DType::F32),
        ("QLinearConv" | "QLinearMatMul", 0) => input(7),
        ("ConvInteger" | "MatMulInteger", 0) => Some(DType::I32),
        ("StringNormalizer" | "StringConcat" | "StringSplit", 0) => Some(DType::String),
        // The mask had the type of the data before opset 10.
        ("Dropout", 1) => {
            if node.opset? < 10 {
                input(0)
            } else {
                Some(DType::Bool)
            }
        }
        ("LayerNormalization", 1 | 2) => or_left_out(node, "stash_type", Some(DType::F32)),
        ("Attention", 1 | 2) => input(at),
        ("Attention", 3) => input(0),
        ("BatchNormalization", 1 | 2) => input(at + 2),
        ("BatchNormalization", 3 | 4) => input(at),
        ("LSTM" | "GRU" | "RNN" | "Split" | "SoftmaxCrossEntropyLoss", _) => input(0),
        (name, 0) if LIKE_FIRST.contains(&name) => input(0),
        ("TopK" | "MaxPool" | "Unique" | "Dropout" | "LayerNormalization" | "Attention" | "BatchNormalization", 0) => {
            input(0)
        }
        _ => None,
    }
}

fn microsoft(node: &Node<'_>, at: usize) -> Option<DType> {
    let input = |at: usize| node.inputs.get(at).and_then(|value| value.dtype);
    match (node.op_type, at) {
        (
            "Gelu" | "FastGelu" | "BiasGelu" | "QuickGelu" | "FusedConv" | "FusedGemm" | "FusedMatMul" | "MatMulNBits",
            0,
        )
        | ("SkipLayerNormalization" | "SkipSimplifiedLayerNormalization" | "EmbedLayerNormalization", 0 | 3)
        | ("MultiHeadAttention" | "GroupQueryAttention", 0..=2)
        | ("Attention" | "RotaryEmbedding" | "BiasSplitGelu" | "NhwcConv", 0)
        | ("QLinearAdd" | "QLinearMul" | "QLinearSigmoid" | "QLinearLeakyRelu" | "QLinearSoftmax", 0)
        | ("QLinearGlobalAveragePool" | "QLinearAveragePool" | "QLinearConcat", 0) => match node.op_type {
            "EmbedLayerNormalization" if at == 0 => input(2),
            "EmbedLayerNormalization" => None,
            // Its first two inputs are the scale and zero point of the output.
            "QLinearConcat" => input(1),
            _ => input(0),
        },
        ("DynamicQuantizeMatMul" | "MatMulIntegerToFloat", 0) => Some(DType::F32),
        ("QuantizeLinear", 0) => input(2).or(node.inputs.get(2).is_none().then_some(DType::U8)),
        ("DequantizeLinear", 0) => input(1),
        _ => None,
    }
}

/// The operators whose first output has the element type of their first input, in every opset.
const LIKE_FIRST: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Add",
    "AffineGrid",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "BitShift",
    "BitwiseAnd",
    "BitwiseNot",
    "BitwiseOr",
    "BitwiseXor",
    "Ceil",
    "Celu",
    "CenterCropPad",
    "Clip",
    "Col2Im",
    "Compress",
    "Concat",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "CumSum",
    "DFT",
    "DeformConv",
    "DepthToSpace",
    "Det",
    "Div",
    "Einsum",
    "Elu",
    "Erf",
    "Exp",
    "Expand",
    "Flatten",
    "Floor",
    "Gather",
    "GatherElements",
    "GatherND",
    "Gelu",
    "Gemm",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GridSample",
    "GroupNormalization",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "InstanceNormalization",
    "LRN",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "LpPool",
    "MatMul",
    "Max",
    "MaxRoiPool",
    "MaxUnpool",
    "Mean",
    "MeanVarianceNormalization",
    "Min",
    "Mish",
    "Mod",
    "Mul",
    "Neg",
    "NegativeLogLikelihoodLoss",
    "PRelu",
    "Pad",
    "Pow",
    "Range",
    "Reciprocal",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSum",
    "ReduceSumSquare",
    "Relu",
    "Reshape",
    "Resize",
    "ReverseSequence",
    "RoiAlign",
    "RotaryEmbedding",
    "Round",
    "STFT",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Slice",
    "Softmax",
    "SoftmaxCrossEntropyLoss",
    "Softplus",
    "Softsign",
    "SpaceToDepth",
    "Sqrt",
    "Squeeze",
    "Sub",
    "Sum",
    "Swish",
    "Tan",
    "Tanh",
    "TensorScatter",
    "ThresholdedRelu",
    "Tile",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Upsample",
];

/// Gives the type that an attribute names, and the default where it is left out or 0.
fn or_left_out(node: &Node<'_>, attribute: &str, default: Option<DType>) -> Option<DType> {
    match node.int(attribute) {
        None | Some(0) => default,
        Some(number) => named(number),
    }
}

fn named(number: i64) -> Option<DType> {
    i32::try_from(number).ok().and_then(DType::from_onnx)
}

/// Tells what a control-flow node gives to the inputs of its body.
///
/// Only element types go in: what is carried around a loop may change its shape and value each time.
pub fn body_inputs<'m>(op_type: &str, inputs: &[Value<'m>]) -> Vec<Value<'m>> {
    let typed = |value: &Value<'m>| Value {
        dtype: value.dtype,
        ..Value::default()
    };
    let scalar = |dtype| Value {
        dtype: Some(dtype),
        ..Value::default()
    };
    match op_type {
        // The trip number and the condition, then what is carried.
        "Loop" => {
            let carried = inputs.iter().skip(2).map(typed);
            [scalar(DType::I64), scalar(DType::Bool)]
                .into_iter()
                .chain(carried)
                .collect()
        }
        "Scan" => inputs.iter().map(typed).collect(),
        _ => Vec::new(),
    }
}

/// Tells what a control-flow node gives, from what its bodies give.
pub fn body_output<'m>(op_type: &str, bodies: &[(&'m str, Vec<Value<'m>>)], at: usize) -> Value<'m> {
    // The body of a Loop gives the condition first.
    let at = if op_type == "Loop" { at + 1 } else { at };
    if !matches!(op_type, "If" | "Loop" | "Scan") {
        return Value::default();
    }
    let given: HashSet<Option<DType>> = bodies.iter().map(|(_, outputs)| outputs.get(at)?.dtype).collect();
    let mut given = given.into_iter();
    match (given.next(), given.next()) {
        (Some(dtype), None) => Value {
            dtype,
            ..Value::default()
        },
        _ => Value::default(),
    }
}
