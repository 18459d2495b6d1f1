//! What the run was on.

use std::fs::read_to_string;

/// Cores, processor, memory, kernel and distribution.
#[must_use]
pub fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let processor = field("/proc/cpuinfo", "model name").replace(['(', ')'], "");
    let kib = field("/proc/meminfo", "MemTotal");
    let kib: u64 = kib.trim_end_matches(" kB").parse().unwrap_or(0);
    let kernel = read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel
        .split('-')
        .next()
        .unwrap_or_default()
        .trim()
        .to_owned();
    let system = read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("Linux").trim_matches('"');
    // Rounded: the kernel keeps some for itself.
    let gib = (kib + (1 << 19)) >> 20;
    format!("{cores} cores ({processor}), {gib} GiB, {system}, kernel {kernel}")
}

/// The first value of that name in a file of `name : value` lines.
fn field(file: &str, name: &str) -> String {
    let text = read_to_string(file).unwrap_or_default();
    let values = text.lines().filter_map(|line| line.split_once(':'));
    let found = values.into_iter().find(|(key, _)| key.trim() == name);
    found.map_or_else(String::new, |(_, value)| value.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_cores_and_memory() {
        let text = machine();
        assert!(!text.starts_with("0 cores"), "{text}");
        assert!(!text.contains(" 0 GiB"), "{text}");
    }
}
