//! The `gpux` command.

use std::process::ExitCode;

use gpux::env::{self, Env};
use gpux::runtime;

/// Holds every allocation of Rust code to the memory limit, where a system call would come too late.
#[global_allocator]
static ALLOCATOR: runtime::LimitedAllocator = runtime::LimitedAllocator;

fn main() -> ExitCode {
    env::prepare(&runtime::ENVIRONMENT);
    let code = gpux::cli::main(std::env::args_os(), Env::read());
    runtime::ort::close();
    code
}
