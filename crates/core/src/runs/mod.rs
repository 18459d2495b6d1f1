//! Runs: numbered tasks that any number of workers pull. The port, and what a claim, a change and a
//! restart make of a task, as pure functions.
//!
//! A task has no row until somebody touches it: a run knows the lowest number that was never handed
//! out, so a run of 10^9 tasks is one row. A restart touches no task either: it raises the run's
//! epoch, and what an older epoch wrote counts as waiting.

mod task;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

use crate::account::ClientScope;
use crate::id::RunUid;
use crate::name::{Client, Identifier};
use crate::store::StoreError;
pub use task::{Lease, NotHeld, RunTask, RunTaskChange, RunTaskState};

/// The most tasks of a run.
pub const MAX_RUN_TASKS: u32 = 1_000_000_000;
/// The most payloads that a run may be given one by one.
pub const MAX_RUN_PAYLOADS: usize = 10_000;

/// A run's number in SQL and in the original's JSON.
pub type RunId = i64;

/// What the tasks of a new run get as payload: JSON, byte for byte.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Payloads {
    /// Nothing.
    #[default]
    None,
    /// All the same.
    Same(Bytes),
    /// Each its own, in the order of their numbers.
    Each(Vec<Bytes>),
}

/// A run as a client asks for it.
#[derive(Debug, Clone)]
pub struct NewRun {
    /// Its identity.
    pub uid: RunUid,
    /// Who asks.
    pub client: Client,
    /// How many tasks it has, at most [`MAX_RUN_TASKS`].
    pub num_tasks: u32,
    /// What its tasks get; of [`Payloads::Each`] as many as tasks.
    pub payloads: Payloads,
}

/// A run as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Its number.
    pub id: RunId,
    /// Its identity.
    pub uid: RunUid,
    /// Who made it.
    pub client: Client,
    /// How many tasks it has, numbered from 0.
    pub num_tasks: u32,
    /// The lowest number that was never handed out since everything was last restarted.
    pub next_task: u32,
    /// How often it was restarted.
    pub epoch: u32,
    /// The epoch of its last restart as a whole.
    pub reset_epoch: u32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// How the tasks of a run stand.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Tasks that nobody has, touched or not.
    pub waiting: u32,
    /// Tasks that a worker has.
    pub computing: u32,
    /// Tasks that are done.
    pub done: u32,
    /// The mean of all tasks, 0 to 100.
    pub percent: f64,
}

/// A page of runs, newest first.
#[derive(Debug, Clone)]
pub struct RunFilter {
    /// Whose.
    pub scope: ClientScope,
    /// Only with a smaller number: the last one of the page before.
    pub before: Option<RunId>,
    /// How many at most.
    pub limit: u32,
    /// Whether their progress is counted.
    pub with_progress: bool,
}

/// Which run, and who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunKey {
    /// Whose runs are seen.
    pub scope: ClientScope,
    /// The run.
    pub uid: RunUid,
}

/// A task, and what is shown with it.
#[derive(Debug, Clone, PartialEq)]
pub struct ShownTask {
    /// Its run.
    pub run: RunId,
    /// The task as it counts now.
    pub task: RunTask,
    /// The name of the worker that has or had it.
    pub worker: Option<String>,
    /// What its worker gets, JSON.
    pub payload: Option<Bytes>,
}

/// Which tasks a restart takes back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Restart {
    /// All of them.
    Everything,
    /// Those that are not complete.
    Incomplete,
}

/// A worker that makes itself known.
#[derive(Debug, Clone)]
pub struct NewPuller {
    /// Who it works for.
    pub client: Client,
    /// The name that it gave itself.
    pub name: Identifier,
    /// Its host, as it calls it.
    pub hostname: String,
    /// Its process.
    pub pid: i64,
    /// SHA-256 of the token that it came with.
    pub session: Option<[u8; 32]>,
}

/// Workers that want a task of the same run.
#[derive(Debug, Clone)]
pub struct ClaimOrder {
    /// The run; the workers are the scope's client's.
    pub key: RunKey,
    /// One task for each.
    pub workers: Vec<Identifier>,
    /// How long they may be silent.
    pub lease: Lease,
}

/// What a worker gets.
#[derive(Debug, Clone, PartialEq)]
pub enum Claimed {
    /// A task. Nobody else gets it, unless it goes back first.
    Task(Box<ShownTask>),
    /// Every task is computing or done.
    NoMore,
    /// The worker has not made itself known.
    UnknownWorker,
}

/// Who wants to change a task.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Changer {
    /// Nobody in particular.
    Anybody,
    /// The worker of this name.
    Worker(Identifier),
    /// Whoever came with the token of this SHA-256: the worker that registered with it, if there is
    /// exactly one, otherwise nobody in particular.
    Session([u8; 32]),
}

/// A change of one task.
#[derive(Debug, Clone)]
pub struct UpdateOrder {
    /// The run; a worker is the scope's client's.
    pub key: RunKey,
    /// The task's number.
    pub number: u32,
    /// Who wants it.
    pub changer: Changer,
    /// What.
    pub change: RunTaskChange,
    /// How long the worker may be silent after it.
    pub lease: Lease,
}

/// What became of an [`UpdateOrder`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Updated {
    /// Written.
    Done,
    /// There is no such run.
    NoRun,
    /// The run has no such task.
    NoTask,
    /// The worker has not made itself known.
    UnknownWorker,
    /// The task is not the worker's (any more).
    NotHeld,
}

/// The runs of a ledger. Every operation is one transaction, as of [`Store`](crate::store::Store);
/// reads never write.
#[async_trait]
pub trait Runs: Send + Sync + 'static {
    /// Stores a run, all of whose tasks wait.
    async fn create_run(&self, run: NewRun) -> Result<Run, StoreError>;

    /// A page of runs, newest first.
    async fn runs(&self, filter: RunFilter) -> Result<Vec<(Run, Option<Progress>)>, StoreError>;

    /// One run and how it stands; without `with_progress`, only the run.
    async fn find_run(
        &self,
        key: RunKey,
        with_progress: bool,
    ) -> Result<Option<(Run, Progress)>, StoreError>;

    /// One task; `None`: there is no such run, `Some(None)`: it has no such task. Without `whole`,
    /// neither payload nor result nor the worker's name.
    async fn find_run_task(
        &self,
        key: RunKey,
        number: u32,
        whole: bool,
    ) -> Result<Option<Option<ShownTask>>, StoreError>;

    /// Takes tasks back, without touching them one by one. `false`: there is no such run.
    async fn restart_run(&self, key: RunKey, restart: Restart) -> Result<bool, StoreError>;

    /// Deletes a run: it ceases to exist at once; [`Runs::sweep_runs`] removes what is left of it.
    /// `false`: there is no such run.
    async fn delete_run(&self, key: RunKey) -> Result<bool, StoreError>;

    /// Removes at most `limit` tasks of deleted runs; tells whether there are more.
    async fn sweep_runs(&self, limit: u32) -> Result<bool, StoreError>;

    /// Makes a worker known and tells its number; the same name again is the same worker.
    async fn register(&self, worker: NewPuller) -> Result<i64, StoreError>;

    /// Hands out tasks, one a worker, in order: those that went back first, then the next numbers.
    /// `None`: there is no such run.
    async fn claim(&self, order: ClaimOrder) -> Result<Option<Vec<Claimed>>, StoreError>;

    /// Changes tasks, one after the other. One result an order.
    async fn update(&self, orders: Vec<UpdateOrder>) -> Result<Vec<Updated>, StoreError>;
}
