//! What bad configurations are told.

use super::super::source::DEFAULT_NAME;
use super::*;

/// A bad file each: what is appended to the sample (whose last line is the 11th), the place, and a
/// part of the message.
#[test]
fn bad_files_are_told_where_and_why() {
    for (text, place, part) in [
        (
            "api:\n  prot: 1\n",
            ":13:3",
            "unknown field `prot`, expected one of `bind`, `port`",
        ),
        ("nonsense: 1\n", ":12:1", "unknown field `nonsense`"),
        (
            "api:\n  port: many\n",
            ":13:9",
            "api.port: must be a whole number",
        ),
        (
            "api:\n  port: \"8888\"\n",
            ":13:9",
            "must be a whole number",
        ),
        ("api:\n  port: -1\n", ":13:9", "not negative"),
        ("api:\n  port: 1.5\n", ":13:9", "must be a whole number"),
        (
            "api:\n  port: 65536\n",
            ":13:3",
            "api.port: must be 0 to 65535, is 65536",
        ),
        (
            "api:\n  retention_days: 36501\n",
            ":13:3",
            "api.retention_days: must be 0 to 36500, is 36501",
        ),
        (
            "runs:\n  lease_s: 2592001\n",
            ":13:3",
            "runs.lease_s: must be 0 to 2592000, is 2592001",
        ),
        (
            "api:\n  port: ${WORD}\n",
            ":13:3",
            "api.port: must be a whole number",
        ),
        (
            "api:\n  port: ${NOT_SET}\n",
            ":13:3",
            "variable NOT_SET, which is not set",
        ),
        ("api:\n  port: [1]\n", ":13:9", "expected a whole number"),
        (
            "api:\n  behind_tls_proxy: 'yes'\n",
            ":13:21",
            "must be true or false",
        ),
        ("api: 3\n", ":12:6", "invalid type: integer `3`"),
        (
            "api:\n  port: 1\n  port: 2\n",
            ":13:3",
            "duplicate field `port`",
        ),
        ("api:\n\tport: 1\n", ":13:1", "a tab"),
        ("api: &a\n  port: 1\n", ":12:6", "anchors"),
        ("api: *a\n", ":12:6", "aliases"),
        ("api: !!map {}\n", ":12:6", "tags"),
        ("log: {\n", ":13:1", "did not find expected"),
        ("--- 1\n--- 2\n", "", "more than one document"),
        (
            "api:\n  bind: 0.0.0.0\n",
            ":13:3",
            "set api.tls, or api.behind_tls_proxy: true",
        ),
        (
            "api:\n  bind: '::'\n",
            ":13:3",
            "set api.tls, or api.behind_tls_proxy: true",
        ),
        (
            "api:\n  bind: localhost\n",
            ":13:3",
            "must be an IP address",
        ),
        (
            "api:\n  wait_for_endpoints_timeout: 90000\n",
            ":13:3",
            "must be 1 to 86400",
        ),
        (
            "api:\n  wait_for_endpoints_timeout: 0\n",
            ":13:3",
            "must be 1 to",
        ),
        (
            "api:\n  wait_for_sent_ms: 10001\n",
            ":13:3",
            "must not exceed timing.lease_s",
        ),
        (
            "api:\n  max_payload_bytes: 4194304\n  max_body_bytes: 4194304\n",
            ":13:3",
            "less than",
        ),
        (
            "timing:\n  lease_s: 60\n",
            ":13:3",
            "less than api.wait_for_endpoints_timeout",
        ),
        (
            "timing:\n  offline_after_s: 29\n",
            ":13:3",
            "at least twice worker.heartbeat_s",
        ),
        (
            "worker:\n  heartbeat_s: 23\n",
            ":13:3",
            "timing.offline_after_s: must be at least twice worker.heartbeat_s (23)",
        ),
        (
            "timing:\n  lost_after_s: 44\n",
            ":13:3",
            "not be less than timing.offline_after_s",
        ),
        (
            "log:\n  level: loud\n",
            ":13:3",
            "one of error, warn, info, debug, trace, is \"loud\"",
        ),
        ("log:\n  format: xml\n", ":13:3", "one of auto, human, json"),
        ("worker:\n  concurrency: 0\n", ":13:3", "must be 1 to"),
        (
            "api:\n  tls:\n    cert: c\n",
            ":13:3",
            "api.tls.key: is missing",
        ),
        ("api:\n  tls:\n", ":13:3", "api.tls: has nothing in it"),
        (
            "api:\n  tls: {cert: c, key: ''}\n",
            ":13:3",
            "api.tls.key: is empty",
        ),
        (
            "api:\n  insecure_bind: true\n",
            ":13:3",
            "unknown field `insecure_bind`",
        ),
    ] {
        let told = refusals("development", &format!("{SAMPLE}{text}"));
        assert_eq!(told.len(), 1, "{text}: {told:?}");
        assert!(
            told[0].starts_with(&format!("x.yaml{place}: ")),
            "{text}: {told:?}"
        );
        assert!(told[0].contains(part), "{text}: {told:?}");
    }
}

