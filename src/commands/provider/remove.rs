use serde_json::json;

use crate::commands::{Context, Failure, OrFail};
use crate::provider::Installed;
use crate::provider::install::{InstallError, Shelf};
use crate::term::bytes;

use super::shelf;

/// Remove packs, and the packs of libraries that nothing needs any more
#[derive(Debug, clap::Args)]
#[command(visible_alias = "rm")]
pub struct Args {
    /// The packs: NAME or NAME-VERSION
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<String>,
}

/// Removes packs.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let shelf = shelf(context)?;
    let mut going = named(&shelf, &args.packs)?;
    let lock = shelf.lock().or_fail(|| "cannot remove packs".to_owned())?;
    lock.sweep().or_fail(|| "cannot remove what is left over".to_owned())?;
    let (all, _) = shelf.list();
    going.extend(orphans(&all, &going));
    // All or none: half of what a provider needs is of no use.
    for pack in &going {
        let unused = lock.check_unused(&pack.pack);
        unused
            .or_fail(|| format!("cannot remove `{}`", pack.pack.id()))
            .map_err(|failure| failure.hint("it can be removed once these processes have ended"))?;
    }
    for pack in &going {
        lock.remove(pack)
            .or_fail(|| format!("cannot remove `{}`", pack.pack.id()))?;
    }
    let freed = going.iter().map(|it| it.pack.size_bytes()).sum::<u64>();
    if context.term.json() {
        let ids: Vec<String> = going.iter().map(|it| it.pack.id()).collect();
        context.term.data(json!({"removed": ids, "freed_bytes": freed}))?;
        return Ok(());
    }
    for pack in &going {
        context.term.tell(format_args!("removed {}", pack.pack.id()));
    }
    context.term.tell(format_args!("freed {}", bytes(freed)));
    Ok(())
}

/// Finds the packs that the user names.
///
/// Errors: one that is not there.
pub fn named(shelf: &Shelf, names: &[String]) -> Result<Vec<Installed>, Failure> {
    let mut packs: Vec<Installed> = Vec::new();
    for name in names {
        let found = shelf.named(name);
        if found.is_empty() {
            let missing = InstallError::NotInstalled(name.escape_debug().take(80).collect());
            return Err(missing).or_fail(|| "cannot find the pack".to_owned());
        }
        for pack in found {
            if !names_one_of(&packs, &pack.pack.id()) {
                packs.push(pack);
            }
        }
    }
    Ok(packs)
}

fn names_one_of(packs: &[Installed], id: &str) -> bool {
    packs.iter().any(|it| it.pack.id() == id)
}

/// Gives the packs of libraries that only those need that go.
fn orphans(all: &[Installed], going: &[Installed]) -> Vec<Installed> {
    let needs = |pack: &Installed, name: &str| {
        let loads = pack.pack.providers.iter().flat_map(|it| &it.loads);
        loads
            .into_iter()
            .any(|needed| needed.pack.as_ref().is_some_and(|it| it.as_str() == name))
    };
    let stays = |pack: &&Installed| !names_one_of(going, &pack.pack.id());
    let is_orphan = |pack: &&Installed| {
        let name = pack.pack.name.as_str();
        pack.pack.onnxruntime.is_none()
            && going.iter().any(|it| needs(it, name))
            && !all.iter().filter(stays).any(|it| needs(it, name))
    };
    all.iter().filter(stays).filter(is_orphan).cloned().collect()
}
