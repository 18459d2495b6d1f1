//! How fast RabbitMQ carries one persistent message per task by itself.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, ExchangeDeclareOptions, ExchangeDeleteOptions, QueueBindOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::FieldTable;
use lapin::{
    BasicProperties, Channel, Connection, ConnectionProperties, Consumer, ExchangeKind,
    PublisherConfirm,
};
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// How many messages may wait for their confirm, and how many deliveries for their ack.
const WINDOW: usize = 256;
/// Over how many channels the consumers are spread.
const CHANNELS: usize = 100;
const EXCHANGE: &str = "limits";
const BODY: [u8; 500] = [b'x'; 500];

/// A fanout exchange with durable classic queues and a consumer on each that acks every delivery.
#[derive(Debug)]
pub struct Fanout {
    queues: usize,
    publisher: Channel,
    acked: Arc<Acked>,
    consumers: JoinSet<()>,
    channels: Vec<Channel>,
    // Open as long as the fanout.
    _connections: [Connection; 2],
}

#[derive(Debug, Default)]
struct Acked {
    count: AtomicU64,
    more: Notify,
}

impl Fanout {
    /// Declares everything and waits until every queue has its consumer.
    ///
    /// # Panics
    /// If the broker fails.
    pub async fn open(url: &str, queues: usize) -> Self {
        let connections = [connect(url).await, connect(url).await];
        let publisher = connections[0].create_channel().await.expect("a channel");
        let confirms = publisher.confirm_select(ConfirmSelectOptions::default());
        confirms.await.expect("confirms");
        let exchange = publisher.exchange_declare(
            EXCHANGE.into(),
            ExchangeKind::Fanout,
            ExchangeDeclareOptions {
                durable: true,
                ..ExchangeDeclareOptions::default()
            },
            FieldTable::default(),
        );
        exchange.await.expect("an exchange");
        let acked = Arc::<Acked>::default();
        let mut channels = Vec::new();
        let mut declaring = JoinSet::new();
        for first in 0..queues.min(CHANNELS) {
            let channel = connections[1].create_channel().await.expect("a channel");
            channels.push(channel.clone());
            declaring.spawn(async move {
                let mut consumers = Vec::new();
                for number in (first..queues).step_by(CHANNELS) {
                    consumers.push(consumer(&channel, &queue(number)).await);
                }
                consumers
            });
        }
        let mut consumers = JoinSet::new();
        for consumer in declaring.join_all().await.into_iter().flatten() {
            consumers.spawn(ack_each(consumer, Arc::clone(&acked)));
        }
        Self {
            queues,
            publisher,
            acked,
            consumers,
            channels,
            _connections: connections,
        }
    }

    /// Tasks a second: messages, each delivered to and acked by every consumer.
    ///
    /// # Panics
    /// If the broker fails or refuses a message.
    pub async fn rate(&self, lasts: Duration) -> f64 {
        let before = self.acked.count.load(Ordering::Acquire);
        let begun = Instant::now();
        let mut sent = 0_u64;
        let mut unconfirmed = VecDeque::new();
        while begun.elapsed() < lasts {
            unconfirmed.push_back(self.publish().await);
            sent += 1;
            if unconfirmed.len() >= WINDOW {
                confirmed(unconfirmed.pop_front()).await;
            }
        }
        while !unconfirmed.is_empty() {
            confirmed(unconfirmed.pop_front()).await;
        }
        self.wait_acked(before + sent * self.queues as u64).await;
        sent as f64 / begun.elapsed().as_secs_f64()
    }

    /// How long one message takes to be confirmed, delivered to and acked by every consumer.
    ///
    /// # Panics
    /// If the broker fails or refuses the message.
    pub async fn one(&self) -> Duration {
        let before = self.acked.count.load(Ordering::Acquire);
        let begun = Instant::now();
        let sent = self.publish().await;
        confirmed(Some(sent)).await;
        self.wait_acked(before + self.queues as u64).await;
        begun.elapsed()
    }

    async fn publish(&self) -> PublisherConfirm {
        let properties = BasicProperties::default().with_delivery_mode(2);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let channel = &self.publisher;
        let sent = channel.basic_publish(EXCHANGE.into(), "".into(), options, &BODY, properties);
        sent.await.expect("a publish")
    }

    async fn wait_acked(&self, count: u64) {
        loop {
            let more = self.acked.more.notified();
            if self.acked.count.load(Ordering::Acquire) >= count {
                return;
            }
            more.await;
        }
    }

    /// Deletes everything.
    ///
    /// # Panics
    /// If the broker fails.
    pub async fn close(mut self) {
        self.consumers.shutdown().await;
        let mut deleting = JoinSet::new();
        for (first, channel) in self.channels.into_iter().enumerate() {
            deleting.spawn(async move {
                for number in (first..self.queues).step_by(CHANNELS) {
                    let options = QueueDeleteOptions::default();
                    let deleted = channel.queue_delete(queue(number).into(), options);
                    deleted.await.expect("a queue");
                }
            });
        }
        deleting.join_all().await;
        let options = ExchangeDeleteOptions::default();
        let deleted = self.publisher.exchange_delete(EXCHANGE.into(), options);
        deleted.await.expect("an exchange");
    }
}

async fn connect(url: &str) -> Connection {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(url, properties).await;
    connection.expect("a connection")
}

fn queue(number: usize) -> String {
    format!("limits.{number}")
}

async fn consumer(channel: &Channel, queue: &str) -> Consumer {
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), options, FieldTable::default());
    declared.await.expect("a queue");
    let bound = channel.queue_bind(
        queue.into(),
        EXCHANGE.into(),
        "".into(),
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    bound.await.expect("a binding");
    let limit = channel.basic_qos(WINDOW as u16, BasicQosOptions::default());
    limit.await.expect("a prefetch");
    let consuming = channel.basic_consume(
        queue.into(),
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    consuming.await.expect("a consumer")
}

async fn ack_each(mut consumer: Consumer, acked: Arc<Acked>) {
    while let Some(delivery) = consumer.next().await {
        let delivery = delivery.expect("a delivery");
        let ack = delivery.acker.ack(BasicAckOptions::default()).await;
        ack.expect("an ack");
        acked.count.fetch_add(1, Ordering::AcqRel);
        acked.more.notify_one();
    }
}

async fn confirmed(sent: Option<PublisherConfirm>) {
    if let Some(sent) = sent {
        let confirm = sent.await.expect("a confirm");
        assert!(confirm.is_ack(), "the broker refused a message");
    }
}
