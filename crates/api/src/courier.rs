//! The broker as the background loops see it: topology kept, publishes repeated and counted.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::TaskType;
use tasker_core::broker::{Broker, BrokerError, Confirmed, Message};
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tracing::Level;

use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::{backoff, pause_until};
use crate::throttle::Throttle;

/// How often a message that is nacked or not confirmed in time is published.
const TRIES: u32 = 3;
/// How often the broker's presence is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// The topology is declared at most this often.
const DECLARE_PAUSE: Duration = Duration::from_secs(1);

/// What became of a publish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Posted {
    /// The broker has it, in at least one queue.
    Routed,
    /// The broker had no queue for it; asking heals that.
    Unroutable,
    /// Nacked or not confirmed in time, three times. Some queues may have it; asking heals the rest.
    GaveUp,
    /// The broker is away. Nothing was decided.
    Away,
}

/// A broker with its keeper.
pub(crate) struct Courier {
    pub(crate) broker: Arc<dyn Broker>,
    metrics: Arc<Metrics>,
    suspicion: Notify,
    outage: Outage,
    refusals: Throttle,
    declared: watch::Sender<u64>,
}

impl Courier {
    pub(crate) fn new(broker: Arc<dyn Broker>, metrics: Arc<Metrics>) -> Self {
        Self {
            broker,
            metrics,
            suspicion: Notify::new(),
            outage: Outage::new("the broker"),
            refusals: Throttle::new(Level::WARN, "the broker refuses"),
            declared: watch::Sender::new(0),
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.broker.is_up()
    }

    /// Whether the topology was declared since the start, so that workers can speak.
    pub(crate) fn is_declared(&self) -> bool {
        *self.declared.borrow() > 0
    }

    /// Counts the successful declarations: it changes whenever the broker has come back.
    pub(crate) fn returns(&self) -> watch::Receiver<u64> {
        self.declared.subscribe()
    }

    /// Something that must exist was not there, or the connection broke: the topology is declared
    /// again.
    pub(crate) fn suspect(&self) {
        self.suspicion.notify_one();
    }

    /// Publishes a message, up to three times.
    pub(crate) async fn publish(&self, message: Message) -> Posted {
        let mut backoff = backoff();
        for tried in 1..=TRIES {
            let error = match self.broker.publish(message.clone()).await {
                Ok(Confirmed::Routed) => {
                    self.outage.back();
                    self.metrics.messages.inc();
                    return Posted::Routed;
                }
                Ok(Confirmed::Unroutable) => {
                    self.metrics.messages.inc();
                    count(&self.metrics.confirm_failures, "reason", "unroutable", 1);
                    return Posted::Unroutable;
                }
                Err(error) => error,
            };
            let reason = reason(&error);
            count(&self.metrics.confirm_failures, "reason", reason, 1);
            self.tell("publish", &error);
            match error {
                BrokerError::Nacked | BrokerError::TimedOut(_) => {
                    tracing::debug!(message.id = %message.id, reason, tried, "a message was not confirmed");
                    if tried < TRIES {
                        tokio::time::sleep(backoff.wait()).await;
                    }
                }
                BrokerError::Denied(_) => return Posted::Away,
                BrokerError::Away(_) | BrokerError::NoQueue(_) => {
                    self.suspect();
                    return Posted::Away;
                }
            }
        }
        Posted::GaveUp
    }

    /// Declares the topology at the start, whenever the broker comes back and whenever somebody
    /// misses a part of it; until `stop`.
    pub(crate) async fn keep_topology(&self, task_types: &[TaskType], stop: &CancellationToken) {
        tokio::select! {
            () = self.declare_when_needed(task_types, stop) => {}
            () = self.refusals.tell_rest() => {}
        }
    }

    async fn declare_when_needed(&self, task_types: &[TaskType], stop: &CancellationToken) {
        let mut backoff = backoff();
        loop {
            match self.broker.declare(task_types).await {
                Ok(()) => {
                    backoff.reset();
                    self.outage.back();
                    // Once is news; later it is repeated on suspicion, as often as once a second.
                    if self.is_declared() {
                        tracing::debug!("the broker's exchanges and queues are declared again");
                    } else {
                        tracing::info!("the broker's exchanges and queues are declared");
                    }
                    self.declared.send_modify(|times| *times += 1);
                    if stop.run_until_cancelled(self.trouble()).await.is_none() {
                        return;
                    }
                }
                Err(error) => {
                    count(&self.metrics.loop_failures, "loop", "topology", 1);
                    self.tell("declare", &error);
                    if !pause_until(&mut backoff, self.comes_up(), stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Logs a failure of the broker: an absence once, whoever notices it; a refusal now and then.
    pub(crate) fn tell(&self, doing: &'static str, error: &BrokerError) {
        match error {
            BrokerError::Away(_) | BrokerError::TimedOut(_) => self.outage.lost(error),
            BrokerError::Nacked | BrokerError::Denied(_) => {
                self.refusals.tell(reason(error), doing, &error.to_string());
            }
            // The topology's keeper makes it, and says so if it cannot.
            BrokerError::NoQueue(_) => tracing::debug!(%error, "the topology is doubted"),
        }
    }

    /// Ends when a broker that is away now has come back; never, if it is not away.
    async fn comes_up(&self) {
        if self.is_up() {
            std::future::pending::<()>().await;
        }
        while !self.is_up() {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// Ends when the topology has to be declared again.
    async fn trouble(&self) {
        tokio::time::sleep(DECLARE_PAUSE).await;
        let mut was_away = !self.is_up();
        loop {
            let is_up = self.is_up();
            if was_away && is_up {
                return;
            }
            if is_up {
                self.outage.back();
            }
            was_away |= !is_up;
            let look = tokio::time::timeout(LOOK_EVERY, self.suspicion.notified());
            if look.await.is_ok() {
                return;
            }
        }
    }
}

/// One word for counters.
pub(crate) const fn reason(error: &BrokerError) -> &'static str {
    match error {
        BrokerError::Away(_) => "away",
        BrokerError::TimedOut(_) => "timed_out",
        BrokerError::Nacked => "nacked",
        BrokerError::NoQueue(_) => "no_queue",
        BrokerError::Denied(_) => "denied",
    }
}
