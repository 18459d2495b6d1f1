//! Completions that are told: which URLs are accepted, and what their receivers hear.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tasker_api::{ApiSettings, Webhooks};
use tasker_core::ResponseState;
use tasker_core::callback::AllowList;
use tasker_core::store::Timing;
use tasker_testkit::receiver::Receiver;
use tasker_webhook::{Sender, Settings};

use crate::app::{App, settings};
use crate::worker::{Worker, report};

/// Settings with receivers; a try that failed is repeated at once.
pub(crate) fn allowing(allowed: &[&str]) -> ApiSettings {
    let allow = AllowList::parse(allowed.iter().copied()).unwrap();
    let sender = Sender::new(Settings {
        allow: allow.clone(),
        secret: "a secret of the receiver".to_owned(),
        ca: None,
    });
    ApiSettings {
        webhooks: Some(Webhooks {
            tick: Duration::from_millis(50),
            pause_after: |tries, _| (tries < 4).then_some(Duration::from_millis(50)),
            ..Webhooks::new(allow, Arc::new(sender.unwrap()))
        }),
        ..settings()
    }
}

fn body(identifier: &str, url: &str) -> String {
    json!({"identifier": identifier, "endpoints": ["a"], "callback_url": url}).to_string()
}

/// Accepts a task and lets its endpoint finish it.
fn complete(app: &App, worker: &mut Worker<'_>, identifier: &str, url: &str) {
    let reply = app.post("/worker", body(identifier, url));
    assert_eq!(reply.status, 201, "{}", reply.text);
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
}

fn callback(app: &App, identifier: &str) -> Value {
    app.get(&format!("/worker/{identifier}")).json()["callback"].clone()
}

