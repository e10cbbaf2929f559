#!/usr/bin/env python3
"""Writes the inputs of a real model and what the onnxruntime package answers.

usage: reference.py MODEL.onnx OUT_DIR [SENTENCES.json]
writes OUT_DIR/INPUT.npy for each input, and OUT_DIR/expected.npy
"""

import json
import pathlib
import sys

import numpy as np
import onnxruntime


def main(model, out, sentences=None):
    if sentences:
        rows = [row["input_ids"] for row in json.loads(pathlib.Path(sentences).read_text())]
        ids = np.zeros((len(rows), max(map(len, rows))), np.int64)
        for row, tokens in zip(ids, rows):
            row[: len(tokens)] = tokens
        inputs = {"input_ids": ids, "attention_mask": (ids != 0).astype(np.int64), "token_type_ids": np.zeros_like(ids)}
    else:
        inputs = {"x": np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)}
    for name, array in inputs.items():
        np.save(pathlib.Path(out) / f"{name}.npy", array)
    np.save(pathlib.Path(out) / "expected.npy", onnxruntime.InferenceSession(model).run(None, inputs)[0])


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4):
        sys.exit(__doc__)
    main(*sys.argv[1:])
