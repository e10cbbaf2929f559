use std::path::PathBuf;

use serde_json::json;

use crate::fs;
use crate::provider::{
    self, Assessment, Evidence, Found, Hardware, ProviderKind, Sources, State, Verdicts, assess, counted,
};
use crate::term::{Align, Table, bytes};

use super::{Context, Failure, OrFail, machine, probe};

/// Show what this machine can run models on, what it lacks, and how to get it
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A provider whose libraries are here is tried: a child process loads it and runs a small model. What came of it is
remembered until libraries, driver or hardware change.")]
pub struct Args {
    /// Try every provider again
    #[arg(long)]
    again: bool,
    /// Try nothing
    #[arg(long, conflicts_with = "again")]
    no_probe: bool,
    /// Speak of the machine that a `gpux doctor --json` of it describes, and not of this one
    #[arg(long, value_name = "FILE.json", conflicts_with_all = ["again", "no_probe"])]
    of: Option<PathBuf>,
}

/// Is what is found out about one provider.
struct Finding {
    assessment: Assessment,
    found: Found,
}

/// Looks, tries, and prints.
pub fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let (hardware, findings) = match &args.of {
        Some(file) => {
            let hardware = described(file, context)?;
            let findings = ProviderKind::ALL.map(|kind| elsewhere(kind, &hardware));
            (hardware, findings)
        }
        None => {
            let hardware = machine::ask(context);
            let sources = machine::sources(context, &hardware);
            let findings = ProviderKind::ALL.map(|kind| examine(kind, &hardware, &sources, &args, context));
            (hardware, findings)
        }
    };
    if context.term.json() {
        let providers: Vec<_> = findings.iter().map(|it| it.assessment.clone()).collect();
        context.term.data(json!({
            "gpux": env!("CARGO_PKG_VERSION"),
            "hardware": hardware,
            "providers": providers,
            "libraries": libraries(&findings),
        }))?;
        return Ok(());
    }
    context.term.data(describe(&hardware))?;
    let columns = [
        ("PROVIDER", Align::Left),
        ("STATE", Align::Left),
        ("PACK", Align::Left),
        ("", Align::Left),
    ];
    let mut table = Table::new(&columns);
    for Finding { assessment, .. } in &findings {
        let pack = assessment.pack.clone().unwrap_or_default();
        table.row([
            assessment.provider.to_string(),
            state(assessment.state).to_owned(),
            pack,
            assessment.reason.clone(),
        ]);
    }
    context.term.data(format_args!("\n{table}"))?;
    let lacking = libraries(&findings);
    if !lacking.is_empty() {
        let mut table = Table::new(&[("LIBRARY", Align::Left), ("FOR", Align::Left), ("", Align::Left)]);
        for library in &lacking {
            let text = |key: &str| library[key].as_str().unwrap_or_default().to_owned();
            let path = library["path"].as_str().unwrap_or("missing").to_owned();
            table.row([text("library"), text("provider"), path]);
        }
        context.term.data(format_args!("\n{table}"))?;
    }
    // `gpux doctor` is what is running.
    let mends = findings
        .iter()
        .filter_map(|it| it.assessment.command.as_ref().filter(|it| *it != "gpux doctor"));
    let mut told: Vec<&String> = Vec::new();
    for command in mends {
        if !told.contains(&command) {
            told.push(command);
        }
    }
    if !told.is_empty() {
        let lines: Vec<String> = told.iter().map(|command| format!("  {command}")).collect();
        context
            .term
            .data(format_args!("\nwhat would change this:\n{}", lines.join("\n")))?;
    }
    Ok(())
}

/// Reads the hardware out of what another machine's doctor printed, or a bare description of it.
fn described(file: &PathBuf, context: &Context) -> Result<Hardware, Failure> {
    let path = context.env.current_dir.join(file);
    let what = || format!("cannot read `{}`", file.display());
    let bytes = fs::read_at_most(&path, 1 << 20).or_fail(what)?;
    let mut document: serde_json::Value = serde_json::from_slice(&bytes).or_fail(what)?;
    let hardware = match document.get_mut("hardware") {
        Some(hardware) => hardware.take(),
        None => document,
    };
    serde_json::from_value(hardware).or_fail(what)
}

