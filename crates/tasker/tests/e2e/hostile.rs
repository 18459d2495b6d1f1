//! What nobody should send, sent through the real broker: it is refused and counted, it lies in the
//! dead-letter queue, it does not come back, and the next honest task is performed.

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};

use crate::system::{PATIENCE, System, rows};

/// A message as the management API publishes it.
struct Hostile {
    what: &'static str,
    body: String,
}

fn hostile(what: &'static str, body: impl Into<String>) -> Hostile {
    Hostile {
        what,
        body: body.into(),
    }
}

fn publish(system: &System, exchange: &str, key: &str, message: &Hostile) {
    let name = &system.name;
    let body = json!({
        "properties": {"message_id": "m"}, "routing_key": key,
        "payload": message.body, "payload_encoding": "string",
    });
    let path = format!("exchanges/{name}/{name}.{exchange}/publish");
    let (status, answer) = system.manage_with("POST", &path, &body);
    assert_eq!(
        (status, &answer["routed"]),
        (200, &json!(true)),
        "{}",
        message.what
    );
}

/// Does something on a channel of the API's account.
fn on_channel<T>(system: &System, act: impl AsyncFnOnce(lapin::Channel) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(&system.api_amqp_url(), properties)
            .await
            .unwrap();
        act(connection.create_channel().await.unwrap()).await
    })
}

/// What the management API would not take: a message that is longer than tasker reads, and one whose
/// headers nest a thousand deep, with neither message id nor content type.
fn publish_monsters(system: &System, exchange: &str, key: &str) -> usize {
    let mut headers = FieldTable::default();
    for _ in 0..1000 {
        let mut outer = FieldTable::default();
        outer.insert("d".into(), AMQPValue::FieldTable(headers));
        headers = outer;
    }
    let monsters = [
        (vec![b'x'; 9 << 20], BasicProperties::default()),
        (
            b"null".to_vec(),
            BasicProperties::default()
                .with_headers(headers)
                .with_priority(255),
        ),
    ];
    let exchange = format!("{}.{exchange}", system.name);
    on_channel(system, async |channel| {
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        for (body, properties) in &monsters {
            let options = BasicPublishOptions::default();
            let (exchange, key) = (exchange.as_str().into(), key.into());
            let sent = channel.basic_publish(exchange, key, options, body, properties.clone());
            assert!(sent.await.unwrap().await.unwrap().is_ack());
        }
    });
    monsters.len()
}

/// How many messages lie in a queue. They are counted by the broker: one of the monsters cannot even
/// be shown by its management API.
fn count(system: &System, queue: &str) -> usize {
    let name = format!("{}.{queue}", system.name);
    on_channel(system, async |channel| {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let declared = channel.queue_declare(name.into(), options, FieldTable::default());
        usize::try_from(declared.await.unwrap().message_count()).unwrap()
    })
}

fn wait_dead(system: &System, wanted: usize) {
    let start = std::time::Instant::now();
    loop {
        let dead = count(system, "dead");
        if dead == wanted {
            return;
        }
        let is_late = dead > wanted || start.elapsed() > PATIENCE;
        assert!(
            !is_late,
            "{dead} dead letters, not {wanted}\n{}",
            system.logs()
        );
        std::thread::sleep(std::time::Duration::from_millis(100));
    }
}

fn entry(uid: &str, task_type: &str, audience: &Value) -> Value {
    json!({"attempt": 1, "audience": audience, "sig": null, "task": {
        "uid": uid, "identifier": "forged", "type": task_type, "client": "local", "payload": null,
        "run_policy": "once", "timeout_s": 5, "issued_at": "2026-01-01T00:00:00Z",
        "expires_at": "2999-01-01T00:00:00Z",
    }})
}

/// Unreadable as a whole, for workers and for the recorder alike.
fn unreadable() -> Vec<Hostile> {
    let deep = format!(
        "{{\"v\":1,\"entries\":{}{}}}",
        "[".repeat(10_000),
        "]".repeat(10_000)
    );
    vec![
        hostile("not JSON", "hello"),
        hostile("nothing", ""),
        hostile("truncated", "{\"v\":1,\"entries\":["),
        hostile("too deep", deep),
        hostile(
            "a key twice",
            "{\"v\":1,\"v\":1,\"reports\":[],\"entries\":[]}",
        ),
        hostile(
            "an unknown version",
            "{\"v\":2,\"entries\":[],\"reports\":[]}",
        ),
        hostile("no version", "{\"entries\":[]}"),
    ]
}