/// Replacements in the sample: what, by what, the place, and a part of the message.
#[test]
fn bad_values_are_told_where_and_why() {
    for (from, to, place, part) in [
        (
            "[worker]",
            "[worker, worker]",
            ":1:22",
            "task type \"worker\" is listed twice",
        ),
        (
            "[worker]",
            "\n- a\n- name: a",
            ":3:3",
            "task type \"a\" is listed twice",
        ),
        (
            "[worker]",
            "[api]",
            ":1:14",
            "task type \"api\" \"api\" is a reserved word",
        ),
        ("[worker]", "[Worker]", ":1:14", "must match ^[a-z]"),
        ("[worker]", "[]", ":1:1", "names no task type"),
        (
            "[worker]",
            "[3]",
            ":1:14",
            "expected the name of a task type",
        ),
        (
            "[worker]",
            "\n- name: a\n  retries: 3",
            ":3:3",
            "unknown field `retries`",
        ),
        (
            "[worker]",
            "\n- timeout_s: 3",
            ":2:3",
            "missing field `name`",
        ),
        (
            "[worker]",
            "\n- name: inbox",
            ":2:3",
            "\"inbox\" is a reserved word",
        ),
        (
            "[worker]",
            "\n- name: a\n  run_policy: often",
            ":3:3",
            "one of once, idempotent",
        ),
        (
            "[worker]",
            "\n- name: a\n  max_attempts: 0",
            ":3:3",
            "task_types[0].max_attempts: must be 1 to 100, is 0",
        ),
        (
            "[worker]",
            "\n- name: a\n  max_attempts: 101",
            ":3:3",
            "must be 1 to 100, is 101",
        ),
        (
            "[worker]",
            "\n- name: a\n  max_attempts: often",
            ":3:17",
            "must be a whole number",
        ),
        (
            "[worker]",
            "\n- name: a\n  retry_backoff_s: 0",
            ":3:3",
            "retry_backoff_s: must be 1 to 86400",
        ),
        (
            "[worker]",
            "\n- name: a\n  retry_backoff_s: 0.5",
            ":3:20",
            "must be a whole number",
        ),
        (
            "[worker]",
            "\n- name: a\n  retry_backoff_max_s: 86401",
            ":3:3",
            "retry_backoff_max_s: must be 1 to 86400",
        ),
        (
            "[worker]",
            "\n- name: a\n  retry_backoff_max_s: 9",
            ":3:3",
            "retry_backoff_s: must not exceed retry_backoff_max_s (9)",
        ),
        (
            "[worker]",
            "\n- name: a\n  endpoint: console1",
            ":3:3",
            "endpoint: goes with kind: job only",
        ),
        (
            "[worker]",
            "\n- {name: a, kind: job, endpoint: a b}",
            ":2:1",
            "task_types[0].endpoint: \"a b\"",
        ),
        (
            "[worker]",
            "\n- name: a\n  schema: {type: x}",
            ":3:3",
            "task_types[0].schema: ",
        ),
        (
            "[worker]",
            "\n- {name: a, timeout_s: 9, max_timeout_s: 8}",
            ":2:1",
            "must not exceed",
        ),
        (
            "mysql://",
            "postgres://",
            ":4:5",
            "must start with one of mysql://",
        ),
        (
            "password: hunter2\nrab",
            "exchange: a.b\n    password: x\nrab",
            ":7:5",
            "a prefix of",
        ),
        (
            "    password: hunter2\n",
            "",
            ":5:3",
            "manager.message_queue.password: is missing",
        ),
        (
            "    password: hunter2\n",
            "    password: ''\n",
            ":7:5",
            "password: is empty",
        ),
        ("http://", "", ":9:3", "must start with http"),
        (
            "  username: guest",
            "  ca: /ca\n  username: guest",
            ":10:3",
            "rabbitmq.ca: is of no use",
        ),
        (
            "  message_queue:\n",
            "  message_queue:\n    tls: {verify: false}\n",
            ":6:11",
            "unknown field `verify`",
        ),
        (
            "  message_queue:\n",
            "  message_queue:\n    tls: {}\n",
            ":6:5",
            "manager.message_queue.tls.ca: is missing",
        ),
        (
            "mysql://u:hunter2@db/tasker",
            "sqlite:///x\n    tls: {ca: /ca}",
            ":5:5",
            "manager.db.tls: is of no use",
        ),
    ] {
        let text = SAMPLE.replacen(from, to, 1);
        assert_ne!(text, SAMPLE);
        let told = refusals("development", &text);
        assert_eq!(told.len(), 1, "{to}: {told:?}");
        assert!(
            told[0].starts_with(&format!("x.yaml{place}: ")),
            "{to}: {told:?}"
        );
        assert!(told[0].contains(part), "{to}: {told:?}");
        assert!(!told[0].contains("hunter2"), "{told:?}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let text = format!("{SAMPLE}api:\n  port: 70000\n  bind: 0.0.0.0\nlog:\n  level: loud\n");
    let told = refusals("development", &text);
    assert_eq!(told.len(), 3, "{told:?}");
    assert!(
        told[0].contains("api.port") && told[2].contains("log.level"),
        "{told:?}"
    );
}

#[test]
fn secrets_in_a_file_are_refused_outside_development() {
    let told = refusals("production", SAMPLE);
    let keys = [
        "manager.db.uri",
        "manager.message_queue.password",
        "rabbitmq.password",
    ];
    assert_eq!(told.len(), keys.len(), "{told:?}");
    for (told, key) in told.iter().zip(keys) {
        assert!(told.contains(key) && !told.contains("hunter2"), "{told}");
    }
}

#[test]
fn an_alias_bomb_is_refused_before_it_is_read() {
    let mut bomb = String::from("a: &a [x,x,x,x,x,x,x,x,x]\n");
    for (i, j) in ('a'..='y').zip('b'..='z') {
        bomb.push_str(&format!(
            "{j}: &{j} [*{i},*{i},*{i},*{i},*{i},*{i},*{i},*{i},*{i}]\n"
        ));
    }
    assert_eq!(
        refusals("development", &bomb),
        ["x.yaml:1:4: anchors (&name) are not read"]
    );
    let deep = format!("task_types: {}", "[".repeat(100_000));
    assert_eq!(
        refusals("development", &deep),
        ["x.yaml:1:77: nests too deep"]
    );
}

#[test]
fn modes_are_words_and_files_are_looked_for() {
    for mode in ["", "../production", "a/b", "a.b", "é"] {
        let told = load(mode, None, Needs::NOTHING)
            .expect_err(mode)
            .to_string();
        assert!(told.contains("letters, digits"), "{told}");
    }
    let dir = tempfile::tempdir().unwrap();
    let told = load("nothing", Some(dir.path()), Needs::NOTHING)
        .unwrap_err()
        .to_string();
    assert!(
        told.starts_with("nothing.config.yaml: not found in /"),
        "{told}"
    );
    std::fs::write(dir.path().join("big.config.yaml"), "#".repeat(2 << 20)).unwrap();
    let told = load("big", Some(dir.path()), Needs::NOTHING)
        .unwrap_err()
        .to_string();
    assert!(told.contains("larger than"), "{told}");
    std::fs::write(dir.path().join("empty.config.yaml"), "# nothing\n").unwrap();
    let config = load("empty", Some(dir.path()), Needs::NOTHING).unwrap();
    assert_eq!(config.api.port, 8888);
    assert!(Source::parse(DEFAULT_NAME.to_owned(), DEFAULT).is_ok());
}

#[test]
fn what_cannot_be_called_is_not_a_host() {
    for (webhooks, place, part) in [
        ("{allow: hooks.example}", "webhooks.allow", "a sequence"),
        ("{allow: [hooks.example]}", "webhooks.secret", "missing"),
        (
            "{allow: [hooks.example], secret: short}",
            "webhooks.secret",
            "at least 16 characters",
        ),
        (
            "{allow: [hooks.example, 'http://hooks.example'], secret: '${LONG}'}",
            "webhooks.allow[1]",
            "must be a host or host:port",
        ),
        (
            "{allow: [10.0.0.1], secret: '${LONG}'}",
            "webhooks.allow[0]",
            "not a public address",
        ),
        (
            "{allow: ['*.example'], secret: '${LONG}'}",
            "webhooks.allow[0]",
            "no valid host",
        ),
        ("{hosts: []}", "webhooks", "unknown field"),
    ] {
        let told = refusals("development", &format!("{SAMPLE}webhooks: {webhooks}\n"));
        assert_eq!(told.len(), 1, "{webhooks}: {told:?}");
        assert!(
            told[0].contains(place) && told[0].contains(part),
            "{webhooks}: {told:?}"
        );
    }
    let text = format!("{SAMPLE}webhooks: {{allow: [a.example], secret: a secret in a file}}\n");
    let told = refusals("production", &text);
    assert!(
        told.iter().any(|told| told.contains("webhooks.secret")),
        "{told:?}"
    );
}
