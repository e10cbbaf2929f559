#!/bin/sh
# Writes generated.rs from onnx.proto, with prost-build and protox (a protobuf compiler in Rust) in a scratch crate.
# Needed only after a change of onnx.proto; its result is committed, so that a build needs neither.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/src"
cat > "$scratch/Cargo.toml" <<'TOML'
[package]
name = "generate"
version = "0.0.0"
edition = "2024"

[dependencies]
prost-build = { version = "=0.14.4", default-features = false, features = ["format"] }
protox = "=0.9.1"
TOML
cat > "$scratch/src/main.rs" <<'RUST'
fn main() {
    let proto = std::env::args().nth(1).expect("the folder of onnx.proto");
    let files = protox::compile(["onnx.proto"], [&proto]).expect("onnx.proto compiles");
    let mut config = prost_build::Config::new();
    config.bytes(["."]).out_dir(&proto);
    // Large and seldom there: without the boxes every attribute would be several times its size.
    for field in ["t", "g", "tp", "sparse_tensor"] {
        config.boxed(format!(".onnx.AttributeProto.{field}"));
    }
    config.compile_fds(files).expect("code is written");
}
RUST
cargo run --quiet --manifest-path "$scratch/Cargo.toml" -- "$here"
mv "$here/onnx.rs" "$here/generated.rs"
rustfmt --edition 2024 "$here/generated.rs"
