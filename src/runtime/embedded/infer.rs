//! What can be known of the tensors in a graph without running it: type, rank, and whether integers stay small.

use crate::onnx::proto::{NodeProto, TensorProto};
use crate::tensor::DType;

/// Is what is known of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The element type.
    pub dtype: DType,
    /// The number of dimensions, where it can be told.
    pub rank: Option<usize>,
    /// The number of elements, where it can be told and matters: of lists of sizes and axes.
    pub length: Option<usize>,
    /// Whether integers in it are sizes, positions and constants of 32 bits, or made of such; else they may be anything.
    pub small: bool,
    /// The values, of a short integer constant.
    pub values: Option<Vec<i64>>,
}

impl Known {
    /// Knows a type alone.
    pub fn of(dtype: DType) -> Known {
        Known {
            dtype,
            rank: None,
            length: None,
            small: false,
            values: None,
        }
    }

    /// Knows a constant.
    pub fn constant(tensor: &TensorProto, dtype: DType) -> Known {
        let values = integers(tensor);
        Known {
            rank: Some(tensor.dims.len()),
            length: tensor
                .dims
                .iter()
                .try_fold(1usize, |product, &dim| product.checked_mul(usize::try_from(dim).ok()?)),
            small: dtype != DType::I64
                || values
                    .as_ref()
                    .is_some_and(|values| values.iter().all(|&value| is_small(value))),
            values: values.filter(|values| values.len() <= 64),
            dtype,
        }
    }
}

/// Tells whether the engine's 32 bits hold an integer.
pub fn is_small(value: i64) -> bool {
    i32::try_from(value).is_ok()
}

/// Gives the elements of an int32 or int64 constant that is held in the graph.
pub fn integers(tensor: &TensorProto) -> Option<Vec<i64>> {
    let dtype = DType::from_onnx(tensor.data_type())?;
    if tensor.data_location() != 0 {
        return None;
    }
    if let Some(raw) = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty()) {
        return match dtype {
            DType::I64 => Some(
                raw.as_chunks()
                    .0
                    .iter()
                    .map(|chunk| i64::from_le_bytes(*chunk))
                    .collect(),
            ),
            DType::I32 => Some(
                raw.as_chunks()
                    .0
                    .iter()
                    .map(|chunk| i32::from_le_bytes(*chunk).into())
                    .collect(),
            ),
            _ => None,
        };
    }
    let packed = match dtype {
        DType::I64 => &tensor.int64_data,
        DType::I32 => &tensor.int32_data,
        _ => return None,
    };
    let mut values = Vec::new();
    for mut chunk in packed.iter().map(|chunk| chunk.as_ref()) {
        while !chunk.is_empty() {
            values.push(prost::encoding::decode_varint(&mut chunk).ok()? as i64);
        }
    }
    Some(values)
}

/// Operators whose integer results are no larger than the integers they are given.
const KEEPING: &[&str] = &[
    "Cast",
    "CastLike",
    "Clip",
    "Compress",
    "Concat",
    "DepthToSpace",
    "Expand",
    "Flatten",
    "Gather",
    "GatherElements",
    "GatherND",
    "Identity",
    "Max",
    "Min",
    "Mod",
    "Pad",
    "ReduceMax",
    "ReduceMin",
    "Relu",
    "Reshape",
    "ReverseSequence",
    "Sign",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Transpose",
    "Trilu",
    "Unsqueeze",
    "Where",
];
/// Operators whose integer results are sizes and positions.
const MEASURING: &[&str] = &[
    "ArgMax",
    "ArgMin",
    "ConstantOfShape",
    "EyeLike",
    "NonMaxSuppression",
    "NonZero",
    "Shape",
    "Size",
];

/// Tells whether an operator computes with integers, so that its results need more bits than what it is given.
pub fn computes(operator: &str) -> bool {
    !KEEPING.contains(&operator) && !MEASURING.contains(&operator)
}

