//! Does each operation to the store and to the model, and compares what they answer and hold.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tasker_core::id::{JournalUid, TaskUid};
use tasker_core::retry::RetryPolicy;
use tasker_core::store::{Asked, Changed, Created, RetryOrder, Store, Timing};
use tasker_core::task::{Audience, NewTask};

use super::answers::{Done, Question, Settled, Stored};
use super::hearing::{FIRST_PAUSE_S, LONGEST_PAUSE_S};
use super::laws::Laws;
use super::operation::{ENDPOINTS, Operation, Wish, names};
use super::picture::Picture;
use crate::build::{endpoints, new_task};
use crate::store_suite::probe::sign;
use crate::store_suite::{LONG, Ledger};

/// When the clock of every case starts, in microseconds: the fraction shows what cuts it off.
const START_US: i64 = 1_900_000_000_123_456;

/// What a difference between store and model reads like.
pub(super) type Difference = String;

/// When a ledger writes rows of endpoints that were not heard of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    /// With their task.
    Early,
    /// When somebody looks at them. So that this makes a difference, the driver looks less often.
    Late,
}

/// In how many steps the driver looks once at a ledger that writes rows late.
const LOOK_EVERY: usize = 4;

/// The time spans of a model's ledger.
fn timing(rows: Rows) -> Timing {
    Timing {
        rows_after: match rows {
            Rows::Early => Duration::ZERO,
            Rows::Late => LONG,
        },
        ..Timing::default()
    }
}

fn at(us: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_micros(us).expect("a time of this century")
}

pub(super) fn same<T: PartialEq + Debug>(
    what: impl std::fmt::Display,
    store: &T,
    model: &T,
) -> Result<(), Difference> {
    if store == model {
        return Ok(());
    }
    Err(format!("{what}\n  store: {store:?}\n  model: {model:?}"))
}

/// A store and its model, under one clock.
pub(super) struct Driver {
    pub(super) store: Arc<dyn Store>,
    pub(super) model: Picture,
    clock: Arc<AtomicI64>,
    pub(super) laws: Laws,
    rows: Rows,
    steps: usize,
}

impl Driver {
    pub(super) async fn new(ledger: &dyn Ledger, rows: Rows) -> Self {
        let clock = Arc::new(AtomicI64::new(START_US));
        let told = Arc::clone(&clock);
        let store = ledger
            .open_told(
                timing(rows),
                Arc::new(move || at(told.load(Ordering::SeqCst))),
            )
            .await;
        Self {
            store,
            model: Picture::new(at(START_US), timing(rows)),
            clock,
            laws: Laws::new(rows == Rows::Early),
            rows,
            steps: 0,
        }
    }

    /// One step, and everything compared after it.
    pub(super) async fn step(&mut self, operation: &Operation) -> Result<(), Difference> {
        self.steps += 1;
        if self.rows == Rows::Late {
            // Whether a hello came after the task is told by the clock alone.
            self.pass(1);
        }
        self.apply(operation).await?;
        match self.rows {
            Rows::Late if !self.steps.is_multiple_of(LOOK_EVERY) => Ok(()),
            _ => self.look().await,
        }
    }

    /// Compares everything.
    pub(super) async fn look(&mut self) -> Result<(), Difference> {
        self.laws.check(&*self.store, &self.model).await
    }

    fn pass(&mut self, us: i64) {
        self.model.now = at(self.clock.fetch_add(us, Ordering::SeqCst) + us);
    }

    async fn apply(&mut self, operation: &Operation) -> Result<(), Difference> {
        match operation {
            Operation::Create { wishes, owner } => self.create(wishes, *owner).await,
            Operation::Take { owner, limit } => self.take(*owner, *limit).await,
            Operation::Mark(marks) => self.mark(marks).await,
            Operation::Report(said) => self.report(said).await,
            Operation::Hello {
                endpoint,
                start,
                fresh,
            } => self.hello(*endpoint, *start, *fresh).await,
            Operation::Heartbeat(number) => {
                let name = ENDPOINTS[usize::from(*number)];
                let now = self.model.now;
                self.model.worker("worker", name).seen_at = now;
                let beat = sign(name, JournalUid::mint());
                self.store.heartbeats(vec![beat]).await.map_err(told)
            }
            Operation::Cancel { task, owner } => {
                let Some(task) = self.model.choose(*task) else {
                    return Ok(());
                };
                let owner = self.model.owners[usize::from(*owner)];
                let id = self.model.tasks[task].id;
                let changed = self.store.cancel(id, owner).await.map_err(told)?;
                same("cancel", &done(&changed), &self.model.cancel(task))
            }
            Operation::Retry {
                task,
                states,
                endpoints: bits,
                wait_s,
            } => {
                let Some(task) = self.model.choose(*task) else {
                    return Ok(());
                };
                let chosen = bits.map(names);
                let order = RetryOrder {
                    states: states.clone(),
                    endpoints: chosen.as_deref().map(endpoints),
                    wait_s: *wait_s,
                };
                let id = self.model.tasks[task].id;
                let changed = self.store.retry(id, order).await.map_err(told)?;
                let expected = self.model.retry(task, states, chosen.as_deref(), *wait_s);
                if matches!(expected, Done::Changed(_)) {
                    self.laws.retried(self.model.tasks[task].uid);
                }
                same("retry", &done(&changed), &expected)
            }
            Operation::Settle { limit } => {
                let mut settled = Settled::new();
                loop {
                    let (more, is_more) = self.store.settle_due(*limit).await.map_err(told)?;
                    settled.extend(more);
                    if !is_more {
                        break;
                    }
                }
                same_settled("settle_due", settled, self.model.settle_due())?;
                // Nothing is settled and due.
                let again = self.store.settle_due(100).await.map_err(told)?;
                same("settle_due again", &again, &(Settled::new(), false))
            }
            Operation::Presume { limit } => {
                let mut settled = Settled::new();
                loop {
                    let (more, is_more) = self.store.presume_lost(*limit).await.map_err(told)?;
                    settled.extend(more);
                    if !is_more {
                        break;
                    }
                }
                same_settled("presume_lost", settled, self.model.presume_lost())
            }
            Operation::Ask { limit } => self.ask(*limit).await,
            Operation::Pass(seconds) => {
                self.pass(i64::from(*seconds) * 1_000_000);
                let now = self.store.now().await.map_err(told)?;
                same("now", &now, &self.model.now)
            }
        }
    }

