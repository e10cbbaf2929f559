"""Measures push and pull against skopeo, on loopback, with Debian's docker-registry.

A 1 GB artifact of 20 layers, one of them 600 MB. Both sides take turns; medians are compared. Then a pull and a push are killed
at half and started again. Prints the table of docs/benchmarks.md; `--rounds N` sets how often (3).

docker-registry 2.8 forgets an upload whose request broke: after a kill, the layers that were under way are sent again. A registry
that does not is in bench/slow_link.py.

    target/test-venv/bin/python bench/registry.py [--gpux target/release/gpux] [--rounds 3]
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
LARGE, SMALL, SMALLS = 600_000_000, 21_052_632, 19


def run(command, environment=None):
    """Runs a command; gives seconds and peak resident bytes."""
    started = time.monotonic()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    words = child.stderr.read().decode()
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - started
    if os.waitstatus_to_exitcode(status) != 0:
        sys.exit(f"{command} failed:\n{words}")
    return seconds, usage.ru_maxrss * 1024


class Registry:
    """A docker-registry with its data in a folder of its own."""

    def __init__(self, folder):
        self.folder = folder
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = folder / "config.yml"
        config.write_text(
            "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
            f"storage: {{filesystem: {{rootdirectory: '{folder}/data'}}}}\nhttp: {{addr: '127.0.0.1:{self.port}'}}\n"
        )
        log = (folder / "log").open("w")
        self.child = subprocess.Popen(["docker-registry", "serve", str(config)], stdout=log, stderr=log)
        for _ in range(500):
            try:
                socket.create_connection(("127.0.0.1", self.port)).close()
                return
            except OSError:
                time.sleep(0.02)
        sys.exit("docker-registry does not start")

    def empty(self):
        shutil.rmtree(self.folder / "data", ignore_errors=True)

    def stop(self):
        self.child.send_signal(signal.SIGTERM)
        self.child.wait()


def killed_at_half(command, environment, is_half):
    """Kills a command when half has moved and runs it again; gives the shares that were there and that moved."""
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not is_half() and child.poll() is None:
        time.sleep(0.002)
    child.kill()
    child.wait()
    told = json.loads(subprocess.check_output([command[0], "--json", *command[1:]], env=environment))
    return told["skipped_bytes"] / told["size_bytes"], told["moved_bytes"] / told["size_bytes"]


def files_bytes(folder):
    """The bytes of all files below a folder that may change meanwhile."""
    total = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(parent, name)).st_size
            except OSError:
                pass
    return total


def journalled_bytes(home):
    """What an unfinished pull has: its whole blobs, and what its journals say of the others."""
    total = files_bytes(home / "store")
    for path in (home / "ingest").glob("*.journal"):
        try:
            lines = path.read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            start, _, end = line.partition(" ")
            if end.isdigit():
                total += int(end) - int(start)
    return total


def artifact(folder, gpux, environment):
    """Builds the artifact in a store of its own."""
    context = folder / "context"
    context.mkdir()
    shutil.copy(ROOT / "fixtures/digits/model.onnx", context)
    for n, size in enumerate([LARGE] + [SMALL] * (SMALLS - 2)):
        with (context / f"side{n}.bin").open("wb") as file:
            for at in range(0, size, 1 << 20):
                file.write(os.urandom(min(1 << 20, size - at)))
    (context / "GPUXfile").write_text("name: large\nmodel:\n  source: model.onnx\nfiles: ['side*.bin']\n")
    run([gpux, "build", str(context), "-t", "large:1"], environment)
    shutil.rmtree(context)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gpux-bench-") as folder:
        measure(pathlib.Path(folder), arguments.gpux, arguments.rounds)


def measure(folder, gpux, rounds):
    environment = {"PATH": os.environ["PATH"], "GPUX_HOME": str(folder / "home")}
    artifact(folder, gpux, environment)
    times = {name: [] for name in ["push", "push skopeo", "pull", "pull skopeo", "again", "second tag"]}
    memory = {"push": [], "pull": []}
    requests = None
    halves = {}
    registry = Registry(folder)
    try:
        host = f"127.0.0.1:{registry.port}"
        name = f"{host}/large:1"
        run([gpux, "tag", "large:1", name], environment)
        run([gpux, "tag", "large:1", f"{host}/large:2"], environment)
        for n in range(rounds):
            registry.empty()
            store = f"oci:{folder}/home/store:large:1"
            seconds, _ = run(["skopeo", "copy", "--dest-tls-verify=false", store, f"docker://{name}"])
            times["push skopeo"].append(seconds)
            registry.empty()
            seconds, peak = run([gpux, "push", name], environment)
            times["push"].append(seconds)
            memory["push"].append(peak)
            second = [gpux, "--json", "push", f"{host}/large:2"]
            started = time.monotonic()
            second = json.loads(subprocess.check_output(second, env=environment, stderr=subprocess.DEVNULL))
            times["second tag"].append(time.monotonic() - started)
            target = folder / "pulled"
            seconds, _ = run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{target}:x"])
            times["pull skopeo"].append(seconds)
            shutil.rmtree(target)
            other = environment | {"GPUX_HOME": str(target)}
            seconds, peak = run([gpux, "pull", name], other)
            times["pull"].append(seconds)
            memory["pull"].append(peak)
            times["again"].append(min(run([gpux, "pull", name], other)[0] for _ in range(5)))
            told = json.loads(subprocess.check_output([gpux, "--json", "pull", name], env=other))
            requests = told["requests"]
            shutil.rmtree(target)
            print({key: values[-1] for key, values in times.items()}, file=sys.stderr)
        half = (LARGE + SMALL * (SMALLS - 2)) // 2
        target = folder / "pulled"
        other = environment | {"GPUX_HOME": str(target)}
        halves["pull"] = killed_at_half([gpux, "pull", name], other, lambda: journalled_bytes(target) >= half)
        registry.empty()
        data = folder / "data"
        halves["push"] = killed_at_half([gpux, "push", name], environment, lambda: files_bytes(data) >= half)
    finally:
        registry.stop()
    middle = {key: statistics.median(values) for key, values in times.items()}
    print("| | gpux | skopeo copy | ratio | bound |\n|---|---|---|---|---|")
    for verb, bound in [("pull", 0.5), ("push", 0.7)]:
        own, theirs = middle[verb], middle[f"{verb} skopeo"]
        print(f"| {verb}, 1 GB of 20 layers | {own:.2f} s | {theirs:.2f} s | {own / theirs:.2f} | {bound} |")
    for verb in ["pull", "push"]:
        print(f"| peak memory of {verb} | {max(memory[verb]) / 1e6:.0f} MB | | | 60 MB |")
    print(f"| pull of what is there | {middle['again'] * 1000:.0f} ms, {requests} request | | | 50 ms, 1 request |")
    told = f"{second['moved_bytes']} bytes of blobs, {second['requests']} requests"
    print(f"| push of a second tag | {middle['second tag'] * 1000:.0f} ms, {told} | | | a manifest alone |")
    for verb, bound in [("pull", "55 %"), ("push", "what was under way")]:
        held, moved = halves[verb]
        print(f"| {verb} killed with {held:.0%} there: what the second try moves | {moved:.0%} | | | {bound} |")


if __name__ == "__main__":
    main()
