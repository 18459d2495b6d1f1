//! What `docs/RELIABILITY.md` takes from here: the promises, and the table of a run.

use std::path::{Path, PathBuf};

use crate::outcome::Outcome;
use crate::rows::{self, Row};
use crate::table;

/// What stands between two marks.
struct Section {
    begin: &'static str,
    end: &'static str,
}

const PROMISES: Section = Section {
    begin: "<!-- promises: scripts/faults --write -->",
    end: "<!-- end of promises -->",
};

const TABLE: Section = Section {
    begin: "<!-- table: scripts/faults --write -->",
    end: "<!-- end of table -->",
};

impl Section {
    fn split<'a>(&self, text: &'a str) -> (&'a str, &'a str, &'a str) {
        let (before, rest) = text.split_once(self.begin).expect("the first mark");
        let (inside, after) = rest.split_once(self.end).expect("the second mark");
        (before, inside, after)
    }

    fn replace(&self, text: &str, inside: &str) -> String {
        let (before, _, after) = self.split(text);
        format!("{before}{}\n{inside}{}{after}", self.begin, self.end)
    }
}

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/RELIABILITY.md")
}

/// Puts the promises and the table of a run into the document, with date, machine and seed.
///
/// # Panics
/// If the document cannot be written or its marks are missing.
pub fn write(results: &[(Row, Outcome)], seed: u64) {
    let text = std::fs::read_to_string(path()).expect("docs/RELIABILITY.md");
    let date = chrono::Utc::now().format("%Y-%m-%d");
    let about = format!("{date}, {}, seed {seed}.", machine());
    let table = table::markdown(results);
    let text = PROMISES.replace(&text, &promises(&rows::all()));
    let text = TABLE.replace(&text, &format!("{about}\n\n{table}"));
    std::fs::write(path(), text).expect("docs/RELIABILITY.md");
}

fn promises(rows: &[Row]) -> String {
    let mut text = "| promise | row |\n|---|---|\n".to_owned();
    for row in rows {
        text.push_str(&format!("| {} | {} |\n", row.promise, row.name));
    }
    text
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `UPDATE_RELIABILITY=1` writes the promises instead.
    #[test]
    fn the_document_has_every_promise_and_every_row() {
        let text = std::fs::read_to_string(path()).expect("docs/RELIABILITY.md");
        let wanted = promises(&rows::all());
        if std::env::var_os("UPDATE_RELIABILITY").is_some() {
            let text = PROMISES.replace(&text, &wanted);
            std::fs::write(path(), text).expect("docs/RELIABILITY.md");
            return;
        }
        let (_, written, _) = PROMISES.split(&text);
        assert_eq!(written.trim(), wanted.trim(), "set UPDATE_RELIABILITY=1");
        let (_, table, _) = TABLE.split(&text);
        let written: Vec<_> = table
            .lines()
            .filter(|line| line.starts_with("| "))
            .skip(1)
            .collect();
        let all = rows::all();
        for (row, line) in all.iter().zip(&written) {
            let begin = format!("| {} | {} |", row.name, row.fault);
            assert!(line.starts_with(&begin), "not {begin} but {line}");
        }
        assert_eq!(written.len(), all.len(), "set it by scripts/faults --write");
    }
}
