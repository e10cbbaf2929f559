//! Dimensions, where they follow cheaply from those of the inputs.

use super::{Node, RANK_MAX, Value};

type Dims = Vec<Option<u64>>;

/// Tells the dimensions of a node's output; `None` where even their number is unknown.
///
/// Source: the operators' definitions, Operators.md of ONNX.
pub fn infer(node: &Node<'_>, at: usize) -> Option<super::Dims> {
    let dims = node.is_standard().then(|| output(node, at)).flatten()?;
    (dims.len() <= RANK_MAX).then(|| dims.into())
}

fn output(node: &Node<'_>, at: usize) -> Option<Dims> {
    let input = |at: usize| node.inputs.get(at).and_then(|value| value.shape.as_deref());
    let first = || input(0).map(<[_]>::to_vec);
    match (node.op_type, at) {
        (name, 0) if SAME.contains(&name) => first(),
        (name, 0) if BROADCAST.contains(&name) => {
            let shapes: Option<Vec<_>> = node.inputs.iter().map(|input| input.shape.as_deref()).collect();
            broadcast(&shapes?)
        }
        (name, _) if SAME_RANK.contains(&name) => first().map(|dims| vec![None; dims.len()]),
        (name, 0) if name.starts_with("Reduce") || name.starts_with("Arg") => reduce(node),
        ("Dropout", 1) => first(),
        ("Shape", 0) if node.int("start").is_none() && node.int("end").is_none() => {
            Some(vec![Some(input(0)?.len() as u64)])
        }
        ("Shape" | "Range", 0) => Some(vec![None]),
        ("Size", 0) => Some(Vec::new()),
        ("NonZero", 0) => Some(vec![input(0).map(|dims| dims.len() as u64), None]),
        ("Transpose", 0) => transpose(node),
        ("Reshape", 0) => reshape(node),
        ("Expand" | "ConstantOfShape", 0) => sized(node),
        ("Unsqueeze", 0) => unsqueeze(node),
        ("Squeeze", 0) => squeeze(node),
        ("Flatten", 0) => Some(vec![None, None]),
        ("Gemm", 0) => gemm(node),
        ("MatMul", 0) => matmul(input(0)?, input(1)?),
        ("Gather", 0) => gather(node),
        ("GatherElements", 0) => input(1).map(<[_]>::to_vec),
        ("Concat", 0) => concat(node),
        ("OneHot", 0) => Some(vec![None; input(0)?.len() + 1]),
        _ => None,
    }
}

/// The operators whose first output has the dimensions of their first input, in every opset.
const SAME: &[&str] = &[
    "Abs",
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "BatchNormalization",
    "Bernoulli",
    "BitwiseNot",
    "Cast",
    "CastLike",
    "Ceil",
    "Celu",
    "Clip",
    "Cos",
    "Cosh",
    "CumSum",
    "DequantizeLinear",
    "Dropout",
    "DynamicQuantizeLinear",
    "Elu",
    "Erf",
    "Exp",
    "EyeLike",
    "Floor",
    "Gelu",
    "HardSigmoid",
    "HardSwish",
    "Hardmax",
    "Identity",
    "GroupNormalization",
    "InstanceNormalization",
    "IsInf",
    "IsNaN",
    "LRN",
    "LayerNormalization",
    "LeakyRelu",
    "Log",
    "LogSoftmax",
    "LpNormalization",
    "MeanVarianceNormalization",
    "Mish",
    "Neg",
    "Not",
    "QuantizeLinear",
    "RandomNormalLike",
    "RandomUniformLike",
    "Reciprocal",
    "Relu",
    "RMSNormalization",
    "ReverseSequence",
    "Scatter",
    "Round",
    "ScatterElements",
    "ScatterND",
    "Selu",
    "Shrink",
    "Sigmoid",
    "Sign",
    "Sin",
    "Sinh",
    "Softmax",
    "Softplus",
    "Softsign",
    "Sqrt",
    "Tan",
    "Tanh",
    "ThresholdedRelu",
    "Trilu",
];

/// The operators whose inputs are broadcast to one shape, that of their output.
const BROADCAST: &[&str] = &[
    "Add",
    "And",
    "BitShift",
    "BitwiseAnd",
    "BitwiseOr",
    "BitwiseXor",
    "Div",
    "Equal",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Mean",
    "Min",
    "Mod",
    "Mul",
    "Or",
    "PRelu",
    "Pow",
    "Sub",
    "Sum",
    "Where",
    "Xor",
];

