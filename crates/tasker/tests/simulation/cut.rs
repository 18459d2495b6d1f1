//! A process that can die without its threads: its lines to the broker and to the ledger are cut, so
//! that nothing it does has any effect, and nothing ever answers it.

use std::future::Future;

use async_trait::async_trait;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tasker_core::account::ClientScope;
use tasker_core::id::{ProcessId, TaskId, TaskUid};
use tasker_core::name::{Identifier, TaskType};
use tasker_core::purge::{PurgeOrder, Purgeable, Retention};
use tasker_core::state::TaskStatus;
use tasker_core::store::{
    Arrived, Ask, Changed, Created, Endpoint, HelloAnswer, Recorded, ResponseFilter, RetryOrder,
    Standing, Store, StoreError, TaskFilter, WorkerSign,
};
use tasker_core::task::{NewTask, Task, TaskHead, TaskResponse};
use tokio_util::sync::CancellationToken;

/// A line from one process to something that all share.
#[derive(Clone)]
pub(crate) struct Line<T> {
    pub(crate) far: T,
    pub(crate) cut: CancellationToken,
}

impl<T> Line<T> {
    /// Waits for an answer, or for ever if the line is cut meanwhile. What was asked for may have
    /// happened.
    pub(crate) async fn carry<A>(&self, answer: impl Future<Output = A>) -> A {
        if !self.cut.is_cancelled() {
            tokio::select! {
                biased;
                () = self.cut.cancelled() => {}
                answer = answer => return answer,
            }
        }
        std::future::pending().await
    }
}

/// The ledger as a process sees it, perhaps with a rule broken.
#[derive(Clone)]
pub(crate) struct Books {
    pub(crate) store: Arc<dyn Store>,
    pub(crate) runs: Arc<dyn tasker_core::runs::Runs>,
    pub(crate) broken: Option<Broken>,
}

/// A rule that a test breaks to see that it is noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody is asked about open rows.
    NobodyAsks,
    /// A lost journal is not noticed.
    JournalsAreTrusted,
}

type Settled = (Vec<(TaskUid, TaskStatus)>, bool);

macro_rules! pass {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)+) => {
        #[async_trait]
        impl Store for Line<Books> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, StoreError> {
                self.carry(self.far.store.$name($($arg),*)).await
            })+

            async fn hello(&self, sign: WorkerSign, fresh: bool) -> Result<HelloAnswer, StoreError> {
                let mut sign = sign;
                let is_trusted = self.far.broken == Some(Broken::JournalsAreTrusted);
                if is_trusted {
                    sign.journal = tasker_core::JournalUid(uuid::Uuid::nil());
                }
                let hello = self.far.store.hello(sign, fresh && !is_trusted);
                self.carry(hello).await
            }

            async fn take_asks(&self, limit: u32) -> Result<Vec<Ask>, StoreError> {
                if self.far.broken == Some(Broken::NobodyAsks) {
                    return Ok(Vec::new());
                }
                self.carry(self.far.store.take_asks(limit)).await
            }
        }
    };
}

pass! {
    create(batch: Vec<NewTask>, owner: ProcessId) -> Vec<Created>;
    task(scope: &ClientScope, task_type: &TaskType, identifier: &Identifier) -> Option<Task>;
    head(task: TaskId) -> Option<TaskHead>;
    tasks(filter: TaskFilter) -> Vec<TaskHead>;
    responses(task: TaskId, filter: ResponseFilter) -> Vec<TaskResponse>;
    standing(task: TaskId, page: ResponseFilter, missing: u32) -> Option<Standing>;
    cancel(task: TaskId, owner: ProcessId) -> Changed;
    retry(task: TaskId, order: RetryOrder) -> Changed;
    endpoints() -> Vec<Endpoint>;
    take_unsent(owner: ProcessId, limit: u32) -> Vec<Task>;
    mark_sent(sent: Vec<(TaskId, bool)>) -> ();
    record(batch: Vec<Arrived>) -> Recorded;
    heartbeats(signs: Vec<WorkerSign>) -> ();
    settle_due(limit: u32) -> Settled;
    presume_lost(limit: u32) -> Settled;
    now() -> DateTime<Utc>;
    purgeable(retention: Retention, after: Option<TaskId>, limit: u32) -> Purgeable;
    purge(order: PurgeOrder) -> Vec<TaskId>;
    sweep(limit: u32) -> (u32, bool);
}
