//! A ledger that fails on command.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tasker_core::account::ClientScope;
use tasker_core::purge::{PurgeOrder, Purgeable, Retention};
use tasker_core::store::{
    Arrived, Ask, Changed, Created, Endpoint, HelloAnswer, Recorded, ResponseFilter, RetryOrder,
    Standing, Store, StoreError, TaskFilter, WorkerSign,
};
use tasker_core::task::{NewTask, Task, TaskHead, TaskResponse};
use tasker_core::{Identifier, ProcessId, TaskId, TaskStatus, TaskType, TaskUid};

/// The error text that no client may ever see.
pub(crate) const SECRET: &str = "Access denied for user 'tasker'@'10.0.0.7'";
/// A report with this error text is refused.
pub(crate) const POISON: &str = "poison";

/// A ledger and the ways in which it fails.
pub(crate) struct FaultyStore {
    inner: Arc<dyn Store>,
    /// Every operation fails.
    pub(crate) away: AtomicBool,
    /// Transactions that store tasks do not end while this is held.
    pub(crate) slow: tokio::sync::Mutex<()>,
    /// Transactions that store tasks, and tasks in the greatest of them.
    pub(crate) creates: AtomicUsize,
    pub(crate) greatest: AtomicUsize,
    /// Tasks with this identifier are refused.
    pub(crate) refused: &'static str,
}

impl FaultyStore {
    pub(crate) fn new(inner: Arc<dyn Store>) -> Self {
        Self {
            inner,
            away: AtomicBool::new(false),
            slow: tokio::sync::Mutex::new(()),
            creates: AtomicUsize::new(0),
            greatest: AtomicUsize::new(0),
            refused: "refused-by-the-ledger",
        }
    }

    pub(crate) fn set_away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }

    fn there(&self) -> Result<&Arc<dyn Store>, StoreError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable(SECRET.into()));
        }
        Ok(&self.inner)
    }
}

fn refused(operation: &'static str) -> StoreError {
    StoreError::Refused {
        operation,
        source: SECRET.into(),
    }
}

type Settled = (Vec<(TaskUid, TaskStatus)>, bool);

#[async_trait]
impl Store for FaultyStore {
    async fn create(
        &self,
        batch: Vec<NewTask>,
        owner: ProcessId,
    ) -> Result<Vec<Created>, StoreError> {
        let inner = self.there()?;
        if batch
            .iter()
            .any(|task| task.identifier.as_str() == self.refused)
        {
            return Err(refused("create"));
        }
        self.creates.fetch_add(1, Ordering::SeqCst);
        self.greatest.fetch_max(batch.len(), Ordering::SeqCst);
        drop(self.slow.lock().await);
        inner.create(batch, owner).await
    }
    async fn task(
        &self,
        scope: &ClientScope,
        task_type: &TaskType,
        identifier: &Identifier,
    ) -> Result<Option<Task>, StoreError> {
        self.there()?.task(scope, task_type, identifier).await
    }
    async fn head(&self, task: TaskId) -> Result<Option<TaskHead>, StoreError> {
        self.there()?.head(task).await
    }
    async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskHead>, StoreError> {
        self.there()?.tasks(filter).await
    }
    async fn responses(
        &self,
        task: TaskId,
        filter: ResponseFilter,
    ) -> Result<Vec<TaskResponse>, StoreError> {
        self.there()?.responses(task, filter).await
    }
    async fn standing(
        &self,
        task: TaskId,
        page: ResponseFilter,
        missing: u32,
    ) -> Result<Option<Standing>, StoreError> {
        self.there()?.standing(task, page, missing).await
    }
    async fn cancel(&self, task: TaskId, owner: ProcessId) -> Result<Changed, StoreError> {
        self.there()?.cancel(task, owner).await
    }
    async fn retry(&self, task: TaskId, order: RetryOrder) -> Result<Changed, StoreError> {
        self.there()?.retry(task, order).await
    }
    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError> {
        self.there()?.endpoints().await
    }
    async fn take_unsent(&self, owner: ProcessId, limit: u32) -> Result<Vec<Task>, StoreError> {
        self.there()?.take_unsent(owner, limit).await
    }
    async fn mark_sent(&self, sent: Vec<(TaskId, bool)>) -> Result<(), StoreError> {
        self.there()?.mark_sent(sent).await
    }
    async fn record(&self, batch: Vec<Arrived>) -> Result<Recorded, StoreError> {
        let inner = self.there()?;
        if batch
            .iter()
            .any(|arrived| arrived.report.errmsg.as_deref() == Some(POISON))
        {
            return Err(refused("record"));
        }
        inner.record(batch).await
    }
    async fn hello(&self, sign: WorkerSign, fresh: bool) -> Result<HelloAnswer, StoreError> {
        self.there()?.hello(sign, fresh).await
    }
    async fn heartbeats(&self, signs: Vec<WorkerSign>) -> Result<(), StoreError> {
        self.there()?.heartbeats(signs).await
    }
    async fn settle_due(&self, limit: u32) -> Result<Settled, StoreError> {
        self.there()?.settle_due(limit).await
    }
    async fn presume_lost(&self, limit: u32) -> Result<Settled, StoreError> {
        self.there()?.presume_lost(limit).await
    }
    async fn take_asks(&self, limit: u32) -> Result<Vec<Ask>, StoreError> {
        self.there()?.take_asks(limit).await
    }
    async fn now(&self) -> Result<DateTime<Utc>, StoreError> {
        self.there()?.now().await
    }
    async fn purgeable(
        &self,
        retention: Retention,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Purgeable, StoreError> {
        self.there()?.purgeable(retention, after, limit).await
    }
    async fn purge(&self, order: PurgeOrder) -> Result<Vec<TaskId>, StoreError> {
        self.there()?.purge(order).await
    }
    async fn sweep(&self, limit: u32) -> Result<(u32, bool), StoreError> {
        self.there()?.sweep(limit).await
    }
}
