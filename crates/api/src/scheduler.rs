//! What happens because time passed: deadlines settle tasks, silence ends runs, open rows are asked
//! about.
//!
//! Three loops of one shape: woken by a signal and by the clock, no input, idempotent, any number
//! of processes side by side.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tasker_core::broker::{Address, Message};
use tasker_core::fault::{self, Protection};
use tasker_core::store::{Ask, Asked, Store, StoreError};
use tasker_core::wire::{Cancel, CancelEntry, EntryRef, Envelope};
use tasker_core::{EndpointName, TaskType};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::board::Board;
use crate::chain::chain;
use crate::courier::{Courier, Posted};
use crate::metrics::{Metrics, count};
use crate::outage::Outage;
use crate::pause::{backoff, pause};
use crate::recorder::tell_settled;
use crate::settings::SchedulerSettings;

/// Entries in one ask message.
const ENTRIES: usize = 500;
/// Bytes of one ask message, about.
const BYTES: usize = 1 << 20;

/// The scheduler of one process.
pub(crate) struct Scheduler {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) ledger: Arc<Outage>,
    pub(crate) courier: Arc<Courier>,
    pub(crate) board: Arc<Board>,
    /// Rows are due to be asked.
    pub(crate) asks: Arc<Notify>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) settings: SchedulerSettings,
    /// The silence after which contact with a run counts as lost.
    pub(crate) lost_after: Duration,
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
}

impl Duty {
    const fn label(self) -> &'static str {
        match self {
            Self::Settle => "settle",
            Self::PresumeLost => "presume_lost",
            Self::Ask => "ask",
        }
    }
}

impl Scheduler {
    /// Does a duty until `stop`.
    pub(crate) async fn run(&self, duty: Duty, stop: &CancellationToken) {
        let mut backoff = backoff();
        let mut hearing = Hearing::default();
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
                            Duty::Settle | Duty::PresumeLost => std::future::pending().await,
                        }
                    };
                    let rest = timeout(self.settings.tick, woken);
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

/// The asks of one endpoint.
#[derive(Default)]
struct Questions {
    entries: Vec<(u32, bytes::Bytes)>,
    cancels: Vec<CancelEntry>,
}

/// Asks → messages, each with the number of its asks; an endpoint's asks share messages of bounded
/// size.
fn pack(asks: Vec<Ask>) -> Vec<(Message, u64)> {
    let mut by_worker: HashMap<(TaskType, EndpointName), Questions> = HashMap::new();
    for ask in asks {
        let questions = by_worker.entry((ask.task_type, ask.endpoint)).or_default();
        match ask.what {
            Asked::Entry { attempt, task } => questions.entries.push((attempt, task)),
            Asked::Cancel(entry) => questions.cancels.push(entry),
        }
    }
    let mut messages = Vec::new();
    for ((task_type, endpoint), questions) in by_worker {
        let mut post = |body: Vec<u8>, asked: usize| {
            let message = Message {
                to: Address::Inboxes(task_type.clone(), vec![endpoint.clone()]),
                id: Uuid::now_v7(),
                body: body.into(),
            };
            messages.push((message, asked as u64));
        };
        // Cancels first, so that what is cancelled does not start.
        for cancels in questions.cancels.chunks(ENTRIES) {
            post(Cancel::encode(cancels.to_vec()), cancels.len());
        }
        let entries: Vec<_> = questions
            .entries
            .iter()
            .map(|(attempt, task)| EntryRef {
                attempt: *attempt,
                audience: None,
                task,
            })
            .collect();
        let (mut count, mut bytes) = (0, 0);
        let parts = entries.chunk_by(|before, next| {
            count += 1;
            bytes += before.weight();
            let fits = count < ENTRIES && bytes + next.weight() <= BYTES;
            if !fits {
                (count, bytes) = (0, 0);
            }
            fits
        });
        for part in parts {
            post(Envelope::encode(part), part.len());
        }
    }
    messages
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use tasker_core::TaskUid;

    fn ask(endpoint: &str, what: Asked) -> Ask {
        Ask {
            task_type: TaskType::parse("worker").unwrap(),
            endpoint: EndpointName::parse(endpoint).unwrap(),
            what,
        }
    }

    fn entry(bytes: usize) -> Asked {
        Asked::Entry {
            attempt: 2,
            task: format!("\"{}\"", "x".repeat(bytes)).into(),
        }
    }

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

    #[test]
    fn an_endpoints_asks_share_messages() {
        let cancel = Asked::Cancel(CancelEntry {
            uid: TaskUid::mint(),
            expires_at: DateTime::from_timestamp(1_000_000, 0).unwrap(),
        });
        let mut messages = pack(vec![
            ask("a", entry(1)),
            ask("b", entry(1)),
            ask("a", entry(1)),
            ask("a", cancel),
        ]);
        messages.sort_by_key(|(message, asked)| (format!("{:?}", message.to), *asked));
        let asked: Vec<_> = messages.iter().map(|(_, asked)| *asked).collect();
        assert_eq!(asked, [1, 2, 1]);
        assert!(messages[0].0.body.starts_with(br#"{"v":1,"cancel":["#));
        assert!(
            messages[1]
                .0
                .body
                .starts_with(br#"{"v":1,"entries":[{"attempt":2,"audience":null"#)
        );
    }

    #[test]
    fn messages_are_bounded() {
        let many = pack((0..1001).map(|_| ask("a", entry(1))).collect());
        let mut asked: Vec<_> = many.iter().map(|(_, asked)| *asked).collect();
        asked.sort_unstable();
        assert_eq!(asked, [1, 500, 500]);
        let heavy = pack((0..5).map(|_| ask("a", entry(400_000))).collect());
        assert_eq!(heavy.len(), 3);
        assert!(heavy.iter().all(|(message, _)| message.body.len() <= BYTES));
    }
}
