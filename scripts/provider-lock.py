#!/usr/bin/env python3
"""Writes src/provider/lock.json: the wheels that packs are made of, with their sizes and digests.

usage: provider-lock.py [PACK…]   a pack that is not named keeps the entries it has

pip is asked for each wheel (`--dry-run --report`), so the index is the one that pip is configured for; no wheel is
downloaded. The versions stand here, and nowhere else.
"""

import json
import subprocess
import sys
import urllib.request
from pathlib import Path

LOCK = Path(__file__).parent.parent / "src/provider/lock.json"

# What pip calls the platforms; a wheel for any of them will do.
TAGS = {
    "linux-x86_64": ["manylinux_2_28_x86_64", "manylinux_2_34_x86_64", "manylinux_2_27_x86_64", "manylinux2014_x86_64"],
    "linux-aarch64": ["manylinux_2_28_aarch64", "manylinux_2_27_aarch64", "manylinux2014_aarch64", "manylinux_2_34_aarch64"],
    "macos-aarch64": ["macosx_14_0_arm64", "macosx_13_0_arm64", "macosx_11_0_arm64"],
    "windows-x86_64": ["win_amd64"],
    "windows-aarch64": ["win_arm64"],
}
LINUX = ["linux-x86_64", "linux-aarch64"]
X86 = ["linux-x86_64", "windows-x86_64"]

# Pack → package, version, platforms. ONNX Runtime's wheels are for one Python each, with the same libraries in all.
PACKS = {
    "cpu": ("onnxruntime", "1.32.0", [*TAGS]),
    "cuda": ("onnxruntime-gpu", "1.31.1", X86),
    "cuda12": ("onnxruntime-gpu", "1.26.0", X86),
    "tensorrt-rtx": ("onnxruntime-ep-nv-tensorrt-rtx-cu13", "0.5.0", X86),
    "openvino": ("onnxruntime-openvino", "1.24.1", X86),
    "openvino-plugin": ("onnxruntime-ep-openvino", "1.8.1", X86),
    "webgpu": ("onnxruntime-ep-webgpu", "0.4.0", [*TAGS]),
    "migraphx": ("onnxruntime-migraphx", "1.27.1", ["linux-x86_64"]),
    "qnn": ("onnxruntime-qnn", "2.7.0", ["linux-aarch64", "windows-aarch64", "windows-x86_64"]),
    "directml": ("onnxruntime-directml", "1.24.4", ["windows-x86_64"]),
    "nvidia-cuda-runtime": ("nvidia-cuda-runtime", "13.0.96", [*LINUX, "windows-x86_64"]),
    "nvidia-cuda-nvrtc": ("nvidia-cuda-nvrtc", "13.0.88", [*LINUX, "windows-x86_64"]),
    "nvidia-cublas": ("nvidia-cublas", "13.1.0.3", [*LINUX, "windows-x86_64"]),
    "nvidia-curand": ("nvidia-curand", "10.4.0.35", [*LINUX, "windows-x86_64"]),
    "nvidia-cufft": ("nvidia-cufft", "12.0.0.61", [*LINUX, "windows-x86_64"]),
    "nvidia-cudnn-cu13": ("nvidia-cudnn-cu13", "9.20.0.48", [*LINUX, "windows-x86_64"]),
    "nvidia-cuda-runtime-cu12": ("nvidia-cuda-runtime-cu12", "12.9.79", [*LINUX, "windows-x86_64"]),
    "nvidia-cuda-nvrtc-cu12": ("nvidia-cuda-nvrtc-cu12", "12.9.86", [*LINUX, "windows-x86_64"]),
    "nvidia-cublas-cu12": ("nvidia-cublas-cu12", "12.9.1.4", [*LINUX, "windows-x86_64"]),
    "nvidia-curand-cu12": ("nvidia-curand-cu12", "10.3.10.19", [*LINUX, "windows-x86_64"]),
    "nvidia-cufft-cu12": ("nvidia-cufft-cu12", "11.4.1.4", [*LINUX, "windows-x86_64"]),
    "nvidia-cudnn-cu12": ("nvidia-cudnn-cu12", "9.20.0.48", [*LINUX, "windows-x86_64"]),
}
PYTHON = "3.12"


def found(package: str, version: str, platform: str) -> dict | None:
    """Gives the file, digest and size of the wheel that pip would take; None where there is none."""
    tags = [word for tag in TAGS[platform] for word in ("--platform", tag)]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--dry-run"]
    command += ["--report", "-", "--no-deps", "--only-binary=:all:", "--python-version", PYTHON, *tags]
    command += ["--ignore-installed", "--target", "/nonexistent", f"{package}=={version}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if answer.returncode != 0:
        print(f"{package} {version} has no wheel for {platform}", file=sys.stderr)
        print(answer.stderr.strip()[:2000], file=sys.stderr)
        return None
    info = json.loads(answer.stdout)["install"][0]["download_info"]
    url = info["url"]
    head = urllib.request.Request(url, method="HEAD")
    with urllib.request.urlopen(head, timeout=60) as reply:
        size = int(reply.headers["Content-Length"])
    return {
        "file": url.rsplit("/", 1)[-1],
        "sha256": info["archive_info"]["hashes"]["sha256"],
        "size_bytes": size,
    }


def main() -> None:
    wanted = sys.argv[1:] or [*PACKS]
    old = json.loads(LOCK.read_text()) if LOCK.exists() else {"packs": []}
    packs = [entry for entry in old["packs"] if entry["pack"] in PACKS and entry["pack"] not in wanted]
    for pack in wanted:
        package, version, platforms = PACKS[pack]
        for platform in platforms:
            if wheel := found(package, version, platform):
                entry = {"pack": pack, "platform": platform, "package": package, "version": version, **wheel}
                packs.append(entry)
                print(f"{pack} {platform}: {wheel['file']}, {wheel['size_bytes'] / 1e6:.1f} MB")
    order = [*PACKS]
    packs.sort(key=lambda entry: (order.index(entry["pack"]), entry["platform"]))
    LOCK.write_text(json.dumps({"python": PYTHON, "tags": TAGS, "packs": packs}, indent=2) + "\n")


if __name__ == "__main__":
    main()
