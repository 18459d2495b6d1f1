//! Death and absence: the worker is killed at every step, the broker goes, the welcome does not come.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chrono::{TimeDelta, Utc};
use rig::{Probe, Rig, Sent, had, until, welcome};
use tasker_core::ResponseState::{Interrupted, Received, Rejected, Running, Succeeded};
use tasker_core::broker::Broker;
use tasker_core::handler::{Handler, HandlerError, Job, Output};
use tasker_core::task::RunPolicy;
use tasker_core::wire::Envelope;
use tasker_core::{BootId, errnr};
use tasker_worker::{Drained, JournalError, WorkerError, WorkerSettings};
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn killed_after_the_claim_it_runs_at_the_next_start() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (first, second) = (Sent::once(), Sent::once());
    rig.send_task(&first).await;
    rig.send_task(&second).await;
    probe.started(first.uid, 1, 1).await;
    rig.reported(second.uid, Received).await;
    worker.kill().await;
    probe.let_all_go();
    let worker = rig.start(&probe);
    rig.reported(second.uid, Succeeded).await;
    assert_eq!(probe.starts(second.uid), [(1, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn killed_during_the_run_a_once_task_is_interrupted_and_never_run_again() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Running).await;
    worker.kill().await;
    let worker = rig.start(&probe);
    let report = rig.reported(task.uid, Interrupted).await;
    assert_eq!((report.run, report.errnr), (1, Some(errnr::INTERRUPTED)));
    // Asked again, it answers and does not run.
    let before = rig.reports(task.uid).len();
    rig.send_task(&task).await;
    until("it answers", || rig.reports(task.uid).len() > before).await;
    assert_eq!(probe.starts(task.uid), [(1, 1)]);
    assert_eq!(worker.drain().await, Drained { left: 0 });
}

#[tokio::test]
async fn killed_during_the_run_an_idempotent_task_runs_again_until_it_is_poison() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let task = Sent::idempotent();
    rig.send_task(&task).await;
    for run in 1..=3 {
        let worker = rig.start(&probe);
        probe.started(task.uid, 1, run).await;
        worker.kill().await;
    }
    let worker = rig.start(&probe);
    let report = rig.reported(task.uid, Rejected).await;
    assert_eq!((report.run, report.errnr), (3, Some(errnr::POISON)));
    // The queue moves on.
    let next = Sent::idempotent();
    rig.send_task(&next).await;
    probe.let_all_go();
    rig.reported(next.uid, Succeeded).await;
    assert_eq!(probe.starts(task.uid), [(1, 1), (1, 2), (1, 3)]);
    worker.drain().await;
}

