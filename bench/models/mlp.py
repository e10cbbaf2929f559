#!/usr/bin/env python3
"""Writes a chain of square matrix products with seeded random weights as ONNX, of any size.

usage: mlp.py OUT.onnx WIDTH LAYERS [--data]
needs: pip install numpy onnx

Input:  x  float32 [N, WIDTH]      Output:  y  float32 [N, WIDTH]
WIDTH² × 4 bytes a layer: 4096 and 16 make 1 GiB. With --data the weights lie in OUT.onnx.data beside it, which a model of
more than 2 GiB needs. One layer at a time is in memory.
"""
import os
import sys

import numpy as np
import onnx
from onnx import TensorProto as T, helper as h


def main(out: str, width: int, layers: int, data: bool) -> None:
    rng, scale = np.random.default_rng(0), np.float32(width ** -0.5)
    nodes, weights, x = [], [], "x"
    for n in range(layers):
        y = "y" if n == layers - 1 else f"h{n}"
        nodes.append(h.make_node("MatMul", [x, f"w{n}"], [y], name=f"layer{n}"))
        weights.append(T(name=f"w{n}", data_type=T.FLOAT, dims=[width, width]))
        x = y
    size = width * width * 4
    layer = lambda: (rng.standard_normal((width, width), np.float32) * scale).tobytes()
    if data:
        with open(f"{out}.data", "wb") as file:
            for n, weight in enumerate(weights):
                file.write(layer())
                weight.data_location = T.EXTERNAL
                place = {"location": f"{os.path.basename(out)}.data", "offset": str(n * size), "length": str(size)}
                for key, value in place.items():
                    weight.external_data.add(key=key, value=value)
    else:
        for weight in weights:
            weight.raw_data = layer()
    ports = [h.make_tensor_value_info(name, T.FLOAT, ["N", width]) for name in "xy"]
    graph = h.make_graph(nodes, "mlp", ports[:1], ports[1:], weights)
    model = h.make_model(graph, opset_imports=[h.make_opsetid("", 17)], ir_version=8, producer_name="gpux fixtures")
    onnx.save(model, out)


if __name__ == "__main__":
    arguments = [argument for argument in sys.argv[1:] if argument != "--data"]
    if len(arguments) != 3:
        sys.exit(__doc__)
    main(arguments[0], int(arguments[1]), int(arguments[2]), "--data" in sys.argv)
