//! Long-polls, lists, pages.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasker_api::ApiSettings;
use tasker_core::ResponseState;
use tasker_core::store::Timing;

use crate::app::{App, settings};
use crate::worker::{Worker, report};

#[test]
fn a_long_poll_ends_when_the_task_is_settled() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    assert_eq!(
        app.post("/worker", r#"{"identifier":"p","endpoints":["a"]}"#)
            .status,
        201
    );
    let entry = worker.task();
    std::thread::scope(|scope| {
        let polls: Vec<_> = (0..3)
            .map(|_| {
                scope.spawn(|| {
                    let started_at = Instant::now();
                    (app.get("/worker/p?wait=60").json(), started_at.elapsed())
                })
            })
            .collect();
        app.eventually("somebody waits", || {
            app.metric("tasker_long_poll_tasks") == 1
        });
        worker.report(vec![report(entry.uid, 1, 1, ResponseState::Failed)]);
        for poll in polls {
            let (answer, took) = poll.join().unwrap();
            assert_eq!(answer["task"]["status"], "DONE");
            assert_eq!(answer["summary"]["failed"], 1);
            assert!(took < Duration::from_secs(20));
        }
    });
    app.eventually("nobody waits", || app.metric("tasker_long_poll_tasks") == 0);
    let started_at = Instant::now();
    assert_eq!(app.get("/worker/p?wait=60").status, 200);
    assert!(
        started_at.elapsed() < Duration::from_secs(5),
        "a settled task is not waited for"
    );
}

