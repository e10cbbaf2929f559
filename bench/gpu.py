#!/usr/bin/env python3
"""Tests and measures gpux on a machine with a GPU, with nothing but the gpux binary, a folder of packs and a driver.

usage: gpu.py [--gpux GPUX] [--packs DIR] [--yardstick YARDSTICK] [--broken-driver LIB] [--out DIR] [--only NAME]…
              [--test] [--list]
needs: Python 3.9 and NumPy; PyTorch for its rows

DIR has libonnxruntime.so.* and beside it the libraries of its providers. Without it gpux uses what it finds by itself.
Each part prints the rows it is for and goes on after a failure; the exit code is 1 where a check failed. --test leaves out
what only measures. The models are made here, by the recipes of bench/models, with random weights.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time
import traceback
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
PARTS, FAILED = {}, []


def part(measures=False):
    def keep(function):
        PARTS[function.__name__.replace("_", "-")] = (function, measures)
        return function

    return keep


def say(text=""):
    print(text, flush=True)


def check(holds, what):
    say(f"  {'ok' if holds else 'FAILED'}: {what}")
    if not holds:
        FAILED.append(what)


@contextlib.contextmanager
def row(what):
    """Reports a row that fails, and lets those after it go on."""
    try:
        yield
    except Exception as error:  # Whatever it is, the next row is of use without this one.
        check(False, f"{what}: {str(error)[:400]}")


class Machine:
    """What the parts work with."""

    def __init__(self, arguments):
        self.gpux = str(pathlib.Path(arguments.gpux).resolve())
        self.packs = pathlib.Path(arguments.packs).resolve() if arguments.packs else None
        self.yardstick = arguments.yardstick and str(pathlib.Path(arguments.yardstick).resolve())
        self.broken_driver = arguments.broken_driver and pathlib.Path(arguments.broken_driver).resolve()
        self.out = pathlib.Path(arguments.out).resolve()
        self.out.mkdir(parents=True, exist_ok=True)
        self.core = None
        self.environment = dict(os.environ, GPUX_HOME=str(self.out / "home"), ORT_DISABLE_TELEMETRY="1")
        if self.packs:
            self.core = str(sorted(self.packs.glob("libonnxruntime.so.*"))[-1])
            self.environment["ORT_DYLIB_PATH"] = self.core

    def run(self, *arguments, environment=None, limit=200):
        """Runs gpux; gives the exit code, stdout, stderr and the seconds it took."""
        start = time.monotonic()
        done = subprocess.run(
            [self.gpux, *map(str, arguments)],
            env=dict(self.environment, **(environment or {})),
            capture_output=True, text=True, timeout=limit, stdin=subprocess.DEVNULL,
        )
        return done.returncode, done.stdout, done.stderr, time.monotonic() - start

    def document(self, *arguments, **options):
        code, stdout, stderr, seconds = self.run(*arguments, **options)
        if code != 0:
            raise RuntimeError(f"gpux {' '.join(map(str, arguments))}: exit code {code}: {stderr.strip()[-600:]}")
        document = json.loads(stdout)
        document["seconds"] = seconds
        return document

    def home(self, name, **variables):
        """The environment of somebody who has nothing yet."""
        folder = self.out / name
        shutil.rmtree(folder, ignore_errors=True)
        environment = dict(variables, GPUX_HOME=str(folder))
        if self.core:
            # An empty variable counts as none.
            environment["ORT_DYLIB_PATH"] = ""
        return environment

    def model(self, name):
        return self.out / "models" / f"{name}.onnx"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpux", default="gpux")
    parser.add_argument("--packs", default=os.environ.get("GPUX_GPU_PACKS"))
    parser.add_argument("--yardstick")
    parser.add_argument("--broken-driver")
    parser.add_argument("--out", default="gpu-out")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--test", action="store_true")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if arguments.list:
        return print("\n".join(PARTS))
    if found := shutil.which(arguments.gpux):
        arguments.gpux = found
    machine = Machine(arguments)
    make_models(machine)
    for name, (function, measures) in PARTS.items():
        if arguments.only and name not in arguments.only or arguments.test and measures:
            continue
        start = time.monotonic()
        say(f"\n## {name}")
        try:
            function(machine)
        except Exception as error:  # One part that fails must not hide what the others have to say.
            FAILED.append(f"{name}: {error}")
            say(f"  FAILED: {error}")
            if not isinstance(error, RuntimeError):
                say("".join(traceback.format_exc().splitlines(True)[-4:]))
        say(f"  ({time.monotonic() - start:.1f} s)")
    say(f"\n{len(FAILED)} checks failed" + "".join(f"\n- {what[:300]}" for what in FAILED))
    return 1 if FAILED else 0


def make_models(machine):
    """ResNet-50 in both precisions, MiniLM's architecture, a small perceptron, and a model with an operator for the CPU."""
    folder = machine.out / "models"
    folder.mkdir(exist_ok=True)
    environment = dict(os.environ, PYTHONPATH=str(HERE / "plain"))
    for name, recipe in [
        ("resnet50", ["resnet50.py", machine.model("resnet50")]),
        ("resnet50-fp16", ["resnet50.py", machine.model("resnet50-fp16"), "float16"]),
        ("minilm", ["minilm.py", folder / "minilm"]),
    ]:
        if not machine.model(name).exists():
            subprocess.run([sys.executable, str(HERE / "models" / recipe[0]), *map(str, recipe[1:])], env=environment, check=True)
    if (folder / "minilm").is_dir() and not machine.model("minilm").exists():
        os.replace(folder / "minilm" / "model.onnx", machine.model("minilm"))
    sys.path.insert(0, str(HERE / "plain"))
    import numpy as np
    from onnx import TensorProto as T, helper as h, numpy_helper as nh, save

    rng = np.random.default_rng(0)

    def write(name, nodes, inputs, outputs, weights):
        tensors = [nh.from_array(array, key) for key, array in weights.items()]
        graph = h.make_graph(nodes, name, inputs, outputs, tensors)
        save(h.make_model(graph, [h.make_opsetid("", 17)], 8, "gpux"), machine.model(name))

    floats = lambda *shape: rng.standard_normal(shape).astype(np.float32)
    write(
        "mlp",
        [h.make_node("Gemm", ["x", "w1", "b1"], ["h"]), h.make_node("Relu", ["h"], ["r"]),
         h.make_node("Gemm", ["r", "w2", "b2"], ["y"])],
        [h.make_tensor_value_info("x", T.FLOAT, ["N", 4])], [h.make_tensor_value_info("y", T.FLOAT, ["N", 3])],
        {"w1": floats(4, 8), "b1": floats(8), "w2": floats(8, 3), "b2": floats(3)},
    )
    # Its distance is computed on the processor: CUDA has no kernel for Det.
    write(
        "mixed",
        [h.make_node("MatMul", ["x", "w"], ["h"], name="product"), h.make_node("Det", ["h"], ["d"], name="determinant"),
         h.make_node("Relu", ["d"], ["y"], name="rectified")],
        [h.make_tensor_value_info("x", T.FLOAT, ["N", 4, 4])], [h.make_tensor_value_info("y", T.FLOAT, ["N"])],
        {"w": floats(4, 4)},
    )


