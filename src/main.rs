//! The `gpux` command.

fn main() {}
