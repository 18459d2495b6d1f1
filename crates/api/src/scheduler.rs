//! What happens because time passed: deadlines settle tasks, silence ends runs, open rows are asked
//! about, what is over is forgotten.
//!
//! Four loops of one shape: woken by a signal and by the clock, no input, idempotent, any number
//! of processes side by side.

mod jobs;
mod pack;
mod purge;

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tasker_core::fault::{self, Protection};
use tasker_core::jobs::Jobs;
use tasker_core::purge::Retention;
use tasker_core::runs::Runs;
use tasker_core::store::{Store, StoreError};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::board::Board;
use crate::chain::chain;
use crate::courier::{Courier, Posted};
use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::{backoff, pause};
use crate::recorder::tell_settled;
use crate::settings::SchedulerSettings;
use pack::pack;

/// The scheduler of one process.
pub(crate) struct Scheduler {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) jobs: Arc<dyn Jobs>,
    pub(crate) runs: Arc<dyn Runs>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) board: Arc<Board>,
    /// Rows are due to be asked.
    pub(crate) asks: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: SchedulerSettings,
    /// The silence after which contact with a run counts as lost.
    pub(crate) lost_after: Duration,
    /// How long tasks are kept; `None`: for ever.
    pub(crate) retention: Option<Retention>,
}

/// Since when this process could have heard its workers. What it was deaf to is not silence: after an
/// absence of the API, the broker or the database, their reports still wait in the queue.
#[derive(Debug, Default)]
struct Hearing {
    since: Option<Instant>,
}

impl Hearing {
    /// Whether somebody who was silent for `lost_after` has really been silent.
    fn is_trusted(&mut self, now: Instant, can_hear: bool, lost_after: Duration) -> bool {
        if !can_hear {
            self.since = None;
            return false;
        }
        now.duration_since(*self.since.get_or_insert(now)) >= lost_after
    }
}

/// What a loop does when it is woken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Act on deadlines.
    Settle,
    /// Conclude from silence.
    PresumeLost,
    /// Ask about open rows.
    Ask,
    /// Forget what is over.
    Purge,
}

impl Duty {
    pub(crate) const ALL: [Self; 4] = [Self::Settle, Self::PresumeLost, Self::Ask, Self::Purge];

    const fn label(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::PresumeLost => "presume_lost",
            Self::Ask => "ask",
            Self::Purge => "purge",
        }
    }
}

impl Scheduler {
    /// Does a duty until `stop`.
    pub(crate) async fn run(&self, duty: Duty, stop: &CancellationToken) {
        let mut backoff = backoff();
        let mut hearing = Hearing::default();
        if duty == Duty::Purge {
            // Processes that start together need not do it together, nor before anything else.
            let first = self.settings.purge_every / 60;
            stop.run_until_cancelled(sleep(jittered(first))).await;
        }
        while !stop.is_cancelled() {
            let is_up = self.courier.is_up();
            let done = if duty == Duty::PresumeLost
                && !hearing.is_trusted(Instant::now(), is_up, self.lost_after)
            {
                Ok(())
            } else {
                let done = self.round(duty, stop).await;
                // A duty that had nothing to ask the ledger has learnt nothing about it.
                if duty != Duty::Ask || is_up || done.is_err() {
                    self.ledger.learn(&done);
                }
                done
            };
            match done {
                Ok(()) => {
                    backoff.reset();
                    let woken = async {
                        match duty {
                            Duty::Ask => self.asks.notified().await,
                            _ => std::future::pending().await,
                        }
                    };
                    let tick = match duty {
                        Duty::Purge => jittered(self.settings.purge_every),
                        _ => self.settings.tick,
                    };
                    let rest = timeout(tick, woken);
                    stop.run_until_cancelled(rest).await;
                }
                Err(error) => {
                    hearing = Hearing::default();
                    let duty = duty.label();
                    count(&self.metrics.loop_failures, "loop", duty, 1);
                    if !matches!(error, StoreError::Unavailable(_)) {
                        tracing::error!(duty, error = %chain(&error), "the ledger refused the scheduler");
                    }
                    pause(&mut backoff, stop).await;
                }
            }
        }
    }

    /// Does what is due, until nothing is.
    async fn round(&self, duty: Duty, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let is_more = match duty {
                Duty::Settle => {
                    let (settled, is_more) = self.store.settle_due(self.settings.batch).await?;
                    tell_settled(&self.metrics, &self.board, &settled);
                    is_more
                }
                Duty::PresumeLost => {
                    let (settled, is_more) = self.store.presume_lost(self.settings.batch).await?;
                    tell_settled(&self.metrics, &self.board, &settled);
                    is_more
                }
                Duty::Ask => self.ask().await?,
                Duty::Purge => {
                    self.purge(stop).await?;
                    false
                }
            };
            if !is_more {
                break;
            }
        }
        Ok(())
    }

    /// Sends a batch of asks. Returns whether more are due.
    async fn ask(&self) -> Result<bool, StoreError> {
        // Taken asks are not due again for a while; without a broker they would be wasted.
        if !self.courier.is_up() || fault::is_left_out(Protection::Ask) {
            return Ok(false);
        }
        let asks = self.store.take_asks(self.settings.batch).await?;
        let is_more = asks.len() >= self.settings.batch as usize;
        let posts = pack(asks).into_iter().map(|(message, asked)| async move {
            let posted = self.courier.publish(message).await;
            if posted == Posted::Routed {
                self.metrics.asks.inc_by(asked);
            }
            posted
        });
        let posted: Vec<Posted> = stream::iter(posts)
            .buffer_unordered(self.settings.in_flight)
            .collect()
            .await;
        Ok(is_more && !posted.contains(&Posted::Away))
    }
}

/// A half to the whole of a span.
fn jittered(span: Duration) -> Duration {
    span.mul_f64(rand::random_range(0.5..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_counts_from_when_it_could_have_been_broken() {
        let (start, lost_after) = (Instant::now(), Duration::from_secs(300));
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut hearing = Hearing::default();
        for (seconds, can_hear, is_trusted) in [
            (0, true, false),
            (299, true, false),
            (300, true, true),
            (400, false, false),
            (500, true, false),
            (799, true, false),
            (800, true, true),
        ] {
            let got = hearing.is_trusted(at(seconds), can_hear, lost_after);
            assert_eq!(got, is_trusted, "after {seconds} s");
        }
        assert!(Hearing::default().is_trusted(start, true, Duration::ZERO));
    }
}
