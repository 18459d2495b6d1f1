//! The main job: one task fans out, and one answer comes back.

use crate::system::{System, rows, wait_for};
use serde_json::{Value, json};

fn task(identifier: &str, endpoints: &[&str]) -> Value {
    json!({"identifier": identifier, "payload": {"foo": "bar"}, "endpoints": endpoints})
}

/// endpoint → reason, of an answer's missing responses.
fn reasons(answer: &Value) -> Vec<(String, String)> {
    let mut reasons: Vec<_> = rows(&answer["summary"], "reasons")
        .iter()
        .map(|row| {
            let text = |key: &str| row[key].as_str().unwrap_or_default().to_owned();
            (text("endpoint"), text("reason"))
        })
        .collect();
    reasons.sort();
    reasons
}

fn runs_of_backup(system: &System) -> usize {
    std::fs::read_to_string(system.dir().join("backup.runs"))
        .unwrap_or_default()
        .lines()
        .count()
}

fn let_backup_end(system: &System) {
    std::fs::write(system.dir().join("backup.go"), "").unwrap();
}

#[test]
fn one_task_fans_out_and_comes_back_as_one_answer() {
    let mut system = System::init();
    system.start_api();
    let _workers = ["console1", "console2"].map(|name| system.start_worker(name, "worker"));
    for name in ["console1", "console2"] {
        system.wait_online(name, "worker");
    }
    let (status, created) = system.post("/worker", &task("first", &["console1", "console2"]));
    assert_eq!(
        (status, &created["status"]),
        (201, &json!("SENT")),
        "{}",
        system.logs()
    );
    let (_, answer) = system.get("/worker/first?wait=30");
    assert_eq!(
        answer["task"]["status"],
        "DONE",
        "{answer:#}\n{}",
        system.logs()
    );
    let rows = rows(&answer, "taskResponseList");
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert_eq!((&row["errnr"], &row["status"]), (&json!(0), &json!(1)));
        assert_eq!(row["payload"], json!({"yiya": "yippie", "yeah": 1_234_123}));
    }

    // The plain client sees the same, and its exit code tells how it ended.
    let url = system.url.clone();
    let show = system.tasker(&["show", "worker", "first", "--json", "--url", &url]);
    assert_eq!(show.status.code(), Some(0));
    let shown: Value = serde_json::from_slice(&show.stdout).unwrap();
    assert_eq!(shown["task"], answer["task"]);
    let submit = [
        "submit",
        "worker",
        "--endpoints",
        "console1",
        "--wait",
        "30",
        "--url",
        &url,
    ];
    assert_eq!(system.tasker(&submit).status.code(), Some(0));
    let nobody = [
        "submit",
        "worker",
        "--endpoints",
        "nobody",
        "--wait",
        "30",
        "--url",
        &url,
    ];
    assert_eq!(system.tasker(&nobody).status.code(), Some(2));
    let unavailable = ["show", "worker", "first", "--url", "http://127.0.0.1:9"];
    assert_eq!(system.tasker(&unavailable).status.code(), Some(69));
    assert_eq!(system.tasker(&["submit"]).status.code(), Some(64));
}

