//! Cancel and retry.

use serde_json::{Value, json};
use tasker_api::ApiSettings;
use tasker_core::ResponseState;
use tasker_core::retry::RetryPolicy;
use tasker_core::store::Timing;

use crate::app::{App, settings};
use crate::worker::{Worker, report};

/// endpoint → (state, attempt) of all responses of a task.
fn stand(app: &App, path: &str) -> Vec<(String, String, u64)> {
    let answer = app.get(&format!("{path}/responses")).json();
    let rows = answer["responses"].as_array().unwrap();
    let text = |row: &Value, key: &str| row[key].as_str().unwrap().to_owned();
    let stand = rows.iter().map(|row| {
        let attempt = row["attempt"].as_u64().unwrap();
        (text(row, "endpoint"), text(row, "state"), attempt)
    });
    stand.collect()
}

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

/// By state and by endpoint at once; everybody else keeps the answer that it gave.
#[test]
fn only_what_was_asked_for_is_tried_again() {
    let app = App::start();
    let names = ["a", "b", "c", "d", "e"];
    let mut workers = names.map(|name| Worker::welcomed(&app, "worker", name));
    let created = app.post(
        "/worker",
        r#"{"identifier":"s","endpoints":["a","b","c","d","e"]}"#,
    );
    let ends = [
        ResponseState::Failed,
        ResponseState::Failed,
        ResponseState::TimedOut,
        ResponseState::Rejected,
        ResponseState::Succeeded,
    ];
    for (worker, state) in workers.iter_mut().zip(ends) {
        let uid = worker.task().uid;
        worker.report(vec![report(uid, 1, 1, state)]);
    }
    assert_eq!(app.get("/worker/s?wait=30").json()["summary"]["failed"], 4);

    let order = r#"{"states":["FAILED","TIMED_OUT","EXPIRED"],"endpoints":["a","c","d","nobody"]}"#;
    let retried = app.post("/worker/s/retry", order).json();
    assert_eq!(retried["changed"], 2);
    let task = &retried["task"];
    assert_eq!(
        (&task["id"], &task["status"]),
        (&created.json()["id"], &json!("SENT"))
    );
    let before = [
        ("a", "WAITING", 2),
        ("b", "FAILED", 1),
        ("c", "WAITING", 2),
        ("d", "REJECTED", 1),
        ("e", "SUCCEEDED", 1),
    ];
    let before = before.map(|(name, state, n)| (name.to_owned(), state.to_owned(), n));
    assert_eq!(stand(&app, "/worker/s"), before);
    for place in [0, 2] {
        let entry = workers[place].task();
        assert_eq!(entry.attempt, 2);
        workers[place].report(vec![report(entry.uid, 2, 1, ResponseState::Succeeded)]);
    }
    let answer = app.get("/worker/s?wait=30").json();
    assert_eq!(
        (&answer["task"]["status"], &answer["summary"]["failed"]),
        (&json!("DONE"), &json!(2))
    );
    assert_eq!(stand(&app, "/worker/s")[1], before[1]);
    let counted = "tasker_retries_ordered_total{by=\"client\"}";
    assert_eq!(app.metric(counted), 2);
}

/// What nobody took in time, with a new life span; who answered keeps its answer.
#[test]
fn what_expired_is_tried_again_alone() {
    let settings = ApiSettings {
        wait_for_endpoints_timeout_s: 1,
        ..settings()
    };
    let app = App::with(settings, Timing::default());
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let body = r#"{"identifier":"x","endpoints":["a","late"],"expires_in_s":1}"#;
    assert_eq!(app.post("/worker", body).status, 201);
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Failed)]);
    app.eventually("it expires", || {
        let answer = app.get("/worker/x").json();
        answer["summary"]["states"] == json!({"EXPIRED": 1, "FAILED": 1})
            && answer["task"]["status"] == "INCOMPLETE"
    });
    let retried = app.post("/worker/x/retry", r#"{"states":["EXPIRED"]}"#);
    assert_eq!(retried.json()["changed"], 1, "{}", retried.text);
    let mut late = Worker::welcomed(&app, "worker", "late");
    let entry = late.task();
    assert_eq!((entry.uid, entry.attempt), (uid, 2));
    late.report(vec![report(uid, 2, 1, ResponseState::Succeeded)]);
    let answer = app.get("/worker/x?wait=30").json();
    assert_eq!(answer["task"]["status"], "DONE");
    let stands = [("a", "FAILED", 1), ("late", "SUCCEEDED", 2)];
    let stands = stands.map(|(name, state, n)| (name.to_owned(), state.to_owned(), n));
    assert_eq!(stand(&app, "/worker/x"), stands);
}

/// The type orders the next attempt by itself; the wait between is shown, and the task is not DONE.
#[test]
fn a_failure_is_tried_again_by_itself() {
    let mut settings = settings();
    settings.task_types[0].retry = RetryPolicy {
        max_attempts: 2,
        backoff_s: 2,
        backoff_max_s: 2,
    };
    let app = App::with(settings, Timing::default());
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let body = r#"{"identifier":"again","endpoints":["a"]}"#;
    assert_eq!(app.post("/worker", body).status, 201);
    let uid = worker.task().uid;
    let mut failed = report(uid, 1, 1, ResponseState::Failed);
    failed.errmsg = Some("no disk".into());
    worker.report(vec![failed]);
    app.eventually("it waits for its next attempt", || {
        app.get("/worker/again").json()["summary"]["retrying"] == 1
    });
    let answer = app.get("/worker/again").json();
    let (row, summary) = (&answer["taskResponseList"][0], &answer["summary"]);
    assert_eq!(
        (&row["state"], &row["status"], &row["attempt"], &row["run"]),
        (&json!("RETRYING"), &json!(0), &json!(2), &json!(0))
    );
    assert_eq!(
        (&row["errnr"], &row["errmsg"]),
        (&json!(1), &json!("no disk"))
    );
    assert!(row["retry_at"].is_string(), "{answer}");
    assert_eq!(row["retry_at"], summary["next_retry_at"]);
    assert_eq!(
        (
            &summary["finished"],
            &summary["failed"],
            &summary["missing"]
        ),
        (&json!(0), &json!(0), &json!(1))
    );
    assert_eq!(summary["reasons"][0]["reason"], "retrying");
    assert_eq!(answer["task"]["status"], "SENT");

    let entry = worker.task();
    assert_eq!((entry.uid, entry.attempt), (uid, 2));
    worker.report(vec![report(uid, 2, 1, ResponseState::Succeeded)]);
    let answer = app.get("/worker/again?wait=30").json();
    let (row, summary) = (&answer["taskResponseList"][0], &answer["summary"]);
    assert_eq!(
        (&answer["task"]["status"], &summary["failed"]),
        (&json!("DONE"), &json!(0))
    );
    assert_eq!(
        (&row["errnr"], &row["errmsg"], &row["retry_at"]),
        (&json!(0), &Value::Null, &Value::Null)
    );
    assert_eq!(
        (&summary["retrying"], &summary["next_retry_at"]),
        (&json!(0), &Value::Null)
    );
    let counted = "tasker_retries_ordered_total{by=\"policy\"}";
    assert_eq!(app.metric(counted), 1);
}
