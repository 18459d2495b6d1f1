//! Jobs whose server is an ordinary worker.

use serde_json::{Value, json};
use tasker_core::ResponseState;
use tasker_core::store::Timing;
use tasker_core::wire::Report;
use tasker_testkit::events::{Ask, Event, Events};
use tasker_testkit::receiver::Receiver;

use crate::app::{App, Reply, settings};
use crate::callbacks::allowing;
use crate::worker::{Worker, report};

fn submit(app: &App, job: &str) -> Reply {
    let body = json!({"job": job, "request": {"n": 1}});
    app.post("/made/job/", body.to_string())
}

fn status(app: &App, job: &str) -> Value {
    app.get(&format!("/made/job/{job}/")).json()
}

fn wait(app: &App, job: &str, expected: &str) -> Value {
    app.eventually(expected, || status(app, job)["status"] == expected);
    status(app, job)
}

fn hear(app: &App) -> Events {
    let ask = Ask {
        url: format!("http://{}/sub/made/job", app.addr),
        body: Some(""),
        last: None,
        authorization: None,
    };
    Events::open(&ask).unwrap()
}

fn word(event: &Event) -> &str {
    event.data["data"]["status"].as_str().unwrap()
}

#[test]
fn a_worker_performs_jobs_as_it_performs_tasks() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "made", "a");
    let events = hear(&app);
    assert_eq!(submit(&app, "j").status, 201);
    assert_eq!(submit(&app, "j").status, 200);
    let task = worker.task();
    let wire: Value = serde_json::from_slice(&task.task).unwrap();
    assert_eq!(
        (&wire["type"], &wire["payload"]),
        (&json!("made"), &json!({"n": 1}))
    );
    worker.report(vec![report(task.uid, 1, 1, ResponseState::Running)]);
    wait(&app, "j", "accepted");
    worker.report(vec![report(task.uid, 1, 1, ResponseState::Succeeded)]);
    let expected =
        json!({"job": "j", "client": "local", "status": "complete", "response": {"done": 1.0}});
    assert_eq!(wait(&app, "j", "complete"), expected);
    let heard = events.take(3);
    let heard: Vec<_> = heard.iter().map(word).collect();
    assert_eq!(heard, ["submitted", "accepted", "complete"]);
    // Paths of tasks know nothing of it.
    app.get("/made").is_problem(404, "unknown_task_type");
}

#[test]
fn a_job_that_fails_says_why_and_one_that_is_refused_is_forbidden() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "made", "a");
    for (job, state, expected) in [
        ("f", ResponseState::Failed, "failed"),
        ("r", ResponseState::Rejected, "forbidden"),
    ] {
        submit(&app, job);
        let told = Report {
            errmsg: Some("no".to_owned()),
            ..report(worker.task().uid, 1, 1, state)
        };
        worker.report(vec![told]);
        assert_eq!(wait(&app, job, expected)["error"], "no");
    }
}

#[test]
fn a_cancel_reaches_the_worker() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "made", "a");
    submit(&app, "j");
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Running)]);
    wait(&app, "j", "accepted");
    let answer = app.post("/made/job/j/cancel", "");
    assert_eq!(
        (answer.status, &answer.json()["status"]),
        (200, &json!("accepted"))
    );
    let cancel = worker.next().cancel;
    assert_eq!(cancel.first().map(|entry| entry.uid), Some(uid));
    worker.report(vec![report(uid, 1, 1, ResponseState::Cancelled)]);
    wait(&app, "j", "cancelled");
}

/// What its worker says counts, and nothing else.
#[test]
fn nobody_else_tells_how_such_a_job_stands() {
    let app = App::start();
    submit(&app, "j");
    let body = json!({"status": "accepted"}).to_string();
    app.post("/jobs/made/job/j/", body)
        .is_problem(409, "served_by_worker");
    assert_eq!(status(&app, "j")["status"], "submitted");
    // Reading does no harm.
    assert_eq!(app.get("/jobs/made/latest").status, 200);
}

#[test]
fn the_end_of_a_job_is_told_to_its_callback() {
    let receiver = Receiver::that_answers(&[204]);
    let app = App::with(allowing(&[&receiver.origin()]), Timing::default());
    let mut worker = Worker::welcomed(&app, "made", "a");
    let url = format!("{}/j", receiver.origin());
    let body = json!({"job": "j", "callback_url": url}).to_string();
    assert_eq!(app.post("/made/job/", body.clone()).status, 201);
    assert_eq!(app.post("/made/job/", body).status, 200);
    let plain = app.post("/made/job/", json!({"job": "j"}).to_string());
    plain.is_problem(409, "job_reused");
    let callback = status(&app, "j")["callback"].clone();
    assert_eq!(
        (&callback["url"], &callback["state"]),
        (&json!(url), &json!("WAITING"))
    );

    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    app.eventually("it is told", || {
        status(&app, "j")["callback"]["state"] == "DELIVERED"
    });
    let got = receiver.got();
    assert_eq!(got.len(), 1);
    let told = &got[0].body;
    assert_eq!(told["delivery"], got[0].delivery);
    for (key, value) in [
        ("event", "job.ended"),
        ("datasource_id", "made"),
        ("job", "j"),
        ("client", "local"),
        ("status", "complete"),
        ("location", "/made/job/j/"),
    ] {
        assert_eq!(told[key], value, "{told}");
    }
}

/// With a server that speaks HTTP, too.
#[test]
fn a_callback_that_is_not_allowed_is_refused() {
    let app = App::with(settings(), Timing::default());
    let body = json!({"job": "j", "callback_url": "https://hooks.example/"}).to_string();
    let problem = app.post("/ds/job/", body);
    let problem = problem.is_problem(422, "callback_refused");
    assert_eq!(problem["errors"][0]["field"], "callback_url");
    app.get("/ds/job/j/").is_problem(404, "unknown_job");
}
