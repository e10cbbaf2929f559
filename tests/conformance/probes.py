"""Seeded random cases for the operators of the embedded engine, where ONNX's own tests have few or none: edge values, ties,
empty tensors, broadcasting, batches, all ranks, and attributes in combination.

`cases()` gives (name, model, inputs); what the outputs must be is ONNX Runtime's affair.
"""
import itertools
import zlib

import numpy as np
import onnx
from onnx import TensorProto as T, helper, numpy_helper

# The newest opset that the pinned ONNX Runtime takes.
OPSET = 26
F, I, L, B, I8, U8 = np.float32, np.int32, np.int64, np.bool_, np.int8, np.uint8
HELD_TYPES = (F, I, L, B, I8, U8)
rng = np.random.default_rng(0)
EDGES = np.array([0.0, -0.0, 1, -1, 0.5, -0.5, 1.5, 2.5, -1.5, -2.5, 1e-20, -1e-20, 3.0, 10, -10, 88, -88, 100, -100,
                  1e6, -1e6, 3e38, -3e38, np.inf, -np.inf], F)


def floats(*shape, low=-3.0, high=3.0):
    return rng.uniform(low, high, shape).astype(F)


def ties(*shape):
    """Gives few different numbers, so that many are equal."""
    return rng.integers(-2, 3, shape).astype(F)


def values(dtype, *shape):
    """Gives small random values of a type."""
    if dtype == F:
        return floats(*shape)
    if dtype == B:
        return rng.integers(0, 2, shape).astype(B)
    low = 0 if dtype == U8 else -9
    return rng.integers(low, 10, shape).astype(dtype)


def ints(*items):
    return np.array(items, L)


