#!/usr/bin/env python3
"""Measures the log-mel spectrum of 30 seconds beside transformers' WhisperFeatureExtractor.

usage: sound.py [--rounds N] [--build DIR]
needs: cargo build --release --features yardstick   (or --build target/debug); all else it installs itself, once, into
       target/sound-venv: numpy and transformers at the versions of fixtures/reference.in

Prints a row of docs/benchmarks.md. Both sides work on the same samples, in turn, on at most 2 cores; medians are compared.
The extractor is used as it is without torch. The exit code is 1 where the bound is missed.
"""

import argparse
import json
import os
import pathlib
import re
import statistics
import subprocess
import sys
import time
import wave

ROOT = pathlib.Path(__file__).resolve().parent.parent
VENV = ROOT / "target/sound-venv"
SECONDS, RATE = 30, 16_000
BOUND = 3.0


def in_own_environment():
    """Goes on in an environment that has the reference implementation."""
    python = VENV / "bin/python"
    if pathlib.Path(sys.prefix).resolve() == VENV.resolve():
        return
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
        pins = (ROOT / "fixtures/reference.in").read_text()
        wanted = re.findall(r"^(?:numpy|transformers)==\S+", pins, re.MULTILINE)
        subprocess.run([python, "-m", "pip", "install", "--quiet", *wanted], check=True)
    os.execv(python, [str(python), *sys.argv])


def write_sound(path):
    """Half a minute of a hum that rises and falls, with a little noise."""
    import numpy as np

    t = np.arange(SECONDS * RATE) / RATE
    rng = np.random.default_rng(30)
    hum = sum(np.sin(2 * np.pi * n * (110 * t + 8 * np.sin(t))) / n for n in range(1, 12))
    samples = 0.2 * hum * (0.6 + 0.4 * np.sin(3 * t)) + 0.01 * rng.standard_normal(len(t))
    samples = np.round(np.clip(samples, -1, 1) * 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return samples.astype(np.float32) / 32768


def main():
    in_own_environment()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "target/release")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    from transformers import WhisperFeatureExtractor

    path = ROOT / "target/half-a-minute.wav"
    samples = write_sound(path)
    extract = WhisperFeatureExtractor()
    yardstick = options.build.resolve() / "yardstick"
    ours, theirs = [], []
    for _ in range(options.rounds + 1):
        start = time.perf_counter()
        expected = extract(samples, sampling_rate=RATE, return_tensors="np").input_features[0]
        theirs.append(time.perf_counter() - start)
        told = subprocess.run([yardstick, "log-mel", path, "3"], capture_output=True, text=True, check=True)
        told = json.loads(told.stdout)
        ours += [nanoseconds / 1e9 for nanoseconds in told["log_mel_ns"]]
        assert abs(told["mean"] - float(expected.mean())) < 1e-4, "the two sides do not compute the same"
    # The first round of either side warms up.
    ours, theirs = statistics.median(ours[3:]), statistics.median(theirs[1:])
    held = theirs / ours >= BOUND
    print(f"| log-mel of 30 s, beside transformers' extractor | {ours * 1e3:.1f} ms | {theirs * 1e3:.1f} ms "
          f"| at least {BOUND:.0f} × | {theirs / ours:.1f} × | {'yes' if held else '**no**'} |")
    sys.exit(0 if held else 1)


if __name__ == "__main__":
    main()
