use std::collections::BTreeMap;
use std::path::Path;

use super::pci::{self, Device};
use super::{Gpu, Hardware, Vendor};
use crate::fs;

/// Finds the GPUs that AMD's kernel driver offers for computing, and the version of ROCm.
///
/// Source: the kernel's KFD topology; a node without SIMD units is a processor.
pub(super) fn detect(root: &Path, devices: &[Device], hardware: &mut Hardware) {
    let nodes = root.join("sys/class/kfd/kfd/topology/nodes");
    for node in fs::names(&nodes).unwrap_or_default() {
        let folder = nodes.join(&node);
        let properties = properties(&pci::text(&folder.join("properties")).unwrap_or_default());
        let of = |key: &str| properties.get(key).copied().unwrap_or(0);
        if of("simd_count") == 0 {
            continue;
        }
        let bus = bus(of("domain"), of("location_id"));
        let device = devices.iter().find(|device| device.bus == bus);
        let architecture = architecture(of("gfx_target_version"));
        let product = pci::text(&root.join("sys/bus/pci/devices").join(&bus).join("product_name"));
        let product = product
            .map(|text| text.trim().to_owned())
            .filter(|text| !text.is_empty());
        hardware.gpus.push(Gpu {
            vendor: Vendor::Amd,
            name: product.unwrap_or_else(|| format!("AMD GPU {}", architecture.as_deref().unwrap_or("unknown"))),
            memory_bytes: memory(&folder.join("mem_banks")),
            compute_capability: None,
            architecture,
            driver: device
                .and_then(|device| device.driver.clone())
                .or(Some("amdgpu".to_owned())),
            bus: Some(bus),
        });
    }
    let mut versions: Vec<String> = fs::names(&root.join("opt")).unwrap_or_default();
    versions.retain(|name| name.starts_with("rocm"));
    hardware.rocm_version = versions.iter().find_map(|name| {
        let text = pci::text(&root.join("opt").join(name).join(".info/version"))?;
        text.trim().split('-').next().map(str::to_owned)
    });
}

/// Reads lines of a name and a number.
fn properties(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        Some((name.to_owned(), value.trim().parse().ok()?))
    };
    text.lines().filter_map(pair).collect()
}

/// Writes `90402` as `gfx942`: the last two parts are one hexadecimal digit each.
fn architecture(version: u64) -> Option<String> {
    let (major, minor, step) = (version / 10_000, version / 100 % 100, version % 100);
    (version > 0).then(|| format!("gfx{major}{minor:x}{step:x}"))
}

/// Writes the place on the bus as the PCI folder is named: eight bits of bus, five of device, three of function.
fn bus(domain: u64, location: u64) -> String {
    format!(
        "{domain:04x}:{:02x}:{:02x}.{}",
        location >> 8 & 0xff,
        location >> 3 & 0x1f,
        location & 7
    )
}

/// Adds up the banks of the card's own memory: heap types 1 and 2, visible to the processor or not.
fn memory(banks: &Path) -> Option<u64> {
    let names = fs::names(banks).ok()?;
    let size = |name: &String| {
        let bank = properties(&pci::text(&banks.join(name).join("properties"))?);
        matches!(bank.get("heap_type"), Some(1 | 2)).then(|| bank.get("size_in_bytes").copied().unwrap_or(0))
    };
    let sum: u64 = names.iter().filter_map(size).sum();
    (sum > 0).then_some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_and_places_are_written_as_amd_and_linux_do() {
        assert_eq!(architecture(90402).as_deref(), Some("gfx942"));
        assert_eq!(architecture(90010).as_deref(), Some("gfx90a"));
        assert_eq!(architecture(110000).as_deref(), Some("gfx1100"));
        assert_eq!(architecture(0), None);
        assert_eq!(bus(0, 0x0300), "0000:03:00.0");
        assert_eq!(bus(1, 0xc108), "0001:c1:01.0");
    }
}
