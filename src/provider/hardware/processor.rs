use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pci::text;

/// Is the processor, and how much of it and of the memory this process may use.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Processor {
    pub name: String,
    /// What it can do beside what every processor of its kind can, as far as it matters to models.
    pub features: Vec<String>,
    /// Threads that the machine has.
    pub threads: usize,
    /// Threads that the affinity of this process allows.
    pub affinity: Option<usize>,
    /// What the control group allows, in processors: 1.5 is one and a half.
    pub quota: Option<f64>,
    /// The machine's memory.
    pub memory_bytes: Option<u64>,
    /// What the control group allows.
    pub memory_limit_bytes: Option<u64>,
}

impl Processor {
    /// Counts the threads that are worth starting: affinity and quota bound them.
    pub fn usable_threads(&self) -> usize {
        let quota = self.quota.map_or(usize::MAX, |quota| quota.ceil().max(1.0) as usize);
        self.affinity.unwrap_or(usize::MAX).min(quota).min(self.threads.max(1))
    }
}

/// Instructions that kernels of models ask for, by Linux's names, x86 first and Arm after.
const FEATURES: [&str; 22] = [
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx512f",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimdhp",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
    "sve2",
];

/// Reads what Linux tells of the processor, and what bounds this process.
pub(super) fn detect(root: &Path) -> Processor {
    let cpuinfo = text(&root.join("proc/cpuinfo")).unwrap_or_default();
    let status = text(&root.join("proc/self/status")).unwrap_or_default();
    let memory = text(&root.join("proc/meminfo")).unwrap_or_default();
    let groups = ControlGroups::read(root);
    Processor {
        name: name(&cpuinfo).unwrap_or_else(|| std::env::consts::ARCH.to_owned()),
        features: features(&cpuinfo),
        threads: cpuinfo
            .lines()
            .filter(|line| field(line, "processor").is_some())
            .count(),
        affinity: status
            .lines()
            .find_map(|line| Some(count(field(line, "Cpus_allowed_list")?))),
        quota: groups.quota(),
        memory_bytes: memory.lines().find_map(|line| kilobytes(field(line, "MemTotal")?)),
        memory_limit_bytes: groups.memory(),
    }
}

/// Gives the value of a line `KEY : VALUE` with this key.
fn field<'a>(line: &'a str, key: &str) -> Option<&'a str> {
    let (name, value) = line.split_once(':')?;
    (name.trim() == key).then(|| value.trim())
}

/// Reads the first name, with single spaces; Arm's processors have numbers, of which the usual makers are known.
fn name(cpuinfo: &str) -> Option<String> {
    let find = |key| {
        cpuinfo
            .lines()
            .find_map(|line| field(line, key).filter(|value| !value.is_empty()))
    };
    if let Some(name) = find("model name") {
        return Some(name.split_whitespace().collect::<Vec<_>>().join(" "));
    }
    let maker = match find("CPU implementer")? {
        "0x41" => "Arm",
        "0x46" => "Fujitsu",
        "0x48" => "HiSilicon",
        "0x4e" => "NVIDIA",
        "0x51" => "Qualcomm",
        "0x61" => "Apple",
        "0xc0" => "Ampere",
        other => other,
    };
    Some(
        format!("{maker} {}", find("CPU part").unwrap_or_default())
            .trim_end()
            .to_owned(),
    )
}

fn features(cpuinfo: &str) -> Vec<String> {
    let line = cpuinfo
        .lines()
        .find_map(|line| field(line, "flags").or_else(|| field(line, "Features")));
    let has: BTreeSet<&str> = line.unwrap_or_default().split_whitespace().collect();
    FEATURES
        .iter()
        .filter(|name| has.contains(*name))
        .map(|name| (*name).to_owned())
        .collect()
}

/// Counts a list such as `0-3,8,10-11`.
fn count(list: &str) -> usize {
    let size = |part: &str| match part.split_once('-') {
        Some((first, last)) => {
            let number = |text: &str| text.trim().parse::<usize>().ok();
            number(first)
                .zip(number(last))
                .map_or(0, |(first, last)| last.saturating_sub(first) + 1)
        }
        None => usize::from(part.trim().parse::<usize>().is_ok()),
    };
    list.split(',').map(size).sum()
}

