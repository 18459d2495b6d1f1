//! The Broker port: the courier. One conformance suite (`tasker-testkit`) that every backend passes.
//!
//! It may lose, repeat and reorder; the ledger and the journals make up for that. What it must not
//! do is hang: every operation ends within the backend's time-outs.

use async_trait::async_trait;
use bytes::Bytes;
use uuid::Uuid;

use crate::name::{EndpointName, TaskType};

/// Why the courier did not do it. Everything may be tried again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BrokerError {
    /// No connection, or it broke. The backend keeps on connecting by itself.
    #[error("the broker is away: {0}")]
    Away(String),
    /// The broker did not answer in time.
    #[error("the broker did not answer within {0:?}")]
    TimedOut(std::time::Duration),
    /// The broker refused the message (a full queue).
    #[error("the broker refused the message")]
    Nacked,
    /// There is no such queue (yet): [`Broker::open_inbox`] makes it.
    #[error("there is no queue {0}")]
    NoQueue(String),
    /// The account has not the right to do it.
    #[error("the broker denied access: {0}")]
    Denied(String),
}

/// Where a message goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// To every inbox of the task type.
    Everybody(TaskType),
    /// To the inboxes of these endpoints; one publish, one copy each. At most
    /// [`MAX_INBOXES_BYTES`] of names.
    Inboxes(TaskType, Vec<EndpointName>),
    /// To the recorder, as this worker.
    Reports(TaskType, EndpointName),
    /// To the recorder, as this worker, without durability: heartbeats.
    Presence(TaskType, EndpointName),
    /// To every API process that consumes [`Queue::Events`] now, without durability.
    Events,
}

/// How many bytes of endpoint names one message can be addressed with.
pub const MAX_INBOXES_BYTES: usize = 64 << 10;

/// A message to publish.
#[derive(Debug, Clone)]
pub struct Message {
    /// Where it goes.
    pub to: Address,
    /// Whether the broker is to keep it on disk, so that its own crash does not lose it. Not needed for what
    /// the ledger asks for again when a worker comes back, see `docs/adr/0018`.
    pub persistent: bool,
    /// Its identity; the same one when it is published again.
    pub id: Uuid,
    /// JSON.
    pub body: Bytes,
}

/// What became of a confirmed message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Confirmed {
    /// At least one queue has it.
    Routed,
    /// There was no queue to put it into.
    Unroutable,
}

/// What to consume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Queue {
    /// An endpoint's inbox. Only one consumer at a time gets its messages.
    Inbox(TaskType, EndpointName),
    /// What workers report. Only one consumer at a time gets its messages, so that a worker's hello
    /// cannot overtake its older reports; the next one gets first, in order, what was not
    /// acknowledged.
    Reports,
    /// The workers' heartbeats. Several consumers share it.
    Presence,
    /// What API processes tell each other. Each consumer gets everything that comes while it runs: its
    /// queue is its own, bounded, and goes with it.
    Events,
    /// What nobody could read.
    Dead,
}

/// A message as it arrived.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// Its number within its consumer.
    pub tag: u64,
    /// The routing key that the broker checked; for reports and presence `<type>.<endpoint>`.
    pub routing_key: String,
    /// The publisher's message id, if it has one.
    pub message_id: Option<String>,
    /// Whether the broker may have delivered it before.
    pub redelivered: bool,
    /// The bytes.
    pub body: Bytes,
}

impl Delivery {
    /// The worker that the routing key names; `None` if it names none.
    #[must_use]
    pub fn sender(&self) -> Option<(TaskType, EndpointName)> {
        // A task type has no dot, an endpoint name may have.
        let (task_type, endpoint) = self.routing_key.split_once('.')?;
        Some((
            TaskType::parse(task_type).ok()?,
            EndpointName::parse(endpoint).ok()?,
        ))
    }
}

/// A running consumer. Dropping it gives back what was not acknowledged.
#[async_trait]
pub trait Consumer: Send {
    /// Waits for at least one message and takes what has piled up, at most `max`.
    ///
    /// # Errors
    /// [`BrokerError::Away`] or [`BrokerError::NoQueue`] when the consumer has ended; start a new
    /// one. Tags of this one must not be used any more.
    async fn next(&mut self, max: usize) -> Result<Vec<Delivery>, BrokerError>;

    /// Acknowledges every message up to and including this one.
    async fn ack_through(&mut self, tag: u64) -> Result<(), BrokerError>;

    /// Sends one message to the dead-letter queue.
    async fn reject(&mut self, tag: u64) -> Result<(), BrokerError>;

    /// Stops consuming and gives back what was not acknowledged.
    async fn stop(self: Box<Self>);
}

/// The courier.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Makes the exchanges of the task types and the shared queues, if they do not exist.
    async fn declare(&self, task_types: &[TaskType]) -> Result<(), BrokerError>;

    /// Makes the inbox of an endpoint, if it does not exist.
    async fn open_inbox(
        &self,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<(), BrokerError>;

    /// Publishes a message and waits for the broker's confirm. Any number may be under way at once.
    async fn publish(&self, message: Message) -> Result<Confirmed, BrokerError>;

    /// Starts a consumer that has at most `prefetch` unacknowledged messages.
    async fn consume(&self, queue: &Queue, prefetch: u16)
    -> Result<Box<dyn Consumer>, BrokerError>;

    /// Whether the broker could be reached when last tried. Never blocks.
    fn is_up(&self) -> bool;

    /// Closes the connections, within the backend's time-outs.
    async fn close(&self);
}
