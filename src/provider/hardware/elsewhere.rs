//! What macOS and Windows tell of their hardware, through programs that every one of them has.

use std::process::Command;

use super::{Gpu, Hardware, Npu, Vendor};

/// Asks macOS, and reads the answer.
pub(super) fn detect_mac(hardware: &mut Hardware) {
    let keys = [
        "machdep.cpu.brand_string",
        "hw.logicalcpu",
        "hw.memsize",
        "hw.optional.arm64",
    ];
    let text = output("/usr/sbin/sysctl", &keys);
    read_mac(&text, hardware);
}

/// Asks Windows's registry for the display adapters, and reads the answer.
pub(super) fn detect_windows(hardware: &mut Hardware) {
    let class = |id: &str| format!(r"HKLM\SYSTEM\CurrentControlSet\Control\Class\{id}");
    let adapters = output(
        "reg",
        &["query", &class("{4d36e968-e325-11ce-bfc1-08002be10318}"), "/s"],
    );
    let accelerators = output(
        "reg",
        &["query", &class("{f01a9d53-3ff6-48d2-9f97-c8a7004be10c}"), "/s"],
    );
    let processor = output(
        "reg",
        &["query", r"HKLM\HARDWARE\DESCRIPTION\System\CentralProcessor\0"],
    );
    read_windows(&adapters, &accelerators, &processor, hardware);
    hardware.processor.threads = std::thread::available_parallelism().map_or(1, usize::from);
}

/// Runs a program of the system's and gives what it wrote; nothing where it is not there.
fn output(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).output();
    output
        .map(|it| String::from_utf8_lossy(&it.stdout).into_owned())
        .unwrap_or_default()
}

/// Reads lines of `KEY: VALUE`. Every Mac with Apple's processor has its GPU and Neural Engine.
fn read_mac(text: &str, hardware: &mut Hardware) {
    let value = |key: &str| {
        text.lines()
            .find_map(|line| line.split_once(": ").filter(|(name, _)| name.trim() == key))
            .map(|(_, value)| value.trim().to_owned())
    };
    let name = value("machdep.cpu.brand_string").unwrap_or_else(|| "Mac".to_owned());
    hardware.processor.threads = value("hw.logicalcpu").and_then(|it| it.parse().ok()).unwrap_or(1);
    hardware.processor.memory_bytes = value("hw.memsize").and_then(|it| it.parse().ok());
    if value("hw.optional.arm64").as_deref() == Some("1") {
        hardware.gpus.push(Gpu {
            vendor: Vendor::Apple,
            name: format!("{name} GPU"),
            bus: None,
            // It shares the processor's memory.
            memory_bytes: hardware.processor.memory_bytes,
            compute_capability: None,
            architecture: None,
            driver: None,
        });
        hardware.npus.push(Npu {
            vendor: Vendor::Apple,
            name: format!("{name} Neural Engine"),
            driver: None,
        });
    }
    hardware.processor.name = name;
}

/// Reads the registry's answer: keys at the start of lines, values below them as `NAME    TYPE    VALUE`.
fn read_windows(adapters: &str, accelerators: &str, processor: &str, hardware: &mut Hardware) {
    if let Some(name) = values(processor, "ProcessorNameString").next() {
        hardware.processor.name = name.to_owned();
    }
    let driver_versions: Vec<&str> = values(adapters, "DriverVersion").collect();
    for (at, name) in values(adapters, "DriverDesc").enumerate() {
        let vendor = vendor(name);
        if vendor == Vendor::Other {
            continue;
        }
        let version = driver_versions.get(at).copied();
        if vendor == Vendor::Nvidia {
            hardware.nvidia_driver = version.and_then(nvidia_version);
        }
        hardware.gpus.push(Gpu {
            vendor,
            name: name.to_owned(),
            bus: None,
            memory_bytes: None,
            compute_capability: None,
            architecture: None,
            driver: version.map(str::to_owned),
        });
    }
    for name in values(accelerators, "DriverDesc") {
        hardware.npus.push(Npu {
            vendor: vendor(name),
            name: name.to_owned(),
            driver: None,
        });
    }
}

