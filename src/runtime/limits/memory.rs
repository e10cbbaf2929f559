/// Is how much memory the process has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// What it filled itself: no mapped files, which the system takes back when it needs to. Units: bytes.
    pub anonymous_bytes: u64,
    /// All that is in memory, mapped files too. Units: bytes.
    pub resident_bytes: u64,
}

/// Reads the memory in use, and its peak where the system keeps one; `None` where the system does not tell.
pub(super) fn current() -> Option<MemoryUse> {
    system::current()
}

/// Reads how much memory another process has, mapped files too; `None` where the system does not tell. Units: bytes.
pub fn resident_bytes_of(process: u32) -> Option<u64> {
    system::resident_bytes_of(process)
}

/// Gives nine tenths of what the cgroup or the machine has; `None` where the system does not tell.
pub(super) fn default_limit() -> Option<u64> {
    system::available().map(|bytes| bytes / 10 * 9)
}

#[cfg(target_os = "linux")]
mod system {
    use std::path::Path;

    use super::MemoryUse;
    use crate::fs;

    pub(super) fn current() -> Option<MemoryUse> {
        // Larger than it is: it is read by one call, and this is done all the time.
        let status = fs::read_at_most(Path::new("/proc/self/status"), 8 << 10).ok()?;
        let status = String::from_utf8_lossy(&status);
        Some(MemoryUse {
            anonymous_bytes: field(&status, "RssAnon:")?,
            // The most that was ever resident: the kernel misses no peak, as samples would.
            resident_bytes: field(&status, "VmHWM:")?,
        })
    }

    pub(super) fn resident_bytes_of(process: u32) -> Option<u64> {
        let status = fs::read(Path::new(&format!("/proc/{process}/status"))).ok()?;
        field(&String::from_utf8_lossy(&status), "VmRSS:")
    }

    pub(super) fn available() -> Option<u64> {
        available_by(|path| {
            let text = fs::read(Path::new(path)).ok()?;
            Some(String::from_utf8_lossy(&text).into_owned())
        })
    }

    /// Gives the lowest of the machine's memory and the limits of every cgroup that the process is in.
    fn available_by(read: impl Fn(&str) -> Option<String>) -> Option<u64> {
        let machine = read("/proc/meminfo").and_then(|text| field(&text, "MemTotal:"));
        let groups = read("/proc/self/cgroup").unwrap_or_default();
        let limits = groups.lines().flat_map(|line| {
            let mut parts = line.splitn(3, ':');
            let (controllers, path) = (parts.nth(1).unwrap_or_default(), parts.next().unwrap_or_default());
            let (root, file) = match controllers {
                "" => ("/sys/fs/cgroup", "memory.max"),
                "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
                _ => return Vec::new(),
            };
            // A limit holds for all groups below it. Within a container the path may be the host's, of which only
            // the root is there.
            let folders = Path::new(path)
                .ancestors()
                .map(|path| path.to_string_lossy().into_owned());
            folders
                .map(|folder| format!("{root}/{}/{file}", folder.trim_matches('/')).replace("//", "/"))
                .collect()
        });
        // "max" is no number, and no limit.
        let limits = limits.filter_map(|file| read(&file)?.trim().parse().ok());
        limits.chain(machine).min()
    }

    /// Reads a field of a status file. Units: the file's kB, in bytes.
    fn field(text: &str, name: &str) -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
        kilobytes.checked_mul(1024)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        /// Reads from `files` in place of the system.
        fn available_in(files: &[(&str, &str)]) -> Option<u64> {
            available_by(|path| {
                let file = files.iter().find(|(name, _)| *name == path)?;
                Some(file.1.to_owned())
            })
        }

        const MACHINE: (&str, &str) = ("/proc/meminfo", "MemTotal:        2048 kB\nMemFree: 1 kB\n");

        #[test]
        fn the_machine_is_the_limit_where_no_cgroup_has_one() {
            assert_eq!(available_in(&[MACHINE]), Some(2048 * 1024));
            let cgroup = ("/proc/self/cgroup", "0::/\n");
            let max = ("/sys/fs/cgroup/memory.max", "max\n");
            assert_eq!(available_in(&[MACHINE, cgroup, max]), Some(2048 * 1024));
            assert_eq!(available_in(&[]), None);
        }

        #[test]
        fn the_lowest_limit_of_all_groups_above_counts() {
            let v2 = [
                MACHINE,
                ("/proc/self/cgroup", "0::/user.slice/app:1.scope\n"),
                ("/sys/fs/cgroup/user.slice/app:1.scope/memory.max", "max\n"),
                ("/sys/fs/cgroup/user.slice/memory.max", "4096\n"),
            ];
            assert_eq!(available_in(&v2), Some(4096));
            let v1 = [
                MACHINE,
                ("/proc/self/cgroup", "9:cpu:/\n4:memory:/docker/ab\n0::/\n"),
                (
                    "/sys/fs/cgroup/memory/docker/ab/memory.limit_in_bytes",
                    "9223372036854771712\n",
                ),
                ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "8192\n"),
            ];
            assert_eq!(available_in(&v1), Some(8192));
        }

        #[test]
        fn this_process_has_some_memory_of_what_there_is() {
            let now = current().unwrap();
            let available = available().unwrap();
            assert!(now.anonymous_bytes > 0 && now.resident_bytes >= now.anonymous_bytes);
            assert!(now.resident_bytes < available);
        }
    }
}

#[cfg(not(target_os = "linux"))]
mod system {
    use super::MemoryUse;
    use crate::runtime::limits::raw;

    pub(super) fn resident_bytes_of(_: u32) -> Option<u64> {
        None
    }

    pub(super) fn current() -> Option<MemoryUse> {
        let bytes = memory_stats::memory_stats()?.physical_mem as u64;
        // These systems do not tell what of it is mapped files.
        Some(MemoryUse {
            anonymous_bytes: bytes,
            resident_bytes: bytes,
        })
    }

    pub(super) fn available() -> Option<u64> {
        raw::machine_memory()
    }
}
