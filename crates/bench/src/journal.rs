//! The journal that all simulated endpoints of a process share: append-only, synced before anything is
//! answered, with group commit.
//!
//! Whoever appends while a sync is under way is in the next one; there is no timer. Each record says
//! whose it is, so that the file could be split into the journals that separate hosts would have. It
//! has no name in the file system and goes with the process: nobody resumes a simulated endpoint.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tasker_core::TaskUid;
use tokio::sync::{mpsc, oneshot};

use crate::error::BenchError;

/// How many appends may wait. Each is at most what one endpoint took at once.
const WAITING: usize = 4096;
/// The most that is written before a sync, so that the first of it does not wait for ever.
const GROUP_BYTES: usize = 16 << 20;

/// What a record says.
#[derive(Debug, Clone, Copy)]
#[repr(u8)]
pub(crate) enum Kind {
    /// The endpoint has the task, whose bytes follow.
    Claim = 1,
    /// It has run it.
    End = 2,
}

/// Adds a record to what is to be appended.
pub(crate) fn record(out: &mut Vec<u8>, endpoint: u32, kind: Kind, uid: TaskUid, body: &[u8]) {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    out.extend_from_slice(&length.to_le_bytes());
    out.push(kind as u8);
    out.extend_from_slice(&endpoint.to_le_bytes());
    out.extend_from_slice(uid.0.as_bytes());
    out.extend_from_slice(body);
}

/// Where a journal is written.
trait Disk: Send + 'static {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

struct Append {
    bytes: Vec<u8>,
    durable: oneshot::Sender<()>,
}

/// The journal.
#[derive(Debug, Clone)]
pub(crate) struct Journal {
    waiting: mpsc::Sender<Append>,
    syncs: Arc<AtomicU64>,
}

impl Journal {
    /// A new journal in a folder, which should be on a real disk.
    pub(crate) fn create(dir: &Path) -> Result<Self, BenchError> {
        let failed = |e: io::Error| BenchError::Journal(format!("{}: {e}", dir.display()));
        Self::on(tempfile::tempfile_in(dir).map_err(failed)?)
    }

    fn on(disk: impl Disk) -> Result<Self, BenchError> {
        let (waiting, appends) = mpsc::channel(WAITING);
        let syncs = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&syncs);
        // Syncing blocks. The thread ends with the last clone of the journal.
        std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || write(disk, appends, &counted))
            .map_err(|e| BenchError::Journal(e.to_string()))?;
        Ok(Self { waiting, syncs })
    }

    /// Appends records; returns when they are durable.
    pub(crate) async fn append(&self, bytes: Vec<u8>) -> Result<(), BenchError> {
        let (durable, is_durable) = oneshot::channel();
        let ended = || BenchError::Journal("a write or a sync failed".to_owned());
        let append = Append { bytes, durable };
        self.waiting.send(append).await.map_err(|_| ended())?;
        is_durable.await.map_err(|_| ended())
    }

    /// How often it was synced.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

