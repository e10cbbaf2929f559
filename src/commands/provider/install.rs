use std::io::{self, BufRead, IsTerminal};

use serde_json::json;

use crate::commands::remote::RemoteArgs;
use crate::commands::{Code, Context, Failure, OrFail, machine, probe};
use crate::oci::Reference;
use crate::provider::install::{InstallError, Item, download_bytes, missing};
use crate::provider::{
    Hardware, Installed, Outcome, Platform, ProviderKind, Role, Row, Sources, Verdicts, is_older, row, row_for, suits,
};
use crate::term::bytes;

use super::list::entry;
use super::shelf;
use super::sources::{Origins, Ways, from_path, from_reference};

/// From this size on, a download is not begun unasked.
const ASK_BYTES: u64 = 100_000_000;

/// Install what a provider needs, from the cheapest source that has it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Sources, in this order: libraries that this machine has, GPUX_PACKS (a prefix of artifacts, or a folder), pip, uv. Wheels
are held to the digests in gpux's own lock, only their libraries are kept, and Python is not needed afterwards. Examples:
  gpux provider install cuda
  gpux provider install cpu --from onnxruntime-1.32.0-cp312-cp312-manylinux_2_28_x86_64.whl
  gpux provider install --from /media/packs")]
pub struct Args {
    /// The provider or the pack: cuda, openvino, cpu, …; `gpux provider list --all` has them
    #[arg(value_name = "NAME", required_unless_present = "from")]
    name: Option<String>,
    /// Take this and nothing else: a wheel, a folder, or an artifact HOST/NAME:TAG; may be repeated
    #[arg(long, value_name = "DIR|WHEEL|REF")]
    from: Vec<String>,
    /// Use only these sources
    #[arg(long, value_name = "SOURCE", value_delimiter = ',', conflicts_with = "from")]
    source: Vec<Origins>,
    /// Do not ask before a large download
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    remote: RemoteArgs,
}

/// Installs, and proves that it works.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let hardware = machine::look(context);
    let wanted = args
        .name
        .as_deref()
        .map(|name| Wanted::read(name, &hardware))
        .transpose()?;
    let installed = match &wanted {
        Some(wanted) if args.from.is_empty() => {
            let origins = if args.source.is_empty() {
                Origins::ALL.to_vec()
            } else {
                args.source.clone()
            };
            let ways = Ways {
                context,
                hardware: &hardware,
                remote: &args.remote,
                origins: &origins,
            };
            install(wanted, &ways, args.yes)?
        }
        _ => by_hand(&args, wanted.as_ref(), context)?,
    };
    if context.term.json() {
        let list: Vec<_> = installed.iter().map(entry).collect();
        context.term.data(json!({"installed": list}))?;
    } else {
        for it in &installed {
            context.term.data(it.pack.id())?;
        }
    }
    let mut kinds: Vec<ProviderKind> = installed
        .iter()
        .flat_map(|it| &it.pack.providers)
        .map(|it| it.name)
        .collect();
    if let Some(wanted) = &wanted {
        kinds.retain(|kind| wanted.kinds.contains(kind));
    }
    prove(&kinds, &hardware, context)
}

/// Is what the user asks for.
struct Wanted {
    row: &'static Row,
    kinds: Vec<ProviderKind>,
}

impl Wanted {
    /// Reads the name of a provider or of a pack.
    ///
    /// Errors: there is none of that name, or none for this machine.
    fn read(name: &str, hardware: &Hardware) -> Result<Wanted, Failure> {
        let platform = Platform::current();
        if let Ok(kind) = name.parse::<ProviderKind>() {
            if kind == ProviderKind::Embedded {
                return Err(Failure::new(
                    Code::Usage,
                    "`embedded` is part of gpux: there is nothing to install",
                ));
            }
            let row = row_for(kind, platform, hardware).ok_or_else(|| {
                let why = suits(kind, hardware)
                    .err()
                    .unwrap_or_else(|| match &hardware.nvidia_driver {
                        Some(driver) => format!("the NVIDIA driver {driver} is too old"),
                        None => format!("nobody builds it for {platform}"),
                    });
                Failure::new(Code::Failed, format!("there is no pack for `{kind}` here: {why}"))
            })?;
            return Ok(Wanted { row, kinds: vec![kind] });
        }
        let row = row(name).ok_or_else(|| {
            Failure::new(
                Code::NotFound,
                format!("there is no provider or pack `{}`", name.escape_debug()),
            )
            .hint("`gpux provider list --all` has those that there are")
        })?;
        // TensorRT's libraries come from the system alone; who wants it says so.
        let kinds = row
            .provisions
            .iter()
            .map(|it| it.kind)
            .filter(|kind| *kind != ProviderKind::TensorRt);
        Ok(Wanted {
            row,
            kinds: kinds.collect(),
        })
    }
}

