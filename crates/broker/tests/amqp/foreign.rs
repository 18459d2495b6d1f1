//! Messages of other clients, with properties that no handler of AMQP should trip over. A consumer
//! that broke on one would get it again on its next connection, for ever.

use std::io::Write;
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use tasker_broker::amqp::{AmqpBroker, AmqpSettings, Timeouts};
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_testkit::build::{endpoint, task_type};
use tokio::time::timeout;
use uuid::Uuid;

use crate::rabbit::Rabbit;
use crate::raw::{Raw, long, short};

const SOON: Duration = Duration::from_secs(30);
const HEADERS: u16 = 1 << 13;
const MESSAGE_ID: u16 = 1 << 7;

fn nested(levels: usize) -> Vec<u8> {
    let mut entries = Vec::new();
    for _ in 0..levels {
        entries = [b"\x01dF", &long(&entries)[..]].concat();
    }
    long(&entries)
}

/// What RabbitMQ passes on as it is, and the message id that can be read in it.
fn hostile() -> Vec<(u16, Vec<u8>, Option<&'static str>)> {
    let with_id = |levels| [nested(levels), short(b"id")].concat();
    vec![
        (HEADERS | MESSAGE_ID, with_id(1), Some("id")),
        (HEADERS | MESSAGE_ID, with_id(1_000), Some("id")),
        // Nearly the largest frame of RabbitMQ, and eight times ours.
        (HEADERS | MESSAGE_ID, with_id(15_000), Some("id")),
        (HEADERS, nested(1_000), None),
        (MESSAGE_ID, short(b"\xFF\xFE"), None),
        // The flags of which one says that more flags follow, which do not.
        (MESSAGE_ID | 3, short(b"id"), Some("id")),
        (
            // The text of a content type, the number of a priority, between and around the table.
            1 << 15 | HEADERS | 1 << 11 | MESSAGE_ID,
            [short(b"\xFF"), nested(9), vec![255], short(b"id")].concat(),
            Some("id"),
        ),
    ]
}

async fn next(consumer: &mut dyn Consumer) -> (u64, Option<String>, bool) {
    let taken = timeout(SOON, consumer.next(1)).await.expect("in time");
    let delivery = taken.expect("a message").remove(0);
    (delivery.tag, delivery.message_id, delivery.redelivered)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hostile_properties_do_not_stop_a_consumer() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    let (worker, a) = (task_type("worker"), endpoint("a"));
    let declared = broker.declare(std::slice::from_ref(&worker)).await;
    declared.expect("declare");
    broker.open_inbox(&worker, &a).await.expect("open_inbox");
    let mut raw = Raw::connect(&rabbit.settings);
    for (exchange, queue, honest) in [
        (
            "reports",
            Queue::Reports,
            Address::Reports(worker.clone(), a.clone()),
        ),
        (
            "inbox",
            Queue::Inbox(worker.clone(), a.clone()),
            Address::Inboxes(worker.clone(), vec![a.clone()]),
        ),
    ] {
        let exchange = format!("{}.{exchange}", rabbit.prefix());
        for (flags, properties, _) in hostile() {
            raw.publish(&exchange, b"worker.a", (flags, &properties));
        }
        let message = Message {
            to: honest,
            persistent: true,
            id: Uuid::now_v7(),
            body: Bytes::from_static(b"{}"),
        };
        let id = message.id.to_string();
        assert_eq!(broker.publish(message).await, Ok(Confirmed::Routed));

        // One consumer, on one connection, gets them all.
        let mut consumer = broker.consume(&queue, 1).await.expect("consume");
        for (flags, _, wanted) in hostile() {
            let (tag, id, redelivered) = next(&mut *consumer).await;
            let wanted = wanted.map(str::to_owned);
            assert_eq!((id, redelivered), (wanted, false), "{flags:b}");
            consumer.reject(tag).await.expect("reject");
        }
        let (tag, last, _) = next(&mut *consumer).await;
        assert_eq!(last, Some(id));
        consumer.ack_through(tag).await.expect("ack");
        consumer.stop().await;
    }
    // Dead letters carry one more table, by RabbitMQ.
    let mut dead = broker.consume(&Queue::Dead, 1).await.expect("consume");
    for _ in 0..2 * hostile().len() {
        let (tag, ..) = next(&mut *dead).await;
        dead.ack_through(tag).await.expect("ack");
    }
}

/// An account without a topic permission, such as the one that workers may share, can write them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_routing_key_that_is_no_text_does_not_stop_a_consumer() {
    let rabbit = Rabbit::new();
    let broker = rabbit.broker();
    broker.declare(&[]).await.expect("declare");
    let exchange = format!("{}.reports", rabbit.prefix());
    let mut raw = Raw::connect(&rabbit.settings);
    for key in [&b"worker.\xFF"[..], b"worker.a"] {
        raw.publish(&exchange, key, (MESSAGE_ID, &short(b"id")));
    }
    let mut consumer = broker.consume(&Queue::Reports, 1).await.expect("consume");
    for wanted in ["worker.?", "worker.a"] {
        let taken = timeout(SOON, consumer.next(1)).await.expect("in time");
        let delivery = taken.expect("a message").remove(0);
        assert_eq!(delivery.routing_key, wanted);
        assert_eq!(delivery.message_id.as_deref(), Some("id"));
        consumer.reject(delivery.tag).await.expect("reject");
    }
}

#[tokio::test]
async fn what_does_not_speak_amqp_is_away_with_a_reason() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        while let Ok((mut socket, _)) = listener.accept() {
            // What a broker of another version answers. It may be gone before.
            let _ = socket.write_all(b"AMQP\0\x01\0\0");
        }
    });
    let mut settings = AmqpSettings::new("127.0.0.1", port);
    settings.timeouts = Timeouts {
        connect: Duration::from_secs(20),
        ..Timeouts::default()
    };
    let broker = AmqpBroker::new(settings);
    let declared = timeout(SOON, broker.declare(&[])).await.expect("in time");
    assert!(matches!(declared, Err(BrokerError::Away(text)) if text.contains("unknown type 65")));
}
