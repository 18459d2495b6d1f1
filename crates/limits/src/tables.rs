//! The figures as tables of Markdown.

use std::fmt::Write;

use crate::figures::Figures;
use crate::targets::TARGETS;

/// A row: what it is, and the name of its figure.
type Row = (&'static str, &'static str);

const PROBES: &[Row] = &[
    (
        "write of 4 KiB and fdatasync, one writer, a second, before each round",
        "probe.before.fdatasync",
    ),
    ("the same after it", "probe.after.fdatasync"),
    (
        "JSON echo of actix-web, 32 connections, requests a second, before",
        "probe.before.echo",
    ),
    ("after", "probe.after.echo"),
    (
        "INSERT, one connection, rows a second, before",
        "probe.before.insert",
    ),
    ("after", "probe.after.insert"),
];

const LIMITS: &[Row] = &[
    (
        "JSON echo of actix-web, 64 connections, requests a second",
        "echo",
    ),
    (
        "MariaDB, single-row INSERT, 32 connections, rows a second",
        "mariadb.single",
    ),
    (
        "MariaDB, INSERT of 100 rows, 8 connections, rows a second",
        "mariadb.multi",
    ),
    ("RabbitMQ, 1 queue, tasks a second", "rabbitmq.1"),
    ("RabbitMQ, 2 queues", "rabbitmq.2"),
    ("RabbitMQ, 10 queues", "rabbitmq.10"),
    ("RabbitMQ, 100 queues", "rabbitmq.100"),
    ("RabbitMQ, 1,000 queues", "rabbitmq.1000"),
    (
        "RabbitMQ, one message to 1,000 queues, until all acked, ms",
        "rabbitmq.one_to_1000_ms",
    ),
    (
        "RabbitMQ, one message to 10,000 queues, ms",
        "rabbitmq.one_to_10000_ms",
    ),
];

const ACCEPT: &[Row] = &[
    (
        "durable POSTs a second, 64 connections",
        "accept.per_second",
    ),
    ("p50, ms", "accept.p50_ms"),
    ("p99, ms", "accept.p99_ms"),
    ("refused with 503", "accept.refused"),
    (
        "tasks open when the last POST was answered",
        "accept.backlog_at_end",
    ),
    ("until all of them were DONE, s", "accept.drain_seconds"),
    ("memory of the API, peak, MiB", "accept.api_mib"),
    ("ten minutes: POSTs a second", "soak.per_second"),
    ("ten minutes: memory of the API, peak, MiB", "soak.api_mib"),
    (
        "ten minutes: peak of the last quarter : of the second",
        "soak.api_growth",
    ),
];

const FANOUT: &[Row] = &[
    (
        "1 endpoint, listed, tasks a second",
        "fanout.1.listed.tasks_per_second",
    ),
    ("1, open", "fanout.1.open.tasks_per_second"),
    ("2, listed", "fanout.2.listed.tasks_per_second"),
    ("2, open", "fanout.2.open.tasks_per_second"),
    ("10, listed", "fanout.10.listed.tasks_per_second"),
    ("10, open", "fanout.10.open.tasks_per_second"),
    ("100, listed", "fanout.100.listed.tasks_per_second"),
    ("100, open", "fanout.100.open.tasks_per_second"),
    (
        "10, listed: responses a second",
        "fanout.10.listed.responses_per_second",
    ),
    (
        "100, listed: responses a second",
        "fanout.100.listed.responses_per_second",
    ),
    (
        "10, listed: syncs of the endpoints' journal in all",
        "fanout.10.listed.fsyncs",
    ),
    (
        "one task to 1,000 endpoints, until all is recorded, ms",
        "crowd.1000.ms",
    ),
    ("one task to 10,000 endpoints, ms", "crowd.10000.ms"),
    ("each of 1,000 endpoints, µs", "crowd.1000.us_each"),
    ("each of 10,000 endpoints, µs", "crowd.10000.us_each"),
];

