//! A disk that loses bytes under a running worker: it costs what was in them and nothing else.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::{Received, Rejected, Running, Succeeded};
use tasker_core::errnr;

/// Waits until the journal holds a text behind another one and destroys the text's first byte.
async fn rot(rig: &Rig, behind: &str, text: &str) {
    let path = rig.dir.path().join("worker.console1.journal");
    let place = || {
        let bytes = std::fs::read(&path).unwrap();
        let find = |from: usize, text: &str| {
            let found = bytes[from..]
                .windows(text.len())
                .position(|w| w == text.as_bytes());
            found.map(|at| from + at)
        };
        find(find(0, behind)?, text)
    };
    until("it is in the journal", || place().is_some()).await;
    let file = OpenOptions::new().write(true).open(&path).unwrap();
    file.write_all_at(&[0], place().unwrap() as u64).unwrap();
}

#[tokio::test]
async fn a_lost_answer_is_reported_as_such_and_holds_nobody_up() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (lost, kept) = (Sent::once(), Sent::once());
    rig.send_task(&lost).await;
    rig.reported(lost.uid, Running).await;
    rig.send_task(&kept).await;
    rig.reported(kept.uid, Received).await;
    // Nothing leaves until the damage is done.
    rig.broker.set_up(false);
    probe.let_all_go();
    let end = format!("{{\"end\":{{\"uid\":\"{}\"", lost.uid);
    rot(&rig, &end, "done").await;
    rig.broker.set_up(true);
    let report = rig.reported(lost.uid, Succeeded).await;
    assert_eq!(
        (report.attempt, report.run, report.errnr),
        (1, 1, Some(errnr::GENERAL))
    );
    assert!(report.payload.is_none());
    assert!(report.errmsg.unwrap().contains("cannot be read back"));
    let report = rig.reported(kept.uid, Succeeded).await;
    assert_eq!(report.payload.unwrap().get(), "\"done\"");
    worker.drain().await;
    // And the worker can start again.
    let worker = rig.start(&Probe::quick());
    let next = Sent::once();
    rig.send_task(&next).await;
    rig.reported(next.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_lost_task_is_refused_and_gives_its_place_to_the_next() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (runs, lost, next) = (Sent::once(), Sent::once(), Sent::once());
    for task in [&runs, &lost, &next] {
        rig.send_task(task).await;
        rig.reported(task.uid, Received).await;
    }
    probe.started(runs.uid, 1, 1).await;
    rot(&rig, &lost.uid.to_string(), "nightly").await;
    probe.let_all_go();
    let report = rig.reported(lost.uid, Rejected).await;
    assert_eq!((report.run, report.errnr), (0, Some(errnr::BAD_ENTRY)));
    rig.reported(next.uid, Succeeded).await;
    assert!(probe.starts(lost.uid).is_empty());
    worker.drain().await;
}