fn install(wanted: &Wanted, ways: &Ways<'_>, yes: bool) -> Result<Vec<Installed>, Failure> {
    let context = ways.context;
    let what = || format!("cannot install `{}`", wanted.row.name);
    let shelf = shelf(context)?;
    let lock = shelf.lock().or_fail(what)?;
    lock.sweep().or_fail(what)?;
    let sources = machine::sources(context, ways.hardware);
    let mut items = items(wanted, &sources, &shelf.list().0).or_fail(what)?;
    if items.is_empty() {
        context.term.tell(format_args!(
            "`{}` is installed, with all that it needs",
            wanted.row.name
        ));
        return Ok(shelf.named(wanted.row.name).into_iter().take(1).collect());
    }
    let mut done = Vec::new();
    let mut reasons = Vec::new();
    if ways.origins.contains(&Origins::System) {
        let mut left = Vec::new();
        for item in items {
            let kind = item
                .row
                .provisions
                .iter()
                .map(|it| it.kind)
                .find(|kind| wanted.kinds.contains(kind));
            let kind = kind.filter(|_| item.row.role == Some(Role::Core));
            match kind.map(|kind| ways.take_here(&item, kind, &lock)) {
                Some(Ok(installed)) => done.push(installed),
                Some(Err(why)) => {
                    reasons.push((Origins::System, why));
                    left.push(item);
                }
                None => left.push(item),
            }
        }
        items = left;
    }
    if items.is_empty() {
        return Ok(done);
    }
    consent(&items, yes, context)?;
    for item in &items {
        let of_item = if item.row.role == Some(Role::Core) {
            reasons.clone()
        } else {
            Vec::new()
        };
        let taken = ways.fetch(item, &lock, of_item);
        done.push(
            taken
                .or_fail(|| format!("cannot install `{}`", item.row.name))
                .map_err(hinted)?,
        );
    }
    Ok(done)
}

fn hinted(failure: Failure) -> Failure {
    failure
        .hint("any of them will do: pip or uv on the PATH, or GPUX_PACKS with a folder or the prefix of a registry that has packs")
        .hint("`--from DIR|WHEEL|REF` takes what was brought by hand")
}

/// Lists what must come: a plugin without a core to load it brings one.
fn items(wanted: &Wanted, sources: &Sources, installed: &[Installed]) -> Result<Vec<Item>, InstallError> {
    let survey = sources.survey();
    let mut items = missing(wanted.row, &wanted.kinds, installed, survey.libraries())?;
    let oldest = wanted.row.oldest_core.unwrap_or_default();
    let mut cores = survey.find(ProviderKind::Cpu).plans.into_iter();
    if wanted.row.role == Some(Role::Plugin) && !cores.any(|plan| !is_older(&plan.version, oldest)) {
        let cpu = row("cpu").expect("the catalogue has the processor's pack");
        items.splice(0..0, missing(cpu, &[ProviderKind::Cpu], installed, survey.libraries())?);
    }
    Ok(items)
}

/// Tells what would be downloaded, and asks where it is much.
fn consent(items: &[Item], yes: bool, context: &Context) -> Result<(), Failure> {
    let total = download_bytes(items);
    for item in items {
        let Item { row, wheel } = item;
        context.term.tell(format_args!(
            "{} {}: {}",
            row.name,
            wheel.version,
            bytes(wheel.size_bytes)
        ));
    }
    if items.len() > 1 {
        context.term.tell(format_args!("{} to download", bytes(total)));
    }
    if yes || total <= ASK_BYTES {
        return Ok(());
    }
    let refused = || Failure::new(Code::Failed, format!("{} were not downloaded", bytes(total)));
    if !io::stdin().is_terminal() || context.term.json() {
        return Err(refused().hint("--yes downloads without asking"));
    }
    context.term.words("download? [y/N]");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(refused())
    }
}

