use serde_json::json;

use crate::commands::{Context, Failure};
use crate::provider::{CATALOGUE, Installed, LOCK, Platform};
use crate::term::{Align, Table, bytes};

use super::shelf;

/// List the packs that are installed, or all that there are for this machine
#[derive(Debug, clap::Args)]
#[command(visible_alias = "ls")]
pub struct Args {
    /// List every pack that gpux knows for this platform, with the size of its download
    #[arg(long, short)]
    all: bool,
}

/// Lists packs.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let (packs, refused) = shelf(context)?.list();
    for looked in &refused {
        context.term.warn(looked);
    }
    if args.all {
        return list_all(&packs, context);
    }
    if context.term.json() {
        let list: Vec<_> = packs.iter().map(entry).collect();
        context.term.data(serde_json::Value::from(list))?;
        return Ok(());
    }
    let columns = [
        ("PACK", Align::Left),
        ("VERSION", Align::Left),
        ("PROVIDERS", Align::Left),
        ("SIZE", Align::Right),
        ("FROM", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for Installed { pack, .. } in &packs {
        let source = pack.source.clone().unwrap_or_default();
        table.row([
            pack.name.to_string(),
            pack.version.to_string(),
            providers(pack),
            bytes(pack.size_bytes()),
            source,
        ]);
    }
    if table.is_empty() {
        context
            .term
            .tell("no packs are installed; `gpux doctor` tells which would help here");
    }
    context.term.data(table)?;
    Ok(())
}

fn providers(pack: &crate::provider::Pack) -> String {
    let names: Vec<&str> = pack.providers.iter().map(|it| it.name.name()).collect();
    names.join(" ")
}

/// Gives the JSON of one pack.
pub fn entry(installed: &Installed) -> serde_json::Value {
    let pack = &installed.pack;
    json!({
        "name": pack.name,
        "version": pack.version,
        "platform": pack.platform,
        "providers": pack.providers.iter().map(|it| it.name).collect::<Vec<_>>(),
        "onnxruntime": pack.onnxruntime,
        "size_bytes": pack.size_bytes(),
        "folder": installed.folder,
        "source": pack.source,
    })
}

fn list_all(packs: &[Installed], context: &Context) -> Result<(), Failure> {
    let known = CATALOGUE
        .iter()
        .filter_map(|row| Some((row, LOCK.wheel(row.name, Platform::current())?)));
    let version = |name: &str| {
        packs
            .iter()
            .find(|it| it.pack.name.as_str() == name)
            .map(|it| it.pack.version.to_string())
    };
    if context.term.json() {
        let list: Vec<_> = known
            .map(|(row, wheel)| {
                json!({
                    "name": row.name,
                    "version": wheel.version,
                    "what": row.what,
                    "download_bytes": wheel.size_bytes,
                    "installed": version(row.name),
                })
            })
            .collect();
        context.term.data(serde_json::Value::from(list))?;
        return Ok(());
    }
    let columns = [
        ("PACK", Align::Left),
        ("VERSION", Align::Left),
        ("DOWNLOAD", Align::Right),
        ("INSTALLED", Align::Left),
        ("FOR", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for (row, wheel) in known {
        let installed = version(row.name).unwrap_or_default();
        table.row([
            row.name.to_owned(),
            wheel.version.clone(),
            bytes(wheel.size_bytes),
            installed,
            row.what.to_owned(),
        ]);
    }
    context.term.data(table)?;
    Ok(())
}
