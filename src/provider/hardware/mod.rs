//! The hardware of this machine, as far as files tell, and what drivers' own libraries add.
//!
//! Everything that is read comes from below a root, so that every kind of machine can be described in a test. What
//! only a driver's library can tell is asked in `foreign`, by a child process, because such a library may crash.

mod amd;
mod elsewhere;
mod foreign;
mod npu;
mod nvidia;
mod pci;
mod processor;

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Os, Platform};
use crate::oci::Digest;

pub use foreign::{Asked, GpuUse, Library, ask, watch_gpus};
pub use nvidia::installed_driver as nvidia_driver;
pub use processor::Processor;

/// Is what a machine has that models may run on.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Hardware {
    /// What libraries must be made for.
    pub platform: Platform,
    pub processor: Processor,
    /// The version of the NVIDIA driver: `580.65.06`.
    pub nvidia_driver: Option<String>,
    /// The newest CUDA that the NVIDIA driver speaks: `13.0`.
    pub cuda_version: Option<String>,
    /// The version of ROCm: `7.0.2`.
    pub rocm_version: Option<String>,
    pub gpus: Vec<Gpu>,
    pub npus: Vec<Npu>,
    /// The devices that Vulkan's loader offers.
    pub vulkan: Vec<VulkanDevice>,
    /// What was asked in vain, and why.
    pub unanswered: Vec<String>,
}

/// Is a graphics processor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gpu {
    pub vendor: Vendor,
    pub name: String,
    /// The place on its bus: `0000:01:00.0`.
    #[serde(default)]
    pub bus: Option<String>,
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// What NVIDIA calls the generation: `9.0`.
    #[serde(default)]
    pub compute_capability: Option<String>,
    /// What AMD calls the generation: `gfx942`.
    #[serde(default)]
    pub architecture: Option<String>,
    /// The kernel's driver: `amdgpu`, `i915`, `xe`, `nvidia`.
    #[serde(default)]
    pub driver: Option<String>,
}

/// Is a processor for neural networks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Npu {
    pub vendor: Vendor,
    pub name: String,
    #[serde(default)]
    pub driver: Option<String>,
}

/// Is a device that Vulkan's loader offers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct VulkanDevice {
    pub name: String,
    /// Whether it is the processor itself, in the clothes of a GPU.
    pub is_software: bool,
    /// The version of Vulkan: `1.3.280`.
    pub version: String,
}

/// Names who made a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Nvidia,
    Amd,
    Intel,
    Apple,
    Qualcomm,
    Other,
}

impl Vendor {
    /// Source: the PCI ID repository.
    fn of_pci(id: u32) -> Vendor {
        match id {
            0x10de => Vendor::Nvidia,
            0x1002 | 0x1022 => Vendor::Amd,
            0x8086 => Vendor::Intel,
            0x106b => Vendor::Apple,
            0x17cb | 0x5143 => Vendor::Qualcomm,
            _ => Vendor::Other,
        }
    }

    /// Gives the name as its maker writes it.
    pub fn label(self) -> &'static str {
        match self {
            Vendor::Nvidia => "NVIDIA",
            Vendor::Amd => "AMD",
            Vendor::Intel => "Intel",
            Vendor::Apple => "Apple",
            Vendor::Qualcomm => "Qualcomm",
            Vendor::Other => "other",
        }
    }
}

impl Hardware {
    /// Looks at the files below `root`: milliseconds, and no library is loaded.
    pub fn detect(root: &Path, platform: Platform) -> Hardware {
        let mut hardware = Hardware {
            platform,
            processor: processor::detect(root),
            ..Hardware::default()
        };
        match platform.os {
            Os::MacOs => elsewhere::detect_mac(&mut hardware),
            Os::Windows => elsewhere::detect_windows(&mut hardware),
            Os::Linux | Os::Other => {
                let devices = pci::scan(root);
                nvidia::detect(root, &devices, &mut hardware);
                amd::detect(root, &devices, &mut hardware);
                pci::others(&devices, &mut hardware);
                npu::detect(root, &devices, &mut hardware);
            }
        }
        hardware
    }

    /// Adds what a driver's library answered to what files told.
    pub fn add(&mut self, asked: Asked) {
        match asked {
            Asked::Nvidia {
                driver,
                cuda_version,
                gpus,
            } => {
                self.nvidia_driver = driver.or(self.nvidia_driver.take());
                self.cuda_version = cuda_version.or(self.cuda_version.take());
                // The driver knows better than the bus: a container may show some of the cards.
                self.gpus.retain(|gpu| gpu.vendor != Vendor::Nvidia);
                self.gpus.splice(0..0, gpus);
            }
            Asked::LevelZero { gpus, npus } => {
                if !gpus.is_empty() {
                    self.gpus.retain(|gpu| gpu.vendor != Vendor::Intel);
                    self.gpus.extend(gpus);
                }
                if !npus.is_empty() {
                    self.npus.retain(|npu| npu.vendor != Vendor::Intel);
                    self.npus.extend(npus);
                }
            }
            Asked::Vulkan { devices } => self.vulkan = devices,
        }
    }

    /// Gives the devices of a maker.
    pub fn gpus_of(&self, vendor: Vendor) -> impl Iterator<Item = &Gpu> {
        self.gpus.iter().filter(move |gpu| gpu.vendor == vendor)
    }

    /// Gives a text that is the same as long as processor, cards and drivers are; part of the keys of what was found out
    /// about providers.
    pub fn fingerprint(&self) -> String {
        let processor = &self.processor;
        let mut text = format!("{} {} {:?}\n", self.platform, processor.name, processor.features);
        text += &format!("{:?} {:?}\n", self.nvidia_driver, self.rocm_version);
        for gpu in &self.gpus {
            text += &format!("{:?} {} {:?} {:?}\n", gpu.vendor, gpu.name, gpu.bus, gpu.driver);
        }
        for npu in &self.npus {
            text += &format!("{:?} {} {:?}\n", npu.vendor, npu.name, npu.driver);
        }
        Digest::of(text.as_bytes()).hex()
    }
}

#[cfg(test)]
mod tests;