/// The operators whose outputs have as many dimensions as their first input.
const SAME_RANK: &[&str] = &[
    "AveragePool",
    "CenterCropPad",
    "Conv",
    "ConvInteger",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "LpPool",
    "MaxPool",
    "Pad",
    "QLinearConv",
    "GridSample",
    "Resize",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Tile",
    "TopK",
    "Upsample",
];

/// Aligns the dimensions of all inputs at their ends. A size of 1 gives way, and an unknown one may be 1.
fn broadcast(shapes: &[&[Option<u64>]]) -> Option<Dims> {
    let rank = shapes.iter().map(|dims| dims.len()).max()?;
    let mut joined = Vec::with_capacity(rank);
    for back in (1..=rank).rev() {
        let sizes = shapes
            .iter()
            .filter_map(|dims| dims.len().checked_sub(back).map(|at| dims[at]));
        let mut size = Some(1);
        for other in sizes {
            size = match (size, other) {
                (Some(1), other) => other,
                (size, Some(1)) => size,
                (Some(a), Some(b)) if a != b => return None,
                (Some(a), _) | (None, Some(a)) => Some(a),
                (None, None) => None,
            };
        }
        joined.push(size);
    }
    Some(joined)
}

/// Gives a constant that is an input where newer opsets have one, or an attribute as in older ones; `None` where it is
/// neither; the inner `None` where it is left out.
fn setting(node: &Node<'_>, at: usize, attribute: &str) -> Option<Option<Vec<i64>>> {
    match node.inputs.get(at).filter(|input| !input.name.is_empty()) {
        Some(input) => input.few_ints().map(Some),
        None => Some(node.ints(attribute).map(<[i64]>::to_vec)),
    }
}

/// Resolves an axis, which may count from the end.
fn resolve(axis: i64, rank: usize) -> Option<usize> {
    let rank = i64::try_from(rank).ok()?;
    let axis = if axis < 0 { axis.checked_add(rank)? } else { axis };
    (0..rank).contains(&axis).then_some(axis.unsigned_abs() as usize)
}

fn reduce(node: &Node<'_>) -> Option<Dims> {
    let mut dims = node.inputs.first()?.shape.as_deref()?.to_vec();
    let keep = node.int("keepdims").unwrap_or(1) != 0;
    let axes = match node.op_type {
        "ArgMax" | "ArgMin" => vec![node.int("axis").unwrap_or(0)],
        _ => match setting(node, 1, "axes") {
            Some(Some(axes)) if !axes.is_empty() => axes,
            Some(_) if node.int("noop_with_empty_axes").unwrap_or(0) != 0 => return Some(dims),
            Some(_) => (0..dims.len() as i64).collect(),
            // Which dimensions go is unknown, and so is how many are left unless all stay.
            None => return keep.then(|| vec![None; dims.len()]),
        },
    };
    let mut gone = vec![false; dims.len()];
    for axis in axes {
        gone[resolve(axis, dims.len())?] = true;
    }
    if keep {
        dims.iter_mut()
            .zip(&gone)
            .filter(|(_, gone)| **gone)
            .for_each(|(dim, _)| *dim = Some(1));
    } else {
        let mut gone = gone.into_iter();
        dims.retain(|_| !gone.next().unwrap_or(false));
    }
    Some(dims)
}

fn transpose(node: &Node<'_>) -> Option<Dims> {
    let dims = node.inputs.first()?.shape.as_deref()?;
    match node.ints("perm") {
        None => Some(dims.iter().rev().copied().collect()),
        Some(perm) if perm.len() == dims.len() => perm
            .iter()
            .map(|axis| resolve(*axis, dims.len()).map(|at| dims[at]))
            .collect(),
        Some(_) => None,
    }
}

fn reshape(node: &Node<'_>) -> Option<Dims> {
    let wanted = match setting(node, 1, "shape") {
        Some(wanted) => wanted?,
        None => return unknown_sizes(node.inputs.get(1)?),
    };
    let dims = node.inputs.first()?.shape.as_deref();
    let copied = |at: usize| dims.and_then(|dims| dims.get(at).copied().flatten());
    let allow_zero = node.int("allowzero").unwrap_or(0) != 0;
    let size = |(at, size): (usize, &i64)| match size {
        0 if !allow_zero => copied(at),
        size => u64::try_from(*size).ok(),
    };
    Some(wanted.iter().enumerate().map(size).collect())
}

