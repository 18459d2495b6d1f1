//! What must not run is refused with a reason, counted, and the queue moves on: expired, replayed,
//! unreadable.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{TimeDelta, Utc};
use rig::{Probe, Rig, Sent, Worker, had, until, welcome};
use tasker_core::ResponseState::{Cancelled, Interrupted, Received, Rejected, Succeeded};
use tasker_core::broker::{Broker, Consumer, Queue};
use tasker_core::errnr;
use tasker_core::task::RunPolicy;
use tasker_core::wire::{Envelope, ReportBatch};
use tasker_worker::WorkerSettings;

/// A worker that hardly waits for its welcome and beats often.
fn hasty(rig: &Rig, probe: &Arc<Probe>) -> Worker {
    let settings = WorkerSettings {
        welcome_patience: Duration::from_millis(50),
        heartbeat: Duration::from_millis(20),
        ..rig.settings()
    };
    rig.start_with(probe.clone(), settings)
}

/// Adds up what heartbeats say until nothing is missing any more of `expected`.
async fn refused(presence: &mut Box<dyn Consumer>, expected: &[(&str, u64)]) {
    let expected: BTreeMap<String, u64> = expected
        .iter()
        .map(|(r, n)| ((*r).to_owned(), *n))
        .collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    let all = async {
        while counts != expected {
            for delivery in presence.next(100).await.unwrap() {
                let beat = ReportBatch::parse(&delivery.body).unwrap();
                assert!(beat.is_heartbeat());
                for (reason, count) in beat.refused {
                    *counts.entry(reason).or_default() += count;
                }
                presence.ack_through(delivery.tag).await.unwrap();
            }
        }
    };
    let in_time = tokio::time::timeout(Duration::from_secs(20), all).await;
    assert!(in_time.is_ok(), "{counts:?} instead of {expected:?}");
    // Counts are told once: the next heartbeats are silent about them.
    for _ in 0..3 {
        let delivery = presence.next(1).await.unwrap().remove(0);
        assert!(
            ReportBatch::parse(&delivery.body)
                .unwrap()
                .refused
                .is_empty()
        );
        presence.ack_through(delivery.tag).await.unwrap();
    }
}

#[tokio::test]
async fn everything_that_is_refused_is_counted_by_reason() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = hasty(&rig, &probe);
    let mut presence = rig.broker.consume(&Queue::Presence, 100).await.unwrap();
    let good = Sent::once();
    rig.send_task(&good).await;
    rig.reported(good.uid, Succeeded).await;
    for body in [
        br#"{"v":2,"entries":[]}"#.to_vec(),
        b"\x80\x04\x95 pickle".to_vec(),
        br#"{"v":1,"entries":[{"attempt":1}]}"#.to_vec(),
        b"{}".to_vec(),
        vec![b' '; (8 << 20) + 1],
    ] {
        rig.send(body).await;
    }
    let gone = Sent::once();
    rig.cancel(gone.uid).await;
    let (expired, bad) = (
        Sent::with(RunPolicy::Once, None, -1),
        Sent::with(RunPolicy::Once, Some("\"bad\""), 3600),
    );
    let text = String::from_utf8(Sent::once().task).unwrap();
    let foreign = Sent {
        task: text
            .replace("\"type\":\"worker\"", "\"type\":\"other\"")
            .into_bytes(),
        ..Sent::once()
    };
    let unclear = Sent {
        task: text
            .replace("\"timeout_s\":60", "\"timeout_s\":[]")
            .into_bytes(),
        ..Sent::once()
    };
    let nameless = Sent {
        task: b"{\"uid\":7}".to_vec(),
        ..Sent::once()
    };
    let entries = [&good, &gone, &expired, &bad, &foreign, &unclear, &nameless].map(Sent::entry);
    rig.send(Envelope::encode(&entries)).await;
    rig.reported(gone.uid, Cancelled).await;
    let last = Sent::once();
    rig.send_task(&last).await;
    rig.reported(last.uid, Succeeded).await;
    refused(
        &mut presence,
        &[
            ("version", 1),
            ("malformed", 1),
            ("too_long", 1),
            ("shape", 2),
            ("known", 1),
            ("cancelled", 1),
            ("expired", 1),
            ("bad_payload", 1),
            ("no_handler", 1),
            ("bad_entry", 2),
        ],
    )
    .await;
    worker.drain().await;
}