fn by_hand(args: &Args, wanted: Option<&Wanted>, context: &Context) -> Result<Vec<Installed>, Failure> {
    let shelf = shelf(context)?;
    let lock = shelf.lock().or_fail(|| "cannot install packs".to_owned())?;
    lock.sweep().or_fail(|| "cannot install packs".to_owned())?;
    let mut installed = Vec::new();
    for from in &args.from {
        let path = context.env.current_dir.join(from);
        let is_path = from.starts_with(['.', '/'])
            || from.ends_with(".whl")
            || crate::fs::stat(&path).is_ok_and(|it| it.is_some());
        if is_path {
            let taken = from_path(&path, wanted.map(|it| it.row), &lock);
            installed.extend(taken.or_fail(|| format!("cannot install from `{from}`"))?);
        } else {
            let reference: Reference = from
                .parse()
                .or_fail(|| format!("`{from}` is no file, folder or artifact"))?;
            installed.push(from_reference(&reference, &args.remote, &lock, context)?);
        }
    }
    let row = wanted.map(|it| it.row.name);
    if let Some(name) = row.filter(|name| !installed.iter().any(|it| it.pack.name.as_str() == *name)) {
        context.term.warn(format_args!("what was installed is not `{name}`"));
    }
    Ok(installed)
}

/// Runs a small model on what is new, and tells what came of it.
fn prove(kinds: &[ProviderKind], hardware: &Hardware, context: &Context) -> Result<(), Failure> {
    let sources = machine::sources(context, hardware);
    let verdicts = context.env.home.as_ref().map(|home| Verdicts::new(home, hardware));
    for kind in ProviderKind::ALL.into_iter().filter(|kind| kinds.contains(kind)) {
        let found = sources.find(kind);
        let Some(plan) = found.plans.first() else {
            for looked in found.looked.iter().filter(|it| {
                !matches!(
                    it.refusal,
                    crate::provider::Refusal::Missing | crate::provider::Refusal::Lacks(_)
                )
            }) {
                context.term.tell(format_args!("{kind}: {looked}"));
            }
            continue;
        };
        match probe::try_and_remember(plan, verdicts.as_ref(), context).outcome {
            Outcome::Proven { .. } => context
                .term
                .tell(format_args!("{kind}: ran a model and gave the right numbers")),
            Outcome::Refused { reason } => {
                let why = suits(kind, hardware).err().map(|why| format!("{why}; "));
                context.term.warn(format_args!(
                    "{kind} is not usable: {}{reason}",
                    why.unwrap_or_default()
                ));
            }
        }
    }
    Ok(())
}

/// Is what a machine with an accelerator and no pack for it is told, or what is installed for it unasked.
#[derive(Clone, Debug)]
pub struct Suggestion {
    pub kind: ProviderKind,
    /// What it would run on.
    pub device: String,
    pub download_bytes: u64,
}

/// Finds the best provider that the hardware is made for and that is not installed; `None` where there is nothing to
/// gain, or nothing that could be brought.
pub fn suggestion(hardware: &Hardware, context: &Context) -> Option<Suggestion> {
    let sources = machine::sources(context, hardware);
    let installed = shelf(context).ok()?.list().0;
    let worth = [
        ProviderKind::Cuda,
        ProviderKind::MiGraphX,
        ProviderKind::DirectMl,
        ProviderKind::Qnn,
        ProviderKind::WebGpu,
    ];
    for kind in worth {
        let Ok(device) = suits(kind, hardware) else { continue };
        if !sources.find(kind).plans.is_empty() {
            return None;
        }
        let Some(row) = row_for(kind, Platform::current(), hardware) else {
            continue;
        };
        let wanted = Wanted { row, kinds: vec![kind] };
        if let Ok(items) = items(&wanted, &sources, &installed)
            && !items.is_empty()
        {
            return Some(Suggestion {
                kind,
                device,
                download_bytes: download_bytes(&items),
            });
        }
    }
    None
}

/// Installs what was suggested, without a question.
pub fn provision(suggestion: &Suggestion, context: &Context) -> Result<(), Failure> {
    let hardware = machine::look(context);
    let wanted = Wanted::read(suggestion.kind.name(), &hardware)?;
    let ways = Ways {
        context,
        hardware: &hardware,
        remote: &RemoteArgs::default(),
        origins: &Origins::ALL,
    };
    install(&wanted, &ways, true)?;
    prove(&wanted.kinds, &hardware, context)
}
