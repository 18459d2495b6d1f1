//! What a lease promises.

use std::time::Duration;

use tasker_core::runs::{Changer, Lease, RunTaskState, Updated};

use super::probe::{complete, name, percent};
use super::{Probe, RunLedger};

const MINUTE: Lease = Lease(Some(Duration::from_secs(60)));

/// Somebody else gets it, once.
pub async fn a_silent_worker_loses_its_task_once(ledger: &dyn RunLedger) {
    let probe = Probe::open_with(ledger, MINUTE).await;
    for worker in ["a", "b", "c"] {
        probe.know(worker, None).await;
    }
    let run = probe.make(1).await;
    let task = probe.take(&run, "a").await.expect("a task").task;
    assert!(task.lease_until > task.started_at);
    probe.put(&run, 0, percent(30.0)).await;
    probe.pass(59);
    assert_eq!(probe.number(&run, "b").await, None);
    assert_eq!(probe.counts(&run).await, (0, 1, 0));
    probe.pass(1);
    assert_eq!(probe.counts(&run).await, (1, 0, 0));
    assert_eq!(probe.look(&run, 0).await.state, RunTaskState::Waiting);
    let again = probe.take(&run, "b").await.expect("a task");
    assert_eq!((again.task.attempt, again.task.percent), (2, 30.0));
    assert_eq!(probe.number(&run, "c").await, None);
    assert_eq!(probe.counts(&run).await, (0, 1, 0));
}

/// Every change renews the lease, and what is done has none.
pub async fn who_is_heard_of_keeps_its_task(ledger: &dyn RunLedger) {
    let probe = Probe::open_with(ledger, MINUTE).await;
    probe.know("a", None).await;
    let run = probe.make(1).await;
    probe.take(&run, "a").await.expect("a task");
    for _ in 0..5 {
        probe.pass(50);
        probe.put(&run, 0, percent(30.0)).await;
        assert_eq!(probe.number(&run, "a").await, None);
    }
    probe.put(&run, 0, complete()).await;
    probe.pass(1000);
    assert_eq!(probe.counts(&run).await, (0, 0, 1));
    assert_eq!(probe.number(&run, "a").await, None);
}

/// Only if somebody else was given its task meanwhile.
pub async fn a_late_worker_is_refused(ledger: &dyn RunLedger) {
    let probe = Probe::open_with(ledger, MINUTE).await;
    probe.know("a", Some([1; 32])).await;
    probe.know("b", Some([2; 32])).await;
    let run = probe.make(1).await;
    probe.take(&run, "a").await.expect("a task");
    probe.pass(100);
    let late = probe
        .set(&run, 0, Changer::Worker(name("a")), percent(1.0))
        .await;
    assert_eq!(late, Updated::Done);
    assert_eq!(probe.look(&run, 0).await.state, RunTaskState::Computing);
    probe.pass(100);
    probe.take(&run, "b").await.expect("a task");
    for changer in [Changer::Worker(name("a")), Changer::Session([1; 32])] {
        let late = probe.set(&run, 0, changer, complete()).await;
        assert_eq!(late, Updated::NotHeld);
    }
    let done = probe
        .set(&run, 0, Changer::Session([2; 32]), complete())
        .await;
    assert_eq!(done, Updated::Done);
}

/// As in the original.
pub async fn without_a_lease_a_task_is_kept_for_ever(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("a", None).await;
    let run = probe.make(1).await;
    let task = probe.take(&run, "a").await.expect("a task").task;
    assert_eq!(task.lease_until, None);
    probe.pass(10_000_000);
    assert_eq!(probe.counts(&run).await, (0, 1, 0));
    assert_eq!(probe.number(&run, "a").await, None);
}
