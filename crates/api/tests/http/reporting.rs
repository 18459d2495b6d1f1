//! What workers say: hostile deliveries, order, refusals, lost ledgers.

use serde_json::json;
use tasker_core::broker::Address;
use tasker_core::{EndpointName, JournalUid, ResponseState, TaskType, TaskUid};

use crate::app::App;
use crate::faulty::POISON;
use crate::worker::{Worker, dead, report};

fn verdicts(app: &App, verdict: &str) -> u64 {
    app.metric(&format!("tasker_reports_total{{verdict=\"{verdict}\"}}"))
}

#[test]
fn what_nobody_can_read_is_dead_lettered_and_the_rest_goes_on() {
    let app = App::start();
    let worker = Worker::welcomed(&app, "worker", "a");
    let foreign = Address::Reports(worker.task_type.clone(), EndpointName::parse("b").unwrap());
    let mut batch = worker.batch();
    batch.reports = vec![report(TaskUid::mint(), 1, 1, ResponseState::Succeeded)];
    let good = String::from_utf8(batch.encode()).unwrap();
    let bad = [
        ("foreign", foreign, good.clone()),
        (
            "version",
            worker.reports(),
            good.replacen("\"v\":1", "\"v\":2", 1),
        ),
        ("malformed", worker.reports(), "[".repeat(1_000_000)),
        (
            "malformed",
            worker.reports(),
            good[..good.len() - 1].to_owned(),
        ),
        (
            "malformed",
            worker.reports(),
            good.replacen("\"v\":1", "\"v\":1,\"v\":1", 1),
        ),
        (
            "shape",
            worker.reports(),
            good.replacen("SUCCEEDED", "WAITING", 1),
        ),
        (
            "shape",
            worker.reports(),
            good.replacen("\"attempt\":1", "\"attempt\":-1", 1),
        ),
        (
            "too_long",
            worker.reports(),
            format!("{good}{}", " ".repeat(10 << 20)),
        ),
        ("shape", worker.reports(), "{\"v\":1}".to_owned()),
    ];
    let count = bad.len();
    for (_, to, body) in &bad {
        worker.post(to.clone(), body.clone().into_bytes());
    }
    assert_eq!(dead(&app, count).len(), count);
    for (reason, times) in [
        ("foreign", 1),
        ("version", 1),
        ("malformed", 3),
        ("shape", 3),
        ("too_long", 1),
    ] {
        let name = format!("tasker_dead_lettered_total{{reason=\"{reason}\"}}");
        app.eventually(reason, || app.metric(&name) == times);
    }
    // A hello with reports in it, on the wrong queue, and of a type that is not configured.
    let presence = Address::Presence(worker.task_type.clone(), worker.endpoint.clone());
    worker.post(presence, good.clone().into_bytes());
    let ghost = Worker::new(&app, "ghost", "a");
    ghost.say_hello(true);
    assert_eq!(dead(&app, 2).len(), 2);

    // It still listens.
    worker.post(worker.reports(), good.into_bytes());
    app.eventually("the good one is judged", || {
        verdicts(&app, "unknown_task") == 1
    });
}

#[test]
fn reports_are_fenced() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let stranger = Worker::welcomed(&app, "worker", "stranger");
    let other_type = Worker::welcomed(&app, "all", "a");
    assert_eq!(
        app.post("/worker", r#"{"identifier":"f","endpoints":["a"]}"#)
            .status,
        201
    );
    let uid = worker.task().uid;

    worker.report(vec![report(uid, 2, 1, ResponseState::Succeeded)]);
    app.eventually("never ordered", || verdicts(&app, "unordered") == 1);
    stranger.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    other_type.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    app.eventually("strangers", || verdicts(&app, "stranger") == 2);
    worker.report(vec![report(
        TaskUid::mint(),
        1,
        1,
        ResponseState::Succeeded,
    )]);
    app.eventually("unknown", || verdicts(&app, "unknown_task") == 1);
    assert_eq!(app.get("/worker/f").json()["summary"]["received"], 0);

    worker.report(vec![report(uid, 1, 1, ResponseState::Failed)]);
    app.eventually("applied", || verdicts(&app, "applied") == 1);
    worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    app.eventually("finished stays", || verdicts(&app, "known") == 1);
    assert_eq!(app.post_nothing("/worker/f/retry").json()["changed"], 1);
    worker.report(vec![report(uid, 1, 2, ResponseState::Succeeded)]);
    app.eventually("old attempt", || verdicts(&app, "fenced") == 1);
    let row = app.get("/worker/f/responses").json()["responses"][0].clone();
    assert_eq!(
        (&row["attempt"], &row["state"]),
        (&json!(2), &json!("WAITING"))
    );
}

#[test]
fn a_refused_report_is_found_and_its_neighbours_are_written() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    let uids: Vec<_> = (0..9)
        .map(|i| {
            let body = format!(r#"{{"identifier":"n{i}","endpoints":["a"]}}"#);
            assert_eq!(app.post("/worker", body).status, 201);
            worker.task().uid
        })
        .collect();
    for (i, uid) in uids.iter().enumerate() {
        let mut said = report(*uid, 1, 1, ResponseState::Failed);
        said.errmsg = Some(if i == 4 { POISON } else { "no disk" }.to_owned());
        worker.report(vec![said]);
    }
    let letters = dead(&app, 1);
    assert!(String::from_utf8_lossy(&letters[0]).contains(POISON));
    for i in 0..9 {
        let answer = app
            .get(&format!(
                "/worker/n{i}?wait={}",
                if i == 4 { 0 } else { 30 }
            ))
            .json();
        let status = if i == 4 { "SENT" } else { "DONE" };
        assert_eq!(answer["task"]["status"], status, "n{i}");
    }
    assert_eq!(
        app.metric("tasker_dead_lettered_total{reason=\"refused\"}"),
        1
    );
}