fn sized(node: &Node<'_>) -> Option<Dims> {
    let at = usize::from(node.op_type == "Expand");
    let wanted = node.inputs.get(at)?;
    let wanted: Dims = match wanted.few_ints() {
        Some(sizes) => sizes.iter().map(|size| u64::try_from(*size).ok()).collect(),
        None => unknown_sizes(wanted)?,
    };
    match at {
        0 => Some(wanted),
        _ => broadcast(&[node.inputs.first()?.shape.as_deref()?, &wanted]),
    }
}

/// Gives the dimensions of what has its shape from a value that is not known: as many as that value is long.
fn unknown_sizes(shape: &Value<'_>) -> Option<Dims> {
    match shape.shape.as_deref() {
        Some(&[Some(rank)]) => Some(vec![None; usize::try_from(rank).ok().filter(|rank| *rank <= RANK_MAX)?]),
        _ => None,
    }
}

fn unsqueeze(node: &Node<'_>) -> Option<Dims> {
    let dims = node.inputs.first()?.shape.as_deref()?;
    let axes = setting(node, 1, "axes")??;
    let rank = dims.len() + axes.len();
    let mut new = vec![false; rank];
    for axis in axes {
        new[resolve(axis, rank)?] = true;
    }
    let mut old = dims.iter().copied();
    new.into_iter()
        .map(|new| if new { Some(Some(1)) } else { old.next() })
        .collect()
}

fn squeeze(node: &Node<'_>) -> Option<Dims> {
    let dims = node.inputs.first()?.shape.as_deref()?;
    let Some(axes) = setting(node, 1, "axes")? else {
        // Every dimension of 1 goes, so all must be known.
        let all: Option<Vec<u64>> = dims.iter().copied().collect();
        return Some(all?.into_iter().filter(|size| *size != 1).map(Some).collect());
    };
    // Engines differ on whether an empty list means none or all.
    if axes.is_empty() {
        return None;
    }
    let mut gone = vec![false; dims.len()];
    for axis in axes {
        gone[resolve(axis, dims.len())?] = true;
    }
    Some(
        dims.iter()
            .zip(gone)
            .filter(|(_, gone)| !gone)
            .map(|(dim, _)| *dim)
            .collect(),
    )
}

fn gemm(node: &Node<'_>) -> Option<Dims> {
    let size = |input: usize, transposed: &str, at: usize| {
        let dims = node.inputs.get(input)?.shape.as_deref()?;
        let at = if node.int(transposed).unwrap_or(0) != 0 {
            1 - at
        } else {
            at
        };
        dims.get(at).copied().flatten()
    };
    Some(vec![size(0, "transA", 0), size(1, "transB", 1)])
}

fn matmul(a: &[Option<u64>], b: &[Option<u64>]) -> Option<Dims> {
    let batch = |dims: usize| dims.saturating_sub(2);
    let mut dims = broadcast(&[&a[..batch(a.len())], &b[..batch(b.len())]])?;
    // A vector has no row of its own, on the left, and no column on the right.
    dims.extend(a.len().checked_sub(2).map(|at| a[at]));
    dims.extend((b.len() >= 2).then(|| b[b.len() - 1]));
    (!a.is_empty() && !b.is_empty()).then_some(dims)
}

fn gather(node: &Node<'_>) -> Option<Dims> {
    let dims = node.inputs.first()?.shape.as_deref()?;
    let indices = node.inputs.get(1)?.shape.as_deref()?;
    let axis = resolve(node.int("axis").unwrap_or(0), dims.len())?;
    Some([&dims[..axis], indices, &dims[axis + 1..]].concat())
}

fn concat(node: &Node<'_>) -> Option<Dims> {
    let shapes: Option<Vec<_>> = node.inputs.iter().map(|input| input.shape.as_deref()).collect();
    let shapes = shapes?;
    let mut joined = shapes.first()?.to_vec();
    let axis = resolve(node.int("axis")?, joined.len())?;
    for dims in &shapes[1..] {
        if dims.len() != joined.len() {
            return None;
        }
        for (at, (size, other)) in joined.iter_mut().zip(dims.iter()).enumerate() {
            *size = match (*size, *other) {
                (Some(a), Some(b)) if at == axis => a.checked_add(b),
                _ if at == axis => None,
                (size, other) => size.or(other),
            };
        }
    }
    Some(joined)
}
