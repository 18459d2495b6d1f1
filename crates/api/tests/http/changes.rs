//! Cancel and retry.

use serde_json::json;
use tasker_core::ResponseState;

use crate::app::App;
use crate::worker::{Worker, report};

#[test]
fn a_cancel_reaches_the_worker_and_is_confirmed() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    assert_eq!(
        app.post("/worker", r#"{"identifier":"c","endpoints":["a","b"]}"#)
            .status,
        201
    );
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 0, ResponseState::Received)]);

    let cancelled = app.post("/worker/c/cancel", "{}");
    assert_eq!(cancelled.status, 200, "{}", cancelled.text);
    assert_eq!(cancelled.json()["task"]["status"], "CANCELLED");
    assert_eq!(worker.next().cancel[0].uid, uid);
    worker.report(vec![report(uid, 1, 0, ResponseState::Cancelled)]);
    app.eventually("it is confirmed", || {
        let answer = app.get("/worker/c").json();
        answer["summary"]["states"]["CANCELLED"] == 1
    });
    let answer = app.get("/worker/c?wait=60").json();
    assert_eq!(answer["task"]["status"], "CANCELLED");
    assert!(answer["summary"]["cancel_requested_at"].is_string());

    let again = app.post_nothing("/worker/c/cancel");
    assert_eq!(
        (again.status, &again.json()["task"]["status"]),
        (200, &json!("CANCELLED"))
    );
    app.post_nothing("/worker/c/retry")
        .is_problem(409, "retry_illegal");
    app.eventually("the cancel is marked", || {
        app.metric("tasker_tasks_published_total{kind=\"cancel\"}") == 1
    });
}

#[test]
fn a_worker_that_was_away_learns_of_the_cancel_with_its_welcome() {
    let app = App::start();
    assert_eq!(
        app.post("/worker", r#"{"identifier":"c","endpoints":["a"]}"#)
            .status,
        201
    );
    assert_eq!(app.post_nothing("/worker/c/cancel").status, 200);
    let mut worker = Worker::new(&app, "worker", "a");
    worker.say_hello(true);
    let welcome = worker.welcome();
    assert_eq!(welcome.cancelled.len(), 1);
    worker.report(vec![report(
        welcome.cancelled[0].uid,
        0,
        0,
        ResponseState::Cancelled,
    )]);
    app.eventually("it is confirmed", || {
        app.get("/worker/c").json()["summary"]["states"] == json!({"CANCELLED": 1})
    });
}

#[test]
fn failed_responses_are_tried_again() {
    let app = App::start();
    let mut workers = ["a", "b"].map(|name| Worker::welcomed(&app, "worker", name));
    assert_eq!(
        app.post("/worker", r#"{"identifier":"r","endpoints":["a","b"]}"#)
            .status,
        201
    );
    app.post_nothing("/worker/r/retry")
        .is_problem(409, "retry_illegal");
    for (worker, state) in workers
        .iter_mut()
        .zip([ResponseState::Succeeded, ResponseState::Failed])
    {
        let uid = worker.task().uid;
        worker.report(vec![report(uid, 1, 1, state)]);
    }
    let answer = app.get("/worker/r?wait=30").json();
    assert_eq!(
        (&answer["task"]["status"], &answer["summary"]["failed"]),
        (&json!("DONE"), &json!(1))
    );
    app.post_nothing("/worker/r/cancel")
        .is_problem(409, "cancel_illegal");

    let nothing = app
        .post("/worker/r/retry", r#"{"states":["TIMED_OUT"]}"#)
        .json();
    assert_eq!(
        (&nothing["changed"], &nothing["task"]["status"]),
        (&json!(0), &json!("DONE"))
    );
    let nothing = app.post("/worker/r/retry", r#"{"endpoints":["a"]}"#).json();
    assert_eq!(nothing["changed"], 0);

    let retried = app.post_nothing("/worker/r/retry");
    assert_eq!(retried.status, 200, "{}", retried.text);
    assert_eq!(retried.json()["changed"], 1);
    assert_eq!(retried.json()["task"]["status"], "SENT");
    let entry = workers[1].task();
    assert_eq!(entry.attempt, 2);
    workers[1].report(vec![report(entry.uid, 2, 1, ResponseState::Succeeded)]);
    let answer = app.get("/worker/r?wait=30").json();
    assert_eq!(
        (&answer["task"]["status"], &answer["summary"]["failed"]),
        (&json!("DONE"), &json!(0))
    );
    let attempts: Vec<_> = answer["taskResponseList"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| (row["endpoint"].clone(), row["attempt"].clone()))
        .collect();
    assert!(
        attempts.contains(&(json!("a"), json!(1))) && attempts.contains(&(json!("b"), json!(2)))
    );

    // What succeeded runs again only if it is named.
    let retried = app.post(
        "/worker/r/retry",
        r#"{"states":["SUCCEEDED"],"endpoints":["a"]}"#,
    );
    assert_eq!(retried.json()["changed"], 1, "{}", retried.text);
    assert_eq!(workers[0].task().attempt, 2);
}
