#!/usr/bin/env python3
"""Measures gpux against its yardsticks and writes the tables of docs/benchmarks.md.

usage: run.py [--repetitions N] [--only NAME]… [--no-write]
needs: Linux, and what `make bench` builds first

Both sides of a row run in turn in one go, so that a machine that slows down slows both. Medians are compared where the
bound is a ratio. Other work on the machine stretches a difference but leaves a ratio, so where the bound is a difference it
is the fastest round of each side, or the time of the processor. A row whose bound is missed is marked, and the exit code is
then 1.
"""

import argparse
import ctypes
import json
import os
import pathlib
import platform
import re
import shutil
import statistics
import subprocess
import sys
import time

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target/bench"
GPUX = str(ROOT / "target/release/gpux")
YARDSTICK = str(ROOT / "target/release/yardstick")
LIBRARY = str(next(pathlib.Path(onnxruntime.__file__).parent.glob("capi/libonnxruntime.so.1*")))
DIGITS, SEVEN = "fixtures/digits", "fixtures/digits/seven.npy"
MODELS = ROOT / "target/test-models"
ENVIRONMENT = {
    "PATH": os.environ["PATH"],
    "HOME": str(WORK / "home"),
    "GPUX_HOME": str(WORK / "gpux"),
    "ORT_DYLIB_PATH": LIBRARY,
    "ORT_DISABLE_TELEMETRY": "1",
}
PR_SET_CHILD_SUBREAPER = 36


class Row:
    """One figure of gpux beside its yardstick."""

    def __init__(self, what, ours, theirs, bound, measured, held):
        self.cells, self.held = (what, ours, theirs, bound, measured), held


def median(values):
    return statistics.median(values)


def milliseconds(seconds):
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.2f} s"


def mebibytes(count):
    return f"{count / 2**20:.1f} MiB"


def interleaved(repetitions, *sides):
    """Calls each side in turn, `repetitions` times after one warm-up; gives one list of answers a side."""
    answers = [[] for _ in sides]
    for repetition in range(repetitions + 1):
        for side, answer in zip(sides, answers):
            value = side()
            if repetition > 0:
                answer.append(value)
    return answers


def output_of(command):
    done = subprocess.run(command, cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr}")
    return done.stdout


def wall_time(command):
    """Seconds from start to end of a process whose words nobody reads."""
    return times_of(command)[0]


def processor_time(command):
    """Seconds that processors spent on a process, for itself and in the kernel."""
    return times_of(command)[1]


def times_of(command):
    silent = [(os.POSIX_SPAWN_OPEN, stream, os.devnull, os.O_RDWR, 0) for stream in (0, 1, 2)]
    program = shutil.which(command[0])
    start = time.perf_counter()
    child = os.posix_spawn(program, command, ENVIRONMENT, file_actions=silent)
    _, status, usage = os.wait4(child, 0)
    seconds = time.perf_counter() - start
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return seconds, usage.ru_utime + usage.ru_stime


