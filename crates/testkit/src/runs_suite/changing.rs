//! What a change of a task promises.

use tasker_core::runs::{Changer, RunTaskChange, RunTaskState, UpdateOrder, Updated};

use super::probe::{complete, key, name, percent, to};
use super::{Probe, RunLedger};

/// What is not named stays.
pub async fn a_change_is_kept(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let run = probe.make(5).await;
    probe.put(&run, 3, percent(12.5)).await;
    let task = probe.look(&run, 3).await;
    assert_eq!(
        (task.state, task.percent, task.attempt),
        (RunTaskState::Waiting, 12.5, 0)
    );
    assert!(task.updated_at.is_some());
    probe.put(&run, 3, to(RunTaskState::Computing)).await;
    let change = RunTaskChange {
        result: Some("{\"x\" : 1}".into()),
        ..to(RunTaskState::Done)
    };
    probe.put(&run, 3, change).await;
    let task = probe.look(&run, 3).await;
    assert_eq!((task.state, task.percent), (RunTaskState::Done, 12.5));
    assert_eq!(task.result.as_deref(), Some(&b"{\"x\" : 1}"[..]));
    let found = probe.find_run_task(key(&run), 3, false).await;
    let plain = found.expect("read").expect("a run").expect("a task");
    assert_eq!((plain.task.percent, plain.task.result), (12.5, None));
}

/// Also several of the same task that had no row.
pub async fn changes_of_one_batch_apply_in_order(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let (one, two) = (probe.make(200).await, probe.make(2).await);
    let order = |run, number, change| UpdateOrder {
        key: key(run),
        number,
        changer: Changer::Anybody,
        change,
        lease: probe.lease,
    };
    let mut orders = vec![
        order(&one, 0, percent(10.0)),
        order(&two, 2, percent(10.0)),
        order(&two, 1, complete()),
        order(&one, 0, percent(20.0)),
        order(&one, 0, to(RunTaskState::Computing)),
    ];
    orders.extend((1..200).map(|number| order(&one, number, complete())));
    let updated = probe.update(orders).await.expect("answered");
    assert_eq!(updated[1], Updated::NoTask);
    let done = updated.iter().filter(|u| **u == Updated::Done).count();
    assert_eq!(done, 203);
    let task = probe.look(&one, 0).await;
    assert_eq!((task.state, task.percent), (RunTaskState::Computing, 20.0));
    assert_eq!(probe.counts(&one).await, (0, 1, 199));
    assert_eq!(probe.counts(&two).await, (1, 0, 1));
}

/// Another one is refused; what it has done may be said twice.
pub async fn only_its_worker_may_change_a_task(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("a", None).await;
    probe.know("b", None).await;
    let run = probe.make(5).await;
    probe.take(&run, "a").await.expect("a task");
    let by = |worker| Changer::Worker(name(worker));
    let before = probe.look(&run, 0).await;
    let refused = probe.set(&run, 0, by("b"), complete()).await;
    assert_eq!(refused, Updated::NotHeld);
    let unknown = probe.set(&run, 0, by("c"), complete()).await;
    assert_eq!(unknown, Updated::UnknownWorker);
    // Nobody was ever given this one.
    let early = probe.set(&run, 4, by("a"), complete()).await;
    assert_eq!(early, Updated::NotHeld);
    assert_eq!(probe.look(&run, 0).await, before);
    assert_eq!(probe.counts(&run).await, (4, 1, 0));
    for _ in 0..2 {
        let updated = probe.set(&run, 0, by("a"), complete()).await;
        assert_eq!(updated, Updated::Done);
    }
}

/// If there is exactly one.
pub async fn a_session_stands_for_its_worker(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("a", Some([1; 32])).await;
    probe.know("b", Some([2; 32])).await;
    probe.know("c", Some([3; 32])).await;
    probe.know("d", Some([3; 32])).await;
    let run = probe.make(5).await;
    probe.take(&run, "a").await.expect("a task");
    for (session, updated) in [
        (2, Updated::NotHeld),
        (1, Updated::Done),
        // Two workers, or none: nobody in particular.
        (3, Updated::Done),
        (4, Updated::Done),
    ] {
        let changer = Changer::Session([session; 32]);
        let answer = probe.set(&run, 0, changer, percent(1.0)).await;
        assert_eq!(answer, updated, "session {session}");
    }
}

/// And changes nothing.
pub async fn what_does_not_exist_is_told(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    let run = probe.make(5).await;
    let beyond = probe.set(&run, 5, Changer::Anybody, complete()).await;
    assert_eq!(beyond, Updated::NoTask);
    probe.delete_run(key(&run)).await.expect("deleted");
    let gone = probe.set(&run, 0, Changer::Anybody, complete()).await;
    assert_eq!(gone, Updated::NoRun);
}

/// With and without a row.
pub async fn progress_counts_every_task(ledger: &dyn RunLedger) {
    let probe = Probe::open(ledger).await;
    probe.know("w", None).await;
    let run = probe.make(8).await;
    for _ in 0..4 {
        probe.take(&run, "w").await.expect("a task");
    }
    probe.put(&run, 0, complete()).await;
    probe.put(&run, 1, percent(50.0)).await;
    probe.put(&run, 2, to(RunTaskState::Done)).await;
    probe.put(&run, 3, to(RunTaskState::Waiting)).await;
    probe.put(&run, 7, percent(10.0)).await;
    assert_eq!(probe.counts(&run).await, (5, 1, 2));
    let progress = probe.progress(&run).await;
    assert!((progress.percent - 160.0 / 8.0).abs() < 1e-9);
}
