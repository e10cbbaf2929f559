use crate::fs;
use crate::runtime::{Offer, ProviderKind, Verdict, processor_name, usable_threads};

use super::Context;
use super::opened::libraries;

/// Lists the providers whose libraries this machine has.
pub fn offers(context: &Context) -> Vec<Offer> {
    let plans = libraries(context).plans().into_iter();
    plans
        // The processor's is the first ONNX Runtime that loads, and which that is shows when it is tried.
        .filter(|plan| plan.kind != ProviderKind::Cpu)
        .map(|plan| Offer {
            plan,
            verdict: Verdict::Untried,
        })
        .collect()
}

/// Describes the machine, its drivers and the libraries on it: what was tuned on another does not hold.
pub fn machine(context: &Context) -> String {
    let mut parts = vec![
        format!("gpux {}", env!("CARGO_PKG_VERSION")),
        format!("{} × {}", processor_name(), usable_threads()),
    ];
    parts.extend(nvidia());
    parts.extend(
        libraries(context)
            .plans()
            .iter()
            .map(|plan| format!("{} {}", plan.kind, plan.key)),
    );
    parts.join("; ")
}

/// Names the device that a provider runs on.
pub fn device(provider: ProviderKind, number: u32) -> String {
    match provider {
        ProviderKind::Cuda | ProviderKind::TensorRt | ProviderKind::TensorRtRtx => {
            let name = nvidia_devices().into_iter().nth(number as usize);
            name.unwrap_or_else(|| format!("CUDA device {number}"))
        }
        ProviderKind::Cpu | ProviderKind::Embedded | ProviderKind::OpenVino => processor_name(),
        other => format!("{other} device {number}"),
    }
}

/// Names NVIDIA's driver and devices, as its kernel module tells them.
fn nvidia() -> Vec<String> {
    let folder = std::path::Path::new("/proc/driver/nvidia");
    let version = fs::read_at_most(&folder.join("version"), 1 << 16).unwrap_or_default();
    let version = String::from_utf8_lossy(&version)
        .lines()
        .next()
        .unwrap_or_default()
        .to_owned();
    let version = [version].into_iter().filter(|version| !version.is_empty());
    version.chain(nvidia_devices()).collect()
}

/// Names NVIDIA's devices, in the order of their addresses.
fn nvidia_devices() -> Vec<String> {
    let folder = std::path::Path::new("/proc/driver/nvidia/gpus");
    let devices = fs::list(folder).unwrap_or_default().into_iter();
    let models = devices.filter_map(|device| {
        let text = fs::read_at_most(&device.join("information"), 1 << 16).ok()?;
        let text = String::from_utf8_lossy(&text).into_owned();
        let model = text
            .lines()
            .find_map(|line| line.strip_prefix("Model:"))?
            .trim()
            .to_owned();
        Some(model)
    });
    models.collect()
}
