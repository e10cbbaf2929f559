#!/usr/bin/env python3
"""Measures what weights as layers spare, against skopeo, onnxruntime in Python, and openssl with cp and sync.

usage: weights.py [--rounds N] [--only NAME]… [--no-write]
needs: Linux, docker-registry, skopeo, and what `make bench` builds first

Both sides of a row run in turn in one go; medians are compared. Writes the weights table of docs/benchmarks.md. A row whose
bound is missed is marked, and the exit code is then 1.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import numpy_helper

from registry import Registry
from run import ENVIRONMENT, GPUX, LIBRARY, MODELS, ROOT, YARDSTICK, Row
from run import interleaved, machine, mebibytes, median, milliseconds, table, write_part

WORK = ROOT / "target/bench/weights"
HOME = WORK / "home"
GIB = 1 << 30
OURS = ENVIRONMENT | {"GPUX_HOME": str(HOME)}


def run(command, environment=OURS):
    """Runs a command to its end; gives its stdout and the seconds it took."""
    started = time.perf_counter()
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"{command}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout, seconds


def watched(command, environment=OURS):
    """Runs a command; gives the seconds it took and the most anonymous memory it had, looked at every two milliseconds."""
    started = time.perf_counter()
    child = subprocess.Popen([str(part) for part in command], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    most = 0
    status = f"/proc/{child.pid}/status"
    while child.poll() is None:
        try:
            for line in open(status):
                if line.startswith("RssAnon:"):
                    most = max(most, int(line.split()[1]) * 1024)
        except (FileNotFoundError, ProcessLookupError):
            pass
        time.sleep(0.002)
    seconds = time.perf_counter() - started
    if child.returncode != 0:
        sys.exit(f"{command} ended with {child.returncode}:\n{child.stderr.read().decode()}")
    return seconds, most


def timed(command, environment=OURS):
    """Seconds from start to end of a command, with nobody looking."""
    return run(command, environment)[1]


def percent(part, whole):
    return 100 * part / whole


# What a new version moves.


def changed(model, target, belongs):
    """Writes the model with one element of each initializer that `belongs` changed."""
    proto = onnx.load(model)
    for tensor in proto.graph.initializer:
        if belongs(tensor.name):
            array = numpy_helper.to_array(tensor).copy()
            array.reshape(-1)[-1] += 1
            tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
    onnx.save(proto, target)


def blobs(reference):
    """The blobs of a stored artifact: digest and size."""
    index = json.loads((HOME / "store/index.json").read_text())
    for entry in index["manifests"]:
        if entry["annotations"].get("org.opencontainers.image.ref.name") == reference:
            manifest = json.loads((HOME / "store/blobs/sha256" / entry["digest"].split(":")[1]).read_text())
            return {blob["digest"]: blob["size"] for blob in [manifest["config"], *manifest["layers"]]}
    sys.exit(f"{reference} is not in the store")


def versions(rounds, what, model, belongs, bound):
    """Two versions of a model, pushed and pulled one after the other by gpux in shards and by skopeo in one file."""
    second = WORK / "second.onnx"
    changed(model, second, belongs)
    size = model.stat().st_size
    registry = Registry(WORK)
    try:
        host = f"127.0.0.1:{registry.port}"
        shards = [f"{host}/shards:{n}" for n in (1, 2)]
        whole = [f"{host}/whole:{n}" for n in (1, 2)]
        for path, one, other in zip((model, second), shards, whole):
            run([GPUX, "build", path, "-t", one])
            run([GPUX, "build", path, "--no-shard", "-t", other])
        first, then = (blobs(name) for name in whole)
        theirs = sum(size for digest, size in then.items() if digest not in first)
        moved, times = {}, {name: [] for name in ("push", "pull", "skopeo push", "skopeo pull")}
        for _ in range(rounds):
            registry.empty()
            for name in ("ours", "theirs"):
                shutil.rmtree(WORK / name, ignore_errors=True)
            run([GPUX, "push", shards[0]])
            told, seconds = run([GPUX, "push", "--json", shards[1]])
            moved["push"] = json.loads(told)["moved_bytes"]
            times["push"].append(seconds)
            other = OURS | {"GPUX_HOME": str(WORK / "ours")}
            run([GPUX, "pull", shards[0]], other)
            told, seconds = run([GPUX, "pull", "--json", shards[1]], other)
            moved["pull"] = json.loads(told)["moved_bytes"]
            times["pull"].append(seconds)
            there = lambda name: ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{HOME}/store:{name}", f"docker://{name}"]
            back = lambda n: ["skopeo", "copy", "-q", "--src-tls-verify=false", f"docker://{whole[n]}", f"oci:{WORK}/theirs:{n}"]
            timed(there(whole[0]))
            times["skopeo push"].append(timed(there(whole[1])))
            timed(back(0))
            times["skopeo pull"].append(timed(back(1)))
    finally:
        registry.stop()
    rows = []
    for verb in ("push", "pull"):
        ours, others = percent(moved[verb], size), percent(theirs, size)
        own, skopeo = median(times[verb]), median(times[f"skopeo {verb}"])
        rows.append(
            Row(
                f"{what}, {verb} after the first version: bytes, and time",
                f"{moved[verb] / 1e6:.1f} MB, {milliseconds(own)}", f"{theirs / 1e6:.1f} MB, {milliseconds(skopeo)} (skopeo)",
                f"at most {bound} % of the model", f"{ours:.1f} % (skopeo {others:.0f} %)", ours <= bound,
            )
        )  # fmt: skip
    return rows


def minilm(rounds):
    layer = lambda name: "layer.3." in name
    return versions(rounds, "MiniLM with one of six layers changed", MODELS / "minilm/model.onnx", layer, 12)


def resnet50(rounds):
    head = lambda name: name.startswith("fc.")
    return versions(rounds, "ResNet-50 with a new head", MODELS / "resnet50/model.onnx", head, 9)


# What it takes to load and to build.


def gibibyte():
    """A model of 1 GiB, made once, with its input."""
    model, x = WORK / "mlp.onnx", WORK / "x.npy"
    if not model.exists():
        print("making a model of 1 GiB", file=sys.stderr)
        run([sys.executable, ROOT / "bench/models/mlp.py", model, 4096, 16])
    np.save(x, np.random.default_rng(1).standard_normal((1, 4096), np.float32))
    return model, f"x=@{x}"


def image():
    x = WORK / "image.npy"
    np.save(x, np.random.default_rng(1).standard_normal((1, 3, 224, 224), np.float32))
    return MODELS / "resnet50/model.onnx", f"x=@{x}"


def first_output(rounds, what, model, given, name, bounds):
    """From the start of a process to its end, with the first output on the disk."""
    run([GPUX, "build", model, "-t", name])
    weights = model.stat().st_size
    ours = lambda provider: [GPUX, "run", name, "--provider", provider, "--input", given, "-o", WORK / f"{provider}.npy"]
    theirs = [sys.executable, ROOT / "bench/once.py", model, given.replace("@", ""), WORK / "python.npy"]

    def anew():
        shutil.rmtree(HOME / "cache/optimized", ignore_errors=True)
        return timed(ours("cpu"))

    sides = [lambda: timed(ours("cpu")), anew, lambda: timed(ours("embedded")), lambda: timed(theirs)]
    cpu, first, embedded, python = (median(times) for times in interleaved(rounds, *sides))
    looks = [lambda: watched(ours("cpu"))[1], lambda: watched(ours("embedded"))[1], lambda: watched(theirs)[1]]
    memory = [max(most) for most in interleaved(3, *looks)]
    agree(WORK / "cpu.npy", WORK / "python.npy")
    agree(WORK / "embedded.npy", WORK / "python.npy")
    bound, held = ("at most 1/20", python / cpu >= 20) if bounds else ("", True)
    share = percent(memory[0], weights)
    small, is_small = ("at most 5 % of the weights", share <= 5) if bounds else ("", True)
    start = f"{what}, `gpux run` from start to first output on"
    python_time = milliseconds(python)
    return [
        Row(f"{start} `cpu`", milliseconds(cpu), python_time, bound, f"1/{python / cpu:.1f}", held),
        Row(f"{start} `cpu`, the very first time", milliseconds(first), python_time, "", f"1/{python / first:.1f}", True),
        Row(f"{start} `embedded`", milliseconds(embedded), python_time, "", f"1/{python / embedded:.1f}", True),
        Row("anonymous memory of it on `cpu`", mebibytes(memory[0]), mebibytes(memory[2]), small, f"{share:.1f} %", is_small),
        Row("anonymous memory of it on `embedded`", mebibytes(memory[1]), mebibytes(memory[2]), "", f"{percent(memory[1], weights):.1f} %", True),
    ]  # fmt: skip


def agree(left, right):
    left, right = np.load(left), np.load(right)
    assert np.allclose(left, right, rtol=1e-2, atol=1e-3), np.abs(left - right).max()


def large(rounds):
    return first_output(rounds, "a model of 1 GiB", *gibibyte(), "large:1", True)


def convolutions(rounds):
    return first_output(rounds, "ResNet-50", *image(), "resnet50:1", False)


def sessions(_):
    model, _ = gibibyte()
    run([GPUX, "build", model, "-t", "large:1"])
    rows = []
    for prepack, name in (("no", "as they lie"), ("yes", "rearranged (`--prepack`)")):
        told, _ = run([YARDSTICK, "sessions", LIBRARY, HOME, "large:1", 4, prepack])
        memory = json.loads(told)["anonymous_bytes"]
        ratio = memory[-1] / memory[0]
        rows.append(
            Row(
                f"anonymous memory of four sessions of it in one process, weights {name}, beside one",
                mebibytes(memory[-1]), mebibytes(memory[0]), "at most 1.5 ×", f"{ratio:.2f} ×", ratio <= 1.5,
            )
        )  # fmt: skip
    return rows


def build(rounds):
    """Each side starts with clean disks and a model that is in memory; each ends with the copy on disk."""
    model, _ = gibibyte()
    place = WORK / "build"

    def clean(command, environment=OURS):
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        os.sync()
        return timed(command, environment)

    copy = place / "copy"
    theirs = ["sh", "-c", f"openssl dgst -sha256 '{model}' && cp '{model}' '{copy}' && sync '{copy}'"]
    ours = [GPUX, "build", model, "-t", "large:1"]
    other = OURS | {"GPUX_HOME": str(place)}
    times = interleaved(rounds, lambda: clean(ours, other), lambda: clean(theirs))
    shutil.rmtree(place)
    ratio = median(times[0]) / median(times[1])
    return [
        Row(
            "`gpux build` of it, beside `openssl dgst -sha256`, `cp` and `sync` of the file",
            milliseconds(median(times[0])), milliseconds(median(times[1])), "at most 1.5 ×", f"{ratio:.2f} ×", ratio <= 1.5,
        )
    ]  # fmt: skip


def one_copy(_):
    """What `pull` and then `run` leave on the disk, beside the bytes of the weights."""
    model, given = gibibyte()
    registry = Registry(WORK)
    try:
        name = f"127.0.0.1:{registry.port}/large:1"
        run([GPUX, "build", model, "-t", name])
        run([GPUX, "push", name])
        place = WORK / "pulled"
        shutil.rmtree(place, ignore_errors=True)
        other = OURS | {"GPUX_HOME": str(place)}
        run([GPUX, "pull", name], other)
        for provider in ("cpu", "embedded"):
            run([GPUX, "run", name, "--provider", provider, "--input", given, "-o", WORK / "y.npy"], other)
        used = int(run(["du", "-s", "--block-size=1", place])[0].split()[0])
        shutil.rmtree(place)
    finally:
        registry.stop()
        registry.empty()
    weights = model.stat().st_size
    return [
        Row(
            "`du` of the home after `pull` and `run` of it, beside the model", mebibytes(used), mebibytes(weights),
            "one copy", f"{used / weights:.3f} ×", used < 1.01 * weights,
        )
    ]  # fmt: skip


BOUNDS = {
    "minilm": minilm,
    "resnet50": resnet50,
    "large": large,
    "convolutions": convolutions,
    "sessions": sessions,
    "build": build,
    "one-copy": one_copy,
}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7, help="times each side of a row runs (default: 7)")
    parser.add_argument("--only", action="append", choices=BOUNDS, help="measure this; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    os.chdir(ROOT)
    shutil.rmtree(HOME, ignore_errors=True)
    WORK.mkdir(parents=True, exist_ok=True)
    rows = []
    for name, measure in BOUNDS.items():
        if name in (options.only or BOUNDS):
            for row in measure(options.rounds):
                mark = "       " if not row.cells[3] else "held   " if row.held else "MISSED "
                print(mark, " | ".join(row.cells), flush=True)
                rows.append(row)
    if options.only is None and not options.no_write:
        head = ("what", "gpux", "the other side", "bound", "measured", "held")
        told = [(*row.cells, "" if not row.cells[3] else "yes" if row.held else "**no**") for row in rows]
        write_part("weights", f"{machine(options.rounds)}\n\n{table(head, told)}")
    sys.exit(any(not row.held for row in rows))


if __name__ == "__main__":
    main()
