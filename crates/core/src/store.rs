//! The Store port: the ledger. One conformance suite (`tasker-testkit`) that every backend passes.
//!
//! Every operation is one transaction: it happened as a whole, durably, or not at all. Dropping the
//! future of an operation never leaves it half done. All times are the database's clock.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::account::ClientScope;
use crate::id::{BootId, JournalUid, ProcessId, TaskId, TaskUid};
use crate::name::{EndpointName, Identifier, TaskType};
pub use crate::ports::Ports;
use crate::purge::{PurgeOrder, Purgeable, Retention};
pub use crate::standing::{Standing, Tally};
use crate::state::{ResponseState, TaskStatus};
use crate::task::{NewTask, Task, TaskHead, TaskResponse};
use crate::wire::{CancelEntry, Had, Report};

/// Why an operation did not happen.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database cannot be reached or is too busy; the same operation may succeed later.
    #[error("the database is unavailable: {0}")]
    Unavailable(#[source] Source),
    /// The database refused it, and will again.
    #[error("the database refused {operation}")]
    Refused {
        /// The name of the operation.
        operation: &'static str,
        /// What the database said.
        #[source]
        source: Source,
    },
    /// A row holds what no release has written.
    #[error("row of {table} is corrupt: {what}")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// What is wrong with the row.
        what: String,
    },
}

/// The backend's own error, for the log.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// The time spans that the ledger works with.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// How long a task belongs to the relay of the process that stored or took it.
    pub lease: Duration,
    /// How long a response may stand still before a live endpoint is asked about it.
    pub ask_every: Duration,
    /// The silence after which an endpoint counts as offline and is no longer asked.
    pub offline_after: Duration,
    /// The silence after which contact with a run counts as lost.
    pub lost_after: Duration,
    /// How long after a task was stored the endpoints of its list that were not heard of get rows, if nobody
    /// looks at them before. Most answer sooner, and their first report makes the row. Zero: with the task.
    pub rows_after: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(10),
            ask_every: Duration::from_secs(60),
            offline_after: Duration::from_secs(45),
            lost_after: Duration::from_secs(300),
            rows_after: Duration::from_secs(5),
        }
    }
}

/// What became of one [`NewTask`].
#[derive(Debug, Clone)]
pub enum Created {
    /// Stored, and leased to the caller's relay.
    New(Task),
    /// The client asked for the same before; this is the stored task.
    Same(Task),
    /// The client used the identifier for something else before.
    Reused,
}

/// A page of tasks, newest first.
#[derive(Debug, Clone)]
pub struct TaskFilter {
    /// Whose.
    pub scope: ClientScope,
    /// Of which type.
    pub task_type: TaskType,
    /// Only of this status.
    pub status: Option<TaskStatus>,
    /// Only with a smaller id: the last one of the page before.
    pub before: Option<TaskId>,
    /// How many at most.
    pub limit: u32,
}

/// A page of responses, by id.
#[derive(Debug, Clone, Copy, Default)]
pub struct ResponseFilter {
    /// Only in this state.
    pub state: Option<ResponseState>,
    /// Only those whose endpoint has (had) the task, as in the original's answer.
    pub received_only: bool,
    /// Only with a greater id: the last one of the page before.
    pub after: Option<i64>,
    /// How many at most.
    pub limit: u32,
}

/// What to try again.
#[derive(Debug, Clone)]
pub struct RetryOrder {
    /// Responses in one of these states.
    pub states: Vec<ResponseState>,
    /// Only of these endpoints; `None`: of all.
    pub endpoints: Option<Vec<EndpointName>>,
    /// How long after the retry all its endpoints should have received it, in seconds.
    pub wait_s: u32,
}

/// What became of a cancel or a retry.
#[derive(Debug, Clone)]
pub enum Changed {
    /// Done; the task as it is now, and how many responses it touched.
    Changed(TaskHead, u32),
    /// Not legal in the task's present status; nothing changed.
    Illegal(TaskHead),
    /// There is no such task (any more: it was purged); nothing changed.
    Gone,
}

/// A report as it arrived.
#[derive(Debug, Clone)]
pub struct Arrived {
    /// The task type of the delivery's routing key.
    pub task_type: TaskType,
    /// The endpoint of the delivery's routing key.
    pub endpoint: EndpointName,
    /// What the worker says.
    pub report: Report,
}

