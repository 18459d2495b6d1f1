//! What a worker is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use tasker_core::{EndpointName, TaskType};

use crate::journal::JournalError;
use crate::last_try::LastTry;

/// The settings of one worker. A worker is one task type on one endpoint with one journal.
#[derive(Debug, Clone)]
pub struct WorkerSettings {
    /// The endpoint that this is.
    pub endpoint: EndpointName,
    /// The task type that it performs.
    pub task_type: TaskType,
    /// The folder of the journal, made (0700) if it does not exist. Several workers may share it:
    /// each has a file of its own.
    pub journal_dir: PathBuf,
    /// How many handlers run at once. At least 1.
    pub concurrency: usize,
    /// How many tasks may be claimed and unfinished. When full, nothing is consumed until half.
    pub window_tasks: usize,
    /// How many bytes of tasks may be claimed and unfinished.
    pub window_bytes: u64,
    /// How many messages may be delivered and unacknowledged.
    pub prefetch: u16,
    /// How often it says that it is alive.
    pub heartbeat: Duration,
    /// How long the first run after a start waits for the ledger's welcome. A `once` run on a journal
    /// that was never welcomed waits without limit.
    pub welcome_patience: Duration,
    /// How long running handlers may go on after the worker was told to stop.
    pub drain_deadline: Duration,
    /// How often a run of an idempotent task may be cut off by the death of its worker before the
    /// task is refused as POISON.
    pub poison_limit: u32,
    /// The place for a run that is the last before that. To be shared by all workers of a process.
    pub last_try: LastTry,
}

impl WorkerSettings {
    /// The settings of a worker with everything else as by default.
    #[must_use]
    pub fn new(
        endpoint: EndpointName,
        task_type: TaskType,
        journal_dir: impl Into<PathBuf>,
    ) -> Self {
        Self {
            endpoint,
            task_type,
            journal_dir: journal_dir.into(),
            concurrency: 1,
            window_tasks: 10_000,
            window_bytes: 256 << 20,
            prefetch: 32,
            heartbeat: Duration::from_secs(15),
            welcome_patience: Duration::from_secs(10),
            drain_deadline: Duration::from_secs(25),
            poison_limit: 3,
            last_try: LastTry::default(),
        }
    }
}

/// How a worker ended that was told to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drained {
    /// How many claimed tasks are left in the journal for the next start.
    pub left: usize,
}

/// Why a worker could not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// The journal cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A part of the worker ended by a panic. Nothing is lost: the journal resumes at the next start.
    #[error("the worker's {0} ended unexpectedly")]
    Part(&'static str),
}