def peak_memory(command):
    """Bytes of memory a process had at most.

    The kernel counts what the parent had when it started the process. So a shell starts it and leaves, and it comes to us
    as an orphan: only the shell's megabyte is counted before its own.
    """
    shell = ["sh", "-c", '"$@" >/dev/null 2>&1 &', "sh", *command]
    os.waitpid(os.posix_spawn("/bin/sh", shell, ENVIRONMENT), 0)
    _, status, usage = os.wait4(-1, 0)
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{' '.join(command)} ended with {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss * 1024


def run_digits(provider):
    command = [GPUX, "run", DIGITS, "--input", f"@{SEVEN}", "--provider", provider]
    answer = json.loads(output_of(command))
    assert answer["provider"] == provider and answer["outputs"]["digit"]["data"] == [7], answer
    return command


def process_embedded(repetitions):
    ours, theirs = run_digits("embedded"), [sys.executable, "bench/digits.py", f"{DIGITS}/model.onnx", SEVEN]
    assert output_of(theirs).strip() == "7"
    times = interleaved(repetitions, lambda: wall_time(ours), lambda: wall_time(theirs))
    memory = interleaved(5, lambda: peak_memory(ours), lambda: peak_memory(theirs))
    time_ratio, memory_ratio = median(times[1]) / median(times[0]), median(memory[1]) / median(memory[0])
    what = "`gpux run` of the digits model on `embedded`, whole process, beside a Python script with onnxruntime"
    return [
        Row(
            f"{what}: time", milliseconds(median(times[0])), milliseconds(median(times[1])),
            "at most 1/10", f"1/{time_ratio:.1f}", time_ratio >= 10,
        ),
        Row(
            f"{what}: peak memory", mebibytes(median(memory[0])), mebibytes(median(memory[1])),
            "at most 1/2", f"1/{memory_ratio:.1f}", memory_ratio >= 2,
        ),
    ]  # fmt: skip


def process_cpu(repetitions):
    ours, theirs = run_digits("cpu"), [YARDSTICK, "once", LIBRARY, f"{DIGITS}/model.onnx", SEVEN]
    assert output_of(theirs).strip() == "7"
    times = interleaved(repetitions, lambda: wall_time(ours), lambda: wall_time(theirs))
    ratio = median(times[0]) / median(times[1])
    what = "the same on `cpu`, beside a minimal Rust program that loads the same library"
    return [
        Row(
            what, milliseconds(median(times[0])), milliseconds(median(times[1])),
            "at most 1.15 ×", f"{ratio:.2f} ×", ratio <= 1.15,
        )
    ]  # fmt: skip


def call_overhead(repetitions):
    model = "fixtures/mlp/model.onnx"

    def side(name):
        return lambda: json.loads(output_of([YARDSTICK, name, LIBRARY, model, "40"]))

    ours, theirs = interleaved(repetitions, side("gpux-calls"), side("ort-calls"))
    assert {answer["answers"] for answer in ours} == {answer["answers"] for answer in theirs}
    ours, theirs = (min(min(answer["call_ns"]) for answer in side) / 1e3 for side in (ours, theirs))
    return [
        Row(
            "one call of a 4-8-3 perceptron on `cpu`, beside `Session::run` of ort", f"{ours:.2f} µs", f"{theirs:.2f} µs",
            "at most 2 µs more", f"{ours - theirs:+.2f} µs", ours - theirs <= 2,
        )
    ]  # fmt: skip


def json_input(repetitions):
    """An image of 150,528 numbers as JSON and as .npy, into a model that does next to nothing with it."""
    model, image = WORK / "pool.onnx", WORK / "image"
    node = helper.make_node("GlobalAveragePool", ["x"], ["y"], name="pool")
    graph = helper.make_graph(
        [node], "pool",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 224, 224])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3, 1, 1])],
    )  # fmt: skip
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), model)
    pixels = np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32)
    np.save(image, pixels)
    image.with_suffix(".json").write_text(json.dumps(pixels.tolist()))
    command = [GPUX, "run", str(model), "--provider", "cpu", "--input"]
    ours, theirs = ([*command, f"@{image}{suffix}"] for suffix in (".json", ".npy"))
    answers = [json.loads(output_of(side))["outputs"]["y"] for side in (ours, theirs)]
    assert answers[0] == answers[1]
    times = interleaved(repetitions, lambda: processor_time(ours), lambda: processor_time(theirs))
    times = [median(side) for side in times]
    more = times[0] - times[1]
    megabytes = image.with_suffix(".json").stat().st_size / 1e6
    return [
        Row(
            f"a [1,3,224,224] input as JSON ({megabytes:.1f} MB), beside the same as .npy: processor time",
            milliseconds(times[0]), milliseconds(times[1]),
            "at most 30 ms more", f"{more * 1e3:+.1f} ms", more <= 0.030,
        )
    ]  # fmt: skip


def build(repetitions):
    """Each side starts with clean disks and a model that is in memory; each ends with the copy on disk."""
    context, home = WORK / "context", WORK / "build"
    shutil.rmtree(context, ignore_errors=True)
    context.mkdir()
    model = context / "model.onnx"
    shutil.copy(MODELS / "resnet50/model.onnx", model)
    (context / "GPUXfile").write_text("name: resnet50\nversion: 1.0.0\nmodel:\n  source: model.onnx\n")

    def timed(command):
        shutil.rmtree(home, ignore_errors=True)
        home.mkdir()
        os.sync()
        return wall_time(command)

    ours = ["env", f"GPUX_HOME={home}", GPUX, "build", str(context)]
    copy = home / "copy"
    theirs = ["sh", "-c", f"openssl dgst -sha256 '{model}' && cp '{model}' '{copy}' && sync '{copy}'"]
    times = interleaved(repetitions, lambda: timed(ours), lambda: timed(theirs))
    shutil.rmtree(home)
    ratio = median(times[0]) / median(times[1])
    megabytes = model.stat().st_size / 1e6
    what = f"`gpux build` of a {megabytes:.0f} MB model, beside `openssl dgst -sha256`, `cp` and `sync` of it"
    return [
        Row(
            what, milliseconds(median(times[0])), milliseconds(median(times[1])),
            "at most 1.2 ×", f"{ratio:.2f} ×", ratio <= 1.2,
        )
    ]  # fmt: skip


