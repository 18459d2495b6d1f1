//! Transactions that lock the same rows in another order.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use serde_json::json;
use tasker_testkit::installation::Installation;
use uuid::Uuid;

use super::{promise_refusals, set};
use crate::load::Plan;
use crate::outcome::Limits;
use crate::scene::{Scene, until};
use crate::session::Session;

/// Endpoints whose reports of one task arrive at once.
const REPORTS: usize = 1000;
/// Sessions of the storm.
const SESSIONS: usize = 4;

pub(super) fn f18(scene: &mut Scene<'_>) {
    // Two processes; each says which of its transactions lost a race.
    let log = "info,tasker_store=debug".to_owned();
    set(scene, 2, &[("TASKER_LOG", log)]);
    let load = scene.load(&Plan::new("once", &scene.endpoints()));
    load.wait_accepted(300);
    let before = deadlocks(scene);
    let stop = Arc::new(AtomicBool::new(false));
    let storm: Vec<_> = (0..SESSIONS).map(|i| storm(scene, i, &stop)).collect();
    let uid = task_of_many(scene);
    report_all(&scene.installation, &uid);
    load.wait_accepted(700);
    until("deadlocks", || {
        (deadlocks(scene) >= before + 20).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    let rounds: u64 = storm
        .into_iter()
        .map(|t| t.join().expect("a session"))
        .sum();
    scene.cleared();
    load.wait_accepted(300);
    scene.end(load);

    let found = deadlocks(scene) - before;
    scene.injected("deadlocks", found, 20);
    let logs = (1..=2).map(|i| std::fs::read_to_string(scene.installation.log(&format!("api{i}"))));
    let retried: usize = logs
        .map(|log| log.expect("a log").matches("lost a race").count())
        .sum();
    scene.injected("transactions of tasker that lost", retried as u64, 5);
    scene.note("rounds of the storm", rounds);
    let path = format!("/again/{MANY}");
    let finished = || {
        let answer = scene.api().get(&path).1;
        answer["summary"]["finished"].as_u64().unwrap_or(0)
    };
    let all = REPORTS as u64;
    until("all reports of one task", || {
        (finished() >= all).then_some(())
    });
    let finished = finished();
    scene.injected("reports of one task", finished, all);
    promise_refusals(scene);
    let refused = scene.posts().answered(503);
    scene.promise("a client learned of it", refused == 0);
    scene.settle("once", Limits::default());
}

fn deadlocks(scene: &Scene<'_>) -> u64 {
    let text = scene
        .stage
        .sql("SHOW GLOBAL STATUS LIKE 'Innodb_deadlocks'");
    text.split('\t')
        .nth(1)
        .and_then(|n| n.parse().ok())
        .unwrap_or(0)
}

/// Locks responses before tasks and tasks from the last to the first, which nobody of tasker does,
/// again and again. Rows of its own make it the heavier one, so that the others lose.
fn storm(scene: &Scene<'_>, number: usize, stop: &Arc<AtomicBool>) -> JoinHandle<u64> {
    let name = scene.installation.name();
    let mut session = Session::open(&scene.stage.database);
    session.run(&format!(
        "CREATE TABLE {name}.ballast{number} (n INT) ENGINE=InnoDB; USE {name}"
    ));
    let order = if number.is_multiple_of(2) {
        "DESC"
    } else {
        "ASC"
    };
    let round = format!(
        "START TRANSACTION; INSERT INTO ballast{number} SELECT seq FROM seq_1_to_300; \
         SET @from = (SELECT MAX(id) FROM tasks) - 60; \
         SELECT id FROM responses WHERE task_id > @from ORDER BY id {order} FOR UPDATE; \
         DO SLEEP(0.02); \
         SELECT id FROM tasks WHERE id > @from ORDER BY id {order} FOR UPDATE; \
         ROLLBACK; DO SLEEP(0.05)"
    );
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let mut rounds = 0;
        while !stop.load(Ordering::Relaxed) {
            session.run(&round);
            rounds += 1;
        }
        rounds
    })
}

const MANY: &str = "many";

/// A task that names more endpoints than there are workers; its uid.
fn task_of_many(scene: &Scene<'_>) -> String {
    let endpoints: Vec<_> = (0..REPORTS).map(|i| format!("many{i}")).collect();
    let body = json!({"identifier": MANY, "endpoints": endpoints});
    let name = scene.installation.name();
    until("a task of many", || {
        matches!(scene.api().post("/again", &body).0, 200..=202).then_some(())
    });
    let uid = format!("SELECT HEX(uid) FROM {name}.tasks WHERE identifier = '{MANY}'");
    let uid = Uuid::parse_str(&scene.stage.sql(&uid));
    uid.expect("a uid").to_string()
}

/// Every endpoint of it reports, in a message of its own, eight at a time.
fn report_all(installation: &Installation, uid: &str) {
    let name = installation.name();
    let path = format!("exchanges/{name}/{name}.reports/publish");
    std::thread::scope(|scope| {
        for share in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let management = installation.management();
                for i in (share..REPORTS).step_by(8) {
                    let message = report(i, uid);
                    management.post(path, &message);
                }
            });
        }
    });
}

fn report(endpoint: usize, uid: &str) -> serde_json::Value {
    let endpoint = format!("many{endpoint}");
    let body = json!({
        "v": 1, "endpoint": endpoint, "type": "again",
        "journal": Uuid::now_v7(), "boot": Uuid::now_v7(),
        "reports": [{
            "uid": uid, "attempt": 1, "run": 1, "state": "FAILED", "errnr": 1, "errmsg": "as ordered",
            "payload": null, "progress": null, "elapsed_ms": 1, "age_ms": 0
        }]
    });
    json!({
        "properties": {"delivery_mode": 2, "content_type": "application/json"},
        "routing_key": format!("again.{endpoint}"),
        "payload": body.to_string(), "payload_encoding": "string"
    })
}
