use serde::Serialize;

use super::find::{Found, Refusal};
use super::hardware::{Hardware, Vendor};
use super::verdict::{Outcome, Record};
use super::{Arch, Os, ProviderKind};

/// Says whether a machine can use a provider, why, and what mends it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Assessment {
    pub provider: ProviderKind,
    pub state: State,
    /// Why, on one line.
    pub reason: String,
    /// The pack, or the folder, that it would be loaded from.
    pub pack: Option<String>,
    /// The one command that mends it.
    pub command: Option<String>,
}

/// Says how far a provider is from running models.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It has run a model here and gave the right numbers, or is part of gpux.
    Usable,
    /// Its libraries are here, and nobody has tried it.
    Untried,
    /// It was tried, and failed.
    Refused,
    /// Its libraries are not all here.
    Missing,
    /// This machine cannot have it.
    Impossible,
}

/// Is what is known about one provider.
#[derive(Debug)]
pub struct Evidence<'a> {
    pub hardware: &'a Hardware,
    /// Where its libraries are.
    pub found: &'a Found,
    /// What came of trying the best plan.
    pub record: Option<&'a Record>,
}

/// Weighs what is known about a provider.
pub fn assess(kind: ProviderKind, evidence: &Evidence<'_>) -> Assessment {
    let of = |state, reason: String, command: Option<String>| Assessment {
        provider: kind,
        state,
        reason,
        pack: evidence.found.plans.first().map(|plan| plan.pack.clone()),
        command,
    };
    if kind == ProviderKind::Embedded {
        return of(State::Usable, "part of gpux".to_owned(), None);
    }
    // What happened weighs more than what should.
    let suited = suits(kind, evidence.hardware);
    if let Some(record) = evidence.record {
        let on = suited.unwrap_or_else(|_| "this machine".to_owned());
        return match &record.outcome {
            Outcome::Proven { .. } => of(State::Usable, format!("ran a model on {on}"), None),
            Outcome::Refused { reason } => of(State::Refused, reason.clone(), Some("gpux doctor --again".to_owned())),
        };
    }
    let what = match suited {
        Ok(what) => what,
        Err(why) => return of(State::Impossible, why, None),
    };
    let row = super::row_for(kind, evidence.hardware.platform, evidence.hardware);
    let install = row.map(|row| format!("gpux provider install {}", command_name(kind, row.name)));
    if !evidence.found.plans.is_empty() {
        return of(State::Untried, format!("for {what}"), Some("gpux doctor".to_owned()));
    }
    // What a pack lacks says more than the places that have none.
    let telling = |refusal: &Refusal| !matches!(refusal, Refusal::Missing | Refusal::Lacks(_));
    if let Some(looked) = evidence.found.looked.iter().find(|looked| telling(&looked.refusal)) {
        let mends = match &looked.refusal {
            Refusal::NoCore { .. } => Some("gpux provider install cpu".to_owned()),
            // Only the system has what no pack brings.
            Refusal::NoDependency { library, .. } if !is_in_a_pack(library) => None,
            _ => install,
        };
        return of(State::Missing, looked.to_string(), mends);
    }
    match row {
        Some(row) => {
            let system = row
                .system
                .map(|system| format!("; it needs {system}"))
                .unwrap_or_default();
            of(State::Missing, format!("for {what}: not installed{system}"), install)
        }
        None => of(
            State::Impossible,
            format!("there is no pack for {}", evidence.hardware.platform),
            None,
        ),
    }
}

/// Tells whether some pack of the catalogue brings a library.
fn is_in_a_pack(library: &str) -> bool {
    let loads = super::CATALOGUE
        .iter()
        .flat_map(|row| row.provisions)
        .flat_map(|it| it.loads);
    loads
        .into_iter()
        .any(|load| load.pack.is_some() && [load.linux, load.windows].contains(&library))
}

