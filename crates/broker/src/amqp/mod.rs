//! RabbitMQ, through lapin and a supervisor of ours.
//!
//! Two connections, each rebuilt for ever: one publishes, the other consumes and declares. RabbitMQ
//! blocks connections that publish when it is short of memory or disk; acknowledgements go on.
//!
//! lapin logs messages that the broker returned, with their bodies, as warnings: let its target
//! `lapin` be filtered at `error`.

mod backoff;
mod clip;
mod connect;
mod consumer;
mod deliver;
mod error;
mod guard;
mod header;
mod link;
mod outgoing;
mod publisher;
mod settings;
mod stream;
mod topology;
mod verdict;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use futures_util::future::join_all;
use tasker_core::broker::{Broker, BrokerError, Confirmed, Consumer, Message, Queue};
use tasker_core::{EndpointName, TaskType};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

use self::link::{Link, Supervisor};
use self::publisher::Publisher;
pub use self::settings::{AmqpSettings, QueueType, Secret, Timeouts};
use self::topology::Topology;
use crate::Names;

/// The broker on the other side of a network. Dropping it ends its connections.
#[derive(Debug)]
pub struct AmqpBroker {
    settings: Arc<AmqpSettings>,
    topology: Arc<Topology>,
    publisher: Publisher,
    publishing: Link,
    consuming: Link,
    lanes: TaskTracker,
    supervisors: TaskTracker,
    stop_publishing: CancellationToken,
    stop: CancellationToken,
    _stop_on_drop: [DropGuard; 2],
}

impl AmqpBroker {
    /// Starts connecting and returns at once. Operations wait for the first attempt to connect;
    /// later on they fail at once while the broker is away.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn new(settings: AmqpSettings) -> Arc<Self> {
        let settings = Arc::new(settings);
        let timeouts = settings.timeouts;
        let names = Names::new(settings.prefix.clone());
        let topology = Arc::new(Topology::new(names, settings.queue_type, timeouts));
        let (stop, stop_publishing) = (CancellationToken::new(), CancellationToken::new());
        let supervisors = TaskTracker::new();
        let up = watch::Sender::new(0);
        let connection = |role| {
            let (link, supervisor) = Link::new(Supervisor {
                settings: settings.clone(),
                topology: topology.clone(),
                role,
                up: up.clone(),
                stop: stop.clone(),
            });
            supervisors.spawn(supervisor);
            link
        };
        let (publishing, consuming) = (connection("publish"), connection("consume"));
        let (publisher, run) = Publisher::new(
            publishing.clone(),
            topology.clone(),
            timeouts,
            stop_publishing.clone(),
        );
        let lanes = TaskTracker::new();
        lanes.spawn(run);
        Arc::new(Self {
            settings,
            topology,
            publisher,
            publishing,
            consuming,
            lanes,
            supervisors,
            _stop_on_drop: [
                stop.clone().drop_guard(),
                stop_publishing.clone().drop_guard(),
            ],
            stop_publishing,
            stop,
        })
    }

    /// How its exchanges and queues are called.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.topology.names
    }
}

#[async_trait]
impl Broker for AmqpBroker {
    async fn declare(&self, task_types: &[TaskType]) -> Result<(), BrokerError> {
        let live = self.consuming.live().await?;
        self.topology.declare(&live, task_types).await
    }

    async fn open_inbox(
        &self,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<(), BrokerError> {
        let live = self.consuming.live().await?;
        self.topology.open_inbox(&live, task_type, endpoint).await
    }

    async fn publish(&self, message: Message) -> Result<Confirmed, BrokerError> {
        let parts = outgoing::outgoing(self.names(), message, self.settings.frame_max)?;
        let published = parts.into_iter().map(|part| self.publisher.publish(part));
        let mut confirmed = Confirmed::Unroutable;
        for part in join_all(published).await {
            if part? == Confirmed::Routed {
                confirmed = Confirmed::Routed;
            }
        }
        Ok(confirmed)
    }

    async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Box<dyn Consumer>, BrokerError> {
        let live = self.consuming.live().await?;
        let timeouts = self.settings.timeouts;
        let consumer = if *queue == Queue::Events {
            consumer::consume_events(live, self.names(), prefetch, timeouts).await?
        } else {
            consumer::consume(live, self.names().queue(queue), prefetch, timeouts).await?
        };
        Ok(Box::new(consumer))
    }

    fn is_up(&self) -> bool {
        self.publishing.is_up()
    }

    async fn close(&self) {
        // First what is being published, then the connections under it.
        self.stop_publishing.cancel();
        self.lanes.close();
        self.lanes.wait().await;
        self.stop.cancel();
        self.supervisors.close();
        self.supervisors.wait().await;
    }
}
