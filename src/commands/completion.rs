use clap_complete::Shell;

use super::{Context, Failure};

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_help = "Example for bash: gpux completion bash > ~/.local/share/bash-completion/completions/gpux")]
pub struct Args {
    /// The shell to complete in
    shell: Shell,
}

/// Prints the completion script for `tree`.
pub fn run(args: Args, mut tree: clap::Command, context: &Context) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut tree, "gpux", &mut script);
    context.term.stream(|to| to.write_all(&script))?;
    Ok(())
}
