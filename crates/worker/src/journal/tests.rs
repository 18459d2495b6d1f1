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

#[tokio::test]
async fn what_was_written_is_known_after_a_restart() {
    let place = Place::new();
    let journal = place.open().unwrap();
    let (a, b, c, d) = (
        TaskUid::mint(),
        TaskUid::mint(),
        TaskUid::mint(),
        TaskUid::mint(),
    );
    let uid = journal.uid();
    assert!(!journal.peek(Index::was_welcomed));
    journal.write(vec![claim(a, 1), claim(b, 2)]).await.unwrap();
    journal
        .write(vec![start(a, 1, 1), tombstone(c)])
        .await
        .unwrap();
    journal.note(Record::Reported { uid: a, attempt: 1 });
    let had = HadBefore {
        had: vec![Had { uid: d, attempt: 3 }],
        until: Utc::now(),
    };
    journal
        .write(vec![
            end(a, 1, 1, r#"{"a": 1}"#),
            Record::Had(had),
            Record::Welcomed {
                now: Utc.timestamp_opt(0, 0).unwrap(),
            },
        ])
        .await
        .unwrap();
    let before = journal.peek(facts);
    drop(journal);

    let journal = place.reopen();
    assert_eq!(journal.uid(), uid);
    assert!(journal.peek(Index::was_welcomed));
    assert_eq!(journal.peek(facts), before);
    assert_eq!(journal.peek(Index::open_tasks), 1);
    assert_eq!(journal.known(c).unwrap().phase, Phase::Tombstone);
    assert_eq!(journal.known(d).unwrap().attempt, 3);
    let task = journal.task(b).await.unwrap().unwrap();
    assert_eq!(WireTask::parse(&task).unwrap().uid, b);
    assert_eq!(
        journal.peek(Index::open_bytes),
        journal.known(b).unwrap().claim.unwrap().len as u64
    );
    let ends = journal.ends(vec![b, a]).await.unwrap();
    assert!(ends[0].is_none());
    assert_eq!(
        ends[1].as_ref().unwrap().payload.as_ref().unwrap().get(),
        r#"{"a": 1}"#
    );
}

#[test]
fn a_tail_cut_at_any_byte_loses_only_the_last_write() {
    let place = Place::new();
    let (a, b) = (TaskUid::mint(), TaskUid::mint());
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    append(&mut file, &mut index, vec![claim(a, 1)]);
    let good = std::fs::metadata(place.path()).unwrap().len();
    append(&mut file, &mut index, vec![claim(b, 1), start(b, 1, 1)]);
    drop(file);
    let bytes = std::fs::read(place.path()).unwrap();
    for cut in usize::try_from(good).unwrap()..bytes.len() {
        std::fs::write(place.path(), &bytes[..cut]).unwrap();
        let Opened {
            mut file,
            mut index,
        } = place.file().unwrap();
        assert!(
            index.get(a).is_some() && index.get(b).is_none(),
            "cut at {cut}"
        );
        // What follows is appended at the right place.
        append(&mut file, &mut index, vec![start(a, 1, 1)]);
        drop(file);
        assert_eq!(
            place.file().unwrap().index.get(a).unwrap().phase,
            Phase::Started,
            "{cut}"
        );
    }
}

#[test]
fn a_damaged_end_is_cut_off_and_a_damaged_middle_refuses_to_start() {
    let place = Place::new();
    let (a, b) = (TaskUid::mint(), TaskUid::mint());
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    let head = std::fs::metadata(place.path()).unwrap().len();
    append(&mut file, &mut index, vec![claim(a, 1)]);
    let middle = std::fs::metadata(place.path()).unwrap().len();
    append(&mut file, &mut index, vec![claim(b, 1)]);
    drop(file);
    let bytes = std::fs::read(place.path()).unwrap();
    for at in 0..bytes.len() as u64 {
        std::fs::write(place.path(), &bytes).unwrap();
        place.flip(at);
        match place.file() {
            Ok(opened) => {
                assert!(
                    at >= middle,
                    "byte {at} of {} is damaged and nobody noticed",
                    bytes.len()
                );
                assert!(opened.index.get(a).is_some() && opened.index.get(b).is_none());
            }
            Err(JournalError::Corrupt { offset, .. }) => {
                assert!(at < middle, "byte {at} is in the last frame");
                assert_eq!(offset, if at < head { 0 } else { head });
            }
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn zeros_at_the_end_are_cut_off() {
    let place = Place::new();
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    append(&mut file, &mut index, vec![claim(TaskUid::mint(), 1)]);
    drop(file);
    let good = std::fs::metadata(place.path()).unwrap().len();
    let file = OpenOptions::new().write(true).open(place.path()).unwrap();
    file.set_len(good + 3 * (1 << 20)).unwrap();
    drop(file);
    drop(place.file().unwrap());
    assert_eq!(std::fs::metadata(place.path()).unwrap().len(), good);
}

#[test]
fn one_worker_at_a_time_and_only_its_own_file() {
    let place = Place::new();
    let opened = place.file().unwrap();
    assert!(matches!(place.file(), Err(JournalError::Locked { .. })));
    drop(opened);
    let stranger = place.dir.path().join("worker.console2.journal");
    std::fs::copy(place.path(), stranger).unwrap();
    let (worker, console2) = (build::task_type("worker"), build::endpoint("console2"));
    match JournalFile::open(place.dir.path(), &worker, &console2) {
        Err(JournalError::Foreign { owner, .. }) => assert_eq!(owner, "worker.console1"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_unknown_version_refuses_to_start() {
    let place = Place::new();
    let text = br#"{"head":{"v":2,"journal":"0192f0c1-0000-7000-8000-000000000001","type":"worker","endpoint":"console1"}}"#;
    let mut frame = Frame::new();
    frame.push(text);
    std::fs::write(place.path(), frame.seal()).unwrap();
    let fault = place.file().unwrap_err().to_string();
    assert!(fault.contains("version 2 is unknown"), "{fault}");
}

#[test]
fn writing_anew_keeps_what_is_needed_and_drops_the_rest() {
    let place = Place::new();
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    let uids: Vec<_> = (0..6).map(|_| TaskUid::mint()).collect();
    for &uid in &uids {
        append(&mut file, &mut index, vec![claim(uid, 1)]);
    }
    let filler = format!("\"{}\"", "x".repeat(10_000));
    append(
        &mut file,
        &mut index,
        vec![
            start(uids[0], 1, 1),
            end(uids[0], 1, 1, &filler),
            Record::Reported {
                uid: uids[0],
                attempt: 1,
            },
            claim(uids[0], 2),
            start(uids[0], 2, 1),
            start(uids[1], 1, 2),
            start(uids[2], 1, 1),
            Record::Released(Released {
                uid: uids[2],
                attempt: 1,
                run: 1,
                cut_off: 0,
            }),
            end(uids[3], 1, 1, "[3]"),
            Record::Reported {
                uid: uids[3],
                attempt: 1,
            },
            tombstone(uids[4]),
            tombstone(TaskUid::mint()),
        ],
    );
    let before = (facts(&index), index.open_tasks(), index.open_bytes());
    let long = std::fs::metadata(place.path()).unwrap().len();
    file.compact(&mut index).unwrap();
    assert!(std::fs::metadata(place.path()).unwrap().len() < long - 10_000);
    assert_eq!(
        (facts(&index), index.open_tasks(), index.open_bytes()),
        before
    );
    // Spans point into the new file, and it can be appended to.
    let json = file.read(index.get(uids[3]).unwrap().end.unwrap()).unwrap();
    assert!(
        matches!(serde_json::from_slice(&json).unwrap(), Record::End(end) if end.uid == uids[3])
    );
    append(&mut file, &mut index, vec![start(uids[5], 1, 1)]);
    let after = facts(&index);
    drop(file);
    assert_eq!(facts(&place.file().unwrap().index), after);
}

#[test]
fn only_the_ledgers_clock_makes_the_journal_forget() {
    let place = Place::new();
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    let (done, open) = (TaskUid::mint(), TaskUid::mint());
    // Two hours after both expired, by the endpoint's clock.
    append(&mut file, &mut index, vec![claim_of(open, 1, -7200)]);
    let Record::End(mut old) = end(done, 1, 1, "1") else {
        unreachable!()
    };
    old.expires_at = Utc::now() - TimeDelta::hours(2);
    append(&mut file, &mut index, vec![Record::End(old)]);
    drop(file);
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    assert!(
        index.get(done).is_some(),
        "nothing but the endpoint's clock says that it is over"
    );
    append(
        &mut file,
        &mut index,
        vec![Record::Welcomed { now: Utc::now() }],
    );
    drop(file);
    let index = place.file().unwrap().index;
    assert!(index.get(done).is_none());
    assert!(
        index.get(open).is_some(),
        "what is unfinished is not forgotten"
    );
}

#[tokio::test]
async fn a_disk_that_refuses_is_an_error_and_nothing_counts_until_it_is_written() {
    let place = Place::new();
    let mut opened = place.file().unwrap();
    let good = opened.file.swap_handle(File::open(place.path()).unwrap());
    let uid = TaskUid::mint();
    let refused = {
        let index = std::mem::take(&mut opened.index);
        let mut writer = writer::Writer {
            file: opened.file,
            index: Arc::new(Mutex::new(index)),
            changed: Arc::new(Notify::new()),
            is_broken: false,
            notes: Vec::new(),
        };
        let (done, mut answer) = oneshot::channel();
        writer.serve(vec![Request::Write {
            records: vec![claim(uid, 1)],
            done,
        }]);
        assert!(matches!(
            answer.try_recv().unwrap(),
            Err(JournalError::Io { .. })
        ));
        assert!(writer.index.lock().unwrap().get(uid).is_none());
        writer.file.swap_handle(good);
        writer
    };
    let mut writer = refused;
    let (done, mut answer) = oneshot::channel();
    writer.serve(vec![Request::Write {
        records: vec![claim(uid, 1)],
        done,
    }]);
    answer.try_recv().unwrap().unwrap();
    assert!(writer.index.lock().unwrap().get(uid).is_some());
    drop(writer);
    assert!(place.file().unwrap().index.get(uid).is_some());
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, u8),
    Reopen,
    Compact,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (0..4_usize, 0..7_u8).prop_map(|(task, what)| Step::Write(task, what)),
        1 => Just(Step::Reopen),
        1 => Just(Step::Compact),
    ];
    prop::collection::vec(step, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 48,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    /// Whatever is written in whatever order: a restart and a rewriting change nothing that is known.
    #[test]
    fn restarts_and_rewritings_change_nothing(steps in steps()) {
        let place = Place::new();
        let uids: Vec<_> = (0..4).map(|_| TaskUid::mint()).collect();
        let mut opened = place.file().unwrap();
        for step in steps {
            let before = facts(&opened.index);
            match step {
                Step::Write(task, what) => {
                    let uid = uids[task];
                    let known = opened.index.get(uid);
                    let attempt = known.map_or(1, |known| known.attempt.max(1));
                    let run = known.map_or(1, |known| known.run.max(1));
                    let record = match what {
                        0 => claim(uid, attempt),
                        1 => claim(uid, attempt + 1),
                        2 => start(uid, attempt, run),
                        3 => end(uid, attempt, run, "[1, 2]"),
                        4 => Record::Released(Released { uid, attempt, run, cut_off: run }),
                        5 => tombstone(uid),
                        _ => Record::Reported { uid, attempt },
                    };
                    append(&mut opened.file, &mut opened.index, vec![record]);
                    continue;
                }
                Step::Reopen => {
                    drop(opened);
                    opened = place.file().unwrap();
                }
                Step::Compact => opened.file.compact(&mut opened.index).unwrap(),
            }
            prop_assert_eq!(facts(&opened.index), before);
        }
    }
}
