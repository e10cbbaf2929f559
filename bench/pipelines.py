#!/usr/bin/env python3
"""Measures pictures and texts through gpux beside Pillow, NumPy, tokenizers and onnxruntime.

usage: pipelines.py [--repetitions N] [--pictures N] [--build DIR]
needs: pip install --require-hashes -r fixtures/pictures/requirements.txt, the models of scripts/test-deps.sh, and
       cargo build --release --features yardstick   (or --build target/debug)

Prints the rows of docs/benchmarks.md. Both sides of a row run in turn in one go; medians are compared. The exit code is 1
where a bound is missed.
"""

import argparse
import io
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
import onnxruntime
from PIL import Image

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench-pipelines"
MODELS = ROOT / "target/test-models"
MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
LIBRARY = str(next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1*")))
SENTENCE = "A man is eating a piece of bread."
EMBED = """
import sys
import numpy as np, onnxruntime
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[2])
tokenizer.no_padding()
tokenizer.enable_truncation(256)
encoded = tokenizer.encode(sys.argv[3])
session = onnxruntime.InferenceSession(sys.argv[1])
row = lambda values: np.array([values], np.int64)
states = session.run(None, {"input_ids": row(encoded.ids), "attention_mask": row(encoded.attention_mask),
                            "token_type_ids": row(encoded.type_ids)})[0]
mean = states[0].mean(0)
print((mean / np.linalg.norm(mean)).tolist())
"""


def environment():
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(WORK),
        "GPUX_HOME": str(WORK / "gpux"),
        "ORT_DYLIB_PATH": LIBRARY,
        "ORT_DISABLE_TELEMETRY": "1",
    }


def run(command, **options):
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, **options)
    if done.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}: {done.stderr}")
    return done


def seconds(work):
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def photo(width, height, seed):
    """A picture with slopes, edges and grain, as a JPEG of quality 90."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (height // 64, width // 64, 3), np.uint8))
    pixels = np.asarray(coarse.resize((width, height), Image.BICUBIC)).astype(np.int16)
    grain = rng.normal(0, 5, (height, width, 1)).astype(np.int16)
    file = io.BytesIO()
    Image.fromarray(np.clip(pixels + grain, 0, 255).astype(np.uint8)).save(file, "JPEG", quality=90)
    return file.getvalue()


def pillow(data):
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    width, height = picture.size
    scale = (256, int(256 * height / width)) if width <= height else (int(256 * width / height), 256)
    picture = picture.resize(scale, Image.BILINEAR)
    left, top = (scale[0] - 224) // 2, (scale[1] - 224) // 2
    values = np.asarray(picture.crop((left, top, left + 224, top + 224)), np.float32) / 255
    return np.ascontiguousarray(((values - MEAN) / STD).transpose(2, 0, 1)[None])


def row(what, ours, theirs, bound, measured, held):
    print(f"| {what} | {ours} | {theirs} | {bound} | {measured} | {'yes' if held else '**no**'} |")
    return held


def pictures_row(yardstick, repetitions):
    file = WORK / "photo.jpg"
    file.write_bytes(photo(4000, 3000, 1))
    data = file.read_bytes()
    pillow(data)
    ours, theirs = [], []
    for _ in range(repetitions):
        ours += [t / 1e9 for t in json.loads(run([yardstick, "picture", file, "3"]).stdout)["picture_ns"]]
        theirs += [seconds(lambda: pillow(data)) for _ in range(3)]
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return row("a 12-megapixel JPEG to a normalized 224 × 224, beside Pillow and NumPy", f"{ours * 1e3:.1f} ms",
               f"{theirs * 1e3:.1f} ms", "at least 1.5 ×", f"{theirs / ours:.2f} ×", theirs >= 1.5 * ours)


def sentence_row(gpux, repetitions):
    folder = WORK / "minilm"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(MODELS / "minilm", folder)
    (folder / "GPUXfile").write_text(
        "name: minilm\nversion: '1.0.0'\nmodel: model.onnx\npreprocessing: {tokenizer: tokenizer.json, max_length: 256}\n"
        "postprocessing: sentence\n")
    run([gpux, "build", folder, "-t", "minilm:1"])
    script = [sys.executable, "-c", EMBED, MODELS / "minilm/model.onnx", MODELS / "minilm/tokenizer.json", SENTENCE]
    answer = json.loads(run([gpux, "run", "minilm:1", SENTENCE]).stdout)
    found = np.array(answer["answers"][0]["answer"]["last_hidden_state"]["values"])
    expected = np.array(json.loads(run(script).stdout))
    assert np.abs(found - expected).max() < 1e-4, "the embeddings differ"
    ours, theirs = [], []
    for _ in range(repetitions):
        ours.append(seconds(lambda: run([gpux, "run", "minilm:1", SENTENCE])))
        theirs.append(seconds(lambda: run(script)))
    ours, theirs = statistics.median(ours), statistics.median(theirs)
    return row("`gpux run minilm:1` of a sentence, whole process, beside tokenizers and onnxruntime", f"{ours * 1e3:.0f} ms",
               f"{theirs * 1e3:.0f} ms", "at most 1/10", f"1/{theirs / ours:.1f}", theirs >= 10 * ours)


def batch_row(gpux, count):
    folder = WORK / "resnet"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.link(MODELS / "resnet50/model.onnx", folder / "model.onnx")
    (folder / "GPUXfile").write_text(
        "name: resnet\nversion: '1.0.0'\nmodel: model.onnx\npreprocessing: imagenet\npostprocessing: classify\n")
    run([gpux, "build", folder, "-t", "resnet:1"])
    lines = WORK / "pictures.txt"
    for at in range(count):
        (WORK / f"picture{at}.jpg").write_bytes(photo(640, 480, at % 8))
    lines.write_text("".join(f"{WORK}/picture{at}.jpg\n" for at in range(count)))

    def bare():
        report = json.loads(run([gpux, "bench", "resnet:1", "--no-tune", "--runs", str(max(20, count // 10))]).stdout)
        return report["throughput_per_s"], report["load_ms"] / 1e3

    # A machine is not as fast in one minute as in the next: each time all are answered, the bare model runs before and after.
    rounds = []
    before = bare()
    for _ in range(3):
        time_all = seconds(lambda: run([gpux, "run", "resnet:1", "--batch", lines]))
        after = bare()
        rounds.append((count / (time_all - after[1]), (before[0] + after[0]) / 2))
        before = after
    ours, alone = (statistics.median(side) for side in zip(*rounds))
    ratio = statistics.median(one / other for one, other in rounds)
    print(", ".join(f"{one / other:.1%}" for one, other in rounds), file=sys.stderr)
    return row(f"{count} pictures of 640 × 480 through `run --batch` with ResNet-50, beside the bare model", f"{ours:.1f}/s",
               f"{alone:.1f}/s", "at least 95 %", f"{100 * ratio:.0f} %", ratio >= 0.95)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=11)
    parser.add_argument("--pictures", type=int, default=1000)
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--only", choices=["picture", "sentence", "batch"])
    options = parser.parse_args()
    WORK.mkdir(parents=True, exist_ok=True)
    gpux, yardstick = options.build.resolve() / "gpux", options.build.resolve() / "yardstick"
    print("| what | gpux | yardstick | bound | measured | held |\n| --- | --- | --- | --- | --- | --- |")
    rows = {
        "picture": lambda: pictures_row(yardstick, options.repetitions),
        "sentence": lambda: sentence_row(gpux, options.repetitions),
        "batch": lambda: batch_row(gpux, options.pictures),
    }
    held = [measure() for name, measure in rows.items() if options.only in (None, name)]
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
