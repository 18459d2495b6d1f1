//! Answers of the API as tables for people.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use comfy_table::presets::NOTHING;
use comfy_table::{ColumnConstraint, ContentArrangement, Table};
use serde::Deserialize;
use serde_json::value::RawValue;
use tasker_core::TaskStatus;

use crate::exit::Exit;
use crate::terminal::harmless;

/// Longer texts of others are cut in tables; `--json` shows them whole.
const MAX_CELL: usize = 60;

/// The answer to a GET of a task, as far as it is shown.
#[derive(Debug, Deserialize)]
pub(crate) struct Answer {
    pub(crate) task: Task,
    #[serde(rename = "taskResponseList")]
    rows: Vec<Row>,
    /// Where further rows are.
    responses: Option<String>,
    pub(crate) summary: Summary,
}

/// A task.
#[derive(Debug, Deserialize)]
pub(crate) struct Task {
    pub(crate) status: TaskStatus,
    pub(crate) identifier: String,
    #[serde(rename = "type")]
    task_type: String,
    start_time: String,
}

/// How its endpoints stand.
#[derive(Debug, Deserialize)]
pub(crate) struct Summary {
    #[serde(flatten)]
    counts: Counts,
    #[serde(default)]
    states: BTreeMap<String, u32>,
    #[serde(default)]
    next_retry_at: Option<String>,
    #[serde(default)]
    reasons: Vec<Reason>,
    #[serde(default)]
    reasons_truncated: bool,
}

#[derive(Debug, Deserialize)]
struct Counts {
    expected: u32,
    received: u32,
    finished: u32,
    failed: u32,
    missing: u32,
}

#[derive(Debug, Deserialize)]
struct Reason {
    endpoint: String,
    text: String,
}

/// The response of an endpoint.
#[derive(Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) endpoint: String,
    pub(crate) state: String,
    pub(crate) status: u8,
    #[serde(default)]
    pub(crate) progress: Option<Progress>,
    errnr: Option<i32>,
    errmsg: Option<String>,
    payload: Option<Box<RawValue>>,
    attempt: u32,
    #[serde(default)]
    retry_at: Option<String>,
    run: u32,
    elapsed_ms: Option<u64>,
    presumed: bool,
    late: bool,
}

/// How far a run has come.
#[derive(Debug, Deserialize)]
pub(crate) struct Progress {
    pub(crate) percent: u8,
    pub(crate) note: Option<String>,
}

/// A task of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Head {
    #[serde(flatten)]
    task: Task,
    #[serde(flatten)]
    counts: Counts,
}

impl Answer {
    /// The exit code that the task deserves.
    pub(crate) const fn exit(&self) -> Exit {
        let counts = &self.summary.counts;
        Exit::of_task(self.task.status, counts.failed == 0 && counts.missing == 0)
    }

    /// The answer for people.
    pub(crate) fn text(&self) -> String {
        let mut parts = vec![self.head()];
        if !self.rows.is_empty() {
            parts.push(self.table());
        }
        if let Some(path) = &self.responses {
            parts.push(format!("more responses: GET {}", harmless(path)));
        }
        if !self.summary.reasons.is_empty() {
            let mut table = table(&["MISSING", "WHY"]);
            for reason in &self.summary.reasons {
                table.add_row([harmless(&reason.endpoint), harmless(&reason.text)]);
            }
            parts.push(table.trim_fmt());
        }
        if self.summary.reasons_truncated {
            parts.push("and more".to_owned());
        }
        parts.join("\n\n")
    }

    fn head(&self) -> String {
        let (task, counts) = (&self.task, &self.summary.counts);
        let states: Vec<_> = self
            .summary
            .states
            .iter()
            .map(|(state, count)| format!("{count} {}", harmless(state)))
            .collect();
        let states = match states.is_empty() {
            true => String::new(),
            false => format!(" ({})", states.join(", ")),
        };
        let next = match &self.summary.next_retry_at {
            Some(at) => format!("\nnext attempt at {} UTC", harmless(at)),
            None => String::new(),
        };
        format!(
            "{}/{}  {}  {} UTC\n{} expected, {} received, {} finished, {} failed, {} missing{states}{next}",
            harmless(&task.task_type),
            harmless(&task.identifier),
            task.status,
            harmless(&task.start_time),
            counts.expected,
            counts.received,
            counts.finished,
            counts.failed,
            counts.missing,
        )
    }

    fn table(&self) -> String {
        let mut table = table(&[
            "ENDPOINT",
            "STATE",
            "ERRNR",
            "RUN",
            "NEXT (UTC)",
            "TIME",
            "REPLY",
        ]);
        // A column that says nothing of most tasks.
        let is_retried = self.rows.iter().any(|row| row.retry_at.is_some());
        if let Some(next) = table.column_mut(4).filter(|_| !is_retried) {
            next.set_constraint(ColumnConstraint::Hidden);
        }
        for row in &self.rows {
            table.add_row(row.cells());
        }
        table.trim_fmt()
    }
}