#[test]
fn every_missing_answer_has_its_reason_and_late_answers_complete_the_task() {
    let mut system = System::init();
    system.start_api();
    // One that is seen and then goes, one that takes the task and then goes silent.
    let offline = system.start_worker("offline", "backup");
    let silent = system.start_worker("silent", "backup");
    system.wait_online("offline", "backup");
    system.wait_online("silent", "backup");
    assert_eq!(offline.stop(), Some(0));
    system.wait_until("/endpoints", |answer| {
        rows(answer, "endpoints")
            .iter()
            .any(|row| row["name"] == "offline" && row["online"] == false)
    });

    let (status, _) = system.post("/backup", &task("late", &["never", "offline", "silent"]));
    assert_eq!(status, 201);
    system.wait_until("/backup/late", |answer| {
        rows(answer, "taskResponseList")
            .iter()
            .any(|row| row["state"] == "RUNNING")
    });
    silent.kill();
    let answer = system.wait_until("/backup/late", |answer| {
        answer["task"]["status"] == "INCOMPLETE"
            && reasons(answer)
                .iter()
                .any(|(_, reason)| reason == "lost_contact")
    });
    let wanted = [
        ("never", "never_seen"),
        ("offline", "offline_since"),
        ("silent", "lost_contact"),
    ];
    let wanted = wanted.map(|(name, reason)| (name.to_owned(), reason.to_owned()));
    assert_eq!(reasons(&answer), wanted, "{answer:#}");
    assert_eq!(answer["summary"]["missing"], 3);

    // All three come (back). The interrupted run is not repeated: its type runs once.
    let_backup_end(&system);
    let _workers = ["never", "offline", "silent"].map(|name| system.start_worker(name, "backup"));
    let answer = system.wait_until("/backup/late", |answer| answer["task"]["status"] == "DONE");
    let state = |name: &str| {
        let row = rows(&answer, "taskResponseList")
            .iter()
            .find(|row| row["endpoint"] == name);
        row.unwrap()["state"].clone()
    };
    assert_eq!(state("never"), "SUCCEEDED");
    assert_eq!(state("offline"), "SUCCEEDED");
    assert_eq!(state("silent"), "INTERRUPTED");
    assert_eq!(runs_of_backup(&system), 3);
    let url = system.url.clone();
    let show = system.tasker(&["show", "backup", "late", "--url", &url]);
    assert_eq!(show.status.code(), Some(3), "DONE, but not all succeeded");
}

#[test]
fn an_endpoint_that_never_connected_runs_the_task_at_its_first_start() {
    let mut system = System::init();
    system.start_api();
    let (status, _) = system.post("/worker", &task("early", &["console9"]));
    assert_eq!(status, 201);
    let (code, _) = system.manage(
        "GET",
        &format!("queues/{0}/{0}.worker.console9", system.name),
    );
    assert_eq!(code, 404, "it must not have a queue before");
    let _worker = system.start_worker("console9", "worker");
    let answer = system.wait_until("/worker/early", |answer| answer["task"]["status"] == "DONE");
    assert_eq!(answer["summary"]["failed"], 0);
}

#[test]
fn a_restart_of_one_worker_leaves_its_neighbour_alone() {
    let mut system = System::init();
    system.start_api();
    let worker = system.start_worker("console1", "worker");
    let _backup = system.start_worker("console1", "backup");
    system.wait_online("console1", "worker");
    system.wait_online("console1", "backup");
    system.post("/backup", &task("long", &["console1"]));
    let running = |answer: &Value| {
        rows(answer, "taskResponseList")
            .first()
            .is_some_and(|row| row["state"] == "RUNNING")
    };
    let before = system.wait_until("/backup/long", running);

    worker.kill();
    let _worker = system.start_worker("console1", "worker");
    system.post("/worker", &task("after", &["console1"]));
    system.wait_until("/worker/after", |answer| answer["task"]["status"] == "DONE");
    let (_, after) = system.get("/backup/long");
    for key in ["state", "attempt", "run", "start_time", "id"] {
        let row = |answer: &Value| rows(answer, "taskResponseList")[0][key].clone();
        assert_eq!(row(&before), row(&after), "{key}");
    }
    let_backup_end(&system);
    system.wait_until("/backup/long", |answer| answer["task"]["status"] == "DONE");
    assert_eq!(runs_of_backup(&system), 1);
}

#[test]
fn a_cancel_ends_the_run_and_is_confirmed() {
    let mut system = System::init();
    system.start_api();
    let _worker = system.start_worker("console1", "backup");
    system.wait_online("console1", "backup");
    system.post("/backup", &task("doomed", &["console1"]));
    wait_for("the handler to run", || {
        (runs_of_backup(&system) == 1).then_some(())
    });
    let url = system.url.clone();
    system.tasker_ok(&["cancel", "backup", "doomed", "--url", &url]);
    let answer = system.wait_until("/backup/doomed", |answer| {
        rows(answer, "taskResponseList")
            .iter()
            .any(|row| row["state"] == "CANCELLED")
    });
    assert_eq!(answer["task"]["status"], "CANCELLED");
    let show = system.tasker(&["show", "backup", "doomed", "--url", &url]);
    assert_eq!(show.status.code(), Some(4));
}

