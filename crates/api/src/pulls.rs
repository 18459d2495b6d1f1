//! Hands out tasks of runs, and writes what workers say of them.
//!
//! As with the store step, requests do not talk to the database themselves: whoever is free takes all
//! that has piled up into one transaction, so that 32 workers cost one commit and not 32. A request
//! that goes away never cancels a transaction; one that no transaction takes in time is refused.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tasker_core::name::Identifier;
use tasker_core::runs::{ClaimOrder, Claimed, Lease, RunKey, Runs, UpdateOrder, Updated};
use tasker_core::store::StoreError;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::accept::NotAccepted;
use crate::chain::chain;
use crate::outage::Outage;
use crate::settings::AcceptSettings;

/// The most claims or changes of one transaction.
const BATCH: usize = 64;
/// About how many bytes of results one transaction has at most.
const BATCH_BYTES: usize = 4 << 20;

/// A worker that wants a task.
#[derive(Debug, Clone)]
pub(crate) struct ClaimWish {
    pub(crate) key: RunKey,
    pub(crate) worker: Identifier,
    pub(crate) lease: Lease,
}

struct Wish<I, O> {
    item: I,
    answer: oneshot::Sender<Result<O, NotAccepted>>,
    /// Told when a transaction takes it. Refused by a request that waits no longer.
    taken: oneshot::Sender<()>,
}

type Queue<I, O> = mpsc::Receiver<Wish<I, O>>;

/// Where requests hand in what they want.
#[derive(Clone)]
pub(crate) struct Pulls {
    claims: mpsc::Sender<Wish<ClaimWish, Option<Claimed>>>,
    changes: mpsc::Sender<Wish<UpdateOrder, Updated>>,
    wait: Duration,
}

impl Pulls {
    /// A task for a worker; `None`: there is no such run.
    pub(crate) async fn claim(&self, wish: ClaimWish) -> Result<Option<Claimed>, NotAccepted> {
        ask(&self.claims, wish, self.wait).await
    }

    /// Changes a task.
    pub(crate) async fn change(&self, order: UpdateOrder) -> Result<Updated, NotAccepted> {
        ask(&self.changes, order, self.wait).await
    }
}

async fn ask<I, O>(
    queue: &mpsc::Sender<Wish<I, O>>,
    item: I,
    wait: Duration,
) -> Result<O, NotAccepted> {
    let (answer, got) = oneshot::channel();
    let (taken, begun) = oneshot::channel();
    let wish = Wish {
        item,
        answer,
        taken,
    };
    queue.try_send(wish).map_err(|_| NotAccepted::Busy)?;
    if timeout(wait, begun).await.is_err() {
        return Err(NotAccepted::Busy);
    }
    got.await.unwrap_or(Err(NotAccepted::Unavailable))
}

/// Serves what requests hand in.
pub(crate) struct Puller {
    claims: Queue<ClaimWish, Option<Claimed>>,
    changes: Queue<UpdateOrder, Updated>,
    desk: Desk,
}

struct Desk {
    runs: Arc<dyn Runs>,
    ledger: Arc<Outage>,
}

/// Makes the queues.
pub(crate) fn pulls(
    runs: Arc<dyn Runs>,
    ledger: Arc<Outage>,
    settings: AcceptSettings,
) -> (Pulls, Puller) {
    let (claims, claim_queue) = mpsc::channel(settings.queue);
    let (changes, change_queue) = mpsc::channel(settings.queue);
    let pulls = Pulls {
        claims,
        changes,
        wait: settings.wait,
    };
    let puller = Puller {
        claims: claim_queue,
        changes: change_queue,
        desk: Desk { runs, ledger },
    };
    (pulls, puller)
}

impl Puller {
    /// Serves until `stop`; then what is still in the queues.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let Self {
            mut claims,
            mut changes,
            desk,
        } = self;
        let claiming = async {
            while let Some(batch) = gather(&mut claims, &stop, |_| 0).await {
                desk.claim(batch).await;
            }
        };
        let changing = async {
            let weight = |order: &UpdateOrder| order.change.result.as_ref().map_or(0, |r| r.len());
            while let Some(batch) = gather(&mut changes, &stop, weight).await {
                desk.change(batch).await;
            }
        };
        tokio::join!(claiming, changing);
    }
}