#[tokio::test]
async fn counts_wait_for_a_broker_that_is_away() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = hasty(&rig, &probe);
    let (runs, waits) = (Sent::once(), Sent::with(RunPolicy::Idempotent, None, 8));
    rig.send_task(&runs).await;
    probe.started(runs.uid, 1, 1).await;
    rig.send_task(&waits).await;
    rig.reported(waits.uid, Received).await;
    rig.broker.set_up(false);
    until("it is over", || Utc::now() >= waits.expires_at()).await;
    probe.let_all_go();
    let journal = rig.dir.path().join("worker.console1.journal");
    until("it is refused", || {
        let bytes = std::fs::read(&journal).unwrap();
        bytes.windows(8).any(|window| window == b"REJECTED")
    })
    .await;
    rig.broker.set_up(true);
    let mut presence = rig.broker.consume(&Queue::Presence, 100).await.unwrap();
    refused(&mut presence, &[("expired", 1)]).await;
    assert!(probe.starts(waits.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn what_expired_is_refused_even_if_the_ledger_never_answers() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    // Welcomed once, so that patience is enough at the next start.
    let worker = rig.start(&probe);
    let first = Sent::once();
    rig.send_task(&first).await;
    rig.reported(first.uid, Succeeded).await;
    worker.drain().await;
    *rig.ledger.welcome.lock().unwrap() = None;
    let worker = hasty(&rig, &probe);
    let (expired, again) = (
        Sent::with(RunPolicy::Once, None, -1),
        Sent::with(RunPolicy::Idempotent, None, -1),
    );
    for task in [&expired, &again] {
        rig.send_task(task).await;
        // Claimed: before the welcome nobody knows the ledger's clock. Refused before it would start.
        rig.reported(task.uid, Received).await;
        let report = rig.reported(task.uid, Rejected).await;
        assert_eq!((report.errnr, report.run), (Some(errnr::EXPIRED), 0));
    }
    let next = Sent::once();
    rig.send_task(&next).await;
    rig.reported(next.uid, Succeeded).await;
    assert!(probe.starts(expired.uid).is_empty() && probe.starts(again.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn the_last_welcome_tells_a_host_without_a_clock_what_expired() {
    let (rig, probe) = (Rig::without_inbox().await, Probe::quick());
    rig.open_inbox().await;
    let worker = rig.start(&probe);
    until("a hello", || !rig.ledger.hellos.lock().unwrap().is_empty()).await;
    // The ledger is two hours ahead of this host.
    let mut ahead = welcome();
    ahead.boot = rig.ledger.hellos.lock().unwrap()[0].boot;
    ahead.now = Utc::now() + TimeDelta::hours(2);
    rig.send(ahead.encode()).await;
    let first = Sent::with(RunPolicy::Once, None, 3 * 3600);
    rig.send_task(&first).await;
    rig.reported(first.uid, Succeeded).await;
    worker.drain().await;
    // At the next start it does not answer. By this host's clock the task has an hour left.
    let worker = hasty(&rig, &probe);
    let expired = Sent::with(RunPolicy::Once, None, 3600);
    rig.send_task(&expired).await;
    let report = rig.reported(expired.uid, Rejected).await;
    assert_eq!(report.errnr, Some(errnr::EXPIRED));
    assert!(probe.starts(expired.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn a_wiped_journal_refuses_what_it_had_before() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let (done, expired) = (Sent::once(), Sent::with(RunPolicy::Once, None, 3));
    for task in [&done, &expired] {
        rig.send_task(task).await;
        rig.reported(task.uid, Succeeded).await;
    }
    worker.drain().await;
    for entry in std::fs::read_dir(rig.dir.path()).unwrap() {
        std::fs::remove_file(entry.unwrap().path()).unwrap();
    }
    until("the second one is over", || {
        Utc::now() >= expired.expires_at()
    })
    .await;
    // The ledger lists what has not expired. The replay comes before the welcome and after it.
    rig.welcomes_with(had(done.uid, 1));
    rig.ledger.reports.lock().unwrap().clear();
    for task in [&done, &expired] {
        rig.send_task(task).await;
    }
    let worker = hasty(&rig, &probe);
    let mut presence = rig.broker.consume(&Queue::Presence, 100).await.unwrap();
    let report = rig.reported(done.uid, Interrupted).await;
    assert_eq!(
        (report.attempt, report.errnr),
        (1, Some(errnr::JOURNAL_LOST))
    );
    let report = rig.reported(expired.uid, Rejected).await;
    assert_eq!(report.errnr, Some(errnr::EXPIRED));
    let before = rig.reports(done.uid).len();
    rig.send_task(&done).await;
    until("it is answered", || rig.reports(done.uid).len() > before).await;
    refused(&mut presence, &[("expired", 1), ("replayed", 1)]).await;
    for task in [&done, &expired] {
        assert_eq!(
            probe.starts(task.uid),
            [(1, 1)],
            "only under the old journal"
        );
    }
    worker.drain().await;
}