const PEER: &[Row] = &[
    (
        "tasker, 10 listed endpoints, tasks a second",
        "fanout.10.listed.tasks_per_second",
    ),
    (
        "Celery, 10 subscribers, tasks a second",
        "celery.tasks_per_second",
    ),
    ("tasker, 10 tasks a second, p50, ms", "latency.p50_ms"),
    ("Celery, p50, ms", "celery.p50_ms"),
    ("tasker, p99, ms", "latency.p99_ms"),
    ("Celery, p99, ms", "celery.p99_ms"),
];

const LARGEST: &[Row] = &[
    (
        "GET of the task: its summary and the first responses, p50, ms",
        "largest.summary_p50_ms",
    ),
    ("p99, ms", "largest.summary_p99_ms"),
    (
        "GET of a page of its responses, p50, ms",
        "largest.page_p50_ms",
    ),
    ("p99, ms", "largest.page_p99_ms"),
    ("memory of the API afterwards, MiB", "largest.api_mib"),
];

/// Figures of several kinds side by side.
struct Across {
    title: &'static str,
    /// What all columns are about.
    about: &'static str,
    /// What each column is, and what the names of its figures begin with.
    columns: &'static [(&'static str, &'static str)],
    /// What each row is, and what the names of its figures end with.
    rows: &'static [Row],
}

const GROWTH: Across = Across {
    title: "Growth",
    about: "tasks in the database",
    columns: &[
        ("1,000", "growth.1000"),
        ("100,000", "growth.100000"),
        ("1,000,000", "growth.1000000"),
    ],
    rows: &[
        ("POST, p50, ms", "post_p50_ms"),
        ("POST, p99, ms", "post_p99_ms"),
        ("GET of a recent task, p50, ms", "recent_get_p50_ms"),
        ("GET of a recent task, p99, ms", "recent_get_p99_ms"),
        ("GET of any task, p50, ms", "uniform_get_p50_ms"),
        ("GET of any task, p99, ms", "uniform_get_p99_ms"),
        ("list, p50, ms", "list_p50_ms"),
        ("list, p99, ms", "list_p99_ms"),
        ("memory of the API, idle, MiB", "api_idle_mib"),
        ("memory of the API afterwards, MiB", "api_mib"),
        ("memory of an idle worker, MiB", "worker_idle_mib"),
    ],
};

const RUNS: Across = Across {
    title: "Runs: tasker beside the public server of taskfarm",
    about: "clients",
    columns: &[
        ("1, taskfarm", "runs.taskfarm.1"),
        ("1, tasker", "runs.tasker.1"),
        ("8, taskfarm", "runs.taskfarm.8"),
        ("8, tasker", "runs.tasker.8"),
        ("32, taskfarm", "runs.taskfarm.32"),
        ("32, tasker", "runs.tasker.32"),
    ],
    rows: &[
        ("get a task, mean, ms", "get_ms"),
        ("update it, mean, ms", "update_ms"),
        ("done with it, mean, ms", "done_ms"),
        ("tasks a second", "tasks_per_second"),
        (
            "processor time of the clients for a task, ms",
            "client_cpu_ms",
        ),
    ],
};

/// All tables.
#[must_use]
pub fn markdown(figures: &Figures) -> String {
    let mut text = targets(figures);
    for (title, rows) in [
        ("The host meanwhile", PROBES),
        ("Limits", LIMITS),
        ("Accept", ACCEPT),
        ("Fan-out", FANOUT),
        ("The same job in Celery", PEER),
    ] {
        text += &table(title, rows, figures);
    }
    text += &across(&RUNS, figures);
    text += &across(&GROWTH, figures);
    text += &table("A task with 50,000 responses", LARGEST, figures);
    if figures.voids().is_empty() {
        text += "\nNo run was void.\n";
    } else {
        text += "\nVoid runs, whose figures are left out:\n\n";
        for void in figures.voids() {
            text += &format!("* {void}\n");
        }
    }
    text
}

