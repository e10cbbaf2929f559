"""Writes ONNX files with NumPy alone, for machines that have no `onnx` package.

Put this folder's parent on PYTHONPATH, and the recipes of bench/models run as they are. It has what they use and no more,
and checks nothing: `make test` reads what they write with the real package.
Source: the field numbers of onnx.proto.
"""

import struct
from types import SimpleNamespace

import numpy as np

TensorProto = SimpleNamespace(FLOAT=1, INT64=7, FLOAT16=10)
_TYPES = {"float32": TensorProto.FLOAT, "int64": TensorProto.INT64, "float16": TensorProto.FLOAT16}
_FLOAT, _INT, _STRING, _INTS = 1, 2, 3, 7


def _varint(value):
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def _number(field, value):
    return _varint(field << 3) + _varint(value)


def _bytes(field, value):
    value = value.encode() if isinstance(value, str) else value
    return _varint(field << 3 | 2) + _varint(len(value)) + value


def _attribute(name, value):
    head = _bytes(1, name)
    if isinstance(value, float):
        return head + _varint(2 << 3 | 5) + struct.pack("<f", value) + _number(20, _FLOAT)
    if isinstance(value, int):
        return head + _number(3, value) + _number(20, _INT)
    if isinstance(value, str):
        return head + _bytes(4, value) + _number(20, _STRING)
    return head + b"".join(_number(8, item) for item in value) + _number(20, _INTS)


def _make_node(kind, inputs, outputs, name="", **attributes):
    parts = [_bytes(1, item) for item in inputs] + [_bytes(2, item) for item in outputs]
    parts += [_bytes(3, name), _bytes(4, kind)]
    parts += [_bytes(5, _attribute(*item)) for item in sorted(attributes.items())]
    return b"".join(parts)


def _make_tensor_value_info(name, element, shape):
    dims = [_bytes(1, _bytes(2, dim) if isinstance(dim, str) else _number(1, dim)) for dim in shape]
    tensor = _number(1, element) + _bytes(2, b"".join(dims))
    return _bytes(1, name) + _bytes(2, _bytes(1, tensor))


def _make_graph(nodes, name, inputs, outputs, initializers):
    parts = [_bytes(1, node) for node in nodes] + [_bytes(2, name)]
    parts += [_bytes(5, tensor) for tensor in initializers]
    return b"".join(parts + [_bytes(11, port) for port in inputs] + [_bytes(12, port) for port in outputs])


def _make_model(graph, opset_imports, ir_version, producer_name):
    parts = [_number(1, ir_version), _bytes(2, producer_name), _bytes(7, graph)]
    return b"".join(parts + [_bytes(8, opset) for opset in opset_imports])


def _from_array(array, name):
    dims = b"".join(_number(1, size) for size in array.shape)
    data = np.ascontiguousarray(array).tobytes()
    return dims + _number(2, _TYPES[array.dtype.name]) + _bytes(8, name) + _bytes(9, data)


def save(model, path):
    with open(path, "wb") as file:
        file.write(model)


helper = SimpleNamespace(
    make_node=_make_node,
    make_tensor_value_info=_make_tensor_value_info,
    make_graph=_make_graph,
    make_model=_make_model,
    make_opsetid=lambda domain, version: _bytes(1, domain) + _number(2, version),
)
numpy_helper = SimpleNamespace(from_array=_from_array)
checker = SimpleNamespace(check_model=lambda model: None)