/// Writes all that waits, syncs once, tells everybody; for ever. An error ends it, and with it every
/// append.
fn write(mut disk: impl Disk, mut appends: mpsc::Receiver<Append>, syncs: &AtomicU64) {
    let mut group = Vec::new();
    let mut told = Vec::new();
    while let Some(first) = appends.blocking_recv() {
        let mut next = Some(first);
        while let Some(append) = next {
            group.extend_from_slice(&append.bytes);
            told.push(append.durable);
            next = (group.len() < GROUP_BYTES)
                .then(|| appends.try_recv().ok())
                .flatten();
        }
        if disk.write(&group).and_then(|()| disk.sync()).is_err() {
            return;
        }
        syncs.fetch_add(1, Ordering::Relaxed);
        group.clear();
        for durable in told.drain(..) {
            // Whoever stopped waiting does not need to know.
            let _ = durable.send(());
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::sync::Mutex;
    use std::sync::mpsc as blocking;

    /// A disk whose syncs happen when the test lets them.
    struct Slow {
        written: Arc<Mutex<Vec<u8>>>,
        syncing: mpsc::UnboundedSender<()>,
        go: blocking::Receiver<io::Result<()>>,
    }

    impl Disk for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(())
        }

        fn sync(&mut self) -> io::Result<()> {
            self.syncing.send(()).unwrap();
            self.go.recv().unwrap()
        }
    }

    /// A journal on such a disk.
    pub(crate) struct Rig {
        pub(crate) journal: Journal,
        pub(crate) written: Arc<Mutex<Vec<u8>>>,
        /// A sync has begun.
        pub(crate) syncing: mpsc::UnboundedReceiver<()>,
        /// Lets it end.
        pub(crate) go: blocking::Sender<io::Result<()>>,
    }

    pub(crate) fn rig() -> Rig {
        let (syncing_sender, syncing) = mpsc::unbounded_channel();
        let (go, go_receiver) = blocking::channel();
        let written = Arc::default();
        let disk = Slow {
            written: Arc::clone(&written),
            syncing: syncing_sender,
            go: go_receiver,
        };
        Rig {
            journal: Journal::on(disk).unwrap(),
            written,
            syncing,
            go,
        }
    }

    #[tokio::test]
    async fn nothing_is_answered_before_it_is_synced() {
        let mut rig = rig();
        let journal = rig.journal.clone();
        let append = tokio::spawn(async move { journal.append(b"a".to_vec()).await });
        rig.syncing.recv().await.unwrap();
        assert_eq!(*rig.written.lock().unwrap(), b"a");
        assert!(!append.is_finished());
        rig.go.send(Ok(())).unwrap();
        append.await.unwrap().unwrap();
        assert_eq!(rig.journal.syncs(), 1);
    }

    #[tokio::test]
    async fn what_comes_during_a_sync_shares_the_next_one() {
        let mut rig = rig();
        let append = |byte: u8| {
            let journal = rig.journal.clone();
            tokio::spawn(async move { journal.append(vec![byte]).await })
        };
        let first = append(b'a');
        rig.syncing.recv().await.unwrap();
        let others: Vec<_> = (b'b'..=b'z').map(append).collect();
        while rig.journal.waiting.max_capacity() - rig.journal.waiting.capacity() < 25 {
            tokio::task::yield_now().await;
        }
        rig.go.send(Ok(())).unwrap();
        first.await.unwrap().unwrap();
        rig.syncing.recv().await.unwrap();
        assert!(others.iter().all(|append| !append.is_finished()));
        rig.go.send(Ok(())).unwrap();
        for append in others {
            append.await.unwrap().unwrap();
        }
        assert_eq!(rig.journal.syncs(), 2);
        assert_eq!(rig.written.lock().unwrap().len(), 26);
    }

    #[tokio::test]
    async fn a_failed_sync_is_never_answered_as_a_good_one() {
        let mut rig = rig();
        let journal = rig.journal.clone();
        let append = tokio::spawn(async move { journal.append(b"a".to_vec()).await });
        rig.syncing.recv().await.unwrap();
        rig.go.send(Err(io::Error::other("no disk"))).unwrap();
        assert!(append.await.unwrap().is_err());
        assert!(rig.journal.append(b"b".to_vec()).await.is_err());
        assert_eq!(rig.journal.syncs(), 0);
    }

    #[tokio::test]
    async fn a_journal_on_a_disk_counts_its_syncs() {
        let dir = tempfile::tempdir().unwrap();
        let journal = Journal::create(dir.path()).unwrap();
        let mut bytes = Vec::new();
        record(&mut bytes, 7, Kind::Claim, TaskUid::mint(), b"{}");
        assert_eq!(bytes.len(), 4 + 1 + 4 + 16 + 2);
        journal.append(bytes).await.unwrap();
        assert_eq!(journal.syncs(), 1);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
