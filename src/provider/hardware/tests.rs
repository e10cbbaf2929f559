//! Machines of every kind, as the files that such machines have.

use super::*;
use crate::provider::ProviderKind;
use crate::provider::assess::suits;

/// Is a root with files of its own.
pub(crate) struct Root(tempfile::TempDir);

impl Root {
    pub fn new(files: &[(&str, &str)]) -> Root {
        let root = Root(tempfile::tempdir().unwrap());
        for (path, content) in files {
            root.write(path, content);
        }
        root
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.0.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// Puts a device on the PCI bus.
    fn device(&self, bus: &str, (vendor, model, class): (&str, &str, &str), driver: &str) {
        for (name, content) in [("vendor", vendor), ("device", model), ("class", class)] {
            self.write(&format!("sys/bus/pci/devices/{bus}/{name}"), &format!("{content}\n"));
        }
        if !driver.is_empty() {
            let uevent = format!("DRIVER={driver}\nPCI_CLASS=30200\n");
            self.write(&format!("sys/bus/pci/devices/{bus}/uevent"), &uevent);
        }
    }

    fn detect(&self, platform: &str) -> Hardware {
        Hardware::detect(self.0.path(), platform.parse().unwrap())
    }
}

/// Names what the hardware is good for.
fn usable(hardware: &Hardware) -> Vec<&'static str> {
    let kinds = ProviderKind::ALL
        .into_iter()
        .filter(|&kind| suits(kind, hardware).is_ok());
    kinds.map(ProviderKind::name).collect()
}

const INTEL_CPU: (&str, &str) = (
    "proc/cpuinfo",
    "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R)\nflags\t: avx2 amx_tile\n",
);

#[test]
fn a_machine_with_a_processor_alone() {
    let hardware = Root::new(&[INTEL_CPU]).detect("linux-x86_64");
    assert_eq!(hardware.processor.features, ["avx2", "amx_tile"]);
    assert!(hardware.gpus.is_empty() && hardware.npus.is_empty());
    assert_eq!(usable(&hardware), ["openvino", "cpu", "embedded"]);
    let arm = Root::new(&[]).detect("linux-aarch64");
    assert_eq!(usable(&arm), ["cpu", "embedded"]);
}

#[test]
fn an_nvidia_card_with_all_that_its_driver_shows() {
    let version = "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.65.06  Release Build\n";
    let information = "Model: \t\t NVIDIA H100 80GB HBM3\nIRQ:   \t\t 17\nGPU UUID: \t GPU-1\n";
    let root = Root::new(&[
        ("proc/driver/nvidia/version", version),
        ("proc/driver/nvidia/gpus/0000:19:00.0/information", information),
    ]);
    root.device("0000:19:00.0", ("0x10de", "0x2330", "0x030200"), "nvidia");
    let hardware = root.detect("linux-x86_64");
    assert_eq!(hardware.nvidia_driver.as_deref(), Some("580.65.06"));
    assert_eq!(hardware.gpus.len(), 1, "the bus and the driver tell of one card");
    assert_eq!(hardware.gpus[0].name, "NVIDIA H100 80GB HBM3");
    let expected = [
        "tensorrt",
        "tensorrt-rtx",
        "cuda",
        "openvino",
        "webgpu",
        "cpu",
        "embedded",
    ];
    assert_eq!(usable(&hardware), expected);
}

#[test]
fn an_nvidia_card_in_a_container_that_shows_no_more_than_device_nodes() {
    let root = Root::new(&[
        ("dev/nvidia0", ""),
        ("dev/nvidia1", ""),
        ("dev/nvidiactl", ""),
        ("dev/nvidia-uvm", ""),
        ("usr/lib/x86_64-linux-gnu/libcuda.so.1", ""),
        ("usr/lib/x86_64-linux-gnu/libcuda.so.575.57.08", ""),
    ]);
    let hardware = root.detect("linux-x86_64");
    assert_eq!(hardware.gpus.len(), 2);
    assert_eq!(hardware.nvidia_driver.as_deref(), Some("575.57.08"));
    assert!(usable(&hardware).contains(&"cuda"));
}

#[test]
fn an_nvidia_card_without_a_driver_is_told_as_such() {
    let root = Root::new(&[]);
    root.device("0000:01:00.0", ("0x10de", "0x2684", "0x030000"), "");
    let hardware = root.detect("linux-x86_64");
    assert_eq!(hardware.gpus[0].name, "NVIDIA GPU 2684");
    let why = suits(ProviderKind::Cuda, &hardware).unwrap_err();
    assert!(why.contains("no NVIDIA driver"), "{why}");
}

#[test]
fn an_amd_card_with_rocm() {
    let gpu =
        "cpu_cores_count 0\nsimd_count 1216\ngfx_target_version 90402\nlocation_id 768\ndomain 0\nvendor_id 4098\n";
    let root = Root::new(&[
        (
            "sys/class/kfd/kfd/topology/nodes/0/properties",
            "cpu_cores_count 64\nsimd_count 0\n",
        ),
        ("sys/class/kfd/kfd/topology/nodes/1/properties", gpu),
        (
            "sys/class/kfd/kfd/topology/nodes/1/mem_banks/0/properties",
            "heap_type 1\nsize_in_bytes 206141652992\n",
        ),
        ("opt/rocm-7.0.2/.info/version", "7.0.2-56\n"),
    ]);
    root.device("0000:03:00.0", ("0x1002", "0x74a1", "0x120000"), "amdgpu");
    let hardware = root.detect("linux-x86_64");
    assert_eq!(hardware.rocm_version.as_deref(), Some("7.0.2"));
    let [card] = &hardware.gpus[..] else {
        panic!("{hardware:?}")
    };
    assert_eq!(
        (card.vendor, card.architecture.as_deref()),
        (Vendor::Amd, Some("gfx942"))
    );
    assert_eq!(
        (card.memory_bytes, card.driver.as_deref()),
        (Some(206_141_652_992), Some("amdgpu"))
    );
    assert_eq!(usable(&hardware), ["migraphx", "openvino", "webgpu", "cpu", "embedded"]);
}