/// What the recorder did with a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RecordVerdict {
    /// Written.
    Applied,
    /// Nothing new.
    Known,
    /// Of an older attempt or run; refused.
    Fenced,
    /// Of an attempt that was never ordered; refused.
    Unordered,
    /// Of a task that does not exist (any more); refused.
    UnknownTask,
    /// Of an endpoint that the task is not meant for, or of another task type; refused.
    Stranger,
}

impl RecordVerdict {
    /// One word for counters and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Applied => "applied",
            Self::Known => "known",
            Self::Fenced => "fenced",
            Self::Unordered => "unordered",
            Self::UnknownTask => "unknown_task",
            Self::Stranger => "stranger",
        }
    }
}

/// What became of a batch of reports.
#[derive(Debug, Clone, Default)]
pub struct Recorded {
    /// One verdict a report, in the order of the batch.
    pub verdicts: Vec<RecordVerdict>,
    /// Tasks that the batch settled.
    pub settled: Vec<(TaskUid, TaskStatus)>,
    /// How many failed attempts of the batch are followed by another one.
    pub retries: u32,
}

/// A worker that says who it is: at every start and reconnect, and with every heartbeat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerSign {
    /// The task type of the delivery's routing key.
    pub task_type: TaskType,
    /// The endpoint of the delivery's routing key.
    pub endpoint: EndpointName,
    /// Its journal.
    pub journal: JournalUid,
    /// Its start.
    pub boot: BootId,
}

/// The ledger's answer to a hello.
#[derive(Debug, Clone)]
pub struct HelloAnswer {
    /// The database's clock.
    pub now: DateTime<Utc>,
    /// Unexpired tasks for this endpoint that are cancelled.
    pub cancelled: Vec<CancelEntry>,
    /// For a fresh journal: unexpired tasks that the endpoint has already had, with the last attempt
    /// that must not be run again (for a row that got its next attempt now, the one before).
    pub had: Vec<Had>,
    /// Tasks that were settled because the old journal is gone.
    pub settled: Vec<(TaskUid, TaskStatus)>,
}

/// One open response, to be sent to its endpoint again.
#[derive(Debug, Clone)]
pub struct Ask {
    /// The endpoint's task type.
    pub task_type: TaskType,
    /// The endpoint.
    pub endpoint: EndpointName,
    /// What is sent.
    pub what: Asked,
}

/// What is sent with an [`Ask`].
#[derive(Debug, Clone)]
pub enum Asked {
    /// Run it or answer for it.
    Entry {
        /// The attempt of the row.
        attempt: u32,
        /// The task's bytes.
        task: Bytes,
    },
    /// Confirm that it is cancelled.
    Cancel(CancelEntry),
}

/// A worker as the ledger knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Its task type.
    pub task_type: TaskType,
    /// Its name.
    pub name: EndpointName,
    /// Its journal, from its last hello.
    pub journal: Option<JournalUid>,
    /// Its start, from its last hello.
    pub boot: Option<BootId>,
    /// When it was first heard of.
    pub first_seen_at: DateTime<Utc>,
    /// When it was last heard of.
    pub last_seen_at: DateTime<Utc>,
    /// Whether it has been heard of within [`Timing::offline_after`].
    pub is_online: bool,
}

