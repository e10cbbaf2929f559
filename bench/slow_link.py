"""Measures a pull of one 600 MB blob over a link that gives each connection 8 MB/s, against one connection of curl's.

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
SIZE, RATE, STEP = 600_000_000, 8_000_000, 64_000
BLOB = (os.urandom(1 << 20) * 573)[:SIZE]
OCI = "application/vnd.oci.image.manifest.v1+json"


def descriptor(media_type, data, title=None):
    found = {"mediaType": media_type, "digest": "sha256:" + hashlib.sha256(data).hexdigest(), "size": len(data)}
    return found | ({"annotations": {"org.opencontainers.image.title": title}} if title else {})


CONFIG = b"{}"
WEIGHTS = descriptor("application/vnd.cncf.model.weight.v1.raw", BLOB, "weights")
PARTS = {"config": descriptor("application/vnd.cncf.model.config.v1+json", CONFIG), "layers": [WEIGHTS]}
MANIFEST = json.dumps({"schemaVersion": 2, "mediaType": OCI} | PARTS).encode()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        if "/manifests/" in self.path:
            body, media_type = MANIFEST, OCI
        else:
            body, media_type = (BLOB if self.path.endswith(WEIGHTS["digest"]) else CONFIG), "application/octet-stream"
        start, end = 0, len(body)
        wanted = self.headers.get("Range")
        if wanted:
            first, last = wanted.removeprefix("bytes=").split("-")
            start, end = int(first), min(int(last or end) + 1, end)
        self.send_response(206 if wanted else 200)
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{len(body)}")
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(end - start))
        self.end_headers()
        body = memoryview(body)
        started = time.monotonic()
        for at in range(start, end, STEP):
            self.wfile.write(body[at : min(at + STEP, end)])
            time.sleep(max(0, (at + STEP - start) / RATE - (time.monotonic() - started)))


def timed(command, **options):
    started = time.monotonic()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options)
    return time.monotonic() - started


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gpux", default=str(ROOT / "target/release/gpux"))
    gpux = parser.parse_args().gpux
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    host = f"127.0.0.1:{server.server_port}"
    with tempfile.TemporaryDirectory(prefix="gpux-bench-") as folder:
        environment = {"PATH": os.environ["PATH"], "GPUX_HOME": folder}
        own = timed([gpux, "pull", f"{host}/a:1"], env=environment)
    theirs = timed(["curl", "-so", os.devnull, f"http://{host}/v2/a/blobs/{WEIGHTS['digest']}"])
    print("| | gpux | one connection | ratio | bound |\n|---|---|---|---|---|")
    print(f"| 600 MB at 8 MB/s a connection | {own:.1f} s | {theirs:.1f} s | {theirs / own:.1f} × | 4 × |")


if __name__ == "__main__":
    main()
