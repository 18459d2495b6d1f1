//! Runs over HTTP, as taskfarm's clients and others use them.

use std::collections::BTreeSet;
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tasker_core::runs::Lease;
use tasker_core::store::Timing;

use crate::app::{App, settings};

fn run(app: &App, body: &str) -> String {
    let reply = app.post("/api/run", body);
    assert_eq!(reply.status, 201, "{}", reply.text);
    reply.json()["uuid"].as_str().unwrap().to_owned()
}

fn worker(app: &App, name: &str) -> i64 {
    let body = json!({"uuid": name, "hostname": "host", "pid": 7}).to_string();
    let reply = app.post("/api/worker", body);
    assert_eq!(reply.status, 201, "{}", reply.text);
    assert_eq!(reply.json()["uuid"], name);
    reply.json()["id"].as_i64().unwrap()
}

fn claim(app: &App, run: &str, worker: &str) -> Option<Value> {
    let body = json!({ "worker_uuid": worker }).to_string();
    let reply = app.post(&format!("/api/runs/{run}/task"), body);
    match reply.status {
        201 => Some(reply.json()),
        204 => None,
        _ => panic!("{reply:?}"),
    }
}

#[test]
fn a_run_is_worked_off_as_the_public_client_does_it() {
    let app = App::start();
    assert!(app.get("/").text.contains("version"));
    let token = app.get("/api/token").json()["token"].clone();
    assert_ne!(token, app.get("/api/token").json()["token"]);
    let created = app.post("/api/run", "{\"numTasks\": 3}");
    assert_eq!(created.status, 201);
    let created = created.json();
    assert_eq!(created["numTasks"], 3);
    let uuid = created["uuid"].as_str().unwrap();
    assert!(uuid.len() == 32 && uuid.bytes().all(|b| b.is_ascii_hexdigit()));
    let listed = app.get("/api/runs").json();
    assert_eq!(
        listed["data"],
        json!([{"id": created["id"], "uuid": uuid, "numTasks": 3}])
    );
    let path = format!("/api/runs/{uuid}");
    worker(&app, "w");
    assert_eq!(worker(&app, "w"), worker(&app, "w"));
    for number in 0..3 {
        let task = claim(&app, uuid, "w").unwrap();
        assert_eq!(
            (&task["task"], &task["percentCompleted"], &task["status"]),
            (&json!(number), &json!(0.0), &json!("computing"))
        );
        assert!(task["id"].is_i64() && task["attempt"] == 1);
        let path = format!("{path}/tasks/{number}");
        let info = app.get(&format!("{path}?info=percentCompleted"));
        assert_eq!(info.json(), json!({"percentCompleted": 0.0}));
        for percent in [50, 100] {
            let body = json!({ "percentCompleted": percent }).to_string();
            assert_eq!(app.put(&path, body).status, 204);
        }
        assert_eq!(app.put(&path, "{\"status\": \"done\"}").status, 204);
        assert_eq!(
            app.get(&format!("{path}?info=status")).json(),
            json!({"status": "done"})
        );
        assert_eq!(
            app.get(&format!("{path}?info=percentDone")).json(),
            json!({"percentDone": 100.0})
        );
    }
    assert_eq!(claim(&app, uuid, "w"), None);
    let whole = app.get(&format!("{path}?info=")).json();
    for (info, value) in [
        ("percentDone", json!(100.0)),
        ("numWaiting", json!(0)),
        ("numDone", json!(3)),
        ("numComputing", json!(0)),
    ] {
        assert_eq!(whole[info], value, "{info}");
        let one = app.get(&format!("{path}?info={info}")).json();
        assert_eq!(one, json!({ info: value }));
    }
    // With hyphens it is the same run.
    let hyphened = uuid::Uuid::parse_str(uuid).unwrap().to_string();
    assert_eq!(app.get(&format!("/api/runs/{hyphened}")).json(), whole);
    let restart = |query: &str| app.post_nothing(&format!("{path}/restart{query}")).status;
    assert_eq!(restart(""), 204);
    assert_eq!(claim(&app, uuid, "w"), None);
    assert_eq!(restart("?all=True"), 204);
    assert_eq!(claim(&app, uuid, "w").unwrap()["attempt"], 2);
    assert_eq!(restart("?all=False"), 204);
    assert_eq!(claim(&app, uuid, "w").unwrap()["attempt"], 3);
    assert_eq!(app.delete(&path).status, 204);
    app.delete(&path).is_problem(404, "unknown_run");
    app.get(&path).is_problem(404, "unknown_run");
    assert_eq!(app.get("/api/runs").json()["data"], json!([]));
}