fn targets(figures: &Figures) -> String {
    let mut text =
        "### Targets\n\n| what | demanded | aim | measured | |\n|---|---|---|---|---|\n".to_owned();
    for target in TARGETS {
        let (demanded, aim) = target.demanded();
        let (measured, verdict) = match target.measured(figures) {
            None => ("not measured".to_owned(), ""),
            Some(value) => {
                let verdict = if target.is_met(value) {
                    "met"
                } else {
                    "**missed**"
                };
                (format!("{}{}", show(value), target.unit()), verdict)
            }
        };
        let what = target.what;
        writeln!(
            text,
            "| {what} | {demanded} | {aim} | {measured} | {verdict} |"
        )
        .expect("memory");
    }
    text
}

/// Empty if nothing of it was measured.
fn table(title: &str, rows: &[Row], figures: &Figures) -> String {
    let mut lines = String::new();
    for (what, name) in rows {
        if let (Some(median), Some((least, most))) = (figures.median(name), figures.range(name)) {
            let (median, least, most) = (show(median), show(least), show(most));
            writeln!(lines, "| {what} | {median} | {least} – {most} |").expect("memory");
        }
    }
    headed(
        title,
        "| what | median | least – greatest |\n|---|---|---|",
        &lines,
    )
}

/// Empty if nothing of it was measured.
fn across(table: &Across, figures: &Figures) -> String {
    let mut lines = String::new();
    for (what, name) in table.rows {
        let medians = table.columns.iter();
        let medians: Vec<_> = medians
            .map(|(_, column)| figures.median(&format!("{column}.{name}")))
            .collect();
        if medians.iter().any(Option::is_some) {
            let shown = medians
                .into_iter()
                .map(|median| median.map(show).unwrap_or_default());
            let shown: Vec<_> = shown.collect();
            writeln!(lines, "| {what} | {} |", shown.join(" | ")).expect("memory");
        }
    }
    let mut head = format!("| {} |", table.about);
    for (column, _) in table.columns {
        head += &format!(" {column} |");
    }
    let rule = "---|".repeat(1 + table.columns.len());
    headed(table.title, &format!("{head}\n|{rule}"), &lines)
}

fn headed(title: &str, head: &str, lines: &str) -> String {
    if lines.is_empty() {
        return String::new();
    }
    format!("\n### {title}\n\n{head}\n{lines}")
}

/// Three digits that matter, thousands apart.
#[must_use]
pub fn show(value: f64) -> String {
    if value < 10.0 {
        return format!("{value:.2}");
    }
    if value < 100.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut shown = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_and_thousands() {
        let shown = [0.333, 12.34, 123.4, 1234.5, 1_234_567.0].map(show);
        assert_eq!(shown, ["0.33", "12.3", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn tables_have_medians_ranges_and_verdicts() {
        let mut figures = Figures::default();
        for (tasker, mariadb) in [(40.0, 100.0), (60.0, 100.0), (70.0, 100.0)] {
            figures.begin_round();
            figures.add("accept.per_second", tasker);
            figures.add("mariadb.single", mariadb);
            figures.add("growth.1000.post_p50_ms", tasker);
        }
        figures.add_void("latency", "a task failed");
        let text = markdown(&figures);
        for line in [
            "| durable POSTs : single-row INSERTs of MariaDB | ≥ 0.5 | ≥ 1 | 0.60 | met |",
            "| durable POSTs a second, 64 connections | 60.0 | 40.0 – 70.0 |",
            "| memory of an idle worker | ≤ 12 MiB |  | not measured |  |",
            "### Growth",
            "| POST, p50, ms | 60.0 |  |  |",
            "* latency, round 3: a task failed",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}\n{text}");
        }
        assert!(!text.contains("### Fan-out"), "nor a table: {text}");
        assert!(
            !text.contains("Celery, p50"),
            "what was not measured has no row: {text}"
        );
    }
}
