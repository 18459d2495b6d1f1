//! Step 3 of the line, store: [`NewTask`] → [`Task`].
//!
//! Requests do not talk to the database themselves. They put their task into a bounded queue, and
//! one committer takes all that has piled up into one transaction: an idle system commits at once, a
//! busy one commits many tasks with one fsync, and nothing waits for a timer. A second committer would
//! halve the transactions, not add to them (ADR 0013). A request that goes away never cancels a
//! transaction. One that no transaction takes in time is refused: with a slow database, load is shed
//! instead of piling up.

use std::sync::Arc;
use std::time::Duration;

use tasker_core::ProcessId;
use tasker_core::fault::{self, Point};
use tasker_core::store::{Created, Store, StoreError};
use tasker_core::task::{NewTask, Task};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::chain::chain;
use crate::metrics::Metrics;
use crate::outage::Outage;
use crate::relay::{Due, RelayDesk};
use crate::settings::AcceptSettings;

/// What became of a request.
#[derive(Debug)]
pub(crate) enum Accepted {
    /// Stored; `sent` fires when the broker's confirm is stored too.
    New {
        task: Box<Task>,
        sent: oneshot::Receiver<()>,
    },
    /// The same request was stored before.
    Same(Box<Task>),
    /// The identifier was used for something else before.
    Reused,
}

/// Why a request was not stored. The cause has been logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotAccepted {
    /// Too many requests wait already.
    Busy,
    /// The database is away or too slow.
    Unavailable,
    /// The database refused it.
    Refused,
}

type Answer = Result<Accepted, NotAccepted>;

struct Wish {
    task: NewTask,
    answer: oneshot::Sender<Answer>,
    /// Told when a transaction takes it. Refused by a request that waits no longer.
    taken: oneshot::Sender<()>,
}

/// Where requests hand in their tasks.
#[derive(Clone)]
pub(crate) struct Intake {
    wishes: mpsc::Sender<Wish>,
    wait: Duration,
}

impl Intake {
    /// Stores a task, if a transaction takes it in time. Dropping the future after that does not stop it.
    pub(crate) async fn accept(&self, task: NewTask) -> Answer {
        let (answer, got) = oneshot::channel();
        let (taken, begun) = oneshot::channel();
        let wish = Wish {
            task,
            answer,
            taken,
        };
        self.wishes.try_send(wish).map_err(|_| NotAccepted::Busy)?;
        if timeout(self.wait, begun).await.is_err() {
            return Err(NotAccepted::Busy);
        }
        got.await.unwrap_or(Err(NotAccepted::Unavailable))
    }

    /// How many requests wait.
    pub(crate) fn depth(&self) -> usize {
        self.wishes.max_capacity() - self.wishes.capacity()
    }
}

/// A task that goes into a transaction, and who waits for it.
type Taken = (NewTask, oneshot::Sender<Answer>);

/// Commits what requests hand in.
pub(crate) struct Committer {
    wishes: mpsc::Receiver<Wish>,
    desk: Desk,
    settings: AcceptSettings,
}

struct Desk {
    store: Arc<dyn Store>,
    ledger: Arc<Outage>,
    relay: RelayDesk,
    metrics: Arc<Metrics>,
    owner: ProcessId,
}

/// Makes the queue.
pub(crate) fn intake(
    store: Arc<dyn Store>,
    ledger: Arc<Outage>,
    relay: RelayDesk,
    metrics: Arc<Metrics>,
    owner: ProcessId,
    settings: AcceptSettings,
) -> (Intake, Committer) {
    let (tx, wishes) = mpsc::channel(settings.queue);
    let desk = Desk {
        store,
        ledger,
        relay,
        metrics,
        owner,
    };
    let committer = Committer {
        wishes,
        desk,
        settings,
    };
    let intake = Intake {
        wishes: tx,
        wait: settings.wait,
    };
    (intake, committer)
}