fn elsewhere(kind: ProviderKind, hardware: &Hardware) -> Finding {
    let found = Found::default();
    let evidence = Evidence {
        hardware,
        found: &found,
        record: None,
    };
    Finding {
        assessment: assess(kind, &evidence),
        found,
    }
}

fn examine(kind: ProviderKind, hardware: &Hardware, sources: &Sources, args: &Args, context: &Context) -> Finding {
    let found = sources.find(kind);
    let verdicts = context.env.home.as_ref().map(|home| Verdicts::new(home, hardware));
    let record = found.plans.first().and_then(|plan| {
        let known = verdicts
            .as_ref()
            .and_then(|verdicts| verdicts.read(plan))
            .filter(|_| !args.again);
        known.or_else(|| (!args.no_probe).then(|| probe::try_and_remember(plan, verdicts.as_ref(), context)))
    });
    let evidence = Evidence {
        hardware,
        found: &found,
        record: record.as_ref(),
    };
    Finding {
        assessment: assess(kind, &evidence),
        found,
    }
}

/// Lists the libraries that providers load before ONNX Runtime, with where they are; `path` is null where nowhere.
fn libraries(findings: &[Finding]) -> Vec<serde_json::Value> {
    let mut list = Vec::new();
    for Finding { assessment, found } in findings {
        let Some(plan) = found.plans.first() else { continue };
        if !matches!(assessment.state, State::Usable | State::Untried | State::Refused) {
            continue;
        }
        let own = plan.dependencies.iter();
        for path in own {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            list.push(json!({"provider": assessment.provider, "library": name, "path": path}));
        }
        for name in &plan.missing {
            list.push(json!({"provider": assessment.provider, "library": name, "path": null}));
        }
    }
    list
}

fn state(state: State) -> &'static str {
    match state {
        State::Usable => "usable",
        State::Untried => "untried",
        State::Refused => "refused",
        State::Missing => "missing",
        State::Impossible => "-",
    }
}

/// Writes the hardware in a few lines.
fn describe(hardware: &Hardware) -> Table {
    let mut table = Table::new(&[("", Align::Left), ("", Align::Left)]);
    let mut line = |name: &str, value: String| table.row([name.to_owned(), value]);
    let processor = &hardware.processor;
    line("platform", hardware.platform.to_string());
    line("processor", processor.name.clone());
    if !processor.features.is_empty() {
        line("", processor.features.join(" "));
    }
    let mut bounds = vec![format!(
        "{} of {} usable",
        processor.usable_threads(),
        processor.threads.max(1)
    )];
    bounds.extend(processor.affinity.map(|count| format!("affinity {count}")));
    bounds.extend(processor.quota.map(|quota| format!("quota {quota}")));
    line("threads", bounds.join(", "));
    if let Some(memory) = processor.memory_bytes {
        let limit = processor
            .memory_limit_bytes
            .map(|limit| format!(", limit {}", bytes(limit)));
        line("memory", format!("{}{}", bytes(memory), limit.unwrap_or_default()));
    }
    if let Some(driver) = &hardware.nvidia_driver {
        let cuda = hardware
            .cuda_version
            .as_ref()
            .map(|version| format!(", CUDA {version}"));
        line("NVIDIA driver", format!("{driver}{}", cuda.unwrap_or_default()));
    }
    if let Some(version) = &hardware.rocm_version {
        line("ROCm", version.clone());
    }
    let names: Vec<String> = hardware
        .gpus
        .iter()
        .map(|gpu| {
            let parts = [
                Some(gpu.name.clone()),
                gpu.memory_bytes.map(bytes),
                gpu.compute_capability.as_ref().map(|it| format!("compute {it}")),
                gpu.architecture.clone(),
                (gpu.driver.is_none() && hardware.platform.os == provider::Os::Linux && gpu.bus.is_some())
                    .then(|| "no kernel driver".to_owned()),
            ];
            parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
        })
        .collect();
    line("GPU", counted(&names).unwrap_or_else(|| "none".to_owned()));
    let npus: Vec<String> = hardware.npus.iter().map(|npu| npu.name.clone()).collect();
    if let Some(npus) = counted(&npus) {
        line("NPU", npus);
    }
    for device in &hardware.vulkan {
        let kind = if device.is_software { ", on the processor" } else { "" };
        line("Vulkan", format!("{} ({}{kind})", device.name, device.version));
    }
    table
}
