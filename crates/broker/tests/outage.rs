//! A RabbitMQ of our own is killed, loses its disk, hangs, and blocks its publishers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use tasker_broker::amqp::{AmqpBroker, AmqpSettings};
use tasker_core::broker::{Address, Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_testkit::build::{endpoint, task_type};
use tasker_testkit::private_server::{Kind, PrivateServer};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The supervisor tries every 5 to 6 seconds once it has failed a few times.
const SOON: Duration = Duration::from_secs(60);

fn server(dir: &Path) -> PrivateServer {
    PrivateServer::start(Kind::RabbitMq, dir.join("rabbitmq"))
}

fn broker(server: &PrivateServer) -> Arc<AmqpBroker> {
    let mut settings = AmqpSettings::from_url(&server.url(), "outage").expect("a URL");
    settings.heartbeat_s = 3;
    AmqpBroker::new(settings)
}

fn message() -> Message {
    Message {
        to: Address::Everybody(task_type("worker")),
        persistent: true,
        id: Uuid::now_v7(),
        body: Bytes::from_static(b"{}"),
    }
}

async fn consume(broker: &dyn Broker) -> Result<Box<dyn Consumer>, BrokerError> {
    let (worker, a) = (task_type("worker"), endpoint("a"));
    match broker
        .consume(&Queue::Inbox(worker.clone(), a.clone()), 10)
        .await
    {
        // As the API does when a worker says hello.
        Err(BrokerError::NoQueue(_)) => {
            broker.open_inbox(&worker, &a).await?;
            broker.consume(&Queue::Inbox(worker, a), 10).await
        }
        other => other,
    }
}

/// Publishes and consumes until it is stopped, as a relay and a worker do.
#[derive(Default)]
struct Traffic {
    routed: AtomicU64,
    received: AtomicU64,
    stop: CancellationToken,
}

impl Traffic {
    async fn publish(&self, broker: &dyn Broker) {
        while !self.stop.is_cancelled() {
            let published = timeout(SOON, broker.publish(message())).await;
            match published.expect("an end in time") {
                Ok(Confirmed::Routed) => {
                    self.routed.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Confirmed::Unroutable) | Err(_) => sleep(Duration::from_millis(20)).await,
            }
        }
    }

    async fn consume(&self, broker: &dyn Broker) {
        while !self.stop.is_cancelled() {
            if let Ok(mut consumer) = consume(broker).await {
                while let Ok(()) = self.take(&mut *consumer).await {}
            }
            sleep(Duration::from_millis(20)).await;
        }
    }

    async fn take(&self, consumer: &mut dyn Consumer) -> Result<(), BrokerError> {
        let taken = tokio::select! {
            taken = consumer.next(100) => taken?,
            () = self.stop.cancelled() => Vec::new(),
        };
        let last = taken.last().map(|delivery| delivery.tag);
        consumer.ack_through(last.ok_or_else(stopped)?).await?;
        let count = taken.len() as u64;
        self.received.fetch_add(count, Ordering::Relaxed);
        Ok(())
    }

    /// Waits until both have got on.
    async fn flows(&self) {
        let now = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let before = (now(&self.routed), now(&self.received));
        until(|| now(&self.routed) > before.0 + 10 && now(&self.received) > before.1 + 10).await;
    }
}

fn stopped() -> BrokerError {
    BrokerError::Away("the test is over".into())
}

async fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn traffic_goes_on_after_a_crash_and_after_the_loss_of_the_disk() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let broker = broker(&server);
    broker.declare(&[task_type("worker")]).await.unwrap();
    let traffic = Arc::new(Traffic::default());
    let publishing = tokio::spawn({
        let (traffic, broker) = (traffic.clone(), broker.clone());
        async move { traffic.publish(&*broker).await }
    });
    let consuming = tokio::spawn({
        let (traffic, broker) = (traffic.clone(), broker.clone());
        async move { traffic.consume(&*broker).await }
    });
    traffic.flows().await;

    server.kill();
    until(|| !broker.is_up()).await;
    server.restart();
    traffic.flows().await;
    assert!(broker.is_up());

    server.stop();
    until(|| !broker.is_up()).await;
    server.wipe();
    server.restart();
    traffic.flows().await;

    traffic.stop.cancel();
    publishing.await.unwrap();
    consuming.await.unwrap();
    timeout(SOON, broker.close()).await.expect("an end in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_blocks_publishers_is_not_up_but_consumers_go_on() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let broker = broker(&server);
    broker.declare(&[task_type("worker")]).await.unwrap();
    let mut consumer = consume(&*broker).await.unwrap();
    for _ in 0..3 {
        broker.publish(message()).await.unwrap();
    }

    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]);
    // The broker blocks a connection when it publishes.
    let refused = broker.publish(message()).await;
    assert!(refused.is_err(), "{refused:?}");
    until(|| !broker.is_up()).await;
    let asked = Instant::now();
    let refused = broker.publish(message()).await;
    assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
    assert!(asked.elapsed() < Duration::from_secs(1));
    let mut taken = 0;
    while taken < 3 {
        let more = timeout(SOON, consumer.next(10)).await.unwrap().unwrap();
        taken += more.len();
        consumer
            .ack_through(more[more.len() - 1].tag)
            .await
            .unwrap();
    }

    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0.4"]);
    until(|| broker.is_up()).await;
    assert_eq!(broker.publish(message()).await, Ok(Confirmed::Routed));

    server.rabbitmqctl(&["set_vm_memory_high_watermark", "0"]);
    let refused = broker.publish(message()).await;
    assert!(refused.is_err(), "{refused:?}");
    // lapin cannot say goodbye on a blocked connection.
    let closing = timeout(Duration::from_secs(15), broker.close()).await;
    closing.expect("an end in time");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_hangs_is_found_out() {
    let dir = tempfile::tempdir().unwrap();
    let server = server(dir.path());
    let broker = broker(&server);
    broker.declare(&[task_type("worker")]).await.unwrap();
    let mut consumer = consume(&*broker).await.unwrap();
    broker.publish(message()).await.unwrap();

    server.hang(true);
    let published = timeout(SOON, broker.publish(message())).await;
    let published = published.expect("an end in time");
    // Sent and not confirmed; or not sent, by a lane that has no channel yet and gets none.
    let late = BrokerError::TimedOut(Duration::from_secs(5));
    assert!(
        published == Err(late.clone()) || published == Err(BrokerError::Away(late.to_string())),
        "{published:?}"
    );
    // From now on nothing is sent, so nothing can be late either: neither while the connection is given
    // up nor while a new one does not come about. Longer than an attempt to connect may take.
    let looked = Instant::now();
    while looked.elapsed() < Duration::from_secs(20) {
        let refused = timeout(SOON, broker.publish(message())).await;
        let refused = refused.expect("an end in time");
        assert!(matches!(refused, Err(BrokerError::Away(_))), "{refused:?}");
        sleep(Duration::from_millis(100)).await;
    }
    until(|| !broker.is_up()).await;
    let ended = timeout(SOON, async { while consumer.next(10).await.is_ok() {} });
    ended.await.expect("heartbeats end the consumer");

    server.hang(false);
    until(|| broker.is_up()).await;
    assert_eq!(broker.publish(message()).await, Ok(Confirmed::Routed));
    let consuming = async {
        loop {
            if let Ok(consumer) = consume(&*broker).await {
                return consumer;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    let mut consumer = timeout(SOON, consuming).await.expect("a consumer");
    let taken = timeout(SOON, consumer.next(10)).await.unwrap().unwrap();
    assert!(taken[0].redelivered);
}
