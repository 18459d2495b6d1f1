//! The bad-input matrix of everything but POST bodies: types, paths, parameters, orders.

use serde_json::Value;

use crate::app::App;

#[test]
fn content_types() {
    let app = App::start();
    let body = r#"{"identifier":"a"}"#;
    for wrong in [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonp",
        "json",
    ] {
        app.post_as(wrong, "/worker", body)
            .is_problem(415, "wrong_content_type");
        app.post_as(wrong, "/worker/a/retry", "{}")
            .is_problem(415, "wrong_content_type");
    }
    assert_eq!(app.stored("worker"), 0);
    assert_eq!(
        app.post_as("application/json; charset=UTF-8", "/worker", body)
            .status,
        201
    );
}

#[test]
fn paths_that_lead_nowhere() {
    let app = App::start();
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    for path in [
        "/nosuch",
        "/.*",
        "/amq.default",
        "/Worker",
        "/worke.",
        "/all/a",
        "/inbox",
    ] {
        let reply = app.get(path);
        let code = if path == "/all/a" {
            "unknown_task"
        } else {
            "unknown_task_type"
        };
        reply.is_problem(404, code);
    }
    for path in ["/nosuch", "/.*", "/amq.default"] {
        app.post(path, r#"{"identifier":"b"}"#)
            .is_problem(404, "unknown_task_type");
    }
    // Another type's task is nobody's task, and another case is another name.
    for path in [
        "/all/a",
        "/worker/b",
        "/worker/A",
        "/worker/1",
        "/all/a/responses",
    ] {
        app.get(path).is_problem(404, "unknown_task");
    }
    for path in [
        "/all/a/cancel",
        "/all/a/retry",
        "/worker/b/cancel",
        "/worker/b/retry",
    ] {
        app.post_nothing(path).is_problem(404, "unknown_task");
    }
    for path in [
        "/worker/a%2Fb",
        "/worker/a%00",
        "/worker/%2e%2e%2f",
        "/worker/a%0a",
        "/worker/a%20",
        "/worker/%F0%9F%98%80",
    ] {
        app.get(path).is_problem(400, "bad_name");
    }
    for path in [
        "/worker/a/b",
        "/worker/a/responses/x",
        "/worker/",
        "/favicon.ico/x/y/z",
    ] {
        assert!(matches!(app.get(path).status, 404 | 400), "{path}");
    }
}

#[test]
fn query_parameters() {
    let app = App::start();
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    for (path, code, field) in [
        ("/worker?sort=id;drop", "unknown_parameter", "sort"),
        ("/worker?status=done", "bad_parameter", "status"),
        ("/worker?status=DONE'--", "bad_parameter", "status"),
        ("/worker?limit=0", "bad_parameter", "limit"),
        ("/worker?limit=-1", "bad_parameter", "limit"),
        ("/worker?limit=1e9", "bad_parameter", "limit"),
        ("/worker?limit=", "bad_parameter", "limit"),
        ("/worker?limit=1&limit=2", "bad_parameter", "limit"),
        ("/worker?cursor=", "bad_parameter", "cursor"),
        ("/worker?cursor=7", "bad_parameter", "cursor"),
        (
            "/worker?cursor=000000000000000100000000",
            "bad_parameter",
            "cursor",
        ),
        ("/worker/a?wait=61", "bad_parameter", "wait"),
        ("/worker/a?wait=-1", "bad_parameter", "wait"),
        ("/worker/a?wait=x", "bad_parameter", "wait"),
        ("/worker/a?poll=1", "unknown_parameter", "poll"),
        ("/worker/a/responses?state=FINE", "bad_parameter", "state"),
        (
            "/worker/a/responses?received=yes",
            "bad_parameter",
            "received",
        ),
        ("/worker/a/responses?cursor=zz", "bad_parameter", "cursor"),
        ("/endpoints?type=worker", "unknown_parameter", "type"),
    ] {
        let problem = app.get(path).is_problem(400, code);
        assert_eq!(problem["errors"][0]["field"], field, "{path}");
    }
    for path in [
        "/worker?dry_run=1",
        "/worker/a/cancel?x=1",
        "/worker/a/retry?x=1",
    ] {
        app.post(path, "{}").is_problem(400, "unknown_parameter");
    }
    let clamped = app.get("/worker?limit=1000000000000000000000000");
    assert_eq!(
        (
            clamped.status,
            clamped.json()["tasks"].as_array().map(Vec::len)
        ),
        (200, Some(1))
    );
}

#[test]
fn orders_to_retry() {
    let app = App::start();
    for (body, status, code, field) in [
        ("[]", 400, "wrong_type", ""),
        ("{", 400, "malformed_json", ""),
        (r#"{"state":["FAILED"]}"#, 400, "unknown_field", "state"),
        (r#"{"states":"FAILED"}"#, 400, "wrong_type", "states"),
        (
            r#"{"states":["FAILED","failed"]}"#,
            400,
            "unknown_state",
            "states[1]",
        ),
        (
            r#"{"states":["RUNNING"]}"#,
            422,
            "not_retryable",
            "states[0]",
        ),
        (r#"{"states":[]}"#, 422, "empty_list", "states"),
        (r#"{"endpoints":[]}"#, 422, "empty_list", "endpoints"),
        (
            r#"{"endpoints":["a","*"]}"#,
            400,
            "bad_name",
            "endpoints[1]",
        ),
    ] {
        let problem = app.post("/worker/a/retry", body).is_problem(status, code);
        assert_eq!(problem["errors"][0]["field"], field, "{body}");
    }
    let problem = app
        .post("/worker/a/cancel", r#"{"force":true}"#)
        .is_problem(400, "unknown_field");
    assert_eq!(
        problem["errors"][0]["allowed"],
        Value::String(String::new())
    );
}
