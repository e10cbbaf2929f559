#!/usr/bin/env python3
"""Holds `gpux serve` under load and tells whether its memory stays where it is.

usage: soak.py [--seconds N] [--idle N] [--gpux FILE]      `make soak SOAK_SECONDS=600` for ten minutes

The load is of every kind at once: JSON and binary requests on connections that are kept, requests on new ones, clients
that leave before the answer, bodies that are refused, tokens that are wrong, and N connections that say nothing. The
slope is that of a line through the resident memory of the server and its workers, once they are warm.
"""

import argparse
import json
import os
import pathlib
import re
import resource
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODEL = "mlp"
PATH = f"/v2/models/{MODEL}/infer"
BATCHES = ["--max-batch-size", "8", "--max-queue-delay", "1ms"]
# Bytes a minute.
BOUND = 1e6
# By then the server has let go of the connections that say nothing (75 s), and allocators have taken their huge pages, 2 MB a step.
WARM_SECONDS = 80


class Server:
    """gpux with one model and one token, until the end of the block."""

    def __init__(self, gpux, home, operand=f"{MODEL}=fixtures/mlp/model.onnx", options=()):
        self.environment = {**os.environ, "GPUX_HOME": home}
        self.gpux = gpux
        self.arguments = [operand, *options]
        self.token = self.another_token("soak")

    def another_token(self, tenant):
        made = subprocess.run([self.gpux, "serve", "token", "create", "--tenant", tenant], env=self.environment,
                              capture_output=True, text=True, check=True)
        return made.stdout.strip()

    def __enter__(self):
        command = [self.gpux, "serve", *self.arguments, "--port", "0", "--grpc-port", "0", "--metrics-port", "0"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self.environment, stderr=subprocess.PIPE, text=True)
        for line in self.process.stderr:
            if found := re.match(r"serving on http://127\.0\.0\.1:(\d+)", line):
                self.port = int(found[1])
            if "is ready" in line:
                break
        threading.Thread(target=self.process.stderr.read, daemon=True).start()
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)

    def processes(self):
        """The server and its workers."""
        found = [self.process.pid]
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            found += [int(child) for child in (task / "children").read_text().split()]
        return found

    def resident(self):
        page = resource.getpagesize()
        return sum(int(pathlib.Path(f"/proc/{pid}/statm").read_text().split()[1]) * page for pid in self.processes())


def message(server, body, headers=(), token=None):
    lines = [f"POST {PATH} HTTP/1.1", "Host: localhost", f"Authorization: Bearer {token or server.token}",
             f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def requests(server):
    """What is sent, and the status that must come."""
    row = [0.5, -1.0, 2.0, 0.25]
    plain = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": row}]}
    header = {"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "parameters": {"binary_data_size": 16}}]}
    header = json.dumps(header).encode()
    binary = header + struct.pack("<4f", *row)
    length = [f"Inference-Header-Content-Length: {len(header)}"]
    return [
        (message(server, json.dumps(plain).encode()), b"200"),
        (message(server, binary, length), b"200"),
        (message(server, b'{"inputs": [1, 2'), b"400"),
        (message(server, json.dumps(plain).encode(), token="gpux_00000000_" + "A" * 43), b"401"),
    ]


def connect(server):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def ask(connection, request, status):
    connection.sendall(request)
    answer = connection.recv(1 << 16)
    head, _, rest = answer.partition(b"\r\n\r\n")
    missing = int(re.search(rb"content-length: (\d+)", head, re.I)[1]) - len(rest)
    while missing > 0:
        missing -= len(connection.recv(1 << 16))
    if answer.split(b" ", 2)[1] != status:
        raise AssertionError(answer[:500])


def load(server, end, counts, at):
    """Asks again and again on one connection; now and then on a new one, or leaves before the answer."""
    sent = requests(server)
    connection = connect(server)
    while time.monotonic() < end:
        for request, status in sent:
            ask(connection, request, status)
            counts[at] += 1
        if counts[at] % 64 == 0:
            connection.close()
            connection = connect(server)
        if counts[at] % 256 == 0:
            leaver = connect(server)
            leaver.sendall(sent[0][0][: -10 if at % 2 else None])
            leaver.close()
    connection.close()


def slope(samples):
    """Of the line through points of time and size, by least squares."""
    count = len(samples)
    middle_time = sum(time for time, _ in samples) / count
    middle_size = sum(size for _, size in samples) / count
    above = sum((time - middle_time) * (size - middle_size) for time, size in samples)
    below = sum((time - middle_time) ** 2 for time, _ in samples)
    return above / below


def hold(server, count):
    """Opens connections that say nothing, as far as this process may."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return [connect(server) for _ in range(min(count, most - 200))]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=150)
    parser.add_argument("--idle", type=int, default=1000)
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    options = parser.parse_args()
    if options.seconds < WARM_SECONDS + 40:
        parser.error(f"--seconds must be at least {WARM_SECONDS + 40}: the server warms up for {WARM_SECONDS}")
    with tempfile.TemporaryDirectory() as home, Server(options.gpux, home, options=BATCHES) as server:
        idle = hold(server, options.idle)
        began = time.monotonic()
        end = began + options.seconds
        counts = [0] * 4
        failures = []

        def watched(at):
            try:
                load(server, end, counts, at)
            except Exception as error:  # told below, with the figures
                failures.append(error)

        threads = [threading.Thread(target=watched, args=(at,)) for at in range(len(counts))]
        for thread in threads:
            thread.start()
        samples = []
        while any(thread.is_alive() for thread in threads):
            samples.append((time.monotonic() - began, server.resident()))
            time.sleep(0.5)
        for thread in threads:
            thread.join()
        del idle
    if failures:
        sys.exit(f"not as it should be: {failures[0]!r}")
    warm = [sample for sample in samples if sample[0] >= max(options.seconds / 4, WARM_SECONDS)]
    grown = slope(warm) * 60
    held = grown < BOUND
    print(f"{sum(counts):,} requests in {options.seconds} s beside {options.idle:,} idle connections; "
          f"{samples[0][1] / 1e6:.1f} MB at the start, {samples[-1][1] / 1e6:.1f} MB at the end")
    print(f"memory of the server and its workers: {grown / 1e6:+.3f} MB a minute (bound: {BOUND / 1e6:.0f}): "
          f"{'held' if held else 'NOT held'}")
    sys.exit(not held)


if __name__ == "__main__":
    main()