/// Gives the name that the user knows: `tensorrt` comes with the pack `cuda`.
fn command_name(kind: ProviderKind, row: &'static str) -> &'static str {
    match kind {
        ProviderKind::TensorRt => "tensorrt",
        ProviderKind::CoreMl => "coreml",
        _ => row,
    }
}

/// Tells whether the hardware is what a provider is made for.
///
/// Shape: what it would run on, in words.
/// Errors: why it would not.
pub fn suits(kind: ProviderKind, hardware: &Hardware) -> Result<String, String> {
    let platform = hardware.platform;
    let gpus = |vendor| {
        let names: Vec<String> = hardware.gpus_of(vendor).map(|gpu| gpu.name.clone()).collect();
        counted(&names)
    };
    match kind {
        ProviderKind::Embedded | ProviderKind::Cpu => Ok(hardware.processor.name.clone()),
        ProviderKind::Cuda | ProviderKind::TensorRt | ProviderKind::TensorRtRtx => {
            let cards = gpus(Vendor::Nvidia).ok_or("no NVIDIA GPU was found")?;
            if hardware.nvidia_driver.is_none() && hardware.cuda_version.is_none() {
                return Err(format!("{cards}: there is no NVIDIA driver (`libcuda.so.1`)"));
            }
            Ok(cards)
        }
        ProviderKind::MiGraphX => match platform.os {
            Os::Linux => gpus(Vendor::Amd).ok_or_else(|| "no AMD GPU was found".to_owned()),
            _ => Err("MIGraphX is for Linux".to_owned()),
        },
        ProviderKind::CoreMl => match platform.os {
            Os::MacOs => Ok(gpus(Vendor::Apple).unwrap_or_else(|| hardware.processor.name.clone())),
            _ => Err("CoreML is for macOS".to_owned()),
        },
        ProviderKind::DirectMl => match (platform.os, platform.arch, hardware.gpus.first()) {
            (Os::Windows, Arch::X86_64, Some(gpu)) => Ok(gpu.name.clone()),
            (Os::Windows, Arch::X86_64, None) => Err("no GPU was found".to_owned()),
            _ => Err("DirectML is for Windows on x86-64".to_owned()),
        },
        ProviderKind::OpenVino => match platform.arch {
            Arch::X86_64 if platform.os != Os::MacOs => {
                let devices = gpus(Vendor::Intel).into_iter();
                let npus = hardware.npus.iter().filter(|npu| npu.vendor == Vendor::Intel);
                let mut devices: Vec<String> = devices.chain(npus.map(|npu| npu.name.clone())).collect();
                devices.push(hardware.processor.name.clone());
                Ok(devices.join(", "))
            }
            _ => Err("OpenVINO's build is for Linux and Windows on x86-64".to_owned()),
        },
        ProviderKind::Qnn => {
            let mut npus = hardware.npus.iter().filter(|npu| npu.vendor == Vendor::Qualcomm);
            npus.next()
                .map(|npu| npu.name.clone())
                .ok_or_else(|| "no Qualcomm NPU was found".to_owned())
        }
        ProviderKind::WebGpu => {
            let vulkan = hardware.vulkan.iter().filter(|device| !device.is_software);
            let names = hardware.gpus.iter().map(|gpu| gpu.name.clone());
            let names: Vec<String> = names.chain(vulkan.map(|device| device.name.clone())).collect();
            counted(&names[..names.len().min(hardware.gpus.len().max(1))]).ok_or_else(|| "no GPU was found".to_owned())
        }
    }
}

/// Writes names, equal ones with their number: `2 × NVIDIA H100`.
pub fn counted(names: &[String]) -> Option<String> {
    let mut counts: Vec<(&String, usize)> = Vec::new();
    for name in names {
        match counts.iter_mut().find(|(known, _)| *known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name, 1)),
        }
    }
    let write = |(name, count): &(&String, usize)| match count {
        1 => (*name).clone(),
        count => format!("{count} × {name}"),
    };
    let texts: Vec<String> = counts.iter().map(write).collect();
    (!texts.is_empty()).then(|| texts.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Looked, Origin};

    fn machine(json: &str) -> Hardware {
        serde_json::from_str(json).unwrap()
    }

    const H100: &str = r#"{"platform": "linux-x86_64", "nvidia_driver": "580.65.06",
        "gpus": [{"vendor": "nvidia", "name": "NVIDIA H100"}, {"vendor": "nvidia", "name": "NVIDIA H100"}]}"#;

    fn assessed(kind: ProviderKind, hardware: &Hardware, found: &Found) -> Assessment {
        let evidence = Evidence {
            hardware,
            found,
            record: None,
        };
        assess(kind, &evidence)
    }

    #[test]
    fn what_is_not_installed_is_mended_by_one_command() {
        let found = Found::default();
        let mend = |kind, machine: &Hardware| assessed(kind, machine, &found).command;
        let h100 = machine(H100);
        let cuda = assessed(ProviderKind::Cuda, &h100, &found);
        assert_eq!(
            (cuda.state, cuda.reason.as_str()),
            (State::Missing, "for 2 × NVIDIA H100: not installed")
        );
        assert_eq!(cuda.command.as_deref(), Some("gpux provider install cuda"));
        let old = machine(&H100.replace("580.65.06", "550.54.15"));
        assert_eq!(
            mend(ProviderKind::Cuda, &old).as_deref(),
            Some("gpux provider install cuda12")
        );
        assert_eq!(
            mend(ProviderKind::TensorRt, &h100).as_deref(),
            Some("gpux provider install tensorrt")
        );
        let mac = machine(r#"{"platform": "macos-aarch64", "processor": {"name": "Apple M3"}}"#);
        assert_eq!(
            mend(ProviderKind::CoreMl, &mac).as_deref(),
            Some("gpux provider install coreml")
        );
        let amd = machine(r#"{"platform": "linux-x86_64", "gpus": [{"vendor": "amd", "name": "MI300X"}]}"#);
        let rocm = assessed(ProviderKind::MiGraphX, &amd, &found);
        assert!(rocm.reason.contains("ROCm 7"), "{}", rocm.reason);
        assert_eq!(assessed(ProviderKind::Embedded, &mac, &found).state, State::Usable);
    }

    #[test]
    fn a_machine_without_the_hardware_gets_no_command() {
        let plain = machine(r#"{"platform": "linux-aarch64"}"#);
        let found = Found::default();
        for kind in ProviderKind::ALL {
            let it = assessed(kind, &plain, &found);
            match kind {
                ProviderKind::Cpu => assert_eq!(it.state, State::Missing),
                ProviderKind::Embedded => assert_eq!(it.state, State::Usable),
                _ => assert_eq!((it.state, it.command), (State::Impossible, None), "{kind}"),
            }
        }
    }

    #[test]
    fn a_library_that_no_pack_brings_is_named_and_not_offered() {
        let looked = |library: &str| Looked {
            origin: Origin::Pack,
            path: "/packs/cuda-1.31.1".into(),
            refusal: Refusal::NoDependency {
                library: library.to_owned(),
                looked: vec!["/usr/lib".into()],
            },
        };
        let h100 = machine(H100);
        let with = |library| Found {
            plans: Vec::new(),
            looked: vec![looked(library)],
        };
        let missing = assessed(ProviderKind::TensorRt, &h100, &with("libnvinfer.so.10"));
        assert_eq!((missing.state, missing.command), (State::Missing, None));
        assert!(missing.reason.contains("libnvinfer.so.10") && missing.reason.contains("/usr/lib"));
        let missing = assessed(ProviderKind::Cuda, &h100, &with("libcublas.so.13"));
        assert_eq!(missing.command.as_deref(), Some("gpux provider install cuda"));
    }

    #[test]
    fn verdicts_outweigh_what_is_installed() {
        let h100 = machine(H100);
        let record = |outcome| Record {
            provider: ProviderKind::Cuda,
            pack: "cuda-1.31.1".to_owned(),
            gpux: "0.1.0".to_owned(),
            outcome,
        };
        for (outcome, state) in [
            (
                Outcome::Proven {
                    report: Default::default(),
                },
                State::Usable,
            ),
            (
                Outcome::Refused {
                    reason: "it crashed".to_owned(),
                },
                State::Refused,
            ),
        ] {
            let record = record(outcome);
            let evidence = Evidence {
                hardware: &h100,
                found: &Found::default(),
                record: Some(&record),
            };
            assert_eq!(assess(ProviderKind::Cuda, &evidence).state, state);
        }
    }
}
