//! `tasker bench` against a whole installation on a real MariaDB and a real RabbitMQ: small runs end
//! with every task done, and a run in which anything failed does not count.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use serde_json::{Value, json};
use tasker_testkit::installation::{Api, Installation, Program, Programs, Servers, rows};
use tasker_testkit::services;

const PATIENCE: Duration = Duration::from_secs(60);

const CONFIG: &str = r"
task_types:
  - name: bench
    run_policy: idempotent
  - name: careful
    run_policy: once
api:
  auth: none
  port: 0
  wait_for_endpoints_timeout: 2
worker:
  username: ${TASKER_WORKER_USER}
  password: ${TASKER_WORKER_PASSWORD}
  journal_dir: ${T_DIR}/journals
  handlers_dir: ${T_DIR}/handlers
timing:
  lease_s: 1
";

struct System {
    installation: Installation,
    _api: Program,
    url: String,
}

impl System {
    fn start() -> Self {
        let programs = Programs {
            tasker: env!("CARGO_BIN_EXE_tasker").into(),
            worker: env!("CARGO_BIN_EXE_tasker-worker").into(),
        };
        let servers = Servers {
            mysql: services::mysql_url(),
            amqp: services::amqp_url(),
            management: services::rabbitmq_api(),
        };
        let installation = Installation::make(programs, servers, CONFIG);
        let mut api = installation.start_api("api", &[]);
        let url = api.wait_printed("listening on ", PATIENCE);
        Api::at(&url).wait_ready(PATIENCE);
        Self {
            installation,
            _api: api,
            url,
        }
    }

    /// Runs `tasker bench … --json`.
    fn bench(&self, args: &[&str]) -> Output {
        let url = ["--json", "--url", &self.url];
        self.installation
            .tasker(&[&["bench"], args, &url[..]].concat())
    }

    /// Runs it; it must count. What it printed.
    fn counts(&self, args: &[&str]) -> Value {
        let output = self.bench(args);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success(),
            "{args:?}: {told}\n{}",
            self.installation.logs()
        );
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["section"], args[0]);
        assert_eq!(report["void"], Value::Null, "{report}");
        report
    }

    /// How many tasks of a type are DONE with the responses of so many endpoints.
    fn done(&self, task_type: &str, endpoints: u64) -> usize {
        let path = format!("/{task_type}?status=DONE&limit=200");
        let (_, page) = Api::at(&self.url).get(&path);
        let tasks = rows(&page, "tasks").iter();
        let all = |task: &&Value| task["finished"] == json!(endpoints) && task["failed"] == 0;
        tasks.filter(all).count()
    }

    /// The inboxes of a task type.
    fn inboxes(&self, task_type: &str) -> usize {
        let name = self.installation.name();
        let path = format!("queues/{name}?disable_stats=true&enable_queue_totals=true");
        let (status, queues) = self.installation.management().call("GET", &path, None);
        assert_eq!(status, 200, "{queues}");
        let prefix = format!("{name}.{task_type}.");
        let queues = queues.as_array().unwrap().iter();
        queues
            .filter(|queue| queue["name"].as_str().unwrap().starts_with(&prefix))
            .count()
    }
}

#[test]
fn fan_out_is_measured_to_the_last_response_and_nothing_stays_behind() {
    let system = System::start();
    for (task_type, listing) in [("bench", "--listed"), ("careful", "--listed")] {
        let args = ["--tasks", "30", "--endpoints", "3", "--type", task_type];
        let report = system.counts(&[&["fanout", listing], &args[..]].concat());
        assert_eq!(
            (&report["tasks"], &report["endpoints"]),
            (&json!(30), &json!(3))
        );
        assert_eq!(report["seconds"], report["done_seconds"]);
        // At least a claim and an end; never more than two of each endpoint's for each task.
        let fsyncs = report["fsyncs"].as_u64().unwrap();
        assert!((2..=180).contains(&fsyncs), "{report}");
        assert_eq!(system.done(task_type, 3), 30);
        assert_eq!(system.inboxes(task_type), 0);
    }
    // An open task is DONE when its wait is over, and recorded before that.
    let open = ["fanout", "--open", "--tasks", "5", "--endpoints", "2"];
    let report = system.counts(&open);
    assert_eq!(report["audience"], "open");
    let seconds = |key: &str| report[key].as_f64().unwrap();
    assert!(seconds("done_seconds") >= 2.0 && seconds("seconds") < seconds("done_seconds"));
    assert_eq!(system.done("bench", 2), 5);
}

#[test]
fn accept_latency_and_reads_count_what_they_did() {
    let system = System::start();
    let accept = ["accept", "--seconds", "1", "--connections", "4"];
    let report = system.counts(&accept);
    let tasks = report["tasks"].as_u64().unwrap();
    assert!(tasks > 0 && report["done"] == tasks, "{report}");
    let (_, page) = Api::at(&system.url).get("/bench?limit=200");
    let listed = rows(&page, "tasks").len() as u64;
    assert_eq!(listed, tasks.min(200));

    let latency = [
        "latency",
        "--rate",
        "10",
        "--seconds",
        "1",
        "--endpoints",
        "2",
    ];
    let report = system.counts(&latency);
    assert_eq!(report["tasks"], 10);
    let figure = |key: &str| report[key].as_f64().unwrap();
    assert!(
        figure("p50_ms") > 0.0 && figure("p50_ms") <= figure("p99_ms"),
        "{report}"
    );

    let report = system.counts(&["reads", "--requests", "5"]);
    assert_eq!(report["tasks"], tasks + 10);
    for key in [
        "post_p50_ms",
        "recent_get_p50_ms",
        "uniform_get_p50_ms",
        "list_p99_ms",
    ] {
        assert!(report[key].as_f64().unwrap() > 0.0, "{key}: {report}");
    }
}

#[test]
fn a_run_in_which_anything_failed_is_void() {
    let system = System::start();
    let handler = system.installation.dir().join("handlers/bench");
    std::fs::create_dir_all(&handler).unwrap();
    let yaml = "protocol: 1\ndescription: fails\ncommand: [run]\ntimeout_s: 10\n";
    std::fs::write(handler.join("handler.yaml"), yaml).unwrap();
    std::fs::write(handler.join("run"), "#!/bin/sh\nexit 3\n").unwrap();
    std::fs::set_permissions(handler.join("run"), PermissionsExt::from_mode(0o755)).unwrap();
    let worker = ("console1", "bench");
    let _worker = system
        .installation
        .start_worker("worker", worker.0, worker.1, &[]);
    Api::at(&system.url).wait_online(worker.0, worker.1, PATIENCE);

    let output = system.bench(&["fanout", "--open", "--tasks", "3", "--endpoints", "2"]);
    assert_eq!(
        output.status.code(),
        Some(1),
        "{}",
        system.installation.logs()
    );
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let void = report["void"].as_str().unwrap();
    assert!(void.contains("1 failed"), "{void}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("void: "));
}

#[test]
fn what_cannot_be_measured_is_said_at_once() {
    let system = System::start();
    for (args, code) in [
        (&["accept", "--type", "unknown"][..], 64),
        (&["fanout", "--listed", "--open"], 64),
        (&["latency", "--rate", "0"], 64),
        (&["reads", "--identifiers", "/nowhere"], 64),
    ] {
        assert_eq!(system.bench(args).status.code(), Some(code), "{args:?}");
    }
    let nobody = ["bench", "accept", "--url", "http://127.0.0.1:1"];
    assert_eq!(system.installation.tasker(&nobody).status.code(), Some(69));
}