#[test]
fn with_the_ledger_away_nothing_is_acknowledged_and_nothing_is_lost() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    assert_eq!(
        app.post("/worker", r#"{"identifier":"l","endpoints":["a"]}"#)
            .status,
        201
    );
    let uid = worker.task().uid;
    app.store.set_away(true);
    worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    app.eventually("the recorder noticed", || {
        app.metric("tasker_loop_failures_total{loop=\"recorder\"}") > 0
    });
    app.store.set_away(false);
    assert_eq!(
        app.get("/worker/l?wait=30").json()["task"]["status"],
        "DONE"
    );
}

#[test]
fn with_the_broker_back_everything_goes_on() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    app.broker.set_up(false);
    assert_eq!(
        app.post("/worker", r#"{"identifier":"b","endpoints":["a"]}"#)
            .status,
        202
    );
    app.eventually("it is noticed", || app.get("/readyz").status == 503);
    app.broker.set_up(true);
    app.eventually("it is ready again", || app.get("/readyz").status == 200);
    let mut fresh = Worker::new(&app, "worker", "a");
    (fresh.journal, fresh.boot) = (worker.journal, worker.boot);
    worker = fresh;
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Succeeded)]);
    assert_eq!(
        app.get("/worker/b?wait=30").json()["task"]["status"],
        "DONE"
    );
}

#[test]
fn a_new_journal_ends_runs_that_nobody_remembers() {
    let app = App::start();
    let mut worker = Worker::welcomed(&app, "worker", "a");
    assert_eq!(
        app.post("/worker", r#"{"identifier":"j","endpoints":["a"]}"#)
            .status,
        201
    );
    let uid = worker.task().uid;
    worker.report(vec![report(uid, 1, 1, ResponseState::Running)]);
    worker.journal = JournalUid::mint();
    worker.say_hello(true);
    let welcome = worker.welcome();
    assert_eq!(welcome.had.len(), 1);
    assert_eq!(welcome.had[0].uid, uid);
    let answer = app.get("/worker/j?wait=30").json();
    assert_eq!(answer["task"]["status"], "DONE");
    assert_eq!(answer["taskResponseList"][0]["state"], "INTERRUPTED");
}

#[test]
fn heartbeats_keep_an_endpoint_online() {
    let app = App::start();
    let worker = Worker::welcomed(&app, "worker", "a");
    let known = app.get("/endpoints").json();
    let endpoint = &known["endpoints"][0];
    assert_eq!(
        (&endpoint["type"], &endpoint["name"], &endpoint["online"]),
        (&json!("worker"), &json!("a"), &json!(true))
    );
    assert_eq!(endpoint["journal"], json!(worker.journal.to_string()));
    assert_eq!(endpoint["boot"], json!(worker.boot.to_string()));
    assert!(endpoint["last_seen"].is_string() && endpoint["first_seen"].is_string());
    let task_type = TaskType::parse("worker").unwrap();
    for name in ["b", "c"] {
        let other = Worker::new(&app, "worker", name);
        let to = Address::Presence(task_type.clone(), other.endpoint.clone());
        other.post(to, other.batch().encode());
    }
    app.eventually("both are known", || {
        app.get("/endpoints").json()["endpoints"]
            .as_array()
            .unwrap()
            .len()
            == 3
    });
    assert_eq!(app.metric("tasker_heartbeats_total"), 2);
}

#[test]
fn refusals_of_workers_are_added_up_and_not_trusted() {
    let app = App::start();
    let worker = Worker::welcomed(&app, "worker", "a");
    let beat = |task_type: &str, refused: &str| {
        let other = Worker::new(&app, task_type, "a");
        let mut text = String::from_utf8(other.batch().encode()).unwrap();
        text.insert_str(text.len() - 1, &format!(",\"refused\":{refused}"));
        let to = Address::Presence(other.task_type.clone(), other.endpoint);
        worker.post(to, text.into_bytes());
    };
    beat("worker", r#"{"expired":2,"malformed":1}"#);
    beat("worker", r#"{"expired":1,"made_up":1,"made_up_too":4}"#);
    // Broken ones count as nothing, but as a sign of life; what is no task type makes no series.
    beat("worker", r#"{"Expired":1}"#);
    beat("ghost", r#"{"expired":1}"#);
    beat("worker", r#"{"poison":18446744073709551615}"#);
    let count = |reason: &str| {
        app.metric(&format!(
            "tasker_worker_refused_total{{type=\"worker\",reason=\"{reason}\"}}"
        ))
    };
    app.eventually("all are counted", || count("poison") > 0);
    let counts = ["expired", "malformed", "other", "poison"].map(count);
    assert_eq!(counts, [3, 1, 5, u64::from(u32::MAX)]);
    let text = app.get("/metrics").text;
    let series = text.matches("tasker_worker_refused_total{").count();
    assert_eq!(series, 4, "{text}");
    // Of one worker in one batch the last sign counts, so that their number may be smaller.
    assert!(app.metric("tasker_heartbeats_total") > 0);
}
