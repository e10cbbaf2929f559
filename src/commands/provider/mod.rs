//! `gpux provider`: the packs of libraries that run models.

mod install;
mod list;
mod push;
mod remove;
mod sources;
mod verify;

use std::path::PathBuf;

use clap::Subcommand;

use crate::provider::install::Shelf;

use super::{Context, Failure};

pub use install::{provision, suggestion};

/// List, install, remove and check packs: the libraries that run models on this machine's hardware
#[derive(Debug, clap::Args)]
#[command(arg_required_else_help = true)]
pub struct Args {
    #[command(subcommand)]
    act: Act,
}

#[derive(Debug, Subcommand)]
enum Act {
    List(list::Args),
    Install(install::Args),
    Remove(remove::Args),
    Verify(verify::Args),
    Push(push::Args),
}

/// Runs the act.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.act {
        Act::List(args) => list::run(args, context),
        Act::Install(args) => install::run(args, context),
        Act::Remove(args) => remove::run(args, context),
        Act::Verify(args) => verify::run(args, context),
        Act::Push(args) => push::run(args, context),
    }
}

/// Gives the folder of packs.
fn shelf(context: &Context) -> Result<Shelf, Failure> {
    let home: PathBuf = context.env.current_dir.join(context.home()?);
    Ok(Shelf::new(home.join("providers")))
}
