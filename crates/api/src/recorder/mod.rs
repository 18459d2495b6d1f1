//! Steps 8 and 9 of the line: reports → response rows, and what they settle.
//!
//! One loop a queue: take what has piled up, sort it, write it in few transactions, and only then
//! acknowledge. With the database away nothing is acknowledged and nothing is requeued in circles:
//! the consumer stops and a new one starts when the ledger answers again. What nobody can read goes
//! to the dead-letter queue, counted by reason.

mod hello;
mod presence;
mod sort;
mod write;

use std::collections::HashSet;
use std::sync::Arc;

use tasker_core::backoff::Backoff;
use tasker_core::broker::{BrokerError, Consumer, Delivery, Queue};
use tasker_core::fault::{self, Point};
use tasker_core::store::{Store, StoreError};
use tasker_core::{TaskStatus, TaskType, TaskUid};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::bridge::Bell;
use crate::courier::{Courier, reason};
use crate::fleet::Fleet;
use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::{backoff, pause, pause_until};
use crate::settings::RecorderSettings;
use crate::throttle::Throttle;

/// The recorder of one process.
pub(crate) struct Recorder {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) board: Arc<Board>,
    /// Wakes the scheduler: rows are due to be asked.
    pub(crate) asks: Arc<Notify>,
    /// Wakes who lets jobs follow their tasks.
    pub(crate) bell: Arc<Bell>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) task_types: HashSet<TaskType>,
    pub(crate) settings: RecorderSettings,
    /// Messages that went to the dead-letter queue because nobody can read them.
    pub(crate) unreadable: Throttle,
    /// Messages that went there because the ledger refused them.
    pub(crate) refused: Throttle,
}

/// Why a consumer had to be given up, with everything that it had not acknowledged.
#[derive(Debug)]
enum Trouble {
    Store(StoreError),
    Courier(BrokerError),
}

/// Tags of a batch that belong into the dead-letter queue.
type Rejected = Vec<u64>;

impl Recorder {
    /// Serves a queue until `stop`, over any number of consumers.
    pub(crate) async fn run(&self, queue: Queue, stop: &CancellationToken) {
        tokio::select! {
            () = self.consume(queue, stop) => {}
            () = self.unreadable.tell_rest() => {}
            () = self.refused.tell_rest() => {}
        }
    }

    async fn consume(&self, queue: Queue, stop: &CancellationToken) {
        let mut backoff = backoff();
        let mut returns = self.courier.returns();
        loop {
            returns.mark_unchanged();
            let trouble = match self
                .courier
                .broker
                .consume(&queue, self.settings.prefetch)
                .await
            {
                Ok(consumer) => self.serve(&queue, consumer, &mut backoff, stop).await,
                Err(error) => Some(Trouble::Courier(error)),
            };
            let is_over = match trouble {
                None => true,
                Some(Trouble::Courier(error)) => {
                    count(&self.metrics.loop_failures, "loop", "recorder", 1);
                    let (queue, reason) = (label(&queue), reason(&error));
                    self.courier.tell("consume", &error);
                    tracing::debug!(queue, reason, "the consumer ended, a new one follows");
                    self.courier.suspect();
                    let returned = async {
                        // Of no use while the broker is there and refuses.
                        if reason != "away" || returns.changed().await.is_err() {
                            std::future::pending::<()>().await;
                        }
                    };
                    !pause_until(&mut backoff, returned, stop).await
                }
                Some(Trouble::Store(error)) => {
                    count(&self.metrics.loop_failures, "loop", "recorder", 1);
                    let queue = label(&queue);
                    self.ledger.lost(&error);
                    tracing::debug!(queue, "paused until the ledger answers");
                    !self.ledger_is_back(&mut backoff, stop).await
                }
            };
            if is_over {
                return;
            }
        }
    }

    /// Serves a queue with one consumer. `None`: `stop` came.
    async fn serve(
        &self,
        queue: &Queue,
        mut consumer: Box<dyn Consumer>,
        backoff: &mut Backoff,
        stop: &CancellationToken,
    ) -> Option<Trouble> {
        let trouble = loop {
            let batch = consumer.next(self.settings.batch);
            let deliveries = match stop.run_until_cancelled(batch).await {
                None => break None,
                Some(Err(error)) => return Some(Trouble::Courier(error)),
                Some(Ok(deliveries)) => deliveries,
            };
            let tags: Vec<u64> = deliveries.iter().map(|delivery| delivery.tag).collect();
            let rejected = match queue {
                Queue::Presence => self.note(deliveries).await,
                _ => self.record(deliveries).await,
            };
            let settled = match rejected {
                Ok(rejected) => settle(&mut consumer, &tags, &rejected).await,
                Err(trouble) => break Some(trouble),
            };
            if let Err(error) = settled {
                return Some(Trouble::Courier(error));
            }
            backoff.reset();
        };
        consumer.stop().await;
        trouble
    }

    /// Waits until the ledger answers. Returns whether it does; not if `stop` came.
    async fn ledger_is_back(&self, backoff: &mut Backoff, stop: &CancellationToken) -> bool {
        while pause(backoff, stop).await {
            let now = self.store.now().await;
            self.ledger.learn(&now);
            if now.is_ok() {
                return true;
            }
        }
        false
    }

    /// Takes a batch of the reports queue: writes reports and answers hellos, in their order.
    async fn record(&self, deliveries: Vec<Delivery>) -> Result<Rejected, Trouble> {
        let sorted = sort::sort(deliveries, &self.task_types);
        let mut rejected = self.tell_unreadable(&sorted.unreadable);
        if !sorted.heartbeats.is_empty() {
            self.alive(sorted.heartbeats).await?;
        }
        for phase in sorted.phases {
            if !phase.letters.is_empty() {
                rejected.extend(self.write(phase.letters).await.map_err(Trouble::Store)?);
                fault::reach(Point::AfterRecord);
            }
            rejected.extend(self.greet_all(phase.hellos).await?);
        }
        Ok(rejected)
    }

    /// Counts and logs what nobody can read.
    fn tell_unreadable(&self, unreadable: &[sort::Unreadable]) -> Rejected {
        for message in unreadable {
            count(&self.metrics.dead_lettered, "reason", message.reason, 1);
            self.unreadable
                .tell(message.reason, &message.routing_key, &message.error);
        }
        unreadable.iter().map(|message| message.tag).collect()
    }

    /// Tells everybody who waits what was settled.
    fn tell_settled(&self, settled: &[(TaskUid, TaskStatus)]) {
        tell_settled(&self.metrics, &self.board, settled);
    }
}

/// Counts what was settled and wakes those who wait for it.
pub(crate) fn tell_settled(metrics: &Metrics, board: &Board, settled: &[(TaskUid, TaskStatus)]) {
    for (uid, status) in settled {
        count(&metrics.settled, "status", status.as_str(), 1);
        board.wake(*uid);
    }
}

/// Rejects what must be, acknowledges the rest.
async fn settle(
    consumer: &mut Box<dyn Consumer>,
    tags: &[u64],
    rejected: &[u64],
) -> Result<(), BrokerError> {
    for tag in rejected {
        consumer.reject(*tag).await?;
    }
    // A rejected tag is gone; acknowledging through it would be an error.
    match tags.iter().rev().find(|tag| !rejected.contains(tag)) {
        Some(last) => consumer.ack_through(*last).await,
        None => Ok(()),
    }
}

const fn label(queue: &Queue) -> &'static str {
    match queue {
        Queue::Reports => "reports",
        Queue::Presence => "presence",
        Queue::Events => "events",
        Queue::Dead => "dead",
        Queue::Inbox(..) => "inbox",
    }
}
