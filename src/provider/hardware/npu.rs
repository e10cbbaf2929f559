use std::path::Path;

use super::pci::{self, Device};
use super::{Gpu, Hardware, Npu, Vendor};
use crate::fs;

/// Finds the processors for neural networks: those that the kernel offers as accelerators, and Qualcomm's by their
/// device nodes.
pub(super) fn detect(root: &Path, devices: &[Device], hardware: &mut Hardware) {
    let class = root.join("sys/class/accel");
    for name in fs::names(&class).unwrap_or_default() {
        let device = class.join(&name).join("device");
        let driver = pci::driver_of(&device);
        let vendor = match driver.as_deref() {
            Some("intel_vpu") => Vendor::Intel,
            Some("amdxdna") => Vendor::Amd,
            Some("qaic") => Vendor::Qualcomm,
            _ => pci::hex(&device.join("vendor")).map_or(Vendor::Other, Vendor::of_pci),
        };
        hardware.npus.push(Npu {
            vendor,
            name: format!("{} NPU", vendor.label()),
            driver,
        });
    }
    // A device without its driver is on the bus all the same.
    for device in devices.iter().filter(|it| it.is_accelerator() && it.driver.is_none()) {
        hardware.npus.push(Npu {
            vendor: device.vendor,
            name: format!("{} accelerator {:04x}", device.vendor.label(), device.model),
            driver: None,
        });
    }
    let nodes = fs::names(&root.join("dev")).unwrap_or_default();
    if nodes.iter().any(|name| name.starts_with("fastrpc-cdsp")) {
        hardware.npus.push(Npu {
            vendor: Vendor::Qualcomm,
            name: chip(root).map_or_else(|| "Qualcomm Hexagon".to_owned(), |chip| format!("{chip}, Hexagon")),
            driver: Some("fastrpc".to_owned()),
        });
        if nodes.iter().any(|name| name == "kgsl-3d0") || fs::is_file(&root.join("sys/module/msm/uevent")) {
            hardware.gpus.push(Gpu {
                vendor: Vendor::Qualcomm,
                name: "Qualcomm Adreno".to_owned(),
                bus: None,
                memory_bytes: None,
                compute_capability: None,
                architecture: None,
                driver: Some("msm".to_owned()),
            });
        }
    }
}

/// Gives the board's name out of its device tree, whose strings end with NUL.
fn chip(root: &Path) -> Option<String> {
    let text = pci::text(&root.join("proc/device-tree/model"))?;
    let name = text.trim_end_matches('\0').trim().to_owned();
    (!name.is_empty()).then_some(name)
}