#[test]
fn payloads_go_out_and_results_come_back() {
    let app = App::start();
    worker(&app, "w");
    let body = "{\"numTasks\":2,\"payloads\":[{\"b\" : 1e2,\"a\":-0}, null]}";
    let uuid = run(&app, body);
    let text = app
        .post(&format!("/api/runs/{uuid}/task"), "{\"worker_uuid\":\"w\"}")
        .text;
    assert!(
        text.contains("\"payload\":{\"b\" : 1e2,\"a\":-0}"),
        "{text}"
    );
    let path = format!("/api/runs/{uuid}/tasks/0");
    let done = "{\"percentCompleted\":100,\"status\":\"done\",\"result\":{\"é\" : [1.50]},\
                \"worker_uuid\":\"w\"}";
    assert_eq!(app.put(&path, done).status, 204);
    let text = app.get(&path).text;
    assert!(text.contains("\"result\":{\"é\" : [1.50]}"), "{text}");
    assert!(text.contains("\"worker_uuid\":\"w\""), "{text}");
    assert!(app.get(&format!("/api/runs/{uuid}/tasks/1")).json()["payload"].is_null());
    let same = run(&app, "{\"numTasks\":1000000000,\"payload\":\"x\"}");
    let last = app.get(&format!("/api/runs/{same}/tasks/999999999"));
    assert_eq!(last.json()["payload"], "x");
    assert_eq!(last.json()["status"], "waiting");
}

#[test]
fn many_workers_never_share_a_task() {
    const WORKERS: usize = 32;
    const TASKS: u64 = 300;
    let app = App::start();
    let uuid = run(&app, &json!({ "numTasks": TASKS }).to_string());
    let (taken, barrier) = (Mutex::new(Vec::new()), Arc::new(Barrier::new(WORKERS)));
    std::thread::scope(|scope| {
        for i in 0..WORKERS {
            let (app, uuid, taken, barrier) = (&app, &uuid, &taken, Arc::clone(&barrier));
            scope.spawn(move || {
                let name = format!("w-{i}");
                worker(app, &name);
                barrier.wait();
                while let Some(task) = claim(app, uuid, &name) {
                    let number = task["task"].as_u64().unwrap();
                    let body = json!({"percentCompleted": 100, "status": "done",
                                      "worker_uuid": name});
                    let path = format!("/api/runs/{uuid}/tasks/{number}");
                    assert_eq!(app.put(&path, body.to_string()).status, 204);
                    taken.lock().unwrap().push(number);
                }
            });
        }
    });
    let taken = taken.into_inner().unwrap();
    assert_eq!(taken.len() as u64, TASKS);
    let all: BTreeSet<u64> = taken.into_iter().collect();
    assert!(all.into_iter().eq(0..TASKS));
    let progress = app.get(&format!("/api/runs/{uuid}")).json();
    assert_eq!(progress["numDone"], TASKS);
}