#[test]
fn hostile_messages_do_not_stop_a_worker() {
    let mut system = System::init();
    system.start_api();
    let _worker = system.start_worker("console1", "worker");
    system.wait_online("console1", "worker");

    let mut messages = unreadable();
    messages.push(hostile("nothing in it", "{\"v\":1}"));
    messages.push(hostile(
        "entries without a uid",
        json!({"v": 1, "entries": [{"attempt": 1}]}).to_string(),
    ));
    let dead = messages.len();
    // Readable, and answered or skipped: they are no dead letters.
    let uid = "0192f0c1-2b3c-7d4e-8f50-61728394a5b6";
    let others = entry(uid, "worker", &json!(["console7"]));
    messages.push(hostile(
        "for others",
        json!({"v": 1, "entries": [others]}).to_string(),
    ));
    let foreign = entry(uid, "backup", &Value::Null);
    messages.push(hostile(
        "of another type",
        json!({"v": 1, "entries": [foreign]}).to_string(),
    ));
    for message in &messages {
        publish(&system, "worker", "", message);
    }
    let monsters = publish_monsters(&system, "worker", "");

    wait_dead(&system, dead + monsters);
    let body = json!({"identifier": "honest", "endpoints": ["console1"]});
    assert_eq!(system.post("/worker", &body).0, 201);
    let answer = system.wait_until("/worker/honest", |answer| {
        answer["task"]["status"] == "DONE"
    });
    assert_eq!(answer["summary"]["failed"], 0);
    // The forged task of the other type was refused, and the ledger does not know it.
    system.wait_metric("tasker_reports_total{verdict=\"unknown_task\"}", 1);
    assert_eq!(count(&system, "worker.console1"), 0, "nothing comes back");
}

#[test]
fn hostile_messages_do_not_stop_the_recorder() {
    let mut system = System::init();
    system.start_api();
    let _worker = system.start_worker("console1", "worker");
    system.wait_online("console1", "worker");
    let (_, created) = system.post(
        "/worker",
        &json!({"identifier": "t", "endpoints": ["console9"]}),
    );
    assert_eq!(created["status"], "SENT");
    let (_, before) = system.get("/worker/t");
    let uid = before["summary"]["uid"].as_str().unwrap();

    let report = |endpoint: &str, attempt: u32, state: &str| {
        json!({
            "v": 1, "endpoint": endpoint, "type": "worker",
            "journal": "0192f0c1-0000-7000-8000-000000000001",
            "boot": "0192f0c1-0000-7000-8000-000000000002",
            "reports": [{"uid": uid, "attempt": attempt, "run": 1, "state": state, "errnr": 0}],
        })
        .to_string()
    };
    let mut messages: Vec<(&str, Hostile)> = unreadable()
        .into_iter()
        .map(|message| ("worker.console9", message))
        .collect();
    messages.extend([
        // The key is what the broker checked; a body that says otherwise is a forgery.
        (
            "worker.console8",
            hostile("another one's name", report("console9", 1, "SUCCEEDED")),
        ),
        (
            "nonsense",
            hostile("a key without a worker", report("console9", 1, "SUCCEEDED")),
        ),
        (
            "worker.console9",
            hostile("the ledger's own state", report("console9", 1, "EXPIRED")),
        ),
    ]);
    for (key, message) in &messages {
        publish(&system, "reports", key, message);
    }
    let monsters = publish_monsters(&system, "reports", "worker.console9");
    wait_dead(&system, messages.len() + monsters);
    // Readable and refused: a stranger, and an attempt that nobody ordered.
    publish(
        &system,
        "reports",
        "worker.console8",
        &hostile("a stranger", report("console8", 1, "SUCCEEDED")),
    );
    publish(
        &system,
        "reports",
        "worker.console9",
        &hostile("the future", report("console9", 7, "SUCCEEDED")),
    );
    system.wait_metric("tasker_reports_total{verdict=\"stranger\"}", 1);
    system.wait_metric("tasker_reports_total{verdict=\"unordered\"}", 1);

    let (_, after) = system.get("/worker/t");
    assert_eq!(
        rows(&after, "taskResponseList"),
        rows(&before, "taskResponseList")
    );
    assert_eq!(after["summary"]["finished"], 0);
    let body = json!({"identifier": "honest", "endpoints": ["console1"]});
    assert_eq!(system.post("/worker", &body).0, 201);
    system.wait_until("/worker/honest", |answer| {
        answer["task"]["status"] == "DONE"
    });
    assert_eq!(count(&system, "reports"), 0, "nothing comes back");
}
