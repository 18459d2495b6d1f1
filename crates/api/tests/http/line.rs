//! One task along the whole line.

use serde_json::{Value, json};
use tasker_core::ResponseState;

use crate::app::App;
use crate::worker::{Worker, report};

pub(crate) const TASK_KEYS: [&str; 7] = [
    "status",
    "endpoints",
    "start_time",
    "identifier",
    "type",
    "id",
    "payload",
];

fn keys(json: &Value) -> Vec<&str> {
    json.as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect()
}

fn sorted(mut keys: Vec<&str>) -> Vec<&str> {
    keys.sort_unstable();
    keys
}

#[test]
fn the_walk_through_of_the_original() {
    let app = App::start();
    let mut workers = ["console1", "console2"].map(|name| Worker::welcomed(&app, "worker", name));

    let body = r#"{"identifier":"e7bd91d0-16ad-11e2-892e-0800200c9a66",
        "endpoints":["console1","console2"],"payload":{"foo":"bar"}}"#;
    let posted = app.post("/worker", body);
    assert_eq!(posted.status, 201, "{}", posted.text);
    let path = "/worker/e7bd91d0-16ad-11e2-892e-0800200c9a66";
    assert_eq!(posted.header("location"), Some(path));
    let task = posted.json();
    assert_eq!(sorted(keys(&task)), sorted(TASK_KEYS.to_vec()));
    assert_eq!(task["status"], "SENT");
    assert_eq!(task["endpoints"], json!(["console1", "console2"]));
    assert_eq!(task["payload"], json!({"foo": "bar"}));
    let time = task["start_time"].as_str().unwrap();
    assert!(
        chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok(),
        "{time}"
    );

    for worker in &mut workers {
        let entry = worker.task();
        assert_eq!((entry.attempt, entry.task_type.as_str()), (1, "worker"));
        worker.report(vec![report(entry.uid, 1, 0, ResponseState::Received)]);
        worker.report(vec![report(entry.uid, 1, 1, ResponseState::Running)]);
        worker.report(vec![report(entry.uid, 1, 1, ResponseState::Succeeded)]);
    }
    let answer = app.get(&format!("{path}?wait=30")).json();
    assert_eq!(answer["task"]["status"], "DONE");
    assert_eq!(sorted(keys(&answer["task"])), sorted(TASK_KEYS.to_vec()));
    let rows = answer["taskResponseList"].as_array().unwrap();
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((&row["status"], &row["errnr"]), (&json!(1), &json!(0)));
        assert_eq!(row["task_id"], task["id"]);
        assert_eq!(row["errmsg"], Value::Null);
        assert_eq!(row["payload"], json!({"done": 1.0}));
        assert_eq!(
            (&row["state"], &row["attempt"], &row["run"]),
            (&json!("SUCCEEDED"), &json!(1), &json!(1))
        );
        for key in ["start_time", "last_modified_time"] {
            let time = row[key].as_str().unwrap();
            assert!(chrono::NaiveDateTime::parse_from_str(time, "%Y-%m-%d %H:%M:%S").is_ok());
        }
    }
    let summary = &answer["summary"];
    for (key, value) in [
        ("expected", 2),
        ("received", 2),
        ("finished", 2),
        ("failed", 0),
        ("missing", 0),
        ("late", 0),
    ] {
        assert_eq!(summary[key], value, "{key}");
    }
    assert_eq!(summary["states"], json!({"SUCCEEDED": 2}));
    assert_eq!(summary["reasons"], json!([]));
    assert_eq!(summary["reasons_truncated"], false);
    assert!(summary["settled_at"].is_string() && summary["uid"].is_string());
    assert!(answer.get("responses").is_none());
    assert_eq!(app.metric("tasker_tasks_settled_total{status=\"DONE\"}"), 1);
    assert_eq!(app.metric("tasker_tasks_published_total{kind=\"task\"}"), 1);
}

#[test]
fn an_endpoint_that_never_connected_before_gets_its_tasks_with_its_first_hello() {
    let app = App::start();
    let posted = app.post(
        "/worker",
        r#"{"identifier":"early","endpoints":["late1","never"]}"#,
    );
    assert_eq!(
        (posted.status, &posted.json()["status"]),
        (201, &json!("SENT"))
    );
    let reasons = app.get("/worker/early").json()["summary"]["reasons"].clone();
    assert_eq!(reasons[0]["reason"], "never_seen");

    let mut worker = Worker::welcomed(&app, "worker", "late1");
    let entry = worker.task();
    assert_eq!((entry.identifier.as_str(), entry.attempt), ("early", 1));
    worker.report(vec![report(entry.uid, 1, 0, ResponseState::Received)]);
    app.eventually("the row is received", || {
        let summary = &app.get("/worker/early").json()["summary"];
        let reasons = summary["reasons"].as_array().unwrap();
        summary["received"] == 1
            && reasons
                .iter()
                .any(|r| r["reason"] == "received_not_started" && r["since"].is_string())
            && reasons
                .iter()
                .any(|r| r["reason"] == "never_seen" && r["endpoint"] == "never")
    });
    assert_eq!(app.metric("tasker_asks_total"), 1);
}

#[test]
fn unlisted_endpoints_perform_where_the_type_says_so_and_skip_elsewhere() {
    let app = App::start();
    for (task_type, is_for_all) in [("all", true), ("worker", false)] {
        let mut listed = Worker::welcomed(&app, task_type, "listed");
        let mut other = Worker::welcomed(&app, task_type, "other");
        let body = r#"{"identifier":"a","endpoints":["listed"]}"#;
        assert_eq!(app.post(&format!("/{task_type}"), body).status, 201);
        assert_eq!(listed.next().entries.len(), 1, "{task_type}");
        let seen = other.next();
        let expected = if is_for_all { (1, 0) } else { (0, 1) };
        assert_eq!(
            (seen.entries.len(), seen.for_others),
            expected,
            "{task_type}"
        );
    }
}