type Taken<I, O> = (I, oneshot::Sender<Result<O, NotAccepted>>);

/// Takes all that has piled up and is still waited for, within the bounds of a transaction. `None`:
/// nothing comes any more.
async fn gather<I, O>(
    queue: &mut Queue<I, O>,
    stop: &CancellationToken,
    weight: impl Fn(&I) -> usize,
) -> Option<Vec<Taken<I, O>>> {
    let first = match stop.run_until_cancelled(queue.recv()).await {
        Some(wish) => wish,
        None => {
            queue.close();
            queue.recv().await
        }
    };
    let mut next = Some(first?);
    let (mut bytes, mut batch) = (0, Vec::new());
    while let Some(wish) = next {
        bytes += weight(&wish.item);
        if wish.taken.send(()).is_ok() {
            batch.push((wish.item, wish.answer));
        }
        next = (batch.len() < BATCH && bytes < BATCH_BYTES)
            .then(|| queue.try_recv().ok())
            .flatten();
    }
    Some(batch)
}

impl Desk {
    /// Each run in a transaction of its own.
    async fn claim(&self, batch: Vec<Taken<ClaimWish, Option<Claimed>>>) {
        let mut orders: Vec<(ClaimOrder, Vec<oneshot::Sender<_>>)> = Vec::new();
        for (wish, answer) in batch {
            let same = orders.iter_mut().find(|(order, _)| order.key == wish.key);
            if let Some((order, answers)) = same {
                order.workers.push(wish.worker);
                answers.push(answer);
            } else {
                let order = ClaimOrder {
                    key: wish.key,
                    workers: vec![wish.worker],
                    lease: wish.lease,
                };
                orders.push((order, vec![answer]));
            }
        }
        join_all(orders.into_iter().map(async |(order, answers)| {
            let claimed = self.learn(self.runs.claim(order).await);
            match claimed {
                Ok(Some(claimed)) => {
                    for (claimed, answer) in claimed.into_iter().zip(answers) {
                        tell(answer, Ok(Some(claimed)));
                    }
                }
                Ok(None) => answer_all(answers, || Ok(None)),
                Err(refusal) => answer_all(answers, || Err(refusal)),
            }
        }))
        .await;
    }

    async fn change(&self, batch: Vec<Taken<UpdateOrder, Updated>>) {
        if batch.is_empty() {
            return;
        }
        let (orders, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        let again = (orders.len() > 1).then(|| orders.clone());
        match (self.runs.update(orders).await, again) {
            // Only one of them may be at fault.
            (Err(StoreError::Refused { .. } | StoreError::Corrupt { .. }), Some(orders)) => {
                for (order, answer) in orders.into_iter().zip(answers) {
                    let one = self.learn(self.runs.update(vec![order]).await);
                    let one = one.and_then(|one| one.first().copied().ok_or(NotAccepted::Refused));
                    tell(answer, one);
                }
            }
            (updated, _) => match self.learn(updated) {
                Ok(updated) => {
                    for (updated, answer) in updated.into_iter().zip(answers) {
                        tell(answer, Ok(updated));
                    }
                }
                Err(refusal) => answer_all(answers, || Err(refusal)),
            },
        }
    }

    /// The meaning of a failed transaction. A refusal is logged here and nowhere else.
    fn learn<T>(&self, result: Result<T, StoreError>) -> Result<T, NotAccepted> {
        self.ledger.learn(&result);
        result.map_err(|error| match error {
            StoreError::Unavailable(_) => NotAccepted::Unavailable,
            error => {
                tracing::error!(error = %chain(&error), "the ledger failed tasks of a run");
                NotAccepted::Refused
            }
        })
    }
}

fn answer_all<T>(answers: Vec<oneshot::Sender<T>>, value: impl Fn() -> T) {
    for answer in answers {
        tell(answer, value());
    }
}

/// A client that went away has no use for the answer; what was done is done all the same.
fn tell<T>(answer: oneshot::Sender<T>, value: T) {
    let _ = answer.send(value);
}
