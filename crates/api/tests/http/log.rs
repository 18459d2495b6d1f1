//! What an operator reads at night: one line for an absence, few for a flood.

use std::sync::LazyLock;

use tasker_testkit::log::Log;

use crate::app::App;
use crate::faulty::SECRET;
use crate::worker::{Worker, dead};

/// The log of this test program, of all its API processes, with the names of their threads.
static LOG: LazyLock<Log> = LazyLock::new(|| {
    let log = Log::default();
    let writer = log.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_thread_names(true)
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .init();
    log
});

/// The lines of a process's loops so far.
fn logged(app: &App) -> Vec<String> {
    LOG.lines(&format!(" {} ", app.thread_name()))
}

fn failures(app: &App, of: &str) -> u64 {
    app.metric(&format!("tasker_loop_failures_total{{loop=\"{of}\"}}"))
}

#[test]
fn a_lost_ledger_is_one_line_whoever_misses_it() {
    LazyLock::force(&LOG);
    let app = App::start();
    let worker = Worker::welcomed(&app, "worker", "a");
    app.store.set_away(true);
    worker.say_hello(false);
    app.eventually("every loop has failed, and again", || {
        ["settle", "ask", "recorder"]
            .iter()
            .all(|of| failures(&app, of) > 0)
            && failures(&app, "settle") > 3
    });
    app.post("/worker", r#"{"identifier":"a"}"#)
        .is_problem(503, "unavailable");
    let lines = logged(&app);
    let news: Vec<_> = lines
        .iter()
        .filter(|line| line.contains(" WARN ") || line.contains(" ERROR "))
        .collect();
    assert_eq!(news.len(), 1, "{lines:#?}");
    assert!(news[0].contains("the ledger does not answer"), "{news:?}");
    assert!(news[0].contains(SECRET), "without its cause: {news:?}");
    app.store.set_away(false);
}

#[test]
fn a_flood_of_bad_messages_is_a_line_and_a_count() {
    LazyLock::force(&LOG);
    let app = App::start();
    let worker = Worker::welcomed(&app, "worker", "a");
    for i in 0..500 {
        worker.post(worker.reports(), format!("{{\u{1b}[2J\n{i}").into_bytes());
    }
    assert_eq!(dead(&app, 500).len(), 500);
    let counted = app.metric("tasker_dead_lettered_total{reason=\"malformed\"}");
    assert_eq!(counted, 500);
    let about = |app| -> Vec<String> {
        let mut lines = logged(app);
        lines.retain(|line| line.contains("dead-lettered"));
        lines
    };
    let lines = about(&app);
    assert!(lines.len() <= 2, "{lines:#?}");
    assert!(lines[0].contains("source=worker.a "), "{lines:?}");
    app.eventually("the rest is told", || about(&app).len() > 1);
    let times = |line: &String| -> u64 {
        let (_, rest) = line.split_once("times=").unwrap();
        rest.split(' ').next().unwrap().trim().parse().unwrap()
    };
    let lines = about(&app);
    assert_eq!(lines.iter().map(times).sum::<u64>(), 500, "{lines:#?}");
}
