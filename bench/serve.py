#!/usr/bin/env python3
"""Measures `gpux serve` beside what serves the same model otherwise, and prints the rows of docs/benchmarks.md.

usage: serve.py [--seconds N] [--only NAME]…
needs: Linux, wrk, a release build of gpux and yardstick, and a network for pip (the Python tool is put into
       target/bench/python-tool)

Load generator and server share the machine. Both sides of a row run in turn.
"""

import argparse
import http.client
import json
import os
import pathlib
import re
import socket
import statistics
import struct
import subprocess
import sys
import time

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from run import ENVIRONMENT, GPUX, LIBRARY, ROOT, WORK, YARDSTICK, milliseconds  # noqa: E402

CONNECTIONS = 32


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """A process that listens, until the end of the block."""

    def __init__(self, command, path, cwd=ROOT, environment=ENVIRONMENT):
        self.command, self.path, self.cwd, self.environment = command, path, cwd, environment

    def __enter__(self):
        self.port = free_port()
        command = [part.replace("PORT", str(self.port)) for part in self.command]
        self.process = subprocess.Popen(
            command, cwd=self.cwd, env=self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        until = time.monotonic() + 60
        while time.monotonic() < until:
            try:
                if request(self.port, "GET", self.path)[0] == 200:
                    return self
            except OSError:
                time.sleep(0.05)
        sys.exit(f"{' '.join(command)} does not answer")

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()


def request(port, method, path, body=None, headers={}):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    found = answer.status, answer.read()
    connection.close()
    return found


def gpux(*arguments):
    model = arguments[0].split("=")[0]
    command = [GPUX, "serve", "--port", "PORT", "--no-metrics", "-q", "--provider", "cpu", *arguments]
    return Server(command, f"/v2/models/{model}/ready")


def bare(model, *arguments):
    return Server([YARDSTICK, "serve", LIBRARY, str(model), "PORT", *arguments], "/ready")


def binary_body(name, array):
    """A request of the protocol with its tensor behind the JSON."""
    data = array.tobytes()
    header = {
        "inputs": [
            {
                "name": name,
                "shape": list(array.shape),
                "datatype": {"float32": "FP32", "float64": "FP64"}[str(array.dtype)],
                "parameters": {"binary_data_size": len(data)},
            }
        ],
        "parameters": {"binary_data_output": True},
    }
    header = json.dumps(header, separators=(",", ":")).encode()
    headers = {"Inference-Header-Content-Length": str(len(header)), "Content-Type": "application/octet-stream"}
    return header + data, headers


def load(port, path, body, headers, seconds, connections=CONNECTIONS):
    """Requests a second, and the median and 99th percentile of their time, by wrk."""
    script = WORK / "wrk.lua"
    data = WORK / "wrk.body"
    data.write_bytes(body)
    fields = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{data}", "rb"):read("*a")\n{fields}')
    threads = min(2, connections)
    command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{seconds}s", "--latency", "-s", str(script)]
    done = subprocess.run([*command, f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True)
    text = done.stdout
    if "Non-2xx" in text or "Socket errors" in text:
        sys.exit(f"{path}: {text}")
    unit = {"us": 1e-6, "ms": 1e-3, "s": 1.0}

    def latency(percent):
        number, name = re.search(rf"^\s*{percent}%\s+([\d.]+)(us|ms|s)$", text, re.M).groups()
        return float(number) * unit[name]

    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text).group(1))
    return rate, latency(50), latency(99)


