//! What the samples mean, and what bad configurations are told.

use std::collections::HashMap;

use super::file::File;
use super::source::{DEFAULT_NAME, Source};
use super::written::tests::MapLookup;
use super::*;

const SAMPLE: &str = "\
task_types: [worker]
manager:
  db:
    uri: mysql://u:hunter2@db/tasker
  message_queue:
    username: tasker
    password: hunter2
rabbitmq:
  apiurl: http://127.0.0.1:15672/api/
  username: guest
  password: hunter2
";

fn environment() -> MapLookup {
    MapLookup(HashMap::from([
        ("TASKER_DB_URI", "mysql://u:hunter2@db/tasker"),
        ("TASKER_MQ_HOST", "mq"),
        ("TASKER_MQ_PASSWORD", "hunter2"),
        ("TASKER_RABBITMQ_API", "http://mq:15672"),
        ("TASKER_RABBITMQ_ADMIN", "admin"),
        ("TASKER_RABBITMQ_ADMIN_PASSWORD", "hunter2"),
        ("TASKER_WORKER_USER", "tasker.console1"),
        ("TASKER_WORKER_PASSWORD", "hunter2"),
        ("PORT", "9999"),
        ("WORD", "many"),
    ]))
}

fn load_text(mode: &str, text: &str, needs: Needs) -> Result<Config, ConfigError> {
    let source = Source::parse("x.yaml".to_owned(), text)?;
    build(mode, Some(source), needs, &environment())
}

fn refusals(mode: &str, text: &str) -> Vec<String> {
    let problems = load_text(mode, text, Needs::ALL).expect_err("refused").0;
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn the_default_needs_no_file() {
    let config = default(Needs::NOTHING).unwrap();
    assert_eq!(config.api.address().to_string(), "127.0.0.1:8888");
    let timing = tasker_core::store::Timing::default();
    assert_eq!(format!("{:?}", config.timing), format!("{timing:?}"));
    assert!(config.db.is_none());
}

#[test]
fn the_default_documents_every_key() {
    let mut keys = Vec::new();
    File::keys("", &mut keys);
    keys.extend(
        [
            "run_policy",
            "timeout_s",
            "max_timeout_s",
            "unlisted",
            "known_endpoints_only",
            "schema",
        ]
        .map(str::to_owned),
    );
    for key in keys {
        let last = key.rsplit('.').next().unwrap_or(&key);
        let documented = DEFAULT.lines().any(|l| {
            l.trim_start_matches([' ', '#', '-'])
                .starts_with(&format!("{last}:"))
        });
        assert!(documented, "{key}");
    }
}

#[test]
fn every_sample_is_valid_in_its_mode() {
    let dir = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../../config"));
    let mut modes = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let mode = name.strip_suffix(".config.yaml").expect("a config's name");
        if mode == "default" {
            continue;
        }
        let source = Source::read(&path).unwrap();
        let config = build(mode, Some(source), Needs::ALL, &environment()).unwrap();
        assert!(!format!("{config:?}").contains("hunter2"), "{config:?}");
        modes.push(mode.to_owned());
    }
    modes.sort();
    assert_eq!(modes, ["development", "production"]);
}

#[test]
fn production_samples_hold_no_secret() {
    let path = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../config/production.config.yaml"
    ));
    let text = std::fs::read_to_string(path).unwrap();
    let secrets = text
        .lines()
        .filter(|l| l.contains("password:") || l.contains("uri:"));
    let mut count = 0;
    for line in secrets {
        assert!(line.contains(": ${"), "{line}");
        count += 1;
    }
    assert_eq!(count, 4);
}

#[test]
fn a_worker_needs_no_database_and_an_api_no_worker() {
    let text = "manager: {db: {uri: '${NOT_SET}'}, message_queue: {username: '${NOT_SET}'}}\n\
                worker: {username: w, password: '${TASKER_WORKER_PASSWORD}'}\n\
                rabbitmq: {password: '${NOT_SET}'}\n";
    let config = load_text("production", text, Needs::WORKER).unwrap();
    assert_eq!(config.worker.account.unwrap().password.expose(), "hunter2");
    assert!(config.message_queue.unwrap().account.is_none());

    let text = SAMPLE.replace("rabbitmq:", "worker: {password: '${NOT_SET}'}\nrabbitmq:");
    load_text("development", &text, Needs::API).unwrap();
    // Where the workers' account is not known, each endpoint has its own.
    assert!(
        load_text("development", &text, Needs::INIT)
            .unwrap()
            .worker
            .account
            .is_none()
    );
    let text = SAMPLE.replace("rabbitmq:", "worker: {username: w, password: x}\nrabbitmq:");
    assert!(
        load_text("development", &text, Needs::INIT)
            .unwrap()
            .worker
            .account
            .is_some()
    );
}

#[test]
fn files_lie_over_the_default_and_references_are_numbers_too() {
    let text = format!("{SAMPLE}api:\n  port: ${{PORT}}\n  insecure_bind: ${{X:-true}}\n");
    let config = load_text("development", &text, Needs::ALL).unwrap();
    assert_eq!(config.api.port, 9999);
    assert!(config.api.insecure_bind);
    assert_eq!(config.api.wait_for_endpoints_timeout, 60);
    assert_eq!(config.names().len(), 1);
    assert_eq!(config.rabbitmq.unwrap().apiurl, "http://127.0.0.1:15672");
}

#[test]
fn secrets_never_show() {
    let config = load_text("development", SAMPLE, Needs::ALL).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("mysql://u:***@db/tasker"), "{shown}");
}

#[test]
fn task_types_have_options() {
    let text = format!(
        "{}- name: os-update\n  run_policy: idempotent\n  timeout_s: 100000\n  unlisted: perform\n  \
         known_endpoints_only: true\n  schema: {{type: object}}\n",
        SAMPLE.replace("task_types: [worker]\n", "") + "task_types:\n- worker\n"
    );
    let config = load_text("development", &text, Needs::ALL).unwrap();
    let [worker, update] = &config.task_types[..] else {
        panic!("{config:?}")
    };
    assert_eq!((worker.timeout_s, worker.max_timeout_s), (3_600, 86_400));
    assert_eq!(worker.unlisted, Unlisted::Ignore);
    assert_eq!((update.timeout_s, update.max_timeout_s), (100_000, 100_000));
    assert_eq!(update.unlisted, Unlisted::Perform);
    assert!(update.known_endpoints_only && update.schema.is_some());
}

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
            "api:\n  insecure_bind: 'yes'\n",
            ":13:18",
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
            "say api.insecure_bind: true",
        ),
        (
            "api:\n  bind: '::'\n",
            ":13:3",
            "say api.insecure_bind: true",
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
