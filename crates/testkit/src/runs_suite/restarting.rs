//! What a restart promises.

use tasker_core::runs::{Changer, Restart, RunTaskState, Updated};

use super::probe::{complete, key, name, percent, to};
use super::{Probe, RunLedger};

/// With how far it came; what is complete stays done.
pub async fn a_restart_takes_back_what_is_incomplete(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(6).await;
    for _ in 0..4 {
        probe.take(&run, "w").await.expect("a task");
    }
    probe.put(&run, 0, complete()).await;
    probe.put(&run, 1, percent(40.0)).await;
    // Complete, but its worker never said that it is done.
    probe.put(&run, 2, percent(100.0)).await;
    let restarted = probe.restart_run(key(&run), Restart::Incomplete).await;
    assert!(restarted.expect("answered"));
    assert_eq!(probe.counts(&run).await, (5, 0, 1));
    assert!((probe.progress(&run).await.percent - 240.0 / 6.0).abs() < 1e-9);
    let mut taken = Vec::new();
    while let Some(shown) = probe.take(&run, "w").await {
        let task = shown.task;
        taken.push((task.number, task.attempt, task.percent));
    }
    let expected = [
        (1, 2, 40.0),
        (2, 2, 100.0),
        (3, 2, 0.0),
        (4, 1, 0.0),
        (5, 1, 0.0),
    ];
    assert_eq!(taken, expected);
}

/// But for the attempts.
pub async fn a_restart_of_everything_forgets(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(5).await;
    for number in 0..3 {
        probe.take(&run, "w").await.expect("a task");
        probe.put(&run, number, complete()).await;
    }
    probe.take(&run, "w").await.expect("a task");
    for round in 2..4 {
        let restarted = probe.restart_run(key(&run), Restart::Everything).await;
        assert!(restarted.expect("answered"));
        assert_eq!(probe.counts(&run).await, (5, 0, 0));
        assert!(probe.progress(&run).await.percent.abs() < 1e-9);
        let mut taken = Vec::new();
        while let Some(shown) = probe.take(&run, "w").await {
            assert!(shown.task.percent.abs() < 1e-9);
            let first = if shown.task.number == 4 { 1 } else { 0 };
            assert_eq!(shown.task.attempt + first, round);
            taken.push(shown.task.number);
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
    }
    probe.delete_run(key(&run)).await.expect("deleted");
    let gone = probe.restart_run(key(&run), Restart::Everything).await;
    assert!(!gone.expect("answered"));
}

/// Only the run's row.
pub async fn a_restart_touches_no_task(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let run = probe.make(3).await;
    probe.put(&run, 1, percent(40.0)).await;
    let before = probe.look(&run, 1).await;
    probe
        .restart_run(key(&run), Restart::Incomplete)
        .await
        .expect("restarted");
    assert_eq!(probe.look(&run, 1).await, before);
    let now = probe.again(&run).await;
    assert_eq!((now.epoch, now.reset_epoch), (1, 0));
}

/// A worker that goes on with a task from before is refused, named; nobody in particular is not.
pub async fn a_restart_outdates_workers(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    probe.know("v", None).await;
    let run = probe.make(1).await;
    probe.take(&run, "w").await.expect("a task");
    probe
        .restart_run(key(&run), Restart::Incomplete)
        .await
        .expect("restarted");
    let by = Changer::Worker(name("w"));
    let late = probe.set(&run, 0, by, percent(10.0)).await;
    assert_eq!(late, Updated::NotHeld);
    probe.put(&run, 0, percent(10.0)).await;
    assert_eq!(probe.look(&run, 0).await.state, RunTaskState::Waiting);
    assert_eq!(probe.number(&run, "v").await, Some(0));
    assert_eq!(probe.number(&run, "w").await, None);
}

/// Those that somebody called done too early.
pub async fn old_partly_done_tasks_come_back(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(1).await;
    probe.take(&run, "w").await.expect("a task");
    probe.put(&run, 0, to(RunTaskState::Done)).await;
    assert_eq!(probe.number(&run, "w").await, None);
    probe
        .restart_run(key(&run), Restart::Incomplete)
        .await
        .expect("restarted");
    assert_eq!(probe.counts(&run).await, (1, 0, 0));
    assert_eq!(probe.number(&run, "w").await, Some(0));
}