/// Gives what is known of a node's output at `position`, whose type is known.
pub fn output(node: &NodeProto, position: usize, dtype: DType, inputs: &[Option<&Known>]) -> Known {
    let operator = node.op_type();
    let integers = inputs
        .iter()
        .flatten()
        .filter(|known| matches!(known.dtype, DType::I64));
    let small = MEASURING.contains(&operator)
        || (operator == "TopK" && position == 1)
        || (integers.clone().all(|known| known.small)
            && inputs.iter().flatten().any(|known| known.dtype != DType::F32))
        || (integers.count() == 0 && dtype == DType::I64);
    let rank = rank(node, inputs);
    Known {
        dtype,
        rank,
        length: length(node, rank, inputs),
        small: small || !matches!(dtype, DType::I64),
        values: None,
    }
}

fn attribute<'n>(node: &'n NodeProto, name: &str) -> Option<&'n crate::onnx::proto::AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

fn rank(node: &NodeProto, inputs: &[Option<&Known>]) -> Option<usize> {
    let known = |at: usize| inputs.get(at).copied().flatten();
    let input = |at: usize| known(at).and_then(|known| known.rank);
    let listed = |name: &str, at: usize| {
        attribute(node, name)
            .map(|attribute| attribute.ints.len())
            .or_else(|| known(at).and_then(|known| known.length))
    };
    match node.op_type() {
        "Add" | "And" | "BitShift" | "Div" | "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual"
        | "Max" | "Mean" | "Min" | "Mod" | "Mul" | "Or" | "Pow" | "Sub" | "Sum" | "Where" | "Xor" => inputs
            .iter()
            .flatten()
            .map(|known| known.rank)
            .try_fold(0, |most, rank| Some(most.max(rank?))),
        "ArgMax" | "ArgMin" => match attribute(node, "keepdims").is_none_or(|keep| keep.i() != 0) {
            true => input(0),
            false => input(0)?.checked_sub(1),
        },
        "ConstantOfShape" => known(0)?.length,
        "Expand" => Some(input(0)?.max(known(1)?.length?)),
        "Flatten" | "Gemm" | "NonZero" => Some(2),
        "Gather" => (input(0)? + input(1)?).checked_sub(1),
        "GatherElements" => input(1),
        "MatMul" | "MatMulInteger" => match (input(0)?, input(1)?) {
            (1, 1) => Some(0),
            (1, rank) | (rank, 1) => rank.checked_sub(1),
            (left, right) => Some(left.max(right)),
        },
        "OneHot" => Some(input(0)? + 1),
        "Range" | "Shape" => Some(1),
        "Size" => Some(0),
        "Reshape" => known(1)
            .and_then(|known| known.length)
            .or_else(|| attribute(node, "shape").map(|shape| shape.ints.len())),
        "Squeeze" => input(0)?.checked_sub(listed("axes", 1)?),
        "Unsqueeze" => Some(input(0)? + listed("axes", 1)?),
        name if name.starts_with("Reduce") => match attribute(node, "keepdims").is_none_or(|keep| keep.i() != 0) {
            true => input(0),
            false => input(0)?.checked_sub(listed("axes", 1)?),
        },
        "Einsum" | "GatherND" | "GRU" | "LSTM" | "NonMaxSuppression" => None,
        _ => input(0),
    }
}

/// Counts the elements of a list of sizes or axes.
fn length(node: &NodeProto, rank: Option<usize>, inputs: &[Option<&Known>]) -> Option<usize> {
    let known = |at: usize| inputs.get(at).copied().flatten();
    match node.op_type() {
        "Shape" if node.attribute.is_empty() => known(0)?.rank,
        "Concat" if rank == Some(1) => inputs.iter().flatten().map(|known| known.length).sum(),
        "Cast" | "Identity" | "Squeeze" | "Unsqueeze" => known(0)?.length,
        "Gather" => match known(0)?.rank? {
            1 => known(1)?.length,
            _ => None,
        },
        "Add" | "Div" | "Mul" | "Sub" => {
            let (left, right) = (known(0)?.length?, known(1)?.length?);
            (left == right || left == 1 || right == 1).then_some(left.max(right))
        }
        "Size" => Some(1),
        _ if rank == Some(0) => Some(1),
        _ => None,
    }
}
