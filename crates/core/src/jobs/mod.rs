//! Jobs: one client asks the one server behind a datasource (a task type of `kind: job`), sees what
//! becomes of its own jobs, and nobody else's.
//!
//! Each datasource has two logs that only grow: what clients asked of the server (submits and
//! cancels), and how jobs changed. Both are numbered without gaps, and their times strictly rise, so
//! that a reader who knows the last number it saw misses nothing and sees nothing twice.

mod served;
mod status;

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, Utc};

pub use served::outcome_of;
pub use status::{JobStatus, Move, judge};

use crate::account::ClientScope;
use crate::callback::CallbackUrl;
use crate::id::{TaskId, TaskUid};
use crate::name::{Client, Identifier, TaskType};
use crate::store::StoreError;

/// The longest `error` of a job, in bytes.
pub const MAX_ERROR_BYTES: usize = 4096;
/// The changes of one job before only a final status is taken. A job that goes back and forth between
/// two states must not fill the log.
pub const MAX_CHANGES: u32 = 200;
/// Jobs that are forgotten in one transaction.
pub const FORGET: u32 = 20;

/// A job as a client asks for it, validated, not yet stored.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// Who is asked.
    pub datasource: TaskType,
    /// Who asks.
    pub client: Client,
    /// The client's own name of the job, unique per datasource.
    pub job: Identifier,
    /// What is asked, JSON, byte for byte as it was sent; `None`: nothing was sent along.
    pub request: Option<Bytes>,
    /// The task that will perform it, if its server is a worker; `None`: its server speaks HTTP.
    pub task: Option<TaskUid>,
    /// Where its end is told.
    pub callback_url: Option<CallbackUrl>,
}

/// How a job stands: the part of it that its server decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its status.
    pub status: JobStatus,
    /// The server's answer, JSON; only when complete.
    pub response: Option<Bytes>,
    /// What went wrong.
    pub error: Option<String>,
}

impl Outcome {
    /// A status by itself.
    #[must_use]
    pub const fn of(status: JobStatus) -> Self {
        Self {
            status,
            response: None,
            error: None,
        }
    }
}

/// A job as its client sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Who was asked.
    pub datasource: TaskType,
    /// The client's own name of the job.
    pub job: Identifier,
    /// Who asked.
    pub client: Client,
    /// How it stands.
    pub outcome: Outcome,
}

/// Which log of a datasource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Log {
    /// What clients asked of the server.
    Requests,
    /// How jobs changed.
    Changes,
}

/// One entry of the log of requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Its number within the datasource, from 1.
    pub sequence: u64,
    /// When, by the database's clock; later than the entry before.
    pub at: DateTime<Utc>,
    /// The job.
    pub job: Identifier,
    /// Who asks.
    pub client: Client,
    /// What is asked.
    pub asked: Asked,
}

/// What a client asks of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Asked {
    /// To do a job, with its request.
    Submit(Option<Bytes>),
    /// To give it up.
    Cancel,
}

/// One entry of the log of changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Its number within the datasource, from 1.
    pub sequence: u64,
    /// When, by the database's clock; later than the entry before.
    pub at: DateTime<Utc>,
    /// The job, as it was from then on.
    pub job: Job,
}

/// An entry that an operation added to a log, for those who wait for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    /// Of which datasource.
    pub datasource: TaskType,
    /// In which log.
    pub log: Log,
    /// Its number.
    pub sequence: u64,
    /// Whose job it is about.
    pub client: Client,
}

/// What an operation answers, and what it added to the logs.
#[derive(Debug, Clone)]
pub struct Marked<T> {
    /// The answer.
    pub answer: T,
    /// The entries, in their order.
    pub marks: Vec<Mark>,
}

/// What became of a submit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Submitted {
    /// Stored.
    New(Job),
    /// The client asked for the same before; nothing changed.
    Same(Job),
    /// The name stands for another job; nothing changed.
    Reused,
}

/// What became of a cancel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cancelled {
    /// The server is asked, now or earlier; or the job was over before. The job as it stands.
    Asked(Job),
    /// It is another client's; nothing changed.
    Foreign,
    /// There is no such job.
    Unknown,
}

/// What a server says of a job.
#[derive(Debug, Clone)]
pub struct Update {
    /// Of which datasource.
    pub datasource: TaskType,
    /// Of which job.
    pub job: Identifier,
    /// Whose job it takes it for; `None`: it does not say.
    pub client: Option<Client>,
    /// How it stands now.
    pub outcome: Outcome,
}

/// What became of an update.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Updated {
    /// Stored.
    Moved(Job),
    /// It stood so before; nothing changed.
    Same(Job),
    /// Not legal from where it stands; nothing changed.
    Illegal(Job),
    /// It has changed too often, see [`MAX_CHANGES`]; nothing changed.
    TooOften(Job),
    /// It is not the job of the client that was named; nothing changed.
    Foreign,
    /// There is no such job.
    Unknown,
}

