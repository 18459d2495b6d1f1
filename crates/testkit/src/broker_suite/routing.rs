//! Who gets what.

use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Queue};

use super::{consume, drain, from, inbox, message, open, publish, take, to, to_everybody, worker};
use crate::build::{endpoint, task_type};

/// Fanout: one publish, one copy in every inbox of the type.
pub async fn everybody_gets_what_goes_to_everybody(broker: &dyn Broker) {
    open(broker, &["a", "b", "c"]).await;
    let confirmed = publish(broker, to_everybody(), "hello").await;
    assert_eq!(confirmed, Confirmed::Routed);
    for name in ["a", "b", "c"] {
        assert_eq!(drain(broker, &inbox(name)).await, ["hello"], "{name}");
    }
}

/// One name: one inbox, and nobody else's.
pub async fn an_inbox_is_addressed_alone(broker: &dyn Broker) {
    open(broker, &["a", "b", "a.b"]).await;
    let confirmed = publish(broker, to(&["a"]), "hello").await;
    assert_eq!(confirmed, Confirmed::Routed);
    assert_eq!(drain(broker, &inbox("a")).await, ["hello"]);
    assert!(drain(broker, &inbox("b")).await.is_empty());
    assert!(drain(broker, &inbox("a.b")).await.is_empty());
}

/// Several names: one copy each, none for the others; names without an inbox do not hinder.
pub async fn many_inboxes_are_addressed_at_once(broker: &dyn Broker) {
    open(broker, &["a", "b", "c", "d"]).await;
    let confirmed = publish(broker, to(&["a", "nobody", "c", "c"]), "hello").await;
    assert_eq!(confirmed, Confirmed::Routed);
    for (name, copies) in [("a", 1), ("b", 0), ("c", 1), ("d", 0)] {
        assert_eq!(drain(broker, &inbox(name)).await.len(), copies, "{name}");
    }
}

/// The names of a long list are not lost, and only the last part's being routable is routable.
pub async fn more_inboxes_than_fit_into_a_frame_are_addressed_at_once(broker: &dyn Broker) {
    open(broker, &["first", "last"]).await;
    let mut names = vec![endpoint("first")];
    names.extend((0..400).map(|i| endpoint(&format!("{}-{i}", "x".repeat(100)))));
    names.push(endpoint("last"));
    let all = Address::Inboxes(worker(), names.clone());
    assert_eq!(publish(broker, all, "hello").await, Confirmed::Routed);
    assert_eq!(drain(broker, &inbox("first")).await, ["hello"]);
    assert_eq!(drain(broker, &inbox("last")).await, ["hello"]);
    let tail = Address::Inboxes(worker(), names[1..].to_vec());
    assert_eq!(publish(broker, tail, "again").await, Confirmed::Routed);
    let nobody = Address::Inboxes(worker(), names[1..401].to_vec());
    assert_eq!(publish(broker, nobody, "no").await, Confirmed::Unroutable);
    assert!(drain(broker, &inbox("first")).await.is_empty());
    assert_eq!(drain(broker, &inbox("last")).await, ["again"]);
}

/// No inbox, no such inbox, nobody named.
pub async fn a_message_without_a_queue_is_unroutable(broker: &dyn Broker) {
    open(broker, &[]).await;
    for address in [to_everybody(), to(&["a"]), to(&["a", "b"]), to(&[])] {
        let confirmed = publish(broker, address.clone(), "hello").await;
        assert_eq!(confirmed, Confirmed::Unroutable, "{address:?}");
    }
    open(broker, &["b"]).await;
    for address in [to_everybody(), to(&["a", "b"])] {
        let confirmed = publish(broker, address.clone(), "hello").await;
        assert_eq!(confirmed, Confirmed::Routed, "{address:?}");
    }
}

/// A type that nobody declared is refused and does no harm to others.
pub async fn an_undeclared_task_type_is_an_error(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    let unknown = Address::Everybody(task_type("unknown"));
    let refused = broker.publish(message(unknown, "hello")).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
    let confirmed = publish(broker, to_everybody(), "hello").await;
    assert_eq!(confirmed, Confirmed::Routed);
}

/// The routing key names the sender; that is all that the recorder believes.
pub async fn reports_and_heartbeats_carry_their_sender(broker: &dyn Broker) {
    open(broker, &[]).await;
    let sender = (worker(), from("console.1-x"));
    for (address, queue) in [
        (
            Address::Reports(sender.0.clone(), sender.1.clone()),
            Queue::Reports,
        ),
        (
            Address::Presence(sender.0.clone(), sender.1.clone()),
            Queue::Presence,
        ),
    ] {
        let confirmed = publish(broker, address, "me").await;
        assert_eq!(confirmed, Confirmed::Routed);
        let mut consumer = consume(broker, &queue, 10).await;
        let delivery = take(&mut *consumer, 1).await.remove(0);
        assert_eq!(delivery.routing_key, "worker.console.1-x");
        assert_eq!(delivery.sender(), Some(sender.clone()));
        consumer.stop().await;
    }
}

/// The same endpoint has one inbox a type.
pub async fn types_do_not_mix(broker: &dyn Broker) {
    let backup = task_type("backup");
    broker
        .declare(&[worker(), backup.clone()])
        .await
        .expect("declare");
    for of in [worker(), backup.clone()] {
        broker
            .open_inbox(&of, &endpoint("a"))
            .await
            .expect("open_inbox");
    }
    publish(broker, Address::Everybody(backup.clone()), "1").await;
    publish(broker, to_everybody(), "2").await;
    publish(
        broker,
        Address::Inboxes(backup.clone(), vec![endpoint("a")]),
        "3",
    )
    .await;
    let other = Queue::Inbox(backup, endpoint("a"));
    assert_eq!(drain(broker, &inbox("a")).await, ["2"]);
    assert_eq!(drain(broker, &other).await, ["1", "3"]);
}

/// Declaring is idempotent, and types may be added.
pub async fn declaring_again_changes_nothing(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    publish(broker, to_everybody(), "1").await;
    let more = [worker(), task_type("backup")];
    for _ in 0..2 {
        broker.declare(&more).await.expect("declare");
    }
    publish(broker, to_everybody(), "2").await;
    assert_eq!(drain(broker, &inbox("a")).await, ["1", "2"]);
}

/// Opening is idempotent: each hello of a worker does it.
pub async fn opening_an_inbox_again_keeps_its_messages(broker: &dyn Broker) {
    open(broker, &["a"]).await;
    publish(broker, to_everybody(), "1").await;
    let opened = broker.open_inbox(&worker(), &endpoint("a")).await;
    opened.expect("open_inbox");
    publish(broker, to(&["a"]), "2").await;
    assert_eq!(drain(broker, &inbox("a")).await, ["1", "2"]);
}

/// A worker learns that its inbox does not exist, and can consume as soon as it does.
pub async fn a_missing_queue_is_told_as_such(broker: &dyn Broker) {
    open(broker, &[]).await;
    match broker.consume(&inbox("a"), 10).await {
        Err(BrokerError::NoQueue(name)) => assert!(name.ends_with(".worker.a"), "{name}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("a consumer of nothing"),
    }
    open(broker, &["a"]).await;
    publish(broker, to(&["a"]), "hello").await;
    assert_eq!(drain(broker, &inbox("a")).await, ["hello"]);
}
