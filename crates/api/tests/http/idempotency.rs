//! The identifier is an idempotency key; the payload keeps its bytes; 201 and 202 tell apart what
//! the broker has confirmed.

use std::sync::atomic::Ordering;
use std::time::Duration;

use serde_json::json;
use tasker_api::ApiSettings;
use tasker_core::store::Timing;

use crate::app::{App, settings};
use crate::worker::Worker;

#[test]
fn the_same_again_is_replayed_and_something_else_is_refused() {
    let app = App::start();
    let body = r#"{"identifier":"a","endpoints":["x","y"],"payload":{"n":1}}"#;
    let first = app.post("/worker", body);
    assert_eq!(first.status, 201);
    assert_eq!(first.header("idempotent-replayed"), None);

    for same in [
        body,
        r#"{"payload":{"n":1},"endpoints":["x","y","x"],"identifier":"a"}"#,
    ] {
        let again = app.post("/worker", same);
        assert_eq!(again.status, 200, "{}", again.text);
        assert_eq!(again.header("idempotent-replayed"), Some("true"));
        assert_eq!(again.header("location"), Some("/worker/a"));
        assert_eq!(again.json(), first.json());
    }
    for other in [
        r#"{"identifier":"a","endpoints":["x","y"],"payload":{"n":2}}"#,
        r#"{"identifier":"a","endpoints":["x"],"payload":{"n":1}}"#,
        r#"{"identifier":"a","payload":{"n":1}}"#,
        r#"{"identifier":"a","endpoints":["x","y"],"payload":{"n":1},"timeout_s":9}"#,
    ] {
        let problem = app
            .post("/worker", other)
            .is_problem(409, "identifier_reused");
        assert_eq!(problem["errors"][0]["field"], "identifier");
    }
    assert_eq!(app.stored("worker"), 1);
    // Case counts, and so does the task type.
    assert_eq!(app.post("/worker", r#"{"identifier":"A"}"#).status, 201);
    assert_eq!(app.post("/all", r#"{"identifier":"a"}"#).status, 201);
    assert_eq!(app.metric("tasker_tasks_replayed_total"), 2);
    assert_eq!(
        app.metric("tasker_requests_refused_total{code=\"identifier_reused\"}"),
        4
    );
}

#[test]
fn a_hundred_at_once_are_one_task() {
    let app = App::start();
    let body = r#"{"identifier":"storm","endpoints":["a","b"],"payload":[1]}"#;
    let statuses: Vec<u16> = std::thread::scope(|scope| {
        let posts: Vec<_> = (0..100)
            .map(|_| scope.spawn(|| app.post("/worker", body).status))
            .collect();
        posts.into_iter().map(|post| post.join().unwrap()).collect()
    });
    let count = |status| statuses.iter().filter(|s| **s == status).count();
    assert_eq!((count(201), count(200)), (1, 99), "{statuses:?}");
    assert_eq!(app.stored("worker"), 1);
    assert_eq!(app.get("/worker/storm").json()["summary"]["expected"], 2);
}

#[test]
fn concurrent_requests_share_transactions() {
    let app = App::start();
    std::thread::scope(|scope| {
        for i in 0..100 {
            let app = &app;
            scope.spawn(move || {
                let body = json!({"identifier": format!("t{i}"), "payload": i});
                assert_eq!(app.post("/worker", body.to_string()).status, 201);
            });
        }
    });
    assert_eq!(app.stored("worker"), 100);
    let creates = app.store.creates.load(Ordering::SeqCst);
    assert!(creates < 100, "{creates} transactions for 100 tasks");
    assert!(app.store.greatest.load(Ordering::SeqCst) > 1);
}

#[test]
fn a_task_that_the_ledger_refuses_takes_no_neighbour_down() {
    let app = App::start();
    std::thread::scope(|scope| {
        for i in 0..40 {
            let app = &app;
            scope.spawn(move || {
                let is_bad = i % 10 == 0;
                let name = if is_bad {
                    app.store.refused.to_owned()
                } else {
                    format!("t{i}")
                };
                let got = app.post("/worker", json!({"identifier": name}).to_string());
                if is_bad {
                    got.is_problem(500, "internal");
                } else {
                    assert_eq!(got.status, 201);
                }
            });
        }
    });
    assert_eq!(app.stored("worker"), 36);
}

#[test]
fn the_payload_keeps_its_bytes() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let payload = "{\"z\" : 1e2,\t\"a\":[-0, 1.10, 18446744073709551616, 1e-400],\r\n\"\\u00e9\": \"\\ud83d\\ude00\"}";
    let body = format!(r#"{{"identifier":"bytes","endpoints":["a"],"payload": {payload} }}"#);
    let posted = app.post("/worker", &body);
    assert_eq!(posted.status, 201, "{}", posted.text);
    assert!(posted.text.contains(payload), "{}", posted.text);
    assert!(app.get("/worker/bytes").text.contains(payload));
    let entry = worker.task();
    assert!(
        String::from_utf8(entry.task.to_vec())
            .unwrap()
            .contains(payload)
    );
}

#[test]
fn without_a_confirm_the_answer_is_202_and_the_task_is_sent_later() {
    let wait_for_sent = Duration::from_millis(100);
    let app = App::with(
        ApiSettings {
            wait_for_sent,
            ..settings()
        },
        Timing::default(),
    );
    app.broker.hold_confirms(true);
    let posted = app.post("/worker", r#"{"identifier":"slow","endpoints":["a"]}"#);
    assert_eq!(
        (posted.status, &posted.json()["status"]),
        (202, &json!("CREATED"))
    );
    assert_eq!(posted.header("location"), Some("/worker/slow"));
    let again = app.post("/worker", r#"{"identifier":"slow","endpoints":["a"]}"#);
    assert_eq!(
        (again.status, &again.json()["status"]),
        (200, &json!("CREATED"))
    );
    app.broker.hold_confirms(false);
    app.eventually("it is sent", || {
        app.get("/worker/slow").json()["task"]["status"] == "SENT"
    });
}

#[test]
fn with_the_broker_away_the_answer_is_202_at_once() {
    let app = App::start();
    app.broker.set_up(false);
    let started_at = std::time::Instant::now();
    let posted = app.post("/worker", r#"{"identifier":"away","endpoints":["a"]}"#);
    assert_eq!(
        (posted.status, &posted.json()["status"]),
        (202, &json!("CREATED"))
    );
    // Less than the 10 s that it would wait for a confirm.
    assert!(started_at.elapsed() < settings().wait_for_sent / 2);
    app.broker.set_up(true);
    app.eventually("it is sent", || {
        app.get("/worker/away").json()["task"]["status"] == "SENT"
    });
}