def model(operator, inputs, attributes, outputs=1, held=()):
    """Makes a model of one node; inputs at the positions in `held` lie in the model, None is left out.

    `outputs` is how many there are, or a text with 1 for each that is wanted and - for each that is left out.
    """
    marks = "1" * outputs if isinstance(outputs, int) else outputs
    names = ["" if value is None else f"x{at}" for at, value in enumerate(inputs)]
    gives = [f"y{at}" if mark == "1" else "" for at, mark in enumerate(marks)]
    node = helper.make_node(operator, names, gives, **attributes)
    infos, constants, given = [], [], []
    for at, value in enumerate(inputs):
        if value is None:
            continue
        if at in held:
            constants.append(numpy_helper.from_array(np.asarray(value), names[at]))
        else:
            kind = helper.np_dtype_to_tensor_dtype(value.dtype)
            infos.append(helper.make_tensor_value_info(names[at], kind, value.shape))
            given.append(value)
    graph = helper.make_graph([node], operator, infos, [onnx.ValueInfoProto(name=name) for name in gives if name], constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    inferred = onnx.shape_inference.infer_shapes(made)
    del made.graph.output[:]
    for info in inferred.graph.output:
        # Ranks and sizes of outputs are what is to be tested, and not to be known.
        made.graph.output.append(helper.make_tensor_value_info(info.name, info.type.tensor_type.elem_type, None))
    return made, given


BROADCASTS = [((3, 4, 5), (3, 4, 5)), ((3, 4, 5), (5,)), ((3, 4, 5), (1,)), ((3, 4, 5), ()), ((3, 1, 5), (4, 1)),
              ((1,), (3, 4)), ((), ()), ((), (7,)), ((0, 3), (3,)), ((2, 0), (1, 1)), ((5,), (3, 4, 5)),
              ((2, 3, 4, 5), (3, 1, 1)), ((2, 3, 4, 5), (1, 3, 1, 5)), ((17, 33), (17, 1)), ((1, 1), (1, 1)),
              ((2, 1, 4, 1, 3), (5, 1, 2, 1)), ((1, 64), (64,)), ((8, 1), (1, 8))]
SHAPES = [(), (0,), (1,), (7,), (3, 4), (2, 0, 3), (2, 3, 4, 5), (67,), (2, 1, 3, 1, 2)]


def unary():
    plain = ("Abs Acosh Asinh Atan Ceil Cos Cosh Erf Exp Floor HardSwish Log Neg Reciprocal Relu Round Sigmoid Sign Sin Sinh "
             "Softplus Softsign Sqrt Tan Tanh Acos Asin Atanh IsInf IsNaN").split()
    for operator in plain:
        edges = EDGES if operator not in ("Sin", "Cos", "Tan") else EDGES[np.abs(EDGES) <= 100]
        yield operator, [edges], {}
        if operator in ("IsNaN", "IsInf"):
            yield operator, [np.array([np.nan, 0, np.inf, -np.inf, -np.nan], F)], {}
        for shape in SHAPES:
            yield operator, [floats(*shape)], {}
        yield operator, [floats(3, 5, low=-1, high=1)], {}
        yield operator, [floats(3, 50, low=-30, high=30)], {}
    for operator, dtypes in {"Abs": (I, L, I8), "Neg": (I, L, I8), "Sign": (I, L, I8, U8), "Relu": (I, L, I8), "Not": (B,),
                             "Identity": HELD_TYPES}.items():
        for dtype, shape in itertools.product(dtypes, SHAPES):
            yield operator, [values(dtype, *shape)], {}
    for operator, names in {"LeakyRelu": ["alpha"], "Elu": ["alpha"], "HardSigmoid": ["alpha", "beta"], "Swish": ["alpha"]}.items():
        for shape in SHAPES:
            yield operator, [floats(*shape)], {}
            for value in (0.0, 0.3, 2.0, -0.7):
                yield operator, [floats(*shape)], {name: value for name in names if rng.integers(0, 3)}
    for shape in SHAPES:
        for attributes in ({}, {"approximate": "none"}, {"approximate": "tanh"}):
            yield "Gelu", [floats(*shape)], attributes
    yield "Gelu", [EDGES], {}
    yield "Gelu", [EDGES], {"approximate": "tanh"}
    for negative, positive in itertools.product((0, 1), (0, 1)):
        yield "IsInf", [EDGES], {"detect_negative": negative, "detect_positive": positive}


def binary():
    for left, right in BROADCASTS:
        for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
            yield operator, [floats(*left), floats(*right, low=0.5)], {}
            for dtype in (I, L):
                divisor = values(dtype, *right)
                yield operator, [values(dtype, *left), np.where(divisor == 0, dtype(4), divisor).astype(dtype).reshape(right)], {}
            for dtype in (I8, U8):
                yield operator, [values(dtype, *left) // 3, np.maximum(values(dtype, *right) // 3, 1)], {}
        for operator in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
            yield operator, [ties(*left), ties(*right)], {}
            for dtype in (I, L, I8, U8):
                yield operator, [values(dtype, *left), values(dtype, *right)], {}
        yield "Equal", [values(B, *left), values(B, *right)], {}
        for operator in ("And", "Or", "Xor"):
            yield operator, [values(B, *left), values(B, *right)], {}
        for exponent in (0.0, 0.5, 1.0, 2.0, 3.0, -1.0, -0.5, 2.5):
            yield "Pow", [floats(*left, low=0.1), np.full(right, exponent, F)], {}
        yield "Pow", [floats(*left), np.full(right, 2.0, F)], {}
        yield "Pow", [floats(*left), np.full(right, 3.0, F)], {}
        yield "Pow", [floats(*left), values(I, *right) % 4], {}
        yield "Pow", [floats(*left), values(L, *right) % 4], {}
        for dtype in (I, L):
            yield "Pow", [values(dtype, *left), values(dtype, *right) % 4], {}
            yield "Pow", [values(dtype, *left), np.full(right, 2.0, F)], {}
        for dtype in (I, L, I8, U8):
            divisor = np.where((d := values(dtype, *right)) == 0, dtype(4), d).astype(dtype).reshape(right)
            for fmod in ({}, {"fmod": 0}, {"fmod": 1}):
                yield "Mod", [values(dtype, *left), divisor], fmod
        yield "Mod", [floats(*left), floats(*right, low=0.5)], {"fmod": 1}
        yield "Mod", [floats(*left), floats(*right, low=-2, high=-0.5)], {"fmod": 1}
        if np.broadcast_shapes(left, right) == left:
            yield "PRelu", [floats(*left), floats(*right)], {}
        for dtype in HELD_TYPES:
            yield "Where", [values(B, *left), values(dtype, *right), values(dtype, *left)], {}
            yield "Where", [values(B, *right), values(dtype, *left), values(dtype, *right)], {}
    specials = np.array([np.inf, -np.inf, np.nan, 0, -0.0, 1], F)
    for operator in ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"):
        yield operator, [specials[:, None], specials[None, :]], {}
    for operator in ("Add", "Sub", "Mul", "Div", "Max", "Min"):
        yield operator, [specials[[0, 1, 3, 4, 5], None], specials[None, [0, 1, 3, 4, 5]]], {}
    yield "Div", [np.array([7, -7, 7, -7, 0], L), np.array([2, 2, -2, -2, 5], L)], {}
    yield "Div", [np.array([7, -7, 7, -7, 0], I), np.array([2, 2, -2, -2, 5], I)], {}
    yield "Pow", [np.array([0, 0, 2, -2, np.inf, 1], F), np.array([0, 2, -2, -3, 2, 100], F)], {}
    for operator in ("Max", "Min", "Sum", "Mean"):
        for count in (1, 2, 3, 5):
            yield operator, [floats(*(3, 4) if at % 2 else (2, 3, 4)) for at in range(count)], {}
            yield operator, [floats(2, 1, 4), *(floats(3, 1) for _ in range(count - 1))], {}
    for dtype, count in itertools.product((I, L, I8, U8), (1, 2, 3)):
        for operator in ("Max", "Min"):
            yield operator, [values(dtype, 3, 4) for _ in range(count)], {}
    for dtype in (F, I, L, I8, U8):
        for low, high in ((1, 4), (None, 4), (1, None), (None, None), (4, 1)):
            for shape in ((), (7,), (0,), (2, 3, 4)):
                bounds = [None if bound is None else np.array(bound, dtype) for bound in (low, high)]
                yield "Clip", [values(dtype, *shape), *bounds], {}
    yield "Clip", [EDGES, np.array(-5, F), np.array(5, F)], {}
    yield "Clip", [EDGES, np.array(-np.inf, F), np.array(np.inf, F)], {}


def casts():
    pairs = itertools.product(HELD_TYPES, HELD_TYPES)
    for source, target in pairs:
        to = helper.np_dtype_to_tensor_dtype(np.dtype(target))
        for shape in ((), (0,), (2, 3), (65,)):
            value = np.abs(values(source, *shape)) if target == U8 and source != B else values(source, *shape)
            yield "Cast", [value], {"to": to}
            yield "CastLike", [value, np.zeros((1,), target)], {}
        if source == F and target not in (B, F):
            big = 100.0 if target in (I8, U8) else 3e9 if target == L else 2e9
            sign = 0.0 if target == U8 else -1.0
            yield "Cast", [np.array([0.5, 0.9, 1.5, 2.5, big, big * sign, 0.999 * sign], F)], {"to": to}
            yield "CastLike", [np.array([0.5, 0.9, 1.5, 2.5, big, big * sign, 0.999 * sign], F), np.zeros((1,), target)], {}
        if target == B:
            odd = np.array([0, 1, 2, 3, 7], source)
            odd = np.array([0, -0.0, 0.5, -3, 1e-9, np.inf], F) if source == F else odd
            yield "Cast", [odd], {"to": to}
            yield "CastLike", [odd, np.zeros((1,), target)], {}
        if source in (I, L) and target in (I8, U8):
            # What is outside wraps around.
            yield "Cast", [np.array([300, -200, 128, 255, -1], source)], {"to": to}
            yield "CastLike", [np.array([300, -200, 128, 255, -1], source), np.zeros((1,), target)], {}
        if source in (I, L) and target == F:
            yield "Cast", [np.array([2**24 + 1, 2**31 - 1, -(2**31)], source)], {"to": to}


def moves():
    for dtype in HELD_TYPES:
        def of(*shape):
            return values(dtype, *shape)

        for shape, target in [((2, 3, 4), (6, 4)), ((2, 3, 4), (-1,)), ((2, 3, 4), (0, -1)), ((2, 3, 4), (0, 0, 2, 2)),
                              ((), (1, 1)), ((1,), ()), ((0, 3), (3, 0)), ((0, 3), (0, -1)), ((4, 1, 6), (2, 2, -1, 1))]:
            for zero in ({}, {"allowzero": 0}):
                yield "Reshape", [of(*shape), ints(*target)], zero
        yield "Reshape", [of(0, 3), ints(3, 0)], {"allowzero": 1}
        yield "Reshape", [of(2, 3), ints(3, 2)], {"allowzero": 1}
        yield "Reshape", [of(2, 3), ints(-1, 2)], {"allowzero": 1}
        for shape in ((), (3,), (2, 3), (2, 3, 4), (2, 0, 4), (1, 2, 3, 4), (2, 1, 3, 1, 2)):
            yield "Transpose", [of(*shape)], {}
            for _ in range(2 if shape else 0):
                yield "Transpose", [of(*shape)], {"perm": rng.permutation(len(shape)).tolist()}
            for axis in range(-len(shape), len(shape) + 1):
                yield "Flatten", [of(*shape)], {"axis": axis}
            yield "Flatten", [of(*shape)], {}
            yield "Shape", [of(*shape)], {}
            for start, end in ((0, 2), (1, None), (-1, None), (-2, -1), (0, -1), (None, 1), (5, 7), (-9, 9), (2, 1)):
                bounds = {"start": start, "end": end}
                yield "Shape", [of(*shape)], {key: bound for key, bound in bounds.items() if bound is not None}
            yield "Size", [of(*shape)], {}
        for shape, axes in [((1, 3, 1), (0,)), ((1, 3, 1), (0, 2)), ((1, 3, 1), (-1,)), ((1, 3, 1), (-3, -1)), ((1,), (0,)),
                            ((1, 0, 1), (0,)), ((1, 3, 1), (2, 0)), ((1, 3, 1), (0, -1))]:
            yield "Squeeze", [of(*shape), ints(*axes)], {}
        for shape in ((1, 3, 1), (1, 1), (2, 3), ()):
            yield "Squeeze", [of(*shape)], {}
        for shape, axes in [((3,), (0,)), ((3,), (1,)), ((3,), (-1,)), ((), (0,)), ((2, 3), (0, 3)), ((2, 3), (3, 0)),
                            ((2, 3), (-1, 0)), ((2, 3), (1, 2, 4)), ((0, 2), (0,)), ((2, 3), (-1, -3))]:
            yield "Unsqueeze", [of(*shape), ints(*axes)], {}
        for count, axis in itertools.product((1, 2, 3, 5), (0, 1, 2, -1, -3)):
            shapes = [[2, 3, 4] for _ in range(count)]
            for at, shape in enumerate(shapes):
                shape[axis] = at + 1
            yield "Concat", [of(*shape) for shape in shapes], {"axis": axis}
        yield "Concat", [of(0, 3), of(2, 3), of(0, 3)], {"axis": 0}
        yield "Concat", [of(2), of(1)], {"axis": 0}
        for axis in (0, 1, -1, -2):
            yield "Split", [of(6, 6), ints(1, 2, 3)], {"axis": axis}, 3
            yield "Split", [of(6, 6), ints(6, 0)], {"axis": axis}, 2
            yield "Split", [of(6, 6)], {"axis": axis, "num_outputs": 3}, 3
            yield "Split", [of(7, 7)], {"axis": axis, "num_outputs": 3}, 3
            yield "Split", [of(7, 7)], {"axis": axis, "num_outputs": 1}, 1
        yield "Split", [of(6, 2), ints(2, 4)], {}, 2
        yield "Split", [of(6, 2)], {"num_outputs": 2}, 2
        most, least = 2**63 - 1, -(2**63)
        for starts, ends, axes, steps in [((1,), (3,), (0,), (1,)), ((0, 1), (2, 3), None, None), ((-3,), (-1,), (1,), None),
                                          ((0,), (most,), (1,), (2,)), ((-1,), (least,), (2,), (-1,)), ((5,), (0,), (2,), (-2,)),
                                          ((3,), (1,), (0,), None), ((-1,), (most,), (-1,), (1,)), ((1, 0), (9, 9), (-1, 0), (3, 1)),
                                          ((least,), (most,), (1,), (1,)), ((0,), (-1,), (2,), (1,)), ((100,), (-100,), (2,), (-3,)),
                                          ((2,), (2**31 - 1,), (1,), (1,)), ((most,), (least,), (1,), (-1,))]:
            parts = [None if part is None else ints(*part) for part in (starts, ends, axes, steps)]
            while parts[-1] is None:
                parts.pop()
            yield "Slice", [of(4, 5, 6), *parts], {}, 1, tuple(range(1, len(parts) + 1))
            if all(abs(bound) < 2**31 for bound in starts + ends):
                yield "Slice", [of(4, 5, 6), *parts], {}
        yield "Slice", [of(0, 5), ints(1), ints(4), ints(1)], {}
        for axis in (0, 1, 2, -1, -3):
            for indices in (ints(0), ints(1, 0, -1), np.array(1, L), ints(-2, -1).reshape(2, 1), np.zeros((0,), L), np.array([[1, 0]], I)):
                yield "Gather", [of(3, 4, 5), indices], {"axis": axis}
            for index in (ints, lambda *items: np.array(items, I)):
                yield "GatherElements", [of(3, 4, 5), index(*rng.integers(-3, 3, 3 * 2 * 5)).reshape(3, 2, 5)[:2, :, :3]], {"axis": axis}
                # One position for each element, so that the order of writing does not matter; then fewer than the data has.
                for sizes in ((3, 4, 5), (2, 3, 4), (3, 4, 2)):
                    place = np.argsort(rng.random((3, 4, 5)), axis=axis)[:sizes[0], :sizes[1], :sizes[2]].astype(index(0).dtype)
                    yield "ScatterElements", [of(3, 4, 5), place, of(*sizes)], {"axis": axis}
                    for reduction in ("none", "add", "mul", "min", "max") if dtype in (F, I, L) else ("none",):
                        if reduction != "none" and sizes == (3, 4, 5):
                            place = rng.integers(-3, 3, sizes).astype(index(0).dtype)
                        yield "ScatterElements", [of(3, 4, 5), place, of(*sizes)], {"axis": axis, "reduction": reduction}
        yield "Gather", [of(3, 4), ints(1, 2)], {}
        yield "GatherElements", [of(3, 4), ints(1, 2).reshape(1, 2)], {}
        yield "ScatterElements", [of(3, 4), ints(1, 2).reshape(1, 2), of(1, 2)], {}
        yield "GatherND", [of(3, 4, 5), ints(0, 1, 2, 3).reshape(2, 2)], {}
        yield "GatherND", [of(3, 4, 5), ints(-1, 1).reshape(2, 1)], {"batch_dims": 0}
        yield "GatherND", [of(3, 4, 5), ints(0, -1, 2).reshape(3, 1)], {"batch_dims": 1}
        yield "GatherND", [of(2, 3, 5), rng.integers(-5, 5, (2, 3, 4, 1))], {"batch_dims": 2}
        yield "GatherND", [of(3, 4, 5), ints(2, 3, 4)], {}
        yield "ScatterND", [of(4, 5), ints(0, 2).reshape(2, 1), of(2, 5)], {}
        yield "ScatterND", [of(4, 5), ints(-1, 2, 0, 1).reshape(2, 2), of(2)], {}
        yield "ScatterND", [of(4, 5, 2), ints(-1, 2, 0, 1).reshape(2, 2), of(2, 2)], {"reduction": "none"}
        if dtype in (F, I, L):
            for reduction in ("add", "mul", "min", "max"):
                yield "ScatterND", [of(4, 5), ints(1, 1, -1, 0).reshape(4, 1), of(4, 5)], {"reduction": reduction}
        for shape, target in [((3, 1), (3, 4)), ((3, 1), (2, 3, 6)), ((3,), (1,)), ((), (2, 2)), ((1, 3), (1, 1)), ((0, 1), (0, 3)), ((3, 4), (1, 4))]:
            yield "Expand", [of(*shape), ints(*target)], {}
        for shape, repeats in [((2, 3), (2, 2)), ((2, 3), (1, 1)), ((3,), (4,)), ((2, 3), (0, 2)), ((2, 1, 3), (1, 3, 2)), ((0, 2), (2, 2))]:
            yield "Tile", [of(*shape), ints(*repeats)], {}
        for mode in ({}, {"mode": "constant"}, {"mode": "edge"}, {"mode": "reflect"}, {"mode": "wrap"}):
            for pads in ((0, 0, 1, 2), (1, 2, 0, 0), (1, 0, 2, 1), (0, 0, 0, 0), (-1, 1, 0, 0), (0, 0, -1, -1)):
                yield "Pad", [of(4, 5), ints(*pads)], mode
                if mode.get("mode", "constant") == "constant":
                    yield "Pad", [of(4, 5), ints(*pads), np.array(values(dtype))], mode
            if dtype == F:
                yield "Pad", [of(2, 3, 4, 5), ints(0, 0, 1, 2, 0, 0, 2, 1)], mode
                yield "Pad", [of(2, 3, 4, 5), ints(1, 0, 1, 2, 0, 2, 2, 1)], mode
                yield "Pad", [of(6), ints(2, 3)], mode
                yield "Pad", [of(2, 3, 4), ints(0, 1, 2, 0, 2, 1)], mode
        yield "Pad", [of(4, 5), ints(1, 1), None, ints(1)], {}
        yield "Pad", [of(4, 5), ints(1, 1), np.array(values(dtype)), ints(-1)], {"mode": "constant"}
        for upper in ({}, {"upper": 0}, {"upper": 1}):
            for diagonal in (None, -1, 0, 1, 9, -9) if dtype in (F, L) else (None, 1):
                for shape in ((4, 4), (3, 5), (5, 3), (2, 3, 4)) if dtype == F else ((2, 3, 4),):
                    yield "Trilu", [of(*shape), *([] if diagonal is None else [np.array(diagonal, L)])], upper
        for batch, time in ((1, 0), (0, 1)):
            yield "ReverseSequence", [of(4, 4, 2), ints(1, 2, 3, 4)], {"batch_axis": batch, "time_axis": time}
            yield "ReverseSequence", [of(4, 4), ints(4, 1, 1, 2)], {"batch_axis": batch, "time_axis": time}
        yield "ReverseSequence", [of(3, 4), ints(1, 2, 3, 3)], {}
        for shape in ((3, 4), (7,), (2, 0), ()):
            yield "NonZero", [of(*shape)], {}
        for mode in ({}, {"mode": "DCR"}, {"mode": "CRD"}):
            yield "DepthToSpace", [of(2, 8, 2, 3)], {"blocksize": 2, **mode}
            yield "DepthToSpace", [of(1, 18, 1, 2)], {"blocksize": 3, **mode}
            yield "DepthToSpace", [of(1, 3, 1, 2)], {"blocksize": 1, **mode}
        for shape in ((3, 4), (4, 3)):
            for k in ({}, {"k": 1}, {"k": -1}, {"k": 0}, {"k": 7}):
                yield "EyeLike", [of(*shape)], k
                for target in HELD_TYPES if k.get("k", 1) == 1 else ():
                    yield "EyeLike", [of(*shape)], {"dtype": helper.np_dtype_to_tensor_dtype(np.dtype(target)), **k}
        for target in ((2, 3), (), (0, 2), (4,)):
            fill = numpy_helper.from_array(np.array([values(dtype)]).reshape(1).astype(dtype))
            yield "ConstantOfShape", [ints(*target)], {"value": fill}
        for index in (I, L):
            for axis in (-1, 0, 1, -2):
                if dtype in (F, I, L):
                    yield "OneHot", [rng.integers(-4, 4, (2, 3)).astype(index), np.array(4, L), np.array([0, 1]).astype(dtype)], {"axis": axis}
                    yield "OneHot", [rng.integers(-4, 4, (2, 3)).astype(index), np.array([4], L), np.array([2, 5]).astype(dtype)], {"axis": axis}
            if dtype in (F, I, L):
                yield "OneHot", [rng.integers(-6, 6, (5,)).astype(index), np.array(4, L), np.array([0, 1]).astype(dtype)], {}
    yield "ConstantOfShape", [ints(2, 3)], {}
    for dtype in (F, I, L):
        for start, limit, delta in ((0, 5, 1), (5, 0, -2), (0, 0, 1), (3, 1, 1), (1, 10, 3), (-4, 4, 2)):
            yield "Range", [np.array(start, dtype), np.array(limit, dtype), np.array(delta, dtype)], {}
    yield "Range", [np.array(0, F), np.array(1, F), np.array(0.1, F)], {}
    yield "Range", [np.array(0, F), np.array(10, F), np.array(0.3, F)], {}


def reductions():
    names = "L1 L2 LogSum LogSumExp Max Mean Min Prod Sum SumSquare".split()
    for name in names:
        for dtype in (F, I, L, I8, U8, B):
            for shape in ((2, 3, 4), (5,), (3, 1), (2, 3, 4, 5)) if dtype == F else ((2, 3, 4),):
                value = np.abs(values(dtype, *shape)) + dtype(1) if name == "LogSum" and dtype != B else values(dtype, *shape)
                if name == "Prod" and dtype != F:
                    value = value % 3 if dtype != B else value
                for keep in ({}, {"keepdims": 0}, {"keepdims": 1}) if dtype in (F, L) else ({}, {"keepdims": 0}):
                    yield "Reduce" + name, [value], keep
                    rank = len(shape)
                    for axes in dict.fromkeys([(0,), (-1,), tuple(range(rank)), (0, -1)[:rank], (1, 2) if rank > 2 else (-rank,), (-rank, -1)[:rank]]):
                        yield "Reduce" + name, [value, ints(*axes)], keep
            for noop in (0, 1) if dtype in (F, L) else ():
                yield "Reduce" + name, [values(dtype, 2, 3) + (dtype(10) if dtype != B else dtype(0)), np.zeros((0,), L)], {"noop_with_empty_axes": noop}
                yield "Reduce" + name, [values(dtype, 2, 3) + (dtype(10) if dtype != B else dtype(0))], {"noop_with_empty_axes": noop}
                yield "Reduce" + name, [values(dtype, 2, 3) + (dtype(10) if dtype != B else dtype(0)), ints(1)], {"noop_with_empty_axes": noop, "keepdims": 0}
        yield "Reduce" + name, [np.zeros((2, 0, 3), F), ints(0)], {}
        if name != "Mean":  # Of nothing, undefined.
            yield "Reduce" + name, [np.zeros((2, 0, 3), F), ints(1)], {}
            yield "Reduce" + name, [np.zeros((2, 0, 3), F)], {"keepdims": 0}
        yield "Reduce" + name, [floats(3, 1000, low=0.1)], {}
    for name in ("Max", "Min", "Sum", "Mean"):
        yield "Reduce" + name, [np.array([[np.inf, 1], [-np.inf, 2]], F), ints(1)], {}
    for operator in ("ArgMax", "ArgMin"):
        for dtype in (F, I, I8, U8, L):
            for shape in ((3, 4), (5,), (2, 3, 4), (2, 1, 3, 5)) if dtype == F else ((3, 4),):
                value = ties(*shape).astype(dtype) if dtype != U8 else np.abs(ties(*shape)).astype(U8)
                for axis in range(-len(shape), len(shape)):
                    for keep, last in itertools.product(({}, {"keepdims": 0}, {"keepdims": 1}), ({}, {"select_last_index": 0}, {"select_last_index": 1})):
                        yield operator, [value], {"axis": axis, **keep, **last}
                yield operator, [value], {}
        yield operator, [np.array([[np.inf, 1, np.inf], [-np.inf, 2, -np.inf]], F)], {"axis": 1}
    for dtype in (F, I, L):
        for largest, order in itertools.product(({}, {"largest": 0}, {"largest": 1}), ({}, {"sorted": 1})):
            for axis in ({}, {"axis": 0}, {"axis": 1}, {"axis": -1}, {"axis": -2}):
                for k in (1, 2, 4):
                    yield "TopK", [ties(4, 5).astype(dtype), ints(k)], {**axis, **largest, **order}, 2
                yield "TopK", [values(dtype, 4, 5), ints(3)], {**axis, **largest, **order}, "-1"
        for exclusive, reverse in itertools.product(({}, {"exclusive": 1}, {"exclusive": 0}), ({}, {"reverse": 1}, {"reverse": 0})):
            for axis in (0, 1, -1):
                yield "CumSum", [values(dtype, 3, 4), np.array(axis, L)], {**exclusive, **reverse}
                yield "CumSum", [values(dtype, 3, 4), np.array(axis, I)], {**exclusive, **reverse}
                yield "CumSum", [values(dtype, 2, 3, 4), np.array([axis], L)], {**exclusive, **reverse}
            yield "CumSum", [values(dtype, 5), np.array(0, L)], {**exclusive, **reverse}
    for operator in ("Softmax", "LogSoftmax"):
        for shape in ((5,), (3, 4), (2, 3, 4), (2, 3, 4, 5), (1, 1), (2, 0)):
            for axis in range(-len(shape), len(shape)):
                yield operator, [floats(*shape, low=-20, high=20)], {"axis": axis}
            yield operator, [floats(*shape)], {}
        yield operator, [np.array([[1000, 1001, -1000], [-3e38, -3e38, 0]], F)], {"axis": -1}
        yield operator, [np.array([[0, -np.inf, 1], [-np.inf, 2, 3]], F)], {"axis": -1}


def products():
    for left, right in [((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 5)), ((3, 4), (4, 5)), ((2, 3, 4), (4,)), ((2, 3, 4), (4, 5)),
                        ((2, 3, 4), (2, 4, 5)), ((1, 3, 4), (2, 4, 5)), ((2, 3, 4), (1, 4, 5)), ((4,), (2, 4, 5)), ((3, 4), (2, 4, 5)),
                        ((2, 5, 3, 4), (2, 5, 4, 6)), ((2, 1, 3, 4), (5, 4, 6)), ((5, 3, 4), (2, 1, 4, 6)), ((2, 5, 3, 4), (4, 6)),
                        ((2, 5, 3, 4), (4,)), ((4,), (2, 5, 4, 6)), ((1, 1), (1, 1)), ((0, 4), (4, 5)), ((3, 0), (0, 5)), ((3, 4), (4, 0)),
                        ((65, 130), (130, 67)), ((1, 300), (300, 20)), ((2, 0, 4), (2, 4, 3)), ((2, 2, 3, 4, 5), (2, 2, 3, 5, 2)),
                        ((1, 2, 1, 4, 3), (3, 1, 3, 4))]:
        yield "MatMul", [floats(*left), floats(*right)], {}
        yield "MatMul", [values(I, *left), values(I, *right)], {}
        for first, second in ((U8, I8), (U8, U8), (I8, I8), (I8, U8)):
            yield "MatMulInteger", [values(first, *left), values(second, *right)], {}
            yield "MatMulInteger", [values(first, *left), values(second, *right), np.array(3, first), np.array(2, second)], {}
            yield "MatMulInteger", [values(first, *left), values(second, *right), np.array(3, first)], {}
            if len(right) == 2 and len(left) == 2:
                yield "MatMulInteger", [values(first, *left), values(second, *right), np.array(3, first), values(second, right[1])], {}
    # Eight-bit products that overflow sixteen bits if added in pairs.
    yield "MatMulInteger", [np.full((3, 64), 255, U8), np.full((64, 5), 127, I8)], {}
    yield "MatMulInteger", [np.full((3, 64), 255, U8), np.full((64, 5), -128, I8), np.array(0, U8), np.array(0, I8)], {}
    for a, b in itertools.product((0, 1), (0, 1)):
        for m, k, n in ((3, 4, 5), (1, 7, 1), (1, 64, 10), (33, 65, 17), (0, 4, 5), (3, 0, 5)):
            left, right = floats(*((k, m) if a else (m, k))), floats(*((n, k) if b else (k, n)))
            for bias in (None, (n,), (1, n), (m, 1), (m, n), (1,), ()):
                for scale in ({}, {"alpha": 0.5}, {"beta": 2.0}, {"alpha": 0.25, "beta": -0.5}, {"alpha": 1.0, "beta": 1.0}, {"beta": 0.0}):
                    turn = {name: 1 for name, on in (("transA", a), ("transB", b)) if on}
                    if rng.integers(0, 3) == 0:
                        turn = {"transA": a, "transB": b}
                    if bias is None or rng.integers(0, 2):
                        yield "Gemm", [left, right, *([] if bias is None else [floats(*bias)])], {**turn, **scale}
    for equation, shapes in {"ij,jk->ik": ((3, 4), (4, 5)), "bij,bjk->bik": ((2, 3, 4), (2, 4, 5)), "ij->ji": ((3, 4),), "ij->i": ((3, 4),),
                             "ij->": ((3, 4),), "i,j->ij": ((3,), (4,)), "bhid,bhjd->bhij": ((2, 3, 4, 5), (2, 3, 6, 5)), "i,i->": ((4,), (4,)),
                             "ii->i": ((3, 3),), "ij,ij->ij": ((3, 4), (3, 4)), "...ij,...jk->...ik": ((2, 3, 4), (2, 4, 5)), "ij,jk": ((3, 4), (4, 5)),
                             "ij,jk,kl->il": ((2, 3), (3, 4), (4, 5)), "bij->bji": ((2, 3, 4),), "...ii->...i": ((2, 3, 3),), "bnij,bnjd->bind": ((2, 3, 4, 5), (2, 3, 5, 6)), "ij , jk -> ik": ((3, 4), (4, 5))}.items():
        yield "Einsum", [floats(*shape) for shape in shapes], {"equation": equation}


def spatial_attributes(rank, transposed=False):
    """Gives random attributes for a convolution or pool over `rank` axes."""
    attributes = {}
    choice = rng.integers(0, 4)
    if choice:
        attributes["strides"] = [[1] * rank, [2] * rank, rng.integers(1, 4, rank).tolist()][choice - 1]
    choice = rng.integers(0, 5)
    if choice == 4:
        attributes["auto_pad"] = str(rng.choice(["SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"]))
    elif choice:
        even = rng.integers(0, 2, rank).tolist()
        attributes["pads"] = [[0] * 2 * rank, even * 2, rng.integers(0, 2, 2 * rank).tolist()][choice - 1]
    return attributes


def automatic():
    """Gives convolutions and pools that find their padding themselves, over the sizes where it is even and uneven."""
    for rank, auto, kernel, size in itertools.product((1, 2), ("SAME_UPPER", "SAME_LOWER", "VALID", "NOTSET"), (1, 2, 3, 4), (7, 8)):
        for stride in ([1] * rank, [2] * rank, [3] * rank, [1, 2][:rank], [2, 1][:rank], None):
            common = {"auto_pad": auto, "kernel_shape": [kernel] * rank, **({"strides": stride} if stride else {})}
            value, group = floats(2, 4, *[size] * rank), int(rng.choice([1, 2, 4]))
            grouped = {"group": group} if group > 1 or rng.integers(0, 2) else {}
            dilated = {"dilations": [int(rng.integers(1, 3))] * rank} if auto in ("VALID", "NOTSET") and rng.integers(0, 2) else {}
            bias = [floats(4)] if rng.integers(0, 2) else []
            yield "Conv", [value, floats(4, 4 // group, *[kernel] * rank), *bias], {**common, **grouped, **dilated}
            yield "ConvTranspose", [value, floats(4, 4 // group, *[kernel] * rank), *bias], {**common, **grouped}
            for ceil in ({}, {"ceil_mode": 0}, {"ceil_mode": 1}):
                yield "MaxPool", [value], {**common, **ceil}
                include = [{}, {"count_include_pad": 0}, {"count_include_pad": 1}][rng.integers(0, 3)]
                yield "AveragePool", [value], {**common, **ceil, **include}


def convolutions():
    for rank in (1, 2, 3):
        for turn in range(160 if rank == 2 else 60):
            group = int(rng.choice([1, 1, 2, 4]))
            inner, outer = group * int(rng.integers(1, 4)), group * int(rng.integers(1, 4))
            if turn % 5 == 0:
                group = inner = outer = 4
            kernel = rng.integers(1, 4, rank).tolist()
            size = rng.integers(5, 9, rank).tolist()
            attributes = spatial_attributes(rank)
            if rng.integers(0, 4):
                attributes["kernel_shape"] = kernel
            if rng.integers(0, 3) == 0 and attributes.get("auto_pad", "NOTSET") == "NOTSET":
                attributes["dilations"] = [[1] * rank, [2] * rank, rng.integers(1, 3, rank).tolist()][rng.integers(0, 3)]
            elif rng.integers(0, 2):
                attributes["dilations"] = [1] * rank
            if group > 1 or rng.integers(0, 2):
                attributes["group"] = group
            batch = int(rng.integers(1, 3))
            bias = [floats(outer)] if rng.integers(0, 2) else []
            yield "Conv", [floats(batch, inner, *size), floats(outer, inner // group, *kernel), *bias], attributes
            kinds = [(U8, I8), (U8, U8), (I8, I8)][turn % 3]
            zeros = [[], [np.array(3, kinds[0])], [np.array(3, kinds[0]), np.array(0, kinds[1])]][turn % 3]
            if rank == 2 and turn < 60:
                yield "ConvInteger", [values(kinds[0], batch, inner, *size), values(kinds[1], outer, inner // group, *kernel), *zeros], attributes
            attributes = spatial_attributes(rank)
            if rng.integers(0, 4):
                attributes["kernel_shape"] = kernel
            if rng.integers(0, 3) == 0:
                attributes["dilations"] = [[1] * rank, [2] * rank][rng.integers(0, 2)]
            if rng.integers(0, 4) == 0 and "strides" in attributes:
                attributes["output_padding"] = [int(rng.integers(0, stride)) for stride in attributes["strides"]]
            if rng.integers(0, 2) or group > 1:
                attributes["group"] = group
            yield "ConvTranspose", [floats(batch, inner, *size), floats(inner, outer // group, *kernel), *bias], attributes
        for turn in range(120 if rank == 2 else 50):
            size = rng.integers(5, 10, rank).tolist()
            value = floats(int(rng.integers(1, 3)), int(rng.integers(1, 4)), *size)
            for operator in ("MaxPool", "AveragePool"):
                attributes = {"kernel_shape": rng.integers(2, 4, rank).tolist(), **spatial_attributes(rank)}
                if rng.integers(0, 2):
                    attributes["ceil_mode"] = int(rng.integers(0, 2))
                if operator == "AveragePool" and rng.integers(0, 2):
                    attributes["count_include_pad"] = int(rng.integers(0, 2))
                if rng.integers(0, 3) == 0:
                    attributes["dilations"] = [1] * rank
                if operator == "MaxPool" and rng.integers(0, 6) == 0:
                    attributes["storage_order"] = 0
                yield operator, [value], attributes
        for shape in ((2, 3, *[4] * rank), (1, 1, *[1] * rank), (1, 5, *[7] * rank)):
            yield "GlobalAveragePool", [floats(*shape)], {}
            yield "GlobalMaxPool", [floats(*shape)], {}
    for shape in ((3, 4), (2, 4, 5), (2, 4, 5, 6), (2, 4, 3, 2, 2), (1, 4, 1, 1)):
        for epsilon in ({}, {"epsilon": 1e-3}, {"epsilon": 0.5, "momentum": 0.9}):
            c = shape[1]
            yield "BatchNormalization", [floats(*shape), floats(c), floats(c), floats(c), floats(c, low=0.1)], epsilon
            if len(shape) > 2:
                yield "InstanceNormalization", [floats(*shape), floats(c), floats(c)], {k: v for k, v in epsilon.items() if k != "momentum"}
    for shape in ((4, 8), (2, 3, 5), (2, 3, 4, 5), (1, 1, 6)):
        for axis in range(-len(shape), len(shape)):
            tail = shape[axis:]
            for epsilon in ({}, {"epsilon": 1e-3}):
                for stash in ({}, {"stash_type": 1}):
                    yield "LayerNormalization", [floats(*shape), floats(*tail), floats(*tail)], {"axis": axis, **epsilon, **stash}
                    yield "LayerNormalization", [floats(*shape), floats(*tail)], {"axis": axis, **epsilon, **stash}
                    yield "RMSNormalization", [floats(*shape), floats(*tail)], {"axis": axis, **epsilon, **stash}
            for p in ({}, {"p": 1}, {"p": 2}):
                yield "LpNormalization", [floats(*shape)], {"axis": axis, **p}
        yield "LayerNormalization", [floats(*shape), floats(shape[-1]), floats(shape[-1])], {}
        yield "LayerNormalization", [floats(*shape), floats(shape[-1])], {"epsilon": 1e-12}
        yield "LayerNormalization", [floats(*shape) * 1000 + 5000, floats(shape[-1]), floats(shape[-1])], {"epsilon": 1e-5}
        yield "RMSNormalization", [floats(*shape), floats(shape[-1])], {}


def resizes():
    modes = ["nearest", "linear", "cubic"]
    places = ["half_pixel", "align_corners", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"]
    nearests = [None, "round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
    for mode, place, nearest in itertools.product(modes, places, nearests):
        if mode != "nearest" and nearest:
            continue
        attributes = {"mode": mode, "coordinate_transformation_mode": place, **({"nearest_mode": nearest} if nearest else {})}
        for shape, scales in [((1, 1, 4, 4), (1, 1, 2, 2)), ((2, 3, 4, 5), (1, 1, 2, 3)), ((1, 2, 6, 8), (1, 1, 0.5, 0.5)), ((1, 1, 5, 7), (1, 1, 0.6, 0.7)),
                              ((1, 1, 3, 3), (1, 1, 1, 1)), ((1, 1, 4, 4), (1, 1, 2.5, 1.3)), ((1, 1, 1, 1), (1, 1, 3, 3)), ((1, 1, 4, 4), (1, 1, 2, 0.5))]:
            yield "Resize", [floats(*shape), None, np.array(scales, F)], attributes
            sizes = [max(1, int(side * scale)) for side, scale in zip(shape, scales)]
            yield "Resize", [floats(*shape), None, None, ints(*sizes)], attributes
        yield "Resize", [floats(2, 3, 5), None, np.array((1, 1, 2), F)], attributes
        yield "Resize", [floats(4, 5), None, np.array((2, 2), F)], attributes
        if mode == "nearest":
            yield "Resize", [floats(1, 2, 3, 4, 5), None, np.array((1, 1, 2, 2, 2), F)], attributes
    yield "Resize", [floats(1, 1, 4, 4), None, np.array((1, 1, 2, 2), F)], {}
    yield "Resize", [floats(1, 1, 4, 4), None, np.array((1, 1, 2, 2), F)], {"mode": "linear"}
    for center, batches, classes in itertools.product(({}, {"center_point_box": 0}, {"center_point_box": 1}), (1, 2), (1, 3)):
        corners = np.sort(rng.uniform(0, 1, (batches, 6, 2, 2)), axis=2).astype(F).reshape(batches, 6, 4)
        limits = [np.array([3], L), np.array([0.5], F), np.array([0.2], F)]
        yield "NonMaxSuppression", [corners, floats(batches, classes, 6, low=0, high=1), *limits], center
    for align, mode, padding in itertools.product(({}, {"align_corners": 0}, {"align_corners": 1}), ({}, {"mode": "linear"}, {"mode": "nearest"}), ({}, {"padding_mode": "zeros"}, {"padding_mode": "border"})):
        yield "GridSample", [floats(2, 3, 4, 5), floats(2, 3, 2, 2, low=-1.3, high=1.3)], {**align, **mode, **padding}


def recurrent():
    for direction, bias, state in itertools.product(({}, {"direction": "forward"}, {"direction": "reverse"}, {"direction": "bidirectional"}), (0, 1), (0, 1, 2)):
        ways = 2 if direction.get("direction") == "bidirectional" else 1
        for seq, batch, size, hidden in ((4, 2, 3, 5), (1, 1, 2, 3), (6, 3, 4, 2)):
            for operator, gates in (("LSTM", 4), ("GRU", 3)):
                inputs = [floats(seq, batch, size), floats(ways, gates * hidden, size), floats(ways, gates * hidden, hidden),
                          floats(ways, 2 * gates * hidden) if bias else None]
                lengths = rng.integers(1, seq + 1, batch).astype(I)
                tail = [None, lengths, None][state] if state else None
                inputs.append(tail)
                if state == 2:
                    inputs.append(floats(ways, batch, hidden))
                    if operator == "LSTM":
                        inputs.append(floats(ways, batch, hidden))
                while inputs[-1] is None:
                    inputs.pop()
                extras = [{}] if operator == "LSTM" else [{}, {"linear_before_reset": 1}, {"linear_before_reset": 0}]
                for extra in extras:
                    kinds = (3, "-11", "1", "-1", "--1") if operator == "LSTM" else (2, "-1", "1")
                    for outputs in dict.fromkeys((kinds[0], kinds[int(rng.integers(0, len(kinds)))])):
                        yield operator, inputs, {"hidden_size": hidden, **direction, **extra}, outputs


def quantized():
    for kind in (U8, I8):
        zero = [None, np.array(3, kind), np.array(0, kind)]
        for at, shape in itertools.product(zero, ((7,), (2, 3, 4), (), (0,))):
            value = np.concatenate([EDGES[:17], np.array([0.05, 0.15, 0.25, 0.35, -0.05, -0.15], F)]) if shape == (7,) else floats(*shape)
            point = [] if at is None else [at]
            yield "QuantizeLinear", [value, np.array(0.1, F), *point], {}
            yield "DequantizeLinear", [values(kind, *shape), np.array(0.1, F), *point], {}
            for axis in (0, 1, -1):
                if shape == (2, 3, 4):
                    side = shape[axis]
                    points = [] if at is None else [np.full((side,), at, kind)]
                    yield "QuantizeLinear", [value, floats(side, low=0.01, high=0.3), *points], {"axis": axis}
                    yield "DequantizeLinear", [values(kind, *shape), floats(side, low=0.01, high=0.3), *points], {"axis": axis}
    yield "DequantizeLinear", [values(I, 3, 4), np.array(0.1, F)], {}
    for turn in range(20):
        yield "DynamicQuantizeLinear", [floats(5, 7, low=-float(turn), high=float(turn) + 1)], {}, 3


def attention():
    for group, causal in itertools.product((1, 2), ({}, {"is_causal": 1}, {"is_causal": 0})):
        for scale in ({}, {"scale": 0.3}, {"softcap": 2.0}, {"scale": 0.1, "softcap": 0.0}):
            query, key, value = floats(2, 4, 3, 8), floats(2, 4 // group, 5, 8), floats(2, 4 // group, 5, 6)
            for mask in (None, floats(3, 5), values(B, 3, 5) | True, floats(2, 1, 3, 5), floats(1, 4, 3, 5)):
                yield "Attention", [query, key, value, *([] if mask is None else [mask])], {**causal, **scale}
            heads = {"q_num_heads": 4, "kv_num_heads": 4 // group}
            yield "Attention", [floats(2, 3, 32), floats(2, 5, 32 // group), floats(2, 5, 24 // group)], {**heads, **causal, **scale}
            past = [floats(2, 4 // group, 3, 8), floats(2, 4 // group, 3, 6)]
            yield "Attention", [query, key, value, None, *past], {**causal, **scale}, 3
            yield "Attention", [query, key, value, floats(3, 8), *past], {**causal, **scale}, 3
    for inter in ({}, {"interleaved": 0}, {"interleaved": 1}):
        for dim in ({}, {"rotary_embedding_dim": 4}):
            half = 2 if dim else 4
            cos, sin = floats(50, half), floats(50, half)
            positions = rng.integers(0, 50, (2, 3))
            yield "RotaryEmbedding", [floats(2, 4, 3, 8), cos, sin, positions], {**inter, **dim}
            yield "RotaryEmbedding", [floats(2, 3, 32), cos, sin, positions], {"num_heads": 4, **inter, **dim}
            yield "RotaryEmbedding", [floats(2, 4, 3, 8), floats(2, 3, half), floats(2, 3, half)], {**inter, **dim}


# What the engine's optimizer takes for one operator, or leaves out: graphs in ONNX's text form, and what they are given.
# Names of one letter that are no input are constants of `CONSTANTS`.
COMPANY = {
    "layer_norm": ("m = ReduceMean<axes=[-1], keepdims=1>(x) d = Sub(x, m) s = Mul(d, d) v = ReduceMean<axes=[-1], keepdims=1>(s) "
                   "e = Add(v, tiny) r = Sqrt(e) n = Div(d, r) g = Mul(n, row) y = Add(g, row)"),
    "layer_norm_pow": ("m = ReduceMean<axes=[-1], keepdims=1>(x) d = Sub(x, m) s = Pow(d, two) v = ReduceMean<axes=[-1], keepdims=1>(s) "
                       "e = Add(v, tiny) r = Sqrt(e) n = Div(d, r) y = Mul(n, row)"),
    "rms_norm": "s = Mul(x, x) v = ReduceMean<axes=[-1], keepdims=1>(s) e = Add(v, tiny) r = Sqrt(e) n = Div(x, r) y = Mul(n, row)",
    "rms_norm_reciprocal": ("s = Pow(x, two) v = ReduceMean<axes=[-1], keepdims=1>(s) e = Add(v, tiny) r = Sqrt(e) "
                            "i = Reciprocal(r) n = Mul(x, i) y = Mul(n, row)"),
    "norm_of_other_axis": ("m = ReduceMean<axes=[1], keepdims=1>(x) d = Sub(x, m) s = Mul(d, d) v = ReduceMean<axes=[1], keepdims=1>(s) "
                           "e = Add(v, tiny) r = Sqrt(e) y = Div(d, r)"),
    "gelu": "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
    "gelu_half_first": "a = Div(x, root) b = Erf(a) c = Add(b, one) d = Mul(x, half) y = Mul(d, c)",
    "gelu_that_is_none": "a = Div(x, two) b = Erf(a) c = Add(b, one) d = Mul(x, c) y = Mul(d, half)",
    "gelu_tanh": "p = Pow(x, three) a = Mul(p, cubic) b = Add(x, a) c = Mul(b, rootpi) t = Tanh(c) o = Add(t, one) h = Mul(x, half) y = Mul(h, o)",
    "silu": "s = Sigmoid(x) y = Mul(x, s)",
    "swish": "b = Mul(x, half) s = Sigmoid(b) y = Mul(x, s)",
    "silu_of_other": "s = Sigmoid(x) y = Mul(s, row)",
    "scaled_product": "t = Transpose<perm=[0, 2, 1]>(x) p = MatMul(x, t) y = Mul(p, half)",
    "scaled_sides": "a = Mul(x, half) t = Transpose<perm=[0, 2, 1]>(x) b = Mul(t, two) y = MatMul(a, b)",
    "divided_product": "t = Transpose<perm=[0, 2, 1]>(x) p = MatMul(x, t) y = Div(p, root)",
    "product_and_bias": "p = MatMul(x, square) y = Add(p, row)",
    "product_and_column": "p = MatMul(x, square) y = Add(p, column)",
    "product_and_scalar": "p = MatMul(x, square) y = Add(p, one)",
    "product_and_its_input": "p = MatMul(x, square) y = Add(p, x)",
    "masked_softmax": "a = Add(x, row) y = Softmax<axis=-1>(a)",
    "softmax_of_other_axis": "a = Add(x, row) y = Softmax<axis=1>(a)",
    "safe_softmax": "s = Softmax<axis=-1>(x) n = IsNaN(s) y = Where(n, zero, s)",
    "attention": ("k = Transpose<perm=[0, 2, 1]>(x) s = MatMul(x, k) d = Div(s, root) p = Softmax<axis=-1>(d) y = MatMul(p, x)"),
    "transposes": "a = Transpose<perm=[0, 2, 1]>(x) b = Transpose<perm=[0, 2, 1]>(a) y = Add(b, x)",
    "transposed_twice": "a = Transpose<perm=[1, 2, 0]>(x) y = Transpose<perm=[1, 2, 0]>(a)",
    "transposed_sum": "a = Transpose<perm=[1, 0, 2]>(x) y = ReduceSum<keepdims=0>(a, first)",
    "transposed_right": "t = Transpose<perm=[1, 0]>(square) y = MatMul(x, t)",
    "identity": "a = Identity(x) b = Identity(a) y = Add(a, b)",
    "nothing_added": "a = Add(x, zero) b = Mul(a, one) c = Div(b, one) y = Sub(c, zero)",
    "nothing_added_to_a_larger": "a = Mul(x, ones) y = Add(a, zero)",
    "reciprocal": "r = Div(one, x) y = Mul(r, two)",
    "casts": "a = Cast<to=6>(x) b = Cast<to=7>(a) c = Cast<to=1>(b) y = Add(c, x)",
    "cast_to_less": "a = Cast<to=6>(x) y = Cast<to=1>(a)",
    "cast_of_a_bool": "g = Greater(x, zero) a = Cast<to=7>(g) b = Cast<to=9>(a) y = Where(b, x, zero)",
    "sizes": ("s = Shape(x) n = Gather<axis=0>(s, first) w = Gather<axis=0>(s, last) l = Mul(n, w) r = Concat<axis=0>(l, minus) "
              "y = Reshape(x, r)"),
    "sizes_by_shape": "n = Shape<start=0, end=1>(x) w = Shape<start=1>(x) r = Concat<axis=0>(w, n) t = Reshape(x, r) y = Neg(t)",
    "positions": "s = Shape<start=1, end=2>(x) n = Squeeze(s) p = Range(nought, n, step) g = Gather<axis=1>(x, p) y = Add(g, x)",
    "repeated": "u = Unsqueeze(x, last) e = Expand(u, by) y = Reshape(e, apart)",
    "repeated_inside": "u = Unsqueeze(x, middle) e = Expand(u, between) y = Reshape(e, longer)",
    "rotary": "a = Slice(x, from0, to2, last, step1) b = Slice(x, from2, to4, last, step1) n = Neg(b) c = Concat<axis=-1>(n, a) y = Mul(c, row)",
    "largest_of_equal": "r = Ceil(x) a = ArgMax<axis=1, keepdims=1>(r) f = Cast<to=1>(a) y = Add(f, x)",
    "largest_squeezed": "r = Ceil(x) a = ArgMax<axis=-2, keepdims=0>(r) y = Cast<to=1>(a)",
    "values_shared": "a = Sigmoid(x) b = Mul(x, a) c = Add(a, b) d = MatMul(c, square) e = Add(d, row) f = Mul(d, half) y = Add(e, f)",
    "convolved": ("u = Unsqueeze(x, nil) c = Conv<kernel_shape=[1, 1]>(u, kernel, channel) b = BatchNormalization(c, channel, channel, channel, positive) "
                  "r = Relu(b) y = Add(r, u)"),
    "convolved_and_added": "u = Unsqueeze(x, nil) c = Conv<kernel_shape=[1, 1]>(u, kernel) a = Add(c, channels) y = Relu(a)",
    "convolved_and_added_along": "u = Unsqueeze(x, nil) c = Conv<kernel_shape=[1, 1]>(u, kernel) y = Add(c, row)",
    "normalized_channels": "u = Unsqueeze(x, nil) y = BatchNormalization<epsilon=0.1>(u, channel, channel, channel, positive)",
}
CONSTANTS = {
    "tiny": 1e-5, "two": 2.0, "one": 1.0, "half": 0.5, "three": 3.0, "zero": 0.0, "root": 2 ** 0.5, "cubic": 0.044715,
    "rootpi": (2 / np.pi) ** 0.5, "row": [0.5, -1.0, 2.0, 0.25], "column": [[1.0], [2.0], [-3.0]], "square": np.arange(16).reshape(4, 4) / 7 - 1,
    "ones": np.ones((1, 1, 1, 1)), "kernel": np.array([[1.0, -2], [0.5, 3]]).reshape(2, 2, 1, 1), "channel": [0.5, -1.5], "positive": [0.5, 2.0],
    "channels": np.array([1.0, -2.0]).reshape(1, 2, 1, 1),
    "first": [0], "last": [2], "minus": [-1], "nought": 0, "step": 1, "by": [2, 3, 2, 4], "apart": [2, 3, 8], "middle": [2], "between": [2, 3, 5, 4],
    "longer": [2, 15, 4], "from0": [0], "to2": [2], "from2": [2], "to4": [4], "step1": [1], "nil": [0],
}


def company():
    """Gives (name, model, inputs) of several nodes, which an optimizer could take for something else."""
    for name, body in COMPANY.items():
        nodes = [part.strip() for part in body.split(") ")]
        text = "\n".join(node if node.endswith(")") else node + ")" for node in nodes)
        for opset in (17, 21) if "ReduceMean<axes" not in body else (17,):
            graph = f'<ir_version: 8, opset_import: ["" : {opset}]> g (float[n, 3, 4] x) => (float[*] y) {{\n{text}\n}}'
            made = onnx.parser.parse_model(graph.replace("[*]", ""))
            used = {item for node in made.graph.node for item in node.input}
            for constant in sorted(used & CONSTANTS.keys()):
                value = np.array(CONSTANTS[constant])
                made.graph.initializer.append(numpy_helper.from_array(value.astype(F if value.dtype.kind == "f" else L), constant))
            yield f"company_{name}@opset{opset}", made, [floats(2, 3, 4)]


FAMILIES = [unary, binary, casts, moves, reductions, products, automatic, convolutions, resizes, recurrent, quantized, attention]


def cases():
    """Gives (name, model, inputs) of every probe: with all inputs given, or with all but the first in the model."""
    global rng
    for family in FAMILIES:
        # Of its own, so that a change of one family leaves the others as they were.
        rng, count = np.random.default_rng(zlib.crc32(family.__name__.encode())), 0
        for probe in family():
            operator, inputs, attributes, outputs, held = (*probe, *(1, None)[len(probe) - 3:]) if len(probe) < 5 else probe
            count += 1
            given = sum(value is not None for value in inputs)
            if held is None:
                held = tuple(range(1, len(inputs))) if given > 1 and count % 3 == 0 else (0,) if given > 1 and count % 11 == 0 else ()
            yield f"{family.__name__}_{operator.lower()}_{count}", *model(operator, inputs, attributes, outputs, held)
    rng = np.random.default_rng(0)
    yield from company()