#[test]
fn an_intel_card_and_an_npu() {
    let root = Root::new(&[
        INTEL_CPU,
        ("sys/class/accel/accel0/device/uevent", "DRIVER=intel_vpu\n"),
    ]);
    root.device("0000:00:02.0", ("0x8086", "0x7d55", "0x030000"), "xe");
    let hardware = root.detect("linux-x86_64");
    assert_eq!(hardware.gpus[0].driver.as_deref(), Some("xe"));
    assert_eq!(
        (hardware.npus[0].vendor, hardware.npus[0].name.as_str()),
        (Vendor::Intel, "Intel NPU")
    );
    assert_eq!(usable(&hardware), ["openvino", "webgpu", "cpu", "embedded"]);
    let what = suits(ProviderKind::OpenVino, &hardware).unwrap();
    assert!(what.contains("Intel GPU 7d55") && what.contains("Intel NPU"), "{what}");
}

#[test]
fn a_qualcomm_npu() {
    let root = Root::new(&[
        ("dev/fastrpc-cdsp", ""),
        ("proc/device-tree/model", "Qualcomm Robotics RB5\0"),
    ]);
    let hardware = root.detect("linux-aarch64");
    assert_eq!(hardware.npus[0].name, "Qualcomm Robotics RB5, Hexagon");
    assert_eq!(usable(&hardware), ["qnn", "cpu", "embedded"]);
}

#[test]
fn an_amd_npu_is_listed_though_no_provider_uses_it() {
    let root = Root::new(&[("sys/class/accel/accel0/device/uevent", "DRIVER=amdxdna\n")]);
    let hardware = root.detect("linux-x86_64");
    assert_eq!(
        (hardware.npus[0].vendor, hardware.npus[0].driver.as_deref()),
        (Vendor::Amd, Some("amdxdna"))
    );
    assert_eq!(usable(&hardware), ["openvino", "cpu", "embedded"]);
}

/// A machine of another system, as its `gpux doctor --json` describes it.
fn described(json: &str) -> Hardware {
    serde_json::from_str(json).unwrap()
}

#[test]
fn a_mac_and_a_windows_machine_by_their_descriptions() {
    let mac = described(
        r#"{"platform": "macos-aarch64", "processor": {"name": "Apple M3", "threads": 8},
            "gpus": [{"vendor": "apple", "name": "Apple M3 GPU"}]}"#,
    );
    assert_eq!(usable(&mac), ["coreml", "webgpu", "cpu", "embedded"]);
    let windows =
        described(r#"{"platform": "windows-x86_64", "gpus": [{"vendor": "amd", "name": "AMD Radeon RX 7900"}]}"#);
    assert_eq!(usable(&windows), ["directml", "openvino", "webgpu", "cpu", "embedded"]);
    let snapdragon = described(
        r#"{"platform": "windows-aarch64", "npus": [{"vendor": "qualcomm", "name": "X Elite"}],
            "gpus": [{"vendor": "qualcomm", "name": "Adreno X1"}]}"#,
    );
    assert_eq!(usable(&snapdragon), ["qnn", "webgpu", "cpu", "embedded"]);
}

#[test]
fn vulkan_on_the_processor_alone_is_no_gpu() {
    let mut hardware = Root::new(&[]).detect("linux-x86_64");
    let device = |is_software| VulkanDevice {
        name: "llvmpipe".to_owned(),
        is_software,
        version: "1.3.0".to_owned(),
    };
    hardware.add(Asked::Vulkan {
        devices: vec![device(true)],
    });
    assert!(suits(ProviderKind::WebGpu, &hardware).is_err());
    hardware.add(Asked::Vulkan {
        devices: vec![device(false)],
    });
    assert!(suits(ProviderKind::WebGpu, &hardware).is_ok());
}

#[test]
fn what_a_drivers_library_answers_replaces_what_files_told() {
    let root = Root::new(&[("dev/nvidia0", "")]);
    let mut hardware = root.detect("linux-x86_64");
    let before = hardware.fingerprint();
    hardware.add(Asked::Nvidia {
        driver: Some("580.65.06".to_owned()),
        cuda_version: Some("13.0".to_owned()),
        gpus: vec![Gpu {
            vendor: Vendor::Nvidia,
            name: "NVIDIA H200".to_owned(),
            bus: None,
            memory_bytes: Some(150_000_000_000),
            compute_capability: Some("9.0".to_owned()),
            architecture: None,
            driver: None,
        }],
    });
    assert_eq!(hardware.gpus.len(), 1);
    assert_eq!(hardware.gpus[0].compute_capability.as_deref(), Some("9.0"));
    assert_ne!(hardware.fingerprint(), before);
    let read: Hardware = serde_json::from_str(&serde_json::to_string(&hardware).unwrap()).unwrap();
    assert_eq!(read, hardware, "a description is read as it is written");
}
