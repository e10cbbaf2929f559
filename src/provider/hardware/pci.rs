use std::path::Path;

use super::{Gpu, Hardware, Vendor};
use crate::fs;

/// Is a device on the PCI bus, as Linux tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Device {
    pub bus: String,
    pub vendor: Vendor,
    /// The maker's number of the model.
    pub model: u32,
    /// Base class and subclass: `0x0300` is VGA, `0x0302` a GPU without a screen, `0x1200` an accelerator.
    pub class: u32,
    pub driver: Option<String>,
}

impl Device {
    /// Tells whether it is a display controller.
    pub fn is_gpu(&self) -> bool {
        self.class >> 8 == 0x03
    }

    /// Tells whether it is a processing accelerator.
    pub fn is_accelerator(&self) -> bool {
        self.class >> 8 == 0x12
    }
}

/// Lists the devices below `sys/bus/pci/devices`.
pub(super) fn scan(root: &Path) -> Vec<Device> {
    let folder = root.join("sys/bus/pci/devices");
    let names = fs::names(&folder).unwrap_or_default();
    let read = |bus: String| {
        let device = folder.join(&bus);
        Some(Device {
            vendor: Vendor::of_pci(hex(&device.join("vendor"))?),
            model: hex(&device.join("device"))?,
            // The lowest byte is the programming interface.
            class: hex(&device.join("class"))? >> 8,
            driver: driver_of(&device),
            bus,
        })
    };
    names.into_iter().filter_map(read).collect()
}

/// Adds the GPUs whose makers have no better source.
pub(super) fn others(devices: &[Device], hardware: &mut Hardware) {
    for device in devices.iter().filter(|device| device.is_gpu()) {
        if hardware.gpus.iter().any(|gpu| gpu.bus.as_deref() == Some(&device.bus)) {
            continue;
        }
        // Screens of virtual machines and servers compute nothing.
        if matches!(device.vendor, Vendor::Other) {
            continue;
        }
        hardware.gpus.push(Gpu {
            vendor: device.vendor,
            name: format!("{} GPU {:04x}", device.vendor.label(), device.model),
            bus: Some(device.bus.clone()),
            memory_bytes: None,
            compute_capability: None,
            architecture: None,
            driver: device.driver.clone(),
        });
    }
}

/// Gives the name of the driver that a device's folder links to, or names in `uevent`.
pub(super) fn driver_of(device: &Path) -> Option<String> {
    let linked = fs::canonical(&device.join("driver")).ok();
    let name = linked.and_then(|path| Some(path.file_name()?.to_str()?.to_owned()));
    name.or_else(|| {
        let text = text(&device.join("uevent"))?;
        text.lines()
            .find_map(|line| Some(line.strip_prefix("DRIVER=")?.trim().to_owned()))
    })
}

/// Reads a small file as text.
pub(super) fn text(path: &Path) -> Option<String> {
    let bytes = fs::read_at_most(path, 1 << 20).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a number as `0x10de`.
pub(super) fn hex(path: &Path) -> Option<u32> {
    u32::from_str_radix(text(path)?.trim().trim_start_matches("0x"), 16).ok()
}
