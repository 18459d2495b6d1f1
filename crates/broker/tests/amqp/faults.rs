//! What can go wrong between us and one RabbitMQ that stays up.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;
use tasker_broker::amqp::{AmqpBroker, AmqpSettings, Timeouts};
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Message, Queue};
use tasker_testkit::build::{endpoint, task_type};
use tasker_testkit::services::amqp_url;
use tokio::time::timeout;
use uuid::Uuid;

use crate::rabbit::Rabbit;

const SOON: Duration = Duration::from_secs(30);

fn inbox() -> Queue {
    Queue::Inbox(task_type("worker"), endpoint("a"))
}

fn message(to: Address) -> Message {
    Message {
        to,
        persistent: true,
        id: Uuid::now_v7(),
        body: Bytes::from_static(b"{}"),
    }
}

fn to_inboxes(names: &[&str]) -> Message {
    let names = names.iter().map(|name| endpoint(name)).collect();
    message(Address::Inboxes(task_type("worker"), names))
}

async fn open(broker: &dyn Broker, names: &[&str]) {
    let declared = broker.declare(&[task_type("worker")]).await;
    declared.expect("declare");
    for name in names {
        let (worker, endpoint) = (task_type("worker"), endpoint(name));
        let opened = broker.open_inbox(&worker, &endpoint).await;
        opened.expect("open_inbox");
    }
}

/// Tries until it works, as all callers of the port do.
async fn until<T, E: std::fmt::Debug>(mut attempt: impl AsyncFnMut() -> Result<T, E>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        match timeout(SOON, attempt()).await.expect("an end in time") {
            Ok(done) => return done,
            Err(error) => assert!(Instant::now() < deadline, "still {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_connections_come_back() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    open(broker, &["a"]).await;
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    broker.publish(to_inboxes(&["a"])).await.unwrap();
    assert_eq!(consumer.next(10).await.unwrap().len(), 1);
    for role in ["publish", "consume"] {
        let name = format!("{} {role}", rabbit.prefix());
        let publishing = async {
            let end = Instant::now() + Duration::from_secs(1);
            while Instant::now() < end {
                // It fails while the connection is down.
                broker.publish(to_inboxes(&["a"])).await.ok();
            }
        };
        let management = rabbit.management.clone();
        let cutting = tokio::task::spawn_blocking(move || management.cut_connections(&name));
        let ((), cut) = tokio::join!(publishing, cutting);
        cut.unwrap();
    }
    // The consumer of the cut connection ends, after what it had already received.
    let ended = timeout(SOON, async {
        loop {
            if let Err(error) = consumer.next(100).await {
                return error;
            }
        }
    });
    let ended = ended.await.expect("the consumer ends");
    assert!(matches!(ended, BrokerError::Away(_)), "{ended:?}");
    let confirmed = until(async || broker.publish(to_inboxes(&["a"])).await).await;
    assert_eq!(confirmed, Confirmed::Routed);
    let mut consumer = until(async || broker.consume(&inbox(), 10).await).await;
    let again = timeout(SOON, consumer.next(1)).await.unwrap().unwrap();
    assert!(again[0].redelivered);
    assert!(broker.is_up());
}

#[tokio::test]
async fn a_closed_port_is_away_and_nothing_hangs() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    let broker = AmqpBroker::new(AmqpSettings::new("127.0.0.1", port));
    assert!(!broker.is_up());
    nothing_works(&*broker, Duration::from_secs(5)).await;
}

#[tokio::test]
async fn a_server_that_never_answers_is_away_and_nothing_hangs() {
    // The kernel accepts; nobody reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut settings = AmqpSettings::new("127.0.0.1", listener.local_addr().unwrap().port());
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(1),
        ..Timeouts::default()
    };
    let broker = AmqpBroker::new(settings);
    nothing_works(&*broker, Duration::from_secs(5)).await;
}

async fn nothing_works(broker: &dyn Broker, within: Duration) {
    let (worker, a) = (task_type("worker"), endpoint("a"));
    let everything = async {
        let errors = [
            broker.publish(to_inboxes(&["a"])).await.err(),
            broker.consume(&inbox(), 1).await.err(),
            broker.declare(std::slice::from_ref(&worker)).await.err(),
            broker.open_inbox(&worker, &a).await.err(),
        ];
        for error in errors {
            // Not `TimedOut`: that would mean that a message was sent and not confirmed.
            assert!(matches!(error, Some(BrokerError::Away(_))), "{error:?}");
        }
        assert!(!broker.is_up());
        broker.close().await;
    };
    timeout(within, everything).await.expect("an end in time");
}

