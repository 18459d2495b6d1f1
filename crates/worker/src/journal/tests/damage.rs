//! Torn, damaged, foreign, locked, full.

use super::*;

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

/// Where a record's JSON holds this text in the file.
fn position(place: &Place, text: &str) -> u64 {
    let bytes = std::fs::read(place.path()).unwrap();
    let found = bytes.windows(text.len()).position(|w| w == text.as_bytes());
    found.unwrap() as u64
}

#[tokio::test]
async fn a_damaged_answer_is_told_without_it_and_the_file_heals() {
    let place = Place::new();
    let journal = place.open().unwrap();
    let (a, b, c) = (TaskUid::mint(), TaskUid::mint(), TaskUid::mint());
    for (uid, reply) in [(a, "\"apples\""), (b, "\"pears\""), (c, "\"plums\"")] {
        let records = vec![claim(uid, 1), start(uid, 1, 1), end(uid, 1, 1, reply)];
        journal.write(records).await.unwrap();
    }
    // Once so that it is no JSON any more, once so that it is, but another answer.
    place.flip(position(&place, "\"apples"));
    place.flip(position(&place, "lums\""));
    let ends = journal.ends(vec![a, b, c, TaskUid::mint()]).await.unwrap();
    let told: Vec<_> = ends
        .iter()
        .map(|end| {
            let end = end.as_ref()?;
            let payload = end.payload.as_ref().map(|p| p.get());
            Some((end.uid, end.attempt, end.run, end.state, end.errnr, payload))
        })
        .collect();
    let succeeded = ResponseState::Succeeded;
    assert_eq!(
        told,
        [
            Some((a, 1, 1, succeeded, 1, None)),
            Some((b, 1, 1, succeeded, 0, Some("\"pears\""))),
            Some((c, 1, 1, succeeded, 1, None)),
            None,
        ]
    );
    let errmsg = ends[0].as_ref().unwrap().errmsg.as_deref().unwrap();
    assert!(errmsg.contains("cannot be read back"), "{errmsg}");
    // The next start would have refused the damaged file.
    drop(journal);
    let journal = place.reopen();
    let ends = journal.ends(vec![a, b]).await.unwrap();
    assert_eq!(ends[0].as_ref().unwrap().errmsg.as_deref(), Some(errmsg));
    let pears = ends[1].as_ref().unwrap().payload.as_ref().unwrap();
    assert_eq!(pears.get(), "\"pears\"");
}

#[tokio::test]
async fn a_damaged_claim_is_an_error_and_no_other_task() {
    let place = Place::new();
    let journal = place.open().unwrap();
    let (a, b) = (TaskUid::mint(), TaskUid::mint());
    journal.write(vec![claim(a, 1), claim(b, 1)]).await.unwrap();
    place.flip(position(&place, "backup-17"));
    assert!(matches!(
        journal.task(a).await,
        Err(JournalError::Io { .. })
    ));
    assert!(journal.task(b).await.unwrap().is_some());
}

#[test]
fn builds_for_drills_know_what_a_power_cut_leaves() {
    let place = Place::new();
    let Opened {
        mut file,
        mut index,
    } = place.file().unwrap();
    let is_right = || {
        let length = std::fs::metadata(place.path()).unwrap().len();
        let synced = std::fs::read_to_string(place.path().with_extension("journal.synced"));
        match synced {
            Ok(text) => tasker_core::fault::is_armed() && text.trim().parse() == Ok(length),
            Err(_) => !tasker_core::fault::is_armed(),
        }
    };
    assert!(is_right());
    let uid = TaskUid::mint();
    append(&mut file, &mut index, vec![claim(uid, 1), start(uid, 1, 1)]);
    assert!(is_right());
    append(&mut file, &mut index, vec![end(uid, 1, 1, "1")]);
    file.compact(&mut index).unwrap();
    assert!(is_right());
    // What a killed worker did not sync is synced before it counts.
    let length = std::fs::metadata(place.path()).unwrap().len();
    append(&mut file, &mut index, vec![tombstone(TaskUid::mint())]);
    drop(file);
    if tasker_core::fault::is_armed() {
        let beside = place.path().with_extension("journal.synced");
        std::fs::write(beside, format!("{length:020}\n")).unwrap();
    }
    drop(place.file().unwrap());
    assert!(is_right());
}
