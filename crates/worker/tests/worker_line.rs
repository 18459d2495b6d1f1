//! The line: taken, claimed, run, reported; repeated, refused.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::time::Duration;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::{Failed, Received, Rejected, Running, Succeeded, TimedOut};
use tasker_core::broker::{Broker, Queue};
use tasker_core::task::RunPolicy;
use tasker_core::wire::{EntryRef, Envelope, ReportBatch, WireTask};
use tasker_core::{TaskUid, errnr};
use tasker_testkit::build;
use tasker_worker::stub::StubHandler;
use tasker_worker::{Drained, WorkerSettings};

#[tokio::test]
async fn a_task_is_received_run_and_reported() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Running).await;
    probe.let_one_go();
    let end = rig.reported(task.uid, Succeeded).await;
    assert_eq!((end.attempt, end.run, end.errnr), (1, 1, Some(0)));
    assert_eq!(end.payload.unwrap().get(), "\"done\"");
    assert!(end.elapsed_ms.is_some());
    let states: Vec<_> = rig
        .reports(task.uid)
        .iter()
        .map(|report| report.state)
        .collect();
    assert_eq!(states, [Received, Running, Succeeded]);
    let hellos = rig.ledger.hellos.lock().unwrap().clone();
    assert_eq!(hellos.len(), 1);
    assert!(hellos[0].hello.as_ref().unwrap().fresh && hellos[0].reports.is_empty());
    assert_eq!(worker.drain().await, Drained { left: 0 });
}