@part()
def the_machine(machine):
    def first(command):
        try:
            return subprocess.run(command, capture_output=True, text=True, timeout=60).stdout.strip().replace("\n", "; ")
        except OSError as error:
            return str(error)

    say("  " + first(["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]))
    say(f"  {os.cpu_count()} processors; " + first(["sh", "-c", "grep -m1 'model name' /proc/cpuinfo | cut -d: -f2"]))
    say("  " + first([machine.gpux, "--version"]) + f"; {machine.core}")


@part()
def doctor(machine):
    code, stdout, stderr, seconds = machine.run("doctor")
    check(code == 0, f"`gpux doctor` in {seconds:.1f} s")
    say((stdout + stderr)[-2500:])
    code, stdout, stderr, _ = machine.run("provider", "list")
    say((stdout + stderr)[-1200:])


@part()
def probe(machine):
    """What a child process found out about each provider, and what is remembered of it."""
    start = time.monotonic()
    found = machine.document("doctor", "--json", "--again")
    say(f"  every provider tried in {time.monotonic() - start:.1f} s")
    for one in found["providers"]:
        say(f"  {one['provider']}: {one['state']}: {str(one.get('reason') or one.get('pack') or '')[:160]}")
    states = {one["provider"]: one["state"] for one in found["providers"]}
    for provider in ("cuda", "webgpu", "cpu", "embedded"):
        check(states.get(provider) == "usable", f"{provider} is usable: {states.get(provider)}")
    hardware = found["hardware"]
    check(bool(hardware["gpus"]), f"the cards are named: {[card['name'] for card in hardware['gpus']]}")


@part()
def packs(machine):
    """A folder of libraries becomes a pack; the first run does it by itself where that is wished."""
    if not machine.packs:
        return say("  --packs is needed")
    mlp = [machine.model("mlp"), "--input", "[[1, 2, 3, 4]]"]
    with row("installing from a folder"):
        by_hand = machine.home("by-hand")
        code, _, stderr, seconds = machine.run("provider", "install", "cuda", "--from", machine.packs, environment=by_hand)
        check(code == 0 and "gave the right numbers" in stderr, f"provider install --from in {seconds:.1f} s: {stderr[-300:]}")
        code, stdout, stderr, _ = machine.run("provider", "list", environment=by_hand)
        say("  " + stdout.strip().replace("\n", "\n  "))
        check(code == 0 and "cuda" in stdout, "provider list names the pack")
        code, stdout, _, seconds = machine.run("provider", "verify", environment=by_hand)
        check(code == 0, f"provider verify in {seconds:.1f} s: {stdout.strip()[:200]}")
        answer = machine.document("run", *mlp, environment=by_hand)
        check(answer["provider"] == "cuda", f"without a word about providers: {answer['provider']}")
    with row("a pack in use"):
        user = subprocess.Popen([machine.gpux, "bench", str(machine.model("mlp")), "--provider", "cuda", "--runs", "3000000"],
                                env=dict(machine.environment, **by_hand), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            time.sleep(5)
            code, _, stderr, _ = machine.run("provider", "remove", "cuda", environment=by_hand)
            check(code == 1 and str(user.pid) in stderr, f"a pack in use is not removed: {' | '.join(stderr.split(chr(10)))[:250]}")
        finally:
            user.kill()
            user.wait()
        code, _, stderr, _ = machine.run("provider", "remove", "cuda", environment=by_hand)
        check(code == 0, f"once nobody uses it, it goes: {stderr.strip()[-100:]}")
    with row("GPUX_PROVISION=auto"):
        auto = machine.home("provisioned", GPUX_PROVISION="auto", GPUX_PACKS=str(machine.packs))
        start = time.monotonic()
        code, stdout, stderr, seconds = machine.run("run", *mlp, environment=auto)
        provider = json.loads(stdout)["provider"] if code == 0 else stderr[-400:]
        check(provider == "cuda", f"one command from a folder of packs to the first answer: {seconds:.1f} s, {provider}")


@part()
def generation(machine):
    """Past key values stay on the device; the tokens are those of the processor."""
    models = HERE.parent / "fixtures" / "generate"
    if not models.is_dir():
        return say(f"  {models} is needed")
    for model in ("gpt2", "t5", "whisper"):
        with row(f"generation with {model}"):
            golden = json.loads((models / model / "golden.json").read_text())[0]
            value = golden.get("input") or HERE.parent / "fixtures" / "sound" / golden["sound"]
            said = {}
            for provider in ("cpu", "cuda"):
                answer = machine.document("run", models / model, value, "--provider", provider, "--json")
                said[provider] = answer["answers"][0]["answer"]["text"]["tokens"]
                say(f"  {model} on {provider}: {len(said[provider])} tokens in {answer['timing_ms']['run']:.0f} ms")
            check(said["cuda"] == said["cpu"] == golden["tokens"], f"{model}: the tokens on cuda are those of transformers")


@part()
def recording(machine):
    """Sessions of one process record their graphs, each on a thread of its own, while others run."""
    with row("tuning for recorded graphs"):
        tune(machine, "resnet50-fp16", "--provider", "cuda", "--short")
    for sessions in (2, 3, 4):
        for attempt in (1, 2):
            with row(f"{sessions} sessions"):
                report = machine.document("bench", machine.model("resnet50-fp16"), "--concurrency", sessions, "--runs", 400)
                check("CUDA graph" in report["options"], f"{sessions} sessions, time {attempt}: {report['throughput_per_s']:.0f} "
                      f"images/s, p99 {report['latency_ms']['p99']:.2f} ms, {', '.join(report['options'])}")


@part()
def shapes(machine):
    """A model that computes with its shapes is recorded once its sizes are fixed."""
    with row("MiniLM, recorded"):
        document = machine.document("tune", machine.model("minilm"), "--dim", "sequence=128", "--provider", "cpu,cuda", "--json",
                                    limit=400)
        recorded = [trial for trial in document["trials"] if "CUDA graph" in trial["options"]]
        for trial in document["trials"]:
            say(f"    {', '.join([trial['provider'], *trial['options']])}: " + (
                f"{trial['median_ms']:.3f} ms, off by {trial['deviation']}" if "median_ms" in trial else trial["error"][:200]))
        check(any(trial.get("right") for trial in recorded), "a graph of MiniLM is recorded and right")
        chosen = document["chosen"]
        say(f"  chosen: {chosen['provider']} ({', '.join(chosen['options'])}), {chosen['median_ms']:.3f} ms")
    with row("MiniLM, other sizes"):
        for length in (128, 64):
            report = machine.document("bench", machine.model("minilm"), "--dim", f"sequence={length}", "--no-tune")
            say(f"  sequence={length}: {report['latency_ms']['p50']:.3f} ms ({', '.join(report['options'])})")


@part()
def first_result(machine):
    """From a folder of packs to the first result: one command."""
    home = machine.out / "first"
    shutil.rmtree(home, ignore_errors=True)
    environment = {"GPUX_HOME": str(home)}
    answer = machine.document("run", machine.model("mlp"), "--input", "[[1, 2, 3, 4]]", "--provider", "cuda", environment=environment)
    check(answer["provider"] == "cuda", f"one command from packs to the first answer of CUDA: {answer['seconds']:.1f} s")
    say(f"  load {answer['timing_ms']['load']:.0f} ms, run {answer['timing_ms']['run']:.1f} ms")


@part()
def selection(machine):
    mlp = [machine.model("mlp"), "--input", "[[1, 2, 3, 4]]"]
    expected = machine.document("run", *mlp, "--provider", "embedded")["outputs"]["y"]["data"]
    for arguments, provider in [
        (["--provider", "cuda"], "cuda"), (["--provider", "cuda,cpu"], "cuda"), (["--provider", "cpu"], "cpu"),
        (["--require", "gpu", "--provider", "cuda,webgpu,cpu"], "cuda"), (["--require", "cuda"], "cuda"),
        (["--provider", "webgpu"], "webgpu"),
    ]:
        answer = machine.document("run", *mlp, *arguments)
        found = answer["outputs"]["y"]["data"]
        near = max(abs(a - b) for x, y in zip(found, expected) for a, b in zip(x, y)) < 1e-4
        check(answer["provider"] == provider and near, f"{' '.join(arguments)}: {answer['provider']}, numbers right")
    code, _, stderr, _ = machine.run("run", *mlp, "--provider", "cpu", "--require", "gpu")
    check(code == 6, f"--require gpu with --provider cpu ends with 6: {stderr.strip().splitlines()[-1][:150]}")
    code, _, stderr, _ = machine.run("run", *mlp, "--provider", "cuda", "--device", "99")
    check(code == 1, f"--device 99: {' | '.join(stderr.strip().splitlines())[:300]}")


@part()
def fallback(machine):
    """The libraries of the provider are hidden: the core alone lies in a folder."""
    if not machine.core:
        return say("  --packs is needed")
    bare = machine.out / "bare"
    bare.mkdir(exist_ok=True)
    target = bare / pathlib.Path(machine.core).name
    if not target.exists():
        shutil.copy(machine.core, target)
    hidden = {"ORT_DYLIB_PATH": str(target), "GPUX_HOME": str(machine.out / "hidden")}
    mlp = [machine.model("mlp"), "--input", "[[1, 2, 3, 4]]"]
    answer = machine.document("run", *mlp, "--provider", "cuda,cpu", environment=hidden)
    reasons = "; ".join(f"{one['provider']}: {one['reason'][:160]}" for one in answer["refused"])
    check(answer["provider"] == "cpu" and answer["refused"], f"falls to cpu and says why: {reasons}")
    code, _, stderr, _ = machine.run("run", *mlp, "--require", "gpu", environment=hidden)
    check(code == 6, f"--require gpu ends with 6: {stderr.strip().splitlines()[-1][:150]}")


@part()
def crash(machine):
    """A driver that crashes the process that loads it."""
    if not machine.broken_driver:
        return say("  --broken-driver is needed: a libcuda.so.1 that aborts")
    folder = machine.out / "broken"
    folder.mkdir(exist_ok=True)
    shutil.copy(machine.broken_driver, folder / "libcuda.so.1")
    path = f"{folder}:{os.environ.get('LD_LIBRARY_PATH', '')}"
    environment = {"LD_LIBRARY_PATH": path, "GPUX_HOME": str(machine.out / "crash")}
    tuning = machine.document("tune", machine.model("mlp"), "--short", "--json", environment=environment)
    cuda = [trial for trial in tuning["trials"] if trial["provider"] == "cuda"]
    check(all("error" in trial for trial in cuda), f"the crash of a trial is its own: {[t.get('error') for t in cuda]}")
    check(tuning["chosen"]["provider"] in ("cpu", "embedded"), f"{tuning['chosen']['provider']} is chosen")


@part()
def explain(machine):
    for model, inputs in [("resnet50", None), ("mixed", "[[[1,0,0,0],[0,1,0,0],[0,0,1,0],[0,0,0,1]]]")]:
        path = image(machine) if inputs is None else inputs
        answer = machine.document("run", machine.model(model), "--input", path, "--provider", "cuda", "--explain", "--output",
                                  machine.out / "out.npy", "--json")
        told = answer["explain"]
        for share in told["providers"]:
            say(f"  {model}: {share['provider']}: {share['nodes']} nodes in {share['partitions']} parts: {share['operators']}")
        if model == "mixed":
            check(told["fell_to_cpu"] == {"Det": 1}, f"what falls to the processor is named: {told['fell_to_cpu']}")
    code, _, stderr, _ = machine.run("run", machine.model("mixed"), "--provider", "cuda", "--input", "[[[1,2],[3,4]]]")
    check(code != 0, f"a wrong shape is told: {' | '.join(stderr.strip().splitlines())[:200]}")


def image(machine, batch=1, dtype="float32"):
    import numpy as np

    path = machine.out / f"image-{batch}-{dtype}.npy"
    if not path.exists():
        np.save(path, np.random.default_rng(1).random((batch, 3, 224, 224)).astype(dtype))
    return f"@{path}"


def tune(machine, model, *arguments, batch=1):
    document = machine.document("tune", machine.model(model), "--batch", batch, *arguments, "--json", limit=400)
    chosen = document["chosen"]
    say(f"  {model} batch {batch}{' ' + ' '.join(map(str, arguments)) if arguments else ''}: "
        f"{chosen['provider']} ({', '.join(chosen['options'])}), {chosen['median_ms']:.3f} ms, in {document['seconds']:.0f} s")
    for trial in document["trials"]:
        name = ", ".join([trial["provider"], *trial["options"]])
        say(f"    {name}: " + (f"{trial['median_ms']:.3f} ms, off by {trial['deviation']}" if "median_ms" in trial
                              else trial["error"][:200]))
    times = [trial["median_ms"] for trial in document["trials"] if trial["right"]]
    check(chosen["median_ms"] <= min(times) * 1.05, "nothing that was measured is over 5 % faster than what is chosen")
    return chosen


@part(measures=True)
def tuning(machine):
    check(tune(machine, "mlp")["provider"] in ("cpu", "embedded"), "the small perceptron goes to the processor")
    for model in ("resnet50", "resnet50-fp16"):
        for batch in (1, 64):
            tune(machine, model, batch=batch)
    tune(machine, "resnet50", "--exact", "--provider", "cuda,cpu")
    tune(machine, "minilm", "--dim", "sequence=128", "--provider", "cpu,cuda")


@part(measures=True)
def rows(machine):
    """gpux after tuning, ONNX Runtime as everybody calls it, and PyTorch, one after the other on the same device."""
    say("  | ResNet-50, milliseconds a batch | batch 1 | batch 64 | images/s |")
    say("  |---|---|---|---|")
    bounds = {"resnet50": (0.66, 7500), "resnet50-fp16": (0.60, 12000)}
    for model, (most, least) in bounds.items():
        with row(f"the row of {model}"):
            times, throughput = [], 0
            for batch in (1, 64):
                report = machine.document("bench", machine.model(model), "--batch", batch)
                options = ", ".join(report["options"])
                times.append(report["latency_ms"]["p50"])
            say(f"  | gpux, {model}, {report['provider']}: {options} | {times[0]:.3f} | {times[1]:.2f} | {64e3 / times[1]:.0f} |")
            for sessions in (2, 3):
                with row(f"{model}, {sessions} sessions"):
                    report = machine.document("bench", machine.model(model), "--batch", 64, "--concurrency", sessions)
                    throughput = max(throughput, report["throughput_per_s"])
                    say(f"  | gpux, {model}, {sessions} sessions at the same time | | {report['latency_ms']['p50']:.2f} "
                        f"| {report['throughput_per_s']:.0f} |")
            check(times[0] <= most, f"{model} batch 1: {times[0]:.3f} ms, at most {most}")
            check(max(throughput, 64e3 / times[1]) >= least, f"{model} batch 64: {throughput:.0f} images/s, at least {least}")
    if machine.yardstick and machine.core:
        times = []
        for batch in (1, 64):
            done = subprocess.run([machine.yardstick, "cuda", machine.core, str(machine.model("resnet50")), str(batch)],
                                  capture_output=True, text=True, env=machine.environment, timeout=120)
            times.append(json.loads(done.stdout)["median_ms"] if done.returncode == 0 else float("nan"))
            if done.returncode != 0:
                say(done.stderr[-300:])
        say(f"  | ONNX Runtime as everybody calls it | {times[0]:.3f} | {times[1]:.2f} | {64e3 / times[1]:.0f} |")
    torch_rows()


def torch_rows():
    try:
        import torch
    except ImportError:
        return say("  PyTorch is not here")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    for half in (False, True):
        eager, graph = [], []
        for batch in (1, 64):
            model = torch_resnet50(torch).cuda().eval()
            x = torch.rand(batch, 3, 224, 224)
            if half:
                model, x = model.half().to(memory_format=torch.channels_last), x.half()
            with torch.inference_mode():
                device = x.cuda()
                if half:
                    device = device.to(memory_format=torch.channels_last)
                pinned = x.pin_memory()
                for _ in range(10):
                    model(device)
                eager.append(timed(lambda: model(device.copy_(pinned, non_blocking=True)).cpu()))
                recorded = torch.cuda.CUDAGraph()
                with torch.cuda.graph(recorded):
                    y = model(device)

                def replay():
                    device.copy_(pinned, non_blocking=True)
                    recorded.replay()
                    return y.cpu()

                graph.append(timed(replay))
        kind = "fp16 channels-last" if half else "TF32"
        for name, times in (("eager", eager), ("CUDA graph", graph)):
            say(f"  | PyTorch {name}, {kind}, from pinned memory | {times[0]:.3f} | {times[1]:.2f} | {64e3 / times[1]:.0f} |")


def timed(call, seconds=1.5):
    for _ in range(5):
        call()
    times, start = [], time.perf_counter()
    while time.perf_counter() - start < seconds:
        began = time.perf_counter()
        call()
        times.append((time.perf_counter() - began) * 1e3)
    return statistics.median(times)


def torch_resnet50(torch):
    """The network of bench/models/resnet50.py: convolutions with biases, as after folding."""
    nn = torch.nn

    class Block(nn.Module):
        def __init__(self, inputs, width, stride):
            super().__init__()
            self.body = nn.Sequential(
                nn.Conv2d(inputs, width, 1), nn.ReLU(True),
                nn.Conv2d(width, width, 3, stride, 1), nn.ReLU(True), nn.Conv2d(width, width * 4, 1))
            self.side = nn.Conv2d(inputs, width * 4, 1, stride) if stride > 1 or inputs != width * 4 else nn.Identity()

        def forward(self, x):
            return torch.relu(self.body(x) + self.side(x))

    layers, channels = [nn.Conv2d(3, 64, 7, 2, 3), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)], 64
    for stage, (width, blocks) in enumerate([(64, 3), (128, 4), (256, 6), (512, 3)], 1):
        for block in range(blocks):
            layers.append(Block(channels, width, 2 if block == 0 and stage > 1 else 1))
            channels = width * 4
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2048, 1000))


@contextlib.contextmanager
def served(machine, *arguments):
    """A server until the end of the block; gives its gRPC address and where its metrics are once every model is ready."""
    command = [machine.gpux, "serve", "-v", "--port", "0", "--grpc-port", "0", "--metrics-port", "0", *map(str, arguments)]
    process = subprocess.Popen(command, env=machine.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    told, addresses = [], {}
    try:
        for line in process.stderr:
            told.append(line)
            for prefix in ("gRPC on ", "metrics on "):
                if line.startswith(prefix):
                    addresses[prefix] = line[len(prefix):].strip()
            if " is ready on " in line:
                break
        if len(addresses) < 2 or process.poll() is not None:
            raise RuntimeError("gpux serve: " + "".join(told)[-600:])
        say("  " + told[-1].strip())
        for line in told:
            if "not on" in line or "held by" in line:
                say("  " + line.strip()[:300])
        # What it says from now on is not to block it.
        threading.Thread(target=process.stderr.read, daemon=True).start()
        yield addresses["gRPC on "], addresses["metrics on "]
    finally:
        process.terminate()
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()


@part(measures=True)
def serving(machine):
    """ResNet-50 in fp16 over gRPC from 64 connections, beside the same model without a server."""
    if not machine.yardstick:
        return say("  no yardstick, which is the load generator")
    model = machine.model("resnet50-fp16")
    bench = machine.document("bench", model, "--batch", 64)
    most = bench["throughput_per_s"]
    say(f"  gpux bench, batch 64: {most:.0f} images/s ({', '.join(bench['options'])})")
    port = machine.document("inspect", model, "--json")["inputs"][0]
    datatype = {"float16": "FP16", "float32": "FP32"}[port["dtype"]]
    best = 0
    # As many rows in all as there are connections: while one instance computes, the next ones copy.
    for arguments in (["--max-batch-size", 16, "--instances", 4], ["--max-batch-size", 32, "--instances", 3]):
        name = " ".join(map(str, arguments))
        with row(f"gRPC, {name}"):
            with served(machine, f"resnet={model}", "--max-queue-delay", "1ms", "--load-timeout", "5m", *arguments) as (address, metrics):
                ask = [machine.yardstick, "grpc-load", address, "resnet", port["name"], datatype, "1x3x224x224", "64"]
                # Sizes of batches that are new cost their first call.
                subprocess.run([*ask, "10"], capture_output=True, timeout=120)
                load = subprocess.Popen([*ask, "8"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                time.sleep(5)
                card = [line for line in urllib.request.urlopen(metrics, timeout=20).read().decode().splitlines()
                        if line.startswith("gpux_gpu_")]
                answer, error = load.communicate(timeout=120)
                if load.returncode != 0:
                    raise RuntimeError(error.strip()[-400:])
                load = json.loads(answer)
                best = max(best, load["requests_per_s"])
                say(f"  64 connections, {name}: {load['requests_per_s']:.0f} requests/s, "
                    f"{load['requests_per_s'] / most:.0%}; p50 {load['p50_ms']:.1f} ms, p99 {load['p99_ms']:.1f} ms")
                busy = [float(line.rsplit(" ", 1)[1]) for line in card if line.startswith("gpux_gpu_busy")]
                check(any(share > 0 for share in busy), f"the metrics tell of the card under load: {'; '.join(card)}")
    check(best >= 0.7 * most, f"gRPC at 64 connections: {best / most:.0%} of the bench at batch 64, at least 70 %")


@part()
def webgpu(machine):
    import numpy as np

    ids = machine.out / "ids.npz"
    rng = np.random.default_rng(2)
    np.savez(ids, input_ids=rng.integers(0, 30000, (2, 64)), attention_mask=np.ones((2, 64), np.int64),
             token_type_ids=np.zeros((2, 64), np.int64))
    for model, arguments in [("resnet50", ["--input", image(machine)]), ("minilm", ["--inputs", f"@{ids}"])]:
        found = {}
        for provider in ("cpu", "webgpu"):
            path = machine.out / f"{model}-{provider}.npy"
            answer = machine.document("run", machine.model(model), *arguments, "--provider", provider, "--explain",
                                      "--output", path, "--json")
            found[provider] = np.load(path)
        off = float(np.abs(found["webgpu"] - found["cpu"]).max())
        shares = {share["provider"]: share["nodes"] for share in answer["explain"]["providers"]}
        check(off <= 1e-3, f"{model} on WebGPU: off by {off:.1e}, load {answer['timing_ms']['load']:.0f} ms, nodes {shares}")
    report = machine.document("bench", machine.model("resnet50"), "--provider", "webgpu")
    say(f"  resnet50 batch 1 on WebGPU: {report['latency_ms']['p50']:.2f} ms")


@part()
def two_gpus(machine):
    count = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True).stdout.count("GPU ")
    if count < 2:
        return say(f"  {count} GPU here")
    mlp = [machine.model("mlp"), "--input", "[[1, 2, 3, 4]]", "--provider", "cuda"]
    with row("each device by its number"):
        answers = [machine.document("run", *mlp, "--device", device)["outputs"]["y"]["data"] for device in (0, 1)]
        check(answers[0] == answers[1], "both devices give the same numbers")
    with row("tuning the second device"):
        tune(machine, "resnet50", "--provider", "cuda", "--device", 1, "--short")
    with row("one session on each device, in one process"):
        for devices in ("0", "1", "0,1"):
            report = machine.document("bench", machine.model("resnet50"), "--provider", "cuda", "--devices", devices, "--batch", 64)
            say(f"  --devices {devices}: {report['device']}: {report['throughput_per_s']:.0f} images/s")
        both = machine.document("bench", machine.model("resnet50"), "--devices", "0,1", "--concurrency", 2, "--batch", 64)
        say(f"  two sessions on each, tuned: {both['throughput_per_s']:.0f} images/s ({', '.join(both['options'])})")
    start = time.monotonic()
    runs = [subprocess.Popen([machine.gpux, "bench", str(machine.model("resnet50")), "--provider", "cuda", "--device", str(device),
                              "--batch", "64"], env=machine.environment, stdout=subprocess.PIPE, text=True) for device in (0, 1)]
    reports = [json.loads(run.communicate(timeout=200)[0]) for run in runs]
    say(f"  at once: {[round(report['throughput_per_s']) for report in reports]} images/s ({time.monotonic() - start:.0f} s)")


if __name__ == "__main__":
    sys.exit(main())