fn kilobytes(text: &str) -> Option<u64> {
    text.strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Is every folder of control groups that bounds this process, innermost first.
struct ControlGroups {
    unified: Vec<PathBuf>,
    processor: Vec<PathBuf>,
    memory: Vec<PathBuf>,
}

impl ControlGroups {
    /// Reads `proc/self/cgroup`, whose lines are `ID:CONTROLLERS:PATH`; the controllers of version 2 have no names.
    fn read(root: &Path) -> ControlGroups {
        let table = text(&root.join("proc/self/cgroup")).unwrap_or_default();
        let mount = root.join("sys/fs/cgroup");
        let path = |wanted: &str| {
            let line = table.lines().find_map(|line| {
                let mut parts = line.splitn(3, ':').skip(1);
                let (controllers, path) = (parts.next()?, parts.next()?);
                controllers.split(',').any(|it| it == wanted).then_some(path)
            });
            line.unwrap_or_default().trim_start_matches('/').to_owned()
        };
        // Inside a container the path may be the host's, and what is mounted the container's own: both are tried.
        let chain = |mount: PathBuf, path: String| {
            let mut folders: Vec<PathBuf> = mount.join(path).ancestors().map(Path::to_owned).collect();
            folders.retain(|folder| folder.starts_with(&mount));
            folders
        };
        ControlGroups {
            unified: chain(mount.clone(), path("")),
            processor: chain(mount.join("cpu"), path("cpu")),
            memory: chain(mount.join("memory"), path("memory")),
        }
    }

    /// Gives the tightest quota of processors.
    fn quota(&self) -> Option<f64> {
        let unified = self.unified.iter().filter_map(|folder| {
            let text = text(&folder.join("cpu.max"))?;
            let (quota, period) = text.trim().split_once(' ')?;
            Some(quota.parse::<f64>().ok()? / period.parse::<f64>().ok()?)
        });
        let old = self.processor.iter().filter_map(|folder| {
            let number = |name| text(&folder.join(name))?.trim().parse::<f64>().ok();
            Some(number("cpu.cfs_quota_us").filter(|quota| *quota > 0.0)? / number("cpu.cfs_period_us")?)
        });
        unified
            .chain(old)
            .filter(|quota| quota.is_finite() && *quota > 0.0)
            .reduce(f64::min)
    }

    /// Gives the tightest limit of memory.
    fn memory(&self) -> Option<u64> {
        let read = |folder: &PathBuf, name: &str| text(&folder.join(name))?.trim().parse::<u64>().ok();
        let unified = self.unified.iter().filter_map(|folder| read(folder, "memory.max"));
        let old = self
            .memory
            .iter()
            .filter_map(|folder| read(folder, "memory.limit_in_bytes"));
        // Version 1 writes a number near the largest where there is no limit.
        unified.chain(old).filter(|bytes| *bytes < 1 << 60).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(root: &Path, path: &str, content: &str) {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    #[test]
    fn lists_of_processors_are_counted() {
        for (list, expected) in [("0-3,8,10-11", 7), ("0", 1), ("", 0), ("3-1", 1), ("a-b", 0)] {
            assert_eq!(count(list), expected, "{list}");
        }
    }

    #[test]
    fn the_tightest_of_quota_and_affinity_bounds_the_threads() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let one = "model name\t: Acme(R)  One @ 2.00GHz \nflags\t\t: fpu avx2 sse4_2 nx\n";
        let cpuinfo: String = (0..16).map(|n| format!("processor\t: {n}\n{one}\n")).collect();
        write(root, "proc/cpuinfo", &cpuinfo);
        write(root, "proc/meminfo", "MemTotal:       16384000 kB\nMemFree: 1 kB\n");
        write(
            root,
            "proc/self/status",
            "Name:\tx\nCpus_allowed:\tff\nCpus_allowed_list:\t0-7\n",
        );
        write(root, "proc/self/cgroup", "0::/system/inner\n");
        write(root, "sys/fs/cgroup/system/inner/cpu.max", "max 100000\n");
        write(root, "sys/fs/cgroup/system/cpu.max", "250000 100000\n");
        write(root, "sys/fs/cgroup/system/inner/memory.max", "1073741824\n");
        let found = detect(root);
        assert_eq!(found.name, "Acme(R) One @ 2.00GHz");
        assert_eq!(found.features, ["sse4_2", "avx2"]);
        assert_eq!((found.threads, found.affinity, found.quota), (16, Some(8), Some(2.5)));
        assert_eq!(
            found.usable_threads(),
            3,
            "two and a half processors keep three threads busy"
        );
        assert_eq!(found.memory_bytes, Some(16_384_000 * 1024));
        assert_eq!(found.memory_limit_bytes, Some(1 << 30));
    }

    #[test]
    fn control_groups_of_version_1_bound_as_well() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        write(
            root,
            "proc/self/cgroup",
            "4:cpu,cpuacct:/docker/x\n3:memory:/docker/x\n",
        );
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
        write(
            root,
            "sys/fs/cgroup/memory/memory.limit_in_bytes",
            "9223372036854771712\n",
        );
        let found = detect(root);
        assert_eq!((found.quota, found.memory_limit_bytes), (Some(0.5), None));
        write(root, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
        assert_eq!(detect(root).quota, None);
    }

    #[test]
    fn a_machine_that_tells_nothing_still_has_one_thread() {
        let root = tempfile::tempdir().unwrap();
        let found = detect(root.path());
        assert_eq!(found.usable_threads(), 1);
        assert!(!found.name.is_empty());
    }

    #[test]
    fn arms_processors_are_named_by_their_makers() {
        let cpuinfo =
            "processor\t: 0\nFeatures\t: fp asimd asimddp i8mm bf16 sve\nCPU implementer\t: 0x41\nCPU part\t: 0xd4f\n";
        assert_eq!(name(cpuinfo).as_deref(), Some("Arm 0xd4f"));
        assert_eq!(features(cpuinfo), ["asimd", "asimddp", "i8mm", "bf16", "sve"]);
    }
}
