#!/usr/bin/env bash
# Installs the load generators that bench/serve.py and bench/hostile.py call: Debian's wrk, nghttp2-client and slowhttptest.
set -euo pipefail

missing=()
command -v wrk >/dev/null || missing+=(wrk)
command -v h2load >/dev/null || missing+=(nghttp2-client)
command -v slowhttptest >/dev/null || missing+=(slowhttptest)
[ ${#missing[@]} -gt 0 ] || exit 0
if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
    echo "bench-deps: please install ${missing[*]} (Debian's packages have these names)" >&2
    exit 1
fi
echo "bench-deps: installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
apt-get -qq install --yes --no-install-recommends "${missing[@]}" >/dev/null