impl Committer {
    /// Commits until `stop`; then what is still in the queue.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        let mut left_over = None;
        loop {
            let first = match left_over.take() {
                Some(wish) => Some(wish),
                None => match stop.run_until_cancelled(self.wishes.recv()).await {
                    Some(wish) => wish,
                    None => {
                        self.wishes.close();
                        self.wishes.recv().await
                    }
                },
            };
            let Some(first) = first else { break };
            let (batch, rest) = self.gather(first);
            left_over = rest;
            if batch.is_empty() {
                continue;
            }
            self.desk.commit(batch).await;
        }
    }

    /// Takes all that has piled up and is still waited for, within the bounds of a transaction.
    fn gather(&mut self, first: Wish) -> (Vec<Taken>, Option<Wish>) {
        let (mut bytes, mut batch) = (0, Vec::new());
        let mut next = Some(first);
        while let Some(wish) = next {
            bytes += weight(&wish.task);
            if bytes > self.settings.batch_bytes && !batch.is_empty() {
                return (batch, Some(wish));
            }
            if wish.taken.send(()).is_ok() {
                batch.push((wish.task, wish.answer));
            }
            next = (batch.len() < self.settings.batch)
                .then(|| self.wishes.try_recv().ok())
                .flatten();
        }
        (batch, None)
    }
}

/// About how many bytes a task and its rows take in a transaction.
fn weight(task: &NewTask) -> usize {
    const ROW: usize = 64;
    let payload = task.payload.as_ref().map_or(0, bytes::Bytes::len);
    payload + (1 + task.endpoints.as_ref().map_or(0, Vec::len)) * ROW
}

impl Desk {
    async fn commit(&self, batch: Vec<Taken>) {
        let (tasks, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        // Only a batch can be refused for the fault of one; a task alone needs no copy.
        let again = (tasks.len() > 1).then(|| tasks.clone());
        match (self.create(tasks).await, again) {
            (Ok(created), _) => {
                for (created, answer) in created.into_iter().zip(answers) {
                    self.answer(Ok(created), answer);
                }
            }
            (Err(StoreError::Refused { .. } | StoreError::Corrupt { .. }), Some(tasks)) => {
                for (task, answer) in tasks.into_iter().zip(answers) {
                    let one = self.create(vec![task]).await;
                    self.answer(one.map_err(|e| refusal(&e)).and_then(only), answer);
                }
            }
            (Err(error), _) => {
                let refusal = refusal(&error);
                for answer in answers {
                    self.answer(Err(refusal), answer);
                }
            }
        }
    }

    async fn create(&self, tasks: Vec<NewTask>) -> Result<Vec<Created>, StoreError> {
        let created = self.store.create(tasks, self.owner).await;
        self.ledger.learn(&created);
        if created.is_ok() {
            fault::reach(Point::AfterCommit);
        }
        created
    }

    fn answer(&self, created: Result<Created, NotAccepted>, answer: oneshot::Sender<Answer>) {
        let accepted = created.map(|created| match created {
            Created::New(task) => {
                self.metrics.accepted.inc();
                let (told, sent) = oneshot::channel();
                self.relay.hand_over(Due {
                    task: task.clone(),
                    told: Some(told),
                });
                let task = Box::new(task);
                Accepted::New { task, sent }
            }
            Created::Same(task) => {
                self.metrics.replayed.inc();
                Accepted::Same(Box::new(task))
            }
            Created::Reused => Accepted::Reused,
        });
        // A client that went away has no use for the answer; its task is stored all the same.
        drop(answer.send(accepted));
    }
}

/// The meaning of a failed transaction. A refusal is logged here and nowhere else, an absence was.
fn refusal(error: &StoreError) -> NotAccepted {
    match error {
        StoreError::Unavailable(_) => NotAccepted::Unavailable,
        _ => {
            tracing::error!(error = %chain(error), "tasks were refused by the database");
            NotAccepted::Refused
        }
    }
}

fn only(created: Vec<Created>) -> Result<Created, NotAccepted> {
    created.into_iter().next().ok_or(NotAccepted::Refused)
}