#[tokio::test]
async fn killed_after_the_end_it_reports_what_was_done() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Running).await;
    rig.broker.set_up(false);
    probe.let_all_go();
    let journal = rig.dir.path().join("worker.console1.journal");
    until("the end is on the disk", || {
        let bytes = std::fs::read(&journal).unwrap();
        bytes.windows(7).any(|window| window == b"{\"end\":")
    })
    .await;
    worker.kill().await;
    assert!(
        rig.reports(task.uid)
            .iter()
            .all(|report| report.state != Succeeded)
    );
    rig.broker.set_up(true);
    let worker = rig.start(&probe);
    let report = rig.reported(task.uid, Succeeded).await;
    assert_eq!(report.payload.unwrap().get(), "\"done\"");
    assert_eq!(probe.starts(task.uid), [(1, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn reports_wait_for_a_broker_that_is_away_and_hello_comes_first() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Running).await;
    let hellos = || rig.ledger.hellos.lock().unwrap().len();
    let before = hellos();
    rig.broker.set_up(false);
    probe.let_all_go();
    until("it is known to be away", || !rig.broker.is_up()).await;
    rig.broker.set_up(true);
    rig.reported(task.uid, Succeeded).await;
    until("it says hello again", || hellos() > before).await;
    let hello = rig.ledger.hellos.lock().unwrap().last().unwrap().clone();
    assert!(!hello.hello.unwrap().fresh, "it has been welcomed before");
    let next = Sent::once();
    rig.send_task(&next).await;
    rig.reported(next.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn without_an_inbox_it_says_hello_until_there_is_one() {
    let (rig, probe) = (Rig::without_inbox().await, Probe::quick());
    let worker = rig.start(&probe);
    until("two hellos", || {
        rig.ledger.hellos.lock().unwrap().len() >= 2
    })
    .await;
    rig.welcomes_with(welcome());
    rig.open_inbox().await;
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn once_starts_only_when_the_broker_has_its_received_report() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let settings = WorkerSettings {
        concurrency: 2,
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings);
    let first = Sent::once();
    rig.send_task(&first).await;
    rig.reported(first.uid, Succeeded).await;
    rig.broker.hold_confirms(true);
    let (once, idempotent) = (Sent::once(), Sent::idempotent());
    let sending = tokio::spawn(rig.sending(Envelope::encode(&[once.entry(), idempotent.entry()])));
    // Routed, not confirmed: the ledger has the report and the worker does not know.
    rig.reported(once.uid, Received).await;
    probe.started(idempotent.uid, 1, 1).await;
    assert!(probe.starts(once.uid).is_empty());
    rig.broker.hold_confirms(false);
    sending.await.unwrap();
    probe.started(once.uid, 1, 1).await;
    rig.reported(once.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_later_attempt_does_not_start_on_the_confirm_of_the_one_before() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (runs, once) = (Sent::idempotent(), Sent::once());
    let (next, last) = (Sent::idempotent(), Sent::idempotent());
    rig.send_task(&runs).await;
    probe.started(runs.uid, 1, 1).await;
    for waits in [&once, &next] {
        // One message at a time: the second one tells that the first one was confirmed.
        rig.send_task(waits).await;
        rig.reported(waits.uid, Received).await;
    }
    rig.broker.hold_confirms(true);
    let again = once.attempt(2);
    let sending = tokio::spawn(rig.sending(Envelope::encode(&[again.entry(), last.entry()])));
    until("attempt 2 is reported", || {
        rig.reports(once.uid).iter().any(|r| r.attempt == 2)
    })
    .await;
    probe.let_all_go();
    probe.started(last.uid, 1, 1).await;
    assert!(probe.starts(once.uid).is_empty());
    rig.broker.hold_confirms(false);
    sending.await.unwrap();
    rig.reported(once.uid, Succeeded).await;
    assert_eq!(probe.starts(once.uid), [(2, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn a_fresh_journal_waits_for_its_welcome_and_heeds_it() {
    let (rig, probe) = (Rig::without_inbox().await, Probe::quick());
    rig.open_inbox().await;
    let settings = WorkerSettings {
        welcome_patience: Duration::from_millis(50),
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings);
    let (once, idempotent, before) = (Sent::once(), Sent::idempotent(), Sent::once());
    for task in [&once, &before, &idempotent] {
        rig.send_task(task).await;
    }
    probe.started(idempotent.uid, 1, 1).await;
    assert!(probe.starts(once.uid).is_empty() && probe.starts(before.uid).is_empty());
    assert!(
        rig.ledger.reports.lock().unwrap().is_empty(),
        "nothing is said before the welcome"
    );
    // To another start: ignored, with all that it says.
    let hello = rig.ledger.hellos.lock().unwrap()[0].clone();
    let mut stale = had(once.uid, 9);
    stale.boot = BootId::mint();
    rig.send(stale.encode()).await;
    // In two parts; only the last opens.
    let mut first = had(before.uid, 1);
    (first.boot, first.more) = (hello.boot, true);
    rig.send(first.encode()).await;
    let mut last = welcome();
    last.boot = hello.boot;
    rig.send(last.encode()).await;
    rig.reported(once.uid, Succeeded).await;
    rig.reported(idempotent.uid, Succeeded).await;
    // It was had under an earlier journal: not run, also when it is asked for; a retry is.
    rig.send_task(&before).await;
    let report = rig.reported(before.uid, Interrupted).await;
    assert_eq!(report.errnr, Some(errnr::JOURNAL_LOST));
    rig.send_task(&before.attempt(2)).await;
    rig.reported(before.uid, Succeeded).await;
    assert_eq!(probe.starts(before.uid), [(2, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn a_wrong_clock_refuses_nothing_before_the_welcome() {
    let (rig, probe) = (Rig::without_inbox().await, Probe::quick());
    rig.open_inbox().await;
    let worker = rig.start(&probe);
    until("a hello", || !rig.ledger.hellos.lock().unwrap().is_empty()).await;
    // Over for an hour by this host's clock, which is a day ahead of the ledger's.
    let task = Sent::with(RunPolicy::Once, None, -3600);
    rig.send_task(&task).await;
    let mut welcome = welcome();
    welcome.boot = rig.ledger.hellos.lock().unwrap()[0].boot;
    welcome.now = Utc::now() - TimeDelta::days(1);
    rig.send(welcome.encode()).await;
    rig.reported(task.uid, Received).await;
    rig.reported(task.uid, Succeeded).await;
    worker.drain().await;
}

/// A fault of the worker itself, not of a run.
struct Broken;

#[async_trait]
impl Handler for Broken {
    async fn run(&self, _job: Job<'_>) -> Result<Output, HandlerError> {
        Output::json(&"done")
    }

    fn max_run(&self) -> Option<Duration> {
        panic!("in the middle of the worker")
    }
}

#[tokio::test]
async fn a_worker_that_cannot_run_tasks_ends_instead_of_collecting_them() {
    let rig = Rig::new().await;
    let worker = rig.start_with(Arc::new(Broken), rig.settings());
    rig.send_task(&Sent::once()).await;
    let ended = tokio::time::timeout(Duration::from_secs(20), worker.join).await;
    let ended = ended.expect("it ends").unwrap();
    assert!(matches!(ended, Err(WorkerError::Part(_))), "{ended:?}");
}

#[tokio::test]
async fn a_welcomed_journal_runs_without_welcome_after_its_patience() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Succeeded).await;
    worker.drain().await;
    *rig.ledger.welcome.lock().unwrap() = None;
    let settings = WorkerSettings {
        welcome_patience: Duration::from_millis(50),
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Succeeded).await;
    worker.drain().await;
}

#[tokio::test]
async fn a_drain_lets_runs_end_and_leaves_the_rest_for_the_next_start() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (runs, waits) = (Sent::once(), Sent::once());
    for task in [&runs, &waits] {
        rig.send_task(task).await;
        rig.reported(task.uid, Received).await;
    }
    probe.started(runs.uid, 1, 1).await;
    worker.stop.cancel();
    let late = Sent::once();
    rig.send_task(&late).await;
    probe.let_all_go();
    assert_eq!(worker.drain().await, Drained { left: 1 });
    rig.reported(runs.uid, Succeeded).await;
    assert!(probe.starts(waits.uid).is_empty());
    let worker = rig.start(&probe);
    rig.reported(waits.uid, Succeeded).await;
    rig.reported(late.uid, Succeeded).await;
    assert_eq!(worker.drain().await, Drained { left: 0 });
}

#[tokio::test]
async fn a_drain_that_takes_too_long_interrupts_once_and_gives_idempotent_back() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let settings = WorkerSettings {
        concurrency: 2,
        drain_deadline: Duration::from_millis(20),
        poison_limit: 1,
        ..rig.settings()
    };
    let worker = rig.start_with(probe.clone(), settings.clone());
    let (once, idempotent) = (Sent::once(), Sent::idempotent());
    for task in [&once, &idempotent] {
        rig.send_task(task).await;
        probe.started(task.uid, 1, 1).await;
    }
    assert_eq!(worker.drain().await, Drained { left: 1 });
    let report = rig.reported(once.uid, Interrupted).await;
    assert_eq!(report.errnr, Some(errnr::INTERRUPTED));
    // An orderly stop is no poison, not even with a limit of one.
    probe.let_all_go();
    let worker = rig.start_with(probe.clone(), settings);
    let report = rig.reported(idempotent.uid, Succeeded).await;
    assert_eq!(report.run, 2);
    assert_eq!(probe.starts(once.uid), [(1, 1)]);
    worker.drain().await;
}

#[tokio::test]
async fn a_second_worker_of_the_same_name_refuses_to_start() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    until("the first runs", || {
        !rig.ledger.hellos.lock().unwrap().is_empty()
    })
    .await;
    let second = tasker_worker::run(
        rig.settings(),
        probe.clone(),
        rig.broker.clone(),
        CancellationToken::new(),
    );
    let refused = second.await.unwrap_err();
    assert!(
        matches!(refused, WorkerError::Journal(JournalError::Locked { .. })),
        "{refused}"
    );
    worker.drain().await;
}
