//! Cancels: before the task, while it waits or runs, after its end, before its retry.

#![allow(clippy::unwrap_used, reason = "what tests call may panic")]

mod rig;

use rig::{Probe, Rig, Sent, until};
use tasker_core::ResponseState::{Cancelled, Received, Succeeded};
use tasker_core::errnr;

#[tokio::test]
async fn cancelled_before_it_came_it_never_runs() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.cancel(task.uid).await;
    let report = rig.reported(task.uid, Cancelled).await;
    assert_eq!((report.attempt, report.errnr), (0, Some(errnr::CANCELLED)));
    worker.kill().await;
    let worker = rig.start(&probe);
    rig.send_task(&task).await;
    until("it is told with its attempt", || {
        rig.reports(task.uid).iter().any(|r| r.attempt == 1)
    })
    .await;
    assert!(
        rig.reports(task.uid)
            .iter()
            .all(|report| report.state == Cancelled)
    );
    assert!(probe.starts(task.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn cancelled_while_it_runs_or_waits_it_ends_and_after_the_end_it_is_told() {
    let (rig, probe) = (Rig::new().await, Probe::held());
    let worker = rig.start(&probe);
    let (done, runs, waits) = (Sent::once(), Sent::once(), Sent::once());
    rig.send_task(&done).await;
    probe.let_one_go();
    rig.reported(done.uid, Succeeded).await;
    rig.send_task(&runs).await;
    probe.started(runs.uid, 1, 1).await;
    rig.send_task(&waits).await;
    rig.reported(waits.uid, Received).await;
    rig.cancel(waits.uid).await;
    let report = rig.reported(waits.uid, Cancelled).await;
    assert_eq!((report.attempt, report.run), (1, 0));
    rig.cancel(runs.uid).await;
    let report = rig.reported(runs.uid, Cancelled).await;
    assert_eq!(
        (report.attempt, report.run, report.errnr),
        (1, 1, Some(errnr::CANCELLED))
    );
    let before = rig.reports(done.uid).len();
    rig.cancel(done.uid).await;
    until("the true end is told", || {
        rig.reports(done.uid).len() > before
    })
    .await;
    let told = &rig.reports(done.uid)[before..];
    assert_eq!((told[0].attempt, told[0].state), (1, Succeeded));
    assert!(probe.starts(waits.uid).is_empty());
    worker.drain().await;
}

#[tokio::test]
async fn a_cancel_overtakes_the_retry_of_what_has_ended() {
    let (rig, probe) = (Rig::new().await, Probe::quick());
    let worker = rig.start(&probe);
    let task = Sent::once();
    rig.send_task(&task).await;
    rig.reported(task.uid, Succeeded).await;
    rig.cancel(task.uid).await;
    // The ledger's row may wait for attempt 2 already, which no word about attempt 1 can end.
    let report = rig.reported(task.uid, Cancelled).await;
    assert_eq!((report.attempt, report.errnr), (0, Some(errnr::CANCELLED)));
    rig.send_task(&task.attempt(2)).await;
    until("attempt 2 is answered", || {
        rig.reports(task.uid).iter().any(|r| r.attempt == 2)
    })
    .await;
    worker.kill().await;
    let worker = rig.start(&probe);
    rig.send_task(&task.attempt(3)).await;
    until("the next start still knows", || {
        rig.reports(task.uid).iter().any(|r| r.attempt == 3)
    })
    .await;
    let later = rig.reports(task.uid).into_iter().filter(|r| r.attempt > 1);
    assert!(later.map(|r| r.state).all(|state| state == Cancelled));
    assert_eq!(probe.starts(task.uid), [(1, 1)]);
    worker.drain().await;
}
