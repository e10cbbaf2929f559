#!/usr/bin/env python3
"""Writes the cases that `cargo test --test conformance` runs.

usage: make_node_data.py OUT_DIR
needs: onnx, onnxruntime, numpy at the versions of tests/requirements.txt

Three packs come out, each a sequence of cases:
  node.cases   ONNX's own backend node tests, from the generators in the onnx package
  older.cases  the same tests rephrased: at each earlier version of the operator, and with every input but the first
               held in the model; where an earlier version means something else, what it means to ONNX Runtime
  probe.cases  seeded random cases for the operators that the embedded engine is offered (probes.py); the expected
               outputs are ONNX Runtime's

A case is a little-endian u32, that many bytes of JSON, and `bytes` more: the model, then the tensors in the header's
order, row-major, strings as JSON in the header.
"""
import copy
import hashlib
import json
import os
import pathlib
import struct
import sys
import warnings

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

HERE = pathlib.Path(__file__).parent
ENUM = onnx.TensorProto.DataType.Value
# What the tensors of gpux hold, by the number in onnx.proto.
HELD = {ENUM(n) for n in (
    "FLOAT UINT8 INT8 UINT16 INT16 INT32 INT64 STRING BOOL FLOAT16 DOUBLE UINT32 UINT64 BFLOAT16".split())}


def tensor(value, info):
    """Gives (header, bytes) of one value, or the reason why gpux has no tensor for it."""
    kind = info.type.WhichOneof("value")
    if kind != "tensor_type":
        return None, kind.removesuffix("_type")
    number = info.type.tensor_type.elem_type
    header = {"name": info.name, "dtype": number}
    if isinstance(value, onnx.TensorProto):
        number = header["dtype"] = value.data_type
        value = numpy_helper.to_array(value)
    value = np.asarray(value)
    header["shape"] = list(value.shape)
    if number not in HELD:
        return None, onnx.TensorProto.DataType.Name(number).lower()
    if number == ENUM("STRING"):
        header["strings"] = [v.decode() if isinstance(v, bytes) else str(v) for v in value.reshape(-1).tolist()]
        header["bytes"] = 0
        return (header, b""), None
    data = np.ascontiguousarray(value).tobytes()
    header["bytes"] = len(data)
    return (header, data), None


class Pack:
    """Is one file of cases."""

    def __init__(self, path, stamp):
        self.file, self.count = open(path, "wb"), 0
        self.write({"stamp": stamp, "onnx": onnx.__version__, "onnxruntime": ort.__version__}, [])

    def write(self, header, blobs):
        header["bytes"] = sum(map(len, blobs))
        text = json.dumps(header, separators=(",", ":"), allow_nan=False).encode()
        self.file.write(struct.pack("<I", len(text)) + text + b"".join(blobs))

    def add(self, name, model, inputs, outputs, rtol=1e-3, atol=1e-7):
        graph, blobs, sides, unheld = model.graph, [model.SerializeToString()], {}, None
        since, until = span(model) if len(graph.node) == 1 else (None, None)
        taken = [i for i in graph.input if i.name not in {t.name for t in graph.initializer}]
        for side, infos, values in (("inputs", taken, inputs), ("outputs", graph.output, outputs)):
            sides[side] = []
            for info, value in zip(infos, values, strict=True):
                held, why = tensor(value, info)
                if held is None:
                    unheld = unheld or why
                    continue
                sides[side].append(held[0])
                blobs.append(held[1])
        if unheld:
            blobs, sides = blobs[:1], {"inputs": [], "outputs": []}
        self.write({"name": name, "rtol": rtol, "atol": atol, "unheld": unheld, "since": since, "until": until,
                    "model": len(blobs[0]), **sides}, blobs)
        self.count += 1


def span(model):
    """Gives the first and the last opset in which the model's node means what it means in the model."""
    node = model.graph.node[0]
    opset = next((i.version for i in model.opset_import if (i.domain or "ai.onnx") == (node.domain or "ai.onnx")), 1)
    since = max((v for v in history(node) if v <= opset), default=None)
    later = [v for v in history(node) if v > opset]
    return since, min(later) - 1 if later else max(opset, onnx.defs.onnx_opset_version())


def history(node):
    return HISTORY.get((node.domain if node.domain != "ai.onnx" else "", node.op_type), [])


HISTORY = {}
for schema in onnx.defs.get_all_schemas_with_history():
    HISTORY.setdefault((schema.domain, schema.name), []).append(schema.since_version)


def run(model, inputs):
    """Gives ONNX Runtime's outputs, or None where it refuses the model."""
    options = ort.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    try:
        session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        return session.run(None, dict(zip([i.name for i in session.get_inputs()], inputs, strict=True)))
    except Exception:  # Whatever the reason, the case then proves nothing.
        return None


def same(found, expected, rtol=1e-3, atol=1e-7):
    return found is not None and len(found) == len(expected) and all(
        isinstance(e, np.ndarray) and isinstance(f, np.ndarray) and f.dtype == e.dtype and f.shape == e.shape
        and (np.array_equal(f, e) if e.dtype.kind not in "f" else np.allclose(f, e, rtol, atol, equal_nan=True))
        for f, e in zip(found, expected))


# Operators whose inputs were attributes once: operator → (first opset with inputs, input position → attribute).
ONCE_ATTRIBUTES = {
    **{op: (13, {1: "axes"}) for op in ("ReduceSum", "Squeeze", "Unsqueeze")},
    **{"Reduce" + op: (18, {1: "axes"}) for op in "L1 L2 LogSum LogSumExp Max Mean Min Prod SumSquare".split()},
    "Clip": (11, {1: "min", 2: "max"}),
    "Pad": (11, {1: "pads", 2: "value"}),
    "Slice": (10, {1: "starts", 2: "ends", 3: "axes"}),
    "Split": (13, {1: "split"}),
    "TopK": (10, {1: "k"}),
}


