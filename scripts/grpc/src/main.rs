//! Writes `src/serve/grpc/generated.rs` and `descriptor.bin` from `registry-spec/inference.proto`; run by `make grpc`.

use std::error::Error;
use std::fs;

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let descriptors = protox::compile(["inference.proto"], ["registry-spec"])?;
    fs::write("src/serve/grpc/descriptor.bin", descriptors.encode_to_vec())?;
    let out = std::env::temp_dir().join(format!("gpux-grpc-{}", std::process::id()));
    fs::create_dir_all(&out)?;
    tonic_prost_build::configure()
        .build_client(false)
        .build_transport(false)
        .bytes(".")
        .out_dir(&out)
        .compile_fds(descriptors)?;
    let generated = fs::read_to_string(out.join("inference.rs"))?;
    fs::write("src/serve/grpc/generated.rs", generated)?;
    fs::remove_dir_all(out)?;
    Ok(())
}