#[test]
fn a_lapsed_task_is_anothers_and_its_worker_is_known_by_its_token() {
    let lease = Lease(Some(Duration::from_millis(1500)));
    let settings = tasker_api::ApiSettings {
        run_lease: lease,
        ..settings()
    };
    let app = App::with(settings, Timing::default());
    let uuid = run(&app, "{\"numTasks\":1}");
    let path = format!("/api/runs/{uuid}");
    let tokens: Vec<String> = ["slow", "quick"]
        .map(|name| {
            let token = app.get("/api/token").json()["token"].clone();
            let user = format!("{}:", token.as_str().unwrap());
            let body = json!({"uuid": name, "hostname": "h", "pid": 1}).to_string();
            assert_eq!(app.as_user(&user, "POST", "/api/worker", &body).status, 201);
            user
        })
        .into();
    assert!(claim(&app, &uuid, "slow").unwrap()["lease_until"].is_string());
    assert_eq!(claim(&app, &uuid, "quick"), None);
    let mut task = None;
    app.eventually("the lease ends", || {
        task = claim(&app, &uuid, "quick");
        task.is_some()
    });
    assert_eq!(task.unwrap()["attempt"], 2);
    let put = |user: &str| {
        let body = "{\"percentCompleted\":100,\"status\":\"done\"}";
        app.as_user(user, "PUT", &format!("{path}/tasks/0"), body)
    };
    put(&tokens[0]).is_problem(409, "task_not_held");
    assert_eq!(put(&tokens[1]).status, 204);
    assert_eq!(app.get(&path).json()["numDone"], 1);
}

