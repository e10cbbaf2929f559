#!/usr/bin/env bash
# Type-checks every target gpux is for, with zig as the C compiler of the crates that have C in them.
#
# usage: check-targets.sh [TARGET…]
set -euo pipefail
cd "$(dirname "$0")/.."

zig=target/zig-venv
tools=$PWD/target/zig-tools
targets=("$@")
[ $# -gt 0 ] || targets=(aarch64-apple-darwin x86_64-pc-windows-gnu aarch64-unknown-linux-gnu)

# What zig calls a target of rustc.
zig_target() {
    case $1 in
        aarch64-apple-darwin) echo aarch64-macos ;;
        x86_64-pc-windows-gnu) echo x86_64-windows-gnu ;;
        aarch64-unknown-linux-gnu) echo aarch64-linux-gnu.2.28 ;;
        x86_64-unknown-linux-gnu) echo x86_64-linux-gnu.2.28 ;;
        *) return 1 ;;
    esac
}

# The compiler as build scripts expect it: they name targets in clang's words, which zig does not take.
write_compiler() {
    cat >"$1" <<SCRIPT
#!/usr/bin/env bash
arguments=()
skip=
for argument in "\$@"; do
    if [ -n "\$skip" ]; then skip=; continue; fi
    case \$argument in
        -arch | -target | -isysroot) skip=1 ;;
        --target=* | -mmacosx-version-min=* | -march=armv8-a*) ;;
        *) arguments+=("\$argument") ;;
    esac
done
exec "$PWD/$zig/bin/python" -m ziglang cc -target $2 "\${arguments[@]}"
SCRIPT
    chmod +x "$1"
}

stamp=$(cksum <scripts/check-targets.txt)
if [ "$(cat "$zig/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$zig"
    "${PYTHON:-python3}" -m venv "$zig"
    "$zig/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes -r scripts/check-targets.txt
    echo "$stamp" >"$zig/stamp"
fi

mkdir -p "$tools"
printf '#!/usr/bin/env bash\nexec "%s" -m ziglang ar "$@"\n' "$PWD/$zig/bin/python" >"$tools/ar"
chmod +x "$tools/ar"
export ZIG_GLOBAL_CACHE_DIR=$tools/cache ZIG_LOCAL_CACHE_DIR=$tools/cache
# Build scripts for macOS ask Xcode where its SDK is, unless they are told; zig carries the headers.
export SDKROOT=/

failed=()
for target in "${targets[@]}"; do
    zig_name=$(zig_target "$target") || { echo "check-targets: $target is not a target of gpux" >&2; exit 2; }
    if ! compgen -G "$(rustc --print target-libdir --target "$target")/libstd-*" >/dev/null; then
        echo "check-targets: $target cannot be checked, its standard library is not installed:" \
            "rustup target add $target" >&2
        failed+=("$target")
        continue
    fi
    write_compiler "$tools/$target-cc" "$zig_name"
    variable=${target//-/_}
    echo "check-targets: $target"
    if ! env "CC_$variable=$tools/$target-cc" "AR_$variable=$tools/ar" \
        cargo check --locked --all-targets --target "$target" --target-dir target/check-targets; then
        failed+=("$target")
    fi
done

if [ ${#failed[@]} -gt 0 ]; then
    echo "check-targets: not checked or not right: ${failed[*]}" >&2
    exit 1
fi
