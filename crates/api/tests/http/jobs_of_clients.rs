//! Jobs of clients who say who they are: nobody sees or touches another one's.

use serde_json::json;
use tasker_core::TaskType;
use tasker_core::account::{Grants, Role};
use tasker_testkit::events::{Ask, Events};

use crate::accounts::Guarded;

fn everywhere() -> Grants {
    Grants::default()
}

fn open(app: &Guarded, path: &str, who: &str, body: &str) -> Result<Events, u16> {
    Events::open(&Ask {
        url: format!("http://{}{path}", app.0.addr),
        body: Some(body),
        last: None,
        authorization: Some(who.to_owned()),
    })
}

#[test]
fn clients_see_and_touch_their_own_jobs_only() {
    let app = Guarded::start();
    let ann = app.holder("ann", Role::Client, everywhere());
    let bob = app.holder("bob", Role::Client, everywhere());
    let server = app.holder("actuator", Role::Server, everywhere());
    let hears = |who| open(&app, "/sub/ds/job", who, "").unwrap();
    let (of_ann, of_bob) = (hears(&ann), hears(&bob));
    let asked = open(&app, "/sub/ds/jobs", &server, "").unwrap();

    let made = app.post("/ds/job/", &ann, r#"{"job":"a","request":1}"#);
    assert_eq!(
        (made.status, made.json()),
        (201, json!({"job": "a", "client": "ann"}))
    );
    let body = r#"{"job":"b","client":"bob","request":2}"#;
    assert_eq!(app.post("/ds/job/", &bob, body).status, 201);
    assert_eq!(
        [
            asked.next().data["client"].clone(),
            asked.next().data["client"].clone()
        ],
        ["ann", "bob"]
    );

    // Another one's name is refused, another one's job is not there, but for a cancel.
    let foreign = r#"{"job":"c","client":"ann"}"#;
    app.post("/ds/job/", &bob, foreign)
        .is_problem(403, "other_client");
    app.post("/ds/job/", &bob, r#"{"job":"a","request":1}"#)
        .is_problem(409, "job_reused");
    app.get("/ds/job/a/", &bob).is_problem(404, "unknown_job");
    app.post("/ds/job/a/cancel", &bob, "{}")
        .is_problem(403, "other_client");
    app.post("/ds/job/a/cancel", &bob, r#"{"client":"ann"}"#)
        .is_problem(403, "other_client");
    app.post("/ds/job/c/cancel", &bob, "{}")
        .is_problem(404, "unknown_job");
    app.post("/sub/ds/job", &bob, r#"{"client":"ann"}"#)
        .is_problem(403, "other_client");
    app.get("/sub/ds/job?client=ann", &bob)
        .is_problem(403, "other_client");

    // Only the server serves, and only that.
    for (method, path) in [
        ("POST", "/jobs/ds/job/a/"),
        ("GET", "/jobs/ds/latest"),
        ("GET", "/jobs/ds/since/0"),
        ("POST", "/sub/ds/jobs"),
    ] {
        app.0
            .ask(method, path, Some(&ann), "")
            .is_problem(403, "forbidden");
    }
    app.post("/ds/job/", &server, r#"{"job":"s"}"#)
        .is_problem(403, "forbidden");
    app.get("/ds/job/a/", &server).is_problem(403, "forbidden");

    for (job, status) in [
        ("b", "accepted"),
        ("a", "accepted"),
        ("b", "failed"),
        ("a", "complete"),
    ] {
        let path = format!("/jobs/ds/job/{job}/");
        let told = app.post(&path, &server, &json!({"status": status}).to_string());
        assert_eq!(told.status, 200, "{}", told.text);
    }
    for (who, stream, job, last) in [
        ("ann", of_ann, "a", "complete"),
        ("bob", of_bob, "b", "failed"),
    ] {
        let events = stream.take(3);
        assert!(
            events
                .iter()
                .all(|e| e.data["client"] == who && e.data["job"] == job)
        );
        assert_eq!(events[2].data["data"]["status"], last);
    }
    assert_eq!(app.get("/ds/job/a/", &ann).json()["status"], "complete");
}

#[test]
fn who_sees_everybodys_jobs_may_name_their_client() {
    let app = Guarded::start();
    let ann = app.holder("ann", Role::Client, everywhere());
    let operator = app.holder("op", Role::Operator, everywhere());
    let viewer = app.holder("eye", Role::Viewer, everywhere());
    assert_eq!(app.post("/ds/job/", &ann, r#"{"job":"a"}"#).status, 201);
    assert_eq!(app.get("/ds/job/a/", &viewer).json()["client"], "ann");
    let stream = open(&app, "/sub/ds/job", &viewer, r#"{"client":"ann"}"#).unwrap();
    let body = r#"{"job":"b","client":"ann"}"#;
    assert_eq!(
        app.post("/ds/job/", &operator, body).json()["client"],
        "ann"
    );
    assert_eq!(stream.next().data["job"], "b");
    let cancelled = app.post("/ds/job/a/cancel", &operator, "{}");
    assert_eq!(cancelled.json()["client"], "ann");
}

#[test]
fn rights_are_the_same_with_and_without_the_slash() {
    let app = Guarded::start();
    let admin = app.holder("root", Role::Admin, everywhere());
    let viewer = app.holder("eye", Role::Viewer, everywhere());
    let grants = Grants {
        task_types: Some(vec![TaskType::parse("typed").unwrap()]),
        ..Grants::default()
    };
    let elsewhere = app.holder("elsewhere", Role::Server, grants);
    assert_eq!(app.post("/ds/job/", &admin, r#"{"job":"a"}"#).status, 201);
    let task = r#"{"identifier":"job","endpoints":["e"]}"#;
    assert!(app.post("/worker", &admin, task).status < 300);
    let raw = |method: &str, path: &str, who: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            app.0.addr
        );
        let request = format!("{head}Authorization: {who}\r\nContent-Length: 0\r\n\r\n");
        app.0.raw(request.as_bytes()).status
    };
    for path in [
        "/ds/job",
        "/ds/job/",
        "/ds/job/a/cancel",
        "/ds/job/a/cancel/",
        "/worker/job/cancel",
        "/worker/job/retry",
        "/jobs/ds/job/a",
        "/jobs/ds/job/a/",
        "/sub/ds/jobs",
        "/sub/ds/jobs/",
    ] {
        assert_eq!(raw("POST", path, &viewer), 403, "{path}");
    }
    for path in [
        "/jobs/ds/latest",
        "/jobs/ds/latest/",
        "/jobs/ds/since/0/",
        "/sub/ds/jobs/",
    ] {
        assert_eq!(raw("GET", path, &viewer), 403, "{path}");
        assert_eq!(raw("GET", path, &elsewhere), 404, "{path}");
    }
    for path in [
        "/ds/job/a",
        "/ds/job/a/",
        "/worker/job?client=root",
        "/worker/job/responses?client=root",
    ] {
        assert_eq!(raw("GET", path, &viewer), 200, "{path}");
        assert_eq!(raw("GET", path, &elsewhere), 403, "{path}");
    }
}
