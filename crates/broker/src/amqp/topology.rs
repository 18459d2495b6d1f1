//! The exchanges, queues and bindings: declared here and nowhere else.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use lapin::options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Channel, ExchangeKind};
use tasker_core::broker::BrokerError;
use tasker_core::{EndpointName, TaskType};

use super::connect::Live;
use super::error::{short, within};
use super::settings::{QueueType, Timeouts};
use crate::Names;

/// What is declared, how, and what this process has declared so far.
#[derive(Debug)]
pub(super) struct Topology {
    pub(super) names: Names,
    queue_type: QueueType,
    timeouts: Timeouts,
    /// `None` in a process that never declares, as a worker.
    declared: Mutex<Option<BTreeSet<TaskType>>>,
}

impl Topology {
    pub(super) fn new(names: Names, queue_type: QueueType, timeouts: Timeouts) -> Self {
        Self {
            names,
            queue_type,
            timeouts,
            declared: Mutex::default(),
        }
    }

    /// The exchanges of these task types and everything shared. They are remembered even if it
    /// fails: [`Topology::declare_again`] makes up for it.
    pub(super) async fn declare(&self, live: &Live, types: &[TaskType]) -> Result<(), BrokerError> {
        self.remember(types);
        let drawing = self.drawing(live).await?;
        let names = &self.names;
        for task_type in types {
            let name = names.task_exchange(task_type);
            drawing.exchange(name, ExchangeKind::Fanout).await?;
        }
        drawing
            .exchange(names.inbox_exchange(), ExchangeKind::Topic)
            .await?;
        drawing
            .exchange(names.events(), ExchangeKind::Fanout)
            .await?;
        for (name, kind, key, single_active_consumer) in [
            (names.reports(), ExchangeKind::Topic, "#", true),
            (names.presence(), ExchangeKind::Topic, "#", false),
            (names.dead(), ExchangeKind::Fanout, "", false),
        ] {
            drawing.exchange(name.clone(), kind).await?;
            drawing.queue(&name, single_active_consumer).await?;
            drawing.bind(&name, name.clone(), key.to_owned()).await?;
        }
        drawing.end().await;
        Ok(())
    }

    /// Everything that was ever declared here, on a new connection.
    pub(super) async fn declare_again(&self, live: &Live) -> Result<(), BrokerError> {
        let types = self.declared().clone();
        match types {
            None => Ok(()),
            Some(types) => {
                let types: Vec<_> = types.into_iter().collect();
                self.declare(live, &types).await
            }
        }
    }

    /// An endpoint's inbox with both its bindings, and the exchanges that they need.
    pub(super) async fn open_inbox(
        &self,
        live: &Live,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<(), BrokerError> {
        let drawing = self.drawing(live).await?;
        let (names, queue) = (&self.names, self.names.inbox_queue(task_type, endpoint));
        let (everybody, inboxes) = (names.task_exchange(task_type), names.inbox_exchange());
        drawing
            .exchange(everybody.clone(), ExchangeKind::Fanout)
            .await?;
        drawing
            .exchange(inboxes.clone(), ExchangeKind::Topic)
            .await?;
        drawing.queue(&queue, true).await?;
        drawing.bind(&queue, everybody, String::new()).await?;
        let key = names.key(task_type, endpoint);
        drawing.bind(&queue, inboxes, key).await?;
        drawing.end().await;
        Ok(())
    }

    async fn drawing<'a>(&'a self, live: &'a Live) -> Result<Drawing<'a>, BrokerError> {
        Ok(Drawing {
            topology: self,
            live,
            // Of its own: a declaration that is refused closes its channel.
            channel: live.open_channel().await?,
        })
    }

    fn remember(&self, types: &[TaskType]) {
        self.declared()
            .get_or_insert_default()
            .extend(types.iter().cloned());
    }

    fn declared(&self) -> MutexGuard<'_, Option<BTreeSet<TaskType>>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Says what to do about a queue that exists and is another one: its arguments cannot be changed.
fn other_arguments(queue: &str, error: BrokerError) -> BrokerError {
    match error {
        // RabbitMQ's text begins with the name of its error.
        BrokerError::Denied(text) if text.starts_with("PRECONDITION_FAILED") => {
            BrokerError::Denied(format!(
                "the queue {queue} exists with other arguments; delete it, or prepare the broker anew \
                 with `tasker init --reset` ({text})"
            ))
        }
        error => error,
    }
}

/// A channel on which something is being declared.
struct Drawing<'a> {
    topology: &'a Topology,
    live: &'a Live,
    channel: Channel,
}

impl Drawing<'_> {
    async fn exchange(&self, name: String, kind: ExchangeKind) -> Result<(), BrokerError> {
        let options = ExchangeDeclareOptions {
            durable: true,
            ..ExchangeDeclareOptions::default()
        };
        let nothing = FieldTable::default();
        let declaring = self
            .channel
            .exchange_declare(short(name)?, kind, options, nothing);
        self.done(declaring).await
    }

    /// Only these two arguments: everything else comes by policy, so that it can be changed without
    /// deleting queues.
    async fn queue(&self, name: &str, single_active_consumer: bool) -> Result<(), BrokerError> {
        let mut arguments = FieldTable::default();
        let queue_type = self.topology.queue_type.as_str();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString(queue_type.into()),
        );
        if single_active_consumer {
            arguments.insert("x-single-active-consumer".into(), AMQPValue::Boolean(true));
        }
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let queue = short(name.to_owned())?;
        self.done(self.channel.queue_declare(queue, options, arguments))
            .await
            .map(drop)
            .map_err(|error| other_arguments(name, error))
    }

    async fn bind(&self, queue: &str, exchange: String, key: String) -> Result<(), BrokerError> {
        let (queue, exchange, key) = (short(queue.to_owned())?, short(exchange)?, short(key)?);
        let nothing = FieldTable::default();
        let binding =
            self.channel
                .queue_bind(queue, exchange, key, QueueBindOptions::default(), nothing);
        self.done(binding).await
    }

    async fn done<T>(
        &self,
        operation: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, BrokerError> {
        let result = within(self.topology.timeouts.operation, operation).await;
        self.live.checked(result)
    }

    async fn end(self) {
        let closing = self.channel.close(200, "OK".into());
        // Everything was confirmed; a channel that does not close ends with its connection.
        let _ = within(self.topology.timeouts.close, closing).await;
    }
}
