//! What is known stays known, across restarts and rewritings.

use super::*;

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
    assert!(journal.peek(Index::ledger_now).is_none());
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
    assert!(journal.peek(Index::ledger_now).is_some());
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
    let (done, open, untold) = (TaskUid::mint(), TaskUid::mint(), TaskUid::mint());
    // Two hours after all expired, by the endpoint's clock.
    append(&mut file, &mut index, vec![claim_of(open, 1, -7200)]);
    let Record::End(mut old) = end(done, 1, 1, "1") else {
        unreachable!()
    };
    old.expires_at = Utc::now() - TimeDelta::hours(2);
    let mut unheard = old.clone();
    unheard.uid = untold;
    let told = Record::Reported {
        uid: done,
        attempt: 1,
    };
    let records = vec![Record::End(old), told, Record::End(unheard)];
    append(&mut file, &mut index, records);
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
    assert!(
        index.get(untold).is_some(),
        "nor an outcome that the broker never had"
    );
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
