#!/usr/bin/env python3
"""Writes models whose weights lie in every place and form that ONNX knows, for tests/it/weights.rs.

usage: make.py OUT_DIR
needs: numpy, onnx
"""
import pathlib
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h, numpy_helper as nh

RNG = np.random.default_rng(4)
OPSET = 21


def save(out, name, graph, functions=()):
    opsets = [h.make_opsetid("", OPSET)] + ([h.make_opsetid("own", 1)] if functions else [])
    model = h.make_model(graph, opset_imports=opsets, ir_version=10, functions=list(functions))
    onnx.checker.check_model(model)
    onnx.save(model, out / f"{name}.onnx")


def floats(*shape):
    return RNG.standard_normal(shape).astype(np.float32)


def constant(output, array):
    return h.make_node("Constant", [], [output], name=output, value=nh.from_array(array))


def shared():
    """Two names for the same bytes, and a third of another type and shape."""
    weight = floats(192, 192)
    nodes = [
        h.make_node("MatMul", ["x", "encoder"], ["a"]),
        h.make_node("MatMul", ["a", "decoder"], ["b"]),
        h.make_node("Gather", ["bits", "zero"], ["c"], axis=0),
        h.make_node("Cast", ["c"], ["d"], to=T.FLOAT),
        h.make_node("ReduceMax", ["d"], ["m"], keepdims=0),
        h.make_node("Add", ["b", "m"], ["y"]),
    ]
    initializers = [
        nh.from_array(weight, "encoder"),
        nh.from_array(weight, "decoder"),
        nh.from_array(weight.view(np.int32).reshape(-1), "bits"),
        nh.from_array(np.arange(4, dtype=np.int64), "zero"),
    ]
    ports = [h.make_tensor_value_info(name, T.FLOAT, [1, 192]) for name in "xy"]
    return h.make_graph(nodes, "shared", ports[:1], ports[1:], initializers)


def kinds():
    """Half, bfloat16, double, 4-bit and bool weights, and more strings than a shard has bytes."""
    def nibbles(name, kind):
        tensor = T(name=name, data_type=kind, dims=[256, 1024])
        tensor.raw_data = RNG.integers(0, 256, 256 * 512, dtype=np.uint8).tobytes()
        return tensor

    half = nh.from_array(floats(64, 1024).astype(np.float16), "half")
    brain = T(name="brain", data_type=T.BFLOAT16, dims=[64, 1024])
    brain.raw_data = (floats(64, 1024).view(np.uint32) >> 16).astype(np.uint16).tobytes()
    words = h.make_tensor("words", T.STRING, [20_000], [f"word {n}" for n in range(20_000)])
    initializers = [
        half, brain, words, nibbles("signed", T.INT4), nibbles("unsigned", T.UINT4),
        nh.from_array(RNG.standard_normal((32, 1024)), "double"),
        nh.from_array(RNG.random((64, 1024)) < 0.5, "truth"),
        nh.from_array(np.float32(0.5), "scale"),
    ]  # fmt: skip
    nodes, outputs = [], []
    for name in ("half", "brain", "double", "truth"):
        nodes.append(h.make_node("Cast", [name], [f"{name} as float"], to=T.FLOAT))
    for name in ("signed", "unsigned"):
        nodes.append(h.make_node("DequantizeLinear", [name, "scale"], [f"{name} as float"]))
    for name in ("half", "brain", "double", "truth", "signed", "unsigned"):
        nodes.append(h.make_node("Gather", [f"{name} as float", "x"], [f"of {name}"], axis=0))
        outputs.append(h.make_tensor_value_info(f"of {name}", T.FLOAT, [2, 1024]))
    nodes.append(h.make_node("Gather", ["words", "x"], ["of words"], axis=0))
    outputs.append(h.make_tensor_value_info("of words", T.STRING, [2]))
    ports = [h.make_tensor_value_info("x", T.INT64, [2])]
    return h.make_graph(nodes, "kinds", ports, outputs, initializers)