/// An open job whose server is a worker and that is to be looked at, see [`Jobs::unfollowed`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfollowed {
    /// The job.
    pub job: Identifier,
    /// What is to be done.
    pub due: Due,
}

/// What is to be done with a job whose server is a worker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// Its task is to be stored.
    Perform {
        /// The task's identity.
        task: TaskUid,
        /// Who asks.
        client: Client,
        /// What is asked.
        request: Option<Bytes>,
    },
    /// Its task could not be stored in time, and is not to be any more.
    GiveUp,
    /// Its client has given it up; its task is to be cancelled.
    Cancel(TaskId),
    /// Its response has moved on, and the job is to follow it.
    Follow,
}

/// Where a page of a log begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// With the entry after this number.
    After(u64),
    /// With the first entry of this time or later.
    Time(DateTime<Utc>),
}

/// How much of a log is read at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bound {
    /// Entries, at least 1, at most [`Bound::MAX_ENTRIES`].
    pub entries: u32,
    /// Bytes of their requests or responses; the first entry is read however long it is.
    pub bytes: u64,
}

impl Bound {
    /// The most entries.
    pub const MAX_ENTRIES: u32 = 1000;

    /// The same within its limits.
    #[must_use]
    pub fn sane(self) -> Self {
        Self {
            entries: self.entries.clamp(1, Self::MAX_ENTRIES),
            ..self
        }
    }
}

/// A page of a log.
#[derive(Debug, Clone)]
pub struct Page<T> {
    /// The entries, in their order.
    pub entries: Vec<T>,
    /// Whether more follow.
    pub is_more: bool,
}

/// The last numbers of a datasource's logs; 0: there is no entry yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Heads {
    /// Of the requests.
    pub requests: u64,
    /// Of the changes.
    pub changes: u64,
}

impl Heads {
    /// The last number of one of them.
    #[must_use]
    pub const fn of(&self, log: Log) -> u64 {
        match log {
            Log::Requests => self.requests,
            Log::Changes => self.changes,
        }
    }
}

/// The jobs of a database. Every operation is one transaction, as in
/// [`Store`](crate::store::Store); all times are the database's clock.
#[async_trait]
pub trait Jobs: Send + Sync + 'static {
    // For clients.

    /// Stores a job, and the request for its server.
    async fn submit(&self, job: NewJob) -> Result<Marked<Submitted>, StoreError>;

    /// One job, if the scope sees it, and where its end is told.
    async fn job(
        &self,
        scope: &ClientScope,
        datasource: &TaskType,
        job: &Identifier,
    ) -> Result<Option<(Job, Option<CallbackUrl>)>, StoreError>;

    /// Asks the server of a job to give it up, once. The job's status is the server's to change.
    async fn cancel(
        &self,
        scope: &ClientScope,
        datasource: &TaskType,
        job: &Identifier,
    ) -> Result<Marked<Cancelled>, StoreError>;

    /// How a client's jobs changed, in order, after a number.
    async fn changes(
        &self,
        datasource: &TaskType,
        client: &Client,
        after: u64,
        bound: Bound,
    ) -> Result<Page<Change>, StoreError>;

    // For servers.

    /// Moves a job, by the one table of [`JobStatus::may_become`].
    async fn update(&self, update: Update) -> Result<Marked<Updated>, StoreError>;

    /// What clients asked, in order.
    async fn requests(
        &self,
        datasource: &TaskType,
        from: From,
        bound: Bound,
    ) -> Result<Page<Request>, StoreError>;

    /// The newest request; `None`: there is none (any more).
    async fn latest(&self, datasource: &TaskType) -> Result<Option<Request>, StoreError>;

    // For jobs whose server is a worker.

    /// Open jobs of a datasource with a [`NewJob::task`] with which something is to be done, at most
    /// `limit`. A task is stored only for jobs that are not older than `within`.
    async fn unfollowed(
        &self,
        datasource: &TaskType,
        within: Duration,
        limit: u32,
    ) -> Result<Vec<Unfollowed>, StoreError>;

    /// Lets jobs follow the response of their task, by legal moves only (see [`outcome_of`]). Jobs
    /// without one, and those that stand so already, stay as they are.
    async fn follow(
        &self,
        datasource: &TaskType,
        jobs: Vec<Identifier>,
    ) -> Result<Marked<()>, StoreError>;

    // For those who wait.

    /// The last numbers of the logs of datasources, in their order.
    async fn heads(&self, datasources: &[TaskType]) -> Result<Vec<Heads>, StoreError>;

    // For keeping the ledger small.

    /// Forgets jobs that have been final for so long, oldest first, with what the logs say of them;
    /// at most `limit`. Returns how many, and whether there are more. Their names are free again; the
    /// numbers of the logs go on.
    async fn forget(&self, final_for: Duration, limit: u32) -> Result<(u32, bool), StoreError>;
}
