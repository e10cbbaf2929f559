use std::path::Path;

use super::pci::{self, Device};
use super::{Gpu, Hardware, Vendor};
use crate::fs;

/// Where `libcuda.so.VERSION` lies on the systems of the day; WSL has a folder of its own.
const LIBRARY_FOLDERS: [&str; 5] = [
    "usr/lib/x86_64-linux-gnu",
    "usr/lib/aarch64-linux-gnu",
    "usr/lib64",
    "usr/lib",
    "usr/lib/wsl/lib",
];

/// Finds the version of the driver: what the driver tells, else the name of its library.
pub fn installed_driver(root: &Path) -> Option<String> {
    let version = pci::text(&root.join("proc/driver/nvidia/version"));
    let told = version.and_then(|text| driver_version(&text));
    told.or_else(|| {
        let mut folders = LIBRARY_FOLDERS.iter();
        folders.find_map(|folder| version_of_library(&root.join(folder)))
    })
}

/// Finds driver and cards in what the driver shows of itself, on the bus, and by the name of its library.
pub(super) fn detect(root: &Path, devices: &[Device], hardware: &mut Hardware) {
    let version = pci::text(&root.join("proc/driver/nvidia/version"));
    hardware.nvidia_driver = version.and_then(|text| driver_version(&text)).or_else(|| {
        LIBRARY_FOLDERS
            .iter()
            .find_map(|folder| version_of_library(&root.join(folder)))
    });
    let cards = root.join("proc/driver/nvidia/gpus");
    for bus in fs::names(&cards).unwrap_or_default() {
        let text = pci::text(&cards.join(&bus).join("information")).unwrap_or_default();
        let name = text
            .lines()
            .find_map(|line| Some(line.strip_prefix("Model:")?.trim().to_owned()));
        hardware
            .gpus
            .push(card(name.unwrap_or_else(|| "NVIDIA GPU".to_owned()), bus));
    }
    for device in devices.iter().filter(|it| it.vendor == Vendor::Nvidia && it.is_gpu()) {
        if !hardware.gpus.iter().any(|gpu| gpu.bus.as_deref() == Some(&device.bus)) {
            let mut gpu = card(format!("NVIDIA GPU {:04x}", device.model), device.bus.clone());
            gpu.driver.clone_from(&device.driver);
            hardware.gpus.push(gpu);
        }
    }
    // Containers often have neither of these, and only the device nodes of the cards they were given.
    if hardware.gpus_of(Vendor::Nvidia).next().is_none() {
        let nodes = fs::names(&root.join("dev")).unwrap_or_default();
        let is_card = |name: &&String| {
            name.strip_prefix("nvidia")
                .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()))
        };
        for node in nodes.iter().filter(is_card) {
            let mut gpu = card(format!("NVIDIA GPU /dev/{node}"), String::new());
            gpu.bus = None;
            hardware.gpus.push(gpu);
        }
    }
}

fn card(name: String, bus: String) -> Gpu {
    Gpu {
        vendor: Vendor::Nvidia,
        name,
        bus: Some(bus),
        memory_bytes: None,
        compute_capability: None,
        architecture: None,
        driver: Some("nvidia".to_owned()),
    }
}

/// Reads the version in `NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun …`.
fn driver_version(text: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with("NVRM version:"))?;
    let is_version = |word: &&str| {
        word.contains('.')
            && word
                .split('.')
                .all(|part| !part.is_empty() && part.bytes().all(|it| it.is_ascii_digit()))
    };
    line.split_whitespace().find(is_version).map(str::to_owned)
}

/// Reads the version in the name of the driver's library: `libcuda.so.580.65.06`.
fn version_of_library(folder: &Path) -> Option<String> {
    let names = fs::names(folder).ok()?;
    let version = |name: &String| {
        let version = name.strip_prefix("libcuda.so.")?;
        version.contains('.').then(|| version.to_owned())
    };
    names.iter().find_map(version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_version_is_read_in_both_forms_that_kernels_give() {
        let closed = "NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.183.01  Sun May 12 19:39:15 UTC 2024\nGCC";
        let open = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build  (x@y)\n";
        assert_eq!(driver_version(closed).as_deref(), Some("535.183.01"));
        assert_eq!(driver_version(open).as_deref(), Some("580.65.06"));
        assert_eq!(driver_version("NVRM version: none"), None);
        assert_eq!(driver_version(""), None);
    }
}
