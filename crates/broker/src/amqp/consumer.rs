//! Consuming: each consumer has its own channel, so that its prefetch and its end are its own.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt};
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, BasicRejectOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use tasker_core::broker::{BrokerError, Consumer, Delivery};
use uuid::Uuid;

use super::connect::Live;
use super::error::{is_not_found, meaning, short, within};
use super::settings::Timeouts;
use crate::Names;

/// What one consumer of events may leave in its queue; the oldest go first.
const MAX_EVENTS: i32 = 10_000;

pub(super) struct AmqpConsumer {
    live: Arc<Live>,
    /// Dropping it closes it, which gives back what was not acknowledged.
    channel: Channel,
    messages: lapin::Consumer,
    queue: String,
    timeouts: Timeouts,
    ended: Option<BrokerError>,
}

/// Starts a consumer on a new channel.
pub(super) async fn consume(
    live: Arc<Live>,
    queue: String,
    prefetch: u16,
    timeouts: Timeouts,
) -> Result<AmqpConsumer, BrokerError> {
    let channel = live.open_channel().await?;
    consume_on(live, channel, queue, prefetch, timeouts).await
}

/// Starts a consumer of events on a new channel, with a queue of its own. The broker deletes it when
/// the consumer ends; what is told to nobody is not missed.
pub(super) async fn consume_events(
    live: Arc<Live>,
    names: &Names,
    prefetch: u16,
    timeouts: Timeouts,
) -> Result<AmqpConsumer, BrokerError> {
    let channel = live.open_channel().await?;
    let queue = names.events_queue(&Uuid::now_v7().simple().to_string());
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let mut arguments = FieldTable::default();
    arguments.insert("x-max-length".into(), AMQPValue::LongInt(MAX_EVENTS));
    let name = short(queue.clone())?;
    let declaring = channel.queue_declare(name.clone(), options, arguments);
    live.checked(within(timeouts.operation, declaring).await)?;
    let binding = channel.queue_bind(
        name,
        short(names.events())?,
        short(String::new())?,
        QueueBindOptions::default(),
        FieldTable::default(),
    );
    match tokio::time::timeout(timeouts.operation, binding).await {
        Ok(Ok(())) => {}
        // The exchange is not declared yet.
        Ok(Err(error)) if is_not_found(&error) => return Err(BrokerError::NoQueue(names.events())),
        Ok(Err(error)) => return Err(meaning(&error)),
        Err(_) => return live.checked(Err(BrokerError::TimedOut(timeouts.operation))),
    }
    consume_on(live, channel, queue, prefetch, timeouts).await
}

async fn consume_on(
    live: Arc<Live>,
    channel: Channel,
    queue: String,
    prefetch: u16,
    timeouts: Timeouts,
) -> Result<AmqpConsumer, BrokerError> {
    // To AMQP, no prefetch is an unbounded one.
    let qos = channel.basic_qos(prefetch.max(1), BasicQosOptions::default());
    live.checked(within(timeouts.operation, qos).await)?;
    let consuming = channel.basic_consume(
        short(queue.clone())?,
        "".into(),
        BasicConsumeOptions::default(),
        FieldTable::default(),
    );
    let messages = match tokio::time::timeout(timeouts.operation, consuming).await {
        Ok(Ok(messages)) => messages,
        Ok(Err(error)) if is_not_found(&error) => return Err(BrokerError::NoQueue(queue)),
        Ok(Err(error)) => return Err(meaning(&error)),
        Err(_) => return live.checked(Err(BrokerError::TimedOut(timeouts.operation))),
    };
    Ok(AmqpConsumer {
        live,
        channel,
        messages,
        queue,
        timeouts,
        ended: None,
    })
}

impl AmqpConsumer {
    /// What the stream gave, or why there will be nothing more.
    fn taken(
        &mut self,
        item: Option<lapin::Result<lapin::message::Delivery>>,
    ) -> Result<Delivery, BrokerError> {
        let error = match item {
            Some(Ok(delivery)) => return Ok(received(delivery)),
            Some(Err(error)) => meaning(&error),
            // The broker cancels a consumer whose queue was deleted.
            None => BrokerError::NoQueue(self.queue.clone()),
        };
        self.ended = Some(error.clone());
        Err(error)
    }

    async fn done(
        &self,
        operation: impl Future<Output = lapin::Result<()>>,
    ) -> Result<(), BrokerError> {
        let result = within(self.timeouts.operation, operation).await;
        self.live.checked(result)
    }
}

#[async_trait]
impl Consumer for AmqpConsumer {
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError> {
        if let Some(error) = &self.ended {
            return Err(error.clone());
        }
        let first = self.messages.next().await;
        let mut deliveries = vec![self.taken(first)?];
        // From here on nothing waits, so that a dropped call loses no message.
        while deliveries.len() < max {
            let Some(item) = self.messages.next().now_or_never() else {
                break;
            };
            // If it has ended, the next call says so.
            let Ok(delivery) = self.taken(item) else {
                break;
            };
            deliveries.push(delivery);
        }
        Ok(deliveries)
    }

    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError> {
        let options = BasicAckOptions { multiple: true };
        self.done(self.channel.basic_ack(tag, options)).await
    }

    async fn reject(&mut self, tag: u64) -> Result<(), BrokerError> {
        let options = BasicRejectOptions { requeue: false };
        self.done(self.channel.basic_reject(tag, options)).await
    }

    async fn stop(self: Box<Self>) {
        // One that does not close in time is closed by dropping it.
        let _ = within(self.timeouts.close, self.channel.close(200, "OK".into())).await;
    }
}

fn received(delivery: lapin::message::Delivery) -> Delivery {
    Delivery {
        tag: delivery.delivery_tag,
        routing_key: delivery.routing_key.to_string(),
        message_id: delivery
            .properties
            .message_id()
            .as_ref()
            .map(ToString::to_string),
        redelivered: delivery.redelivered,
        body: Bytes::from(delivery.data),
    }
}
