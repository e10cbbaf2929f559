"""Runs a model once with onnxruntime in Python, as everybody calls it: the other side of `gpux run`.

usage: once.py MODEL.onnx NAME=INPUT.npy OUTPUT.npy
"""

import sys

import numpy as np
import onnxruntime

model, given, output = sys.argv[1:]
name, path = given.split("=", 1)
session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
np.save(output, session.run(None, {name: np.load(path)})[0])
