//! Health, readiness, counters, the way out.

use std::net::TcpListener;
use std::sync::Arc;

use serde_json::json;
use tasker_api::{ApiSettings, ServeError, TaskTypeSettings, serve};
use tasker_broker::local::LocalBroker;
use tasker_core::TaskType;
use tasker_store::StoreOptions;
use tokio_util::sync::CancellationToken;

use crate::app::App;

#[test]
fn readiness_names_what_is_missing_and_liveness_does_not_care() {
    let app = App::start();
    let missing = |reply: &crate::app::Reply| -> Vec<String> {
        let problem = reply.is_problem(503, "not_ready");
        let errors = problem["errors"].as_array().unwrap().iter();
        errors
            .map(|e| e["field"].as_str().unwrap().to_owned())
            .collect()
    };
    app.broker.set_up(false);
    assert_eq!(missing(&app.get("/readyz")), ["broker"]);
    app.store.set_away(true);
    assert_eq!(missing(&app.get("/readyz")), ["store", "broker"]);
    assert_eq!(app.get("/healthz").json(), json!({"status": "ok"}));
    app.broker.set_up(true);
    assert_eq!(missing(&app.get("/readyz")), ["store"]);
    app.store.set_away(false);
    app.eventually("it is ready", || app.get("/readyz").status == 200);
}

#[test]
fn counters_are_openmetrics() {
    let app = App::start();
    app.get("/nosuch").is_problem(404, "unknown_task_type");
    assert_eq!(app.post("/worker", r#"{"identifier":"a"}"#).status, 201);
    let reply = app.get("/metrics");
    assert!(
        reply
            .header("content-type")
            .unwrap()
            .starts_with("application/openmetrics-text")
    );
    assert!(reply.text.ends_with("# EOF\n"));
    assert_eq!(app.metric("tasker_tasks_accepted_total"), 1);
    assert_eq!(
        app.metric("tasker_requests_refused_total{code=\"unknown_task_type\"}"),
        1
    );
    assert!(reply.text.contains(
        "tasker_http_request_duration_seconds_count{method=\"POST\",route=\"/{task_type}\",status=\"201\"} 1"
    ), "{}", reply.text);
    for gauge in [
        "accept_queue_depth",
        "relay_queue_depth",
        "relay_in_flight",
        "long_poll_tasks",
    ] {
        assert!(reply.text.contains(&format!("tasker_{gauge} ")), "{gauge}");
    }
}

#[test]
fn the_description_is_served() {
    let app = App::start();
    let served = app.get("/openapi.json");
    assert_eq!(served.header("content-type"), Some("application/json"));
    assert_eq!(served.header("x-content-type-options"), Some("nosniff"));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.json");
    assert_eq!(served.text, std::fs::read_to_string(path).unwrap());
}

#[test]
fn a_stop_publishes_what_is_in_hand() {
    let mut app = App::start();
    app.broker.hold_confirms(true);
    std::thread::scope(|scope| {
        let post = scope.spawn(|| app.post("/worker", r#"{"identifier":"last"}"#));
        app.eventually("it is under way", || {
            app.metric("tasker_relay_in_flight") == 1
        });
        app.broker.hold_confirms(false);
        assert_eq!(post.join().unwrap().status, 201);
    });
    let drained = app.drain();
    assert!(drained.in_time);
    assert_eq!(drained.left_to_others, 0);
    assert!(
        std::net::TcpStream::connect(app.addr).is_err(),
        "it still listens"
    );
}

#[test]
fn a_stop_without_a_broker_leaves_the_tasks_to_the_next_process() {
    let mut app = App::start();
    app.broker.set_up(false);
    assert_eq!(app.post("/worker", r#"{"identifier":"left"}"#).status, 202);
    app.eventually("the relay has it", || {
        app.metric("tasker_relay_queue_depth") == 1
    });
    let drained = app.drain();
    assert!(drained.in_time);
    assert_eq!(drained.left_to_others, 1);
}

#[test]
fn settings_that_contradict_themselves_do_not_start() {
    let rt = tokio::runtime::Runtime::new().unwrap();
    let kind = || TaskTypeSettings::new(TaskType::parse("worker").unwrap());
    let settings = ApiSettings {
        task_types: vec![kind(), kind()],
        ..ApiSettings::default()
    };
    let error = rt.block_on(async {
        let store = tasker_store::open("sqlite:///nowhere", &StoreOptions::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let broker: Arc<LocalBroker> = LocalBroker::new();
        serve(listener, settings, store, broker, CancellationToken::new())
            .await
            .unwrap_err()
    });
    assert!(matches!(error, ServeError::Settings(_)), "{error}");
    assert!(error.to_string().contains("worker is configured twice"));
}
