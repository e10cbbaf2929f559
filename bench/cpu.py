#!/usr/bin/env python3
"""Measures the providers of the processor side by side: OpenVINO, ONNX Runtime and the embedded engine; prints their table.

usage: cpu.py [--gpux GPUX] [--time TIME]
needs: `make test-deps` (the models), and pip or uv, from which gpux installs both builds of ONNX Runtime; Linux x86-64

Every figure is the median of one configuration in a process of its own, as `gpux tune` takes it, with outputs compared with
those of ONNX Runtime. What tuning picked is the row to look at; the exit code is 1 where it is over 5 % slower than another.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
HOME = ROOT / "target/bench/cpu"
MODELS = [
    ("digits, batch 1", ROOT / "fixtures/digits", []),
    ("MLP 4-8-3, batch 1", ROOT / "fixtures/mlp", []),
    ("MiniLM, 1 × 128", ROOT / "target/test-models/minilm/model.onnx", ["--dim", "sequence=128"]),
    ("ResNet-50, batch 1", ROOT / "target/test-models/resnet50/model.onnx", []),
]
PROVIDERS = ("openvino", "cpu", "embedded")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    parser.add_argument("--time", default="2s")
    arguments = parser.parse_args()
    environment = dict(os.environ, GPUX_HOME=str(HOME), ORT_DISABLE_TELEMETRY="1")
    # An active Python environment would bring an ONNX Runtime of its own.
    for name in ("VIRTUAL_ENV", "CONDA_PREFIX", "ORT_DYLIB_PATH"):
        environment.pop(name, None)

    def gpux(*words):
        done = subprocess.run([arguments.gpux, *map(str, words)], env=environment, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"gpux {' '.join(map(str, words))}: {done.stderr}")
        return done.stdout

    for pack in ("cpu", "openvino"):
        gpux("provider", "install", pack, "--yes")
    print("| model | " + " | ".join(PROVIDERS) + " | tuning picked |\n|---|" + "---|" * (len(PROVIDERS) + 1))
    slow = []
    for name, model, words in MODELS:
        tuning = json.loads(gpux("tune", model, *words, "--time", arguments.time, "--json"))
        cells, best = [], float("inf")
        for provider in PROVIDERS:
            trials = [trial for trial in tuning["trials"] if trial["provider"] == provider]
            times = [trial["median_ms"] for trial in trials if trial["right"]]
            best = min([best, *times])
            cells.append(milliseconds(min(times)) if times else "–")
            for trial in trials:
                if not trial["right"]:
                    print(f"{name}, {provider}: {trial.get('error', 'too far off')}", file=sys.stderr)
        chosen = tuning["chosen"]
        what = ", ".join([chosen["provider"], *chosen["options"]])
        print(f"| {name} | " + " | ".join(cells) + f" | {what}: {milliseconds(chosen['median_ms'])} |", flush=True)
        if chosen["median_ms"] > best * 1.05:
            slow.append(name)
    return f"what tuning picked is over 5 % slower than another: {slow}" if slow else 0


def milliseconds(value):
    return f"{value:.3f} ms" if value < 1 else f"{value:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
