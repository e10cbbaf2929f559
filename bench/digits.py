#!/usr/bin/env python3
"""Reads one digit with the onnxruntime package: what one writes without gpux.

usage: digits.py MODEL.onnx INPUT.npy
"""

import sys

import numpy
import onnxruntime

session = onnxruntime.InferenceSession(sys.argv[1])
print(session.run(["digit"], {"image": numpy.load(sys.argv[2])})[0][0])
