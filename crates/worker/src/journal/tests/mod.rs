//! What the tests of the journal share.

mod damage;
mod memory;

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use chrono::{TimeDelta, TimeZone, Utc};
use proptest::prelude::*;
use serde_json::value::RawValue;
use tasker_core::ResponseState;
use tasker_core::wire::{Had, WireTask};
use tasker_testkit::build;
use tempfile::TempDir;

use super::file::{JournalFile, Opened};
use super::frame::Frame;
use super::*;

struct Place {
    dir: TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("worker.console1.journal")
    }

    fn file(&self) -> Result<Opened, JournalError> {
        JournalFile::open(
            self.dir.path(),
            &build::task_type("worker"),
            &build::endpoint("console1"),
        )
    }

    fn open(&self) -> Result<Journal, JournalError> {
        Journal::open(
            self.dir.path(),
            &build::task_type("worker"),
            &build::endpoint("console1"),
        )
    }

    /// Opens it as soon as the thread of an earlier one has let go.
    fn reopen(&self) -> Journal {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            match self.open() {
                Err(JournalError::Locked { .. }) if Instant::now() < deadline => {
                    std::thread::yield_now();
                }
                opened => return opened.unwrap(),
            }
        }
    }

    fn flip(&self, at: u64) {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(self.path())
            .unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 0x5a], at).unwrap();
    }
}

fn claim(uid: TaskUid, attempt: u32) -> Record {
    claim_of(uid, attempt, 3600)
}

fn claim_of(uid: TaskUid, attempt: u32, expires_in_s: i64) -> Record {
    let mut task = build::new_task("backup-17", &[]);
    task.uid = uid;
    let now = Utc::now();
    let bytes = WireTask::encode(&task, now, now + TimeDelta::seconds(expires_in_s)).unwrap();
    Record::claim(attempt, &bytes, unix_ms()).unwrap()
}

fn start(uid: TaskUid, attempt: u32, run: u32) -> Record {
    Record::Start(Start {
        uid,
        attempt,
        run,
        cut_off: run - 1,
        at: unix_ms(),
    })
}

fn end(uid: TaskUid, attempt: u32, run: u32, reply: &str) -> Record {
    Record::End(End {
        uid,
        attempt,
        run,
        state: ResponseState::Succeeded,
        errnr: 0,
        errmsg: None,
        payload: Some(RawValue::from_string(reply.to_owned()).unwrap()),
        elapsed_ms: Some(5),
        expires_at: Utc::now() + TimeDelta::hours(1),
        at: unix_ms(),
    })
}

fn tombstone(uid: TaskUid) -> Record {
    let expires_at = Utc::now() + TimeDelta::hours(1);
    Record::Tombstone(Tombstone {
        uid,
        expires_at,
        at: unix_ms(),
    })
}

fn append(file: &mut JournalFile, index: &mut Index, records: Vec<Record>) {
    let mut frame = Frame::new();
    let spans: Vec<_> = records
        .iter()
        .map(|record| frame.push(&record.encode()))
        .collect();
    let offset = file.append(frame).unwrap();
    for (record, mut span) in records.into_iter().zip(spans) {
        span.offset += offset;
        index.apply(record, span);
    }
}

type Fact = (TaskUid, u32, u32, u32, Phase, bool, bool);

/// What can be compared across a restart, in the order of the claims.
fn facts(index: &Index) -> Vec<Fact> {
    let fact = |(uid, k): (TaskUid, &Known)| {
        (
            uid,
            k.attempt,
            k.run,
            k.cut_off,
            k.phase,
            k.is_cancelled,
            k.is_reported,
        )
    };
    index.in_order().into_iter().map(fact).collect()
}