    async fn create(&mut self, wishes: &[Wish], owner: u8) -> Result<(), Difference> {
        let batch: Vec<NewTask> = wishes.iter().map(new).collect();
        let uids: Vec<TaskUid> = batch.iter().map(|task| task.uid).collect();
        let owner = self.model.owners[usize::from(owner)];
        let created = self.store.create(batch, owner).await.map_err(told)?;
        same("create: answers", &created.len(), &wishes.len())?;
        for ((wish, uid), created) in wishes.iter().zip(uids).zip(&created) {
            let expected = self.model.create(wish, uid);
            let (got, task) = match created {
                Created::New(task) => (Stored::New, Some(task)),
                Created::Same(task) => (Stored::Same, Some(task)),
                Created::Reused => (Stored::Reused, None),
            };
            same(format!("create {wish:?}"), &got, &expected)?;
            let known = self
                .model
                .tasks
                .iter_mut()
                .find(|known| known.identifier == wish.identifier)
                .ok_or("the model lost a task")?;
            if let Some(task) = task {
                same("create: the uid", &task.head.uid, &known.uid)?;
                if got == Stored::New {
                    known.id = task.head.id;
                }
                same("create: the id", &task.head.id, &known.id)?;
            }
        }
        self.model.tasks.sort_by_key(|task| task.id);
        Ok(())
    }

    async fn take(&mut self, owner: u8, limit: u32) -> Result<(), Difference> {
        let owner = self.model.owners[usize::from(owner)];
        let taken = self.store.take_unsent(owner, limit).await.map_err(told)?;
        let mut taken: Vec<TaskUid> = taken.into_iter().map(|task| task.head.uid).collect();
        let mut expected = self.model.take_unsent(limit as usize);
        taken.sort_unstable();
        expected.sort_unstable();
        same("take_unsent", &taken, &expected)
    }

    async fn mark(&mut self, marks: &[(u8, bool)]) -> Result<(), Difference> {
        let mut sent = Vec::new();
        for (task, is_cancel) in marks {
            if let Some(task) = self.model.choose(*task) {
                // Nobody confirms the cancel of a task that was not cancelled.
                let is_cancel = *is_cancel && self.model.tasks[task].cancelled_at.is_some();
                sent.push((self.model.tasks[task].id, is_cancel));
                self.model.mark_sent(task, is_cancel);
            }
        }
        self.store.mark_sent(sent).await.map_err(told)
    }

    async fn ask(&mut self, limit: u32) -> Result<(), Difference> {
        if self.rows == Rows::Late {
            self.look().await?;
        }
        let mut questions = Vec::new();
        loop {
            let asks = self.store.take_asks(limit).await.map_err(told)?;
            if asks.is_empty() {
                break;
            }
            same("take_asks: at most", &(asks.len() <= limit as usize), &true)?;
            for ask in asks {
                let (uid, attempt) = match ask.what {
                    Asked::Cancel(entry) => (entry.uid, None),
                    Asked::Entry { attempt, task } => {
                        let wire = tasker_core::wire::WireTask::parse(&task);
                        (wire.map_err(|e| e.to_string())?.uid, Some(attempt))
                    }
                };
                questions.push(Question {
                    uid,
                    endpoint: ask.endpoint.as_str().to_owned(),
                    attempt,
                });
            }
        }
        let mut expected = self.model.take_asks();
        questions.sort_unstable();
        expected.sort_unstable();
        same("take_asks", &questions, &expected)?;
        self.laws.asked(&self.model, &questions)
    }
}

pub(super) fn told(error: tasker_core::store::StoreError) -> Difference {
    format!("the store failed: {error:?}")
}

fn done(changed: &Changed) -> Done {
    match changed {
        Changed::Changed(_, count) => Done::Changed(*count),
        // The model purges nothing: to it a task that is gone is as wrong as an illegal change.
        Changed::Illegal(_) | Changed::Gone => Done::Illegal,
    }
}

pub(super) fn same_settled(
    what: &str,
    mut store: Settled,
    mut model: Settled,
) -> Result<(), Difference> {
    store.sort_unstable();
    model.sort_unstable();
    same(format!("settled by {what}"), &store, &model)
}

/// The task of a wish.
fn new(wish: &Wish) -> NewTask {
    let listed = match wish.audience {
        Audience::Subscribed => Vec::new(),
        Audience::Listed | Audience::Everybody => names(wish.listed),
    };
    NewTask {
        audience: wish.audience,
        body_hash: [wish.form; 32],
        run_policy: wish.run_policy,
        retry: RetryPolicy {
            max_attempts: wish.max_attempts,
            backoff_s: FIRST_PAUSE_S,
            backoff_max_s: LONGEST_PAUSE_S,
        },
        timeout_s: wish.timeout_s,
        expires_in_s: wish.expires_in_s,
        wait_s: wish.wait_s,
        ..new_task(&format!("t{}", wish.identifier), &listed)
    }
}