#[test]
fn an_api_that_was_killed_after_accepting_publishes_after_its_restart() {
    let mut system = System::init();
    system.start_api();
    let _worker = system.start_worker("console1", "worker");
    system.wait_online("console1", "worker");
    for i in 0..20 {
        let (status, _) = system.post("/worker", &task(&format!("k{i}"), &["console1"]));
        assert!(matches!(status, 201 | 202), "{status}");
    }
    system.kill_api();
    system.start_api();
    for i in 0..20 {
        let path = format!("/worker/k{i}");
        system.wait_until(&path, |answer| answer["task"]["status"] == "DONE");
    }
}

#[test]
fn a_worker_in_python_takes_part_through_the_wire_document_alone() {
    let mut system = System::init();
    system.start_api();
    let script = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../docs/wire/pika_worker.py"
    );
    let amqp = system.worker_amqp_url();
    let journal = system.dir().join("pika.journal");
    let mut python = std::process::Command::new("/usr/bin/python3")
        .args([script, &amqp, &system.name, "worker", "pika1"])
        .arg(&journal)
        .spawn()
        .unwrap();
    let (status, _) = system.post("/worker", &task("snake", &["pika1"]));
    assert_eq!(status, 201);
    let answer = system.wait_until("/worker/snake", |answer| answer["task"]["status"] == "DONE");
    python.kill().unwrap();
    python.wait().unwrap();
    let reply = &rows(&answer, "taskResponseList")[0]["payload"];
    assert_eq!(*reply, json!({"echo": {"foo": "bar"}, "by": "pika"}));
}

#[test]
fn two_api_processes_share_one_ledger_and_either_may_die() {
    let mut system = System::init();
    system.start_api();
    let first = system.url.clone();
    system.start_api();
    let second = std::mem::replace(&mut system.url, first);
    let _workers = ["console1", "console2"].map(|name| system.start_worker(name, "worker"));
    for name in ["console1", "console2"] {
        system.wait_online(name, "worker");
    }
    for i in 0..40 {
        let body = task(&format!("s{i}"), &["console1", "console2"]);
        assert!(matches!(system.post("/worker", &body).0, 201 | 202));
        if i % 2 == 0 {
            // The same again, to the other process: the same task.
            let first = std::mem::replace(&mut system.url, second.clone());
            assert_eq!(system.post("/worker", &body).0, 200);
            system.url = first;
        }
    }
    system.kill_api();
    system.url = second;
    for i in 0..40 {
        let path = format!("/worker/s{i}");
        let answer = system.wait_until(&path, |answer| answer["task"]["status"] == "DONE");
        let summary = &answer["summary"];
        assert_eq!(
            (&summary["finished"], &summary["failed"]),
            (&json!(2), &json!(0))
        );
    }
}

#[test]
fn what_nobody_takes_expires_and_is_tried_again_where_asked() {
    let mut system = System::init();
    system.start_api();
    let body = json!({"identifier": "stale", "endpoints": ["console9"], "expires_in_s": 1});
    assert_eq!(system.post("/worker", &body).0, 201);
    let answer = system.wait_until("/worker/stale", |answer| {
        answer["task"]["status"] == "INCOMPLETE"
            && reasons(answer) == [("console9".to_owned(), "expired".to_owned())]
    });
    assert_eq!(answer["summary"]["missing"], 1);
    // It is not run by who comes too late, but by a retry, with a new life span.
    let _worker = system.start_worker("console9", "worker");
    system.wait_online("console9", "worker");
    let url = system.url.clone();
    system.tasker_ok(&["retry", "worker", "stale", "--url", &url]);
    let answer = system.wait_until("/worker/stale", |answer| answer["task"]["status"] == "DONE");
    let row = &rows(&answer, "taskResponseList")[0];
    assert_eq!(
        (&row["state"], &row["attempt"]),
        (&json!("SUCCEEDED"), &json!(2))
    );
}
