//! The thread that owns the file.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tasker_core::TaskUid;
use tokio::sync::{Notify, mpsc, oneshot};

use super::compact;
use super::file::JournalFile;
use super::frame::Frame;
use super::index::{Index, Phase};
use super::record::{End, Record};
use super::{JournalError, Request};

/// How many bytes of records are written and synced at once.
const FRAME_BYTES: usize = 4 << 20;
/// How many requests are taken at once.
const BATCH: usize = 512;
/// How many notes are kept at most until the next write.
const NOTES: usize = 1024;

pub(super) struct Writer {
    pub(super) file: JournalFile,
    pub(super) index: Arc<Mutex<Index>>,
    pub(super) changed: Arc<Notify>,
    pub(super) is_broken: bool,
    /// Records that nobody waits for.
    pub(super) notes: Vec<Record>,
}

type Waiter = oneshot::Sender<Result<(), JournalError>>;

impl Writer {
    /// Serves requests until nobody can send any more.
    pub(super) fn work(mut self, mut inbox: mpsc::Receiver<Request>) {
        let mut batch = Vec::new();
        while inbox.blocking_recv_many(&mut batch, BATCH) > 0 {
            self.serve(std::mem::take(&mut batch));
        }
        let notes = std::mem::take(&mut self.notes);
        // Whatever goes wrong was logged; losing notes does no harm.
        let _lost = self.write(notes).is_err();
    }

    /// Writes of the batch first, together; then reads, which may be about what was just written.
    pub(super) fn serve(&mut self, batch: Vec<Request>) {
        let mut records = Vec::new();
        let mut waiters: Vec<Waiter> = Vec::new();
        let mut reads = Vec::new();
        // Every frame is synced before the next one is written, so notes do not make one of their
        // own: they ride with the next write.
        for request in batch {
            match request {
                Request::Write {
                    records: more,
                    done,
                } => {
                    records.extend(more);
                    waiters.push(done);
                }
                Request::Note(record) => self.notes.push(record),
                read => reads.push(read),
            }
        }
        if !records.is_empty() || self.notes.len() >= NOTES {
            records.append(&mut self.notes);
            let result = self.write(records);
            for waiter in waiters {
                // Nobody waits any more if the worker was told to stop meanwhile.
                let _gone = waiter.send(result.clone()).is_err();
            }
            self.changed.notify_waiters();
        }
        for read in reads {
            self.answer(read);
        }
    }

    fn write(&mut self, records: Vec<Record>) -> Result<(), JournalError> {
        let mut frame = Frame::new();
        let mut framed = Vec::new();
        for record in records {
            let span = frame.push(&record.encode());
            framed.push((record, span));
            if frame.len() >= FRAME_BYTES {
                self.append(std::mem::take(&mut frame), std::mem::take(&mut framed))?;
            }
        }
        if !frame.is_empty() {
            self.append(frame, framed)?;
        }
        if self.file.has_grown() {
            self.compact();
        }
        Ok(())
    }

    fn append(
        &mut self,
        frame: Frame,
        framed: Vec<(Record, super::frame::Span)>,
    ) -> Result<(), JournalError> {
        match self.file.append(frame) {
            Ok(offset) => {
                if std::mem::take(&mut self.is_broken) {
                    tracing::info!("the journal can be written again");
                }
                let mut index = lock(&self.index);
                for (record, mut span) in framed {
                    span.offset += offset;
                    index.apply(record, span);
                }
                Ok(())
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_broken, true) {
                    tracing::error!(
                        journal = %self.file.path().display(),
                        %error,
                        "the journal cannot be written; nothing is claimed or started until it can"
                    );
                }
                Err(JournalError::io(self.file.path(), error))
            }
        }
    }

    fn compact(&mut self) {
        let mut index = lock(&self.index);
        if let Some(now) = index.ledger_now() {
            index.prune(now);
        }
        if let Err(error) = self.file.compact(&mut index) {
            tracing::warn!(
                journal = %self.file.path().display(),
                %error,
                "the journal could not be written anew and goes on growing"
            );
        }
    }

    fn answer(&mut self, read: Request) {
        match read {
            Request::Task { uid, reply } => {
                let _gone = reply.send(self.task(uid)).is_err();
            }
            Request::Ends { uids, reply } => {
                let mut is_damaged = false;
                let mut end = |uid| self.end(uid, &mut is_damaged);
                let ends = uids.into_iter().map(&mut end).collect();
                let _gone = reply.send(ends).is_err();
                if is_damaged {
                    // A start would refuse the file as it is.
                    self.compact();
                }
            }
            Request::Write { .. } | Request::Note(_) => {}
        }
    }

    fn task(&self, uid: TaskUid) -> Result<Option<Bytes>, JournalError> {
        let span = lock(&self.index).get(uid).and_then(|known| known.claim);
        Ok(match span.map(|span| self.record(span)).transpose()? {
            Some(Record::Claim(claim)) => Some(
                Box::<str>::from(claim.task)
                    .into_boxed_bytes()
                    .into_vec()
                    .into(),
            ),
            _ => None,
        })
    }

    fn end(&self, uid: TaskUid, is_damaged: &mut bool) -> Option<End> {
        let known = lock(&self.index).get(uid)?.clone();
        let Phase::Ended(state) = known.phase else {
            return None;
        };
        match known.end.map(|span| self.record(span)) {
            Some(Ok(Record::End(end))) => return Some(end),
            Some(Err(error)) => {
                compact::tell_unreadable(self.file.path(), uid, &error);
                // Said once.
                lock(&self.index).lost_end(uid);
                *is_damaged = true;
            }
            Some(Ok(_)) | None => {}
        }
        Some(End::unreadable(uid, &known, state))
    }

    fn record(&self, span: super::frame::Span) -> Result<Record, JournalError> {
        let failed = |error| JournalError::io(self.file.path(), error);
        let json = self.file.read(span).map_err(failed)?;
        serde_json::from_slice(&json).map_err(|e| failed(e.into()))
    }
}

fn lock(index: &Mutex<Index>) -> MutexGuard<'_, Index> {
    index.lock().unwrap_or_else(PoisonError::into_inner)
}