#[tokio::test]
async fn repeated_deliveries_are_answered_and_not_run_again() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let task = Sent::once();
    for _ in 0..3 {
        rig.send_task(&task).await;
    }
    rig.reported(task.uid, Succeeded).await;
    for before in 1..=2 {
        let answers = || {
            rig.reports(task.uid)
                .iter()
                .filter(|r| r.state == Succeeded)
                .count()
        };
        until("an answer", || answers() >= before).await;
        rig.send_task(&task).await;
        until("another answer", || answers() > before).await;
    }
    // A retry is an order for one more run; the old attempt is answered with the new one.
    rig.send_task(&task.attempt(2)).await;
    probe.started(task.uid, 2, 1).await;
    rig.send_task(&task).await;
    until("the newest is told", || {
        rig.reports(task.uid)
            .last()
            .is_some_and(|r| (r.state, r.attempt) == (Succeeded, 2))
    })
    .await;
    assert_eq!(probe.starts(task.uid), [(1, 1), (2, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn an_entry_for_others_is_skipped() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let (others, ours) = (Sent::once(), Sent::once());
    let (console2, both) = (
        build::endpoints(&["console2"]),
        build::endpoints(&["console2", "console1"]),
    );
    let body = Envelope::encode(&[
        EntryRef {
            audience: Some(&console2),
            ..others.entry()
        },
        EntryRef {
            audience: Some(&both),
            ..ours.entry()
        },
    ]);
    rig.send(body).await;
    rig.reported(ours.uid, Succeeded).await;
    assert!(rig.reports(others.uid).is_empty() && probe.starts(others.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn what_cannot_be_read_is_dead_lettered_and_does_not_come_again() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let good = Sent::once();
    let bodies: Vec<Vec<u8>> = vec![
        br#"{"v":2,"entries":[]}"#.to_vec(),
        b"\x80\x04\x95 pickle".to_vec(),
        b"{}".to_vec(),
        br#"{"v":1,"entries":[{"attempt":1}]}"#.to_vec(),
        format!(
            r#"{{"v":1,"entries":{}{}}}"#,
            "[".repeat(1000),
            "]".repeat(1000)
        )
        .into_bytes(),
        vec![b' '; (8 << 20) + 1],
    ];
    let count = bodies.len();
    for body in bodies {
        rig.send(body).await;
    }
    rig.send_task(&good).await;
    rig.reported(good.uid, Succeeded).await;
    let mut dead = rig.broker.consume(&Queue::Dead, 100).await.unwrap();
    let mut letters = 0;
    while letters < count {
        let more = tokio::time::timeout(Duration::from_secs(20), dead.next(100)).await;
        letters += more.unwrap().unwrap().len();
    }
    assert_eq!(letters, count);
    worker.drain().await;
}

#[tokio::test]
async fn what_is_refused_says_why() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let text = String::from_utf8(Sent::once().task).unwrap();
    let strange = |from: &str, to: &str| {
        let uid = TaskUid::mint();
        let task = text.replace(from, to);
        let parsed = WireTask::parse(text.as_bytes()).unwrap().uid.to_string();
        Sent {
            uid,
            attempt: 1,
            task: task.replace(&parsed, &uid.to_string()).into_bytes(),
        }
    };
    let table = [
        (
            strange("\"type\":\"worker\"", "\"type\":\"backup\""),
            errnr::NO_HANDLER,
            "performs worker",
        ),
        (
            Sent::with(RunPolicy::Once, Some("\"bad\""), 3600),
            errnr::BAD_PAYLOAD,
            "it is bad",
        ),
        (
            Sent::with(RunPolicy::Once, None, -1),
            errnr::EXPIRED,
            "expired at",
        ),
        (
            strange("\"timeout_s\":60", "\"timeout_s\":\"x\""),
            errnr::BAD_ENTRY,
            "timeout_s",
        ),
        (
            strange("\"nightly-17\"", "\"a/b\""),
            errnr::BAD_ENTRY,
            "task.identifier must match",
        ),
    ];
    let good = Sent::once();
    let mut entries: Vec<_> = table.iter().map(|(task, ..)| task.entry()).collect();
    entries.push(good.entry());
    rig.send(Envelope::encode(&entries)).await;
    for (task, errnr, errmsg) in &table {
        let report = rig.reported(task.uid, Rejected).await;
        assert_eq!(
            (report.errnr, report.attempt, report.run),
            (Some(*errnr), 1, 0)
        );
        let told = report.errmsg.unwrap();
        assert!(
            told.contains(errmsg) || *errnr == errnr::BAD_ENTRY,
            "{told}"
        );
        assert!(probe.starts(task.uid).is_empty());
    }
    rig.reported(good.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn the_stub_misbehaves_and_the_worker_does_not() {
    let rig = Rig::new().await;
    let worker = rig.start_with(
        std::sync::Arc::new(StubHandler),
        WorkerSettings {
            concurrency: 8,
            ..rig.settings()
        },
    );
    let table = [
        (r#"{"do":"succeed","reply":[1]}"#, Succeeded, 0),
        (r#"{"do":"fail","errnr":42,"errmsg":"no luck"}"#, Failed, 42),
        (r#"{"do":"flood"}"#, Failed, errnr::BAD_REPLY),
        (r#"{"do":"panic"}"#, Failed, errnr::PANICKED),
        (r#"{"do":"progress","reply":null}"#, Succeeded, 0),
        (r#"{"do":"dance"}"#, Rejected, errnr::BAD_PAYLOAD),
    ];
    for (payload, state, errnr) in table {
        let task = Sent::with(RunPolicy::Once, Some(payload), 3600);
        rig.send_task(&task).await;
        let report = rig.reported(task.uid, state).await;
        assert_eq!(report.errnr, Some(errnr), "{payload}");
    }
    let slow = Sent::with(RunPolicy::Once, Some(r#"{"do":"progress","ms":150}"#), 3600);
    rig.send_task(&slow).await;
    rig.reported(slow.uid, Succeeded).await;
    let told: Vec<_> = rig
        .reports(slow.uid)
        .into_iter()
        .filter_map(|r| r.progress)
        .collect();
    assert!(
        told.iter().any(|p| p.percent >= 50 && p.note.is_some()),
        "{told:?}"
    );
    assert!(told.len() <= 4, "more often than once a second: {told:?}");
    worker.drain().await;
}

#[tokio::test]
async fn a_run_ends_at_its_time_limit() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let task = Sent::limited(1);
    rig.send_task(&task).await;
    let report = rig.reported(task.uid, TimedOut).await;
    assert_eq!((report.errnr, report.run), (Some(errnr::TIMED_OUT), 1));
    assert!(report.elapsed_ms.unwrap() >= 1000);
    worker.drain().await;
}

#[tokio::test]
async fn heartbeats_say_who_and_nothing_else() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let settings = WorkerSettings {
        heartbeat: Duration::from_millis(20),
        ..rig.settings()
    };
    let worker = rig.start_with(probe, settings);
    let mut presence = rig.broker.consume(&Queue::Presence, 10).await.unwrap();
    let beats = tokio::time::timeout(Duration::from_secs(20), presence.next(1)).await;
    let beat = ReportBatch::parse(&beats.unwrap().unwrap()[0].body).unwrap();
    assert!(beat.is_heartbeat());
    until("a hello", || !rig.ledger.hellos.lock().unwrap().is_empty()).await;
    let hello = rig.ledger.hellos.lock().unwrap()[0].clone();
    assert_eq!((beat.boot, beat.journal), (hello.boot, hello.journal));
    worker.drain().await;
}

#[tokio::test]
async fn a_full_window_leaves_the_rest_to_others_and_takes_it_up_again() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let settings = WorkerSettings {
        window_tasks: 4,
        prefetch: 1,
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings);
    let tasks: Vec<_> = (0..10).map(|_| Sent::once()).collect();
    // Before the welcome the window does not hold, so the first one waits for it.
    rig.send_task(&tasks[0]).await;
    probe.started(tasks[0].uid, 1, 1).await;
    for task in &tasks[1..] {
        rig.send_task(task).await;
    }
    rig.reported(tasks[3].uid, Received).await;
    // Only one consumer at a time gets messages: that this one gets them shows that the worker left.
    let inbox = Queue::Inbox(build::task_type("worker"), build::endpoint("console1"));
    let mut other = rig.broker.consume(&inbox, 100).await.unwrap();
    let rest = tokio::time::timeout(Duration::from_secs(20), other.next(100)).await;
    assert!(!rest.unwrap().unwrap().is_empty());
    assert!(
        rig.reports(tasks[5].uid).is_empty(),
        "more was claimed than the window holds"
    );
    other.stop().await;
    probe.let_all_go();
    for task in &tasks {
        rig.reported(task.uid, Succeeded).await;
        assert_eq!(probe.starts(task.uid), [(1, 1)]);
    }
    worker.drain().await;
}

#[tokio::test]
async fn a_welcome_behind_more_tasks_than_the_window_holds_is_read() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let tasks: Vec<_> = (0..10).map(|_| Sent::once()).collect();
    for task in &tasks {
        rig.send_task(task).await;
    }
    let settings = WorkerSettings {
        window_tasks: 2,
        prefetch: 1,
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings);
    for task in &tasks {
        rig.reported(task.uid, Succeeded).await;
    }
    worker.drain().await;
}