/// Row B20.
#[test]
fn what_may_not_be_called_is_refused_at_once() {
    let app = App::with(
        allowing(&["hooks.example", "http://127.0.0.1:9000"]),
        Timing::default(),
    );
    let long = format!("https://hooks.example/{}", "x".repeat(2048));
    for url in [
        "http://127.0.0.1",
        "http://127.0.0.1:9001/",
        "https://127.0.0.1:9000/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:9000/",
        "http://0x7f000001:9000/",
        "http://2130706433:9000/",
        "http://127.1:9000/",
        "http://a@b",
        "https://a@hooks.example/",
        "https://hooks.example@169.254.169.254/",
        "http://hooks.example/",
        "https://hooks.example:25/",
        "https://evil.example/",
        "file:///etc/passwd",
        "gopher://hooks.example/",
        "",
        &long,
    ] {
        let problem = app
            .post("/worker", body("t-1", url))
            .is_problem(422, "callback_refused");
        let fault = &problem["errors"][0];
        assert_eq!(fault["field"], "callback_url", "{url}");
        assert_eq!(
            fault["allowed"], "https://hooks.example, http://127.0.0.1:9000",
            "{url}"
        );
    }
    for wrong in ["7", "[]", "{}", "true"] {
        let body = format!(r#"{{"identifier":"t-1","callback_url":{wrong}}}"#);
        let problem = app.post("/worker", body).is_problem(400, "wrong_type");
        assert_eq!(problem["errors"][0]["field"], "callback_url");
    }
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn nobody_may_be_called_by_default() {
    let app = App::start();
    let problem = app
        .post("/worker", body("t-1", "https://hooks.example/"))
        .is_problem(422, "callback_refused");
    assert_eq!(problem["errors"][0]["allowed"], "none");
    assert_eq!(app.stored("worker"), 0);
    let none = r#"{"identifier":"t-1","callback_url":null}"#;
    assert_eq!(app.post("/worker", none).status, 201);
    assert_eq!(callback(&app, "t-1"), Value::Null);
}

#[test]
fn the_url_belongs_to_the_request() {
    let app = App::with(allowing(&["hooks.example"]), Timing::default());
    let (one, two) = ("https://hooks.example/1", "https://hooks.example/2");
    assert_eq!(app.post("/worker", body("t-1", one)).status, 201);
    assert_eq!(app.post("/worker", body("t-1", one)).status, 200);
    for other in [
        &body("t-1", two),
        r#"{"identifier":"t-1","endpoints":["a"]}"#,
    ] {
        app.post("/worker", other)
            .is_problem(409, "identifier_reused");
    }
    let expected = json!({
        "url": one, "state": "WAITING", "delivery": null, "attempts": 0,
        "last_status": null, "last_error": null, "next_try_at": null,
    });
    assert_eq!(callback(&app, "t-1"), expected);
    let plain = app.post("/worker", r#"{"identifier":"t-2"}"#);
    assert_eq!(plain.status, 201);
    assert_eq!(callback(&app, "t-2"), Value::Null);
}

#[test]
fn a_completion_is_told_until_it_is_heard() {
    let receiver = Receiver::that_answers(&[500, 302, 204]);
    let app = App::with(allowing(&[&receiver.origin()]), Timing::default());
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let url = format!("{}/hook", receiver.origin());
    complete(&app, &mut worker, "t-1", &url);
    app.eventually("it is told", || {
        callback(&app, "t-1")["state"] == "DELIVERED"
    });
    let got = receiver.got();
    assert_eq!(got.len(), 3);
    let (first, told) = (&got[0], &got[0].body);
    assert!(
        got.iter()
            .all(|other| other.delivery == first.delivery && other.body == *told)
    );
    assert_eq!(told["event"], "task.settled");
    assert_eq!(told["delivery"], first.delivery);
    for (key, value) in [
        ("type", json!("worker")),
        ("identifier", json!("t-1")),
        ("status", json!("DONE")),
        ("expected", json!(1)),
        ("finished", json!(1)),
        ("failed", json!(0)),
        ("location", json!("/worker/t-1")),
    ] {
        assert_eq!(told[key], value, "{key}");
    }
    let expected = json!({
        "url": url, "state": "DELIVERED", "delivery": first.delivery, "attempts": 3,
        "last_status": 204, "last_error": null, "next_try_at": null,
    });
    assert_eq!(callback(&app, "t-1"), expected);
    for (result, count) in [("failed", 2), ("delivered", 1)] {
        let name = format!("tasker_webhook_tries_total{{result=\"{result}\"}}");
        assert_eq!(app.metric(&name), count, "{result}");
    }
}

#[test]
fn tries_end_and_a_receiver_that_is_gone_is_left_alone() {
    let (broken, gone) = (
        Receiver::that_answers(&[500]),
        Receiver::that_answers(&[410]),
    );
    let app = App::with(
        allowing(&[&broken.origin(), &gone.origin()]),
        Timing::default(),
    );
    let mut worker = Worker::welcomed(&app, "worker", "a");
    complete(&app, &mut worker, "broken", &broken.origin());
    complete(&app, &mut worker, "gone", &gone.origin());
    for (task, tries, status, error) in [
        ("broken", 4, 500, "answered 500"),
        ("gone", 1, 410, "answered 410: it wants no more"),
    ] {
        app.eventually("it is given up", || {
            callback(&app, task)["state"] == "FAILED"
        });
        let shown = callback(&app, task);
        assert_eq!(shown["attempts"], tries);
        assert_eq!(shown["last_status"], status);
        assert_eq!(shown["last_error"], error);
        assert_eq!(shown["next_try_at"], Value::Null);
    }
    assert_eq!((broken.got().len(), gone.got().len()), (4, 1));
}

#[test]
fn a_cancel_and_a_second_completion_are_told_too() {
    let receiver = Receiver::that_answers(&[200]);
    let app = App::with(allowing(&[&receiver.origin()]), Timing::default());
    let mut worker = Worker::welcomed(&app, "worker", "a");
    complete(&app, &mut worker, "t-1", &receiver.origin());
    app.eventually("it is told", || receiver.got().len() == 1);
    let again = app.post("/worker/t-1/retry", r#"{"states":["SUCCEEDED"]}"#);
    assert_eq!(again.status, 200, "{}", again.text);
    assert_eq!(app.post_nothing("/worker/t-1/cancel").status, 200);
    app.eventually("both are told", || receiver.got().len() == 2);
    let got = receiver.got();
    let status = |at: usize| got[at].body["status"].as_str().unwrap();
    assert_eq!((status(0), status(1)), ("DONE", "CANCELLED"));
    assert_ne!(got[0].delivery, got[1].delivery);
    assert_eq!(callback(&app, "t-1")["delivery"], got[1].delivery);
}

/// More waits for the dead one than may be under way at all.
#[test]
fn a_receiver_that_hangs_holds_up_nobody_else() {
    let (dead, alive) = (Receiver::that_answers(&[0]), Receiver::that_answers(&[200]));
    let app = App::with(
        allowing(&[&dead.origin(), &alive.origin()]),
        Timing::default(),
    );
    let mut worker = Worker::welcomed(&app, "worker", "a");
    for number in 0..40 {
        complete(&app, &mut worker, &format!("d-{number}"), &dead.origin());
    }
    app.eventually("the dead one is tried", || dead.got().len() == 4);
    let began = Instant::now();
    for number in 0..10 {
        complete(&app, &mut worker, &format!("a-{number}"), &alive.origin());
    }
    app.eventually("the others are told", || alive.got().len() == 10);
    let took = began.elapsed();
    assert!(took < Duration::from_secs(4), "{took:?}");
    // Four at once, of which none can have ended yet.
    assert_eq!(dead.got().len(), 4);
}
