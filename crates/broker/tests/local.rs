//! The in-process broker: the port's contract, and the steering that tests of other crates use.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tasker_broker::local::LocalBroker;
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Message, Queue};
use tasker_testkit::broker_suite;
use tasker_testkit::build::{endpoint, task_type};
use uuid::Uuid;

struct Fixture(Arc<LocalBroker>);

impl Fixture {
    fn broker(&self) -> &dyn Broker {
        &*self.0
    }
}

broker_suite!(Fixture(LocalBroker::new()));

async fn with_inbox() -> Arc<LocalBroker> {
    let broker = LocalBroker::new();
    let (worker, a) = (task_type("worker"), endpoint("a"));
    let opened = broker.open_inbox(&worker, &a).await;
    opened.expect("open_inbox");
    broker
}

fn message() -> Message {
    Message {
        to: Address::Everybody(task_type("worker")),
        persistent: true,
        id: Uuid::now_v7(),
        body: Bytes::from_static(b"{}"),
    }
}

fn inbox() -> Queue {
    Queue::Inbox(task_type("worker"), endpoint("a"))
}

#[tokio::test]
async fn away_ends_consumers_and_refuses_everything_and_forgets_nothing() {
    let broker = with_inbox().await;
    broker.publish(message()).await.unwrap();
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    assert_eq!(consumer.next(10).await.unwrap().len(), 1);
    assert!(broker.is_up());
    broker.set_up(false);
    assert!(!broker.is_up());
    let away = |error| matches!(error, BrokerError::Away(_));
    assert!(away(consumer.next(1).await.unwrap_err()));
    assert!(away(consumer.ack_through(1).await.unwrap_err()));
    assert!(away(broker.publish(message()).await.unwrap_err()));
    assert!(away(broker.declare(&[]).await.unwrap_err()));
    assert!(broker.consume(&inbox(), 1).await.is_err());
    broker.set_up(true);
    assert!(away(consumer.next(1).await.unwrap_err()));
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    let again = consumer.next(10).await.unwrap();
    assert_eq!(again.len(), 1);
    assert!(again[0].redelivered);
}

#[tokio::test]
async fn a_waiting_consumer_learns_that_the_broker_went_away() {
    let broker = with_inbox().await;
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    let waiting = tokio::spawn(async move { consumer.next(1).await });
    while !waiting.is_finished() {
        broker.set_up(false);
        tokio::task::yield_now().await;
    }
    let ended = waiting.await.unwrap();
    assert!(matches!(ended, Err(BrokerError::Away(_))), "{ended:?}");
}

#[tokio::test]
async fn held_confirms_come_when_they_are_released_or_time_out() {
    let broker = with_inbox().await;
    broker.hold_confirms(true);
    let limit = Duration::from_secs(5);
    let timed_out = broker.publish(message()).await;
    assert_eq!(timed_out, Err(BrokerError::TimedOut(limit)));
    let publishing = tokio::spawn({
        let broker = broker.clone();
        async move { broker.publish(message()).await }
    });
    // Both messages have arrived, though neither was confirmed.
    let mut consumer = broker.consume(&inbox(), 10).await.unwrap();
    let mut arrived = 0;
    while arrived < 2 {
        arrived += consumer.next(10).await.unwrap().len();
    }
    assert!(!publishing.is_finished());
    broker.hold_confirms(false);
    assert_eq!(publishing.await.unwrap(), Ok(Confirmed::Routed));
}
