//! The table, on the terminal and as Markdown.

use std::time::Duration;

use comfy_table::{ContentArrangement, Table, presets};

use crate::outcome::Outcome;
use crate::rows::Row;

const HEAD: [&str; 13] = [
    "row",
    "fault",
    "acc.",
    "unkn.",
    "found",
    "lost",
    "lies",
    "phant.",
    "dupl.",
    "intr.",
    "recov.",
    "drain",
    "injected, measured",
];

/// The table for a terminal.
#[must_use]
pub fn terminal(rows: &[(Row, Outcome)]) -> String {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_HORIZONTAL_ONLY)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(HEAD.iter().copied().chain(["verdict"]));
    for (row, outcome) in rows {
        let verdict = if outcome.is_green() {
            "held".to_owned()
        } else {
            outcome.broken.join("; ")
        };
        table.add_row(cells(row, outcome).into_iter().chain([verdict]));
    }
    table.to_string()
}

/// The table for a document.
#[must_use]
pub fn markdown(rows: &[(Row, Outcome)]) -> String {
    let mut text = format!("| {} |\n|{}\n", HEAD.join(" | "), "---|".repeat(HEAD.len()));
    for (row, outcome) in rows {
        text.push_str(&format!("| {} |\n", cells(row, outcome).join(" | ")));
    }
    text
}

fn cells(row: &Row, outcome: &Outcome) -> Vec<String> {
    let figures = &outcome.figures;
    let mut cells = vec![row.name.to_owned(), row.fault.to_owned()];
    let counts = [
        figures.accepted,
        figures.unknown,
        figures.found,
        figures.lost,
        figures.lies,
        figures.phantoms,
        figures.duplicated,
        figures.interrupted,
    ];
    cells.extend(counts.map(|count| count.to_string()));
    cells.push(seconds(outcome.recovery));
    cells.push(seconds(outcome.drain));
    let injections = outcome.injections.iter();
    let injections = injections.map(|(name, observed, _)| format!("{name} {observed}"));
    let notes = outcome.notes.iter();
    let notes = notes.map(|(name, value)| format!("{name} {value}"));
    cells.push(injections.chain(notes).collect::<Vec<_>>().join(", "));
    cells
}

fn seconds(time: Option<Duration>) -> String {
    time.map_or_else(
        || "–".to_owned(),
        |time| format!("{:.1} s", time.as_secs_f64()),
    )
}