#[test]
fn bad_input_is_told_and_changes_nothing() {
    let app = App::start();
    let uuid = run(&app, "{\"numTasks\":2}");
    worker(&app, "w");
    worker(&app, "v");
    claim(&app, &uuid, "w").unwrap();
    let path = format!("/api/runs/{uuid}");
    let before = app.get(&path).json();
    let nobody = "00000000000000000000000000000000";

    for (body, status, code) in [
        ("", 400, "malformed_json"),
        ("{", 400, "malformed_json"),
        ("[]", 400, "wrong_type"),
        ("{}", 400, "missing_field"),
        ("{\"numTasks\":\"2\"}", 400, "wrong_type"),
        ("{\"numTasks\":2.5}", 400, "wrong_type"),
        ("{\"numTasks\":2,\"id\":1}", 400, "unknown_field"),
        ("{\"numTasks\":-1}", 422, "out_of_bounds"),
        ("{\"numTasks\":1e999}", 400, "malformed_json"),
        ("{\"numTasks\":18446744073709551616}", 422, "out_of_bounds"),
        ("{\"numTasks\":2,\"payloads\":[1]}", 422, "out_of_bounds"),
    ] {
        app.post("/api/run", body).is_problem(status, code);
    }
    let huge = format!(
        "{{\"numTasks\":1,\"payload\":\"{}\"}}",
        "x".repeat(256 << 10)
    );
    app.post("/api/run", huge)
        .is_problem(413, "payload_too_large");
    app.post_as("text/plain", "/api/run", "{\"numTasks\":1}")
        .is_problem(415, "wrong_content_type");

    for (body, status, code) in [
        ("{}", 400, "missing_field"),
        ("{\"uuid\":\"a\",\"hostname\":\"h\"}", 400, "missing_field"),
        (
            "{\"uuid\":\"a b\",\"hostname\":\"h\",\"pid\":1}",
            400,
            "bad_name",
        ),
        (
            "{\"uuid\":\"a\",\"hostname\":1,\"pid\":1}",
            400,
            "wrong_type",
        ),
        (
            "{\"uuid\":\"a\",\"hostname\":\"h\",\"pid\":-1}",
            422,
            "out_of_bounds",
        ),
        (
            "{\"uuid\":\"a\",\"hostname\":\"\\n\",\"pid\":1}",
            422,
            "out_of_bounds",
        ),
    ] {
        app.post("/api/worker", body).is_problem(status, code);
    }

    for (run, body, status, code) in [
        (uuid.as_str(), "{}", 400, "missing_field"),
        (uuid.as_str(), "{\"worker_uuid\":7}", 400, "wrong_type"),
        (
            uuid.as_str(),
            "{\"worker_uuid\":\"x\"}",
            404,
            "unknown_worker",
        ),
        (nobody, "{\"worker_uuid\":\"w\"}", 404, "unknown_run"),
        ("x", "{\"worker_uuid\":\"w\"}", 404, "unknown_run"),
    ] {
        app.post(&format!("/api/runs/{run}/task"), body)
            .is_problem(status, code);
    }

    for (task, body, status, code) in [
        ("0", "", 400, "malformed_json"),
        ("0", "{}", 400, "missing_field"),
        ("0", "{\"percentCompleted\":100.5}", 400, "bad_value"),
        ("0", "{\"percentCompleted\":-1}", 400, "bad_value"),
        ("0", "{\"percentCompleted\":null}", 400, "missing_field"),
        ("0", "{\"status\":\"DONE\"}", 400, "unknown_state"),
        ("0", "{\"status\":\"done\",\"id\":1}", 400, "unknown_field"),
        (
            "0",
            "{\"percentCompleted\":1,\"result\":1}",
            400,
            "bad_value",
        ),
        (
            "0",
            "{\"status\":\"done\",\"worker_uuid\":\"v\"}",
            409,
            "task_not_held",
        ),
        (
            "1",
            "{\"status\":\"done\",\"worker_uuid\":\"w\"}",
            409,
            "task_not_held",
        ),
        (
            "0",
            "{\"status\":\"done\",\"worker_uuid\":\"x\"}",
            404,
            "unknown_worker",
        ),
        ("2", "{\"status\":\"done\"}", 404, "unknown_run_task"),
        ("-1", "{\"status\":\"done\"}", 404, "unknown_run_task"),
        (
            "99999999999",
            "{\"status\":\"done\"}",
            404,
            "unknown_run_task",
        ),
    ] {
        app.put(&format!("{path}/tasks/{task}"), body)
            .is_problem(status, code);
    }
    let foreign = format!("/api/runs/{nobody}/tasks/0");
    app.put(&foreign, "{\"status\":\"done\"}")
        .is_problem(404, "unknown_run");

    for (path, code) in [
        (format!("{path}?info=nothing"), "unknown_info"),
        (format!("{path}/tasks/0?info=nothing"), "unknown_info"),
        (format!("{path}/tasks/2"), "unknown_run_task"),
        (format!("{path}/tasks/-1"), "unknown_run_task"),
        (format!("{path}/tasks/x"), "unknown_run_task"),
        (foreign, "unknown_run"),
    ] {
        app.get(&path).is_problem(404, code);
    }
    let restart =
        |run: &str, query: &str| app.post_nothing(&format!("/api/runs/{run}/restart{query}"));
    restart(&uuid, "?all=true").is_problem(404, "unknown_choice");
    restart(&uuid, "?every=True").is_problem(400, "unknown_parameter");
    restart(nobody, "").is_problem(404, "unknown_run");
    app.get("/api/runs?limit=0")
        .is_problem(400, "bad_parameter");
    app.get("/api/runs?cursor=1")
        .is_problem(400, "bad_parameter");
    app.post("/api/runs", "{}")
        .is_problem(405, "method_not_allowed");

    assert_eq!(app.get(&path).json(), before);
}

#[test]
fn runs_are_paged_and_counted() {
    let app = App::start();
    let made: Vec<String> = (1..=5)
        .map(|n| run(&app, &json!({ "numTasks": n }).to_string()))
        .collect();
    let page = |query: &str| {
        let page = app.get(&format!("/api/runs{query}")).json();
        let data = page["data"].as_array().unwrap();
        let uuids: Vec<String> = data
            .iter()
            .map(|run| run["uuid"].as_str().unwrap().to_owned())
            .collect();
        (uuids, page["next"].as_str().map(str::to_owned))
    };
    assert_eq!(page(""), (made.clone(), None));
    let (newest, next) = page("?limit=2");
    assert_eq!(newest, made[3..]);
    let (older, next) = page(&format!("?limit=2&cursor={}", next.unwrap()));
    assert_eq!(older, made[1..3]);
    assert_eq!(page(&format!("?cursor={}", next.unwrap())).0, made[..1]);
    let counted = app.get("/api/runs?progress=true").json();
    assert_eq!(counted["data"][4]["numWaiting"], 5);
    assert_eq!(counted["data"][4]["percentDone"], 0.0);
}