impl Row {
    fn cells(&self) -> [String; 7] {
        let mut state = harmless(&self.state);
        if self.presumed {
            state.push_str(" (presumed)");
        }
        if self.late {
            state.push_str(" (late)");
        }
        // The reply of a failed handler is rarely what one looks for first.
        let reply = match (&self.errmsg, &self.payload, &self.progress) {
            (Some(message), ..) => message.clone(),
            (None, Some(payload), _) => payload.get().to_owned(),
            (None, None, Some(progress)) if self.status == 0 => {
                let note = progress.note.as_deref().unwrap_or_default();
                format!("{} % {note}", progress.percent)
            }
            _ => String::new(),
        };
        [
            harmless(&self.endpoint),
            state,
            self.errnr.map_or_else(String::new, |n| n.to_string()),
            format!("{}.{}", self.attempt, self.run),
            self.retry_at.as_deref().map_or_else(String::new, harmless),
            self.elapsed_ms.map_or_else(String::new, span),
            cut(&harmless(&reply)),
        ]
    }
}

/// A page of tasks for people.
pub(crate) fn list(heads: &[Head]) -> String {
    let mut table = table(&[
        "STATUS",
        "CREATED (UTC)",
        "IDENTIFIER",
        "FINISHED",
        "FAILED",
        "MISSING",
    ]);
    for head in heads {
        let counts = &head.counts;
        table.add_row([
            head.task.status.to_string(),
            harmless(&head.task.start_time),
            harmless(&head.task.identifier),
            format!("{}/{}", counts.finished, counts.expected),
            counts.failed.to_string(),
            counts.missing.to_string(),
        ]);
    }
    table.trim_fmt()
}

/// A time for people, to the second, UTC.
pub(crate) fn time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M:%S").to_string()
}

/// A table without lines.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table
        .load_style(NOTHING)
        .set_content_arrangement(ContentArrangement::Disabled)
        .set_header(header.to_vec());
    table
}

fn span(ms: u64) -> String {
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..120_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        _ => format!("{} min", ms / 60_000),
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(MAX_CELL) {
        Some((at, _)) => format!("{}…", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{
      "task": {"status": "DONE", "endpoints": ["a", "b"], "start_time": "2015-05-06 01:14:24",
               "identifier": "x", "type": "worker", "id": 1, "payload": null},
      "taskResponseList": [
        {"status": 1, "endpoint": "a", "task_id": 1, "start_time": "", "payload": {"k": 1.50},
         "errnr": 0, "last_modified_time": "", "id": 1, "errmsg": null, "state": "SUCCEEDED",
         "attempt": 1, "run": 1, "progress": null, "elapsed_ms": 2345, "presumed": false,
         "late": true},
        {"status": 1, "endpoint": "b", "task_id": 1, "start_time": "", "payload": null,
         "errnr": 7, "last_modified_time": "", "id": 2, "errmsg": "no \u001b[31mspace\nleft",
         "state": "FAILED", "attempt": 2, "run": 1, "progress": null, "elapsed_ms": null,
         "presumed": false, "late": false}],
      "summary": {"expected": 2, "received": 2, "finished": 2, "failed": 1, "missing": 0,
                  "states": {"SUCCEEDED": 1, "FAILED": 1}, "reasons": [
                    {"endpoint": "c", "reason": "never_seen", "since": null, "text": "never"}],
                  "reasons_truncated": false, "late": 0, "uid": "u"}
    }"#;

    #[test]
    fn an_answer_is_shown_and_judged() {
        let answer: Answer = serde_json::from_str(ANSWER).unwrap();
        assert_eq!(answer.exit(), Exit::NOT_ALL_SUCCEEDED);
        let text = answer.text();
        for part in [
            "worker/x  DONE  2015-05-06 01:14:24 UTC",
            "2 expected, 2 received, 2 finished, 1 failed, 0 missing (1 FAILED, 1 SUCCEEDED)",
            "SUCCEEDED (late)",
            "{\"k\": 1.50}",
            "2.3 s",
            "no \\u{1b}[31mspace\\nleft",
            "never",
        ] {
            assert!(text.contains(part), "{part:?} in {text}");
        }
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn the_next_attempt_is_shown_only_where_one_is_awaited() {
        let without: Answer = serde_json::from_str(ANSWER).unwrap();
        assert!(!without.text().contains("NEXT"), "{}", without.text());
        let text = ANSWER
            .replace(
                "\"state\": \"FAILED\"",
                "\"state\": \"RETRYING\", \"retry_at\": \"2015-05-06 01:15:00\"",
            )
            .replace(
                "\"late\": 0",
                "\"late\": 0, \"retrying\": 1, \"next_retry_at\": \"2015-05-06 01:15:00\"",
            );
        let answer: Answer = serde_json::from_str(&text).unwrap();
        let text = answer.text();
        assert!(
            text.contains("next attempt at 2015-05-06 01:15:00 UTC"),
            "{text}"
        );
        let row = text.lines().find(|line| line.contains("RETRYING  "));
        assert!(
            row.is_some_and(|row| row.contains("2015-05-06 01:15:00")),
            "{text}"
        );
        assert!(text.contains("NEXT (UTC)"), "{text}");
    }

    #[test]
    fn spans_and_texts_are_short() {
        assert_eq!(span(999), "999 ms");
        assert_eq!(span(61_234), "61.2 s");
        assert_eq!(span(3_600_000), "60 min");
        assert_eq!(cut(&"é".repeat(61)), format!("{}…", "é".repeat(60)));
    }
}
