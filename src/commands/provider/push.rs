use std::sync::Arc;

use serde_json::json;

use crate::commands::moving::Moving;
use crate::commands::remote::RemoteArgs;
use crate::commands::{Code, Context, Failure, OrFail};
use crate::env;
use crate::provider::install::{pack_reference, push_to_store};
use crate::transfer;

use super::remove::named;
use super::shelf;

/// Make artifacts of installed packs, and send them to a registry: for clusters and machines without a network
#[derive(Debug, clap::Args)]
#[command(after_help = "\
The artifact is PREFIX/NAME:VERSION-PLATFORM. `GPUX_PACKS=PREFIX gpux provider install NAME` takes it elsewhere. A prefix
without a host stays in the local store, from where `gpux save` writes it to a file.")]
pub struct Args {
    /// The pack: NAME or NAME-VERSION
    #[arg(value_name = "PACK", required = true)]
    packs: Vec<String>,
    /// The start of the reference, such as ghcr.io/USER/packs; without it GPUX_PACKS
    #[arg(long, value_name = "PREFIX")]
    to: Option<String>,
    /// Leave out the packs of libraries that they need
    #[arg(long)]
    alone: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Makes the artifacts and pushes them.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let prefix = args
        .to
        .as_ref()
        .or(context.env.provider.packs.as_ref())
        .ok_or_else(|| Failure::new(Code::Usage, "where to is not said").hint("give --to PREFIX, or set GPUX_PACKS"))?;
    let shelf = shelf(context)?;
    let mut packs = named(&shelf, &args.packs)?;
    if !args.alone {
        let loads: Vec<_> = packs
            .iter()
            .flat_map(|it| &it.pack.providers)
            .flat_map(|it| &it.loads)
            .collect();
        let (all, _) = shelf.list();
        let needed: Vec<_> = all
            .into_iter()
            .filter(|it| loads.iter().any(|load| load.pack.as_ref() == Some(&it.pack.name)))
            .collect();
        packs.extend(needed);
        let mut seen = Vec::new();
        packs.retain(|it| {
            let id = it.pack.id();
            let is_new = !seen.contains(&id);
            seen.push(id);
            is_new
        });
    }
    let store = context.store()?;
    let mut pushed = Vec::new();
    for installed in &packs {
        let pack = &installed.pack;
        let what = || format!("cannot push `{}`", pack.id());
        let reference =
            pack_reference(prefix, pack.name.as_str(), pack.version.as_str(), pack.platform).or_fail(what)?;
        let lease = store.lease(&[]).or_fail(what)?;
        let descriptor = push_to_store(&store, &lease, installed).or_fail(what)?;
        store.tag(&reference, &descriptor, env::now()).or_fail(what)?;
        if !reference.is_local() {
            let remote = args.remote.remote(&reference, context)?;
            let moving = Arc::new(Moving::new(&context.term, "pushing"));
            transfer::push(&store, &reference, &remote, moving).or_fail(what)?;
        }
        if !context.term.json() {
            context.term.data(format_args!("{reference}@{}", descriptor.digest))?;
        }
        pushed.push(json!({"reference": reference.to_string(), "digest": descriptor.digest}));
    }
    if context.term.json() {
        context.term.data(json!({"pushed": pushed}))?;
    }
    Ok(())
}