/// The ledger.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    // For clients.

    /// Stores a batch of tasks, leased to `owner`. One result a task, in order; equal keys within the
    /// batch are judged like equal keys in the database. From then on every listed endpoint has a WAITING
    /// row for whoever looks; it is written when somebody does, or after [`Timing::rows_after`].
    async fn create(
        &self,
        batch: Vec<NewTask>,
        owner: ProcessId,
    ) -> Result<Vec<Created>, StoreError>;

    /// One task by its key, of the scope's client.
    async fn task(
        &self,
        scope: &ClientScope,
        task_type: &TaskType,
        identifier: &Identifier,
    ) -> Result<Option<Task>, StoreError>;

    /// Everything small of a task; `None`: there is no such task (any more).
    async fn head(&self, task: TaskId) -> Result<Option<TaskHead>, StoreError>;

    /// A page of tasks, newest first.
    async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskHead>, StoreError>;

    /// A page of a task's responses, by id.
    async fn responses(
        &self,
        task: TaskId,
        filter: ResponseFilter,
    ) -> Result<Vec<TaskResponse>, StoreError>;

    /// How a task stands: a page of its responses, and their tally with at most `missing` of those that
    /// are missing. `None`: there is no such task (any more).
    async fn standing(
        &self,
        task: TaskId,
        page: ResponseFilter,
        missing: u32,
    ) -> Result<Option<Standing>, StoreError>;

    /// Cancels a task: CANCELLED, its cancel due to be published by `owner`'s relay, its open rows
    /// due to be asked. Cancelling twice changes nothing. Illegal once DONE.
    async fn cancel(&self, task: TaskId, owner: ProcessId) -> Result<Changed, StoreError>;

    /// Gives responses a new attempt, with as many automatic ones after it as a new task has, and
    /// takes the task back to SENT, with a new life span if the old one is over. Illegal unless the
    /// task is DONE or INCOMPLETE. If no response qualifies, nothing changes and the count is 0.
    async fn retry(&self, task: TaskId, order: RetryOrder) -> Result<Changed, StoreError>;

    /// Every known worker, by type and name.
    async fn endpoints(&self) -> Result<Vec<Endpoint>, StoreError>;

    // For the relay.

    /// Leases tasks (and cancels, see [`TaskHead::cancel_requested_at`]) that are due to be
    /// published and belong to nobody, oldest first.
    async fn take_unsent(&self, owner: ProcessId, limit: u32) -> Result<Vec<Task>, StoreError>;

    /// Notes what the broker confirmed: the task itself (`false`; CREATED becomes SENT) or its cancel
    /// (`true`).
    async fn mark_sent(&self, sent: Vec<(TaskId, bool)>) -> Result<(), StoreError>;

    // For the recorder.

    /// Writes reports, fenced; orders the next attempt of failed ones by the task's
    /// [`RetryPolicy`](crate::retry::RetryPolicy); moves counters; settles tasks.
    async fn record(&self, batch: Vec<Arrived>) -> Result<Recorded, StoreError>;

    /// Notes a worker's start. A journal that differs from the one before turns its RECEIVED and
    /// RUNNING rows into INTERRUPTED (`once`) or the next attempt (`idempotent`), and what was presumed
    /// lost stands; all its open rows become due to be asked, but for those whose next attempt is not
    /// due yet. Processes that did not hear the hello ask about rows that are not written yet when they
    /// are. A hello of one of the last eight starts before the present one was overtaken: it is answered
    /// and changes nothing.
    async fn hello(&self, sign: WorkerSign, fresh: bool) -> Result<HelloAnswer, StoreError>;

    /// Notes that workers are alive.
    async fn heartbeats(&self, signs: Vec<WorkerSign>) -> Result<(), StoreError>;

    // For the scheduler.

    /// Acts on deadlines that have passed, for at most `limit` tasks: the end of the wait, and
    /// `expires_at`, which turns WAITING and RETRYING rows into EXPIRED. Returns what it settled, and
    /// whether more is due.
    async fn settle_due(
        &self,
        limit: u32,
    ) -> Result<(Vec<(TaskUid, TaskStatus)>, bool), StoreError>;

    /// Turns RECEIVED and RUNNING rows of endpoints that have been silent for `lost_after` and the
    /// task's `timeout_s` into INTERRUPTED, presumed; at most `limit` rows. Returns what it settled,
    /// and whether more is due. They are asked about all the same, as long as the task lives.
    async fn presume_lost(
        &self,
        limit: u32,
    ) -> Result<(Vec<(TaskUid, TaskStatus)>, bool), StoreError>;

    /// Takes rows of live endpoints that are due to be asked: open ones, and those that were presumed
    /// lost. They are due again after [`Timing::ask_every`].
    async fn take_asks(&self, limit: u32) -> Result<Vec<Ask>, StoreError>;

    /// The database's clock; also the check whether it answers.
    async fn now(&self) -> Result<DateTime<Utc>, StoreError>;

    /// Looks at the `limit` tasks after a number (`None`: the oldest ones) for those that may be
    /// purged.
    async fn purgeable(
        &self,
        retention: Retention,
        after: Option<TaskId>,
        limit: u32,
    ) -> Result<Purgeable, StoreError>;

    /// Forgets those of the tasks that may (still) be purged, and tells which: they cease to exist at
    /// once, their identifiers are free again, reports about them are of an unknown task. What is
    /// left of their responses nobody sees any more; [`Store::sweep`] removes it.
    async fn purge(&self, order: PurgeOrder) -> Result<Vec<TaskId>, StoreError>;

    /// Removes at most `limit` responses of purged tasks. Returns how many it removed, and whether
    /// there are more.
    async fn sweep(&self, limit: u32) -> Result<(u32, bool), StoreError>;
}