#[test]
fn a_long_poll_ends_after_its_time_and_when_the_process_stops() {
    let mut app = App::start();
    assert_eq!(
        app.post("/worker", r#"{"identifier":"p","endpoints":["a"]}"#)
            .status,
        201
    );
    let started_at = Instant::now();
    assert_eq!(app.get("/worker/p?wait=1").json()["task"]["status"], "SENT");
    assert!(started_at.elapsed() >= Duration::from_secs(1));

    let mut stream = app.connect();
    let request = b"GET /worker/p?wait=60 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    std::io::Write::write_all(&mut stream, request).unwrap();
    app.eventually("somebody waits", || {
        app.metric("tasker_long_poll_tasks") == 1
    });
    assert!(app.drain().in_time);
    let reply = crate::app::read_raw(&mut stream);
    assert_eq!(
        (reply.status, &reply.json()["task"]["status"]),
        (200, &json!("SENT"))
    );
}

#[test]
fn an_incomplete_task_says_why() {
    let settings = ApiSettings {
        wait_for_endpoints_timeout_s: 1,
        ..settings()
    };
    let app = App::with(settings, Timing::default());
    let mut late = Worker::welcomed(&app, "worker", "late");
    let body = r#"{"identifier":"i","endpoints":["late","never"]}"#;
    assert_eq!(app.post("/worker", body).status, 201);
    let answer = app.get("/worker/i?wait=30").json();
    assert_eq!(answer["task"]["status"], "INCOMPLETE");
    assert_eq!(answer["summary"]["states"], json!({"WAITING": 2}));
    let mut reasons = answer["summary"]["reasons"].as_array().unwrap().clone();
    reasons.sort_by_key(|reason| reason["endpoint"].to_string());
    assert_eq!(reasons[0]["reason"], "not_received_yet");
    assert_eq!(reasons[1]["reason"], "never_seen");
    assert_eq!(reasons[1]["since"], Value::Null);
    assert!(reasons.iter().all(|reason| reason["text"].is_string()));
    assert_eq!(answer["taskResponseList"], json!([]));

    let uid = late.task().uid;
    let mut never = Worker::welcomed(&app, "worker", "never");
    assert_eq!(never.task().uid, uid);
    for worker in [&late, &never] {
        worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    }
    app.eventually("it is DONE late", || {
        app.get("/worker/i").json()["task"]["status"] == "DONE"
    });
}

#[test]
fn lists_are_paged_and_filtered() {
    let app = App::start();
    for i in 0..7 {
        let body = format!(r#"{{"identifier":"t{i}","endpoints":["a"]}}"#);
        assert_eq!(app.post("/worker", body).status, 201);
    }
    assert_eq!(app.post_nothing("/worker/t3/cancel").status, 200);
    let mut path = "/worker?limit=3".to_owned();
    let (mut seen, mut pages) = (Vec::new(), 0);
    loop {
        let page = app.get(&path).json();
        pages += 1;
        for task in page["tasks"].as_array().unwrap() {
            seen.push(task["identifier"].as_str().unwrap().to_owned());
            assert_eq!(
                (&task["expected"], &task["type"]),
                (&json!(1), &json!("worker"))
            );
        }
        match page["next"].as_str() {
            Some(next) => path = format!("/worker?limit=3&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(pages, 3);
    assert_eq!(seen, ["t6", "t5", "t4", "t3", "t2", "t1", "t0"]);
    let cancelled = app.get("/worker?status=CANCELLED").json();
    assert_eq!(cancelled["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(cancelled["tasks"][0]["identifier"], "t3");
    assert_eq!(
        app.get("/worker?status=DONE").json(),
        json!({"tasks": [], "next": null})
    );
    // A cursor belongs to its list.
    let next = app.get("/worker?limit=3").json()["next"]
        .as_str()
        .unwrap()
        .to_owned();
    app.get(&format!("/all?cursor={next}"))
        .is_problem(400, "bad_parameter");
    app.get(&format!("/worker/t1/responses?cursor={next}"))
        .is_problem(400, "bad_parameter");
}

#[test]
fn the_answer_holds_a_thousand_rows_and_a_link_to_the_rest() {
    let app = App::start();
    let names: Vec<_> = (0..1003).map(|i| format!("e{i:04}")).collect();
    let body = json!({"identifier": "wide", "endpoints": names});
    assert_eq!(app.post("/worker", body.to_string()).status, 201);
    let summary = &app.get("/worker/wide").json()["summary"];
    assert_eq!(summary["missing"], 1003);
    assert_eq!(summary["reasons"].as_array().unwrap().len(), 1000);
    assert_eq!(summary["reasons_truncated"], true);

    let uid = summary["uid"].as_str().unwrap().parse().unwrap();
    for name in &names {
        Worker::new(&app, "worker", name).report(vec![report(
            tasker_core::TaskUid(uid),
            1,
            1,
            ResponseState::Succeeded,
        )]);
    }
    let answer = app.get("/worker/wide?wait=30").json();
    assert_eq!(answer["task"]["status"], "DONE");
    assert_eq!(answer["summary"]["finished"], 1003);
    let first = answer["taskResponseList"].as_array().unwrap();
    assert_eq!(first.len(), 1000);
    let rest = app.get(answer["responses"].as_str().unwrap()).json();
    assert_eq!(
        (rest["responses"].as_array().unwrap().len(), &rest["next"]),
        (3, &Value::Null)
    );
    let ids = |rows: &Value| -> Vec<i64> {
        rows.as_array()
            .unwrap()
            .iter()
            .map(|row| row["id"].as_i64().unwrap())
            .collect()
    };
    let mut all = ids(&answer["taskResponseList"]);
    all.extend(ids(&rest["responses"]));
    all.dedup();
    assert_eq!(all.len(), 1003);

    let page = app
        .get("/worker/wide/responses?state=SUCCEEDED&limit=1")
        .json();
    assert_eq!(page["responses"].as_array().unwrap().len(), 1);
    assert!(page["next"].is_string());
    let none = app.get("/worker/wide/responses?state=FAILED").json();
    assert_eq!(none, json!({"responses": [], "next": null}));
}

#[test]
fn responses_show_those_that_have_not_received_it_too() {
    let app = App::start();
    assert_eq!(
        app.post("/worker", r#"{"identifier":"a","endpoints":["x","y"]}"#)
            .status,
        201
    );
    let rows = app.get("/worker/a/responses").json()["responses"].clone();
    assert_eq!(rows.as_array().unwrap().len(), 2);
    assert_eq!(
        (&rows[0]["state"], &rows[0]["status"], &rows[0]["errnr"]),
        (&json!("WAITING"), &json!(0), &Value::Null)
    );
    assert_eq!(
        app.get("/worker/a/responses?received=true").json()["responses"],
        json!([])
    );
}
