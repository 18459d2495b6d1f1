//! What is wrong with requests about jobs.

use serde_json::json;

use crate::app::App;
use crate::jobs::{submit, update};

fn with_a_job() -> App {
    let app = App::start();
    assert_eq!(submit(&app, "one", "a", "1").status, 201);
    app
}

#[test]
fn bad_submits_name_their_fault_and_store_nothing() {
    let app = App::start();
    let deep = format!(
        r#"{{"job":"x","request":{}1{}}}"#,
        "[".repeat(33),
        "]".repeat(33)
    );
    let long = format!(r#"{{"job":"x","request":"{}"}}"#, "y".repeat(256 << 10));
    for (body, status, code, field) in [
        ("", 400, "malformed_json", ""),
        ("{", 400, "malformed_json", ""),
        ("[]", 400, "wrong_type", ""),
        ("{}", 400, "missing_field", "job"),
        (r#"{"job":null}"#, 400, "missing_field", "job"),
        (r#"{"job":7}"#, 400, "wrong_type", "job"),
        (r#"{"job":"a/b"}"#, 400, "bad_name", "job"),
        (r#"{"job":""}"#, 400, "bad_name", "job"),
        (r#"{"job":"x","client":"é"}"#, 400, "bad_name", "client"),
        (r#"{"job":"x","client":["c"]}"#, 400, "wrong_type", "client"),
        (
            r#"{"job":"x","status":"complete"}"#,
            400,
            "unknown_field",
            "status",
        ),
        (r#"{"job":"x","job":"y"}"#, 400, "malformed_json", ""),
        (
            r#"{"job":"x","request":{"a":1,"a":2}}"#,
            400,
            "malformed_json",
            "",
        ),
        (&deep, 400, "malformed_json", ""),
        (&long, 413, "payload_too_large", "request"),
    ] {
        let shown: String = body.chars().take(60).collect();
        let reply = app.post("/ds/job/", body);
        assert_eq!(reply.status, status, "{shown}: {}", reply.text);
        let problem = reply.is_problem(status, code);
        assert_eq!(problem["errors"][0]["field"], field, "{shown}");
    }
    app.post_as("text/plain", "/ds/job/", r#"{"job":"x"}"#)
        .is_problem(415, "wrong_content_type");
    app.post("/ds/job/?x=1", r#"{"job":"x"}"#)
        .is_problem(400, "unknown_parameter");
    assert_eq!(app.get("/jobs/ds/since/0").json(), json!([]));
}

#[test]
fn a_request_must_fit_its_datasources_schema() {
    let app = App::start();
    let body = |request| format!(r#"{{"job":"x","request":{request}}}"#);
    let refused = app.post("/typed/job/", body("{}"));
    let problem = refused.is_problem(422, "payload_schema");
    assert_eq!(problem["errors"][0]["field"], "request");
    app.post("/typed/job/", r#"{"job":"x"}"#)
        .is_problem(422, "payload_schema");
    assert_eq!(app.post("/typed/job/", body(r#"{"n":1}"#)).status, 201);
}

#[test]
fn bad_updates_name_their_fault_and_change_nothing() {
    let app = with_a_job();
    let long = json!({"status": "forbidden", "error": "é".repeat(2049)}).to_string();
    let large = json!({"status": "complete", "response": "x".repeat(256 << 10)}).to_string();
    for (body, status, code, field) in [
        ("{}", 400, "missing_field", "status"),
        (r#"{"status":1}"#, 400, "wrong_type", "status"),
        (r#"{"status":"done"}"#, 400, "unknown_state", "status"),
        (r#"{"status":"ACCEPTED"}"#, 400, "unknown_state", "status"),
        (r#"{"status":"accepted","x":1}"#, 400, "unknown_field", "x"),
        (
            r#"{"status":"forbidden","error":1}"#,
            400,
            "wrong_type",
            "error",
        ),
        (
            r#"{"status":"accepted","job":"b"}"#,
            422,
            "out_of_bounds",
            "job",
        ),
        (
            r#"{"status":"accepted","response":1}"#,
            422,
            "out_of_bounds",
            "response",
        ),
        (
            r#"{"status":"accepted","error":"e"}"#,
            422,
            "out_of_bounds",
            "error",
        ),
        (&long, 422, "out_of_bounds", "error"),
        (&large, 413, "payload_too_large", "response"),
        (
            r#"{"status":"accepted","client":"two"}"#,
            403,
            "other_client",
            "client",
        ),
    ] {
        let reply = app.post("/jobs/ds/job/a/", body);
        let shown: String = body.chars().take(60).collect();
        assert_eq!(reply.status, status, "{shown}: {}", reply.text);
        let problem = reply.is_problem(status, code);
        assert_eq!(problem["errors"][0]["field"], field, "{shown}");
    }
    let status = app.get("/ds/job/a/").json();
    assert_eq!(status["status"], "submitted");
    for illegal in ["complete", "failed", "retrying"] {
        update(&app, "a", &json!({"status": illegal})).is_problem(409, "illegal_transition");
    }
    update(&app, "b", &json!({"status": "accepted"})).is_problem(404, "unknown_job");
}

#[test]
fn what_does_not_exist_is_not_found() {
    let app = with_a_job();
    for path in ["/ds/job/b/", "/typed/job/a/"] {
        app.get(path).is_problem(404, "unknown_job");
    }
    app.get("/ds/job/%20/").is_problem(400, "bad_name");
    app.post("/ds/job/b/cancel", "{}")
        .is_problem(404, "unknown_job");
    app.post("/ds/job/a/cancel", r#"{"client":"two"}"#)
        .is_problem(403, "other_client");
    app.post("/ds/job/a/cancel", r#"{"job":"a"}"#)
        .is_problem(400, "unknown_field");
    for path in [
        "/nope/job/",
        "/worker/job/x/cancel",
        "/sub/worker/job",
        "/sub/nope/jobs",
        "/jobs/worker/job/a/",
    ] {
        app.post(path, r#"{"job":"x"}"#)
            .is_problem(404, "unknown_datasource");
    }
    for path in ["/jobs/worker/latest", "/jobs/nope/since/0", "/nope/job/x/"] {
        app.get(path).is_problem(404, "unknown_datasource");
    }
    for time in ["now", "-1", "1.5", "2015-05-06"] {
        let refused = app.get(&format!("/jobs/ds/since/{time}"));
        let problem = refused.is_problem(400, "bad_parameter");
        assert_eq!(problem["errors"][0]["field"], "time");
    }
    app.get("/jobs/ds/since/0?limit=0")
        .is_problem(400, "bad_parameter");
    app.post("/sub/ds/job", r#"{"client":"a b"}"#)
        .is_problem(400, "bad_name");
    app.post("/sub/ds/jobs", r#"{"client":"a"}"#)
        .is_problem(400, "unknown_field");
    app.get("/sub/ds/job?job=a")
        .is_problem(400, "unknown_parameter");
    let bad = format!(
        "GET /sub/ds/job HTTP/1.1\r\nHost: {}\r\nLast-Event-ID: x\r\nConnection: close\r\n\r\n",
        app.addr
    );
    app.raw(bad.as_bytes()).is_problem(400, "bad_parameter");
}

#[test]
fn tasks_and_jobs_do_not_mix() {
    let app = with_a_job();
    // A datasource has no tasks.
    app.post("/ds", r#"{"identifier":"t"}"#)
        .is_problem(404, "unknown_task_type");
    app.get("/ds").is_problem(404, "unknown_task_type");
    app.get("/ds/a").is_problem(404, "unknown_task_type");
    // A task may be named `job`, and has its own paths then.
    let task = r#"{"identifier":"job","endpoints":["e"]}"#;
    assert!(app.post("/worker", task).status < 300);
    let raw = |method: &str, path: &str| {
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n",
            app.addr
        );
        app.raw(format!("{head}Content-Length: 0\r\n\r\n").as_bytes())
    };
    let seen = raw("GET", "/worker/job");
    assert!(
        seen.status == 200 && seen.text.contains("\"identifier\":\"job\""),
        "{seen:?}"
    );
    assert_eq!(raw("GET", "/worker/job/responses").status, 200);
    assert_eq!(raw("POST", "/worker/job/cancel").status, 200);
    // With and without the slash at the end.
    for path in ["/ds/job/a", "/ds/job/a/"] {
        let seen = raw("GET", path);
        assert!(
            seen.status == 200 && seen.text.contains("\"submitted\""),
            "{seen:?}"
        );
    }
    for path in ["/jobs/ds/latest/", "/jobs/ds/since/0/"] {
        assert_eq!(raw("GET", path).status, 200, "{path}");
    }
    assert_eq!(raw("POST", "/ds/job").status, 415);
    for (path, allow) in [
        ("/ds/job/", "POST"),
        ("/ds/job/a/", "GET"),
        ("/sub/ds/job", "GET, POST"),
        ("/jobs/ds/latest", "GET"),
    ] {
        let refused = raw("DELETE", path);
        assert_eq!(
            (refused.status, refused.header("allow")),
            (405, Some(allow)),
            "{path}"
        );
    }
}
