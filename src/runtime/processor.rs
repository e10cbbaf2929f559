use std::num::NonZero;
use std::path::Path;
use std::thread;

use crate::fs;

/// Counts the processors that this process may use: its affinity and its cgroup's quota bound them.
pub fn usable_threads() -> usize {
    thread::available_parallelism().map_or(1, NonZero::get)
}

/// Gives the name of the processor, its architecture where the system does not tell.
pub fn processor_name() -> String {
    let text = fs::read(Path::new("/proc/cpuinfo")).unwrap_or_default();
    model_name(&String::from_utf8_lossy(&text)).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}

/// Reads the first name in Linux's list of processors, with single spaces.
fn model_name(cpuinfo: &str) -> Option<String> {
    let line = cpuinfo.lines().find(|line| line.starts_with("model name"))?;
    let words: Vec<&str> = line.split_once(':')?.1.split_whitespace().collect();
    (!words.is_empty()).then(|| words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_processor_is_named_as_the_system_names_it() {
        let cpuinfo = "processor\t: 0\nmodel name\t: Acme(R)  One @ 2.00GHz \nflags\t: a\nmodel name\t: other\n";
        assert_eq!(model_name(cpuinfo).as_deref(), Some("Acme(R) One @ 2.00GHz"));
        assert_eq!(model_name("model name\t:\n"), None);
        assert_eq!(model_name(""), None);
        assert!(!processor_name().is_empty() && usable_threads() > 0);
    }
}
