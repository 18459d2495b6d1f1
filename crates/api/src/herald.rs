//! News between API processes: what one of them adds to a log, the waiters of the others hear of.
//!
//! The broker carries it, and may lose it; then the others see it when they look, every few seconds.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tasker_core::broker::{Address, BrokerError, Consumer, Message, Queue};
use tasker_core::jobs::Jobs;
use tasker_core::wire::Event;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::chain::chain;
use crate::courier::Courier;
use crate::metrics::{Metrics, count};
use crate::news::News;
use crate::outage::Outage;
use crate::pause::{backoff, pause_until};

/// Unacknowledged events, at most.
const PREFETCH: u16 = 100;

/// The herald of one process.
pub(crate) struct Herald {
    pub(crate) news: Arc<News>,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) look_every: Duration,
}

impl Herald {
    /// Tells the others what this process has added, until `stop`; at the end what is left.
    pub(crate) async fn tell(&self, stop: &CancellationToken) {
        while stop.run_until_cancelled(self.news.posted()).await.is_some() {
            self.tell_all().await;
        }
        self.tell_all().await;
    }

    async fn tell_all(&self) {
        loop {
            let jobs = self.news.take_posted();
            if jobs.is_empty() {
                return;
            }
            let message = Message {
                to: Address::Events,
                persistent: false,
                id: Uuid::now_v7(),
                body: Bytes::from(Event { jobs }.to_bytes()),
            };
            // Tried once: the others look for what they were not told, and nobody need listen.
            if let Err(error) = self.courier.broker.publish(message).await {
                count(&self.metrics.loop_failures, "loop", "herald", 1);
                self.courier.tell("tell news", &error);
            }
        }
    }

    /// Hears what the others have added, until `stop`.
    pub(crate) async fn hear(&self, stop: &CancellationToken) {
        let mut backoff = backoff();
        loop {
            let mut returns = self.courier.returns();
            let consuming = self.courier.broker.consume(&Queue::Events, PREFETCH);
            let error = match stop.run_until_cancelled(consuming).await {
                None => return,
                Some(Err(error)) => error,
                Some(Ok(mut consumer)) => {
                    backoff.reset();
                    let heard = stop.run_until_cancelled(self.listen(&mut *consumer)).await;
                    consumer.stop().await;
                    match heard {
                        None => return,
                        Some(error) => error,
                    }
                }
            };
            self.courier.tell("hear news", &error);
            if matches!(error, BrokerError::NoQueue(_)) {
                self.courier.suspect();
            }
            let back = async {
                // The sender lives as long as the courier.
                let _declared_again = returns.changed().await;
            };
            if !pause_until(&mut backoff, back, stop).await {
                return;
            }
        }
    }

    /// Hears with one consumer, until it ends.
    async fn listen(&self, consumer: &mut dyn Consumer) -> BrokerError {
        loop {
            let deliveries = match consumer.next(usize::from(PREFETCH)).await {
                Ok(deliveries) => deliveries,
                Err(error) => return error,
            };
            for delivery in &deliveries {
                match Event::parse(&delivery.body) {
                    Ok(event) => self.news.hear(&event.jobs),
                    // Of a later release, perhaps: what it says is seen at the next look.
                    Err(error) => tracing::debug!(%error, "an event cannot be read"),
                }
            }
            if let Some(last) = deliveries.last()
                && let Err(error) = consumer.ack_through(last.tag).await
            {
                return error;
            }
        }
    }

    /// Looks for what nobody told, until `stop`.
    pub(crate) async fn look(&self, stop: &CancellationToken) {
        while stop
            .run_until_cancelled(sleep(self.look_every))
            .await
            .is_some()
        {
            let watched = self.news.watched();
            if watched.is_empty() {
                continue;
            }
            let heads = self.jobs.heads(&watched).await;
            self.ledger.learn(&heads);
            match heads {
                Ok(heads) => {
                    for (datasource, heads) in watched.iter().zip(&heads) {
                        self.news.compare(datasource, heads);
                    }
                }
                Err(error) => {
                    count(&self.metrics.loop_failures, "loop", "herald", 1);
                    tracing::debug!(error = %chain(&error), "nobody looked for news");
                }
            }
        }
    }
}