def latencies(port, path, body, headers, count):
    """The times of single requests, one after the other on one connection, without a client's own overhead."""
    lines = [f"POST {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    message = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    times = []
    for _ in range(count):
        start = time.perf_counter()
        connection.sendall(message)
        answer = connection.recv(1 << 16)
        head, _, rest = answer.partition(b"\r\n\r\n")
        missing = int(re.search(rb"content-length: (\d+)", head, re.I).group(1)) - len(rest)
        while missing > 0:
            missing -= len(connection.recv(1 << 16))
        times.append(time.perf_counter() - start)
        if not answer.startswith(b"HTTP/1.1 200"):
            sys.exit(answer[:500])
    connection.close()
    return times


def mlp_model():
    """A perceptron of 1024, 4096, 4096 and 1024 units, its batch open."""
    path = WORK / "mlp-1024" / "model.onnx"
    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    nodes, initializers, x = [], [], "x"
    sizes = [1024, 4096, 4096, 1024]
    for at, (rows, columns) in enumerate(zip(sizes, sizes[1:])):
        weight = (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        initializers.append(numpy_helper.from_array(weight, f"w{at}"))
        nodes.append(helper.make_node("MatMul", [x, f"w{at}"], [f"m{at}"]))
        x = "y" if at == 2 else f"r{at}"
        nodes.append(helper.make_node("Relu", [f"m{at}"], [x]))
    port = lambda name, size: helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", size])
    graph = helper.make_graph(nodes, "mlp", [port("x", 1024)], [port("y", 1024)], initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def relu_model(name, shape):
    """Float64 of one shape through a Relu: what the Python tool can serve."""
    return float64_model(name, helper.make_node("Relu", ["x"], ["y"]), shape, shape)


def mean_model(name):
    """The mean of a picture of float64: all is read, and next to nothing written."""
    node = helper.make_node("ReduceMean", ["x"], ["y"], axes=[1, 2, 3], keepdims=0)
    return float64_model(name, node, [1, 3, 224, 224], [1])


def float64_model(name, node, given, made):
    """One node from `x` to `y`."""
    path = WORK / name / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    port = lambda name, shape: helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape)
    graph = helper.make_graph([node], name, [port("x", given)], [port("y", made)])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def digits(seconds):
    """Requests a second at 32 connections: a bare handler, gpux with a worker, gpux in process."""
    image = np.load(ROOT / "fixtures/digits/seven.npy")
    body, headers = binary_body("image", image.reshape(1, 1, 8, 8))
    path = "/v2/models/digits/infer"
    rates = {"bare": [], "worker": [], "in process": []}
    for _ in range(3):
        with bare("fixtures/digits/model.onnx") as server:
            raw = {"Content-Type": "application/octet-stream"}
            rates["bare"].append(load(server.port, "/infer", image.astype(np.float32).tobytes(), raw, seconds)[0])
        with gpux("digits=fixtures/digits", "--threads", "1") as server:
            rates["worker"].append(load(server.port, path, body, headers, seconds)[0])
        with gpux("digits=fixtures/digits", "--threads", "1", "--in-process") as server:
            rates["in process"].append(load(server.port, path, body, headers, seconds)[0])
    bare_rate = statistics.median(rates["bare"])
    for name in ["worker", "in process"]:
        rate = statistics.median(rates[name])
        ratio = rate / bare_rate
        yield (f"digits over HTTP, binary, 32 connections, {name}", f"{rate:,.0f}/s", f"bare axum handler: {bare_rate:,.0f}/s",
               "at least 50 %", f"{ratio:.0%}", ratio >= 0.5)


def batching(seconds):
    """The 1024-4096-4096-1024 perceptron at 32 connections: joined, not joined, and raw at batch 32."""
    model = mlp_model()
    row = np.random.default_rng(1).standard_normal((1, 1024)).astype(np.float32)
    body, headers = binary_body("x", row)
    path = "/v2/models/mlp/infer"
    joined, single, raw = [], [], []
    for _ in range(3):
        with gpux(f"mlp={model}", "--max-batch-size", "32", "--max-queue-delay", "5ms") as server:
            joined.append(load(server.port, path, body, headers, seconds)[0])
        with gpux(f"mlp={model}") as server:
            single.append(load(server.port, path, body, headers, seconds)[0])
        done = subprocess.run([YARDSTICK, "batch-rate", LIBRARY, str(model), "32", str(seconds)], cwd=ROOT,
                              env=ENVIRONMENT, capture_output=True, text=True, check=True)
        raw.append(float(done.stdout))
    joined, single, raw = map(statistics.median, (joined, single, raw))
    yield ("perceptron 1024-4096-4096-1024, 32 connections: joined, beside not joined", f"{joined:,.0f}/s",
           f"{single:,.0f}/s", "at least 4 ×", f"{joined / single:.1f} ×", joined >= 4 * single)
    yield ("the same, beside raw ONNX Runtime at batch 32", f"{joined:,.0f}/s", f"{raw:,.0f}/s", "at least 85 %",
           f"{joined / raw:.0%}", joined >= 0.85 * raw)


def added(_):
    """What a server adds to the bare model at one connection, by the 99th percentile; what a bare handler adds is told too."""
    image = np.load(ROOT / "fixtures/digits/seven.npy")
    body, headers = binary_body("image", image.reshape(1, 1, 8, 8))
    done = subprocess.run([YARDSTICK, "call-time", LIBRARY, "fixtures/digits/model.onnx", "5000"], cwd=ROOT,
                          env=ENVIRONMENT, capture_output=True, text=True, check=True)
    own = float(done.stdout)
    raw, plain = image.astype(np.float32).tobytes(), {"Content-Type": "application/octet-stream"}

    def best(start, path, body, headers):
        found = []
        for _ in range(3):
            with start() as server:
                latencies(server.port, path, body, headers, 500)
                found.append(np.percentile(latencies(server.port, path, body, headers, 5000), 99))
        return min(found)

    alone = best(lambda: bare("fixtures/digits/model.onnx"), "/infer", raw, plain)
    handler = f"{milliseconds_of(own)}; a bare axum handler +{(alone - own) * 1e3:.2f} ms"
    for name, arguments, bound in [("worker", [], 0.3e-3), ("in process", ["--in-process"], 0.1e-3)]:
        served = lambda: gpux("digits=fixtures/digits", "--threads", "1", *arguments)
        found = best(served, "/v2/models/digits/infer", body, headers)
        more = found - own
        yield (f"digits at one connection, {name}: 99th percentile beside the bare model's call", milliseconds_of(found),
               handler, f"at most {bound * 1e3:.1f} ms more", f"+{more * 1e3:.2f} ms", more <= bound)


def milliseconds_of(seconds):
    return f"{seconds * 1e3:.3f} ms"


def python_tool(seconds):
    """The Python tool of the same name on a float64 Relu, and on a picture's worth of JSON."""
    folder = WORK / "python-tool"
    python = folder / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", "gpux==0.1.1", "fastapi", "uvicorn", "onnxruntime"], check=True)
    environment = {**ENVIRONMENT, "PATH": f"{folder / 'bin'}:{os.environ['PATH']}"}

    def theirs(name, model):
        project = WORK / f"python-{name}"
        project.mkdir(exist_ok=True)
        (project / "model.onnx").write_bytes(model.read_bytes())
        (project / "gpux.yml").write_text(
            f"name: {name}\nversion: 1.0.0\nmodel:\n  source: model.onnx\n  format: onnx\n"
            "inputs:\n  x:\n    type: float64\n    required: true\noutputs:\n  y:\n    type: float64\nruntime:\n  gpu:\n    memory: 1GB\n"
        )
        return Server([str(folder / "bin/gpux"), "serve", name, "--port", "PORT"], "/health", project, environment)

    plain = {"Content-Type": "application/json"}
    model = relu_model("relu", [1, 4])
    with theirs("relu", model) as server:
        rate = load(server.port, "/predict", json.dumps({"x": [[1.0, -2.0, 3.0, 4.0]]}).encode(), plain, seconds)[0]
    numbers, headers = binary_body("x", np.array([[1.0, -2.0, 3.0, 4.0]]))
    with gpux(f"relu={model}", "--threads", "1") as server:
        ours = load(server.port, "/v2/models/relu/infer", numbers, headers, seconds)[0]
    yield ("float64 Relu over HTTP, 32 connections, binary, beside the Python tool, which takes JSON", f"{ours:,.0f}/s",
           f"{rate:,.0f}/s", "at least 15 ×", f"{ours / rate:.1f} ×", ours >= 15 * rate)
    picture = np.random.default_rng(1).random((1, 3, 224, 224)).tolist()
    for what, model in [("in", mean_model("mean-picture")), ("in and out", relu_model("relu-picture", [1, 3, 224, 224]))]:
        slow, quick = [], []
        for _ in range(3):
            with theirs(model.parent.name, model) as server:
                slow += latencies(server.port, "/predict", json.dumps({"x": picture}).encode(), plain, 7)[1:]
            with gpux(f"it={model}", "--threads", "1") as server:
                body = json.dumps({"input": {"x": picture}}).encode()
                quick += latencies(server.port, "/v1/models/it/predict", body, plain, 30)[5:]
        slow, quick = np.median(slow), np.median(quick)
        yield (f"JSON of float64[1, 3, 224, 224] {what}, one connection, beside the Python tool", milliseconds_of(quick),
               milliseconds_of(slow), "1/20 of 0.17 to 0.22 s: at most 8.5 to 11 ms", f"1/{slow / quick:.1f} of what it takes here",
               quick <= 8.5e-3)


ROWS = {"digits": digits, "batching": batching, "added": added, "python-tool": python_tool}


def main():
    global GPUX
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--gpux", default=GPUX, help="the program to measure (default: the release build)")
    parser.add_argument("--only", action="append", choices=list(ROWS))
    options = parser.parse_args()
    GPUX = options.gpux
    WORK.mkdir(parents=True, exist_ok=True)
    print("| what | gpux | yardstick | bound | measured | held |\n|---|---|---|---|---|---|", flush=True)
    missed = False
    for name in options.only or list(ROWS):
        for *cells, held in ROWS[name](options.seconds):
            print("| " + " | ".join([*cells, "yes" if held else "**no**"]) + " |", flush=True)
            missed |= not held
    sys.exit(missed)


if __name__ == "__main__":
    main()
