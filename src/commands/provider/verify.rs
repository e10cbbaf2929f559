use serde_json::json;

use crate::commands::{Code, Context, Failure, OrFail};
use crate::provider::Installed;
use crate::provider::install::{Damage, Shelf};
use crate::term::bytes;

use super::remove::named;
use super::shelf;

/// Hash every file of packs, and compare
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The packs: NAME or NAME-VERSION; without any, all
    #[arg(value_name = "PACK")]
    packs: Vec<String>,
}

/// Hashes and compares.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let shelf = shelf(context)?;
    let (all, refused) = shelf.list();
    let packs = if args.packs.is_empty() {
        all
    } else {
        named(&shelf, &args.packs)?
    };
    let mut checked: Vec<(&Installed, Vec<Damage>)> = Vec::new();
    for pack in &packs {
        let damages = Shelf::verify(pack).or_fail(|| format!("cannot verify `{}`", pack.pack.id()))?;
        checked.push((pack, damages));
    }
    let unreadable = if args.packs.is_empty() { refused.as_slice() } else { &[] };
    if context.term.json() {
        let list: Vec<_> = checked.iter().map(|(pack, damages)| report(pack, damages)).collect();
        let unreadable: Vec<_> = unreadable
            .iter()
            .map(|it| json!({"path": it.path, "problem": it.refusal.to_string()}))
            .collect();
        context.term.data(json!({"packs": list, "unreadable": unreadable}))?;
    } else {
        for (pack, damages) in &checked {
            let state = if damages.is_empty() { "sound" } else { "DAMAGED" };
            context.term.data(format_args!(
                "{}: {state}, {}",
                pack.pack.id(),
                bytes(pack.pack.size_bytes())
            ))?;
            for damage in damages {
                let found = damage
                    .found
                    .map_or_else(|| "it is missing".to_owned(), |it| format!("it has {it}"));
                context.term.data(format_args!(
                    "  {}: {found}, and {} is expected",
                    damage.path, damage.expected
                ))?;
            }
        }
        for looked in unreadable {
            context.term.data(looked)?;
        }
    }
    let bad: Vec<&str> = checked
        .iter()
        .filter(|(_, it)| !it.is_empty())
        .map(|(it, _)| it.pack.name.as_str())
        .collect();
    match bad.first() {
        None if unreadable.is_empty() => Ok(()),
        first => {
            let failure = Failure::new(Code::Requirement, "not all packs are sound");
            Err(match first {
                Some(name) => failure.hint(format!(
                    "`gpux provider remove {name}` and `gpux provider install {name}` bring it anew"
                )),
                None => failure.hint("remove the folders named above"),
            })
        }
    }
}

fn report(pack: &Installed, damages: &[Damage]) -> serde_json::Value {
    let damaged: Vec<_> = damages
        .iter()
        .map(|it| json!({"path": it.path, "expected": it.expected, "found": it.found}))
        .collect();
    json!({
        "name": pack.pack.name,
        "version": pack.pack.version,
        "size_bytes": pack.pack.size_bytes(),
        "damaged": damaged,
    })
}
