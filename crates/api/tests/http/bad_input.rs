//! The bad-input matrix of POST bodies: each row says status, code and
//! field, and that nothing was stored.

use serde_json::json;
use tasker_api::ApiSettings;
use tasker_core::store::Timing;

use crate::app::{App, settings};
use crate::worker::Worker;

fn nested(depth: usize) -> String {
    format!(
        r#"{{"identifier":"a","payload":{}{}}}"#,
        "[".repeat(depth),
        "]".repeat(depth)
    )
}

/// Posts each body to a path and checks status, code and the first field.
fn refused(app: &App, path: &str, rows: &[(&str, u16, &str, &str)]) {
    for (body, status, code, field) in rows {
        let reply = app.post(path, body);
        let problem = reply.is_problem(*status, code);
        let fields: Vec<_> = problem["errors"].as_array().unwrap().iter().collect();
        assert!(
            fields
                .iter()
                .any(|e| e["field"] == *field && e["code"] == *code),
            "{body}: {}",
            reply.text
        );
    }
    assert_eq!(
        app.stored(path.trim_start_matches('/').split('/').next().unwrap()),
        0
    );
}

#[test]
fn what_is_not_one_json_document() {
    let app = App::start();
    let rows = [
        "",
        " ",
        "nonsense",
        r#"{"identifier":"a""#,
        r#"{"identifier":"a"} x"#,
        r#"{"identifier":"a"}{}"#,
        r#"{"identifier":"a",}"#,
        "\u{feff}{\"identifier\":\"a\"}",
        r#"{'identifier':'a'}"#,
        r#"{"identifier":"\ud800"}"#,
        r#"{"identifier":"a","payload":1e999}"#,
        r#"{"identifier":"a","timeout_s":NaN}"#,
        r#"{"identifier":"a","identifier":"b"}"#,
        r#"{"identifier":"a","endpoints":["a"],"endpoints":["b"]}"#,
        r#"{"identifier":"a","payload":{"x":{"k":1,"k":2}}}"#,
    ];
    let rows = rows.map(|body| (body, 400, "malformed_json", ""));
    refused(&app, "/worker", &rows);
    for body in [
        &b"{\"identifier\":\"\xff\"}"[..],
        &[0xfe, 0xff, 0, b'{', 0, b'}'],
        &[0, 0],
    ] {
        app.post("/worker", body).is_problem(400, "malformed_json");
    }
    // The position is told.
    let problem = app
        .post("/worker", "{\n  \"identifier\": x}")
        .is_problem(400, "malformed_json");
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("line 2 column 17"),
        "{problem}"
    );
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn deep_json_costs_nothing() {
    let app = App::start();
    for depth in [33, 129, 10_000, 1_000_000] {
        let problem = app
            .post("/worker", nested(depth))
            .is_problem(400, "malformed_json");
        assert!(
            problem["detail"].as_str().unwrap().contains("nests deeper"),
            "{depth}"
        );
    }
    app.post("/worker", "[".repeat(1_000_000))
        .is_problem(400, "malformed_json");
    assert_eq!(app.stored("worker"), 0);
    assert_eq!(app.post("/worker", nested(32)).status, 201);
}