BOUNDS = {
    "process-embedded": process_embedded,
    "process-cpu": process_cpu,
    "call": call_overhead,
    "json": json_input,
    "build": build,
}


def sentences():
    """The ten sentences of the tests as one padded batch."""
    rows = json.loads((ROOT / "tests/it/real_models/sentences.json").read_text())
    width = max(len(row["input_ids"]) for row in rows)
    ids = np.array([row["input_ids"] + [0] * (width - len(row["input_ids"])) for row in rows], np.int64)
    paths = []
    for name, array in [("input_ids", ids), ("attention_mask", (ids != 0) * 1), ("token_type_ids", ids * 0)]:
        np.save(WORK / f"{name}.npy", array.astype(np.int64))
        paths += ["--input", f"{name}=@{WORK / name}.npy"]
    return paths


def engines(repetitions):
    """The rows of the second table: both engines on each model, through `gpux bench`."""
    np.save(WORK / "x.npy", np.random.default_rng(0).standard_normal((1, 3, 224, 224)).astype(np.float32))
    models = [
        ("digits", f"{DIGITS}/model.onnx", ["--input", f"@{SEVEN}"], 500),
        ("all-MiniLM-L6-v2, ten sentences", str(MODELS / "minilm/model.onnx"), sentences(), 10),
        ("ResNet-50, one image", str(MODELS / "resnet50/model.onnx"), ["--input", f"@{WORK}/x.npy"], 10),
    ]
    rows = []
    for name, path, inputs, runs in models:

        def side(provider):
            command = [GPUX, "bench", path, *inputs, "--provider", provider, "--runs", str(runs), "--json"]
            return lambda: json.loads(output_of(command))

        reports = interleaved(repetitions, side("embedded"), side("cpu"))
        for provider, answers in zip(("embedded", "cpu"), reports):
            run = median([answer["latency_ms"]["p50"] for answer in answers])
            load = median([answer["load_ms"] for answer in answers])
            first = median([answer["first_run_ms"] for answer in answers])
            memory = median([answer["peak_rss_bytes"] for answer in answers])
            rows.append((name, f"`{provider}`", f"{load:.1f} ms", f"{first:.2f} ms", f"{run:.3g} ms", mebibytes(memory)))
    return rows


def table(head, rows):
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def machine(repetitions):
    cpu = re.search(r"model name\s*: (.*)", pathlib.Path("/proc/cpuinfo").read_text())
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {cpu[1] if cpu else platform.processor()}, "
        f"{len(os.sched_getaffinity(0))} cores, {pages / 2**30:.0f} GiB, Linux {platform.release().split('-')[0]}; "
        f"{output_of([GPUX, '--version']).strip()}, ONNX Runtime {onnxruntime.__version__}, "
        f"Python {platform.python_version()}; {repetitions} repetitions; load average {os.getloadavg()[0]:.1f}."
    )


def write_part(name, text):
    """Replaces what stands between two marks of docs/benchmarks.md."""
    path = ROOT / "docs/benchmarks.md"
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    page = path.read_text()
    before, rest = page.split(begin)
    _, after = rest.split(end)
    path.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repetitions", type=int, default=21, help="times each side of a row runs (default: 21)")
    parser.add_argument("--only", action="append", choices=[*BOUNDS, "engines"], help="measure this; may be repeated")
    parser.add_argument("--no-write", action="store_true", help="print only")
    options = parser.parse_args()
    chosen = options.only or [*BOUNDS, "engines"]
    os.chdir(ROOT)
    (WORK / "home").mkdir(parents=True, exist_ok=True)
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)

    print(machine(options.repetitions))
    rows = []
    for name in BOUNDS:
        if name in chosen:
            for row in BOUNDS[name](options.repetitions):
                print(("held    " if row.held else "MISSED  ") + " | ".join(row.cells), flush=True)
                rows.append(row)
    complete = options.only is None and not options.no_write
    if complete:
        write_part("machine", machine(options.repetitions))
        head = ("what", "gpux", "yardstick", "bound", "measured", "held")
        write_part("bounds", table(head, [(*row.cells, "yes" if row.held else "**no**") for row in rows]))
    if "engines" in chosen:
        rows_of_engines = engines(5)
        text = table(("model", "engine", "load", "first run", "run (p50)", "peak memory"), rows_of_engines)
        print(text)
        if complete:
            write_part("engines", text)
    missed = sum(not row.held for row in rows)
    print(f"{len(rows) - missed} of {len(rows)} bounds held")


if __name__ == "__main__":
    main()
