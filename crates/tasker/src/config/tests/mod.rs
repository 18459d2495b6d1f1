//! What the samples and good files mean.

mod refused;

use std::collections::HashMap;

use tasker_core::retry::RetryPolicy;

use super::file::File;
use super::source::Source;
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
        ("TASKER_RABBITMQ_API", "https://mq:15671"),
        ("TASKER_RABBITMQ_ADMIN", "admin"),
        ("TASKER_RABBITMQ_ADMIN_PASSWORD", "hunter2"),
        ("TASKER_WORKER_USER", "tasker.console1"),
        ("TASKER_WORKER_PASSWORD", "hunter2"),
        ("PORT", "9999"),
        ("LONG", "a secret that is long enough"),
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
            "kind",
            "endpoint",
            "run_policy",
            "max_attempts",
            "retry_backoff_s",
            "retry_backoff_max_s",
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
    let compose = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/compose.config.yaml");
    let source = Source::read(&compose).unwrap();
    build("compose", Some(source), Needs::ALL, &environment()).unwrap();
}

#[test]
fn no_days_of_retention_mean_for_ever() {
    for (days, kept) in [("0", None), ("7", Some(7))] {
        let text = format!("api: {{retention_days: {days}}}\n");
        let config = load_text("production", &text, Needs::NOTHING).unwrap();
        assert_eq!(config.api.retention_days, kept);
    }
    assert_eq!(
        default(Needs::NOTHING).unwrap().api.retention_days,
        Some(90)
    );
}

#[test]
fn callbacks_are_off_until_a_host_is_named() {
    let load = |text: &str, needs| load_text("production", text, needs).unwrap().webhooks;
    let rest = "manager: {message_queue: {host: mq, username: tasker, password: '${TASKER_MQ_PASSWORD}'}, \
                db: {uri: '${TASKER_DB_URI}'}}\n";
    assert!(load(rest, Needs::API).is_none());
    // Nor is a secret looked up that nobody needs.
    let off = format!("webhooks: {{allow: [], secret: '${{NOT_SET}}'}}\n{rest}");
    assert!(load(&off, Needs::API).is_none());
    let text = "webhooks:\n  allow: [hooks.example, 'b.example:8443', 'http://127.0.0.1:9000', '${TASKER_MQ_HOST}']\n  \
                secret: '${LONG}'\n  ca: /etc/ca.pem\n";
    let on = load(&format!("{text}{rest}"), Needs::API).unwrap();
    let allowed: Vec<_> = on.allow.entries().collect();
    let expected = [
        "https://hooks.example",
        "https://b.example:8443",
        "http://127.0.0.1:9000",
        "https://mq",
    ];
    assert_eq!(allowed, expected);
    assert_eq!(on.ca.as_deref(), Some(Path::new("/etc/ca.pem")));
    assert!(!format!("{on:?}").contains("long enough"), "{on:?}");
    assert!(load(&format!("{text}{rest}"), Needs::NOTHING).is_none());
}

#[test]
fn no_lease_of_runs_means_for_ever() {
    for (written, lease) in [("0", None), ("90", Some(90))] {
        let text = format!("runs: {{lease_s: {written}}}\n");
        let config = load_text("production", &text, Needs::NOTHING).unwrap();
        let seconds = config.runs.lease.0.map(|lease| lease.as_secs());
        assert_eq!(seconds, lease);
    }
    assert_eq!(default(Needs::NOTHING).unwrap().runs.lease.0, None);
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
    let text = format!("{SAMPLE}api:\n  port: ${{PORT}}\n  behind_tls_proxy: ${{X:-true}}\n");
    let config = load_text("development", &text, Needs::ALL).unwrap();
    assert_eq!(config.api.port, 9999);
    assert!(config.api.behind_tls_proxy);
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
         known_endpoints_only: true\n  schema: {{type: object}}\n  max_attempts: 100\n  \
         retry_backoff_s: 7200\n",
        SAMPLE.replace("task_types: [worker]\n", "") + "task_types:\n- worker\n"
    );
    let config = load_text("development", &text, Needs::ALL).unwrap();
    let [worker, update] = &config.task_types[..] else {
        panic!("{config:?}")
    };
    assert_eq!((worker.timeout_s, worker.max_timeout_s), (3_600, 86_400));
    assert_eq!(worker.unlisted, Unlisted::Ignore);
    assert_eq!(worker.retry, RetryPolicy::DEFAULT);
    let retry = (
        update.retry.max_attempts,
        update.retry.backoff_s,
        update.retry.backoff_max_s,
    );
    assert_eq!(retry, (100, 7_200, 7_200));
    assert_eq!((update.timeout_s, update.max_timeout_s), (100_000, 100_000));
    assert_eq!(update.unlisted, Unlisted::Perform);
    assert!(update.known_endpoints_only && update.schema.is_some());
}

#[test]
fn an_address_for_others_needs_tls_here_or_before_it() {
    let api = "api:\n  bind: 0.0.0.0\n";
    for more in ["  behind_tls_proxy: true\n", "  tls: {cert: /c, key: /k}\n"] {
        load_text("development", &format!("{SAMPLE}{api}{more}"), Needs::ALL).unwrap();
    }
    // The API's files are on its own host; an endpoint's does not look for them.
    let text = format!("{SAMPLE}{api}  tls: {{cert: '${{NOT_SET}}', key: '${{NOT_SET}}'}}\n");
    let config = load_text("development", &text, Needs::WORKER).unwrap();
    assert!(config.api.tls.is_none());
    assert!(load_text("development", &text, Needs::API).is_err());
}

#[test]
fn each_link_has_its_certificates() {
    let text = SAMPLE
        .replace("  db:\n", "  db:\n    tls: {ca: /db}\n")
        .replace(
            "  message_queue:\n",
            "  message_queue:\n    tls: {ca: '${WORD}'}\n",
        )
        .replace("apiurl: http:", "ca: /api\n  apiurl: https:");
    let config = load_text("development", &text, Needs::ALL).unwrap();
    let (db, queue) = (config.db.unwrap(), config.message_queue.unwrap());
    assert_eq!(db.tls_ca.as_deref(), Some(Path::new("/db")));
    assert_eq!(queue.tls_ca.as_deref(), Some(Path::new("many")));
    let ca = config.rabbitmq.unwrap().ca;
    assert_eq!(ca.as_deref(), Some(Path::new("/api")));
}
