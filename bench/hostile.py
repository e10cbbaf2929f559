#!/usr/bin/env python3
"""Measures `gpux serve` under clients that are too many, too slow or too greedy, and prints rows as serve.py does.

usage: hostile.py [--seconds N] [--only NAME]… [--gpux FILE]
needs: Linux, a release build, and Debian's nghttp2-client (h2load), slowhttptest and wrk: scripts/bench-deps.sh
"""

import argparse
import json
import pathlib
import re
import resource
import subprocess
import sys
import tempfile
import threading
import time

import numpy as np

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from serve import binary_body, mlp_model  # noqa: E402
from soak import PATH, ROOT, Server, ask, connect, hold, message  # noqa: E402

ROW = json.dumps({"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [0.5, -1.0, 2.0, 0.25]}]}).encode()


def percentile(times, share):
    return sorted(times)[min(len(times) - 1, int(len(times) * share))]


def times_of(server, seconds, request=None):
    """How long single requests take, one after the other."""
    request = request or message(server, ROW)
    connection = connect(server)
    times = []
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.perf_counter()
        ask(connection, request, b"200")
        times.append(time.perf_counter() - began)
    connection.close()
    return times


def tenants(server, seconds):
    """One tenant asks a model of some milliseconds alone, then beside another that keeps 64 requests waiting."""
    row = np.random.default_rng(1).standard_normal((1, 1024)).astype(np.float32)
    body, headers = binary_body("x", row)
    request = message(server, body, [f"{name}: {value}" for name, value in headers.items()])
    alone = percentile(times_of(server, seconds, request), 0.99)
    headers["Authorization"] = f"Bearer {server.another_token('flood')}"
    folder = pathlib.Path(server.environment["GPUX_HOME"])
    script, data = folder / "flood.lua", folder / "flood.body"
    data.write_bytes(body)
    fields = "".join(f'wrk.headers["{name}"] = "{value}"\n' for name, value in headers.items())
    script.write_text(f'wrk.method = "POST"\nwrk.body = io.open("{data}", "rb"):read("*a")\n{fields}')
    command = ["wrk", "-t", "1", "-c", "64", "-d", f"{seconds + 2}s", "-s", str(script)]
    flooding = subprocess.Popen([*command, f"http://127.0.0.1:{server.port}{PATH}"], stdout=subprocess.DEVNULL)
    time.sleep(1)
    beside = percentile(times_of(server, seconds, request), 0.99)
    flooding.wait()
    yield ("99th percentile of a tenant beside one that floods with 64 connections", beside, alone)


def idle(server, seconds):
    """Requests beside 10,000 connections that say nothing."""
    before = server.resident()
    alone = percentile(times_of(server, seconds), 0.99)
    held = hold(server, 10_000)
    time.sleep(15)
    alive = 0
    for connection in held:
        connection.setblocking(False)
        try:
            alive += connection.recv(1) != b""
        except BlockingIOError:
            alive += 1
    each = (server.resident() - before) / len(held)
    beside = percentile(times_of(server, seconds), 0.99)
    for connection in held:
        connection.close()
    yield (f"99th percentile beside {alive:,} of {len(held):,} idle connections after 15 s, {each / 1e3:.1f} kB each", beside,
           alone)


def h2load(server, seconds):
    """HTTP/2: 8 connections of 32 streams."""
    body = pathlib.Path(server.environment["GPUX_HOME"]) / "row.json"
    body.write_bytes(ROW)
    command = ["h2load", "-D", str(seconds), "-c", "8", "-m", "32", "-t", "1", "-d", str(body), "-H",
               f"authorization: Bearer {server.token}", f"http://127.0.0.1:{server.port}{PATH}"]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"finished in [^,]+, ([\d.]+) req/s", text)[1])
    codes = re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", text)
    refused = f"{int(codes[3]):,} refused by a full queue, {codes[4]} failed"
    yield (f"HTTP/2 by h2load, 8 connections of 32 streams: {int(codes[1]):,} answered, {refused}", 1 / rate, None)


def slow(server, seconds):
    """slowhttptest's three attacks with 1,000 connections each; somebody else asks meanwhile."""
    alone = percentile(times_of(server, seconds), 0.99)
    url = f"http://127.0.0.1:{server.port}{PATH}"
    for name, flags in [("slow heads", ["-H", "-i", "10"]), ("slow bodies", ["-B", "-i", "10", "-s", "65536"]),
                        ("slow readers", ["-X", "-w", "1", "-y", "64", "-n", "5", "-z", "32", "-k", "3"])]:
        command = ["slowhttptest", *flags, "-c", "1000", "-r", "500", "-l", "25", "-p", "3", "-t", "POST", "-u", url]
        attack = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        times = []
        thread = threading.Thread(target=lambda: times.extend(times_of(server, 20)))
        thread.start()
        attack.communicate()
        thread.join()
        yield (f"99th percentile beside slowhttptest's {name}, 1,000 connections", percentile(times, 0.99), alone)


ROWS = {"tenants": tenants, "idle": idle, "h2load": h2load, "slow": slow}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--only", action="append", choices=list(ROWS))
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    options = parser.parse_args()
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    print("| what | measured | alone | ratio |\n|---|---|---|---|", flush=True)
    for name in options.only or list(ROWS):
        # Where tenants wait for each other, it is for a model's calls.
        what = [f"mlp={mlp_model()}", ["--threads", "1"]] if name == "tenants" else []
        with tempfile.TemporaryDirectory() as home, Server(options.gpux, home, *what) as server:
            for what, measured, alone in ROWS[name](server, options.seconds):
                ratio = f"{measured / alone:.1f} ×" if alone else ""
                shown = f"{alone * 1e3:.3f} ms" if alone else ""
                print(f"| {what} | {measured * 1e3:.3f} ms | {shown} | {ratio} |", flush=True)


main()
