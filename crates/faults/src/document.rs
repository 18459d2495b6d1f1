//! The table of `docs/RELIABILITY.md`, between two marks.

use std::path::Path;

use crate::outcome::Outcome;
use crate::rows::Row;
use crate::table;

const BEGIN: &str = "<!-- table: scripts/faults --write -->";
const END: &str = "<!-- end of table -->";

/// Puts the table of a run into the document, with date, machine and seed.
///
/// # Panics
/// If the document cannot be written or its marks are missing.
pub fn write(results: &[(Row, Outcome)], seed: u64) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/RELIABILITY.md");
    let text = std::fs::read_to_string(&path).expect("docs/RELIABILITY.md");
    let (before, rest) = text.split_once(BEGIN).expect("the mark before the table");
    let (_, after) = rest.split_once(END).expect("the mark after the table");
    let date = chrono::Utc::now().format("%Y-%m-%d");
    let about = format!("{date}, {}, seed {seed}.", machine());
    let table = table::markdown(results);
    let text = format!("{before}{BEGIN}\n{about}\n\n{table}{END}{after}");
    std::fs::write(&path, text).expect("docs/RELIABILITY.md");
}

/// What the run was on.
fn machine() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let system = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="));
    let system = system.unwrap_or("Linux").trim_matches('"');
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let memory = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"));
    let memory = memory.and_then(|rest| rest.split_ascii_whitespace().next());
    let gib = memory.and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) >> 20;
    format!("{cores} cores, {gib} GiB, {system}; load, servers and workers share them")
}