#[tokio::test]
async fn wrong_credentials_are_denied() {
    let wrong = |change: fn(&mut AmqpSettings)| {
        let mut settings = AmqpSettings::from_url(&amqp_url(), "wrong").unwrap();
        change(&mut settings);
        AmqpBroker::new(settings)
    };
    for broker in [
        wrong(|settings| settings.password = "wrong".into()),
        wrong(|settings| settings.virtual_host = "nowhere".into()),
    ] {
        let refused = timeout(SOON, broker.publish(to_inboxes(&["a"]))).await;
        let refused = refused.expect("an end in time");
        assert!(
            matches!(refused, Err(BrokerError::Denied(_))),
            "{refused:?}"
        );
        assert!(!broker.is_up());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_ends_its_consumer() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    open(broker, &["a"]).await;
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    let queue = format!("queues/%2f/{}.worker.a", rabbit.prefix());
    rabbit.management.delete(&queue);
    let ended = timeout(SOON, consumer.next(1)).await.expect("an end");
    assert!(matches!(ended, Err(BrokerError::NoQueue(_))), "{ended:?}");
    assert_eq!(
        broker.publish(to_inboxes(&["a"])).await,
        Ok(Confirmed::Unroutable)
    );
    open(broker, &["a"]).await;
    broker.publish(to_inboxes(&["a"])).await.unwrap();
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    assert_eq!(consumer.next(10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_exchange_is_declared_again_by_its_owner() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    open(broker, &["a"]).await;
    let exchange = format!("exchanges/%2f/{}.reports", rabbit.prefix());
    rabbit.management.delete(&exchange);
    let report = || message(Address::Reports(task_type("worker"), endpoint("a")));
    assert!(broker.publish(report()).await.is_err());
    let confirmed = until(async || broker.publish(report()).await).await;
    assert_eq!(confirmed, Confirmed::Routed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_queue_that_refuses_is_a_nack() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    open(broker, &["a", "b"]).await;
    let policy = json!({
        "pattern": format!("^{}\\.worker\\.a$", rabbit.prefix()),
        "apply-to": "queues",
        "priority": 1,
        "definition": {"max-length": 1, "overflow": "reject-publish"},
    });
    let name = format!("policies/%2f/{}-full", rabbit.prefix());
    rabbit.management.put(&name, &policy);
    let refused = async || match broker.publish(to_inboxes(&["a"])).await {
        Err(BrokerError::Nacked) => Ok(()),
        other => Err(other),
    };
    until(refused).await;
    assert_eq!(
        broker.publish(to_inboxes(&["b"])).await,
        Ok(Confirmed::Routed)
    );
    rabbit.management.delete(&name);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bcc_is_not_delivered_and_what_is_to_be_kept_is_marked() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    open(broker, &["a", "b", "c"]).await;
    broker.publish(to_inboxes(&["a", "b"])).await.unwrap();
    let heartbeat = Message {
        persistent: false,
        ..message(Address::Presence(task_type("worker"), endpoint("a")))
    };
    broker.publish(heartbeat).await.unwrap();
    for (queue, mode) in [("worker.a", 2), ("worker.b", 2), ("presence", 1)] {
        let get = json!({"count": 1, "ackmode": "ack_requeue_false", "encoding": "auto"});
        let path = format!("queues/%2f/{}.{queue}/get", rabbit.prefix());
        let message = rabbit.management.post(&path, &get)[0].take();
        let properties = &message["properties"];
        assert_eq!(properties["delivery_mode"], mode, "{queue}: {message}");
        assert_eq!(properties["content_type"], "application/json");
        assert!(properties["headers"]["BCC"].is_null(), "{message}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_under_way_is_confirmed_before_the_end() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker.clone();
    open(&*broker, &["a"]).await;
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(to_inboxes(&["a"])).await }
    });
    timeout(SOON, broker.close()).await.expect("an end");
    // Either it was in time, or it is told that it was not.
    let published = timeout(SOON, publishing).await.expect("an answer").unwrap();
    let known = matches!(published, Ok(Confirmed::Routed) | Err(BrokerError::Away(_)));
    assert!(known, "{published:?}");
    assert!(!broker.is_up());
    let refused = broker.publish(to_inboxes(&["a"])).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_recorder_goes_on_where_a_cut_one_ended() {
    let rabbit = Rabbit::new();
    let active = rabbit.broker();
    open(active, &[]).await;
    let mut settings = rabbit.settings.clone();
    settings.connection_name.push_str("-next");
    let next = AmqpBroker::new(settings);
    let mut consumer = active.consume(&Queue::Reports, 10).await.unwrap();
    let mut waiting = next.consume(&Queue::Reports, 10).await.unwrap();
    for n in 0..7 {
        let report = Message {
            body: Bytes::from(n.to_string()),
            ..message(Address::Reports(task_type("worker"), endpoint("a")))
        };
        assert_eq!(next.publish(report).await, Ok(Confirmed::Routed));
    }
    let mut taken = Vec::new();
    while taken.len() < 7 {
        let more = timeout(SOON, consumer.next(7)).await.unwrap().unwrap();
        taken.extend(more);
    }
    consumer.ack_through(taken[1].tag).await.unwrap();
    let management = rabbit.management.clone();
    let name = format!("{} consume", rabbit.prefix());
    let cutting = tokio::task::spawn_blocking(move || management.cut_connections(&name));
    cutting.await.unwrap();
    let mut bodies = Vec::new();
    while !bodies.ends_with(b"6") {
        let more = timeout(SOON, waiting.next(10)).await.unwrap().unwrap();
        bodies.extend(more.iter().flat_map(|delivery| delivery.body.to_vec()));
    }
    // The acknowledgement may have been lost with the connection.
    assert!(
        bodies == b"23456" || bodies == b"0123456",
        "{:?}",
        String::from_utf8_lossy(&bodies)
    );
    assert!(
        timeout(SOON, async { while consumer.next(1).await.is_ok() {} })
            .await
            .is_ok()
    );
    timeout(SOON, next.close()).await.expect("an end in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_with_other_arguments_is_refused_with_what_to_do() {
    let rabbit = Rabbit::new();
    let queue = format!("{}.reports", rabbit.prefix());
    let shared = json!({"durable": true, "arguments": {"x-queue-type": "classic"}});
    rabbit
        .management
        .put(&format!("queues/%2f/{queue}"), &shared);
    let refused = rabbit.broker().declare(&[task_type("worker")]).await;
    let Err(BrokerError::Denied(text)) = refused else {
        panic!("{refused:?}");
    };
    let start = format!("the queue {queue} exists with other arguments; delete it, or");
    assert!(text.starts_with(&start), "{text}");
    assert!(text.contains("tasker init --reset"), "{text}");
    // The log has room for 300 characters.
    assert!(text.find("PRECONDITION_FAILED").unwrap() < 250, "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_reads_is_delivered_cut() {
    let rabbit = Rabbit::with(|settings| settings.longest_body = 100_000);
    let broker = rabbit.broker();
    open(broker, &["a"]).await;
    let sizes = [100_000, 100_001, 3_000_000, 5, 100_002];
    for size in sizes {
        let long = Message {
            body: Bytes::from(vec![b'x'; size]),
            ..to_inboxes(&["a"])
        };
        assert_eq!(broker.publish(long).await, Ok(Confirmed::Routed));
    }
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    let mut got = Vec::new();
    while got.len() < sizes.len() {
        let more = timeout(SOON, consumer.next(10)).await.unwrap().unwrap();
        got.extend(more.iter().map(|delivery| delivery.body.len()));
    }
    assert_eq!(got, sizes.map(|size| size.min(100_001)));
}

/// A worker whose inbox is missing tries for hours, and each try costs a channel of its connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_inbox_that_is_missing_for_long_is_consumed_when_it_is_there() {
    /// More than a connection has channels.
    const TRIES: usize = 4200;
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    broker.declare(&[task_type("worker")]).await.unwrap();
    for _ in 0..TRIES {
        until(async || match broker.consume(&inbox(), 10).await {
            Err(BrokerError::NoQueue(_)) => Ok(()),
            other => Err(other.err()),
        })
        .await;
    }
    open(broker, &["a"]).await;
    until(async || broker.consume(&inbox(), 10).await.map(drop)).await;
}