def bodies():
    """Initializers and constants in the branches of If, in the body of Loop, and in a function."""
    size = 20_000
    result = lambda name: h.make_tensor_value_info(name, T.FLOAT, [1, size])
    then = h.make_graph(
        [h.make_node("Add", ["x", "in then"], ["then"])], "then", [], [result("then")],
        [nh.from_array(floats(1, size), "in then")],
    )  # fmt: skip
    otherwise = h.make_graph(
        [constant("in else", floats(1, size)), h.make_node("Mul", ["x", "in else"], ["else"])], "else", [], [result("else")]
    )
    body = h.make_graph(
        [
            h.make_node("Identity", ["on"], ["still on"]),
            h.make_node("Mul", ["state", "in loop"], ["scaled"]),
            constant("in body", floats(1, size)),
            h.make_node("Add", ["scaled", "in body"], ["next"]),
        ],
        "body",
        [h.make_tensor_value_info("turn", T.INT64, []), h.make_tensor_value_info("on", T.BOOL, []), result("state")],
        [h.make_tensor_value_info("still on", T.BOOL, []), result("next")],
        [nh.from_array(floats(1, size), "in loop")],
    )
    function = h.make_function(
        "own", "Shift", ["a"], ["b"],
        [constant("in function", floats(1, size)), h.make_node("Add", ["a", "in function"], ["b"])],
        [h.make_opsetid("", OPSET)],
    )  # fmt: skip
    nodes = [
        h.make_node("Greater", ["mean", "zero"], ["positive"]),
        h.make_node("If", ["positive"], ["chosen"], then_branch=then, else_branch=otherwise),
        h.make_node("Loop", ["turns", "", "chosen"], ["looped"], body=body),
        h.make_node("Shift", ["looped"], ["shifted"], domain="own"),
        constant("outer", floats(1, size)),
        h.make_node("Add", ["shifted", "outer"], ["y"]),
    ]
    nodes.insert(0, h.make_node("ReduceMean", ["x"], ["mean"], keepdims=0))
    initializers = [nh.from_array(np.float32(0), "zero"), nh.from_array(np.int64(3), "turns")]
    return h.make_graph(nodes, "bodies", [result("x")], [result("y")], initializers), [function]


def typed():
    """Weights in the fields for numbers and not as raw data."""
    count = 32_768
    initializers = [
        h.make_tensor("f32", T.FLOAT, [count], floats(count).tolist()),
        h.make_tensor("f16", T.FLOAT16, [2 * count], floats(2 * count).astype(np.float16).tolist()),
        h.make_tensor("f64", T.DOUBLE, [count], RNG.standard_normal(count).tolist()),
        h.make_tensor("i8", T.INT8, [3 * count], RNG.integers(-128, 128, 3 * count).tolist()),
        h.make_tensor("i32", T.INT32, [count], RNG.integers(-(2**31), 2**31, count).tolist()),
        h.make_tensor("i64", T.INT64, [count], RNG.integers(-(2**63), 2**63 - 1, count).tolist()),
        h.make_tensor("u64", T.UINT64, [count], RNG.integers(0, 2**63, count, dtype=np.uint64).tolist()),
        h.make_tensor("bool", T.BOOL, [3 * count], (RNG.random(3 * count) < 0.5).tolist()),
    ]
    nodes = [h.make_node("Gather", [tensor.name, "x"], [f"of {tensor.name}"], axis=0) for tensor in initializers]
    outputs = [h.make_tensor_value_info(f"of {tensor.name}", tensor.data_type, [3]) for tensor in initializers]
    return h.make_graph(nodes, "typed", [h.make_tensor_value_info("x", T.INT64, [3])], outputs, initializers)


def main(out):
    out = pathlib.Path(out)
    out.mkdir(parents=True, exist_ok=True)
    save(out, "shared", shared())
    save(out, "kinds", kinds())
    save(out, "bodies", *bodies())
    save(out, "typed", typed())


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
