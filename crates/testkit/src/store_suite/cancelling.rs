//! What `cancel` promises.

use std::time::Duration;

use tasker_core::state::{ResponseState, TaskStatus};
use tasker_core::store::{Changed, RecordVerdict, Timing};
use tasker_core::task::{NewTask, Task};

use super::probe::report;
use super::{Ledger, Probe, patient};
use crate::build::new_task;

async fn cancel(probe: &Probe, task: &Task) -> Changed {
    probe
        .cancel(task.head.id, probe.process)
        .await
        .expect("answered")
}

/// CANCELLED at once; the rows stay until their endpoints confirm; a task that was never published
/// still publishes its cancel.
pub async fn a_cancel_is_stored_and_due(ledger: &dyn Ledger) {
    let unleased = Timing {
        lease: Duration::ZERO,
        ..patient()
    };
    let probe = Probe::open_with(ledger, unleased).await;
    let task = probe.store_new(new_task("t-1", &["a", "b", "c"])).await;
    probe.reach("a", &task, ResponseState::Running).await;
    probe.reach("b", &task, ResponseState::Succeeded).await;
    let Changed::Changed(head, 2) = cancel(&probe, &task).await else {
        panic!("two rows are open");
    };
    assert_eq!(head.status, TaskStatus::Cancelled);
    assert!(head.cancel_requested_at.is_some() && head.settled_at.is_some());
    assert_eq!(head, probe.head(&task).await);
    assert_eq!(probe.row(&task, "a").await.state, ResponseState::Running);
    assert_eq!(probe.row(&task, "c").await.state, ResponseState::Waiting);
    let due = probe.take_unsent(probe.process, 10).await.expect("taken");
    assert_eq!(due.len(), 1);
    assert_eq!(due[0].head.cancel_requested_at, head.cancel_requested_at);
}

/// The first time counts.
pub async fn cancelling_twice_changes_nothing(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    let Changed::Changed(first, 1) = cancel(&probe, &task).await else {
        panic!("one row is open");
    };
    let Changed::Changed(second, 0) = cancel(&probe, &task).await else {
        panic!("nothing was left to do");
    };
    assert_eq!(first, second);
}

/// Illegal, and nothing changes.
pub async fn what_is_done_cannot_be_cancelled(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a"])).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    let Changed::Illegal(head) = cancel(&probe, &task).await else {
        panic!("it was done");
    };
    assert_eq!(head.status, TaskStatus::Done);
    assert_eq!(probe.head(&task).await, head);
}

/// Somebody may still take it.
pub async fn an_incomplete_task_can_be_cancelled(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let new = NewTask {
        wait_s: 0,
        ..new_task("t-1", &["a"])
    };
    let task = probe.store_new(new).await;
    assert_eq!(probe.settle_next().await.1, TaskStatus::Incomplete);
    assert!(matches!(
        cancel(&probe, &task).await,
        Changed::Changed(_, 1)
    ));
    assert_eq!(probe.head(&task).await.status, TaskStatus::Cancelled);
}

/// The cancel may come before its task: attempt 0 confirms it, also for an open task without a row.
pub async fn a_tombstone_confirms_a_cancel(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let listed = probe.store_new(new_task("listed", &["a"])).await;
    let open = probe.store_new(new_task("open", &[])).await;
    for task in [&listed, &open] {
        let tombstone = report(task.head.uid, 0, 0, ResponseState::Cancelled);
        assert_eq!(
            probe.hear("a", tombstone.clone()).await,
            RecordVerdict::Unordered
        );
        cancel(&probe, task).await;
        assert_eq!(
            probe.hear("a", tombstone.clone()).await,
            RecordVerdict::Applied
        );
        assert_eq!(probe.hear("a", tombstone).await, RecordVerdict::Known);
        let row = probe.row(task, "a").await;
        assert_eq!((row.state, row.attempt), (ResponseState::Cancelled, 1));
        assert_eq!(row.errnr, Some(tasker_core::errnr::CANCELLED));
    }
    assert_eq!(
        probe.standing(&listed).await,
        (TaskStatus::Cancelled, (1, 1, 1, 1))
    );
    assert!(!probe.row(&open, "a").await.expected);
}

/// Whatever its endpoints report: a run may end before the cancel reaches it.
pub async fn a_cancelled_task_stays_cancelled(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let task = probe.store_new(new_task("t-1", &["a", "b"])).await;
    cancel(&probe, &task).await;
    probe.reach("a", &task, ResponseState::Succeeded).await;
    let verdict = probe
        .hear("b", report(task.head.uid, 1, 1, ResponseState::Cancelled))
        .await;
    assert_eq!(verdict, RecordVerdict::Applied);
    assert_eq!(
        probe.standing(&task).await,
        (TaskStatus::Cancelled, (2, 2, 2, 1))
    );
    assert!(probe.settle_due(10).await.expect("settled").0.is_empty());
}

/// There is nothing to cancel.
pub async fn an_unknown_task_is_gone(ledger: &dyn Ledger) {
    let probe = Probe::open(ledger).await;
    let cancelled = probe.cancel(77, probe.process).await.expect("cancelled");
    assert!(matches!(cancelled, Changed::Gone), "{cancelled:?}");
}
