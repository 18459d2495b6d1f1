//! The journal: what this worker has taken upon itself and what came of it, on its own disk.
//!
//! One file a worker (task type, endpoint), locked, append-only, written by one thread of its own:
//! whoever waits for a write shares the next sync with all others that wait (group commit). Nothing
//! is acknowledged, started or reported before the record that says so is on the disk. If the disk
//! refuses, nothing new is claimed or started.

mod compact;
mod file;
mod frame;
mod index;
mod record;
mod synced;
#[cfg(test)]
mod tests;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tasker_core::{EndpointName, JournalUid, TaskType, TaskUid};
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, mpsc, oneshot};

pub(crate) use index::{Index, Known, Phase};
pub(crate) use record::{End, HadBefore, Record, Released, Start, Tombstone, unix_ms};

/// How many requests may wait for the writer; more wait outside.
const WAITING: usize = 1024;

/// Why a journal cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
pub enum JournalError {
    /// Another worker with the same task type and endpoint has it open.
    #[error("another worker of the same task type and endpoint holds {}", path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The middle of the file is damaged, or it is of an unknown version. A torn end is no reason: it
    /// is cut off. Move the file away to start with a new journal; the ledger then learns that this
    /// endpoint no longer knows what it ran.
    #[error("{} is damaged at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The journal.
        path: PathBuf,
        /// Where.
        offset: u64,
        /// What is wrong.
        what: String,
    },
    /// The file says that it belongs to another worker.
    #[error("{} is the journal of {owner}", path.display())]
    Foreign {
        /// The journal.
        path: PathBuf,
        /// `<type>.<endpoint>` of its owner.
        owner: String,
    },
    /// The disk refuses.
    #[error("{}: {source}", path.display())]
    Io {
        /// What could not be read or written.
        path: PathBuf,
        /// Why.
        source: Arc<io::Error>,
    },
    /// The worker is stopping.
    #[error("the journal is closed")]
    Closed,
}

impl JournalError {
    fn io(path: &Path, source: io::Error) -> Self {
        Self::Io {
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// What is asked of the writer.
enum Request {
    Write {
        records: Vec<Record>,
        done: oneshot::Sender<Result<(), JournalError>>,
    },
    Note(Record),
    Task {
        uid: TaskUid,
        reply: oneshot::Sender<Result<Option<Bytes>, JournalError>>,
    },
    Ends {
        uids: Vec<TaskUid>,
        reply: oneshot::Sender<Vec<Option<End>>>,
    },
}

/// An open journal. Dropping it ends its thread and gives the lock back.
#[derive(Debug)]
pub(crate) struct Journal {
    requests: mpsc::Sender<Request>,
    index: Arc<Mutex<Index>>,
    changed: Arc<Notify>,
    uid: JournalUid,
}

impl Journal {
    /// Opens or makes the journal of a worker. Blocks: reads the whole file.
    pub(crate) fn open(
        dir: &Path,
        task_type: &TaskType,
        endpoint: &EndpointName,
    ) -> Result<Self, JournalError> {
        let opened = file::JournalFile::open(dir, task_type, endpoint)?;
        Ok(Self::start(opened))
    }

    fn start(opened: file::Opened) -> Self {
        let (requests, inbox) = mpsc::channel(WAITING);
        let index = Arc::new(Mutex::new(opened.index));
        let changed = Arc::new(Notify::new());
        let uid = opened.file.head().journal;
        let writer = writer::Writer {
            file: opened.file,
            index: Arc::clone(&index),
            changed: Arc::clone(&changed),
            is_broken: false,
            notes: Vec::new(),
        };
        // Ends by itself when the last sender is gone.
        std::thread::spawn(move || writer.work(inbox));
        Self {
            requests,
            index,
            changed,
            uid,
        }
    }

    /// The journal's identity.
    pub(crate) const fn uid(&self) -> JournalUid {
        self.uid
    }

    /// Looks something up. Never waits for the disk.
    pub(crate) fn peek<T>(&self, look: impl FnOnce(&Index) -> T) -> T {
        look(&self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What is known of a task.
    pub(crate) fn known(&self, uid: TaskUid) -> Option<Known> {
        self.peek(|index| index.get(uid).cloned())
    }

    /// Completes after the next write, counted from this call.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// Writes records in this order, all on the disk when it returns.
    pub(crate) async fn write(&self, records: Vec<Record>) -> Result<(), JournalError> {
        if records.is_empty() {
            return Ok(());
        }
        let (done, written) = oneshot::channel();
        self.ask(Request::Write { records, done }).await?;
        written.await.map_err(|_| JournalError::Closed)?
    }

    /// Writes a record together with the next write that somebody waits for. Losing it must do no
    /// harm.
    pub(crate) fn note(&self, record: Record) {
        // A full queue loses it, which does no harm.
        let _lost = self.requests.try_send(Request::Note(record)).is_err();
    }

    /// The bytes of a claimed task; `None` if it is not claimed (any more).
    pub(crate) async fn task(&self, uid: TaskUid) -> Result<Option<Bytes>, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Task { uid, reply }).await?;
        answer.await.map_err(|_| JournalError::Closed)?
    }

    /// What came of tasks, in the same order; `None` for those that have not ended. An end that cannot
    /// be read back is told without its answer: it must not hold back the others.
    pub(crate) async fn ends(&self, uids: Vec<TaskUid>) -> Result<Vec<Option<End>>, JournalError> {
        let (reply, answer) = oneshot::channel();
        self.ask(Request::Ends { uids, reply }).await?;
        answer.await.map_err(|_| JournalError::Closed)
    }

    async fn ask(&self, request: Request) -> Result<(), JournalError> {
        self.requests
            .send(request)
            .await
            .map_err(|_| JournalError::Closed)
    }
}