def older(newest, given):
    """Gives (suffix, model, inputs) for each earlier version of a model's one operator that ONNX's checker accepts."""
    node = newest.graph.node[0]
    for opset in (until - 1 for until in sorted(history(node))[1:]):
        if not 7 <= opset < span(newest)[0]:
            continue
        model, inputs = copy.deepcopy(newest), list(given)
        moved = ONCE_ATTRIBUTES.get(node.op_type)
        if moved and opset < moved[0]:
            inputs = demote(model, inputs, moved[1])
        for imported in model.opset_import:
            if imported.domain in ("", "ai.onnx"):
                imported.version = opset
        model.ir_version = min(model.ir_version, 8)
        try:
            onnx.checker.check_model(model, full_check=True)
        except Exception:  # Not a model of that opset.
            continue
        yield f"opset{opset}", model, inputs


def demote(model, inputs, moved):
    """Turns the inputs of the model's node at the positions in `moved` into attributes; gives the inputs that stay."""
    graph, node = model.graph, model.graph.node[0]
    given = dict(zip([i.name for i in graph.input], inputs))
    for position, attribute in moved.items():
        name = node.input[position] if position < len(node.input) else ""
        if not name:
            continue
        constant = next((t for t in graph.initializer if t.name == name), None)
        if constant is None:
            value = np.asarray(given.pop(name))
        else:
            value = numpy_helper.to_array(constant)
            graph.initializer.remove(constant)
        scalar = value.ndim == 0 or attribute == "k"
        kind = onnx.AttributeProto.INTS if value.size == 0 else None
        node.attribute.append(helper.make_attribute(attribute, value.item() if scalar else value.tolist(), attr_type=kind))
    stay = [name for at, name in enumerate(node.input) if at not in moved]
    del node.input[:]
    node.input.extend(stay)
    infos = [i for i in graph.input if i.name in given]
    del graph.input[:]
    graph.input.extend(infos)
    return [given[i.name] for i in infos]


def held_inside(model, inputs):
    """Gives the model with every input but the first an initializer, or None where that cannot be."""
    graph = model.graph
    rest = list(zip(graph.input, inputs))[1:]
    if not rest or any(not isinstance(v, np.ndarray) or i.type.WhichOneof("value") != "tensor_type" for i, v in rest):
        return None
    model = copy.deepcopy(model)
    del model.graph.input[1:]
    model.graph.initializer.extend(
        helper.make_tensor(i.name, i.type.tensor_type.elem_type, v.shape, np.ascontiguousarray(v).tobytes(), raw=True)
        if v.dtype.kind in "fiub" and v.dtype.itemsize == np.dtype(helper.tensor_dtype_to_np_dtype(i.type.tensor_type.elem_type)).itemsize
        else numpy_helper.from_array(v, i.name) for i, v in rest)
    model.ir_version = max(model.ir_version, 4)
    return model


def main(out_dir):
    from onnx.backend.test.loader import load_model_tests
    warnings.simplefilter("ignore")
    sys.path.insert(0, str(HERE))
    import probes
    stamp = hashlib.sha256(pathlib.Path(__file__).read_bytes() + (HERE / "probes.py").read_bytes()).hexdigest()
    out = pathlib.Path(out_dir)
    out.mkdir(parents=True, exist_ok=True)
    packs = {kind: Pack(out / f"{kind}.part", stamp) for kind in ("node", "older", "probe")}
    for case in load_model_tests(kind="node"):
        (inputs, outputs), model = case.data_sets[0], case.model
        packs["node"].add(case.name, model, inputs, outputs, case.rtol, case.atol)
        if len(model.graph.node) != 1 or any(a.type in (a.GRAPH, a.GRAPHS) for a in model.graph.node[0].attribute):
            continue
        if not same(run(model, inputs), outputs, case.rtol, case.atol):
            continue  # Where the two disagree on the test itself, ONNX Runtime is no judge of what it meant earlier.
        variants = [("", model, inputs), *older(model, inputs)]
        for suffix, variant, given in variants:
            forms = [(suffix, variant, given)] if suffix else []
            inside = held_inside(variant, given)
            if inside is not None:
                forms.append(((suffix + "_" if suffix else "") + "held", inside, given[:1]))
            for name, form, values in forms:
                meant = run(form, values)
                if meant is not None:
                    expected = outputs if same(meant, outputs, case.rtol, case.atol) else meant
                    packs["older"].add(f"{case.name}@{name}", form, values, expected, case.rtol, case.atol)
    refused = {}
    for turn, (name, model, inputs) in enumerate(probes.cases()):
        operator = model.graph.node[0].op_type
        outputs = run(model, inputs)
        if outputs is None:
            refused[operator] = refused.get(operator, 0) + 1
            continue
        for info, value in zip(model.graph.output, outputs):
            info.type.tensor_type.shape.SetInParent()
            for _ in value.shape:
                info.type.tensor_type.shape.dim.add()
        packs["probe"].add(name, model, inputs, outputs, 1e-3, 1e-5)
        # And one of its earlier versions, in turn.
        earlier = list(older(model, inputs)) if len(model.graph.node) == 1 else []
        for suffix, form, given in earlier[turn % max(1, len(earlier)):][:1]:
            outputs = run(form, given)
            if outputs is not None:
                packs["probe"].add(f"{name}@{suffix}", form, given, outputs, 1e-3, 1e-5)
    print("ONNX Runtime refuses probes of", refused)
    for kind, pack in packs.items():
        pack.file.close()
        os.replace(out / f"{kind}.part", out / f"{kind}.cases")
        print(f"{pack.count} {kind} cases")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
