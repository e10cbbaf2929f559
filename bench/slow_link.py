"""Measures one 600 MB blob over a link that gives each connection 8 MB/s, and what a transfer killed at half costs.

The registry is here, and honest about uploads that broke. Three rows: a pull against one connection of curl's; a pull and a push
killed at half and started again, each with what the second try moved.

    python3 bench/slow_link.py [--gpux target/release/gpux]
"""

import argparse
import hashlib
import http.server
import json
import os
import pathlib
import subprocess
import tempfile
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
SIZE, STEP = 600_000_000, 64_000
# Bytes a second of one connection: the slow link, and one that lets a kill find something under way.
SLOW, QUICK = 8_000_000, 100_000_000
BLOB = (os.urandom(1 << 20) * 573)[:SIZE]
OCI = "application/vnd.oci.image.manifest.v1+json"


def descriptor(media_type, data, title=None):
    found = {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
    return found | ({"annotations": {"org.opencontainers.image.title": title}} if title else {})


CONFIG = b"{}"
WEIGHTS = descriptor("application/vnd.cncf.model.weight.v1.raw", BLOB, "weights")
PARTS = {"config": descriptor("application/vnd.cncf.model.config.v1+json", CONFIG), "layers": [WEIGHTS]}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI} | PARTS).encode()


class Link:
    """What the registry is told, and what went over it."""

    rate = SLOW
    sent = 0
    received = 0
    busy = 0
    uploads = {}
    stored = {}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def pace(self, done, started):
        time.sleep(max(0, done / Link.rate - (time.monotonic() - started)))

    def held(self, status, upload):
        last = max(0, len(Link.uploads[upload]) - 1)
        self.answer(status, [("Location", f"/v2/b/blobs/uploads/{upload}"), ("Range", f"0-{last}")])

    def do_HEAD(self):
        self.answer(404)

    def do_GET(self):
        name = self.path.rsplit("/", 1)[1]
        if "/uploads/" in self.path:
            return self.held(204, name) if name in Link.uploads else self.answer(404)
        if "/b/manifests/" in self.path:
            found = Link.stored.get(name)
            return self.answer(200, [("Content-Type", OCI)], found) if found else self.answer(404)
        if "/manifests/" in self.path:
            return self.answer(200, [("Content-Type", OCI)], MANIFEST)
        self.send_blob(BLOB if name == WEIGHTS["digest"] else CONFIG)

    def send_blob(self, body):
        start, end = 0, len(body)
        wanted = self.headers.get("Range")
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or end) + 1, end)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        body = memoryview(body)
        started = time.monotonic()
        try:
            for at in range(start, end, STEP):
                self.wfile.write(body[at : min(at + STEP, end)])
                Link.sent += min(at + STEP, end) - at
                self.pace(at + STEP - start, started)
        except OSError:
            self.close_connection = True

    def do_POST(self):
        upload = f"u{len(Link.uploads)}"
        Link.uploads[upload] = bytearray()
        self.held(202, upload)

    def take(self, into):
        """Takes a body in as it comes; what came before a break stays."""
        left, started = int(self.headers.get("Content-Length", 0)), time.monotonic()
        total = left
        Link.busy += 1
        try:
            while left:
                data = self.rfile.read1(min(left, STEP))
                if not data:
                    self.close_connection = True
                    return False
                into += data
                left -= len(data)
                Link.received += len(data)
                self.pace(total - left, started)
            return True
        except OSError:
            self.close_connection = True
            return False
        finally:
            Link.busy -= 1

    def do_PATCH(self):
        upload = self.path.rsplit("/", 1)[1]
        if int(self.headers["Content-Range"].split("-")[0]) != len(Link.uploads[upload]):
            self.close_connection = True
            self.held(416, upload)
        elif self.take(Link.uploads[upload]):
            self.held(202, upload)

    def do_PUT(self):
        path, _, query = self.path.partition("?")
        name = path.rsplit("/", 1)[1]
        if "/manifests/" in path:
            body = bytearray()
            if self.take(body):
                Link.stored[name] = bytes(body)
                self.answer(201)
        elif self.take(Link.uploads[name]):
            digest = hashlib.sha256(Link.uploads[name]).hexdigest()
            self.answer(201 if query == f"digest=sha256%3A{digest}" else 400)


def timed(command, **options):
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.monotonic() - started


def killed_at_half(command, environment, moved):
    """Kills a command when half has moved, and runs it again; gives the share that the second try moved."""
    before = moved()
    child = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while moved() - before < SIZE // 2:
        if child.poll() is not None:
            raise SystemExit(f"{command} ended before it was killed")
        time.sleep(0.002)
    child.kill()
    child.wait()
    while Link.busy:
        time.sleep(0.01)
    told = json.loads(subprocess.check_output([command[0], "--json", *command[1:]], env=environment))
    return told["moved_bytes"] / SIZE


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    gpux = parser.parse_args().gpux
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory(prefix="gpux-bench-") as folder:
        homes = [{"PATH": os.environ["PATH"], "GPUX_HOME": f"{folder}/{n}"} for n in range(2)]
        own = timed([gpux, "pull", f"{host}/a:1"], env=homes[0])
        theirs = timed(["curl", "-so", os.devnull, f"http://{host}/v2/a/blobs/{WEIGHTS['digest']}"])
        Link.rate = QUICK
        pulled = killed_at_half([gpux, "pull", f"{host}/a:1"], homes[1], lambda: Link.sent)
        subprocess.run([gpux, "tag", f"{host}/a:1", f"{host}/b:1"], env=homes[0], check=True, stderr=subprocess.DEVNULL)
        pushed = killed_at_half([gpux, "push", f"{host}/b:1"], homes[0], lambda: Link.received)
    print("| | gpux | one connection | ratio | bound |\n|---|---|---|---|---|")
    print(f"| 600 MB at 8 MB/s a connection | {own:.1f} s | {theirs:.1f} s | {theirs / own:.1f} × | 4 × |")
    for verb, share in [("pull", pulled), ("push", pushed)]:
        print(f"| {verb} of 600 MB killed at half: what the second try moves | {share:.0%} | | | 55 % |")


if __name__ == "__main__":
    main()