fn values<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.lines().filter_map(move |line| {
        let rest = line.trim_start().strip_prefix(name)?;
        let (kind, value) = rest.trim_start().split_once(char::is_whitespace)?;
        (rest.starts_with(char::is_whitespace) && kind.starts_with("REG_")).then(|| value.trim())
    })
}

fn vendor(name: &str) -> Vendor {
    let makers = [
        ("NVIDIA", Vendor::Nvidia),
        ("AMD", Vendor::Amd),
        ("Radeon", Vendor::Amd),
        ("Intel", Vendor::Intel),
        ("Qualcomm", Vendor::Qualcomm),
        ("Adreno", Vendor::Qualcomm),
        ("Snapdragon", Vendor::Qualcomm),
    ];
    let found = makers.into_iter().find(|(word, _)| name.contains(word));
    found.map_or(Vendor::Other, |(_, vendor)| vendor)
}

/// Reads NVIDIA's own version out of Windows's: the last five digits of `32.0.15.8088` are 580.88.
fn nvidia_version(version: &str) -> Option<String> {
    let digits: String = version.chars().filter(char::is_ascii_digit).collect();
    let own = digits.get(digits.len().checked_sub(5)?..)?;
    Some(format!("{}.{}", &own[..3], &own[3..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mac_has_its_gpu_and_neural_engine() {
        let mut hardware = Hardware::default();
        let text = "machdep.cpu.brand_string: Apple M3 Pro\nhw.logicalcpu: 12\nhw.memsize: 38654705664\nhw.optional.arm64: 1\n";
        read_mac(text, &mut hardware);
        assert_eq!(
            (hardware.processor.name.as_str(), hardware.processor.threads),
            ("Apple M3 Pro", 12)
        );
        assert_eq!(hardware.gpus[0].name, "Apple M3 Pro GPU");
        assert_eq!(hardware.npus[0].vendor, Vendor::Apple);
        let mut intel = Hardware::default();
        read_mac("machdep.cpu.brand_string: Intel(R) Core(TM) i7\n", &mut intel);
        assert!(intel.gpus.is_empty() && intel.npus.is_empty());
    }

    #[test]
    fn windows_adapters_are_read_with_the_versions_of_their_drivers() {
        let mut hardware = Hardware::default();
        let adapters = "\
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e968}\\0000
    DriverDesc    REG_SZ    NVIDIA GeForce RTX 4090
    DriverVersion    REG_SZ    32.0.15.8088
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e968}\\0001
    DriverDesc    REG_SZ    Intel(R) UHD Graphics 770
    DriverVersion    REG_SZ    31.0.101.5186
HKEY_LOCAL_MACHINE\\SYSTEM\\CurrentControlSet\\Control\\Class\\{4d36e968}\\0002
    DriverDesc    REG_SZ    Microsoft Basic Display Adapter
    DriverVersion    REG_SZ    10.0.1.1
";
        let accelerators = "    DriverDesc    REG_SZ    Snapdragon(R) X Elite NPU\n";
        let processor = "    ProcessorNameString    REG_SZ    13th Gen Intel(R) Core(TM) i9\n";
        read_windows(adapters, accelerators, processor, &mut hardware);
        assert_eq!(hardware.nvidia_driver.as_deref(), Some("580.88"));
        let names: Vec<&str> = hardware.gpus.iter().map(|gpu| gpu.name.as_str()).collect();
        assert_eq!(names, ["NVIDIA GeForce RTX 4090", "Intel(R) UHD Graphics 770"]);
        assert_eq!(hardware.npus[0].vendor, Vendor::Qualcomm);
        assert_eq!(hardware.processor.name, "13th Gen Intel(R) Core(TM) i9");
        read_windows("", "", "", &mut hardware);
        assert_eq!(nvidia_version("1.2"), None);
    }
}
