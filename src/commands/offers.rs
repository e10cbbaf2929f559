use crate::oci::Digest;
use crate::provider::{Hardware, Outcome, Record, Vendor, Verdicts};
use crate::runtime::{Offer, ProviderKind, ProviderOrder, Requirement, Verdict, processor_name, usable_threads};

use super::{Context, machine, probe};

/// Lists the providers whose libraries this machine has, with what is known about each; the best of each kind.
///
/// Shape: ONNX Runtime on the processor is not among them: which library that is shows when one loads.
pub fn offers(context: &Context) -> Vec<Offer> {
    if !may_have_any(context) {
        return Vec::new();
    }
    let hardware = machine::look(context);
    let verdicts = verdicts(&hardware, context);
    let sources = machine::sources(context, &hardware);
    let survey = sources.survey();
    let kinds = ProviderKind::ALL.into_iter().filter(|kind| kind.is_accelerator());
    let plans = kinds.filter_map(|kind| survey.find(kind).plans.into_iter().next());
    plans
        .map(|plan| {
            let record = verdicts.as_ref().and_then(|verdicts| verdicts.read(&plan));
            Offer {
                verdict: record.map_or(Verdict::Untried, verdict),
                plan,
            }
        })
        .collect()
}

/// Tries what nobody has tried and what may be chosen, each in a child process, best first, until one is proven.
pub fn prove(offers: &mut [Offer], order: &ProviderOrder, require: Option<Requirement>, context: &Context) {
    let kinds = match order {
        ProviderOrder::Listed(kinds) => kinds.clone(),
        // OpenVINO may be slower on a processor than what is chosen without a trial: tuning tells.
        ProviderOrder::Auto if require.is_none() => {
            let kinds = ProviderKind::ALL.into_iter();
            kinds.filter(|kind| *kind != ProviderKind::OpenVino).collect()
        }
        ProviderOrder::Auto => ProviderKind::ALL.to_vec(),
    };
    let mut kinds: Vec<ProviderKind> = kinds;
    kinds.retain(|&kind| require.is_none_or(|require| require.admits(kind)));
    let mut known = None;
    for kind in kinds {
        let Some(offer) = offers.iter_mut().find(|offer| offer.plan.kind == kind) else {
            // What needs no trial ends the search of a list.
            if matches!(order, ProviderOrder::Listed(_)) && !kind.is_accelerator() {
                return;
            }
            continue;
        };
        if offer.verdict == Verdict::Untried {
            let verdicts = known.get_or_insert_with(|| verdicts(&machine::look(context), context));
            let record = probe::try_and_remember(&offer.plan, verdicts.as_ref(), context);
            offer.verdict = verdict(record);
        }
        if offer.verdict == Verdict::Proven {
            return;
        }
    }
}

fn verdict(record: Record) -> Verdict {
    match record.outcome {
        Outcome::Proven { .. } => Verdict::Proven,
        Outcome::Refused { reason } => Verdict::Refused(reason),
    }
}

fn verdicts(hardware: &Hardware, context: &Context) -> Option<Verdicts> {
    let home = context.env.home.as_ref()?;
    Some(Verdicts::new(&context.env.current_dir.join(home), hardware))
}

/// Tells whether anything but the processor may be there: a model on the embedded engine starts in a millisecond, and
/// looking into folders of libraries costs as much.
fn may_have_any(context: &Context) -> bool {
    let env = &context.env;
    let packs = env
        .home
        .as_ref()
        .map(|home| env.current_dir.join(home).join("providers"));
    let has_packs = packs.is_some_and(|packs| crate::fs::names(&packs).is_ok_and(|names| !names.is_empty()));
    has_packs
        || env.ort_dylib_path.is_some()
        || !env.python_environments.is_empty()
        || machine::may_have_accelerator(context)
}

/// Describes the machine, its drivers and the libraries on it: what was tuned on another does not hold.
pub fn machine(context: &Context) -> String {
    let hardware = machine::look(context);
    let sources = machine::sources(context, &hardware);
    let survey = sources.survey();
    let plans = ProviderKind::ALL
        .into_iter()
        .flat_map(|kind| survey.find(kind).plans.into_iter().next());
    let keys: Vec<String> = plans.map(|plan| format!("{} {}", plan.kind, plan.key)).collect();
    [
        format!("gpux {}", env!("CARGO_PKG_VERSION")),
        format!("{} × {}", processor_name(), usable_threads()),
        format!("hardware {}", hardware.fingerprint()),
        format!("libraries {}", Digest::of(keys.join("\n").as_bytes()).hex()),
    ]
    .join("; ")
}

/// Names the device that a provider runs on.
pub fn device(provider: ProviderKind, number: u32, context: &Context) -> String {
    match provider {
        ProviderKind::Cuda | ProviderKind::TensorRt | ProviderKind::TensorRtRtx => {
            let hardware = machine::look(context);
            let card = hardware.gpus_of(Vendor::Nvidia).nth(number as usize);
            card.map_or_else(|| format!("CUDA device {number}"), |card| card.name.clone())
        }
        ProviderKind::Cpu | ProviderKind::Embedded | ProviderKind::OpenVino => processor_name(),
        other => format!("{other} device {number}"),
    }
}
