//! How far the endpoints are: a bar each on a terminal, plain lines otherwise.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use tasker_core::EndpointName;

use crate::commands::view::Row;
use crate::terminal::{harmless, tell};

/// Plain lines tell progress in steps of this many per cent.
const STEP: u8 = 25;

/// Shows the progress of endpoints on stderr.
pub(super) enum Bars {
    Drawn(BTreeMap<String, ProgressBar>),
    /// What was told last, by endpoint.
    Lines(BTreeMap<String, (String, u8)>),
}

impl Bars {
    pub(super) fn new(endpoints: &[EndpointName]) -> Self {
        if !std::io::stderr().is_terminal() {
            return Self::Lines(BTreeMap::new());
        }
        let all = MultiProgress::new();
        let width = endpoints
            .iter()
            .map(|e| e.as_str().len())
            .max()
            .unwrap_or_default();
        let template = format!("{{prefix:{width}}} [{{bar:40}}] {{pos:>3}} % {{msg}}");
        let style = ProgressStyle::with_template(&template)
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ");
        let bars = endpoints.iter().map(|endpoint| {
            let bar = all.add(ProgressBar::new(100).with_style(style.clone()));
            bar.set_prefix(endpoint.to_string());
            bar.set_message("WAITING");
            (endpoint.to_string(), bar)
        });
        let bars = bars.collect();
        Self::Drawn(bars)
    }

    pub(super) fn update(&mut self, rows: &[Row]) {
        for row in rows {
            let is_finished = row.status == 1;
            let percent = match &row.progress {
                _ if is_finished => 100,
                Some(progress) => progress.percent,
                None => 0,
            };
            match self {
                Self::Drawn(bars) => {
                    let Some(bar) = bars.get(&row.endpoint) else {
                        continue;
                    };
                    let note = row.progress.as_ref().and_then(|p| p.note.as_deref());
                    let note = note
                        .filter(|_| !is_finished)
                        .map(harmless)
                        .unwrap_or_default();
                    bar.set_position(percent.into());
                    bar.set_message(format!("{} {note}", harmless(&row.state)));
                }
                Self::Lines(told) => {
                    if let Some(line) = line(told, row, percent) {
                        tell(&line);
                    }
                }
            }
        }
    }

    /// Leaves the bars as they are.
    pub(super) fn end(self) {
        if let Self::Drawn(bars) = self {
            bars.into_values().for_each(|bar| bar.abandon());
        }
    }
}

/// The line of a response, if it is worth one: a new state, or a step of progress.
fn line(told: &mut BTreeMap<String, (String, u8)>, row: &Row, percent: u8) -> Option<String> {
    let new = (row.state.clone(), percent / STEP);
    if told.get(&row.endpoint) == Some(&new) {
        return None;
    }
    told.insert(row.endpoint.clone(), new);
    let (endpoint, state) = (harmless(&row.endpoint), harmless(&row.state));
    Some(format!("{endpoint} {state} {percent} %"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(state: &str, status: u8) -> Row {
        serde_json::from_value(serde_json::json!({
            "status": status, "endpoint": "a", "payload": null, "errnr": null, "errmsg": null,
            "state": state, "attempt": 1, "run": 1, "progress": null, "elapsed_ms": null,
            "presumed": false, "late": false,
        }))
        .unwrap()
    }

    #[test]
    fn a_line_is_told_for_what_is_new() {
        let mut told = BTreeMap::new();
        let mut lines = Vec::new();
        for (state, status, percent) in [
            ("WAITING", 0, 0),
            ("RUNNING", 0, 0),
            ("RUNNING", 0, 5),
            ("RUNNING", 0, 30),
            ("RUNNING", 0, 40),
            ("SUCCEEDED", 1, 100),
            ("SUCCEEDED", 1, 100),
        ] {
            lines.extend(line(&mut told, &row(state, status), percent));
        }
        assert_eq!(
            lines,
            [
                "a WAITING 0 %",
                "a RUNNING 0 %",
                "a RUNNING 30 %",
                "a SUCCEEDED 100 %"
            ]
        );
    }
}