#[test]
fn what_cannot_be_read() {
    let app = App::start();
    refused(
        &app,
        "/worker",
        &[
            ("[]", 400, "wrong_type", ""),
            ("null", 400, "wrong_type", ""),
            ("\"a\"", 400, "wrong_type", ""),
            ("{}", 400, "missing_field", "identifier"),
            (r#"{"identifier":null}"#, 400, "missing_field", "identifier"),
            (r#"{"identifier":7}"#, 400, "wrong_type", "identifier"),
            (r#"{"identifier":["a"]}"#, 400, "wrong_type", "identifier"),
            (
                r#"{"identifier":"a","endpoints":"a"}"#,
                400,
                "wrong_type",
                "endpoints",
            ),
            (
                r#"{"identifier":"a","endpoints":{"a":1}}"#,
                400,
                "wrong_type",
                "endpoints",
            ),
            (
                r#"{"identifier":"a","endpoints":["a",7]}"#,
                400,
                "wrong_type",
                "endpoints[1]",
            ),
            (
                r#"{"identifier":"a","timeout_s":"60"}"#,
                400,
                "wrong_type",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","timeout_s":1.5}"#,
                400,
                "wrong_type",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","timeout_s":1e3}"#,
                400,
                "wrong_type",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","expires_in_s":true}"#,
                400,
                "wrong_type",
                "expires_in_s",
            ),
            (
                r#"{"identifier":"a","status":"DONE"}"#,
                400,
                "unknown_field",
                "status",
            ),
            (r#"{"identifier":"a","id":1}"#, 400, "unknown_field", "id"),
            (
                r#"{"identifier":"a","max_attempts":9}"#,
                400,
                "unknown_field",
                "max_attempts",
            ),
            (
                r#"{"identifier":"a","client_id":1}"#,
                400,
                "unknown_field",
                "client_id",
            ),
            (
                r#"{"identifier":"a","is_admin":true}"#,
                400,
                "unknown_field",
                "is_admin",
            ),
            (
                r#"{"identifier":"a","Payload":1}"#,
                400,
                "unknown_field",
                "Payload",
            ),
        ],
    );
}

#[test]
fn names_that_break_their_pattern() {
    let app = App::start();
    let long = "a".repeat(256);
    for name in [
        "",
        &long,
        "../..",
        "%2e%2e",
        "a/b",
        "a\0",
        "a\nb",
        "a\r\nSet-Cookie: x",
        "\u{202e}a",
        "😀",
        "console1 ",
        " console1",
        "-a",
        ".",
        "*",
        "#",
        "a\u{1b}[31m",
        "<script>",
    ] {
        let body = json!({"identifier": name}).to_string();
        let problem = app.post("/worker", body).is_problem(400, "bad_name");
        assert_eq!(problem["errors"][0]["field"], "identifier", "{name:?}");
        assert_eq!(
            problem["errors"][0]["allowed"],
            "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"
        );
        let body = json!({"identifier": "a", "endpoints": ["ok", name]}).to_string();
        let problem = app.post("/worker", body).is_problem(400, "bad_name");
        assert_eq!(problem["errors"][0]["field"], "endpoints[1]", "{name:?}");
    }
    assert_eq!(app.stored("worker"), 0);
}

#[test]
fn values_out_of_their_bounds() {
    let app = App::with(
        ApiSettings {
            max_endpoints: 100,
            ..settings()
        },
        Timing::default(),
    );
    let names: Vec<_> = (0..101).map(|i| format!("e{i}")).collect();
    let many = json!({"identifier": "a", "endpoints": names}).to_string();
    refused(
        &app,
        "/worker",
        &[
            (
                r#"{"identifier":"a","endpoints":[]}"#,
                422,
                "empty_list",
                "endpoints",
            ),
            (&many, 422, "too_many_endpoints", "endpoints"),
            (
                r#"{"identifier":"a","timeout_s":0}"#,
                422,
                "out_of_bounds",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","timeout_s":-1}"#,
                422,
                "out_of_bounds",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","timeout_s":31536000}"#,
                422,
                "out_of_bounds",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","timeout_s":18446744073709551616}"#,
                422,
                "out_of_bounds",
                "timeout_s",
            ),
            (
                r#"{"identifier":"a","expires_in_s":0}"#,
                422,
                "out_of_bounds",
                "expires_in_s",
            ),
            (
                r#"{"identifier":"a","expires_in_s":2592001}"#,
                422,
                "out_of_bounds",
                "expires_in_s",
            ),
        ],
    );
    // Duplicates are folded before they are counted.
    let folded: Vec<_> = names[..100].iter().chain(&names[..100]).collect();
    let body = json!({"identifier": "a", "endpoints": folded, "timeout_s": 86400, "expires_in_s": 2592000});
    let posted = app.post("/worker", body.to_string());
    assert_eq!(posted.status, 201, "{}", posted.text);
    assert_eq!(posted.json()["endpoints"].as_array().unwrap().len(), 100);
}

#[test]
fn every_fault_is_told_at_once() {
    let app = App::start();
    let body = r#"{"identifier":"a/b","endpoints":["*"],"timeout_s":0,"expires_in_s":-1,"x":1}"#;
    let problem = app.post("/worker", body).is_problem(400, "unknown_field");
    let told: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["field"])
        .collect();
    assert_eq!(
        told,
        [
            "x",
            "identifier",
            "endpoints[0]",
            "timeout_s",
            "expires_in_s"
        ]
    );
    assert!(
        problem["detail"]
            .as_str()
            .unwrap()
            .contains("5 faults in all")
    );
}

#[test]
fn payloads_of_a_byte_too_many() {
    let app = App::start();
    let limit = settings().max_payload_bytes;
    let body = |bytes: usize| {
        format!(
            r#"{{"identifier":"big","payload":"{}"}}"#,
            "x".repeat(bytes - 2)
        )
    };
    let problem = app
        .post("/worker", body(limit + 1))
        .is_problem(413, "payload_too_large");
    assert_eq!(problem["errors"][0]["field"], "payload");
    assert_eq!(app.stored("worker"), 0);
    assert_eq!(app.post("/worker", body(limit)).status, 201);
}

#[test]
fn a_strict_type_checks_schema_and_endpoints() {
    let app = App::start();
    let _known = Worker::welcomed(&app, "strict", "known");
    let fault = |payload: &str| {
        let body = format!(r#"{{"identifier":"a","payload":{payload}}}"#);
        let problem = app.post("/strict", body).is_problem(422, "payload_schema");
        problem["errors"][0]["pointer"].clone()
    };
    assert_eq!(fault(r#"{"n":"1"}"#), "/n");
    assert_eq!(fault(r#"{"n":1,"m":1}"#), "");
    assert_eq!(fault("null"), "");
    // A pattern that takes exponential time elsewhere.
    let started_at = std::time::Instant::now();
    assert_eq!(
        fault(&format!(r#"{{"n":1,"s":"{}b"}}"#, "a".repeat(100_000))),
        "/s"
    );
    assert!(started_at.elapsed().as_secs() < 10);

    let body = r#"{"identifier":"a","endpoints":["known","x","y"],"payload":{"n":1}}"#;
    let problem = app
        .post("/strict", body)
        .is_problem(422, "unknown_endpoint");
    let told: Vec<_> = problem["errors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|e| &e["field"])
        .collect();
    assert_eq!(told, ["endpoints[1]", "endpoints[2]"]);
    assert!(
        problem["errors"][0]["message"]
            .as_str()
            .unwrap()
            .contains("endpoint x")
    );
    let body = r#"{"identifier":"a","timeout_s":7201,"payload":{"n":1}}"#;
    let problem = app.post("/strict", body).is_problem(422, "out_of_bounds");
    assert_eq!(problem["errors"][0]["allowed"], "1..=7200");
    assert_eq!(app.stored("strict"), 0);

    let body = r#"{"identifier":"a","endpoints":["known"],"payload":{"n":1}}"#;
    assert_eq!(app.post("/strict", body).status, 201);
}
